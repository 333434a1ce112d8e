"""Files and folders that are replaced whole or not at all, and errors of the file system as ConfigError."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from training.base.errors import DISK, ConfigError


@contextmanager
def as_config_error(about: str) -> Iterator[None]:
    """Turn an OSError raised inside into a ConfigError whose message begins with `about`."""
    try:
        yield
    except OSError as error:
        raise ConfigError(f"{about} ({error.strerror or error})") from None


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Write a file or a folder beside `path`, and rename it to `path` once it is complete and on disk.

    Yields an unused path in the same folder, with the same ending; the caller writes a file there, or makes a folder. If the caller
    fails, its file is removed and `path` stays as it was. A kill leaves the old or the new version at `path`, and perhaps an unfinished
    `.tmp-*` beside it. Replacing a folder takes two renames; a kill between them leaves the old folder as `.old-NAME`.

    A file keeps the mode of the file that it replaces. A symbolic link is kept, and its target is replaced. A path that is neither a
    file nor a folder (a pipe, /dev/null) is yielded itself. Several processes may write the same path at once: the last one wins.

    Raises:
        OSError: if the file system refuses.
    """
    if path.is_symlink():
        path = Path(os.path.realpath(path))
    if path.exists() and not path.is_file() and not path.is_dir():
        yield path
        return
    beside, old = path.with_name(f".tmp-{os.getpid()}-{path.name}"), path.with_name(f".old-{path.name}")
    _remove(beside)  # a killed process with the same process id may have left it
    try:
        yield beside
        for file in beside.rglob("*") if beside.is_dir() else [beside]:
            _to_disk(file)
        if not beside.is_dir():
            if path.is_file():
                with contextlib.suppress(OSError):  # not every file system has modes
                    shutil.copymode(path, beside)
            os.replace(beside, path)
            folder_to_disk(path.parent)
            return
        for folder in (beside, *(inner for inner in beside.rglob("*") if inner.is_dir())):
            folder_to_disk(folder)
        if path.is_dir():
            _remove(old)
            os.replace(path, old)
        try:
            os.replace(beside, path)
        except OSError:
            if old.is_dir() and not path.exists():
                os.replace(old, path)
            raise
        folder_to_disk(path.parent)
        _remove(old)
    finally:
        _remove(beside)


def _to_disk(path: Path) -> None:
    """Wait until a file's contents are on disk. Links and folders are ignored."""
    if path.is_symlink() or not path.is_file():
        return
    # Windows flushes only files that are open for writing; other systems flush read-only files too.
    with contextlib.suppress(PermissionError):
        handle = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def folder_to_disk(path: Path) -> None:
    """Wait until the names in a folder are on disk; otherwise a power failure could undo a rename."""
    if os.name == "nt":  # Windows cannot open a folder, and writes renames to disk at once
        return
    with contextlib.suppress(OSError):  # some network file systems do not support it
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def disk_error(error: Exception) -> str:
    """The message of an error that comes from the disk; empty if the error is about something else.

    The Rust code of safetensors and tokenizers raises exceptions of its own for a full disk, with the system's error number in the text.
    """
    if isinstance(error, OSError):
        return (error.strerror or " ".join(str(error).split())) if error.errno in DISK else ""
    return " ".join(str(error).split()) if re.search(r"\(os error \d+\)", str(error)) else ""


def _remove(path: Path) -> None:
    """Remove a file or a folder if it exists; errors are ignored."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()


def write_text(path: Path, text: str) -> None:
    """Replace a file by `text` in UTF-8, completely or not at all."""
    with replacing(path) as beside:
        beside.write_text(text, encoding="utf-8", newline="\n")


def digest(path: str | Path, hasher: Any) -> str:
    """The hash of a file's bytes, as hexadecimal digits; `hasher` is a new hash object of hashlib."""
    with open(path, "rb") as f:
        while block := f.read(1 << 20):
            hasher.update(block)
    return hasher.hexdigest()


def finite(value: Any) -> Any:
    """`value`, or None if it is NaN or infinite, which JSON cannot express."""
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return value

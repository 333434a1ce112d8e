"""Files and folders that are replaced whole or not at all, and the file system's refusals as mistakes in the config."""

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
def complaints(about: str) -> Iterator[None]:
    """Turn what the file system refuses inside into a ConfigError that begins with `about`."""
    try:
        yield
    except OSError as error:
        raise ConfigError(f"{about} ({error.strerror or error})") from None


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Write a file or a folder beside `path`; it takes that name once it is whole and on disk.

    Yields a path in the same folder, with the same ending, at which there is nothing yet: the caller writes a file there, or makes a
    folder. If the caller fails, what it wrote is removed and what was at `path` stays. A kill leaves the old one or the new one at
    `path`, and perhaps the unfinished `.tmp-*` beside it. A folder cannot replace another in one rename: a kill between the two leaves
    the old one as `.old-NAME`.

    A file keeps the mode of the one that it replaces, and a link leads to the new one. What is neither a file nor a folder (a pipe,
    /dev/null) is yielded itself. Several processes may write the same path at once: the last one wins.

    Raises:
        OSError: if the file system refuses.
    """
    if path.is_symlink():
        path = Path(os.path.realpath(path))
    if path.exists() and not path.is_file() and not path.is_dir():
        yield path
        return
    beside, old = path.with_name(f".tmp-{os.getpid()}-{path.name}"), path.with_name(f".old-{path.name}")
    _remove(beside)  # left by a killed process that had the same number
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
    """Wait until the contents of a file are on disk; links and folders need no waiting for."""
    if path.is_symlink() or not path.is_file():
        return
    # Windows flushes only what is open for writing, and elsewhere a file that is read-only can be flushed too.
    with contextlib.suppress(PermissionError):
        handle = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def folder_to_disk(path: Path) -> None:
    """Wait until the names in a folder are on disk: after a loss of power a rename that is not may never have been."""
    if os.name == "nt":  # where a folder cannot be opened, and renames are written through
        return
    with contextlib.suppress(OSError):  # some network file systems have no such thing
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def refusal_of_the_disk(error: Exception) -> str:
    """What the file system refused, in words; empty if the error is about something else.

    The Rust parts of safetensors and tokenizers tell of a full disk in errors of their own, with the system's number in the text.
    """
    if isinstance(error, OSError):
        return (error.strerror or " ".join(str(error).split())) if error.errno in DISK else ""
    return " ".join(str(error).split()) if re.search(r"\(os error \d+\)", str(error)) else ""


def _remove(path: Path) -> None:
    """Remove a file or a folder, if it is there and the file system lets us."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()


def write_text(path: Path, text: str) -> None:
    """Write a whole file or none of it, in UTF-8."""
    with replacing(path) as beside:
        beside.write_text(text, encoding="utf-8", newline="\n")


def digest(path: str | Path, empty: Any) -> str:
    """The hash of a file's bytes, as hexadecimal digits.

    Args:
        empty: a hash of hashlib, into which nothing has been put yet.
    """
    with open(path, "rb") as f:
        while block := f.read(1 << 20):
            empty.update(block)
    return empty.hexdigest()


def finite(value: Any) -> Any:
    """`value`, or None for a float that JSON has no word for (NaN and the infinities)."""
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return value

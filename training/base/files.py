"""Files written whole or not at all, and what the file system refuses told as a mistake of the config."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from training.base.errors import ConfigError


@contextmanager
def complaints(about: str) -> Iterator[None]:
    """What the file system refuses inside becomes a ConfigError that begins with `about`."""
    try:
        yield
    except OSError as error:
        raise ConfigError(f"{about} ({error.strerror or error})") from None


def write_text(path: Path, text: str) -> None:
    """A whole file or none of it: written beside its place, then renamed."""
    beside = path.with_name(path.name + ".tmp")
    with open(beside, "w", encoding="utf-8", newline="\n") as f:
        f.write(text)
        f.flush()
        os.fsync(f.fileno())
    os.replace(beside, path)


def finite(value: Any) -> Any:
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return value

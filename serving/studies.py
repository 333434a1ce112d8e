"""Studies for the page: each is read again only when it has changed, and errors become sentences for the visitor."""

from __future__ import annotations

import functools
from pathlib import Path

from training.base.errors import ConfigError
from training.sweeps.records import StudyRecords, Trial
from training.sweeps.study_json import load_study

MAX_BYTES = 64_000_000


class StudyError(Exception):
    """A study cannot be shown. The message is the key of the sentence in strings.py that says why."""


def read(folder: Path) -> StudyRecords:
    """The study in a folder, read again only if it has changed. Raises StudyError."""
    try:
        stat = (folder / "study.json").stat()
    except (OSError, ValueError):
        raise StudyError("study_gone") from None
    if stat.st_size > MAX_BYTES:
        raise StudyError("study_damaged")
    try:
        return _read(folder, stat.st_mtime_ns, stat.st_size)
    except ConfigError:
        raise StudyError("study_damaged") from None


@functools.lru_cache(maxsize=4)
def _read(folder: Path, mtime: int, size: int) -> StudyRecords:
    return load_study(folder, leave_out_damaged=True)


def curves(records: StudyRecords, trial: Trial) -> Path | None:
    """The file with a trial's curves, if there is one and it lies inside the study's folder."""
    try:
        home = records.folder.resolve()
        picture = (home / trial.folder / "curves.png").resolve()
        return picture if trial.folder and picture.is_relative_to(home) and picture.is_file() else None
    except (OSError, ValueError, RuntimeError):  # a name with a null byte, or circular links
        return None

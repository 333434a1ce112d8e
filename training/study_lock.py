"""The lock of a study's journal."""

from __future__ import annotations

import os
from pathlib import Path

import filelock
from optuna.storages.journal import JournalFileOpenLock


class Lock(JournalFileOpenLock):
    """Optuna's own lock is a file that a killed worker leaves behind for 30 s; the system frees this one at once.

    A line that a kill or a full disk cut off is taken away before the next is written: Optuna would refuse the whole file.
    """

    def __init__(self, path: Path):
        self.path, self.lock = path, filelock.FileLock(path.with_suffix(".lock"))

    def acquire(self) -> bool:
        self.lock.acquire()
        with open(self.path, "rb+") as f:
            size = f.seek(0, os.SEEK_END)
            f.seek(max(0, size - 1))
            if size and f.read(1) != b"\n":
                f.seek(0)
                f.truncate(f.read().rfind(b"\n") + 1)
        return True

    def release(self) -> None:
        self.lock.release()

"""The locks of a study: its journal's, and those by which its workers know each other. The system frees a dead worker's at once."""

from __future__ import annotations

import glob
import os
import platform
from pathlib import Path

import filelock
from optuna.storages.journal import JournalFileOpenLock


def take(path: Path) -> filelock.BaseFileLock | None:
    """The lock of this file, unless somebody has it."""
    lock = filelock.FileLock(path)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        return None
    return lock


class WorkerPlace:
    """A worker's place in a study, for as long as its process lives.

    Attributes:
        number: the lowest that no other living worker has.
    """

    def __init__(self, folder: Path):
        self.number = 0
        while (lock := take(folder / f"worker-{self.number}")) is None:
            self.number += 1
        self.here = folder / f"at-{platform.node()}-"  # others may see the folder from another machine
        beside = filelock.FileLock(f"{self.here}{self.number}")
        beside.acquire()  # who counts just now has it for an instant
        self.held = lock, beside

    def workers_here(self) -> int:
        """How many living workers of the study this machine has, this one among them."""
        locks = [take(Path(path)) for path in glob.glob(f"{glob.escape(str(self.here))}*")]
        for lock in locks:
            if lock:
                lock.release()
        return locks.count(None)


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

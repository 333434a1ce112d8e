"""The locks of a study: the journal's, and those by which its workers count each other. The system frees a dead worker's locks at once."""

from __future__ import annotations

import glob
import os
import platform
from pathlib import Path

import filelock
from optuna.storages.journal import JournalFileOpenLock


def take(path: Path) -> filelock.BaseFileLock | None:
    """Take the lock of this file; None if another process has it."""
    lock = filelock.FileLock(path)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        return None
    return lock


class WorkerPlace:
    """A worker's number in a study, held as long as its process lives.

    Attributes:
        number: the lowest number that no other living worker has.
    """

    def __init__(self, folder: Path):
        self.number = 0
        while (lock := take(folder / f"worker-{self.number}")) is None:
            self.number += 1
        self.here = folder / f"at-{platform.node()}-"  # with the machine's name, because workers on other machines share the folder
        beside = filelock.FileLock(f"{self.here}{self.number}")
        beside.acquire()  # waits for a worker that is just counting, which holds it for an instant
        self.held = lock, beside

    def workers_here(self) -> int:
        """The number of the study's living workers on this machine, including this one."""
        locks = [take(Path(path)) for path in glob.glob(f"{glob.escape(str(self.here))}*")]
        for lock in locks:
            if lock:
                lock.release()
        return locks.count(None)


class Lock(JournalFileOpenLock):
    """The journal's lock. The system frees it at once when its worker is killed; Optuna's own lock file would stay for 30 s.

    An incomplete last line, left by a kill or a full disk, is removed before the next is written: Optuna would refuse the whole file.
    """

    def __init__(self, path: Path):
        self.path, self.lock = path, filelock.FileLock(path.with_suffix(".lock"))

    def acquire(self) -> bool:
        """Wait for the lock, and remove an incomplete last line of the journal."""
        self.lock.acquire()
        with open(self.path, "rb+") as f:
            size = f.seek(0, os.SEEK_END)
            f.seek(max(0, size - 1))
            if size and f.read(1) != b"\n":
                f.seek(0)
                f.truncate(f.read().rfind(b"\n") + 1)
        return True

    def release(self) -> None:
        """Free the lock."""
        self.lock.release()

"""How a run ends: with a result, with a mistake of the user's, or stopped by something else. Light, for every caller."""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


class Stopped(Exception):
    """The run cannot go on (a full disk, say), told in words; the last checkpoint is whole."""

    ended = "stopped"


class NotFinite(Stopped):
    """The loss or its gradient became infinite or not a number; the weights before it are in the last checkpoint."""

    ended = "not finite"


class OutOfMemory(Stopped):
    """A step did not fit into memory. How it came to that decides what helps, so the record of the end says it, for the doctor.

    Args:
        how: after "out of memory"; empty where a step could not be divided and nothing was saved (several processes).
    """

    ended = "out of memory"
    SAVED = ", saved"  # after the first steps: there is a checkpoint, from which micro-batches go in more parts
    SINGLE_ROW = " with a single row"  # dividing further is not possible
    OPTIMIZER = " in the optimizer"  # which dividing does not help

    def __init__(self, text: str, how: str = ""):
        super().__init__(text)
        self.ended += how


@dataclass
class TrainResult:
    """How a run ended.

    Attributes:
        ended: finished, stopped early, interrupted, or what a caller's `on_evaluation` said.
        metrics: the record of the best evaluation (val_loss, perplexity, …); empty without a validation set.
        parameters: of the model.
        model_dir: the checkpoint to use: the best one, or without a validation set the latest.
        signal: the name of one that asked this process to stop, also where it came too late to interrupt; else empty.
    """

    run_dir: Path
    step: int
    ended: str
    metrics: dict[str, Any]
    parameters: int
    model_dir: Path | None
    signal: str = ""


Train = Callable[..., TrainResult]  # training.train.train, which commands hand down to the rooms that need it


class ConfigError(Exception):
    """A mistake in the configuration or its files, told in plain words: what, where, and what would be valid."""


DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EIO)  # what a disk can do to us

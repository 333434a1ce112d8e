"""How a run ends: with a result, with a mistake of the user's, or stopped by something else. Imports nothing heavy."""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


class Stopped(Exception):
    """The run cannot go on, for example because the disk is full. The message says why; the last checkpoint is intact."""

    ended = "stopped"


class NotFinite(Stopped):
    """The loss or its gradient became infinite or NaN. The last checkpoint has weights from before that."""

    ended = "not finite"


class OutOfMemory(Stopped):
    """A step did not fit into memory. `ended` says in which way, because the doctor's advice depends on it.

    Args:
        how: one of the endings below, or "" where the step could not be divided and nothing was saved (several processes).
    """

    ended = "out of memory"
    SAVED = ", saved"  # a checkpoint was saved; the resumed run divides its micro-batches into more parts
    SINGLE_ROW = " with a single row"  # the micro-batch cannot be divided further
    OPTIMIZER = " in the optimizer"  # dividing micro-batches does not help

    def __init__(self, text: str, how: str = ""):
        super().__init__(text)
        self.ended += how


@dataclass
class TrainResult:
    """How a run ended.

    Attributes:
        step: optimizer steps done.
        ended: "finished", "stopped early", "interrupted", or the text that the caller's `on_evaluation` returned.
        metrics: the record of the best evaluation (val_loss, perplexity, …); empty without a validation set.
        parameters: how many the model has.
        model_dir: the checkpoint to use: the best one, or without a validation set the latest.
        signal: the name of the signal that asked this process to stop, even if it came too late to interrupt; empty if none came.
    """

    run_dir: Path
    step: int
    ended: str
    metrics: dict[str, Any]
    parameters: int
    model_dir: Path | None
    signal: str = ""


Train = Callable[..., TrainResult]  # training.train.train; commands pass it down to the rooms that start runs


class ConfigError(Exception):
    """A mistake in the configuration or its files. The message says what is wrong, where, and what would be valid."""


DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EIO)  # errors of the disk, not of our code

"""How a run ends: with a result, or stopped by something that is no mistake in the config. Light, for callers."""

from __future__ import annotations

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
    """A step did not fit into memory, in the middle of the run or however small its parts."""

    ended = "out of memory"


@dataclass
class TrainResult:
    """How a run ended.

    Attributes:
        ended: finished, stopped early, interrupted, or what a caller's `on_evaluation` said.
        metrics: the record of the best evaluation (val_loss, perplexity, …); empty without a validation set.
        model_dir: the checkpoint to use: the best one, or without a validation set the latest.
    """

    run_dir: Path
    step: int
    ended: str
    metrics: dict[str, Any]
    model_dir: Path | None

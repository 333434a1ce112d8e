"""What preflight's rules look at: a config and the numbers of `numbers.py`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from training.diagnosis.finding import Finding
from training.settings.config import Config

MEMORY_PARTS = ("weights", "gradients", "optimizer", "average", "activations", "logits")


@dataclass(frozen=True)
class Facts:
    """A config and its preflight numbers; sections that are not known are empty."""

    config: Config
    parameters: dict[str, Any]
    shape: dict[str, Any]
    memory: dict[str, Any]
    vocabulary: dict[str, Any]
    data: dict[str, Any]
    horizon: dict[str, Any]
    time: dict[str, Any]
    forecast: dict[str, Any]

    @property
    def layers(self) -> int:
        """Layers of the deeper side; 0 if they are not known."""
        return self.shape.get("layers") or 0


Rule = Callable[[Facts], Finding | None]


def micro_batch(config: Config) -> tuple[str, int]:
    """The key that sets how much goes through the model at once (gpt: rows, translation: tokens), and its value."""
    if config.task == "gpt":
        return "batch.micro_batch_size", config.batch.micro_batch_size
    return "batch.tokens_per_batch", config.batch.tokens_per_batch


def smallest_batch(config: Config) -> int:
    """The least that this value can be: a row, or the longest pair."""
    if config.task == "gpt":
        return 1
    return min(config.batch.tokens_per_batch, max(config.batch.max_source_length, config.batch.max_target_length))

"""The input of preflight's rules: a config and the numbers of `numbers.py`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from training.diagnosis.finding import Finding
from training.settings.config import Config

MEMORY_PARTS = ("weights", "gradients", "optimizer", "average", "activations", "logits")


@dataclass(frozen=True)
class Facts:
    """A config and the sections of its preflight numbers; unknown sections are empty."""

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
        """Number of layers of the deeper side; 0 if unknown."""
        return self.shape.get("layers") or 0


Rule = Callable[[Facts], Finding | None]

"""What both tasks need: the ignored label, the inputs of a model, and generation that leaves training's dice alone."""

from __future__ import annotations

from typing import Any

import torch
from transformers import PreTrainedModel

from training.checkpoint import random_state, set_random_state

IGNORE_INDEX = -100  # labels with this value cost nothing (torch's own default)


def model_inputs(batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The part of a batch that goes into the model: not the labels, whose loss is the task's, nor where rows came from."""
    return {k: v for k, v in batch.items() if k not in ("labels", "rows")}


def generate(model: PreTrainedModel, seed: int, temperature: float = 0.0, **inputs: Any) -> torch.Tensor:
    """`model.generate`, sampled if temperature > 0, from its own seed: the training's random numbers stay as they were."""
    sampling: dict[str, Any] = {"do_sample": True, "temperature": temperature, "top_k": 0} if temperature > 0 else {"do_sample": False}
    before = random_state(model.device)
    try:
        torch.manual_seed(seed)
        return model.generate(**{"num_beams": 1, **sampling, **inputs})
    finally:
        set_random_state(before, model.device)

"""What both tasks need: the ignored label, token ids, the inputs of a model, and generation that leaves training's dice alone."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

IGNORE_INDEX = -100  # labels with this value cost nothing (torch's own default)


class Memory:
    """Token ids of texts, kept from one run of this process to the next: the trials of a study read the same rows.

    Args:
        most: tokens to keep, 4 bytes each; texts that come later are tokenized whenever they are met.
    """

    def __init__(self, most: int = 50_000_000):
        self.most, self.kept = most, 0
        self.by_tokenizer: dict[str, dict[str, np.ndarray]] = {}


class Encoder:
    """Texts to token ids. Without a memory every text is tokenized when it is met: a stream has no second epoch to speak of."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, special: bool, memory: Memory | None):
        """`special`: with the tokens that the tokenizer puts around a text."""
        self.tokenizer, self.special, self.memory = tokenizer, special, memory
        self.known: dict[str, np.ndarray] = {}
        if memory:
            name = hashlib.sha256(f"{special}{tokenizer.backend_tokenizer.to_str()}".encode()).hexdigest()
            self.known = memory.by_tokenizer.setdefault(name, {})

    def __call__(self, texts: list[str]) -> list[np.ndarray]:
        """int32 arrays (T,)."""
        if self.memory is None:
            return self._encode(texts)
        unmet = [text for text in dict.fromkeys(texts) if text not in self.known]
        fresh = dict(zip(unmet, self._encode(unmet)))
        for text, ids in fresh.items():
            if self.memory.kept < self.memory.most:
                self.memory.kept += len(ids)
                self.known[text] = ids
        return [self.known[text] if text in self.known else fresh[text] for text in texts]

    def _encode(self, texts: list[str]) -> list[np.ndarray]:
        encoded: list[np.ndarray] = []
        for start in range(0, len(texts), 256):  # the tokenizer's own records take a hundred bytes a token
            some = texts[start : start + 256]
            encoded += [np.array(ids, dtype=np.int32) for ids in self.tokenizer(some, add_special_tokens=self.special)["input_ids"]]
        return encoded


def model_inputs(batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The part of a batch that goes into the model: not the labels, whose loss is the task's, nor where rows came from."""
    return {k: v for k, v in batch.items() if k not in ("labels", "rows")}


def generate(model: PreTrainedModel, seed: int, temperature: float = 0.0, **inputs: Any) -> torch.Tensor:
    """`model.generate`, sampled if temperature > 0, from its own seed: the training's random numbers stay as they were."""
    sampling: dict[str, Any] = {"do_sample": True, "temperature": temperature, "top_k": 0} if temperature > 0 else {"do_sample": False}
    device = model.device
    # The CPU's generator is kept in any case; torch has no module with another one for a CPU that is named.
    with torch.random.fork_rng([] if device.type == "cpu" else [device], device_type=device.type):
        torch.manual_seed(seed)
        return model.generate(**{"num_beams": 1, **sampling, **inputs})

"""What a task is, as code: the `Task` protocol and the parts that tasks share. What differs as plain data is its `TaskSpec`.

A third task is a class in a file of this folder and a spec in `training/settings/task_specs.py` that names it; nothing else
asks which task it is. B: rows, T: tokens.
"""

from __future__ import annotations

import hashlib
import pkgutil
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from training.corpus.batches import Batch
from training.settings.config import Config
from training.settings.task_specs import TASKS, TaskSpec

IGNORE_INDEX = -100  # labels with this value cost nothing (torch's own default)


class TypicalGeneration(NamedTuple):
    """One of the calls of `generate` that an evaluation makes.

    Attributes:
        inputs: of the model: input_ids and attention_mask (B, T).
        length: tokens that it will write, in the mean.
        calls: how many such calls an evaluation makes.
    """

    inputs: dict[str, torch.Tensor]
    length: float
    calls: int


class Task(Protocol):
    """What the loop, the evaluation and preflight ask of a task. Classes inherit from it what is the same for all.

    A row is a dict with the texts of the task's columns and where it came from (`_shard` and `_row`).
    """

    spec: TaskSpec
    config: Config
    tokenizer: PreTrainedTokenizerFast
    packed: bool | None = None  # whether texts are joined end to end; None where the task knows no such thing

    def __init__(
        self, config: Config, tokenizer: PreTrainedTokenizerFast, sample: list[dict[str, Any]], token_cache: TokenCache | None = None
    ):  # fmt: skip
        """Settle what depends on the data.

        Args:
            sample: some training rows; empty where there are none yet.
            token_cache: for callers that train several runs on the same rows.
        """

    @property
    def context(self) -> int:
        """Most tokens that the model sees at once, on either side."""
        return self.spec.context(self.config.batch)

    def make_batches(self, rows: list[dict[str, Any]], rng: np.random.Generator | None) -> tuple[list[Batch], int]:
        """Micro-batches, and how many rows were too long for one.

        Args:
            rng: decides which rows go together and in what order; without it, by length and in order.

        Returns:
            Micro-batches of int arrays: those that `spec.tensors` names, (B, T) each, and `rows` (B, 2), the shard and row that each begins
            in. Labels are not shifted, and are IGNORE_INDEX where there is padding.
        """
        ...

    def loss(self, model: torch.nn.Module, batch: dict[str, torch.Tensor], smoothing: float = 0.0) -> tuple[torch.Tensor, torch.Tensor]:
        """Summed cross entropy in nats and the number of predicted tokens, both scalars. Labels are shifted here and nowhere else.

        Args:
            smoothing: share of the probability that label smoothing gives to all other tokens.
        """
        ...

    def targets(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """How many tokens of a micro-batch are predicted, as a scalar."""
        labels = batch["labels"][:, self.spec.unpredicted_labels :]
        return (labels != IGNORE_INDEX).sum()

    def padded_tokens(self, batch: Batch) -> int:
        """Tokens of a micro-batch, padding included; where a model reads one text and writes another, those of both."""
        by_side = {length: batch[name].size for name, length in self.spec.tensors.items()}
        return int(sum(by_side.values()))

    def characters(self, rows: list[dict[str, Any]]) -> int:
        """Characters that the loss of these rows is about; an end of text counts as none."""
        return sum(len(row[self.spec.target_column]) for row in rows)

    def samples(self, model: PreTrainedModel, rows: list[dict[str, Any]], seed: int) -> list[dict[str, Any]]:
        """What the model writes at an evaluation.

        Args:
            rows: of the validation set.
            seed: of the samples; generation leaves the training's random numbers as they were.

        Returns:
            [{prompt, text, stopped}] of an open-ended task, `stopped` being whether the text ended by itself; otherwise
            [{prompt, text, reference}] with "" where there is no reference.
        """
        ...

    def typical_generation(self, sample: list[dict[str, Any]], held_out: list[dict[str, Any]]) -> TypicalGeneration | None:
        """What takes the time in `samples`, for the probe of preflight; None if an evaluation writes nothing.

        Args:
            sample: some training rows.
            held_out: the validation rows.
        """
        ...


def task_class(name: str) -> type[Task]:
    """The class of a task, by the name that a config gives it."""
    found: type[Task] = pkgutil.resolve_name(TASKS[name].task_class)
    return found


class TokenCache:
    """Token ids of texts, kept from one run of this process to the next: the trials of a study read the same rows.

    Args:
        most: tokens to keep, 4 bytes each; texts that come later are tokenized whenever they are met.
    """

    def __init__(self, most: int = 50_000_000):
        self.most, self.kept = most, 0
        self.by_tokenizer: dict[str, dict[str, np.ndarray]] = {}


class Encoder:
    """Texts to token ids. Without a memory every text is tokenized when it is met: a stream has no second epoch to speak of."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, special: bool, token_cache: TokenCache | None):
        """`special`: with the tokens that the tokenizer puts around a text."""
        self.tokenizer, self.special, self.token_cache = tokenizer, special, token_cache
        self.known: dict[str, np.ndarray] = {}
        if token_cache:
            name = hashlib.sha256(f"{special}{tokenizer.backend_tokenizer.to_str()}".encode()).hexdigest()
            self.known = token_cache.by_tokenizer.setdefault(name, {})

    def __call__(self, texts: list[str]) -> list[np.ndarray]:
        """int32 arrays (T,)."""
        if self.token_cache is None:
            return self._encode(texts)
        unmet = [text for text in dict.fromkeys(texts) if text not in self.known]
        fresh = dict(zip(unmet, self._encode(unmet)))
        for text, ids in fresh.items():
            if self.token_cache.kept < self.token_cache.most:
                self.token_cache.kept += len(ids)
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

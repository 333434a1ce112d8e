"""What a task is, as code: the `Task` protocol and the parts that tasks share. A task's plain data is its `TaskSpec`.

A third task needs a class in a file of this folder and a spec in `training/settings/task_specs.py` that names the class; no other
code of the trainer asks which task it is (`inference/` and the page know gpt and translation). Legend: B rows, T tokens.
"""

from __future__ import annotations

import hashlib
import pkgutil
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from training.corpus.batches import Batch
from training.settings.config import Config
from training.settings.task_specs import TASKS, TaskSpec

IGNORE_INDEX = -100  # a label with this value adds nothing to the loss (torch's own default)


class TypicalGeneration(NamedTuple):
    """A typical call of `generate` in an evaluation.

    Attributes:
        inputs: the model's inputs: input_ids and attention_mask, (B, T) each.
        length: mean number of tokens that the call writes.
        calls: number of such calls in an evaluation.
    """

    inputs: dict[str, torch.Tensor]
    length: float
    calls: int


class Task(Protocol):
    """What the loop, the evaluation and preflight ask of a task. A class inherits the methods that are the same for all tasks.

    A row is a dict with the texts of the task's columns, and with `_shard` and `_row`, which say where it came from.
    """

    spec: TaskSpec
    config: Config
    tokenizer: PreTrainedTokenizerFast
    packed: bool | None = None  # whether texts are joined end to end; None if the task never joins any

    def __init__(
        self, config: Config, tokenizer: PreTrainedTokenizerFast, sample: list[dict[str, Any]], token_cache: TokenCache | None = None
    ):  # fmt: skip
        """Settle what depends on the data.

        Args:
            sample: some training rows; empty if there are none yet.
            token_cache: shared by callers that train several runs on the same rows.
        """

    @property
    def context(self) -> int:
        """The most tokens that the model sees at once, on either side."""
        return self.spec.context(self.config.batch)

    def make_batches(self, rows: list[dict[str, Any]], rng: np.random.Generator | None) -> tuple[list[Batch], int]:
        """Group rows into micro-batches.

        Args:
            rng: decides which rows go together and in what order; without it the result is always the same.

        Returns:
            The micro-batches, and the number of rows that were too long. A micro-batch holds the int arrays that `spec.tensors` names,
            (B, T) each, and `rows` (B, 2): the shard and row in which each of them begins. Labels are not shifted, and are
            IGNORE_INDEX at padding.
        """
        ...

    def loss(self, model: torch.nn.Module, batch: dict[str, torch.Tensor], smoothing: float = 0.0) -> tuple[torch.Tensor, torch.Tensor]:
        """Summed cross entropy in nats and the number of predicted tokens, both scalars. Labels are shifted here, never elsewhere.

        Args:
            smoothing: share of the target probability that is spread evenly over the vocabulary (torch's `label_smoothing`).
        """
        ...

    def targets(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """The number of predicted tokens in a micro-batch, as a scalar."""
        labels = batch["labels"][:, self.spec.unpredicted_labels :]
        return (labels != IGNORE_INDEX).sum()

    def padded_tokens(self, batch: Batch) -> int:
        """Tokens of a micro-batch, padding included. A task that reads one text and writes another counts both."""
        by_side = {length: batch[name].size for name, length in self.spec.tensors.items()}
        return int(sum(by_side.values()))

    def characters(self, rows: list[dict[str, Any]]) -> int:
        """Number of characters that the loss of these rows is about. The token that ends a text counts as none."""
        return sum(len(row[self.spec.target_column]) for row in rows)

    def samples(self, model: PreTrainedModel, rows: list[dict[str, Any]], seed: int) -> list[dict[str, Any]]:
        """Generate the texts of an evaluation.

        Args:
            rows: validation rows.
            seed: seed of the sampling; the training's own random numbers stay as they were.

        Returns:
            [{prompt, text, stopped}] for an open-ended task, where `stopped` says whether the model ended the text itself;
            otherwise [{prompt, text, reference}], with "" if there is no reference.
        """
        ...

    def typical_generation(self, sample: list[dict[str, Any]], held_out: list[dict[str, Any]]) -> TypicalGeneration | None:
        """The call that takes the time in `samples`, for preflight's probe; None if an evaluation writes nothing.

        Args:
            sample: some training rows.
            held_out: all validation rows.
        """
        ...


def task_class(name: str) -> type[Task]:
    """The class of a task, by the name that a config gives it."""
    resolved: type[Task] = pkgutil.resolve_name(TASKS[name].task_class)
    return resolved


class TokenCache:
    """Token ids of texts, kept from one run of this process to the next, because the trials of a study read the same rows.

    Args:
        max_tokens: how many tokens to keep, at 4 bytes each; texts that come later are tokenized each time they are used.
    """

    def __init__(self, max_tokens: int = 50_000_000):
        self.max_tokens, self.tokens = max_tokens, 0
        self.by_tokenizer: dict[str, dict[str, np.ndarray]] = {}


class Encoder:
    """Turns texts into token ids. Without a cache a text is tokenized each time it is used, since most streams are read once."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, special: bool, token_cache: TokenCache | None):
        """`special`: whether the tokenizer adds its special tokens to each text."""
        self.tokenizer, self.special, self.token_cache = tokenizer, special, token_cache
        self.cached: dict[str, np.ndarray] = {}
        if token_cache:
            name = hashlib.sha256(f"{special}{tokenizer.backend_tokenizer.to_str()}".encode()).hexdigest()
            self.cached = token_cache.by_tokenizer.setdefault(name, {})

    def __call__(self, texts: list[str]) -> list[np.ndarray]:
        """Token ids of each text, as int32 arrays (T,)."""
        if self.token_cache is None:
            return self._encode(texts)
        missing = [text for text in dict.fromkeys(texts) if text not in self.cached]
        encoded = dict(zip(missing, self._encode(missing)))
        for text, ids in encoded.items():
            if self.token_cache.tokens < self.token_cache.max_tokens:
                self.token_cache.tokens += len(ids)
                self.cached[text] = ids
        return [self.cached[text] if text in self.cached else encoded[text] for text in texts]

    def _encode(self, texts: list[str]) -> list[np.ndarray]:
        encoded: list[np.ndarray] = []
        for start in range(0, len(texts), 256):  # in groups, because the tokenizer's own records take a hundred bytes a token
            group = texts[start : start + 256]
            encoded += [np.array(ids, dtype=np.int32) for ids in self.tokenizer(group, add_special_tokens=self.special)["input_ids"]]
        return encoded


def summed_cross_entropy(logits: torch.Tensor, labels: torch.Tensor, smoothing: float) -> torch.Tensor:
    """The sum of the cross entropy in nats over all labels that are not IGNORE_INDEX, a scalar in float32.

    Args:
        logits: (B, T, V), in any precision.
        labels: (B, T), already those that the logits predict.
        smoothing: as `torch.nn.functional.cross_entropy` takes it.
    """
    return F.cross_entropy(
        logits.float().flatten(0, 1), labels.flatten(), ignore_index=IGNORE_INDEX, reduction="sum", label_smoothing=smoothing
    )


def model_inputs(batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors of a batch that go into the model: all but `labels`, since the task computes the loss itself, and `rows`."""
    return {k: v for k, v in batch.items() if k not in ("labels", "rows")}


def generate(model: PreTrainedModel, seed: int, temperature: float = 0.0, **inputs: Any) -> torch.Tensor:
    """Token ids (B, T) by `model.generate`, sampled from `seed` if temperature > 0; the training's random numbers stay as they were."""
    sampling: dict[str, Any] = {"do_sample": True, "temperature": temperature, "top_k": 0} if temperature > 0 else {"do_sample": False}
    device = model.device
    # fork_rng keeps the CPU's generator in any case, and fails if a CPU is listed among the devices.
    with torch.random.fork_rng([] if device.type == "cpu" else [device], device_type=device.type):
        torch.manual_seed(seed)
        return model.generate(**{"num_beams": 1, **sampling, **inputs})

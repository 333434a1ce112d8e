"""Task gpt: the model continues a text.

A text becomes `<|endoftext|> characters… <|endoftext|>`, so a model learns where to begin and where to stop. Short texts are
padded to the longest of their batch; long ones are joined end to end and cut into windows of `block_size`. Windows overlap by
one token, so that every token is predicted exactly once. Legend: B rows, T tokens, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from training.corpus.batches import Batch, pad
from training.model.tokenizer import text_of
from training.settings.config import Config
from training.settings.task_specs import GPT
from training.tasks.base import IGNORE_INDEX, Encoder, Task, TokenCache, TypicalGeneration, generate, model_inputs, summed_cross_entropy


class GptTask(Task):
    """Learns to continue texts."""

    spec = GPT

    def __init__(
        self, config: Config, tokenizer: PreTrainedTokenizerFast, sample: list[dict[str, Any]], token_cache: TokenCache | None = None
    ):  # fmt: skip
        """Arguments are those of `Task`. `sample` shows how long the texts are, if `batch.packing` is `auto`."""
        self.config, self.tokenizer, self.encode = config, tokenizer, Encoder(tokenizer, False, token_cache)
        self.block_size, self.rows_per_batch = config.batch.block_size, config.batch.micro_batch_size
        packing = config.batch.packing
        if packing == "auto":
            lengths = [len(ids) for ids in self.encode([row["text"] for row in sample[:2000]])]
            packing = "always" if np.median(lengths) > self.block_size / 2 else "never"
        self.packed = packing == "always"

    def make_batches(self, rows: list[dict[str, Any]], rng: np.random.Generator | None) -> tuple[list[Batch], int]:
        """Micro-batches of (B, T) input_ids and labels, and 0, because no text is too long. See `Task.make_batches`."""
        windows = self._pack(rows, rng) if self.packed else self._cut(rows)
        order = np.arange(len(windows))
        if rng is not None:
            order = rng.permutation(len(windows))
        if not self.packed:  # texts of similar length go together; the noise varies which ones do
            noise = rng.random(len(windows)) * 4 if rng is not None else np.zeros(len(windows))
            order = order[np.argsort([len(windows[k][0]) + noise[k] for k in order], kind="stable")]
        groups = [order[i : i + self.rows_per_batch] for i in range(0, len(order), self.rows_per_batch)]
        if rng is not None:
            groups = [groups[k] for k in rng.permutation(len(groups))]
        batches = []
        for group in groups:
            ids = [windows[k][0] for k in group]
            batches.append({
                "input_ids": pad(ids, self.tokenizer.pad_token_id, self.block_size), "labels": pad(ids, IGNORE_INDEX, self.block_size),
                "rows": np.array([windows[k][1] for k in group], dtype=np.int64),  # (B, 2): shard and row in which a window begins
            })  # fmt: skip
        return batches, 0

    def _cut(self, rows: list[dict[str, Any]]) -> list[tuple[np.ndarray, tuple[int, int]]]:
        """Cut each text by itself. Returns the windows, (T,) each, with the shard and row in which they begin."""
        end = np.array([self.tokenizer.eos_token_id], dtype=np.int32)
        windows = []
        for row, ids in zip(rows, self.encode([row["text"] for row in rows])):
            text = np.concatenate([*([end] if row.get("_first", True) else []), ids, *([end] if row.get("_last", True) else [])])
            if len(text) > 1:  # a single token predicts nothing
                windows += [(text[i : i + self.block_size], (row["_shard"], row["_row"])) for i in self._starts(0, len(text))]
        return windows

    def _pack(self, rows: list[dict[str, Any]], rng: np.random.Generator | None) -> list[tuple[np.ndarray, tuple[int, int]]]:
        """Join the texts and cut them, in each epoch at another offset if there is an `rng`. Returns what `_cut` returns."""
        end = np.array([self.tokenizer.eos_token_id], dtype=np.int32)
        parts: list[np.ndarray] = []
        owners = []
        ended = False
        for row, ids in zip(rows, self.encode([row["text"] for row in rows])):
            begins = [end] if row.get("_first", True) and not ended else []  # one token ends a text and begins the next
            ends = [end] if row.get("_last", True) else []
            parts += [*begins, ids, *ends]
            owners.append((sum(map(len, begins)) + len(ids) + len(ends), (row["_shard"], row["_row"])))
            ended = bool(ends)
        stream = np.concatenate(parts)
        bounds = np.cumsum([n for n, _ in owners])
        first = 0
        if rng is not None and len(stream) > self.block_size:
            first = int(rng.integers(1, self.block_size))
        starts = [0] * (first > 0) + self._starts(first, len(stream))
        windows = []
        for k, start in enumerate(starts):
            stop = first + 1 if first and k == 0 else start + self.block_size
            owner = owners[int(np.searchsorted(bounds, start, side="right"))][1]
            windows.append((stream[start:stop], owner))
        return windows

    def _starts(self, first: int, length: int) -> list[int]:
        return list(range(first, max(first + 1, length - 1), self.block_size - 1))

    def loss(self, model: torch.nn.Module, batch: dict[str, torch.Tensor], smoothing: float = 0.0) -> tuple[torch.Tensor, torch.Tensor]:
        """Summed cross entropy in nats and the number of predicted tokens, both scalars. This task's labels are shifted here alone."""
        logits = model(**model_inputs(batch), use_cache=False).logits[:, :-1]  # (B, T-1, V)
        labels = batch["labels"][:, 1:]  # (B, T-1)
        return summed_cross_entropy(logits, labels, smoothing), self.targets(batch)

    @torch.inference_mode()
    def samples(self, model: PreTrainedModel, rows: list[dict[str, Any]], seed: int) -> list[dict[str, Any]]:
        """Continuations of evaluation.prompts: [{prompt, text, stopped}]. Each prompt has a seed of its own. See `Task.samples`."""
        evaluation, continuations = self.config.evaluation, []
        for number, prompt in enumerate(evaluation.prompts if evaluation.samples else []):
            ids = self.tokenizer(prompt, return_tensors="pt")["input_ids"][:, -self.context :]
            length = max(1, min(evaluation.max_new_tokens, self.context - ids.shape[1]))  # a long prompt leaves less room
            input_ids = ids.repeat(evaluation.samples, 1).to(model.device)  # (B, T)
            inputs = {"input_ids": input_ids, "attention_mask": torch.ones_like(input_ids)}
            for tokens in generate(model, seed + number, **inputs, max_new_tokens=length, temperature=evaluation.temperature):
                new = tokens[input_ids.shape[1] :].tolist()
                stopped = self.tokenizer.eos_token_id in new
                continuations.append({"prompt": prompt, "text": text_of(self.tokenizer, new), "stopped": stopped})
        return continuations

    def typical_generation(self, sample: list[dict[str, Any]], held_out: list[dict[str, Any]]) -> TypicalGeneration | None:
        """The samples of one prompt, of a length that nine of ten training texts do not exceed."""
        evaluation = self.config.evaluation
        if not evaluation.samples or not evaluation.prompts:
            return None
        lengths = [len(ids) for ids in self.tokenizer([row["text"][:4000] for row in sample[:200]])["input_ids"]]
        length = min(evaluation.max_new_tokens, self.context, float(np.quantile(lengths, 0.9)))
        input_ids = torch.full((evaluation.samples, 1), self.tokenizer.bos_token_id)  # (B, T)
        inputs = {"input_ids": input_ids, "attention_mask": torch.ones_like(input_ids)}
        return TypicalGeneration(inputs, length, len(evaluation.prompts))

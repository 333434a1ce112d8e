"""Task translation: the model turns a sentence into another language.

Pairs of similar length go together in micro-batches of at most `tokens_per_batch` tokens, padding included. The decoder's input is
the labels moved right by one, made in `loss`. Legend: B pairs, S source tokens, T target tokens, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from training.corpus.batches import Batch, pad, padded
from training.model.tokenizer import text_of
from training.settings.config import Config
from training.settings.task_specs import TRANSLATION
from training.tasks.base import IGNORE_INDEX, Encoder, Task, TokenCache, TypicalGeneration, generate, model_inputs, summed_cross_entropy

GROUP = 64  # sentences that are translated in one call


class TranslationTask(Task):
    """Learns to turn the text of one column into the text of the other."""

    spec = TRANSLATION

    def __init__(
        self, config: Config, tokenizer: PreTrainedTokenizerFast, sample: list[dict[str, Any]], token_cache: TokenCache | None = None
    ):  # fmt: skip
        """Arguments are those of `Task`; `sample` is not used."""
        self.config, self.tokenizer, self.encode = config, tokenizer, Encoder(tokenizer, True, token_cache)

    def make_batches(self, rows: list[dict[str, Any]], rng: np.random.Generator | None) -> tuple[list[Batch], int]:
        """Micro-batches of (B, S) input_ids and attention_mask and (B, T) labels, and the number of pairs that were too long."""
        b = self.config.batch
        sources = self.encode([r["source"] for r in rows])
        targets = self.encode([r["target"] for r in rows])
        kept = [
            k for k in range(len(rows))
            if len(sources[k]) <= b.max_source_length and len(targets[k]) <= b.max_target_length
        ]  # fmt: skip
        noise = rng.random(len(rows)) if rng is not None else np.zeros(len(rows))
        # The longer side decides what a batch costs; among pairs of one length the noise varies which go together.
        kept.sort(key=lambda k: (max(len(sources[k]), len(targets[k])), len(targets[k]) + 2 * noise[k]))
        groups: list[list[int]] = []
        longest = 0
        for k in kept:
            width = max(padded(len(sources[k]), b.max_source_length), padded(len(targets[k]), b.max_target_length))
            longest = max(longest, width)
            if not groups or (len(groups[-1]) + 1) * longest > b.tokens_per_batch:
                groups.append([])
                longest = width
            groups[-1].append(k)
        if rng is not None:
            groups = [groups[k] for k in rng.permutation(len(groups))]
        batches = []
        for group in groups:
            batches.append({
                "input_ids": pad([sources[k] for k in group], self.tokenizer.pad_token_id, b.max_source_length),
                "attention_mask": pad([np.ones(len(sources[k]), dtype=np.int32) for k in group], 0, b.max_source_length),
                "labels": pad([targets[k] for k in group], IGNORE_INDEX, b.max_target_length),
                "rows": np.array([(rows[k]["_shard"], rows[k]["_row"]) for k in group], dtype=np.int64),  # (B, 2)
            })  # fmt: skip
        return batches, len(rows) - len(kept)

    def loss(self, model: torch.nn.Module, batch: dict[str, torch.Tensor], smoothing: float = 0.0) -> tuple[torch.Tensor, torch.Tensor]:
        """Summed cross entropy in nats and the number of target tokens, both scalars. This task's labels are shifted here alone."""
        labels = batch["labels"]  # (B, T)
        shifted = labels.new_full(labels.shape, self.tokenizer.eos_token_id)  # decoder_start_token_id, see model/build.py
        shifted[:, 1:] = labels[:, :-1].masked_fill(labels[:, :-1] == IGNORE_INDEX, self.tokenizer.pad_token_id)
        logits = model(**model_inputs(batch), decoder_input_ids=shifted, use_cache=False).logits  # (B, T, V)
        return summed_cross_entropy(logits, labels, smoothing), self.targets(batch)

    def samples(self, model: PreTrainedModel, rows: list[dict[str, Any]], seed: int) -> list[dict[str, Any]]:
        """Greedy translations of validation rows and of evaluation.prompts: [{prompt, text, reference}]."""
        e = self.config.evaluation
        shown = [(r["source"], r["target"]) for r in rows[: e.generate_rows]] + [(p, "") for p in e.prompts if p.strip()]
        longest = min(self.config.batch.max_target_length, e.max_new_tokens)
        texts = translate(model, self.tokenizer, [s for s, _ in shown], self.config.batch.max_source_length, longest)
        return [{"prompt": s, "text": t, "reference": r} for (s, r), t in zip(shown, texts)]

    def typical_generation(self, sample: list[dict[str, Any]], held_out: list[dict[str, Any]]) -> TypicalGeneration | None:
        """One group of validation sentences, those of middle length."""
        b, e = self.config.batch, self.config.evaluation
        shown = held_out[: e.generate_rows]
        if not shown:
            return None
        targets = self.tokenizer([row["target"] for row in shown])["input_ids"]
        # A group is generated until its longest translation ends, and its sentences are of similar length.
        length = min(e.max_new_tokens, b.max_target_length, float(np.quantile([len(ids) for ids in targets], 0.8)))
        rows, sources = min(GROUP, len(shown)), sorted((row["source"] for row in shown), key=len)
        first = (len(sources) - rows) // 2
        inputs = self.tokenizer(
            sources[first : first + rows], return_tensors="pt", padding=True, truncation=True, max_length=b.max_source_length
        )
        return TypicalGeneration(dict(inputs), length, -(-len(shown) // GROUP))


@torch.inference_mode()
def translate(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, sources: list[str], max_source_length: int, max_new_tokens: int,
    num_beams: int = 1,
) -> list[str]:  # fmt: skip
    """Translations in the order of `sources`, made for GROUP sentences of similar length at a time; greedy with one beam."""
    translations = [""] * len(sources)
    order = sorted(range(len(sources)), key=lambda k: len(sources[k]))
    for start in range(0, len(order), GROUP):
        group = order[start : start + GROUP]
        inputs = tokenizer(
            [sources[k] for k in group], return_tensors="pt", padding=True, truncation=True, max_length=max_source_length
        ).to(model.device)
        tokens = generate(model, 0, **inputs, max_new_tokens=max_new_tokens, num_beams=num_beams)
        for k, ids in zip(group, tokens.tolist()):
            translations[k] = text_of(tokenizer, ids)
    return translations

"""Preflight's rules on memory and vocabulary. Light: no torch."""

from __future__ import annotations

import itertools
import math

from training.diagnosis.finding import Finding
from training.estimate.facts import MEMORY_PARTS, Facts

VOCABULARIES = "Gowda & May 2020, arXiv:2004.02334"

MANY_ENTRIES = 64_000  # more than any published model for one pair of languages needs

DOMINATES = 0.4  # share of the peak of memory


def vocabulary_dominates(f: Facts) -> Finding | None:
    """The vocabulary is so large that it takes most of the memory; in a vocabulary of words most entries are seen once."""
    size, share = f.vocabulary.get("size", 0), f.memory.get("vocabulary_share", 0.0)
    if size < MANY_ENTRIES or share < DOMINATES:
        return None
    if f.config.tokenizer.type != "word" or f.config.tokenizer.path or not f.vocabulary.get("frequencies"):
        return _vocabulary_large(f)
    counted = f.vocabulary["frequencies"].get("at_least", {})
    higher = [k for k in ("5", "10", "20", "50") if int(k) > f.config.tokenizer.min_frequency and k in counted]
    better = next((k for k in higher if counted[k]["size"] < MANY_ENTRIES), higher[-1] if higher else None)
    if better is None or counted[better]["size"] >= size:  # vocab_size limits it, or min_frequency is as high as this table goes
        return _vocabulary_large(f)
    left = counted[better]["size"]
    rest = f.memory["peak_bytes"] - f.memory["vocabulary_bytes"]
    then = f.memory["vocabulary_bytes"] * left / size
    evidence = {
        "size": size, "share": share, "gigabytes": f.memory["vocabulary_bytes"] / 1e9, "peak_gigabytes": f.memory["peak_bytes"] / 1e9,
        "min_frequency": int(better), "size_then": left, "share_then": then / max(1.0, rest + then), "gigabytes_then": then / 1e9,
        "once": f.vocabulary.get("seen_once", 0.0),
    }  # fmt: skip
    return Finding("vocabulary_dominates", "problem", evidence, VOCABULARIES)


def _vocabulary_large(f: Facts) -> Finding:
    """The finding where a higher `min_frequency` does not help."""
    size, taken = f.vocabulary["size"], f.memory["vocabulary_bytes"]
    evidence = {
        "size": size, "share": f.memory["vocabulary_share"], "gigabytes": taken / 1e9, "peak_gigabytes": f.memory["peak_bytes"] / 1e9,
        "size_then": 32_000, "gigabytes_then": taken * 32_000 / size / 1e9,
    }  # fmt: skip
    return Finding("vocabulary_large", "problem", evidence, VOCABULARIES)


def memory_short(f: Facts) -> Finding | None:
    """The peak does not fit into the memory."""
    available, peak = f.memory.get("available_bytes"), f.memory.get("each_device_bytes", 0)
    if not available or peak <= available:
        return None
    largest = f.memory["largest_batch"]  # always there if the peak does not fit
    key, _ = f.config.spec.micro_batch(f.config.batch)
    evidence = {"gigabytes": peak / 1e9, "available": available / 1e9, "key": key, "largest": largest}
    if largest:
        return Finding("memory_short", "problem", evidence)
    return Finding("memory_never_fits", "problem", evidence | {"part": max(MEMORY_PARTS, key=lambda k: f.memory[k])})


def checkpointing_needless(f: Facts) -> Finding | None:
    """Gradient checkpointing costs a third more time, and the run would fit without it."""
    plain = f.memory.get("variants", {}).get("bf16" if f.config.train.mixed_precision in ("bf16", "fp16") else "float32")
    available = f.memory.get("available_bytes")
    if not (f.config.train.gradient_checkpointing and plain and available and plain < 0.5 * available):
        return None
    return Finding("checkpointing_needless", "note", {"gigabytes": plain / 1e9, "available": available / 1e9})


def vocabulary_for_data(f: Facts) -> Finding | None:
    """The vocabulary has far more entries than the pairs can teach."""
    rows, size = f.data.get("rows", 0), f.vocabulary.get("size", 0)
    if not f.config.spec.two_languages or not rows or not size or vocabulary_dominates(f) is not None:
        return None
    suggested = suggested_vocabulary(rows) + f.vocabulary.get("han", 0)
    if size <= 4 * suggested:
        return None
    return Finding("vocabulary_for_data", "warning", {"size": size, "rows": rows, "wanted": round(suggested, -2)}, VOCABULARIES)


def suggested_vocabulary(pairs: int) -> int:
    """Entries of a BPE vocabulary by the number of pairs: 1k for 30k, 8k for 1M, 32k from 4.5M (Gowda & May 2020).

    Between these points interpolated in both logarithms. The caller adds Chinese characters.
    """
    points = ((30e3, 1e3), (1e6, 8e3), (4.5e6, 32e3))
    if pairs <= points[0][0]:
        return int(points[0][1])
    for (x0, y0), (x1, y1) in itertools.pairwise(points):
        if pairs <= x1:
            share = math.log(pairs / x0) / math.log(x1 / x0)
            return round(math.exp(math.log(y0) + share * math.log(y1 / y0)))
    return int(points[-1][1])


def english_cut_small(f: Facts) -> Finding | None:
    """Single Chinese characters fill a joint vocabulary, so English is cut into small pieces."""
    columns, size = f.vocabulary.get("columns", {}), f.vocabulary.get("size", 0)
    target = columns.get("target", {})
    if (
        f.config.tokenizer.type != "bpe"
        or not size
        or f.vocabulary.get("han", 0) <= 0.5 * size
        or target.get("tokens_per_character", 0) <= 0.33
    ):
        return None
    evidence = {"han": f.vocabulary["han"], "size": size, "tokens": target["tokens_per_text"]}
    return Finding("english_cut_small", "warning", evidence)


def unknown_tokens(f: Facts) -> Finding | None:
    """Some tokens are not in the vocabulary; a model reads and writes them as `<unk>`."""
    unknown = f.vocabulary.get("unknown", 0.0)
    if unknown <= 0.001:
        return None
    return Finding("unknown_tokens", "warning", {"share": unknown, "min_frequency": f.config.tokenizer.min_frequency})


def entries_unused(f: Facts) -> Finding | None:
    """A third of the entries were seen at most once; they cost memory and learn nothing."""
    once, size = f.vocabulary.get("seen_once", 0.0), f.vocabulary.get("size", 0)
    if once <= 0.3 or size <= 1000 or vocabulary_dominates(f):  # that finding says so already
        return None
    return Finding("entries_unused", "note", {"share": once, "size": size})

"""What no type can express: values of a config that cannot be, by themselves or together."""

from __future__ import annotations

import functools
import math
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from training.settings.config import Config
from training.settings.checks import fields_below
from training.settings.task_specs import TASKS

MOST = 2**31 - 1  # of any count

MOST_TOKENS = 10**15  # the one horizon that may be larger

MOST_SEED = 2**32 - 2**16 - 1  # numpy's are below 2**32, and each process adds its number

MOST_ACCUMULATION = 10_000  # far beyond what anybody needs; a slip with more would hold a whole corpus in memory

MOST_WEIGHT = 1000.0  # of a source: an epoch is planned slice by slice


def relations(config: Config) -> list[str]:
    """A line for every relation between values that no type can express and that cannot be."""
    from training.settings.config import source_list  # which needs this module first

    c = config
    if c.task not in TASKS:  # which a parsed one cannot have
        return [f"task: {c.task!r} is not valid here; wanted one of {', '.join(TASKS)}"]
    problems: list[str] = []
    if not c.corpus.train:
        problems.append("corpus.train: no source given; name a file, e.g. corpus.train: data/verses.jsonl")
    if "type" not in c.model:
        problems.append("model.type: missing; name a model of transformers, e.g. qwen3 or m2m_100")
    elif not isinstance(c.model["type"], str):
        problems.append(f"model.type: {c.model['type']!r} is not valid here; name a model of transformers, e.g. qwen3 or m2m_100")
    if not c.run_dir.strip():
        problems.append("run_dir: is empty; name a folder, e.g. runs/verses")
    if not 0 <= c.seed <= MOST_SEED:
        problems.append(f"seed: {c.seed} must lie between 0 and {MOST_SEED}")
    if c.train.max_steps is None and c.train.max_tokens is None and c.train.max_minutes is None:
        problems.append("train: no horizon; set max_steps, max_tokens or max_minutes")
    if c.train.gradient_accumulation_steps > MOST_ACCUMULATION:
        many = f"{c.train.gradient_accumulation_steps:,} is more than {MOST_ACCUMULATION:,}"
        problems.append(f"train.gradient_accumulation_steps: {many}; a step would take so many micro-batches at once")
    positive = {
        "train.max_steps": c.train.max_steps, "train.max_tokens": c.train.max_tokens,
        "train.max_minutes": c.train.max_minutes,
        "train.gradient_accumulation_steps": c.train.gradient_accumulation_steps,
        "batch.block_size": c.batch.block_size, "batch.micro_batch_size": c.batch.micro_batch_size,
        "batch.tokens_per_batch": c.batch.tokens_per_batch, "batch.max_source_length": c.batch.max_source_length,
        "batch.max_target_length": c.batch.max_target_length, "optim.learning_rate": c.optim.learning_rate,
        "optim.muon_learning_rate": c.optim.muon_learning_rate, "evaluation.every_steps": c.evaluation.every_steps,
        "evaluation.max_rows": c.evaluation.max_rows, "evaluation.max_new_tokens": c.evaluation.max_new_tokens,
        "checkpoint.every_steps": c.checkpoint.every_steps, "checkpoint.keep": c.checkpoint.keep, "optim.eps": c.optim.eps,
        "log.every_steps": c.log.every_steps, "corpus.shuffle_rows": c.corpus.shuffle_rows,
        "corpus.max_rows": c.corpus.max_rows, "tokenizer.vocab_size": c.tokenizer.vocab_size,
        "tokenizer.sample_rows": c.tokenizer.sample_rows, "train.average_every_steps": c.train.average_every_steps,
    }  # fmt: skip
    problems += [f"{k}: {v} is not a positive number" for k, v in positive.items() if v is not None and not v > 0]
    two = {"block_size": c.batch.block_size, "max_source_length": c.batch.max_source_length, "max_target_length": c.batch.max_target_length}
    problems += [f"batch.{k}: 1 token is not enough to predict one from another" for k, v in two.items() if v == 1]
    shares = {
        "corpus.validation_share": c.corpus.validation_share, "optim.beta1": c.optim.beta1,
        "optim.beta2": c.optim.beta2, "train.label_smoothing": c.train.label_smoothing,
        "train.ema_decay": c.train.ema_decay,
    }  # fmt: skip
    problems += [f"{k}: {v} must be at least 0 and below 1" for k, v in shares.items() if not 0 <= v < 1]
    shares = {
        "optim.decay_share": c.optim.decay_share,
        "optim.final_ratio": c.optim.final_ratio,
        "train.average_share": c.train.average_share,
        "tokenizer.alphabet_coverage": c.tokenizer.alphabet_coverage,
    }
    problems += [f"{k}: {v} must lie between 0 and 1" for k, v in shares.items() if not 0 <= v <= 1]
    dropouts = {f"model.{k}": v for k, v in c.model.items() if "drop" in k and type(v) in (int, float)}
    problems += [f"{k}: {v} must be at least 0 and below 1" for k, v in dropouts.items() if not 0 <= v < 1]
    counts = {
        "corpus.workers": c.corpus.workers, "optim.warmup_steps": c.optim.warmup_steps,
        "optim.weight_decay": c.optim.weight_decay, "optim.max_grad_norm": c.optim.max_grad_norm,
        "train.early_stopping": c.train.early_stopping, "evaluation.generate_rows": c.evaluation.generate_rows,
        "evaluation.samples": c.evaluation.samples, "evaluation.temperature": c.evaluation.temperature,
        "tokenizer.min_frequency": c.tokenizer.min_frequency, "corpus.filters.max_chars": c.corpus.filters.max_chars,
        "corpus.filters.min_chars": c.corpus.filters.min_chars, "corpus.filters.max_ratio": c.corpus.filters.max_ratio,
    }  # fmt: skip
    problems += [f"{k}: {v} must not be negative" for k, v in counts.items() if not v >= 0]
    if not c.tokenizer.joint and not (c.spec.two_languages and c.tokenizer.type == "bpe"):
        tasks = " or ".join(name for name, spec in TASKS.items() if spec.two_languages)
        problems.append(f"tokenizer.joint: false needs two languages and merges to learn: task {tasks}, tokenizer.type bpe")
    wanted = list(c.spec.columns)
    columns = {"corpus.columns": c.corpus.columns}
    for key, value in {"corpus.train": c.corpus.train, "corpus.validation": c.corpus.validation}.items():
        columns |= {f"{key}: {s.path}: columns": s.columns or {} for s in source_list(value)}
        problems += [
            f"{key}: weight {s.weight} of {s.path} must be positive and at most {MOST_WEIGHT:.0f}"
            for s in source_list(value)
            if not 0 < s.weight <= MOST_WEIGHT
        ]
    for where, names in columns.items():
        problems += [f"{where}: no column is called {k!r} here; valid: {', '.join(wanted)}" for k in names if k not in wanted]
    odd = _odd_numbers(c)
    return list(odd.values()) + [p for p in problems if p.partition(":")[0] not in odd] + _odd_paths(c)


def _odd_numbers(config: Config) -> dict[str, str]:
    """Of each key whose number is not finite or too large for anything, a line."""
    found = {}
    values = {key: functools.reduce(getattr, key.split("."), config) for key in fields_below(type(config))}
    for key, value in (values | {f"model.{k}": v for k, v in config.model.items()}).items():
        most = MOST_TOKENS if key == "train.max_tokens" else MOST
        if isinstance(value, float) and not math.isfinite(value):
            found[key] = f"{key}: {value} is not a finite number"
        elif isinstance(value, int) and key != "seed" and value > most:
            found[key] = f"{key}: {value} is too large; at most {most}"
    return found


def _odd_paths(config: Config) -> list[str]:
    """A line for every path that no file can have, here or anywhere."""
    from training.settings.config import source_list

    paths = [("run_dir", config.run_dir), ("tokenizer.path", config.tokenizer.path)]
    for key, value in (("corpus.train", config.corpus.train), ("corpus.validation", config.corpus.validation)):
        paths += [(key, path) for s in source_list(value) for path in (s.path, s.target_path)]
    return [problem for key, path in paths if (problem := odd_path(key, path or ""))]


def odd_path(key: str, path: str) -> str:
    """Why no file can have this path, here or anywhere; empty if one can."""
    try:
        return f"{key}: {path!r} has a NUL character in it, which no path can" if "\0" in os.fsdecode(os.fsencode(path)) else ""
    except UnicodeEncodeError:
        return f"{key}: {path!r} cannot be a path under this locale, which is not UTF-8; set PYTHONUTF8=1 or LC_ALL=C.UTF-8"

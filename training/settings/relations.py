"""Checks of a run's config that types and bounds cannot express: combinations of values, numbers in `model`, and paths."""

from __future__ import annotations

import os

from annotated_types import Ge, Lt

from training.settings import bounds
from training.settings.config import Config, source_list
from training.settings.task_specs import TASKS


def relations(config: Config) -> list[str]:
    """A line for every invalid combination of values, and for every invalid value without a type of its own."""
    c = config
    if c.task not in TASKS:  # possible only in a config made in Python
        return [f"task: {c.task!r} is not valid here; wanted one of {', '.join(TASKS)}"]
    problems: list[str] = []
    if not c.corpus.train:
        problems.append("corpus.train: no source given; name a file, e.g. corpus.train: data/verses.jsonl")
    if "type" not in c.model:
        problems.append("model.type: missing; name a model of transformers, e.g. qwen3 or m2m_100")
    elif not isinstance(c.model["type"], str):
        problems.append(f"model.type: {c.model['type']!r} is not valid here; name a model of transformers, e.g. qwen3 or m2m_100")
    problems += _odd_numbers(c.model)
    if not c.run_dir.strip():
        problems.append("run_dir: is empty; name a folder, e.g. runs/verses")
    if c.train.max_steps is None and c.train.max_tokens is None and c.train.max_minutes is None:
        problems.append("train: no horizon; set max_steps, max_tokens or max_minutes")
    if not c.tokenizer.joint and not (c.spec.two_languages and c.tokenizer.type == "bpe"):
        tasks = " or ".join(name for name, spec in TASKS.items() if spec.two_languages)
        problems.append(f"tokenizer.joint: false needs two languages and merges to learn: task {tasks}, tokenizer.type bpe")
    valid = list(c.spec.columns)
    columns = {"corpus.columns": c.corpus.columns}
    for key, value in {"corpus.train": c.corpus.train, "corpus.validation": c.corpus.validation}.items():
        columns |= {f"{key}: {s.path}: columns": s.columns or {} for s in source_list(value)}
    for where, names in columns.items():
        problems += [f"{where}: no column is called {k!r} here; valid: {', '.join(valid)}" for k in names if k not in valid]
    return problems + _odd_paths(c)


def _odd_numbers(model: dict[str, object]) -> list[str]:
    """A line for every number in `model` that is invalid for any config class of transformers."""
    problems = []
    for key, value in model.items():
        if isinstance(value, int | float) and not isinstance(value, bool):
            problem = bounds.wrong(value, (Ge(0), Lt(1)) if "drop" in key else ())
            problems += [f"model.{key}: {value} {problem}"] if problem else []
    return problems


def _odd_paths(config: Config) -> list[str]:
    """A line for every path that is invalid on this system, whether or not there is a file."""
    paths = [("run_dir", config.run_dir), ("tokenizer.path", config.tokenizer.path)]
    for key, value in (("corpus.train", config.corpus.train), ("corpus.validation", config.corpus.validation)):
        paths += [(key, path) for s in source_list(value) for path in (s.path, s.target_path)]
    return [problem for key, path in paths if (problem := odd_path(key, path or ""))]


def odd_path(key: str, path: str) -> str:
    """Why a path is invalid on this system; empty if it is valid."""
    try:
        return f"{key}: {path!r} has a NUL character in it, which no path can" if "\0" in os.fsdecode(os.fsencode(path)) else ""
    except UnicodeEncodeError:
        return f"{key}: {path!r} cannot be a path under this locale, which is not UTF-8; set PYTHONUTF8=1 or LC_ALL=C.UTF-8"

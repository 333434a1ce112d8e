"""What is wrong with a config, told in words: unknown keys with the nearest valid one, values of a wrong type or range.

All mistakes are looked for before any is reported. What is reported is taken out of the tree, so that the rest of it
can still be looked at.
"""

from __future__ import annotations

import copy
import dataclasses
import difflib
import functools
import json
import math
import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, get_args, get_origin, get_type_hints

import jsonargparse

if TYPE_CHECKING:
    from training.config import Config


class ConfigError(Exception):
    """A mistake in the configuration or its files, told in plain words: what, where, and what would be valid."""


MOST = 2**31 - 1  # of any count
MOST_TOKENS = 10**15  # the one horizon that may be larger
MOST_SEED = 2**32 - 2**16 - 1  # numpy's are below 2**32, and each process adds its number
MOST_ACCUMULATION = 10_000  # far beyond what anybody needs; a slip with more would hold a whole corpus in memory
MOST_WEIGHT = 1000.0  # of a source: an epoch is planned slice by slice


def find(tree: dict[str, Any], cls: type, parser: jsonargparse.ArgumentParser, where: str, least: dict[str, Any]) -> list[str]:
    """A line for every mistake in `tree`, the values of `cls` as `where` gives them; they are taken out of `tree`.

    Args:
        least: a valid value for each field that has no default.
    """

    def accepts(key: str, value: Any) -> bool:
        return _accepts(parser, least, key, value)

    return _unknown(tree, cls, cls, "", where) + _wrong_types(tree, cls, accepts, where)


def choices(cls: type, key: str) -> str:
    """What `key` of `cls` may be, in words."""
    hint = get_type_hints(cls)[key]
    return " or ".join(map(str, get_args(hint))) if get_args(hint) else _plain(hint)


def merge(a: dict[str, Any], b: dict[str, Any]) -> dict[str, Any]:
    """`a` with the values of `b` put over it."""
    both = {**a, **b}
    return {k: merge(a[k], v) if isinstance(v, dict) and isinstance(a.get(k), dict) else v for k, v in both.items()}


def leaves(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """(dotted key, value) of everything in a tree that is not a section or a list of sections."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(f"{name}.{key}" if name else str(key), inner)
    elif isinstance(value, list) and value and all(isinstance(v, dict) for v in value):
        for k, inner in enumerate(value):
            yield from leaves(f"{name}[{k}]" if len(value) > 1 else name, inner)
    else:
        yield name, value


def shown(value: Any) -> str:
    """A value of a config, short enough for a line."""
    text = value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False, default=str)
    return "not set" if value is None else text if len(text) <= 100 else text[:99] + "…"


def from_options(argv: list[str]) -> dict[str, Any]:
    """`--a.b 1 --c=2` as a tree: {a: {b: "1"}, c: "2"}. What a help or config option says is none of it."""
    tree: dict[str, Any] = {}
    for option, following in zip(argv, [*argv[1:], ""]):
        name, equals, value = option.partition("=")
        key = name.removeprefix("--").removesuffix("+")
        if not name.startswith("--") or key in ("", "config", "help") or key.startswith("print_"):
            continue
        nested: Any = value if equals else following
        for part in reversed(key.split(".")):
            nested = {part: nested}
        tree = merge(tree, nested)
    return tree


def _dataclass_in(hint: Any) -> type | None:
    """The dataclass that a type hint holds, e.g. SourceConfig in `str | list[str | SourceConfig]`."""
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return hint
    return next((d for d in map(_dataclass_in, get_args(hint)) if d), None)


def _unknown(tree: dict[str, Any], cls: type, root: type, prefix: str, where: str) -> list[str]:
    """A line for every key of `tree` that is no field of `cls`, and for every section that is none."""
    problems: list[str] = []
    hints = get_type_hints(cls)
    for key, value in list(tree.items()):
        if key not in hints:
            near = difflib.get_close_matches(str(key), list(hints), 1, 0.5)
            elsewhere = [p for p in _leaves(root) if p.endswith("." + str(key))]
            hint = f"did you mean {prefix + near[0]}?" if near else f"did you mean {elsewhere[0]}?" if elsewhere else ""
            problems.append(f"{where}: unknown key {prefix}{key}; " + (hint or f"valid: {', '.join(hints)}"))
            del tree[key]
        elif inner := _dataclass_in(hints[key]):
            if inner is hints[key] and not isinstance(value, dict):
                valid = ", ".join(get_type_hints(inner))
                said = "is empty; leave it out or give it keys" if value is None else f"{value!r} is not valid here; wanted keys and values"
                problems.append(f"{where}: {prefix}{key}: {said}: {valid}")
                del tree[key]
                continue
            if value is None and type(None) not in get_args(hints[key]):
                problems.append(_null(where, prefix + key, hints[key]))
                del tree[key]
            for item in value if isinstance(value, list) else [value]:
                if isinstance(item, dict):
                    problems += _unknown(item, inner, root, f"{prefix}{key}.", where)
        elif value is None and type(None) not in get_args(hints[key]):  # which jsonargparse lets pass
            problems.append(_null(where, prefix + key, hints[key]))
            del tree[key]
    return problems


def _null(where: str, key: str, hint: Any) -> str:
    return f"{where}: {key}: null is not valid here; wanted {_plain(hint)}, or leave the key out for its default"


def _leaves(cls: type, prefix: str = "") -> dict[str, Any]:
    """Every dotted key below `cls` with its type."""
    found: dict[str, Any] = {}
    for name, hint in get_type_hints(cls).items():
        inner = _dataclass_in(hint)
        found |= _leaves(inner, f"{prefix}{name}.") if inner and inner is hint else {prefix + name: hint}
    return found


def _wrong_types(tree: dict[str, Any], cls: type, accepts: Callable[[str, Any], bool], where: str) -> list[str]:
    """A line for every leaf whose value jsonargparse refuses, found one leaf at a time."""
    problems: list[str] = []
    if accepts("", tree):
        return problems
    for key, hint in _leaves(cls).items():
        *sections, last = key.split(".")
        holder: Any = tree
        for part in sections:
            holder = holder.get(part, {})
        if last not in holder or accepts(key, holder[last]):
            continue
        value, inner = holder.pop(last), _dataclass_in(hint)
        items = value if isinstance(value, list) else [value]
        inside = [p for item in items for p in _in_item(item, inner, accepts, key)] if inner else []
        problems += [f"{where}: {p}" for p in inside or [f"{key}: {value!r} is not valid here; wanted {_plain(hint)}"]]
    return problems


def _in_item(item: Any, cls: type, accepts: Callable[[str, Any], bool], key: str) -> list[str]:
    """The mistakes of one of several sources."""
    if not isinstance(item, dict):
        return [] if isinstance(item, str) else [f"{key}: {item!r} is not valid here; wanted a path, or keys and values"]
    required = [f.name for f in dataclasses.fields(cls) if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING]
    hints = get_type_hints(cls)
    problems = [f"{key}: {item!r} has no {name}" for name in required if name not in item]
    filled = {name: "x" for name in required}
    return problems + [
        f"{key}.{name}: {value!r} is not valid here; wanted {_plain(hints[name])}"
        for name, value in item.items()
        if not accepts(key, {**filled, name: value})
    ]


def _accepts(parser: jsonargparse.ArgumentParser, least: dict[str, Any], key: str, value: Any) -> bool:
    """Whether `key` may have this value; without a key, whether the whole tree is fine."""
    nested = copy.deepcopy(value)  # the parser writes into what it is given
    for part in reversed(key.split(".") if key else []):
        nested = {part: nested}
    try:
        parser.parse_object({**least, **nested})
    except (jsonargparse.ArgumentError, TypeError, ValueError, RecursionError):
        return False
    return True


def _plain(hint: Any) -> str:
    """A type in words: Literal['a', 'b'] -> one of a, b."""
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}
    if hint in words:
        return words[hint]
    if get_origin(hint) is list:
        return "a list, each " + _plain(get_args(hint)[0])
    if get_origin(hint) is dict:
        return "keys and values in braces"
    args = [a for a in get_args(hint) if a is not type(None)]
    if args and all(isinstance(a, str) for a in args):
        return "one of " + ", ".join(args)
    if len(args) == 1:
        return _plain(args[0])
    return "a path, a source (path: …, and what belongs to it) or a list of them"


def relations(config: Config) -> list[str]:
    """A line for every relation between values that no type can express and that cannot be."""
    from training.config import sources  # which needs this module first

    c = config
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
    if not c.tokenizer.joint and (c.task, c.tokenizer.type) != ("translation", "bpe"):
        problems.append("tokenizer.joint: false needs two languages and merges to learn: task translation, tokenizer.type bpe")
    wanted = {"gpt": ["text"], "translation": ["source", "target"]}[c.task]
    columns = {"corpus.columns": c.corpus.columns}
    for key, value in {"corpus.train": c.corpus.train, "corpus.validation": c.corpus.validation}.items():
        columns |= {f"{key}: {s.path}: columns": s.columns or {} for s in sources(value)}
        problems += [
            f"{key}: weight {s.weight} of {s.path} must be positive and at most {MOST_WEIGHT:.0f}"
            for s in sources(value)
            if not 0 < s.weight <= MOST_WEIGHT
        ]
    for where, names in columns.items():
        problems += [f"{where}: no column is called {k!r} here; valid: {', '.join(wanted)}" for k in names if k not in wanted]
    odd = _odd_numbers(c)
    return list(odd.values()) + [p for p in problems if p.partition(":")[0] not in odd] + _odd_paths(c)


def _odd_numbers(config: Config) -> dict[str, str]:
    """Of each key whose number is not finite or too large for anything, a line."""
    found = {}
    values = {key: functools.reduce(getattr, key.split("."), config) for key in _leaves(type(config))}
    for key, value in (values | {f"model.{k}": v for k, v in config.model.items()}).items():
        most = MOST_TOKENS if key == "train.max_tokens" else MOST
        if isinstance(value, float) and not math.isfinite(value):
            found[key] = f"{key}: {value} is not a finite number"
        elif isinstance(value, int) and key != "seed" and value > most:
            found[key] = f"{key}: {value} is too large; at most {most}"
    return found


def _odd_paths(config: Config) -> list[str]:
    """A line for every path that no file can have, here or anywhere."""
    from training.config import sources

    paths = [("run_dir", config.run_dir), ("tokenizer.path", config.tokenizer.path)]
    for key, value in (("corpus.train", config.corpus.train), ("corpus.validation", config.corpus.validation)):
        paths += [(key, path) for s in sources(value) for path in (s.path, s.target_path)]
    return [problem for key, path in paths if (problem := odd_path(key, path or ""))]


def odd_path(key: str, path: str) -> str:
    """Why no file can have this path, here or anywhere; empty if one can."""
    try:
        return f"{key}: {path!r} has a NUL character in it, which no path can" if "\0" in os.fsdecode(os.fsencode(path)) else ""
    except UnicodeEncodeError:
        return f"{key}: {path!r} cannot be a path under this locale, which is not UTF-8; set PYTHONUTF8=1 or LC_ALL=C.UTF-8"

"""Model folders on disk: which ones are complete, what they are called, how large they are.

A *model folder* holds config.json, tokenizer.json, tokenizer_config.json, the weights (model.safetensors, or several files with
an index, or only the int8 copy in ctranslate2/) and meta.json, which is written last: a folder without it is incomplete and is
not listed. A *run folder* holds `best` and/or `latest`, each with one line that names a model folder under `checkpoints/`.
This module imports nothing heavy and reads no weights.

    python -m inference.folders        lists the models that the app would offer
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast

Task = Literal["gpt", "translation"]

REQUIRED = ("config.json", "tokenizer.json", "tokenizer_config.json", "meta.json")

WEIGHTS = ("model.safetensors", "model.safetensors.index.json")  # a single file, or the index of several files

COPY = "ctranslate2"  # the folder of the int8 copy

PARITY_FILE = "parity.json"  # in that folder: how well the copy agrees with the weights, written by training/export.py

COPY_WEIGHTS = ("model.bin", "model.bin.00")  # the weights of the copy: a single file, or the first of several parts

CONTEXT_NAMES = ("max_position_embeddings", "n_positions", "max_seq_len")  # keys of config.json that give the longest input in tokens

MAX_JSON_BYTES = 4_000_000

MAX_HEADER_BYTES = 20_000_000

MAX_EXAMPLES, MAX_EXAMPLE_CHARS = 8, 200


class ModelError(Exception):
    """A problem with a model or a request, as one sentence for the visitor, in both languages."""


@dataclass(frozen=True)
class ModelInfo:
    """One model that can be served."""

    name: str  # unique among the listed models; the endpoints take it as `model`
    path: Path  # the folder with the weights
    task: Task
    step: int | None  # number of optimizer steps; None when meta.json does not have it
    parameters: int | None  # None when the weights' header cannot be read
    context: int | None  # the longest input in tokens; None when config.json names no limit
    examples: tuple[str, ...]  # example inputs from meta.json
    stamp: int  # modification time of meta.json in ns, so that a folder rewritten in place is loaded again

    @property
    def label(self) -> str:
        """The text that a list of models shows: `verses · step 1,200 · 3.2M`."""
        parts = [self.name]
        if self.step is not None:
            parts.append(f"step {self.step:,}")
        if self.parameters is not None:
            parts.append(_short(self.parameters))
        return " · ".join(parts)


def default_roots() -> list[Path]:
    """The folders in MODELS_DIR, separated as in PATH; without it, ./runs and ./models."""
    given = os.environ.get("MODELS_DIR", "").strip()
    return [Path(part) for part in given.split(os.pathsep) if part] if given else [Path("runs"), Path("models")]


def find_models(roots: Iterable[str | Path] | None = None) -> list[ModelInfo]:
    """Every complete model under `roots`, ordered by root and name.

    A run contributes its best model and, if it is another one, its latest as `name/latest`, so that a visitor can see
    what overfitting sounds like. A root may also be a run or model folder itself. Other folders are skipped without an
    error, because a run that is being written looks like one of them.
    """
    models: list[ModelInfo] = []
    names: set[str] = set()
    for root in [Path(root) for root in roots] if roots is not None else default_roots():
        for folder in [root, *sorted(_children(root), key=_natural)]:
            for suffix, model in _models_in(folder):
                info = _read(model, folder.resolve().name + suffix)
                if info is None:
                    continue
                if info.name in names:  # the same name in runs/ and in models/
                    info = replace(info, name=f"{folder.resolve().parent.name}/{info.name}")
                if info.name in names:
                    info = replace(info, name=str(folder.resolve()) + suffix)
                if info.name not in names:
                    names.add(info.name)
                    models.append(info)
    return models


def _children(folder: Path) -> list[Path]:
    try:
        return [child for child in folder.iterdir() if child.is_dir() and not child.name.startswith(".")]
    except OSError:  # missing, not a folder, not readable
        return []


def _natural(path: Path) -> tuple[Any, ...]:
    """A sort key that compares digits as numbers, so that step-9 comes before step-10."""
    return tuple((0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d+)", path.name.lower()) if part)


def _models_in(folder: Path) -> list[tuple[str, Path]]:
    """(suffix of the name, model folder) of each complete model that `folder` is or points to."""
    if _complete(folder):
        return [("", folder)]
    checkpoints = folder / "checkpoints"
    models = []
    for pointer in ("best", "latest"):
        try:
            if not (folder / pointer).is_file():  # reading a pipe would never end
                continue
            target = (folder / pointer).read_text(encoding="utf-8")[:1000].strip()
        except (OSError, UnicodeDecodeError):
            continue
        # Only a plain name is accepted: a pointer must not lead out of the run folder.
        if target and target == Path(target).name and target not in (".", "..") and _complete(checkpoints / target):
            models.append((pointer, checkpoints / target))
    if not models and ((folder / "best").is_file() or (folder / "latest").is_file()):  # stale pointers: take the newest complete checkpoint
        models = [("", path) for path in sorted(_children(checkpoints), key=_natural, reverse=True) if _complete(path)][:1]
    if len(models) == 2 and models[0][1] != models[1][1]:
        return [("", models[0][1]), ("/latest", models[1][1])]
    return [("", path) for _, path in models[:1]]


def _complete(folder: Path) -> bool:
    try:
        return all((folder / name).is_file() for name in REQUIRED) and (
            any((folder / name).is_file() for name in WEIGHTS) or any((folder / COPY / name).is_file() for name in COPY_WEIGHTS)
        )
    except OSError:
        return False


def _read(folder: Path, name: str) -> ModelInfo | None:
    """The description of a complete model folder, read from its JSON files and headers; None when they are unreadable."""
    meta, config = _json(folder / "meta.json"), _json(folder / "config.json")
    if meta is None or config is None:
        return None
    task = meta.get("task")
    if task not in ("gpt", "translation"):
        task = "translation" if config.get("is_encoder_decoder") is True else "gpt"
    step, examples = meta.get("step"), meta.get("examples")
    lines = [line for line in examples if isinstance(line, str)] if isinstance(examples, list) else []
    try:
        stamp = (folder / "meta.json").stat().st_mtime_ns
    except OSError:
        return None
    return ModelInfo(
        name=name,
        path=folder,
        task=cast(Task, task),
        step=step if isinstance(step, int) and not isinstance(step, bool) else None,
        parameters=_parameters(folder, meta),
        context=next((n for n in map(config.get, CONTEXT_NAMES) if isinstance(n, int) and n > 0), None),
        examples=tuple(line[:MAX_EXAMPLE_CHARS] for line in lines[:MAX_EXAMPLES]),
        stamp=stamp,
    )


def _parameters(folder: Path, meta: dict[str, Any]) -> int | None:
    """The parameter count from the weights' headers or, with an int8 copy alone, from meta.json; None if a weights file is truncated."""
    index = _json(folder / WEIGHTS[1])
    if index is not None and isinstance(index.get("weight_map"), dict):
        files = {name for name in index["weight_map"].values() if isinstance(name, str) and name == Path(name).name}
        counts = [count_parameters(folder / name) for name in sorted(files)]
        return sum(n or 0 for n in counts) if counts and all(counts) else None
    if (folder / WEIGHTS[0]).is_file():
        return count_parameters(folder / WEIGHTS[0])
    count = meta.get("parameters")
    return count if isinstance(count, int) and not isinstance(count, bool) else None


def _json(path: Path) -> dict[str, Any] | None:
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            return None
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def count_parameters(weights: Path) -> int | None:
    """How many numbers a safetensors file stores, read from its header alone; None when the file is truncated or damaged."""
    try:
        with weights.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= MAX_HEADER_BYTES:
                return None
            header = json.loads(file.read(length))
        entries = [entry for key, entry in header.items() if key != "__metadata__"]
        if 8 + length + max(entry["data_offsets"][1] for entry in entries) != weights.stat().st_size:
            return None
        total = 0
        for entry in entries:
            size = 1
            for dimension in entry["shape"]:
                size *= int(dimension)
            total += size
        return total
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError):
        return None


def _short(count: int) -> str:
    """A count in short: 3_210_000 -> 3.2M."""
    for unit, scale in (("B", 1_000_000_000), ("M", 1_000_000), ("k", 1_000)):
        if count >= scale:
            return f"{count / scale:.1f}{unit}" if count < 10 * scale else f"{count / scale:.0f}{unit}"
    return str(count)


if __name__ == "__main__":
    for model in find_models():
        print(f"{model.task:<12} {model.label}  ({model.path})")

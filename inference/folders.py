"""Model folders on disk: which ones are complete, what they are called, how large they are.

A *model folder* holds config.json, tokenizer.json, tokenizer_config.json, the weights (model.safetensors, or several files and
their index, or only the int8 copy in ctranslate2/) and, written last, meta.json; a folder without meta.json is incomplete and is
not listed. A *run folder* holds `best` and/or `latest`, one line each, naming a model folder under `checkpoints/`. Nothing heavy
is imported and no weight is read here:

    python -m serving.folders        lists what the app would offer
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

WEIGHTS = ("model.safetensors", "model.safetensors.index.json")  # in one file, or in several

COPY, TOLD = "ctranslate2", "parity.json"  # an int8 copy, and what training/export.py found out about it

COPIED = ("model.bin", "model.bin.00")  # its weights, in one file or the first of several

CONTEXT_NAMES = ("max_position_embeddings", "n_positions", "max_seq_len")  # of a model's most tokens, in its config

MAX_JSON_BYTES = 4_000_000

MAX_HEADER_BYTES = 20_000_000

MAX_EXAMPLES, MAX_EXAMPLE_CHARS = 8, 200


class ModelError(Exception):
    """What went wrong with a model or a request, in one sentence that a visitor can read (both languages)."""


@dataclass(frozen=True)
class ModelInfo:
    """One model that can be served."""

    name: str  # unique among the models found; what the endpoints take as `model`
    path: Path  # the folder with the weights
    task: Task
    step: int | None  # optimizer steps, None when meta.json does not say
    parameters: int | None  # None when the weights' header cannot be read
    context: int | None  # the most tokens that it can take, None when config.json names no limit
    examples: tuple[str, ...]  # inputs to click, () when meta.json has none
    stamp: int  # meta.json's mtime in ns: a folder rewritten in place is loaded anew

    @property
    def label(self) -> str:
        """For people: `verses · step 1,200 · 3.2M`."""
        parts = [self.name]
        if self.step is not None:
            parts.append(f"step {self.step:,}")
        if self.parameters is not None:
            parts.append(_short(self.parameters))
        return " · ".join(parts)


def default_roots() -> list[Path]:
    """MODELS_DIR (one folder, or several with the system's path separator), else ./runs and ./models."""
    given = os.environ.get("MODELS_DIR", "").strip()
    return [Path(part) for part in given.split(os.pathsep) if part] if given else [Path("runs"), Path("models")]


def find_models(roots: Iterable[str | Path] | None = None) -> list[ModelInfo]:
    """Every complete model under `roots`, in the order root, name: of a run its best, and its latest as `name/latest`
    where that is another one, so that a visitor can see what overfitting sounds like.

    A root may also be a run or model folder itself. What is not a model is passed over in silence; no error
    is raised for it, since a run that is being written looks like that too.
    """
    found: list[ModelInfo] = []
    taken: set[str] = set()
    for root in [Path(root) for root in roots] if roots is not None else default_roots():
        for folder in [root, *sorted(_children(root), key=_natural)]:
            for suffix, model in _models_in(folder):
                info = _read(model, folder.resolve().name + suffix)
                if info is None:
                    continue
                if info.name in taken:  # the same name in runs/ and in models/
                    info = replace(info, name=f"{folder.resolve().parent.name}/{info.name}")
                if info.name in taken:
                    info = replace(info, name=str(folder.resolve()) + suffix)
                if info.name not in taken:
                    taken.add(info.name)
                    found.append(info)
    return found


def _children(folder: Path) -> list[Path]:
    try:
        return [child for child in folder.iterdir() if child.is_dir() and not child.name.startswith(".")]
    except OSError:  # missing, not a folder, not readable
        return []


def _natural(path: Path) -> tuple[Any, ...]:
    """step-9 before step-10: digits compare as numbers."""
    return tuple((0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d+)", path.name.lower()) if part)


def _models_in(folder: Path) -> list[tuple[str, Path]]:
    """(suffix of the name, model folder) of the complete models that `folder` is or points to."""
    if _complete(folder):
        return [("", folder)]
    checkpoints, found = folder / "checkpoints", []
    for pointer in ("best", "latest"):
        try:
            if not (folder / pointer).is_file():  # a pipe would never end
                continue
            target = (folder / pointer).read_text(encoding="utf-8")[:1000].strip()
        except (OSError, UnicodeDecodeError):
            continue
        # A plain name only: a pointer must not lead out of the run folder.
        if target and target == Path(target).name and target not in (".", "..") and _complete(checkpoints / target):
            found.append((pointer, checkpoints / target))
    if not found and ((folder / "best").is_file() or (folder / "latest").is_file()):  # stale: take the newest that is whole
        found = [("", path) for path in sorted(_children(checkpoints), key=_natural, reverse=True) if _complete(path)][:1]
    if len(found) == 2 and found[0][1] != found[1][1]:
        return [("", found[0][1]), ("/latest", found[1][1])]
    return [("", path) for _, path in found[:1]]


def _complete(folder: Path) -> bool:
    try:
        return all((folder / name).is_file() for name in REQUIRED) and (
            any((folder / name).is_file() for name in WEIGHTS) or any((folder / COPY / name).is_file() for name in COPIED)
        )
    except OSError:
        return False


def _read(folder: Path, name: str) -> ModelInfo | None:
    """What the small files say about a complete folder; None when they are unreadable."""
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
    """Of the weights' headers; of meta.json where only the int8 copy is there. None when a file of the weights is not whole."""
    index = _json(folder / WEIGHTS[1])
    if index is not None and isinstance(index.get("weight_map"), dict):
        files = {name for name in index["weight_map"].values() if isinstance(name, str) and name == Path(name).name}
        counts = [count_parameters(folder / name) for name in sorted(files)]
        return sum(n or 0 for n in counts) if counts and all(counts) else None
    if (folder / WEIGHTS[0]).is_file():
        return count_parameters(folder / WEIGHTS[0])
    told = meta.get("parameters")
    return told if isinstance(told, int) and not isinstance(told, bool) else None


def _json(path: Path) -> dict[str, Any] | None:
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            return None
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def count_parameters(weights: Path) -> int | None:
    """Numbers stored in a safetensors file, read from its header alone; None when the file is not whole."""
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
    """3_210_000 -> 3.2M."""
    for unit, scale in (("B", 1_000_000_000), ("M", 1_000_000), ("k", 1_000)):
        if count >= scale:
            return f"{count / scale:.1f}{unit}" if count < 10 * scale else f"{count / scale:.0f}{unit}"
    return str(count)


if __name__ == "__main__":
    for model in find_models():
        print(f"{model.task:<12} {model.label}  ({model.path})")

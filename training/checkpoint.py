"""Checkpoints: a publishable model folder, and beside it the trainer's state, from which a run goes on exactly.

A folder is written beside its place and renamed into it, so a kill leaves a whole checkpoint or none. Tensors are in
safetensors, the rest in JSON: nothing here is ever unpickled.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, load_model, save_file, save_model
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from training.config import ConfigError
from training.run_folder import write

FILES = ("config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "README.md", "meta.json")


def save(
    run_dir: Path, step: int, model: PreTrainedModel, weights: dict[str, torch.Tensor], tokenizer: PreTrainedTokenizerFast,
    meta: dict[str, Any], card: str, state: dict[str, Any], tensors: dict[str, torch.Tensor], raw: torch.nn.Module | None,
) -> Path:  # fmt: skip
    """Write `checkpoints/step-…` whole.

    Args:
        weights: the state dict to publish (the averaged one, if the run averages).
        meta: what meta.json says; written last.
        state, tensors: the trainer's numbers and tensors (optimizers, random number generators).
        raw: the model whose weights the training goes on with, if they are not the published ones.
    """
    place = run_dir / "checkpoints" / f"step-{step:08d}"
    beside = place.with_name(f".tmp-{place.name}")
    shutil.rmtree(beside, ignore_errors=True)
    inner = beside / "trainer_state"
    inner.mkdir(parents=True)
    model.save_pretrained(beside, state_dict=weights, max_shard_size="1000GB")
    tokenizer.save_pretrained(beside)
    write(beside / "README.md", card)
    save_file({k: v.contiguous().cpu() for k, v in tensors.items()}, inner / "tensors.safetensors")
    if raw is not None:
        save_model(raw, str(inner / "weights.safetensors"))
    write(inner / "state.json", json.dumps(state, indent=1))
    for path in beside.rglob("*"):  # on disk before meta.json says so
        if path.is_file():
            with open(path, "rb+") as f:
                os.fsync(f.fileno())
    write(beside / "meta.json", json.dumps(meta, ensure_ascii=False, indent=1))
    if place.exists():
        shutil.rmtree(place)
    os.replace(beside, place)
    return place


def point(run_dir: Path, name: str, place: Path) -> None:
    """`best` or `latest`: one line, the name of a folder under checkpoints/."""
    write(run_dir / name, place.name + "\n")


def pointed(run_dir: Path, name: str) -> Path | None:
    """The checkpoint that `best` or `latest` names, if it is whole."""
    try:
        place = run_dir / "checkpoints" / (run_dir / name).read_text(encoding="utf-8").strip()
    except OSError:
        return None
    return place if (place / "meta.json").is_file() else None


def newest(run_dir: Path) -> Path | None:
    """The latest whole checkpoint with its trainer state, also if the kill came before `latest` was written."""
    whole = [p.parent for p in (run_dir / "checkpoints").glob("step-*/meta.json") if (p.parent / "trainer_state").is_dir()]
    return max(whole, default=None)


def prune(run_dir: Path, keep: int) -> None:
    """Remove all but the `keep` latest checkpoints and the best one, and what a kill left half written."""
    places = sorted((run_dir / "checkpoints").glob("step-*"))
    for place in places[:-keep]:
        if place != pointed(run_dir, "best"):
            shutil.rmtree(place, ignore_errors=True)
    for left in (run_dir / "checkpoints").glob(".tmp-*"):
        shutil.rmtree(left, ignore_errors=True)


def load(place: Path, model: torch.nn.Module, average: torch.nn.Module | None) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Put a checkpoint's weights into `model` (and `average`); return the trainer's state and tensors.

    Raises:
        ConfigError: if the folder's weights do not fit the model.
    """
    inner = place / "trainer_state"
    raw = inner / "weights.safetensors"
    try:
        load_model(model, str(raw if raw.is_file() else place / "model.safetensors"))
        if average is not None and raw.is_file():
            load_model(average, str(place / "model.safetensors"))
        state = json.loads((inner / "state.json").read_text(encoding="utf-8"))
        return state, load_file(inner / "tensors.safetensors")
    except (OSError, ValueError, RuntimeError) as error:
        raise ConfigError(f"{place}: cannot be resumed from: {' '.join(str(error).split())[:400]}") from None


def pack_optimizers(optimizers: list[torch.optim.Optimizer]) -> dict[str, torch.Tensor]:
    """Optimizer states as flat tensors named `optimizer.parameter.key`."""
    return {
        f"optimizer.{i}.{j}.{key}": value
        for i, optimizer in enumerate(optimizers)
        for j, entry in optimizer.state_dict()["state"].items()
        for key, value in entry.items()
    }


def unpack_optimizers(optimizers: list[torch.optim.Optimizer], tensors: dict[str, torch.Tensor]) -> None:
    """The reverse of `pack_optimizers`; the groups' settings stay those of the config."""
    for i, optimizer in enumerate(optimizers):
        state: dict[int, dict[str, torch.Tensor]] = {}
        for name, value in tensors.items():
            kind, number, *rest = name.split(".")
            if kind == "optimizer" and int(number) == i:
                state.setdefault(int(rest[0]), {})[rest[1]] = value
        optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def random_state(device: torch.device) -> torch.Tensor:
    """This process's random number generators as bytes: torch's on the CPU, then the device's."""
    parts = [torch.get_rng_state()]
    if device.type == "cuda":
        parts.append(torch.cuda.get_rng_state(device))
    return torch.cat(parts)


def set_random_state(state: torch.Tensor, device: torch.device) -> None:
    """Put back what `random_state` gave."""
    size = len(torch.get_rng_state())
    torch.set_rng_state(state[:size])
    if device.type == "cuda" and len(state) > size:
        torch.cuda.set_rng_state(state[size:], device)

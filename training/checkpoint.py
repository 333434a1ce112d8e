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
from safetensors import SafetensorError
from safetensors.torch import load_file, load_model, save_file
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from training.config import ConfigError
from training.optim import like, whole
from training.outcome import Stopped
from training.run_folder import write

Tensors = dict[str, torch.Tensor]
FILES = ("config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "README.md", "meta.json")
# trainer_state/: state.json, tensors.safetensors, and weights.safetensors if model.safetensors holds an average


def save(
    run_dir: Path, step: int, model: PreTrainedModel, weights: Tensors, tokenizer: PreTrainedTokenizerFast,
    meta: dict[str, Any], card: str, state: dict[str, Any], tensors: Tensors, raw: Tensors | None,
) -> Path:  # fmt: skip
    """Write `checkpoints/step-…` whole.

    Args:
        weights: the state dict to publish (the averaged one, if the run averages).
        meta: what meta.json says; written last.
        state, tensors: the trainer's numbers and tensors (optimizers, random number generators).
        raw: the weights that the training goes on with, if they are not the published ones.

    Raises:
        Stopped: if the disk is full or refuses; what was half written is removed.
    """
    place = run_dir / "checkpoints" / f"step-{step:08d}"
    beside, old = place.with_name(f".tmp-{place.name}"), place.with_name(f".old-{place.name}")
    try:
        shutil.rmtree(beside, ignore_errors=True)
        inner = beside / "trainer_state"
        inner.mkdir(parents=True)
        model.save_pretrained(beside, state_dict=weights, max_shard_size="1000GB")
        tokenizer.save_pretrained(beside)
        write(beside / "README.md", card)
        save_file({k: v.contiguous().cpu() for k, v in tensors.items()}, inner / "tensors.safetensors")
        if raw is not None:
            save_file({k: v.contiguous().cpu() for k, v in raw.items()}, inner / "weights.safetensors")
        write(inner / "state.json", json.dumps(state, indent=1))
        for path in beside.rglob("*"):  # on disk before meta.json says so
            if path.is_file():
                with open(path, "rb+") as f:
                    os.fsync(f.fileno())
        write(beside / "meta.json", json.dumps(meta, ensure_ascii=False, indent=1))
        if place.exists():
            os.replace(place, old)
        os.replace(beside, place)
        shutil.rmtree(old, ignore_errors=True)
    except Exception as error:
        shutil.rmtree(beside, ignore_errors=True)
        # The Rust parts of safetensors and tokenizers tell of a full disk in errors of their own.
        if not isinstance(error, OSError | SafetensorError) and type(error) is not Exception:
            raise
        told = error.strerror if isinstance(error, OSError) and error.strerror else " ".join(str(error).split())
        raise Stopped(f"the checkpoint of step {step:,} cannot be written to {place.parent}: {told}") from None
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


def all_whole(run_dir: Path) -> list[Path]:
    """All whole checkpoints, oldest first."""
    return sorted(p.parent for p in (run_dir / "checkpoints").glob("step-*/meta.json"))


def newest(run_dir: Path) -> Path | None:
    """The latest whole checkpoint with its trainer state, also if the kill came before `latest` was written."""
    return max((p for p in all_whole(run_dir) if (p / "trainer_state/state.json").is_file()), default=None)


def recover(run_dir: Path) -> None:
    """Put back a checkpoint that a kill caught while it was being replaced."""
    for old in (run_dir / "checkpoints").glob(".old-*"):
        place = old.with_name(old.name.removeprefix(".old-"))
        if not place.exists():
            os.replace(old, place)


def prune(run_dir: Path, keep: int) -> None:
    """Remove all but the `keep` latest checkpoints and the best one, and what a kill left half written."""
    best = pointed(run_dir, "best")
    for place in sorted((run_dir / "checkpoints").glob("step-*"))[:-keep]:
        if place != best:
            shutil.rmtree(place, ignore_errors=True)
    for left in [*(run_dir / "checkpoints").glob(".tmp-*"), *(run_dir / "checkpoints").glob(".old-*")]:
        shutil.rmtree(left, ignore_errors=True)


def load(place: Path, model: torch.nn.Module) -> tuple[dict[str, Any], Tensors, list[torch.Tensor] | None]:
    """Put the weights that a training goes on with into `model`.

    Returns:
        the trainer's state, its tensors, and the averaged weights, one a parameter, if the run averages.

    Raises:
        ConfigError: if the folder's weights do not fit the model.
    """
    published, raw = place / "model.safetensors", place / "trainer_state/weights.safetensors"
    averaged = None
    try:
        load_model(model, str(published))
        if raw.is_file():
            averaged = [p.detach().clone() for p in model.parameters()]
            load_model(model, str(raw))
        state = json.loads((place / "trainer_state/state.json").read_text(encoding="utf-8"))
        return state, load_file(place / "trainer_state/tensors.safetensors"), averaged
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise ConfigError(f"{place}: cannot be resumed from: {' '.join(str(error).split())[:400]}") from None


def pack_optimizers(optimizers: list[torch.optim.Optimizer]) -> Tensors:
    """Optimizer states as whole tensors on the CPU named `optimizer.parameter.key`; all processes together if sharded."""
    return {
        f"optimizer.{i}.{j}.{key}": whole(value).cpu()
        for i, optimizer in enumerate(optimizers)
        for j, entry in optimizer.state_dict()["state"].items()
        for key, value in entry.items()
    }


def unpack_optimizers(optimizers: list[torch.optim.Optimizer], tensors: Tensors) -> None:
    """The reverse of `pack_optimizers`; the groups' settings stay those of the config."""
    for i, optimizer in enumerate(optimizers):
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        state: dict[int, Tensors] = {}
        for name, value in tensors.items():
            kind, number, *rest = name.split(".")
            if kind == "optimizer" and int(number) == i:
                j, key = int(rest[0]), rest[1]
                state.setdefault(j, {})[key] = like(parameters[j], value) if value.ndim else value
        optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def random_state(device: torch.device) -> torch.Tensor:
    """This process's random number generators as bytes: torch's on the CPU, then the device's."""
    return torch.cat([torch.get_rng_state(), _device_state(device)])


def _device_state(device: torch.device) -> torch.Tensor:
    if device.type == "cuda":
        return torch.cuda.get_rng_state(device)
    return torch.mps.get_rng_state() if device.type == "mps" else torch.empty(0, dtype=torch.uint8)


def set_random_state(state: torch.Tensor, device: torch.device) -> None:
    """Put back what `random_state` gave; of another kind of device, the CPU's part alone."""
    size = len(torch.get_rng_state())
    torch.set_rng_state(state[:size])
    if len(state) - size != len(_device_state(device)):
        return
    if device.type == "cuda":
        torch.cuda.set_rng_state(state[size:], device)
    elif device.type == "mps":
        torch.mps.set_rng_state(state[size:])

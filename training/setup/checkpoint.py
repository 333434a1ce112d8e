"""Checkpoints: publishable model folders that also hold the trainer's state, from which a run goes on exactly.

A folder is written beside its place and renamed into it, so a kill leaves a whole checkpoint or none. Tensors are in
safetensors and everything else is in JSON; nothing is ever unpickled.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import shutil
import stat
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, load_model, save_file
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from training.base.errors import ConfigError, Stopped
from training.base.files import as_config_error, digest, disk_error, replacing, write_text
from training.model.optim import like, whole

Tensors = dict[str, torch.Tensor]

FILES = ("config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "README.md", "meta.json")
# trainer_state/ beside them has state.json, tensors.safetensors, and weights.safetensors if model.safetensors holds an average.


def save(
    run_dir: Path, step: int, model: PreTrainedModel, weights: Tensors, tokenizer: PreTrainedTokenizerFast,
    meta: dict[str, Any], card: str, state: dict[str, Any], tensors: Tensors, raw: Tensors | None,
) -> Path:  # fmt: skip
    """Write `checkpoints/step-…`, whole or not at all, and return its path.

    Args:
        weights: the state dict to publish (the averaged one, if the run averages).
        meta: what meta.json says; written last.
        state: the trainer's numbers, for state.json.
        tensors: the states of optimizers and of random number generators.
        raw: the weights that the training goes on with, if they are not the published ones.

    Raises:
        Stopped: if the disk is full or refuses to write; a half-written folder is removed.
    """
    place = run_dir / "checkpoints" / f"step-{step:08d}"
    try:
        with replacing(place) as folder:
            state_folder = folder / "trainer_state"
            state_folder.mkdir(parents=True)
            model.save_pretrained(folder, state_dict=weights, max_shard_size="1000GB")
            tokenizer.save_pretrained(folder)
            write_text(folder / "README.md", card)
            save_file({k: v.contiguous().cpu() for k, v in tensors.items()}, state_folder / "tensors.safetensors")
            if raw is not None:
                save_file({k: v.contiguous().cpu() for k, v in raw.items()}, state_folder / "weights.safetensors")
            write_text(state_folder / "state.json", json.dumps(state, indent=1))
            for path in folder.rglob("*.safetensors"):  # safetensors lets only the owner read them
                shutil.copymode(folder / "README.md", path)
            write_text(folder / "meta.json", json.dumps({**meta, "sha256": checksums(folder)}, ensure_ascii=False, indent=1))
    except Exception as error:
        if not isinstance(error, OSError) and not disk_error(error):
            raise
        reason = disk_error(error) or str(error)
        raise Stopped(f"the checkpoint of step {step:,} cannot be written to {place.parent}: {reason}") from None
    return place


def checksums(folder: Path) -> dict[str, str]:
    """SHA-256 of each file by its path in the folder, except meta.json, which holds them, and the model card, which people edit."""
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return {name: digest(folder / name, hashlib.sha256()) for name in files if name not in ("meta.json", "README.md")}


def damage(place: Path) -> str:
    """What is wrong with the files of a checkpoint, in words; empty if nothing is.

    A checkpoint from before checksums were recorded is tested by opening its files.
    """
    try:
        recorded = json.loads((place / "meta.json").read_text(encoding="utf-8")).get("sha256", {})
    except (OSError, ValueError, AttributeError, RecursionError):
        return "meta.json cannot be read"
    try:
        for name, checksum in recorded.items():
            if not (place / name).is_file():
                return f"{name} is missing"
            if digest(place / name, hashlib.sha256()) != checksum:
                return f"{name} is not what was written (its checksum differs)"
        if not recorded:
            for path in (place / "model.safetensors", *(place / "trainer_state").glob("*.safetensors")):
                with safe_open(path, "pt"):
                    pass
            for name in ("config.json", "trainer_state/state.json"):
                json.loads((place / name).read_text(encoding="utf-8"))
    except (OSError, ValueError, AttributeError, TypeError, SafetensorError, RecursionError) as error:
        return " ".join(str(error).split())[:200]
    return ""


def leave_damaged_out(run_dir: Path) -> list[str]:
    """Set aside each damaged checkpoint that is newer than the newest undamaged one. Returns a line for each.

    Raises:
        ConfigError: if no checkpoint is left, or the folder cannot be written.
    """
    lines: list[str] = []
    while place := newest(run_dir):
        reason = damage(place)
        if not reason:
            return lines
        aside = place.with_name(f"damaged-{place.name}")
        with as_config_error(f"run_dir: {place} is damaged ({reason}) and cannot be set aside"):
            for number in itertools.count(2):
                if not aside.exists():
                    break
                aside = place.with_name(f"damaged-{place.name}-{number}")
            os.replace(place, aside)
        lines.append(f"{place.name} is damaged ({reason}) and was left out; it is kept as {aside}")
    if lines:
        raise ConfigError(
            "resume: " + "; ".join(lines) + f". No other checkpoint of {run_dir} can be gone on from: choose another --run_dir"
        )
    return lines


def point(run_dir: Path, name: str, place: Path) -> None:
    """Write `best` or `latest`: one line with the name of a folder under checkpoints/."""
    write_text(run_dir / name, place.name + "\n")


def pointed(run_dir: Path, name: str) -> Path | None:
    """The checkpoint that `best` or `latest` names, if it is whole."""
    try:
        place = run_dir / "checkpoints" / (run_dir / name).read_text(encoding="utf-8").strip()
        return place if (place / "meta.json").is_file() else None
    except (OSError, ValueError):
        return None


def last_in_words(run_dir: Path) -> str:
    """A sentence for the message of a run that stops: which checkpoint is left."""
    latest = pointed(run_dir, "latest")
    return f"The last checkpoint is whole ({latest.name})" if latest else "There is no checkpoint yet"


def _folders(run_dir: Path, prefix: str) -> list[Path]:
    """The entries of checkpoints/ whose names begin with `prefix`, in order of their names.

    Raises:
        ConfigError: if the folder cannot be listed. `glob` would return nothing, and the run would pass for a new one.
    """
    folder = run_dir / "checkpoints"
    with as_config_error(f"run_dir: the checkpoints in {folder} cannot be listed"):
        try:
            return [folder / name for name in sorted(os.listdir(folder)) if name.startswith(prefix)]
        except FileNotFoundError:
            return []


def _is_file(path: Path) -> bool:
    """Whether the file exists; raises ConfigError if the disk does not tell."""
    with as_config_error(f"run_dir: {path} cannot be seen"):
        try:
            return stat.S_ISREG(os.stat(path).st_mode)
        except (FileNotFoundError, NotADirectoryError):
            return False


def all_whole(run_dir: Path) -> list[Path]:
    """All whole checkpoints, oldest first; raises ConfigError if they cannot be listed."""
    return [p for p in _folders(run_dir, "step-") if _is_file(p / "meta.json")]


def with_state(run_dir: Path) -> list[Path]:
    """All whole checkpoints that have a trainer state, oldest first; raises ConfigError if they cannot be listed."""
    return [p for p in all_whole(run_dir) if _is_file(p / "trainer_state/state.json")]


def newest(run_dir: Path) -> Path | None:
    """The latest whole checkpoint with a trainer state, even if a kill came before `latest` was written; None if there is none."""
    return max(with_state(run_dir), default=None)


def recover(run_dir: Path) -> None:
    """Put back a checkpoint that a kill caught while it was being replaced."""
    for old in _folders(run_dir, ".old-"):
        place = old.with_name(old.name.removeprefix(".old-"))
        if not place.exists():
            with as_config_error(f"run_dir: cannot write in {run_dir}"):
                os.replace(old, place)


def prune(run_dir: Path, keep: int, written: Path) -> None:
    """Remove old checkpoints, so that `written` and the `keep - 1` before it are left, and what a kill left half written.

    The best checkpoint stays. So does any that is newer than `written` or not whole: somebody put it there, or may want to look at it.
    """
    best = pointed(run_dir, "best")
    older = [place for place in all_whole(run_dir) if place.name < written.name]
    for place in older[: max(0, len(older) - (keep - 1))]:
        if place != best:
            shutil.rmtree(place, ignore_errors=True)
    for left in [*(run_dir / "checkpoints").glob(".tmp-*"), *(run_dir / "checkpoints").glob(".old-*")]:
        shutil.rmtree(left, ignore_errors=True)


def load(place: Path, model: torch.nn.Module) -> tuple[dict[str, Any], Tensors, list[torch.Tensor] | None]:
    """Load the weights that a training goes on with into `model`.

    Returns:
        the trainer's state, its tensors, and the averaged weights, one tensor for each parameter (None if the run does not average).

    Raises:
        ConfigError: if files of the folder are damaged or its weights do not fit the model.
    """
    published, raw = place / "model.safetensors", place / "trainer_state/weights.safetensors"
    averaged = None
    try:
        load_model(model, str(published))
        if raw.is_file():
            averaged = [p.detach().clone() for p in model.parameters()]
            load_model(model, str(raw))
        state = json.loads((place / "trainer_state/state.json").read_text(encoding="utf-8"))
        tensors = load_file(place / "trainer_state/tensors.safetensors")
    except (OSError, ValueError, RuntimeError, SafetensorError, RecursionError) as error:
        raise unusable(place, error) from None
    if not isinstance(state, dict):
        raise unusable(place, "trainer_state/state.json is damaged")
    names = [f"random.{i}" for i in range(state["world"])] if type(state.get("world")) is int else []
    if not all(n in tensors and tensors[n].dtype == torch.uint8 and len(tensors[n]) >= len(torch.get_rng_state()) for n in names):
        raise unusable(place, "trainer_state/tensors.safetensors has no random states")
    return state, tensors, averaged


def unusable(place: Path, why: object) -> ConfigError:
    """The error that says why a run cannot go on from a checkpoint, and from which it can."""
    message = f"{place}: cannot be resumed from: {' '.join(str(why).split())[:300]}"
    older = [p.name for p in with_state(place.parent.parent) if p.name < place.name]
    if older:
        return ConfigError(f"{message}. An older checkpoint is kept: delete {place}, and --resume true goes on from {older[-1]}")
    return ConfigError(f"{message}. There is no older one; choose another --run_dir")


def pack_optimizers(optimizers: list[torch.optim.Optimizer]) -> Tensors:
    """Optimizer states as whole tensors on the CPU, named `optimizer.<number>.<parameter>.<key>`. If sharded, all processes must call."""
    return {
        f"optimizer.{i}.{j}.{key}": whole(value).cpu()
        for i, optimizer in enumerate(optimizers)
        for j, entry in optimizer.state_dict()["state"].items()
        for key, value in entry.items()
    }


def unpack_optimizers(optimizers: list[torch.optim.Optimizer], tensors: Tensors, place: Path) -> None:
    """Put back what `pack_optimizers` returned; the groups' settings stay those of the config.

    Args:
        place: the checkpoint that the tensors are from, for the message.

    Raises:
        ConfigError: if the tensors do not fit the optimizers' parameters.
    """
    for i, optimizer in enumerate(optimizers):
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        state: dict[int, Tensors] = {}
        for name, value in tensors.items():
            kind, *rest = name.split(".")
            if kind != "optimizer" or rest[0] != str(i):
                continue
            j, key = int(rest[1]), rest[2]
            if j >= len(parameters) or (value.ndim and value.shape != parameters[j].shape):
                raise unusable(place, "trainer_state/tensors.safetensors is of another model")
            state.setdefault(j, {})[key] = like(parameters[j], value) if value.ndim else value
        optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})

"""The run folder: who may write in it, and what of an earlier try is cleared."""

from __future__ import annotations

import os
import shutil
from dataclasses import fields
from pathlib import Path

import filelock
import yaml

from training.base.errors import ConfigError
from training.base.files import complaints
from training.settings.config import Config


def home_of_model(folder: Path) -> Path:
    """Where the config and the curves of a model folder lie: in the run whose checkpoint it is, else beside the weights."""
    here = folder.resolve()
    return here.parents[1] if here.parent.name == "checkpoints" else here


def lock_folder(folder: Path) -> filelock.BaseFileLock:
    """Keep a second run out of the folder for as long as the process lives; raises ConfigError if one is there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        held = filelock.FileLock(folder / ".lock")
        held.acquire(timeout=0)
    except filelock.Timeout:  # an OSError too, so it comes first
        raise ConfigError(f"run_dir: another run is writing in {folder}; wait for it or choose another --run_dir") from None
    except OSError as error:
        raise ConfigError(f"run_dir: cannot write in {folder} ({error.strerror or error})") from None
    return held


def refuse_foreign(folder: Path) -> None:
    """Raise ConfigError for a folder whose files no run wrote: a run would replace those that have the names of its own.

    A run's folder is known by the `.lock` that every run leaves, or by its config.yaml, which names every setting. An
    empty folder, or one with hidden files only, is anybody's.
    """
    with complaints(f"run_dir: cannot write in {folder}"):
        names = sorted(os.listdir(folder)) if os.path.lexists(folder) else []
    seen = [name for name in names if not name.startswith(".")]
    if seen and ".lock" not in names and not _config_of_ours(folder / "config.yaml"):
        shown = ", ".join(seen[:5]) + (", …" if len(seen) > 5 else "")
        raise ConfigError(f"run_dir: {folder} holds files that no run wrote ({shown}); choose a new folder, such as {folder / 'run'}")


def _config_of_ours(path: Path) -> bool:
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return False
    return isinstance(tree, dict) and {f.name for f in fields(Config)} <= set(tree)  # a user's own seldom says everything


def clear_folder(folder: Path) -> None:
    """Remove what a try that never came to a checkpoint left: it would only mislead. Not before `refuse_foreign`."""
    with complaints(f"run_dir: cannot write in {folder}"):
        for name in ("metrics.jsonl", "tokenizer", "best", "latest", "report.md", "samples.md", "curves.png"):
            path = folder / name
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        for path in folder.glob(".tmp-*"):  # what a killed process had not finished (files.replacing)
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)

"""The run folder: which run may write in it, from which checkpoint a run goes on, and where an earlier run's records go."""

from __future__ import annotations

import itertools
import os
import shutil
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import filelock
import yaml

from training.base.errors import ConfigError
from training.base.files import as_config_error
from training.diagnosis.run_records import read_metrics
from training.settings import checks
from training.settings.config import Config, SourceConfig, source_list
from training.settings.load import load_config
from training.setup import checkpoint
from training.setup.processes import Processes


def home_of_model(folder: Path) -> Path:
    """The folder with the config and the curves of a model: its run folder if the model is a checkpoint, else the model folder itself."""
    here = folder.resolve()
    return here.parents[1] if here.parent.name == "checkpoints" else here


def lock_folder(folder: Path) -> filelock.BaseFileLock:
    """Lock the folder until the lock is released or the process ends; raises ConfigError if another run holds it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(folder / ".lock")
        lock.acquire(timeout=0)
    except filelock.Timeout:  # is an OSError too, so it is caught first
        raise ConfigError(f"run_dir: another run is writing in {folder}; wait for it or choose another --run_dir") from None
    except OSError as error:
        raise ConfigError(f"run_dir: cannot write in {folder} ({error.strerror or error})") from None
    return lock


def refuse_foreign(folder: Path) -> None:
    """Raise ConfigError if the folder holds files that no run wrote, because a run could overwrite them.

    A run folder is recognised by the `.lock` that every run leaves, or by its config.yaml, which names every setting. An
    empty folder, or one with hidden files only, may be used.
    """
    with as_config_error(f"run_dir: cannot write in {folder}"):
        names = sorted(os.listdir(folder)) if os.path.lexists(folder) else []
    if {"config.json", "meta.json"} <= set(names):
        raise ConfigError(f"run_dir: {folder} is a model folder, not a run's: a run would write over it; choose another --run_dir")
    visible = [name for name in names if not name.startswith(".")]
    if visible and ".lock" not in names and not _is_run_config(folder / "config.yaml"):
        shown = ", ".join(visible[:5]) + (", …" if len(visible) > 5 else "")
        raise ConfigError(f"run_dir: {folder} holds files that no run wrote ({shown}); choose a new folder, such as {folder / 'run'}")


def _is_run_config(path: Path) -> bool:
    """Whether the file is a config as a run writes it, with every section; a config that a user wrote seldom has all of them."""
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return False
    return isinstance(tree, dict) and {f.name for f in fields(Config)} <= set(tree)


SAME = ("task", "seed", "tokenizer", "model", "batch")  # sections that a resumed run must not change
RECORDS = ("metrics.jsonl", "report.md", "samples.md", "curves.png", "preflight.json", "tokenizer", "best", "latest")


def open_folder(config: Config, processes: Processes) -> tuple[filelock.BaseFileLock | None, Path | None]:
    """Lock the run folder and find the checkpoint to go on from. The main process does both; all processes have to call.

    Damaged checkpoints are set aside with a message. Nothing else in the folder is changed.

    Returns:
        the lock (None in all processes but the main one), and the checkpoint, None if a run begins here.

    Raises:
        ConfigError: if another run is writing there, or an earlier run would be overwritten or cannot be resumed.
    """
    folder, lock, problem, place = Path(config.run_dir), None, "", None
    if processes.main:
        try:
            if folder.is_file():
                raise ConfigError(f"run_dir: {folder} is a file; choose another --run_dir")
            if not checkpoint.all_whole(folder):
                refuse_foreign(folder)
            lock = lock_folder(folder)
            checkpoint.recover(folder)
            whole = checkpoint.all_whole(folder)
            if whole and not config.resume:
                problem = (
                    f"run_dir: {folder} already holds a run (at {whole[-1].name}); "
                    "go on with --resume true, or choose another --run_dir"
                )  # fmt: skip
            elif whole and checkpoint.newest(folder) is None:
                problem = f"resume: the checkpoints in {folder} have no trainer_state any more; choose another --run_dir"
            elif whole:
                problem = differences(config_of_run(folder), config)
                for line in [] if problem else checkpoint.leave_damaged_out(folder):
                    processes.say(line)
                place = checkpoint.newest(folder)
        except ConfigError as error:
            problem = str(error)
    try:
        processes.stop_if(problem)
    except ConfigError:
        if lock:
            lock.release()
        raise
    return lock, processes.from_main(place)


def set_aside(folder: Path) -> Path | None:
    """Make room for a new run where an earlier one left records but no checkpoint. Call it once all checks have passed.

    Returns:
        the folder that the records are now in; None if the earlier run made no step, and its records are removed.

    Raises:
        ConfigError: if the folder cannot be written.
    """
    with as_config_error(f"run_dir: cannot write in {folder}"):
        present = [name for name in RECORDS if os.path.lexists(folder / name)]
        if any(record["step"] > 0 for record in read_metrics(folder)):
            aside = next(place for n in itertools.count(1) if not (place := folder / f"earlier-{n}").exists())
            aside.mkdir()
            for name in [*present, "config.yaml"]:
                if os.path.lexists(folder / name):
                    os.replace(folder / name, aside / name)
            return aside
        for name in present:
            shutil.rmtree(folder / name) if (folder / name).is_dir() else (folder / name).unlink()
    return None


def config_of_run(folder: Path) -> Config:
    """The config that a run began with, from its folder; raises ConfigError if it cannot be read."""
    return load_config(folder / "config.yaml")


def _with_tokenizer_path(before: Config, now: Config) -> Config:
    """`before` with the tokenizer's path of `now`, if the run began with that tokenizer: its folder may have moved since."""
    own, named = Path(now.run_dir) / "tokenizer/tokenizer.json", Path(now.tokenizer.path or "") / "tokenizer.json"
    try:
        same = bool(before.tokenizer.path and now.tokenizer.path) and own.read_bytes() == named.read_bytes()
    except OSError:
        same = False
    return replace(before, tokenizer=replace(before.tokenizer, path=now.tokenizer.path)) if same else before


def differences(before: Config, now: Config) -> str:
    """The changes that a resumed run must not make, a line for each key; empty if there are none."""
    before = _with_tokenizer_path(before, now)
    old, new = (dict(checks.leaves("", _unchanging(config))) for config in (before, now))
    lines = [
        f"resume: {name} was {checks.shown(old.get(name))} when the run began and is {checks.shown(new.get(name))} now"
        for name in dict.fromkeys([*old, *new])
        if old.get(name) != new.get(name)
    ]
    return "\n".join([*lines, f"resume: go on with {before.run_dir}/config.yaml, or choose another --run_dir"]) if lines else ""


def _without_paths(source: SourceConfig) -> SourceConfig:
    """A source of files without their paths, because their contents are compared instead (`data.contents_of`)."""
    if source.path.startswith(("http://", "https://", "hub:")):
        return source
    return replace(source, path="", target_path=source.target_path and "")


def _unchanging(config: Config) -> dict[str, Any]:
    """The settings that a resumed run must not change, as a tree of dicts."""
    tree = asdict(replace(config, corpus=replace(config.corpus, workers=0, strict=False)))  # neither changes which rows are read
    for key in ("train", "validation"):  # a path alone means a source with all else at its default
        tree["corpus"][key] = [asdict(_without_paths(replace(s, license=""))) for s in source_list(getattr(config.corpus, key))]
    return {**{name: tree[name] for name in (*SAME, "corpus")}, "optim": {"name": config.optim.name}}

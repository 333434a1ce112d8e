"""The run folder: who may write in it, from which checkpoint a run goes on, and what becomes of an earlier run's records."""

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
    with as_config_error(f"run_dir: cannot write in {folder}"):
        names = sorted(os.listdir(folder)) if os.path.lexists(folder) else []
    if {"config.json", "meta.json"} <= set(names):
        raise ConfigError(f"run_dir: {folder} is a model folder, not a run's: a run would write over it; choose another --run_dir")
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


SAME = ("task", "seed", "tokenizer", "model", "batch")  # a run cannot go on with other values of these
RECORDS = ("metrics.jsonl", "report.md", "samples.md", "curves.png", "preflight.json", "tokenizer", "best", "latest")


def open_folder(config: Config, processes: Processes) -> tuple[filelock.BaseFileLock | None, Path | None]:
    """Lock the run folder and find the checkpoint to go on from, if there is one. The main process does, and tells the others.

    A damaged checkpoint is left out, and said so. Nothing else in the folder is changed.

    Raises:
        ConfigError: if another run is writing there, or a run would be overwritten or cannot be gone on with.
    """
    folder, held, problem, place = Path(config.run_dir), None, "", None
    if processes.main:
        try:
            if not checkpoint.all_whole(folder):
                refuse_foreign(folder)
            held = lock_folder(folder)
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
        if held:
            held.release()
        raise
    return held, processes.from_main(place)


def set_aside(folder: Path) -> Path | None:
    """Make room for a new run where an earlier one left records but no checkpoint. Once all checks have passed, not before.

    Returns:
        where the records of a run with steps are now; None if there were none, and what misleads is removed.
    """
    with as_config_error(f"run_dir: cannot write in {folder}"):
        there = [name for name in RECORDS if os.path.lexists(folder / name)]
        if any(record["step"] > 0 for record in read_metrics(folder)):
            aside = next(place for n in itertools.count(1) if not (place := folder / f"earlier-{n}").exists())
            aside.mkdir()
            for name in [*there, "config.yaml"]:
                if os.path.lexists(folder / name):
                    os.replace(folder / name, aside / name)
            return aside
        for name in there:
            shutil.rmtree(folder / name) if (folder / name).is_dir() else (folder / name).unlink()
    return None


def config_of_run(folder: Path) -> Config:
    """The config that a run began with."""
    return load_config(folder / "config.yaml")


def _moved(before: Config, now: Config) -> Config:
    """`before` as if it had named the tokenizer as `now` does, where that is the one it began with: its folder may have moved."""
    own, named = Path(now.run_dir) / "tokenizer/tokenizer.json", Path(now.tokenizer.path or "") / "tokenizer.json"
    try:
        same = bool(before.tokenizer.path and now.tokenizer.path) and own.read_bytes() == named.read_bytes()
    except OSError:
        same = False
    return replace(before, tokenizer=replace(before.tokenizer, path=now.tokenizer.path)) if same else before


def differences(before: Config, now: Config) -> str:
    """What a resumed run must not change and does, told key by key; empty if there is nothing."""
    before = _moved(before, now)
    old, new = (dict(checks.leaves("", _unchanging(config))) for config in (before, now))
    told = [
        f"resume: {name} was {checks.shown(old.get(name))} when the run began and is {checks.shown(new.get(name))} now"
        for name in dict.fromkeys([*old, *new])
        if old.get(name) != new.get(name)
    ]
    return "\n".join([*told, f"resume: go on with {before.run_dir}/config.yaml, or choose another --run_dir"]) if told else ""


def _nameless(source: SourceConfig) -> SourceConfig:
    """A source of files without their names: their contents decide (`data.contents_of`), wherever they are now."""
    if source.path.startswith(("http://", "https://", "hub:")):
        return source
    return replace(source, path="", target_path=source.target_path and "")


def _unchanging(config: Config) -> dict[str, Any]:
    """The sections that stay as they were, as a tree."""
    tree = asdict(replace(config, corpus=replace(config.corpus, workers=0, strict=False)))  # these do not change what is read
    for key in ("train", "validation"):  # a path alone is a source with nothing else said
        tree["corpus"][key] = [asdict(_nameless(replace(s, license=""))) for s in source_list(getattr(config.corpus, key))]
    return {**{name: tree[name] for name in (*SAME, "corpus")}, "optim": {"name": config.optim.name}}

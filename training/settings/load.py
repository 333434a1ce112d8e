"""A run's config from YAML files and the command line, checked."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from training.base.errors import ConfigError
from training.settings import bounds, command_line
from training.settings.config import Config
from training.settings.relations import relations

SWEEPS = ("space", "is the config of a sweep; train it with training/sweep.py")  # a key of sweeps' configs only, and the message


def parse_args(argv: list[str] | None = None, description: str = "") -> Config:
    """Read `--config FILE` and overrides such as `--optim.learning_rate 1e-3`.

    Raises:
        ConfigError: with every unknown key (and the nearest valid one), every value of a wrong type or out of bounds, and every invalid
            combination of values.
    """
    return command_line.read(Config, argv, description, relations, "configs/gpt/verses.yaml", SWEEPS, "log.language")


def refuse_moved(argv: list[str] | None, config: Config) -> None:
    """Refuse the config.yaml of a run that lies somewhere else than the run_dir in it: a launch would begin again in the old place.

    Args:
        argv: the command line that `config` was read from; by default that of this process.

    Raises:
        ConfigError: naming both places. A command line with a --run_dir of its own means what it says.
    """
    argv = sys.argv[1:] if argv is None else argv
    if any(option.partition("=")[0] == "--run_dir" for option in argv):
        return
    for before, option in zip(["", *argv], argv):
        path = Path(option.removeprefix("--config=") if option.startswith("--config=") else option if before == "--config" else "")
        run = path.parent
        if path.name == "config.yaml" and (run / "metrics.jsonl").is_file() and run.resolve() != Path(config.run_dir).resolve():
            raise ConfigError(
                f"run_dir: {path} is the config of the run in {run}, but says run_dir: {config.run_dir}, where the run was made; "
                f"add --run_dir {run} for the run that is here, or another --run_dir for a new one"
            )


def load_config(path: str | Path, where: str = "", over: dict[str, Any] | None = None) -> Config:
    """The config in a YAML file; raises ConfigError like `parse_args`.

    Args:
        where: where the values of `over` come from, for messages.
        over: values by dotted keys, which override those of the file.
    """
    options: dict[str, Any] = {}
    for key, value in (over or {}).items():
        command_line.put(options, key, value)
    return command_line.from_trees(Config, [(str(path), command_line.read_yaml(path, SWEEPS)), (where, options)], relations)


def check_config(config: Config) -> None:
    """Check bounds and combinations of values in a config made in Python; raises ConfigError with all mistakes."""
    if problems := bounds.out_of_bounds(config) + relations(config):
        raise ConfigError("\n".join(problems))

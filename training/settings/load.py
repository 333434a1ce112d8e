"""A run's config from YAML files and the command line, checked."""

from __future__ import annotations

from pathlib import Path

from training.base.errors import ConfigError
from training.settings import command_line
from training.settings.config import (
    Config,
)
from training.settings.relations import relations


def parse_args(argv: list[str] | None = None, description: str = "") -> Config:
    """Read `--config FILE` and overrides such as `--optim.learning_rate 1e-3`.

    Raises:
        ConfigError: naming every unknown key (with the nearest valid one), every value of a wrong type and every
            relation between values that cannot be.
    """
    sweep = ("space", "is the config of a sweep; train it with training/sweep.py")
    return command_line.read(Config, argv, description, relations, {"task": "gpt"}, "configs/gpt/verses.yaml", sweep)


def load_config(path: str | Path) -> Config:
    """The config in a YAML file; raises ConfigError like `parse_args`."""
    return parse_args(["--config", str(path)])


def check_config(config: Config) -> None:
    """Relations between fields that no type can express; raises ConfigError with all that are wrong."""
    if problems := relations(config):
        raise ConfigError("\n".join(problems))

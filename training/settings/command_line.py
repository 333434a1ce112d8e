"""Reading a tree of dataclasses from YAML files and the command line: a run's config (config.py), a sweep's (space.py).

All mistakes are collected and reported together.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import jsonargparse

from training.base.errors import ConfigError
from training.settings import checks, yaml_text

jsonargparse.set_parsing_settings(docstring_parse_attribute_docstrings=True)

T = TypeVar("T")

_READING = threading.RLock()  # jsonargparse's parsers are not for several threads at once, and the app diagnoses in several


def read(
    cls: type[T], argv: list[str] | None, description: str, relations: Callable[[T], list[str]], least: dict[str, Any], example: str,
    foreign: tuple[str, str],
) -> T:  # fmt: skip
    """`cls` from `--config FILE` and overrides such as `--optim.learning_rate 1e-3`, by default those of this process.

    Args:
        relations: a line for every relation between values that no type can express and that cannot be.
        least: a valid value for each field that has no default.
        example: a config file, named where none was given.
        foreign: a key that only another kind of config has, and what to say of such a file.

    Raises:
        ConfigError: naming every unknown key (with the nearest valid one), every value of a wrong type and what `relations` finds.
    """
    argv = [_utf8(a) for a in (sys.argv[1:] if argv is None else argv)]
    if not argv:
        raise ConfigError(f"no config given; try --config {example}, or --help for every setting")
    if forgotten := _forgotten_config(argv, example):
        raise ConfigError(forgotten)
    with _READING:
        return _read(cls, argv, parser(cls, description), relations, least, foreign)  # type: ignore[arg-type]


def _read(
    cls: type[T], argv: list[str], p: jsonargparse.ArgumentParser, relations: Callable[[T], list[str]], least: dict[str, Any],
    foreign: tuple[str, str],
) -> T:  # fmt: skip
    """`read`, once it is known what to read."""
    problems: list[str] = []
    whole: dict[str, Any] = {}
    texts: list[str] = []  # what the files say: jsonargparse would read them again, in the locale's encoding
    for where in [*_config_files(argv), "the command line"]:
        tree = checks.from_options(argv) if where == "the command line" else read_yaml(where)
        if foreign[0] in tree and where != "the command line":
            raise ConfigError(f"{where}: {foreign[1]}")
        texts.append(yaml_text.dump(tree))
        problems += checks.find(tree, cls, p, where, least)
        whole = checks.merge(whole, tree)
    wanted = not {"-h", "--help"} & set(argv) and not any(a.startswith("--print_") for a in argv)
    for key in least:
        if wanted and key not in whole and not any(f"{key}:" in problem for problem in problems):
            problems.append(f"{key}: missing; {checks.choices(cls, key)}")
    try:
        values = p.parse_object({**least, **whole}) if problems else p.parse_args(_with_texts(argv, texts))
        values.pop("config", None)
        made = p.instantiate(values)
        result = cls(**{f.name: made[f.name] for f in dataclasses.fields(cls)})  # type: ignore[arg-type]
    except (jsonargparse.ArgumentError, ValueError, RecursionError) as error:
        problems.append(_one_line(error))
        raise ConfigError("\n".join(dict.fromkeys(problems))) from None
    told = "\n".join(problems)
    for line in relations(result):  # what is missing only because it was wrong is not told twice
        if not (line.partition(".")[0].partition(":")[0] in told and (": no " in line or ": missing" in line)):
            problems.append(line)
    if problems:
        raise ConfigError("\n".join(dict.fromkeys(problems)))
    return result


@functools.cache
def parser(cls: type, description: str) -> jsonargparse.ArgumentParser:
    """`--config FILE` and every field of `cls` by its dotted name. Reading many configs, half of the time went into making it anew."""
    p = jsonargparse.ArgumentParser(description=description, exit_on_error=False)
    p.add_argument("--config", action="config", help="a YAML file")
    p.add_class_arguments(cls)
    return p


def read_yaml(path: str | Path) -> dict[str, Any]:
    """A YAML file as a dict; raises ConfigError if it is missing or not YAML."""
    try:
        with open(_file_name(path), encoding="utf-8") as f:
            tree = yaml_text.load(f.read())
    except FileNotFoundError:
        beside = [p.name for p in Path(path).parent.glob("*.yaml")]
        near = difflib.get_close_matches(Path(path).name, beside, 1)
        meant = f"; did you mean {Path(path).with_name(near[0])}?" if near else ""
        raise ConfigError(f"{path}: no such file{meant}") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 ({_one_line(error)}); save it as UTF-8") from None
    except yaml_text.NotReadable as error:
        raise ConfigError(f"{path}: {error}") from None
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: empty or not a mapping of keys to values")
    return tree


def _config_files(argv: list[str]) -> list[str]:
    """The files that `--config FILE` and `--config=FILE` name, in order."""
    files = []
    for option, following in zip(argv, [*argv[1:], None]):
        name, equals, value = option.partition("=")
        if name == "--config" and (equals or following is not None):
            files.append(value if equals else str(following))
    return files


def _with_texts(argv: list[str], texts: list[str]) -> list[str]:
    """`argv` with the files' texts where it has their names."""
    given, rest, takes = [], iter(texts), False
    for option in argv:
        if takes or option.startswith("--config="):
            given.append(next(rest) if takes else "--config=" + next(rest))
            takes = False
        else:
            given.append(option)
            takes = option == "--config"
    return given


def _file_name(path: str | Path) -> bytes:
    """As the system has it, even where the locale's encoding lacks its characters."""
    try:
        return os.fsencode(path)
    except UnicodeEncodeError:
        return str(path).encode()


def _utf8(argument: str) -> str:
    """An argument as it was typed, where the locale's encoding is not that of the terminal."""
    try:
        return argument.encode("ascii", "surrogateescape").decode()
    except UnicodeError:  # read rightly already, or not UTF-8 at all
        return argument


def _forgotten_config(argv: list[str], example: str) -> str:
    """What to type where a config is given without `--config`, or `--config` without one; empty if neither is so."""
    for before, option in zip(["", *argv], argv):
        value = before.startswith("--") and "=" not in before
        if option.lower().endswith((".yaml", ".yml")) and not option.startswith("-") and not value:
            return f"{option}: did you mean --config {option}?"
    for option, following in zip(argv, [*argv[1:], "--"]):
        if option == "--config=" or (option == "--config" and following.startswith("--")):
            return f"--config: no file given; did you mean --config {example}?"
    return ""


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())

"""Reading a tree of dataclasses from YAML files and the command line: a run's config (config.py) or a sweep's (space.py).

Each file is parsed once. Later files override earlier ones, and the command line overrides the files. All mistakes are reported together.
Only `--help` needs jsonargparse, which shows the docstrings of fields.
"""

from __future__ import annotations

import dataclasses
import difflib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, TypeVar, get_args

import yaml

from training.base.console import LANG_HELP
from training.base.errors import ConfigError
from training.base.words import LANGUAGES
from training.settings import bounds, yaml_text
from training.settings.values import Added, Dotted, Nothing, Typed, arms, default, in_words, read_section

T = TypeVar("T")

COMMAND_LINE = "the command line"  # named in messages in place of a file


def read(
    cls: type[T], argv: list[str] | None, description: str, relations: Callable[[T], list[str]], example: str, foreign: tuple[str, str],
    language: str,
) -> T:  # fmt: skip
    """Make a `cls` from `--config FILE` and overrides such as `--optim.learning_rate 1e-3`.

    Args:
        argv: by default, the arguments of this process.
        relations: returns a line for every invalid combination of values, which types and bounds cannot express.
        example: a config file, named in the message if none is given.
        foreign: a key that only another kind of config has, and the message for such a file.
        language: the key that `--lang` sets.

    Raises:
        ConfigError: with every unknown key (and the nearest valid one), every value of a wrong type or out of bounds, and the lines of
            `relations`.
        SystemExit: after `--help`, or after `--print_config`, which prints the resulting config.
    """
    argv = [_utf8(a) for a in (sys.argv[1:] if argv is None else argv)]
    if not argv:
        raise ConfigError(f"no config given; try --config {example}, or --help for every setting")
    if helps := [a for a in argv if a.partition("=")[0] in ("-h", "--help") or (a.startswith("--") and ".help" in a)]:
        _help(cls, description, argv[argv.index(helps[0]) :])
    if forgotten := _forgotten_config(argv, example):
        raise ConfigError(forgotten)
    files, tree, problems = _options(cls, argv, language)
    return from_trees(
        cls, [*((f, read_yaml(f, foreign)) for f in files), (COMMAND_LINE, tree)], relations, problems, "--print_config" in argv
    )


def from_trees(
    cls: type[T], trees: list[tuple[str, dict[str, Any]]], relations: Callable[[T], list[str]], earlier: list[str] | None = None,
    print_config: bool = False,
) -> T:  # fmt: skip
    """Make a `cls` from trees of keys and values; later trees override earlier ones.

    Args:
        trees: (where it comes from, for messages; the tree) of each.
        earlier: mistakes that the caller has found already.
        print_config: print the resulting config, and exit.

    Raises:
        ConfigError: with all mistakes.
        SystemExit: after printing.
    """
    problems, whole = [*(earlier or [])], dict[str, Any]()
    for where, tree in trees:
        problems += [f"{where}: {line}" for line in read_section(cls, tree, whole)]
    for name, hint in bounds.hints_of(cls).items():
        if default(cls, name) is dataclasses.MISSING and name not in whole:
            (kind,) = arms(hint)
            if not any(f" {name}:" in problem for problem in problems):
                problems.append(f"{name}: missing; {' or '.join(get_args(kind)) or in_words(kind)}")
            whole[name] = (*get_args(kind), "FILE")[0]  # a stand-in, so that the other values can be checked
    made: Any = _made(cls, whole)
    if print_config and not problems:
        print(yaml.safe_dump(dataclasses.asdict(made), sort_keys=False, allow_unicode=True, width=100), end="")
        raise SystemExit(0)
    wrong = "\n".join(problems)
    for line in bounds.out_of_bounds(made) + relations(made):  # a value that is missing only because it was wrong is reported once
        if not (line.partition(".")[0].partition(":")[0] in wrong and (": no " in line or ": missing" in line)):
            problems.append(line)
    if problems:
        raise ConfigError("\n".join(dict.fromkeys(problems)))
    result: T = made
    return result


def read_yaml(path: str | Path, foreign: tuple[str, str]) -> dict[str, Any]:
    """A YAML file as a dict; raises ConfigError if it cannot be read, is not a mapping, or has the key of `foreign` (see `read`)."""
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
        raise ConfigError(f"{path}: not UTF-8 (byte {error.start + 1} is 0x{error.object[error.start]:02x}); save it as UTF-8") from None
    except yaml_text.NotReadable as error:
        raise ConfigError(f"{path}: {error}") from None
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: empty or not a mapping of keys to values")
    if foreign[0] in tree:
        raise ConfigError(f"{path}: {foreign[1]}")
    return tree


def _options(cls: type, argv: list[str], language: str) -> tuple[list[str], dict[str, Any], list[str]]:
    """Split arguments into the files after `--config`, a tree of the other options ({a: {b: "1"}} for `--a.b 1`), and mistakes."""
    files, tree, problems = [], Dotted(), []  # type: tuple[list[str], Dotted, list[str]]
    waiting = list(argv)
    while waiting:
        option = waiting.pop(0)
        name, equals, text = option.partition("=")
        if not name.startswith("--") or name == "--":
            meant = f"; did you mean --{name.lstrip('-—–')}?" if name[:1] in ("-", "—", "–") and len(name) > 2 else ""
            problems.append(f"{COMMAND_LINE}: unrecognized argument {option}{meant}")
            continue
        value: str = Typed(text) if equals else Typed(waiting.pop(0)) if waiting and not waiting[0].startswith("--") else Nothing()
        key = language if name == "--lang" else name[2:].removesuffix("+")
        own = difflib.get_close_matches(name, ["--config", "--lang", "--help"], 1, 0.7)
        if name == "--config":
            files.append(value)
        elif name == "--lang" and value not in (*LANGUAGES, "auto"):
            problems.append(f"{COMMAND_LINE}: --lang: {value!r} is not valid here; wanted {' or '.join(LANGUAGES)}")
        elif own and name != "--lang" and not name.startswith("--print_") and key.partition(".")[0] not in bounds.hints_of(cls):
            problems.append(f"{COMMAND_LINE}: unknown option {name}; did you mean {own[0]}?")
        elif not name.startswith("--print_"):
            try:
                put(tree, key, Added(value) if name.endswith("+") and not isinstance(value, Nothing) else value)
            except yaml_text.NotReadable as error:
                problems.append(f"{COMMAND_LINE}: {key}: {error}")
    return files, tree, problems


def put(tree: dict[str, Any], key: str, value: Any) -> None:
    """Set a dotted key of a tree. An earlier value in braces is kept and extended, as in `--model {…} --model.n_layer 2`."""
    *sections, last = key.split(".")
    for part in sections:
        inner = tree.get(part)
        if not isinstance(inner, dict):
            given = yaml_text.load(inner) if isinstance(inner, str) and inner.startswith("{") else None
            tree[part] = inner = given if isinstance(given, dict) else Dotted()
        tree = inner
    tree[last] = value


def _made(cls: type, values: dict[str, Any]) -> Any:
    """An object of a dataclass from a dict of values, with a dict for each section."""
    sections = {name: hint for name, hint in bounds.hints_of(cls).items() if isinstance(hint, type) and dataclasses.is_dataclass(hint)}
    return cls(**{key: _made(sections[key], value) if key in sections else value for key, value in values.items()})


def _help(cls: type, description: str, argv: list[str]) -> NoReturn:
    """Print every setting with its docstring, or those of a type (`--corpus.train.help SourceConfig`), and exit."""
    import jsonargparse  # takes a quarter of a second, and nothing else here needs it

    jsonargparse.set_parsing_settings(docstring_parse_attribute_docstrings=True)
    p = jsonargparse.ArgumentParser(description=description, exit_on_error=False)
    p.add_argument("--config", action="config", help="a YAML file")
    p.add_argument("--lang", choices=LANGUAGES, help=LANG_HELP)
    p.add_class_arguments(cls)
    try:
        p.parse_args(argv)
    except jsonargparse.ArgumentError as error:
        raise ConfigError(" ".join(str(error).split())) from None
    raise SystemExit(0)


def _file_name(path: str | Path) -> bytes:
    """A file's name in the system's encoding, or in UTF-8 if that encoding lacks its characters."""
    try:
        return os.fsencode(path)
    except UnicodeEncodeError:
        return str(path).encode()


def _utf8(argument: str) -> str:
    """An argument decoded as UTF-8 if Python could not decode it in the locale's encoding."""
    try:
        return argument.encode("ascii", "surrogateescape").decode()
    except UnicodeError:  # it was decoded already, or is not UTF-8
        return argument


def _forgotten_config(argv: list[str], example: str) -> str:
    """A hint if a YAML file is given without `--config`, or `--config` without a file; otherwise empty."""
    for before, option in zip(["", *argv], argv):
        value = before.startswith("--") and "=" not in before
        if option.lower().endswith((".yaml", ".yml")) and not option.startswith("-") and not value:
            return f"{option}: did you mean --config {option}?"
    for option, following in zip(argv, [*argv[1:], "--"]):
        if option == "--config=" or (option == "--config" and following.startswith("--")):
            return f"--config: no file given; did you mean --config {example}?"
    return ""

"""What is wrong with a config, told in words: unknown keys with the nearest valid one, values of a wrong type or range.

All mistakes are looked for before any is reported. What is reported is taken out of the tree, so that the rest of it
can still be looked at.
"""

from __future__ import annotations

import copy
import dataclasses
import difflib
import json
from collections.abc import Callable, Iterator
from typing import Any, get_args, get_origin, get_type_hints

import jsonargparse


def find(tree: dict[str, Any], cls: type, parser: jsonargparse.ArgumentParser, where: str, least: dict[str, Any]) -> list[str]:
    """A line for every mistake in `tree`, the values of `cls` as `where` gives them; they are taken out of `tree`.

    Args:
        least: a valid value for each field that has no default.
    """

    def accepts(key: str, value: Any) -> bool:
        return _accepts(parser, least, key, value)

    return _unknown(tree, cls, cls, "", where) + _wrong_types(tree, cls, accepts, where)


def choices(cls: type, key: str) -> str:
    """What `key` of `cls` may be, in words."""
    hint = get_type_hints(cls)[key]
    return " or ".join(map(str, get_args(hint))) if get_args(hint) else _plain(hint)


def merge(a: dict[str, Any], b: dict[str, Any]) -> dict[str, Any]:
    """`a` with the values of `b` put over it."""
    both = {**a, **b}
    return {k: merge(a[k], v) if isinstance(v, dict) and isinstance(a.get(k), dict) else v for k, v in both.items()}


def leaves(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """(dotted key, value) of everything in a tree that is not a section or a list of sections."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(f"{name}.{key}" if name else str(key), inner)
    elif isinstance(value, list) and value and all(isinstance(v, dict) for v in value):
        for k, inner in enumerate(value):
            yield from leaves(f"{name}[{k}]" if len(value) > 1 else name, inner)
    else:
        yield name, value


def shown(value: Any) -> str:
    """A value of a config, short enough for a line."""
    text = value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False, default=str)
    return "not set" if value is None else text if len(text) <= 100 else text[:99] + "…"


def from_options(argv: list[str]) -> dict[str, Any]:
    """`--a.b 1 --c=2` as a tree: {a: {b: "1"}, c: "2"}. What a help or config option says is none of it."""
    tree: dict[str, Any] = {}
    for option, following in zip(argv, [*argv[1:], ""]):
        name, equals, value = option.partition("=")
        key = name.removeprefix("--").removesuffix("+")
        if not name.startswith("--") or key in ("", "config", "help") or key.startswith("print_"):
            continue
        nested: Any = value if equals else following
        for part in reversed(key.split(".")):
            nested = {part: nested}
        tree = merge(tree, nested)
    return tree


def _dataclass_in(hint: Any) -> type | None:
    """The dataclass that a type hint holds, e.g. SourceConfig in `str | list[str | SourceConfig]`."""
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return hint
    return next((d for d in map(_dataclass_in, get_args(hint)) if d), None)


def _unknown(tree: dict[str, Any], cls: type, root: type, prefix: str, where: str) -> list[str]:
    """A line for every key of `tree` that is no field of `cls`, and for every section that is none."""
    problems: list[str] = []
    hints = get_type_hints(cls)
    for key, value in list(tree.items()):
        if key not in hints:
            near = difflib.get_close_matches(str(key), list(hints), 1, 0.5)
            elsewhere = [p for p in fields_below(root) if p.endswith("." + str(key))]
            hint = f"did you mean {prefix + near[0]}?" if near else f"did you mean {elsewhere[0]}?" if elsewhere else ""
            problems.append(f"{where}: unknown key {prefix}{key}; " + (hint or f"valid: {', '.join(hints)}"))
            del tree[key]
        elif inner := _dataclass_in(hints[key]):
            if inner is hints[key] and not isinstance(value, dict):
                valid = ", ".join(get_type_hints(inner))
                said = "is empty; leave it out or give it keys" if value is None else f"{value!r} is not valid here; wanted keys and values"
                problems.append(f"{where}: {prefix}{key}: {said}: {valid}")
                del tree[key]
                continue
            if value is None and type(None) not in get_args(hints[key]):
                problems.append(_null(where, prefix + key, hints[key]))
                del tree[key]
            for item in value if isinstance(value, list) else [value]:
                if isinstance(item, dict):
                    problems += _unknown(item, inner, root, f"{prefix}{key}.", where)
        elif value is None and type(None) not in get_args(hints[key]):  # which jsonargparse lets pass
            problems.append(_null(where, prefix + key, hints[key]))
            del tree[key]
    return problems


def _null(where: str, key: str, hint: Any) -> str:
    return f"{where}: {key}: null is not valid here; wanted {_plain(hint)}, or leave the key out for its default"


def fields_below(cls: type, prefix: str = "") -> dict[str, Any]:
    """Every dotted key below `cls` with its type."""
    found: dict[str, Any] = {}
    for name, hint in get_type_hints(cls).items():
        inner = _dataclass_in(hint)
        found |= fields_below(inner, f"{prefix}{name}.") if inner and inner is hint else {prefix + name: hint}
    return found


def _wrong_types(tree: dict[str, Any], cls: type, accepts: Callable[[str, Any], bool], where: str) -> list[str]:
    """A line for every leaf whose value jsonargparse refuses, found one leaf at a time."""
    problems: list[str] = []
    if accepts("", tree):
        return problems
    for key, hint in fields_below(cls).items():
        *sections, last = key.split(".")
        holder: Any = tree
        for part in sections:
            holder = holder.get(part, {})
        if last not in holder or accepts(key, holder[last]):
            continue
        value, inner = holder.pop(last), _dataclass_in(hint)
        items = value if isinstance(value, list) else [value]
        inside = [p for item in items for p in _in_item(item, inner, accepts, key)] if inner else []
        problems += [f"{where}: {p}" for p in inside or [f"{key}: {value!r} is not valid here; wanted {_plain(hint)}"]]
    return problems


def _in_item(item: Any, cls: type, accepts: Callable[[str, Any], bool], key: str) -> list[str]:
    """The mistakes of one of several sources."""
    if not isinstance(item, dict):
        return [] if isinstance(item, str) else [f"{key}: {item!r} is not valid here; wanted a path, or keys and values"]
    required = [f.name for f in dataclasses.fields(cls) if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING]
    hints = get_type_hints(cls)
    problems = [f"{key}: {item!r} has no {name}" for name in required if name not in item]
    filled = {name: "x" for name in required}
    return problems + [
        f"{key}.{name}: {value!r} is not valid here; wanted {_plain(hints[name])}"
        for name, value in item.items()
        if not accepts(key, {**filled, name: value})
    ]


def _accepts(parser: jsonargparse.ArgumentParser, least: dict[str, Any], key: str, value: Any) -> bool:
    """Whether `key` may have this value; without a key, whether the whole tree is fine."""
    nested = copy.deepcopy(value)  # the parser writes into what it is given
    for part in reversed(key.split(".") if key else []):
        nested = {part: nested}
    try:
        parser.parse_object({**least, **nested})
    except (jsonargparse.ArgumentError, TypeError, ValueError, RecursionError):
        return False
    return True


def _plain(hint: Any) -> str:
    """A type in words: Literal['a', 'b'] -> one of a, b."""
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}
    if hint in words:
        return words[hint]
    if get_origin(hint) is list:
        return "a list, each " + _plain(get_args(hint)[0])
    if get_origin(hint) is dict:
        return "keys and values in braces"
    args = [a for a in get_args(hint) if a is not type(None)]
    if args and all(isinstance(a, str) for a in args):
        return "one of " + ", ".join(args)
    if len(args) == 1:
        return _plain(args[0])
    return "a path, a source (path: …, and what belongs to it) or a list of them"

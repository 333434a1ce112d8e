"""Helpers for trees of config keys: a hint for an unknown key, merging trees, listing their leaves."""

from __future__ import annotations

import dataclasses
import difflib
import json
from collections.abc import Iterator
from typing import Any, get_type_hints

from training.settings.yaml_text import full_width


def unknown(key: str, cls: type, prefix: str, root: type) -> str:
    """The message for a key that is not a field of `cls`: the nearest valid key, or a section of the config that has a key of this name.

    Args:
        prefix: the beginning of the section's keys, e.g. `optim.`.
        root: the class of the whole config.
    """
    valid = list(get_type_hints(cls))
    near = [prefix + name for name in difflib.get_close_matches(key, valid, 1, 0.5)]
    near += [place for place in fields_below(root) if place.endswith("." + key)]
    meant = full_width(key) or (f"did you mean {near[0]}?" if near else f"valid: {', '.join(valid)}")
    return f"unknown key {prefix}{key}; {meant}"


def merge(a: dict[str, Any], b: dict[str, Any]) -> dict[str, Any]:
    """`a` with the values of `b` over it, section by section."""
    both = {**a, **b}
    return {k: merge(a[k], v) if isinstance(v, dict) and isinstance(a.get(k), dict) else v for k, v in both.items()}


def leaves(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """(dotted key, value) of every value in a tree, except sections and lists of sections, whose values are listed instead."""
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


def fields_below(cls: type, prefix: str = "") -> dict[str, Any]:
    """Every dotted key below `cls` with its type, without bounds."""
    below: dict[str, Any] = {}
    for name, hint in get_type_hints(cls).items():
        section = dataclasses.is_dataclass(hint) and isinstance(hint, type)
        below |= fields_below(hint, f"{prefix}{name}.") if section else {prefix + name: hint}
    return below

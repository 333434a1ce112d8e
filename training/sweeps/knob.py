"""A knob of a sweep: a key of the run's config with the values that it may take, or a bundle of keys under a name. Light."""

from __future__ import annotations

import difflib
import json
import math
import re
from dataclasses import dataclass
from typing import Any

from training.base.errors import ConfigError
from training.settings import checks

VAGUE = ("name", "type", "path")  # keys that mean nothing without their section

MOST_STEPS = 1_000_000  # of a range: nobody tries more, and far larger numbers overflow

KEYS = ("values", "low", "high", "step", "log", "when")  # the keys of a knob in a sweep's config


@dataclass(frozen=True)
class Knob:
    """One axis of the search space.

    Attributes:
        key: a dotted key of the run's config, or the name of a bundle.
        values: the values of a categorical knob; None for a range.
        low, high, step, log: the range; `step` is None if it is continuous.
        whole: whether it is a range of whole numbers.
        sets: for a bundle, (value, keys that it sets) pairs.
        when: (key, values) pairs, all of which must hold for the knob to be turned.
    """

    key: str
    values: tuple[Any, ...] | None = None
    low: float = 0.0
    high: float = 0.0
    step: float | None = None
    log: bool = False
    whole: bool = False
    sets: tuple[tuple[str, dict[str, Any]], ...] = ()
    when: tuple[tuple[str, tuple[Any, ...]], ...] = ()

    @property
    def name(self) -> str:
        """The short name for folders and pictures."""
        return short(self.key)

    @property
    def size(self) -> int:
        """The number of values for a grid; 0 for a continuous range."""
        if self.values is not None:
            return len(self.values)
        if self.log or (self.step is None and not self.whole):
            return 0
        return int((self.high - self.low) / (self.step or 1) + 1e-9) + 1

    def points(self) -> list[Any]:
        """Every value, for a grid; empty for a continuous range."""
        if self.values is not None:
            return list(self.values)
        points = [self.low + k * (self.step or 1) for k in range(self.size)]
        return [int(v) for v in points] if self.whole else points

    def settings(self, value: Any) -> dict[str, Any]:
        """The keys of the run's config that `value` sets."""
        return dict(self.sets)[value] if self.sets else {self.key: value}

    def extremes(self) -> list[Any]:
        """The values to check for mistakes: all values of a list, or the ends of a range."""
        return list(self.values) if self.values is not None else [self.low, self.high]

    def as_dict(self) -> dict[str, Any]:
        """The knob as study.json stores it."""
        kind = "categorical" if self.values is not None else "int" if self.whole else "float"
        record: dict[str, Any] = {"key": self.key, "name": self.name, "kind": kind}
        if self.values is not None:
            record |= {"values": list(self.values)}
        else:
            record |= {"low": self.low, "high": self.high, "log": self.log, "step": self.step}
        return record | ({"when": {k: list(v) for k, v in self.when}} if self.when else {})


def read_knob(key: str, value: Any) -> Knob:
    """The knob `key` of a sweep's config, from its value there. Raises ConfigError."""
    where = f"space.{key}"
    entry = {"values": value} if isinstance(value, list) else value
    if not isinstance(entry, dict):
        raise ConfigError(f"{where}: {entry!r} is not valid here; wanted a list of values, or low and high")
    if unknown := [k for k in entry if k not in KEYS]:
        near = difflib.get_close_matches(str(unknown[0]), KEYS, 1, 0.5)
        raise ConfigError(f"{where}: unknown key {unknown[0]}; " + (f"did you mean {near[0]}?" if near else f"valid: {', '.join(KEYS)}"))
    when = entry.get("when") or {}
    if not isinstance(when, dict):
        raise ConfigError(f"{where}.when: {when!r} is not valid here; wanted key: value")
    if idle := [k for k in ("low", "high", "step", "log") if "values" in entry and k in entry]:
        raise ConfigError(f"{where}: {idle[0]} says nothing beside values; leave one of them out")
    conditions = tuple((str(k), tuple(v) if isinstance(v, list) else (v,)) for k, v in when.items())
    if "values" in entry:
        values = entry["values"]
        if isinstance(values, dict):
            if not values or not all(isinstance(v, dict) and v for v in values.values()):
                raise ConfigError(f"{where}.values: wanted name: {{key: value, …}} for each value")
            named: dict[str, str] = {}
            for name, sets in values.items():
                if (other := named.setdefault(json.dumps(flat(sets), sort_keys=True, default=str), str(name))) != str(name):
                    raise ConfigError(f"{where}: {other} and {name} set the same")
            return Knob(key, tuple(map(str, values)), sets=tuple((str(k), flat(v)) for k, v in values.items()), when=conditions)
        if not isinstance(values, list) or not values:
            raise ConfigError(f"{where}: {values!r} is not valid here; wanted a list of values")
        if odd := [v for v in values if isinstance(v, list | dict)]:
            raise ConfigError(f"{where}: {odd[0]!r} is no single value; give it a name, as in {{values: {{small: {{{key}: …}}}}}}")
        if endless := [v for v in values if isinstance(v, float) and not math.isfinite(v)]:
            raise ConfigError(f"{where}: {endless[0]} is not a finite number")
        if len({json.dumps(float(v) if type(v) is int else v) for v in values}) < len(values):
            raise ConfigError(f"{where}: a value stands there twice")
        if same := [v for v in values if isinstance(v, bool) and [w for w in values if w == v] != [v]]:
            raise ConfigError(f"{where}: {json.dumps(same[0])} and {int(same[0])} count as one value; leave one of them out")
        return Knob(key, tuple(values), when=conditions)
    return _range(key, where, entry, conditions)


def _range(key: str, where: str, entry: dict[str, Any], conditions: tuple[tuple[str, tuple[Any, ...]], ...]) -> Knob:
    """The knob of an entry with low and high. Raises ConfigError."""
    low, high, step, log = entry.get("low"), entry.get("high"), entry.get("step"), entry.get("log", False)
    numbers = [("low", low), ("high", high), *([("step", step)] if step is not None else [])]
    for name, value in numbers:
        if name not in entry:
            raise ConfigError(f"{where}.{name}: missing; a range has low and high, or give a list of values")
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise ConfigError(f"{where}.{name}: {value!r} is not valid here; wanted a number")
    if not isinstance(log, bool):
        raise ConfigError(f"{where}.log: {log!r} is not valid here; wanted true or false")
    assert isinstance(low, int | float) and isinstance(high, int | float)
    if low >= high:
        raise ConfigError(f"{where}: low {low} is not below high {high}")
    if log and (low <= 0 or step is not None):
        raise ConfigError(f"{where}: log needs a low above 0 and no step")
    if step is not None and not 0 < step <= high - low:
        raise ConfigError(f"{where}.step: {step} must be positive and fit between low and high")
    if not math.isfinite(float(high) - float(low)):
        raise ConfigError(f"{where}: from {low} to {high} is too far")
    if step is not None and (high - low) / step > MOST_STEPS:
        raise ConfigError(f"{where}.step: {step} makes more than {MOST_STEPS:,} steps; choose a larger one, or leave it out")
    if step is not None:
        high = low + step * int((high - low) / step + 1e-9)  # the last value that the steps reach
    whole = all(isinstance(v, int) for _, v in numbers)
    return Knob(key, None, low, high, step, log, whole, when=conditions)


def in_order(knobs: list[Knob], problems: list[str]) -> list[Knob]:
    """The knobs, each after those that its condition names. A circle of conditions is added to `problems`."""
    ordered: list[Knob] = []
    waiting = list(knobs)
    names = {k.key for k in knobs}
    while waiting:
        free = [k for k in waiting if not any(key in names and key not in {o.key for o in ordered} for key, _ in k.when)]
        if not free:
            problems.append(f"space: {', '.join(k.key for k in waiting)} wait for each other by `when`")
            return ordered
        ordered += free
        waiting = [k for k in waiting if k not in free]
    return ordered


def flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """{a: {b: 1}} as {a.b: 1}; keys may be dotted already. Only sections are taken apart, not values below them that are dicts."""
    values: dict[str, Any] = {}
    for key, value in tree.items():
        name = f"{prefix}{key}"
        values |= flat(value, name + ".") if isinstance(value, dict) and name.count(".") < 1 else {name: value}
    return values


def nested(values: dict[str, Any]) -> dict[str, Any]:
    """The opposite of `flat`: {a.b: 1} as {a: {b: 1}}."""
    tree: dict[str, Any] = {}
    for key, value in values.items():
        inner = value
        for part in reversed(key.split(".")):
            inner = {part: inner}
        tree = checks.merge(tree, inner)
    return tree


def label(number: int, params: dict[str, Any]) -> str:
    """The name of a trial's folder: its number, and as many parameters as fit (file systems take 255 bytes, or 143 if encrypted)."""
    parts = [f"{short(key)}={value:.3g}" if isinstance(value, float) else f"{short(key)}={value}" for key, value in params.items()]
    name = re.sub(r"[^\w.=,+-]", "_", f"{number:04d}-{','.join(parts)}")
    cut = name.encode()[:120].decode(errors="ignore")
    whole = cut.rpartition(",")[0]
    return whole if cut != name and whole else cut


def number_of(folder: str) -> int | None:
    """The trial's number in the name of its folder (`label`); None for a user's own folder."""
    match = re.fullmatch(r"(\d{4,})-(?:[^=]+=.*)?", folder, re.ASCII)
    return int(match[1]) if match else None


def short(key: str) -> str:
    """The last part of a key, or the whole key if that part alone means nothing."""
    last = key.rpartition(".")[2]
    return key if last in VAGUE else last

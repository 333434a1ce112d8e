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

VAGUE = ("name", "type", "path")  # names that say nothing without the section that they stand in

MOST_STEPS = 1_000_000  # of a range: nobody tries more, and far more overflow

KEYS = ("values", "low", "high", "step", "log", "when")  # that a knob may have


@dataclass(frozen=True)
class Knob:
    """One axis of the space.

    Attributes:
        key: a dotted key of the run's config, or the name of a bundle.
        values: of a categorical knob; None for a range.
        low, high, step, log: of a range; `step` None for a continuous one.
        whole: a range of whole numbers.
        sets: of a bundle, the keys that each of its values sets.
        when: (key, values) pairs, all of which must hold.
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
        """Short, for folders and pictures."""
        return short(self.key)

    @property
    def size(self) -> int:
        """How many values it has, for a grid; 0 for a continuous range."""
        if self.values is not None:
            return len(self.values)
        if self.log or (self.step is None and not self.whole):
            return 0
        return int((self.high - self.low) / (self.step or 1) + 1e-9) + 1

    def points(self) -> list[Any]:
        """Every value, for a grid; empty for a continuous range."""
        if self.values is not None:
            return list(self.values)
        found = [self.low + k * (self.step or 1) for k in range(self.size)]
        return [int(v) for v in found] if self.whole else found

    def settings(self, value: Any) -> dict[str, Any]:
        """The keys of the run's config that `value` sets."""
        return dict(self.sets)[value] if self.sets else {self.key: value}

    def extremes(self) -> list[Any]:
        """Values that stand for all, to look for mistakes in."""
        return list(self.values) if self.values is not None else [self.low, self.high]

    def as_dict(self) -> dict[str, Any]:
        """For study.json."""
        kind = "categorical" if self.values is not None else "int" if self.whole else "float"
        found: dict[str, Any] = {"key": self.key, "name": self.name, "kind": kind}
        if self.values is not None:
            found |= {"values": list(self.values)}
        else:
            found |= {"low": self.low, "high": self.high, "log": self.log, "step": self.step}
        return found | ({"when": {k: list(v) for k, v in self.when}} if self.when else {})


def read_knob(key: str, said: Any) -> Knob:
    """The knob that a sweep's config says; raises ConfigError."""
    where = f"space.{key}"
    if isinstance(said, list):
        said = {"values": said}
    if not isinstance(said, dict):
        raise ConfigError(f"{where}: {said!r} is not valid here; wanted a list of values, or low and high")
    if unknown := [k for k in said if k not in KEYS]:
        near = difflib.get_close_matches(str(unknown[0]), KEYS, 1, 0.5)
        raise ConfigError(f"{where}: unknown key {unknown[0]}; " + (f"did you mean {near[0]}?" if near else f"valid: {', '.join(KEYS)}"))
    when = said.get("when") or {}
    if not isinstance(when, dict):
        raise ConfigError(f"{where}.when: {when!r} is not valid here; wanted key: value")
    if idle := [k for k in ("low", "high", "step", "log") if "values" in said and k in said]:
        raise ConfigError(f"{where}: {idle[0]} says nothing beside values; leave one of them out")
    conditions = tuple((str(k), tuple(v) if isinstance(v, list) else (v,)) for k, v in when.items())
    if "values" in said:
        values = said["values"]
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
    return _range(key, where, said, conditions)


def _range(key: str, where: str, said: dict[str, Any], conditions: tuple[tuple[str, tuple[Any, ...]], ...]) -> Knob:
    low, high, step, log = said.get("low"), said.get("high"), said.get("step"), said.get("log", False)
    numbers = [("low", low), ("high", high), *([("step", step)] if step is not None else [])]
    for name, value in numbers:
        if name not in said:
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
        high = low + step * int((high - low) / step + 1e-9)  # its last value
    whole = all(isinstance(v, int) for _, v in numbers)
    return Knob(key, None, low, high, step, log, whole, when=conditions)


def in_order(found: list[Knob], problems: list[str]) -> list[Knob]:
    """Each knob after those that its condition names."""
    ordered: list[Knob] = []
    waiting = list(found)
    names = {k.key for k in found}
    while waiting:
        free = [k for k in waiting if not any(key in names and key not in {o.key for o in ordered} for key, _ in k.when)]
        if not free:
            problems.append(f"space: {', '.join(k.key for k in waiting)} wait for each other by `when`")
            return ordered
        ordered += free
        waiting = [k for k in waiting if k not in free]
    return ordered


def flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """{a: {b: 1}} as {a.b: 1}; dotted keys may stand in it already. What model's keys and columns hold is not divided further."""
    found: dict[str, Any] = {}
    for key, value in tree.items():
        name = f"{prefix}{key}"
        found |= flat(value, name + ".") if isinstance(value, dict) and name.count(".") < 1 else {name: value}
    return found


def nested(values: dict[str, Any]) -> dict[str, Any]:
    """{a.b: 1} as {a: {b: 1}}."""
    tree: dict[str, Any] = {}
    for key, value in values.items():
        inner = value
        for part in reversed(key.split(".")):
            inner = {part: inner}
        tree = checks.merge(tree, inner)
    return tree


def label(number: int, params: dict[str, Any]) -> str:
    """The name of a trial's folder: its number and as many of its parameters as any file system takes (255 bytes, or 143 encrypted)."""
    parts = [f"{short(key)}={value:.3g}" if isinstance(value, float) else f"{short(key)}={value}" for key, value in params.items()]
    name = re.sub(r"[^\w.=,+-]", "_", f"{number:04d}-{','.join(parts)}")
    cut = name.encode()[:120].decode(errors="ignore")
    whole = cut.rpartition(",")[0]
    return whole if cut != name and whole else cut


def number_of(folder: str) -> int | None:
    """The number of the trial that has a folder with this name (`label`); None for one that a user put there."""
    found = re.fullmatch(r"(\d{4,})-(?:[^=]+=.*)?", folder, re.ASCII)
    return int(found[1]) if found else None


def short(key: str) -> str:
    """The last part of a key, or two where one says nothing."""
    last = key.rpartition(".")[2]
    return key if last in VAGUE else last

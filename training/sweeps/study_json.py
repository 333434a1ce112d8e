"""Reads study.json into records for the report and the page, and checks it, because anyone may have written it.

Light: no torch, no Optuna.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from training.base.errors import ConfigError
from training.sweeps.records import STATES, Axis, StudyRecords, Trial
from training.sweeps.values import is_number, name_of, number

HEADER = ("name", "task", "base", "search", "importance")  # keys of the study itself, which every sweep writes

DAMAGE = (
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    IndexError,
    OverflowError,
    RecursionError,
)  # errors from reading something that is not a study


def load_study(path: Path, leave_out_damaged: bool = False) -> StudyRecords:
    """The study in a folder (or in a study.json).

    Args:
        leave_out_damaged: leave out trials that cannot be read, and accept missing keys of the study itself (`HEADER`).

    Raises:
        ConfigError: if the file cannot be read or is not a study.
    """
    path = path / "study.json" if path.is_dir() else path
    try:
        return _study(path.parent, json.loads(path.read_text(encoding="utf-8")), leave_out_damaged)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror or error})") from None
    except DAMAGE as error:
        what = f"{type(error).__name__}: {error}"[:120]
        raise ConfigError(f"{path}: is damaged or was not written by a sweep ({what}); the sweep's command writes it anew") from None


def _study(folder: Path, plain: dict[str, Any], leave_out_damaged: bool) -> StudyRecords:
    """The study in a parsed study.json. Raises one of DAMAGE."""
    header: dict[str, Any] = {key: plain.get(key) or "" if leave_out_damaged else plain[key] for key in HEADER}
    keys = {str(knob["key"]) for knob in plain["knobs"]}
    trials = []
    for entry in plain["trials"]:
        try:
            trials.append(_trial(entry, keys))
        except DAMAGE:
            if not leave_out_damaged:
                raise
    names = [str(knob["name"]) for knob in plain["knobs"]]
    axes = [_axis(k, name if names.count(name) == 1 else str(k["key"]), trials) for k, name in zip(plain["knobs"], names)]
    first, *others = plain["objectives"]
    return StudyRecords(
        folder=folder, name=str(header["name"]), task=str(header["task"]), base=str(header["base"]), search=str(header["search"]),
        prune=str(plain.get("prune") or ""), metric=str(first["name"]), maximize=first["direction"] == "maximize",
        second=str(others[0]["name"]) if others else None, axes=axes,
        importance={str(k): float(v) for k, v in dict(header["importance"]).items()}, trials=trials,
        grid_points=int(plain.get("grid_points") or 0), unreadable=len(plain["trials"]) - len(trials),
    )  # fmt: skip


def _axis(knob: dict[str, Any], label: str, trials: list[Trial]) -> Axis:
    """A knob with the values that its trials have. Raises ValueError for an invalid range."""
    key, is_range = str(knob["key"]), "values" not in knob
    listed = () if is_range else tuple(map(_value, knob["values"]))
    over = {name_of(t.params[key]) for t in trials if key in t.params and t.state != "running"}
    by_name = {name_of(v): v for v in (*listed, *(t.params[key] for t in trials if key in t.params))}
    every = list(by_name.values())
    ordered = all(map(is_number, every))
    if ordered:
        every.sort()
    ends = tuple(_value(knob[end]) for end in ("low", "high")) if is_range else ()
    log = knob.get("log") is True
    if is_range and not (ordered and all(map(is_number, ends)) and ends[0] < ends[1] and not (log and min(*ends, *every) <= 0)):
        raise ValueError(f"{key} is not a range")
    step: Any = knob.get("step")
    return Axis(
        key=key, label=label, values=None if is_range else listed, tried=tuple(v for v in every if name_of(v) in over), ordered=ordered,
        scale=ends or tuple(every), log=log, whole=knob.get("kind") == "int", step=step if is_number(step) and step > 0 else None,
        when=tuple((str(k), tuple(map(_value, allowed))) for k, allowed in (knob.get("when") or {}).items()),
    )  # fmt: skip


def _trial(entry: dict[str, Any], keys: set[str]) -> Trial:
    """A trial of a study with these knobs. Raises one of DAMAGE."""
    if entry["state"] not in STATES:
        raise ValueError(f"trial {entry['number']} has the state {entry['state']}")
    params = {str(key): _value(value) for key, value in entry["params"].items()}
    if unknown := params.keys() - keys:
        raise ValueError(f"trial {entry['number']} sets {min(unknown)}, which is not one of the study's knobs")
    values = entry.get("values") or []
    samples = [{str(k): str(v) for k, v in s.items()} for s in entry.get("samples") or []]
    verdicts = [{str(k): str(v) for k, v in s.items()} for s in entry.get("verdicts") or []]
    return Trial(
        number=int(entry["number"]), state=entry["state"], params=params,
        value=number(values[0] if values else entry.get("value")), second=number(values[1]) if len(values) > 1 else None,
        repeat_of=entry.get("repeat_of"), seed=entry.get("seed"), step=number(entry.get("step")), best_step=entry.get("best_step"),
        seconds=number(entry.get("training_seconds")), wall=number(entry.get("wall_seconds")),
        first=entry.get("first"), parameters=number(entry.get("parameters")),
        ended=str(entry.get("ended") or entry["state"]), reason=str(entry.get("reason") or ""), folder=str(entry.get("folder") or ""),
        curve=[(float(s), float(v)) for s, v in entry.get("curve") or [] if number(v) is not None], samples=samples, verdicts=verdicts,
        metrics=dict(entry.get("metrics") or {}),
    )  # fmt: skip


def _value(value: Any) -> Any:
    """`value` unchanged. Raises ValueError if a knob cannot have it."""
    if not (value is None or isinstance(value, str | bool) or is_number(value)):
        raise ValueError(f"{value!r} is not a value of a knob")
    return value

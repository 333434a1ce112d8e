"""Sweeps on disk, for the page: which studies there are, the recorded run nearest to a setting of the knobs, and what is one step off.

Every number is a recorded run's or a mean of some; nothing is interpolated. A study folder is one with study.json, which is read
as if a stranger had written it. Of the trainer only chance.py is imported, so what the report says too (the best setting, the ranges
of a knob's values) is worked out here by the same rules as in training/leaders.py and effects.py; a test compares the two.
"""

from __future__ import annotations

import functools
import json
import math
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inference.folders import default_roots
from training.sweeps.noise import of_the_seed

STATES = ("complete", "pruned", "failed", "running")
FEW = 12  # values of a range that are offered one by one
MAX_BYTES = 64_000_000


class StudyError(Exception):
    """study.json is not there, not whole, or not a sweep's."""


@dataclass(frozen=True)
class Knob:
    """One axis. `values` are the recorded ones, `ordered` if they are numbers; `scale` has the values of a list, or a range's two ends."""

    key: str
    label: str
    values: tuple[Any, ...]
    ordered: bool
    scale: tuple[Any, ...]
    is_range: bool
    log: bool
    whole: bool
    step: float | None
    when: tuple[tuple[str, tuple[Any, ...]], ...]

    @property
    def slides(self) -> bool:
        """Whether a slider is the control for it; else a list of what was recorded."""
        return self.is_range and len(self.values) > FEW

    def distance(self, a: Any, b: Any) -> float:
        """From 0 to 1: of a range its share; the numbers of a list count as evenly spaced; other values differ or they do not."""
        if self.is_range:
            low, high = self.scale
            return abs(self._at(a) - self._at(b)) / (self._at(high) - self._at(low))
        if self.ordered and len(self.scale) > 1:
            names = [name_of(v) for v in self.scale]
            return abs(names.index(name_of(a)) - names.index(name_of(b))) / (len(names) - 1)
        return float(name_of(a) != name_of(b))

    def _at(self, value: float) -> float:
        return math.log(value) if self.log else float(value)


@dataclass(frozen=True)
class Run:
    """A trial. `value` is its metric, None where there is none; of a pruned run its best until then."""

    number: int
    state: str
    params: dict[str, Any]
    value: float | None
    perplexity: float | None
    seconds: float | None
    parameters: float | None
    step: float | None
    repeat: bool
    reason: str
    folder: str
    samples: tuple[dict[str, str], ...]
    verdicts: tuple[dict[str, str], ...]

    @functools.cached_property
    def setting(self) -> str:
        """Equal for runs that differ in nothing but their seed."""
        return json.dumps({k: name_of(v) for k, v in self.params.items()}, sort_keys=True)


@dataclass(frozen=True)
class Study:
    """What study.json says; `unreadable` trials were left out."""

    path: Path
    metric: str
    maximize: bool
    knobs: tuple[Knob, ...]
    runs: tuple[Run, ...]
    unreadable: int

    def worth(self, run: Run) -> tuple[int, float, int]:
        """For sorting, the best first: those that came to the end, those that were pruned, those that failed.

        A run counts as much as its setting does on average, and of a setting's runs the first one comes first: which of them was the
        luckiest says nothing.
        """
        value = self._means.get(run.setting) if done(run) else run.value
        return STATES.index(run.state), math.inf if value is None else -value if self.maximize else value, run.number

    @property
    def best(self) -> Run | None:
        """The first run of the setting that the report calls the best; while no run is complete, the best of those that are over."""
        if self.leaders:
            return self.leaders[0][0]
        return min((r for r in self.runs if r.state != "running"), key=self.worth, default=None)

    @functools.cached_property
    def settings(self) -> dict[str, list[Run]]:
        """The complete runs of each setting that has some."""
        found: dict[str, list[Run]] = {}
        for run in filter(done, self.runs):
            found.setdefault(run.setting, []).append(run)
        return found

    @functools.cached_property
    def leaders(self) -> list[list[Run]]:
        """The settings that were repeated, the best mean first; without repeats, all settings.

        A single run that was lucky may beat the mean of the repeated ones, so where there are repeats it does not compete.
        """
        repeated = {name for name, runs in self.settings.items() if any(r.repeat for r in runs)}
        found = [runs for name, runs in self.settings.items() if not repeated or name in repeated]
        return sorted(found, key=lambda runs: self.worth(runs[0])[1])

    def noise(self, first: int, second: int) -> float | None:
        """By how much the means of so many runs of two settings differ by chance, at most, in 19 of 20 cases; None if that is not known."""
        return of_the_seed(([r.value or 0.0 for r in runs] for runs in self.settings.values()), first, second)

    def seeds(self, run: Run) -> list[Run]:
        """The complete runs of the same setting; the run alone if it is not complete."""
        return self.settings[run.setting] if done(run) else [run]

    @functools.cached_property
    def _means(self) -> dict[str, float]:
        return {name: statistics.fmean(r.value or 0.0 for r in runs) for name, runs in self.settings.items()}

    def curves(self, run: Run) -> Path | None:
        """The picture of a run's curves, if there is one and it lies in the study's folder."""
        try:
            home = self.path.resolve()
            picture = (home / run.folder / "curves.png").resolve()
            return picture if run.folder and picture.is_relative_to(home) and picture.is_file() else None
        except (OSError, ValueError, RuntimeError):  # a name with a null byte, links in a circle
            return None


# ---- reading


def find_studies() -> list[Path]:
    """Study folders under the roots (or a root itself), the latest first; one that is still going on is one too."""
    found: dict[Path, int] = {}
    for root in default_roots():
        try:
            folders = [root, *(child for child in root.iterdir() if not child.name.startswith("."))]
        except OSError:  # missing, not a folder, not readable
            continue
        for folder in folders:
            try:
                if (folder / "study.json").is_file():
                    found[folder] = (folder / "study.json").stat().st_mtime_ns
            except OSError:  # gone meanwhile
                continue
    return sorted(found, key=lambda folder: found[folder], reverse=True)


def read(folder: Path) -> Study:
    """The study in a folder; raises StudyError. What did not change since is not read again."""
    try:
        stat = (folder / "study.json").stat()
        if stat.st_size > MAX_BYTES:
            raise StudyError(f"{stat.st_size:,} bytes")
        return _read(folder, stat.st_mtime_ns, stat.st_size)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError, OverflowError) as error:
        raise StudyError(type(error).__name__) from None


@functools.lru_cache(maxsize=4)
def _read(folder: Path, mtime: int, size: int) -> Study:
    told = json.loads((folder / "study.json").read_text(encoding="utf-8"))
    keys = {str(knob["key"]) for knob in told["knobs"]}
    runs = []
    for trial in told["trials"]:
        try:
            run = _run(trial)
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
            continue
        if run.params.keys() <= keys:
            runs.append(run)
    names = [str(knob["name"]) for knob in told["knobs"]]
    knobs = tuple(_knob(k, n if names.count(n) == 1 else str(k["key"]), runs) for k, n in zip(told["knobs"], names))
    aim = told["objectives"][0]
    return Study(folder, str(aim["name"]), aim["direction"] == "maximize", knobs, tuple(runs), len(told["trials"]) - len(runs))


def _knob(told: dict[str, Any], label: str, runs: list[Run]) -> Knob:
    key = str(told["key"])
    recorded = {name_of(r.params[key]): r.params[key] for r in runs if key in r.params and r.state != "running"}
    listed = {name_of(v): v for v in map(_scalar, told.get("values") or [])}
    every = list((listed | {name_of(r.params[key]): r.params[key] for r in runs if key in r.params}).values())
    is_range = "values" not in told
    ordered = all(_is_number(v) for v in every)
    if ordered:
        every.sort()
    ends = [_scalar(told[end]) for end in ("low", "high")] if is_range else []
    log = is_range and told.get("log") is True
    if is_range and not (ordered and all(map(_is_number, ends)) and ends[0] < ends[1] and not (log and min(*ends, *every) <= 0)):
        raise ValueError(f"{key} is no range")
    values = tuple(v for v in every if name_of(v) in recorded)
    when = tuple((str(k), tuple(map(_scalar, wanted))) for k, wanted in (told.get("when") or {}).items())
    whole = told.get("kind") == "int"
    step = told.get("step") if _is_number(told.get("step")) and told["step"] > 0 else None
    return Knob(key, label, values, ordered, tuple(ends or every), is_range, log, whole, step, when)


def _run(told: dict[str, Any]) -> Run:
    if told["state"] not in STATES:
        raise ValueError(told["state"])
    values = told.get("values") or [None]
    told_metrics = told.get("metrics") or {}
    return Run(
        number=int(told["number"]), state=told["state"], params={str(k): _scalar(v) for k, v in told["params"].items()},
        value=_number(values[0] if told["state"] == "complete" else told.get("value")), perplexity=_number(told_metrics.get("perplexity")),
        seconds=_number(told.get("training_seconds")), parameters=_number(told.get("parameters")) or None, step=_number(told.get("step")),
        repeat=told.get("repeat_of") is not None, reason=str(told.get("reason") or ""), folder=str(told.get("folder") or ""),
        samples=tuple({str(k): str(v) for k, v in s.items()} for s in told.get("samples") or []),
        verdicts=tuple({str(k): str(v) for k, v in s.items()} for s in told.get("verdicts") or []),
    )  # fmt: skip


def _scalar(value: Any) -> Any:
    """A value that a knob can have, as it is."""
    if not (value is None or isinstance(value, str | bool) or _is_number(value)):
        raise ValueError(f"{value!r} is no value of a knob")
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e100


def _number(value: Any) -> float | None:
    return float(value) if _is_number(value) else None


def name_of(value: Any) -> str:
    """Tells 1 from true and from "1", but not from 1.0."""
    return repr(float(value)) if _is_number(value) else json.dumps(value)


def done(run: Run) -> bool:
    """Whether it came to the end and has a number."""
    return run.state == "complete" and run.value is not None


# ---- asking


def asked(study: Study, values: Mapping[str, Any]) -> dict[str, Any]:
    """What is asked for by the controls' values: without the knobs whose condition does not hold for the others."""
    keys = {knob.key for knob in study.knobs}
    found: dict[str, Any] = {}
    for knob in study.knobs:  # each comes after those that its condition names
        conditions = [(key, wanted) for key, wanted in knob.when if key in keys]
        if knob.key in values and all(k in found and name_of(found[k]) in map(name_of, wanted) for k, wanted in conditions):
            found[knob.key] = values[knob.key]
    return found


def distance(knobs: Iterable[Knob], a: Mapping[str, Any], b: Mapping[str, Any]) -> float:
    """Summed over the knobs; one that only one side has counts as 1."""
    total = 0.0
    for knob in knobs:
        if knob.key in a and knob.key in b:
            total += knob.distance(a[knob.key], b[knob.key])
        else:
            total += (knob.key in a) != (knob.key in b)
    return total


def nearest(study: Study, wanted: Mapping[str, Any]) -> Run | None:
    """The run that is nearest to a setting, of equally near ones the best; None if no run is over."""
    over = [r for r in study.runs if r.state != "running"]
    return min(over, key=lambda r: (round(distance(study.knobs, wanted, r.params), 9), study.worth(r)), default=None)


def mean_and_error(values: Iterable[float | None]) -> tuple[float | None, float | None]:
    """The mean of the values that there are and its standard error, which fewer than two do not have."""
    known = [v for v in values if v is not None]
    return statistics.fmean(known) if known else None, statistics.stdev(known) / math.sqrt(len(known)) if len(known) > 1 else None

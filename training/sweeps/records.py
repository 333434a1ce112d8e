"""A study as study.json has it, read and checked. Light: no torch, no Optuna.

A *setting* is one value of each knob; a *run* is one training of it. Runs of the same setting differ in their seed only.
"""

from __future__ import annotations

import json
import math
import re
import statistics
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from training.base.errors import ConfigError

STATES = ("complete", "pruned", "failed", "running")

LEAST_WEIGHED = 10  # complete trials, repeats not counted, below which the knobs' importance is not worked out

Cost = Literal["seconds", "parameters", "second"]


@dataclass(frozen=True)
class Axis:
    """A knob; `label` is its short name, or its whole key where two knobs have the same one."""

    key: str
    label: str
    values: tuple[Any, ...] | None
    log: bool


@dataclass(frozen=True)
class Run:
    """A trial. `value` is its metric and `second` its second aim: None where there is none; of a pruned run, its best so far.

    `seconds` are on the run's own clock, `wall` those of the whole trial; `first`: it was the first that its worker process trained,
    None where that is not recorded.
    """

    number: int
    state: str
    params: dict[str, Any]
    value: float | None
    second: float | None
    repeat_of: int | None
    seed: int | None
    best_step: int | None
    seconds: float | None
    wall: float | None
    first: bool | None
    parameters: float | None
    ended: str
    reason: str
    folder: str
    curve: list[tuple[float, float]]
    samples: list[dict[str, str]]
    verdicts: list[dict[str, str]]
    metrics: dict[str, Any]

    @cached_property
    def setting(self) -> str:
        """The same for runs of one setting."""
        return json.dumps(self.params, sort_keys=True)


@dataclass(frozen=True)
class Records:
    """A study. `maximize`: whether more of the metric is better; of the second aim less is."""

    name: str
    task: str
    base: str
    search: str
    prune: str
    metric: str
    maximize: bool
    second: str | None
    axes: list[Axis]
    importance: dict[str, float]
    runs: list[Run]
    grid_points: int

    def better(self, value: float) -> float:
        """For sorting by the metric, the best first."""
        return -value if self.maximize else value

    @cached_property
    def rises(self) -> dict[int, float]:
        """By number, how much worse a complete run's last evaluation is than its best, 0 if it is the best; of runs with two or more."""
        found = {}
        for run in (r for r in self.complete if len(r.curve) > 1):
            seen = [self.better(v) for _, v in run.curve]
            best = min(*seen, self.better(run.value or 0.0))  # a curve in study.json is thinned, its best may be left out of it
            found[run.number] = seen[-1] - best
        return found

    @cached_property
    def complete(self) -> list[Run]:
        """Runs to the end that have a number, repeats too."""
        return [r for r in self.runs if r.state == "complete" and r.value is not None]

    @cached_property
    def searched(self) -> list[Run]:
        """Runs that are over and no repeats: repeats would give the best settings more weight than the others."""
        return [r for r in self.runs if r.repeat_of is None and r.state != "running"]

    @cached_property
    def balanced(self) -> bool:
        """Whether a whole grid was completed, so that every value of a knob met the same values of the others.

        Not so where a condition leaves a knob unturned in some settings: there are fewer than the product of the knobs' numbers of
        values then, and a value of a knob meets some values of the others more often than another value does.
        """
        done = [r for r in self.complete if r.repeat_of is None]
        return 0 < self.grid_points <= len({r.setting for r in done}) and all(len(r.params) == len(self.axes) for r in done)

    @cached_property
    def settings(self) -> list[Setting]:
        """Every setting that has a complete run, the best mean first."""
        runs: dict[str, list[Run]] = {}
        for run in self.complete:
            runs.setdefault(run.setting, []).append(run)
        lost = Counter(r.setting for r in self.runs if r.repeat_of is not None and r.state in ("pruned", "failed"))
        return sorted((Setting(r[0].params, r, lost[name]) for name, r in runs.items()), key=lambda s: self.better(s.mean))

    @cached_property
    def leaders(self) -> list[Setting]:
        """The settings that were repeated, the best mean first; without repeats, all settings.

        A single run that was lucky may beat the mean of the repeated ones, so where there are repeats it does not compete.
        """
        repeated = {r.setting for r in self.complete if r.repeat_of is not None}
        return [s for s in self.settings if not repeated or s.runs[0].setting in repeated]


@dataclass(frozen=True)
class Setting:
    """One value of each knob and its complete runs, the first one first; `lost` repeats were pruned or failed."""

    params: dict[str, Any]
    runs: list[Run]
    lost: int = 0

    @property
    def values(self) -> list[float]:
        """The metric of each run."""
        return [float(r.value) for r in self.runs if r.value is not None]

    @property
    def mean(self) -> float:
        """Of the metric."""
        return statistics.fmean(self.values)

    @property
    def error(self) -> float | None:
        """The standard error of the mean; None for a single run."""
        return statistics.stdev(self.values) / math.sqrt(len(self.values)) if len(self.values) > 1 else None

    def cost(self, by: Cost) -> float | None:
        """The mean over its runs of seconds, parameters or the second aim; None where no run has it."""
        found = [float(v) for r in self.runs if (v := getattr(r, by)) is not None]
        return statistics.fmean(found) if found else None


def load_study(path: Path) -> Records:
    """The study in a folder (or in a study.json); raises ConfigError if it cannot be read."""
    path = path / "study.json" if path.is_dir() else path
    try:
        return _records(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror or error})") from None
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        what = f"{type(error).__name__}: {error}"[:120]
        raise ConfigError(f"{path}: is damaged or was not written by a sweep ({what}); the sweep's command writes it anew") from None


def _records(told: dict[str, Any]) -> Records:
    names = [str(k["name"]) for k in told["knobs"]]
    axes = [
        Axis(str(k["key"]), n if names.count(n) == 1 else str(k["key"]), tuple(k["values"]) if "values" in k else None, bool(k.get("log")))
        for k, n in zip(told["knobs"], names)
    ]
    first, *others = told["objectives"]
    return Records(
        name=str(told["name"]), task=str(told["task"]), base=str(told["base"]), search=str(told["search"]),
        prune=str(told.get("prune") or ""), metric=str(first["name"]), maximize=first["direction"] == "maximize",
        second=str(others[0]["name"]) if others else None, axes=axes,
        importance={str(k): float(v) for k, v in told["importance"].items()}, runs=[_run(t) for t in told["trials"]],
        grid_points=int(told.get("grid_points") or 0),
    )  # fmt: skip


def _run(told: dict[str, Any]) -> Run:
    if told["state"] not in STATES:
        raise ValueError(f"trial {told['number']} has the state {told['state']}")
    values = told.get("values") or []
    samples = [{str(k): str(v) for k, v in s.items()} for s in told.get("samples") or []]
    verdicts = [{str(k): str(v) for k, v in s.items()} for s in told.get("verdicts") or []]
    return Run(
        number=int(told["number"]), state=told["state"], params=dict(told["params"]),
        value=_number(values[0] if values else told.get("value")), second=_number(values[1]) if len(values) > 1 else None,
        repeat_of=told.get("repeat_of"), seed=told.get("seed"), best_step=told.get("best_step"),
        seconds=_number(told.get("training_seconds")), wall=_number(told.get("wall_seconds")),
        first=told.get("first"), parameters=_number(told.get("parameters")),
        ended=str(told.get("ended") or told["state"]), reason=str(told.get("reason") or ""), folder=str(told.get("folder") or ""),
        curve=[(float(s), float(v)) for s, v in told.get("curve") or [] if _number(v) is not None], samples=samples, verdicts=verdicts,
        metrics=dict(told.get("metrics") or {}),
    )  # fmt: skip


def _number(value: Any) -> float | None:
    """None for what is no finite number, and for numbers whose squares would not be."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e100 else None


def ended_in_words(how: str, words: dict[str, Any]) -> str:
    """How a trial ended, in the words of the book `sweep`; a way that they lack stays as study.json has it."""
    return str(words.get("ended_" + re.sub(r"\W+", "_", how), how))

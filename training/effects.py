"""What a sweep says: numbers from study.json, for the report and for the page. Light: no torch, no Optuna, no matplotlib.

A *setting* is one value of each knob; a *run* is one training of it. Runs of the same setting differ in their seed only, so what
they differ by is noise. Nothing here is modelled or interpolated: every number is a recorded run's, or a mean of some.
"""

from __future__ import annotations

import json
import math
import re
import statistics
from bisect import bisect_right
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from training.study_records import STATES, Axis, Cost, Records, Run, Setting

BINS = 6  # of a range, at most
# Student's t, two-sided 95 %, for 1, 2, … degrees of freedom; beyond the table the normal's.
T95 = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23, 2.20, 2.18, 2.16, 2.14, 2.13, 2.12, 2.11, 2.10, 2.09, 2.09)


@dataclass(frozen=True)
class Difference:
    """Two settings compared; `noise` is how much two such means differ by chance in 19 of 20 cases, None if nothing was repeated."""

    first: Setting
    second: Setting
    size: float
    noise: float | None

    @property
    def within_noise(self) -> bool | None:
        """None: not known."""
        return None if self.noise is None else self.size <= self.noise


@dataclass(frozen=True)
class Marginal:
    """All runs in which a knob has one value (or lies in one range): their metric, and how many came to an end.

    `turned` is False for the runs in which the knob's condition did not hold, so that it has no value.
    """

    label: str
    turned: bool
    values: list[float]
    pruned: int
    failed: int
    mean: float | None
    sd: float | None
    best: float | None


@dataclass(frozen=True)
class Effect:
    """A knob and what it does. `size` is the difference between the means of its `best` and `worst` rows; None if it has not two."""

    axis: Axis
    rows: list[Marginal]
    importance: float | None
    best: Marginal | None
    worst: Marginal | None
    size: float | None


@dataclass(frozen=True)
class Interaction:
    """The mean metric for each pair of two knobs' values: `mean[row of y][row of x]`, None where no run was; `runs` how many."""

    x: Axis
    y: Axis
    x_labels: list[str]
    y_labels: list[str]
    mean: list[list[float | None]]
    runs: list[list[int]]


@dataclass(frozen=True)
class Failure:
    """Failed runs whose reasons differ in numbers only; `reason` is the first one's."""

    ended: str
    reason: str
    numbers: list[int]


@dataclass(frozen=True)
class Speed:
    """Of one worker: trials a minute, the share of wall time that is not training, seconds of that a trial after the first."""

    per_minute: float | None
    idle: float | None
    overhead: float | None


@dataclass
class Bins:
    """How a knob's values are put in rows: each value its own, or at most BINS ranges with as many runs in each."""

    axis: Axis
    labels: list[str] = field(default_factory=list)
    keys: dict[str, int] = field(default_factory=dict)
    edges: list[float] = field(default_factory=list)

    def of(self, run: Run) -> int | None:
        """The row; None if the knob has no value in this run."""
        if self.axis.key not in run.params:
            return None
        value = run.params[self.axis.key]
        return self.keys[_key(value)] if self.keys else bisect_right(self.edges, value)


# ---- settings


def best(records: Records) -> Setting | None:
    """The best of the leaders; None if no run was completed, or if there are two aims and so a front (`pareto`)."""
    return records.leaders[0] if records.leaders and records.second is None else None


def noise(records: Records) -> Difference | None:
    """The best setting beside the next best; None if there are not two."""
    found = records.leaders
    if len(found) == 1:  # only one was repeated: the next is a single run
        found = found + [s for s in records.settings if s is not found[0]]
    return difference(records, found[0], found[1]) if len(found) > 1 else None


def difference(records: Records, first: Setting, second: Setting) -> Difference:
    """Two settings compared by Student's t with the standard deviation pooled over the repeated leaders (Welch's needs more runs)."""
    repeated = [s.values for s in records.leaders if len(s.values) > 1]
    size = abs(first.mean - second.mean)
    freedom = sum(len(v) - 1 for v in repeated)
    if not freedom:
        return Difference(first, second, size, None)
    pooled = math.sqrt(sum(_sd(v) ** 2 * (len(v) - 1) for v in repeated) / freedom)
    t = T95[freedom - 1] if freedom <= len(T95) else 1.96
    return Difference(first, second, size, t * pooled * math.sqrt(1 / len(first.values) + 1 / len(second.values)))


def pareto(records: Records, by: Cost) -> list[Setting]:
    """Settings to which no other is better in both the metric and this cost, the cheapest first."""
    sign = -1.0 if by == "second" and records.maximize_second else 1.0
    priced = [(sign * cost, records.better(s.mean), s) for s in records.settings if (cost := s.cost(by)) is not None]
    front: list[Setting] = []
    reached = math.inf
    for _, value, setting in sorted(priced, key=lambda p: p[:2]):
        if value < reached:
            front.append(setting)
            reached = value
    return front


# ---- knobs


def effects(records: Records) -> list[Effect]:
    """Every knob with its marginals, the most important first."""
    found = [_effect(records, axis) for axis in records.axes]
    return sorted(found, key=lambda e: (-(e.importance or 0.0), -(e.size or 0.0)))


def marginals(records: Records, axis: Axis) -> list[Marginal]:
    """A row for each value of a knob (or range of values), over the searched runs; the mean is over those that came to the end."""
    bins = rows(records, axis)
    groups: list[list[Run]] = [[] for _ in bins.labels]
    unturned: list[Run] = []
    for run in records.searched:
        at = bins.of(run)
        (unturned if at is None else groups[at]).append(run)
    found = [_marginal(records, label, True, group) for label, group in zip(bins.labels, groups)]
    return found + ([_marginal(records, "—", False, unturned)] if unturned else [])


def rows(records: Records, axis: Axis) -> Bins:
    """How a knob's values are grouped: a range of more than BINS different ones is cut at quantiles (of the logarithm if it is log)."""
    seen = [r.params[axis.key] for r in records.searched if axis.key in r.params]
    values = list(axis.values) if axis.values is not None else []
    known = {_key(v) for v in values}
    for value in sorted(seen, key=_order):
        if _key(value) not in known:
            values.append(value)
            known.add(_key(value))
    if axis.values is not None or len(values) <= BINS:
        return Bins(axis, [text(v) for v in values], {_key(v): k for k, v in enumerate(values)})
    raw = np.array(seen, dtype=float)
    cuts = np.quantile(np.log(raw) if axis.log else raw, np.arange(1, BINS) / BINS)
    edges = sorted({float(c) for c in (np.exp(cuts) if axis.log else cuts)})
    members: dict[int, list[float]] = {}
    for value in sorted(seen):
        members.setdefault(bisect_right(edges, value), []).append(value)
    full = sorted(members)
    edges = [edges[k - 1] for k in full[1:]]  # without ranges that equal edges left empty
    return Bins(axis, [f"{members[k][0]:.3g} – {members[k][-1]:.3g}" for k in full], edges=edges)


def interaction(records: Records) -> Interaction | None:
    """Of the two most important knobs that took two values or more; None if there are not two."""
    turned = [e.axis for e in effects(records) if sum(bool(row.values) and row.turned for row in e.rows) > 1]
    if len(turned) < 2:
        return None
    x, y = (rows(records, axis) for axis in turned[:2])
    cells: list[list[list[float]]] = [[[] for _ in x.labels] for _ in y.labels]
    for run in records.searched:
        across, up = x.of(run), y.of(run)
        if run.state == "complete" and run.value is not None and across is not None and up is not None:
            cells[up][across].append(run.value)
    mean = [[statistics.fmean(cell) if cell else None for cell in row] for row in cells]
    return Interaction(x.axis, y.axis, x.labels, y.labels, mean, [[len(cell) for cell in row] for row in cells])


def _effect(records: Records, axis: Axis) -> Effect:
    found = marginals(records, axis)
    turned = sorted((m for m in found if m.turned and m.mean is not None), key=lambda m: records.better(m.mean or 0.0))
    top, bottom = (turned[0], turned[-1]) if len(turned) > 1 else (None, None)
    size = abs((top.mean or 0.0) - (bottom.mean or 0.0)) if top and bottom else None
    return Effect(axis, found, records.importance.get(axis.key), top, bottom, size)


def _marginal(records: Records, label: str, turned: bool, runs: list[Run]) -> Marginal:
    values = [r.value for r in runs if r.state == "complete" and r.value is not None]
    pruned, failed = (sum(r.state == state for r in runs) for state in ("pruned", "failed"))
    if not values:
        return Marginal(label, turned, values, pruned, failed, None, None, None)
    sd = _sd(values) if len(values) > 1 else None
    return Marginal(label, turned, values, pruned, failed, statistics.fmean(values), sd, min(values, key=records.better))


# ---- the study as a whole


def gallery(records: Records, rungs: int = 10) -> list[tuple[int, Run]]:
    """(rank, run) of complete runs with samples, from the worst to the best, evenly spaced by rank; rank 1 is the best."""
    told = [r for r in records.complete if r.samples]
    told.sort(key=lambda r: records.better(r.value or 0.0))
    return [(at + 1, told[at]) for at in reversed(spread(len(told), rungs))]


def spread(count: int, most: int) -> list[int]:
    """At most so many of the indices below `count`, evenly spaced, the first and the last among them."""
    return sorted({round(k) for k in np.linspace(0, count - 1, min(count, most))}) if count > 0 else []


def failures(records: Records) -> list[Failure]:
    """Failed runs by reason, the most frequent first."""
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in records.runs:
        if run.state == "failed":
            groups.setdefault((run.ended, re.sub(r"\d+(\.\d+)?", "#", run.reason)), []).append(run)
    found = [Failure(ended, runs[0].reason, [r.number for r in runs]) for (ended, _), runs in groups.items()]
    return sorted(found, key=lambda f: -len(f.numbers))


def counts(records: Records) -> dict[str, int]:
    """Runs in each state, and `repeats` among them."""
    found = {state: sum(r.state == state for r in records.runs) for state in STATES}
    return found | {"repeats": sum(r.repeat_of is not None for r in records.runs)}


def speed(records: Records) -> Speed:
    """Over the runs that are over. One that failed in training, whose training time nobody knows, counts in `per_minute` only."""
    over = [r for r in records.runs if r.state != "running" and r.wall]
    clocked = [(r, max(0.0, float(r.wall or 0) - float(r.seconds or 0))) for r in over if r.seconds is not None or r.ended == "refused"]
    wall = sum(float(r.wall or 0) for r in over)
    known = sum(float(r.wall or 0) for r, _ in clocked)
    first = min((r.number for r in over), default=0)
    later = [idle for r, idle in clocked if r.number != first]
    return Speed(
        per_minute=60 * len(over) / wall if wall else None,
        idle=sum(idle for _, idle in clocked) / known if known else None,
        overhead=statistics.fmean(later) if later else None,
    )


def text(value: Any) -> str:
    """A knob's value as it stands in YAML."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def spans_decades(values: list[float]) -> bool:
    """Whether they are read better on a logarithmic scale."""
    return bool(values) and min(values) > 0 and max(values) / min(values) > 50


def _sd(values: list[float]) -> float:
    return statistics.stdev(values)


def _key(value: Any) -> str:
    """Tells 1 from true and from "1", but not from 1.0."""
    return repr(float(value)) if isinstance(value, int | float) and not isinstance(value, bool) else json.dumps(value)


def _order(value: Any) -> tuple[bool, float, str]:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return not number, float(value) if number else 0.0, str(value)

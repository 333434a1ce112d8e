"""What each knob does to the metric, for the report and the page. Light: no torch, no Optuna, no matplotlib.

A *setting* is one value of each knob; a *trial* is one training of it. Trials of the same setting differ only in their seed, so their
differences are noise. Nothing is modelled or interpolated: every number is a recorded trial's or a mean over recorded trials.
"""

from __future__ import annotations

import math
import statistics
from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from training.sweeps.noise import Compared, chance, of_the_seed
from training.sweeps.ranking import Seeds, numbers
from training.sweeps.records import Axis, StudyRecords, Trial
from training.sweeps.values import by_size, is_number, name_of, short_text

BINS = 6  # at most so many rows for a range


@dataclass(frozen=True)
class Marginal:
    """All trials in which a knob has one value, or lies in one range from `low` to `high`.

    Attributes:
        turned: False for the row of the trials in which the knob's condition did not hold, so that it has no value.
        values: the metrics of the complete trials, with their `mean`, standard deviation (`sd`) and `best`.
        rises: how much worse complete trials ended than they were at their best (`StudyRecords.rises`).
        pruned, failed: numbers of such trials.
    """

    label: str
    low: Any
    high: Any
    turned: bool
    values: list[float]
    rises: list[float]
    pruned: int
    failed: int
    mean: float | None
    sd: float | None
    best: float | None

    @property
    def rise(self) -> float | None:
        """The mean of `rises`; None without any."""
        return statistics.fmean(self.rises) if self.rises else None


@dataclass(frozen=True)
class Contrast(Compared):
    """The two rows of a knob whose means are furthest apart.

    `others` is by how much they may differ by chance because of the other knobs, estimated from the spread inside the rows; it is infinite
    if no row has two trials. In a complete grid the other knobs cancel out in the means, so there the estimate uses the residual spread
    after subtracting each knob's own effect. What remains are interactions of knobs, and bad trials that are noisier than the repeated
    ones. None if it is not known.
    """

    best: Marginal
    worst: Marginal
    others: float | None
    whole_grid: bool

    @property
    def verdict(self) -> str:
        """How the difference compares with chance, as a key of the report's words.

        "within", "beyond" or "unknown" by the noise of the seed. If it is beyond that, but not beyond `others`: "others" ("mixed" in a
        complete grid), or "alone" if `others` is infinite.
        """
        by_the_seed = super().verdict
        if by_the_seed != "beyond" or self.others is None or self.size > self.others:
            return by_the_seed
        return "alone" if self.others == math.inf else "mixed" if self.whole_grid else "others"


@dataclass(frozen=True)
class Effect:
    """A knob with its effect on the metric and on the rise of the trials; None if fewer than two rows have a mean."""

    axis: Axis
    rows: list[Marginal]
    importance: float | None
    metric: Contrast | None
    rise: Contrast | None

    @property
    def size(self) -> float | None:
        """The largest difference that the knob makes to the metric."""
        return self.metric.size if self.metric else None


@dataclass(frozen=True)
class Interaction:
    """The mean metric for each pair of two knobs' values: `mean[row of y][row of x]`, None without trials; `runs` counts the trials."""

    x: Axis
    y: Axis
    x_labels: list[str]
    y_labels: list[str]
    mean: list[list[float | None]]
    runs: list[list[int]]


@dataclass
class Bins:
    """How a knob's values are put into rows: a row for each value, or at most BINS ranges with about as many trials each."""

    axis: Axis
    labels: list[str] = field(default_factory=list)
    ends: list[tuple[Any, Any]] = field(default_factory=list)
    keys: dict[str, int] = field(default_factory=dict)
    edges: list[float] = field(default_factory=list)

    def of(self, trial: Trial) -> int | None:
        """The index of the trial's row. None if the knob has no value in it, or a running trial has a value that no finished one has."""
        if self.axis.key not in trial.params:
            return None
        value = trial.params[self.axis.key]
        return self.keys.get(name_of(value)) if self.keys else bisect_right(self.edges, value)


# ---- knobs


def effects(records: StudyRecords) -> list[Effect]:
    """Every knob with its rows, the largest effect first. Importance is not the order: it ignores a knob whose bad values are far off."""
    knobs = [_effect(records, axis) for axis in records.axes]
    return sorted(knobs, key=lambda e: (-(e.size or 0.0), -(e.importance or 0.0)))


def marginals(records: StudyRecords, axis: Axis) -> list[Marginal]:
    """A row for each value (or range of values) of a knob, over the searched trials; the mean is over the complete ones."""
    bins = rows(records, axis)
    groups: list[list[Trial]] = [[] for _ in bins.labels]
    unturned: list[Trial] = []
    for trial in records.searched:
        at = bins.of(trial)
        (unturned if at is None else groups[at]).append(trial)
    turned = [_marginal(records, label, ends, True, group) for label, ends, group in zip(bins.labels, bins.ends, groups)]
    return turned + ([_marginal(records, "—", (None, None), False, unturned)] if unturned else [])


def rows(records: StudyRecords, axis: Axis) -> Bins:
    """How a knob's values are grouped. A range with more than BINS different values is cut at quantiles (of the logarithm if it is log)."""
    seen = [t.params[axis.key] for t in records.searched if axis.key in t.params]
    values = list(axis.values) if axis.values is not None else []
    names = {name_of(v) for v in values}
    for value in sorted(seen, key=by_size):
        if name_of(value) not in names:
            values.append(value)
            names.add(name_of(value))
    if axis.values is not None or len(values) <= BINS:
        return Bins(axis, [short_text(v) for v in values], [(v, v) for v in values], {name_of(v): k for k, v in enumerate(values)})
    raw = np.array(seen, dtype=float)
    cuts = np.quantile(np.log(raw) if axis.log else raw, np.arange(1, BINS) / BINS)
    edges = sorted({float(c) for c in (np.exp(cuts) if axis.log else cuts)})
    members: dict[int, list[float]] = {}
    for value in sorted(seen):
        members.setdefault(bisect_right(edges, value), []).append(value)
    full = sorted(members)
    edges = [edges[k - 1] for k in full[1:]]  # leave out ranges that are empty because edges are equal
    ends = [(members[k][0], members[k][-1]) for k in full]
    return Bins(axis, [f"{low:.3g} – {high:.3g}" for low, high in ends], ends, edges=edges)


def interaction(records: StudyRecords) -> Interaction | None:
    """The interaction of the two knobs with the largest effects; None if fewer than two knobs took two values or more."""
    turned = [e.axis for e in effects(records) if e.metric]
    if len(turned) < 2:
        return None
    x, y = (rows(records, axis) for axis in turned[:2])
    cells: list[list[list[float]]] = [[[] for _ in x.labels] for _ in y.labels]
    for trial in records.searched:
        across, up = x.of(trial), y.of(trial)
        if trial.done and trial.value is not None and across is not None and up is not None:
            cells[up][across].append(trial.value)
    mean = [[statistics.fmean(cell) if cell else None for cell in row] for row in cells]
    return Interaction(x.axis, y.axis, x.labels, y.labels, mean, [[len(cell) for cell in row] for row in cells])


def _effect(records: StudyRecords, axis: Axis) -> Effect:
    every_row = marginals(records, axis)
    turned = [m for m in every_row if m.turned]
    rises = [[records.rises[t.number] for t in s.trials if t.number in records.rises] for s in records.settings]
    values = {t.number: t.value for t in records.searched if t.value is not None and t.done}
    metric = _contrast(records, axis, turned, values, numbers(records), records.maximize)
    rise = _contrast(
        records, axis, turned, {t.number: records.rises[t.number] for t in records.searched if t.number in records.rises}, rises, False
    )
    return Effect(axis, every_row, records.importance.get(axis.key), metric, rise)


def _contrast(
    records: StudyRecords, axis: Axis, turned: list[Marginal], by_trial: dict[int, float], seeds: Seeds, maximize: bool
) -> Contrast | None:
    """The contrast of a knob's rows in a number of each trial (`by_trial`). The noise of the seed is estimated from `seeds`."""
    inside = _inside(records, axis, by_trial)
    means = sorted(((statistics.fmean(v), at) for at, v in enumerate(inside) if v), key=lambda m: -m[0] if maximize else m[0])
    if len(means) < 2:
        return None
    (one, best), (other, worst) = means[0], means[-1]
    counts = len(inside[best]), len(inside[worst])
    if records.balanced:
        others = chance(_inside(records, axis, _beside_the_others(records, axis, by_trial)), *counts, len(means))
    else:
        others = by_chance if (by_chance := chance(inside, *counts, len(means))) is not None else math.inf
    by_seed = of_the_seed(seeds, *counts, len(means))
    return Contrast(abs(one - other), by_seed, turned[best], turned[worst], others, records.balanced)


def _inside(records: StudyRecords, axis: Axis, by_trial: dict[int, float]) -> list[list[float]]:
    """The numbers of the searched trials, by the rows of a knob."""
    bins = rows(records, axis)
    inside: list[list[float]] = [[] for _ in bins.labels]
    for trial in records.searched:
        if trial.number in by_trial and (at := bins.of(trial)) is not None:
            inside[at].append(by_trial[trial.number])
    return inside


def _beside_the_others(records: StudyRecords, axis: Axis, by_trial: dict[int, float]) -> dict[int, float]:
    """Each trial's number minus the average effects of its other knobs' values (the residuals of a model of main effects)."""
    residuals = dict(by_trial)
    mean = statistics.fmean(by_trial.values())
    for other in (a for a in records.axes if a is not axis):
        bins, means = rows(records, other), [statistics.fmean(v) if v else mean for v in _inside(records, other, by_trial)]
        for trial in records.searched:
            if trial.number in residuals and (at := bins.of(trial)) is not None:
                residuals[trial.number] -= means[at] - mean
    return residuals


def _marginal(records: StudyRecords, label: str, ends: tuple[Any, Any], turned: bool, trials: list[Trial]) -> Marginal:
    values = [t.value for t in trials if t.value is not None and t.done]
    rises = [records.rises[t.number] for t in trials if t.number in records.rises]
    pruned, failed = (sum(t.state == state for t in trials) for state in ("pruned", "failed"))
    if not values:
        return Marginal(label, *ends, turned, values, rises, pruned, failed, None, None, None)
    sd = statistics.stdev(values) if len(values) > 1 else None
    return Marginal(label, *ends, turned, values, rises, pruned, failed, statistics.fmean(values), sd, min(values, key=records.better))


def rising(records: StudyRecords) -> list[Effect]:
    """The knobs whose values differ in the mean rise, the largest difference first; empty if no trial became worse after its best.

    Unless the other knobs cancel out, differences are ranked in proportion to what those may cause; else a row of one odd trial would win.
    """
    least = 1e-9 * max(records.rises.values(), default=0.0)  # smaller differences are rounding errors
    rising_knobs = [(e, e.rise) for e in effects(records) if e.rise and e.rise.size > least]
    if not records.balanced:
        return [e for e, _ in sorted(rising_knobs, key=lambda p: p[1].others / p[1].size if p[1].others is not None else math.inf)]
    return [e for e, _ in sorted(rising_knobs, key=lambda p: -p[1].size)]


def deciding(records: StudyRecords) -> Axis | None:
    """The knob with the largest effect; None if no knob has complete trials with two values."""
    return next((e.axis for e in effects(records) if e.metric), None)


def groups(records: StudyRecords, axis: Axis) -> tuple[list[str], dict[int, int]]:
    """Labels of at most BINS groups of a knob's values, for a legend, and each trial's group by the trial's number.

    If there are more values, neighbouring numbers share a group; of other values only the most frequent ones get one.
    """
    bins = rows(records, axis)
    placed = {t.number: (row, t.params[axis.key]) for t in records.trials if (row := bins.of(t)) is not None}
    parts = [[row] for row in sorted({row for row, _ in placed.values()})]
    if len(parts) > BINS:
        if all(is_number(v) for _, v in placed.values()):
            by_size = [row for row, _ in sorted(set(placed.values()), key=lambda p: p[1])]
            parts = [part.tolist() for part in np.array_split(by_size, BINS)]
        else:
            parts = [[row] for row in sorted(row for row, _ in Counter(row for row, _ in placed.values()).most_common(BINS))]
    group = {row: k for k, part in enumerate(parts) for row in part}
    labels = [bins.labels[p[0]] + (f" – {bins.labels[p[-1]]}" if len(p) > 1 else "") for p in parts]
    return labels, {number: group[row] for number, (row, _) in placed.items() if row in group}

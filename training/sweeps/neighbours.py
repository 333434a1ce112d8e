"""For the page: the recorded trial nearest to a setting of the knobs, and what one step on a knob does. Light: no torch, no Optuna.

Every number is a recorded trial's or a mean over recorded trials; nothing is interpolated.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from training.sweeps.effects import Marginal, marginals
from training.sweeps.ranking import by_chance, worth
from training.sweeps.records import Axis, Setting, StudyRecords, Trial
from training.sweeps.values import name_of

# ---- the nearest trial


def wanted_params(records: StudyRecords, values: Mapping[str, Any]) -> dict[str, Any]:
    """`values` without the knobs whose condition is not met by the other knobs' values."""
    keys = {axis.key for axis in records.axes}
    params: dict[str, Any] = {}
    for axis in records.axes:  # each comes after those that its condition names
        conditions = [(key, allowed) for key, allowed in axis.when if key in keys]
        if axis.key in values and all(k in params and name_of(params[k]) in map(name_of, allowed) for k, allowed in conditions):
            params[axis.key] = values[axis.key]
    return params


def distance(axes: Iterable[Axis], a: Mapping[str, Any], b: Mapping[str, Any]) -> float:
    """The distance of two settings: the sum of `Axis.distance` over the knobs. A knob that only one of them has counts as 1."""
    total = 0.0
    for axis in axes:
        if axis.key in a and axis.key in b:
            total += axis.distance(a[axis.key], b[axis.key])
        else:
            total += (axis.key in a) != (axis.key in b)
    return total


def nearest(records: StudyRecords, wanted: Mapping[str, Any]) -> Trial | None:
    """The trial nearest to a setting, the best one of equally near ones; None if no trial has ended."""
    over = [t for t in records.trials if t.state != "running"]
    return min(over, key=lambda t: (round(distance(records.axes, wanted, t.params), 9), worth(records, t)), default=None)


# ---- one step on a knob


@dataclass(frozen=True)
class Neighbour:
    """A setting that differs from a trial's in one knob.

    Attributes:
        value: the knob's value there.
        along: values of other knobs that appear with that value.
        trials: the complete trials of that setting; if there are none, the others, the best first.
        setting: that setting with its means; None if no trial of it is complete.
        change, seconds: differences between the means (metric, training time) of complete trials; None if either side has none.
        noise: by how much two such means differ by chance; None if there is no change or it is not known.
    """

    value: Any
    along: dict[str, Any]
    trials: list[Trial]
    setting: Setting | None
    change: float | None
    seconds: float | None
    noise: float | None


def one_step_off(records: StudyRecords, trial: Trial, axis: Axis) -> list[Neighbour]:
    """Recorded settings that differ from the trial's in this knob only, with the next smaller and the next larger recorded value.

    If the values have no order, all of them count. Knobs whose condition names this one may appear or disappear with it.
    """
    if axis.key not in trial.params:
        return []
    loose = _dependents(records, axis.key)
    here = {key: name_of(value) for key, value in trial.params.items()}
    groups: dict[str, list[Trial]] = {}
    for other in records.trials:
        there = {key: name_of(value) for key, value in other.params.items()}
        odd = {key for key in here.keys() | there.keys() if here.get(key) != there.get(key)} - {axis.key}
        turned = axis.key in there and there[axis.key] != here[axis.key]
        if turned and other.state != "running" and all(key in loose and not (key in here and key in there) for key in odd):
            groups.setdefault(other.setting, []).append(other)
    neighbours = [_neighbour(records, trial, axis, trials) for trials in groups.values()]
    if not axis.ordered:
        names = [name_of(v) for v in axis.tried]
        return sorted(neighbours, key=lambda n: (names.index(name_of(n.value)), worth(records, n.trials[0])))
    now = trial.params[axis.key]
    below, above = (n.value for n in neighbours if n.value < now), (n.value for n in neighbours if n.value > now)
    ends = {max(below, default=now), min(above, default=now)}
    return sorted((n for n in neighbours if n.value in ends), key=lambda n: (n.value, worth(records, n.trials[0])))


def averages(records: StudyRecords, trial: Trial, axis: Axis) -> tuple[Marginal | None, list[Marginal]]:
    """The row of the knob that contains the trial's value, and the nearest rows with complete trials below and above it.

    If the values have no order, all other rows. These exist even in a random search, where few trials differ in one knob only.
    """
    if axis.key not in trial.params:
        return None, []
    now = trial.params[axis.key]
    rows = [m for m in marginals(records, axis) if m.turned]
    here = next((m for m in rows if name_of(m.low) == name_of(now) or (axis.ordered and m.low <= now <= m.high)), None)
    others = [m for m in rows if m is not here and m.values]
    if not axis.ordered:
        return here, others
    others.sort(key=lambda m: m.low)
    below, above = [m for m in others if m.high < now], [m for m in others if m.low > now]
    return here, below[-1:] + above[:1]


def _neighbour(records: StudyRecords, trial: Trial, axis: Axis, trials: list[Trial]) -> Neighbour:
    trials = [t for t in trials if t.done] or sorted(trials, key=lambda t: worth(records, t))
    here, there = records.setting_of(trial), records.setting_of(trials[0])
    change = there.mean - here.mean if here and there else None
    return Neighbour(
        value=trials[0].params[axis.key], along={k: v for k, v in trials[0].params.items() if k not in trial.params}, trials=trials,
        setting=there, change=change, seconds=_longer(here, there),
        noise=by_chance(records, len(here.trials), len(there.trials)) if here and there else None,
    )  # fmt: skip


def _longer(here: Setting | None, there: Setting | None) -> float | None:
    """By how many seconds on average the trials of the second setting take longer; None if that is not recorded."""
    before, after = (side.cost("seconds") if side else None for side in (here, there))
    return after - before if before is not None and after is not None else None


def _dependents(records: StudyRecords, key: str) -> set[str]:
    """Keys of the knobs that depend on this one by their conditions, directly or through other knobs."""
    keys: set[str] = set()
    for axis in records.axes:
        if any(k == key or k in keys for k, _ in axis.when):
            keys.add(axis.key)
    return keys

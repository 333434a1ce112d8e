"""Which settings lead and whether by more than chance, and other summary numbers of a study. Light: no torch, no Optuna."""

from __future__ import annotations

import math
import re
import statistics
from dataclasses import dataclass

import numpy as np

from training.sweeps.noise import Compared, of_the_seed
from training.sweeps.records import STATES, Cost, Setting, StudyRecords, Trial

Seeds = list[list[float]]  # for each setting the numbers of its trials, in the order of the trials

SHOWN = 8  # of the best settings in the table that compares each with the first


@dataclass(frozen=True)
class Difference(Compared):
    """The difference between the means of two settings."""

    first: Setting
    second: Setting


def best(records: StudyRecords) -> Setting | None:
    """The best setting; None if no trial is complete, or if there are two aims and thus a front (`pareto`)."""
    return records.leaders[0] if records.leaders and records.second is None else None


def noise(records: StudyRecords) -> Difference | None:
    """The best setting compared with the next best; None if there are fewer than two."""
    leaders = records.leaders
    if len(leaders) == 1:  # only one was repeated: the next best is a single trial that is not better (else see `better_once`)
        first = records.better(leaders[0].mean)
        leaders = leaders + [s for s in records.settings if s is not leaders[0] and records.better(s.mean) >= first]
    return difference(records, leaders[0], leaders[1]) if len(leaders) > 1 else None


def difference(records: StudyRecords, first: Setting, second: Setting) -> Difference:
    """Two settings compared, allowing for all settings in the table of the best: the more there are, the further ahead the luckiest is."""
    among = max(2, min(SHOWN, len(records.leaders)))
    by_chance = of_the_seed(numbers(records), len(first.values), len(second.values), among)
    return Difference(abs(first.mean - second.mean), by_chance, first, second)


def numbers(records: StudyRecords) -> Seeds:
    """For each setting the metrics of its trials, as `noise.of_the_seed` takes them."""
    return [s.values for s in records.settings]


def by_chance(records: StudyRecords, first: int, second: int) -> float | None:
    """By how much the means of `first` and `second` trials of two settings differ by chance in 19 of 20 cases; None if it is unknown."""
    return of_the_seed(numbers(records), first, second)


def worth(records: StudyRecords, trial: Trial) -> tuple[int, float, int]:
    """A sort key for trials: complete ones first, then pruned, then failed ones; the best first.

    A trial is ranked by the mean of its setting, and the trials of one setting by number: which of them was luckiest means nothing.
    """
    setting = records.setting_of(trial)
    value = setting.mean if setting else trial.value
    return STATES.index(trial.state), math.inf if value is None else records.better(value), trial.number


def best_trial(records: StudyRecords) -> Trial | None:
    """The first trial of the best setting; while no trial is complete, the best of those that have ended."""
    if records.leaders:
        return records.leaders[0].trials[0]
    return min((t for t in records.trials if t.state != "running"), key=lambda t: worth(records, t), default=None)


def better_once(records: StudyRecords) -> tuple[Trial, float] | None:
    """The best trial of a setting that was not repeated and its metric, if that is better than the best setting's mean; else None."""
    repeated = {s.trials[0].setting for s in records.leaders}
    others = [(t, float(t.value or 0.0)) for t in records.complete if t.setting not in repeated]
    luckiest = min(others, key=lambda p: records.better(p[1]), default=None)
    return luckiest if luckiest and records.better(luckiest[1]) < records.better(records.leaders[0].mean) else None


def pareto(records: StudyRecords, by: Cost) -> list[Setting]:
    """The Pareto front: settings that no other beats in both the metric and this cost, the cheapest first."""
    priced = [(cost, records.better(s.mean), s) for s in records.settings if (cost := s.cost(by)) is not None]
    front: list[Setting] = []
    reached = math.inf
    for _, value, setting in sorted(priced, key=lambda p: p[:2]):
        if value < reached:
            front.append(setting)
            reached = value
    return front


@dataclass(frozen=True)
class Failure:
    """Failed trials (`numbers`) whose reasons are equal but for digits. `reason` is that of the first one."""

    ended: str
    reason: str
    numbers: list[int]


@dataclass(frozen=True)
class Speed:
    """The speed of one worker; None for what is not recorded.

    Attributes:
        per_minute: trials per minute.
        idle: the share of wall time that is not training.
        overhead: seconds without training per trial, without a worker's first trial.
    """

    per_minute: float | None
    idle: float | None
    overhead: float | None


def gallery(records: StudyRecords, rungs: int = 10) -> list[tuple[int, Trial]]:
    """(rank, trial) of at most `rungs` complete trials with samples, evenly spaced by rank, from the worst to the best (rank 1)."""
    trials = [t for t in records.complete if t.samples]
    trials.sort(key=lambda t: records.better(t.value or 0.0))
    return [(at + 1, trials[at]) for at in reversed(spread(len(trials), rungs))]


def spread(count: int, most: int) -> list[int]:
    """At most `most` indices below `count`, evenly spaced, including the first and the last."""
    return sorted({round(k) for k in np.linspace(0, count - 1, min(count, most))}) if count > 0 else []


def failures(records: StudyRecords) -> list[Failure]:
    """Failed trials by reason, the most frequent first."""
    groups: dict[tuple[str, str], list[Trial]] = {}
    for trial in records.trials:
        if trial.state == "failed":
            groups.setdefault((trial.ended, re.sub(r"\d+(\.\d+)?", "#", trial.reason)), []).append(trial)
    kinds = [Failure(ended, trials[0].reason, [t.number for t in trials]) for (ended, _), trials in groups.items()]
    return sorted(kinds, key=lambda f: -len(f.numbers))


def counts(records: StudyRecords) -> dict[str, int]:
    """The number of trials in each state, and of `repeats` among them."""
    by_state = {state: sum(t.state == state for t in records.trials) for state in STATES}
    return by_state | {"repeats": sum(t.repeat_of is not None for t in records.trials)}


def speed(records: StudyRecords) -> Speed:
    """The speed, computed from the trials that have ended.

    A trial that failed in training has no known training time and counts in `per_minute` only. A refused trial does not count there.
    """
    over = [t for t in records.trials if t.state != "running" and t.wall]
    trained = [t for t in over if t.ended != "refused"]
    clocked = [(t, max(0.0, float(t.wall or 0) - float(t.seconds or 0))) for t in over if t.seconds is not None or t.ended == "refused"]
    wall = sum(float(t.wall or 0) for t in over)
    clocked_wall = sum(float(t.wall or 0) for t, _ in clocked)
    lowest = min((t.number for t in over), default=0)  # older studies do not record which trial was a worker's first
    later = [idle for t, idle in clocked if not (t.number == lowest if t.first is None else t.first)]
    return Speed(
        per_minute=60 * len(trained) / wall if trained else None,
        idle=sum(idle for _, idle in clocked) / clocked_wall if clocked_wall else None,
        overhead=statistics.fmean(later) if later else None,
    )

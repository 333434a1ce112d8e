"""Which settings lead, by how much more than chance, and what else a study shows in numbers."""

from __future__ import annotations

import math
import re
import statistics
from dataclasses import dataclass

import numpy as np

from training.sweeps.noise import Compared, of_the_seed
from training.sweeps.records import STATES, Cost, Records, Run, Setting

Seeds = list[list[float]]  # of each setting its runs' numbers, in the order of the runs

SHOWN = 8  # of the best settings, in a table that compares each with the first


@dataclass(frozen=True)
class Difference(Compared):
    """Two settings."""

    first: Setting
    second: Setting


def best(records: Records) -> Setting | None:
    """The best of the leaders; None if no run was completed, or if there are two aims and so a front (`pareto`)."""
    return records.leaders[0] if records.leaders and records.second is None else None


def noise(records: Records) -> Difference | None:
    """The best setting beside the next best; None if there are not two."""
    found = records.leaders
    if len(found) == 1:  # only one was repeated: the next is a single run (one that is better: `better_once`)
        first = records.better(found[0].mean)
        found = found + [s for s in records.settings if s is not found[0] and records.better(s.mean) >= first]
    return difference(records, found[0], found[1]) if len(found) > 1 else None


def difference(records: Records, first: Setting, second: Setting) -> Difference:
    """Two settings compared, as two of all that the table of the best compares: the more there are, the further the luckiest is ahead."""
    among = max(2, min(SHOWN, len(records.leaders)))
    by_chance = of_the_seed(numbers(records), len(first.values), len(second.values), among)
    return Difference(abs(first.mean - second.mean), by_chance, first, second)


def numbers(records: Records) -> Seeds:
    """Of each setting its runs' numbers, as `noise.of_the_seed` takes them."""
    return [s.values for s in records.settings]


def better_once(records: Records) -> tuple[Run, float] | None:
    """The best single run of a setting that was not repeated, if its number is better than the best setting's mean; and that number."""
    repeated = {s.runs[0].setting for s in records.leaders}
    others = [(r, float(r.value or 0.0)) for r in records.complete if r.setting not in repeated]
    found = min(others, key=lambda p: records.better(p[1]), default=None)
    return found if found and records.better(found[1]) < records.better(records.leaders[0].mean) else None


def pareto(records: Records, by: Cost) -> list[Setting]:
    """Settings to which no other is better in both the metric and this cost, the cheapest first."""
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
    """Failed runs whose reasons differ in numbers only; `reason` is the first one's."""

    ended: str
    reason: str
    numbers: list[int]


@dataclass(frozen=True)
class Speed:
    """Of one worker: trials a minute, the share of wall time that is not training, seconds of that a trial after its first."""

    per_minute: float | None
    idle: float | None
    overhead: float | None


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
    """Over the runs that are over. One that failed in training, whose training time nobody knows, counts in `per_minute` only, and one
    that was refused does not count there.
    """
    over = [r for r in records.runs if r.state != "running" and r.wall]
    trained = [r for r in over if r.ended != "refused"]
    clocked = [(r, max(0.0, float(r.wall or 0) - float(r.seconds or 0))) for r in over if r.seconds is not None or r.ended == "refused"]
    wall = sum(float(r.wall or 0) for r in over)
    known = sum(float(r.wall or 0) for r, _ in clocked)
    lowest = min((r.number for r in over), default=0)  # in older studies nothing says which was a worker's first
    later = [idle for r, idle in clocked if not (r.number == lowest if r.first is None else r.first)]
    return Speed(
        per_minute=60 * len(trained) / wall if trained else None,
        idle=sum(idle for _, idle in clocked) / known if known else None,
        overhead=statistics.fmean(later) if later else None,
    )

"""The best settings of a sweep, how sure it is that one is better than another, and the front of two aims. Light, as effects.py is."""

from __future__ import annotations

import math
from dataclasses import dataclass

from training.chance import Compared, of_the_seed
from training.study_records import Cost, Records, Run, Setting

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
    """Of each setting its runs' numbers, as `chance.of_the_seed` takes them."""
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

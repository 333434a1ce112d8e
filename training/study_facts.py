"""What a sweep says of the study as a whole: how it went, what failed, its texts from worst to best. Light, as effects.py is."""

from __future__ import annotations

import re
import statistics
from dataclasses import dataclass

import numpy as np

from training.study_records import STATES, Records, Run


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

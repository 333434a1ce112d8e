"""Curves over the steps of a run, and which numbers of its files can be believed. Light: no torch, no numpy."""

from __future__ import annotations

import itertools
import math
import operator
import statistics
from bisect import bisect_left, bisect_right
from typing import Any, NamedTuple


class Point(NamedTuple):
    """One value of a curve."""

    step: int
    value: float


Curve = list[Point]

STEP = operator.itemgetter(0)  # the step of a point, as a sort key


FINITE = 1e100  # float32 ends at 3e38: a larger number was not measured, and sums of such numbers would be infinite

SHARES = {
    "unknown", "chinese_targets", "swapped_share", "copied_share", "repetition", "empty_share", "truncated_share", "untranslated_share",
    "stopped",
}  # fmt: skip

# The largest plausible share, number of tokens a character, and any other number (rows, bytes, steps, seconds, …).
SHARE, DENSEST, MOST = 1.0, 64.0, 1e15


def number(value: Any) -> float | None:
    """A finite number, or None."""
    kind = type(value)  # faster than isinstance: a long run has a million of them
    return float(value) if (kind is float or kind is int) and -FINITE < value < FINITE else None


def plausible(key: str, value: Any) -> float | None:
    """The value as a number, if `key` can have it; None if it is negative, a share above one, or not a finite number."""
    x = number(value)
    most = SHARE if key in SHARES else DENSEST if key == "tokens_per_character" else MOST
    return x if x is not None and 0 <= x <= most else None


def curve(records: list[dict[str, Any]], key: str) -> Curve:
    """The values of `key` in the order of steps, without the records that have no number there."""
    return sorted((Point(r["step"], value) for r in records if (value := number(r.get(key))) is not None), key=STEP)


def missing(records: list[dict[str, Any]], key: str) -> list[int]:
    """Steps at which `key` has no number: it was infinite or NaN, which JSON cannot write."""
    return [r["step"] for r in records if key in r and number(r[key]) is None]


def at(points: Curve, step: float) -> float | None:
    """The curve at a step: linear between its points, constant before the first and after the last; None for an empty curve."""
    if not points:
        return None
    after = bisect_left(points, step, key=STEP)
    if after in (0, len(points)):
        return points[0 if after == 0 else -1].value
    a, b = points[after - 1], points[after]
    return a.value + (b.value - a.value) * (step - a.step) / (b.step - a.step)


def level(points: Curve, begin: float, end: float) -> float | None:
    """Median of the values from share `begin` to share `end` of the steps, so that one batch does not move it."""
    if not points:
        return None
    last = points[-1].step
    part = [p.value for p in points[bisect_left(points, begin * last, key=STEP) : bisect_right(points, end * last, key=STEP)]]
    return statistics.median(part) if part else at(points, (begin + end) / 2 * last)


def noise(points: Curve) -> float:
    """Standard deviation of the second half's values around their trend, from the differences of neighbours.

    The median difference is the trend. The median distance from it, times 1.4826, estimates a standard deviation that a spike does not
    move. A difference of two independent values scatters √2 times as much as one value.
    """
    half = [p.value for p in points if p.step > points[-1].step / 2]
    steps = [b - a for a, b in itertools.pairwise(half)]
    if len(steps) < 4:
        return 0.0
    middle = statistics.median(steps)
    return 1.4826 * statistics.median(abs(d - middle) for d in steps) / math.sqrt(2)

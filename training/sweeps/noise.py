"""By how much two means of a sweep's runs differ by chance. Light: no torch, no Optuna, no numpy."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable
from dataclasses import dataclass

SURE = 0.95  # "in 19 of 20 cases"


@dataclass(frozen=True)
class Compared:
    """The difference `size` of two means. In 19 of 20 cases the seed alone makes a difference of up to `noise`; None if it is unknown."""

    size: float
    noise: float | None

    @property
    def within_noise(self) -> bool | None:
        """Whether the difference is no larger than the noise; None if the noise is unknown."""
        return None if self.noise is None else self.size <= self.noise

    @property
    def verdict(self) -> str:
        """`within_noise` as "within", "beyond" or "unknown"."""
        return {True: "within", False: "beyond", None: "unknown"}[self.within_noise]


def of_the_seed(settings: Iterable[list[float]], first: int, second: int, among: int = 2) -> float | None:
    """By how much the means of `first` and of `second` runs differ by the seed alone; None if no setting has three runs.

    A setting's first run does not count: the setting was repeated because that run was good, so it lies further from the others than
    chance would put it.

    Args:
        settings: for each setting the numbers of its runs, in the order of the runs.
        among: as in `chance`.
    """
    return chance([runs[1:] for runs in settings], first, second, among)


def chance(groups: list[list[float]], first: int, second: int, among: int = 2) -> float | None:
    """By how much the means of `first` and of `second` runs differ by chance in 19 of 20 cases, estimated from the spread inside groups.

    Student's t with the standard deviation pooled over all groups (Welch's test needs more runs); None if no group has two runs.

    Args:
        among: the number of means of which these two are the best and the worst. The extremes of many means lie further apart than two
            means chosen beforehand; Bonferroni's bound over all pairs accounts for that.
    """
    repeated = [v for v in groups if len(v) > 1]
    freedom = sum(len(v) - 1 for v in repeated)
    if not freedom:
        return None
    pooled = math.sqrt(sum(statistics.stdev(v) ** 2 * (len(v) - 1) for v in repeated) / freedom)
    pairs = max(1, among * (among - 1) // 2)
    return student(1 - (1 - SURE) / (2 * pairs), freedom) * pooled * math.sqrt(1 / first + 1 / second)


def student(p: float, freedom: int) -> float:
    """The quantile `p` (above a half) of Student's t.

    Exact for one and two degrees of freedom. Otherwise the expansion of Abramowitz & Stegun 1964, 26.7.5: within 1% from five degrees of
    freedom on; with three it is too small by 2% at p = 0.998 (six means) and by 7% at p = 0.9998 (seventeen means).
    """
    if freedom == 1:
        return math.tan(math.pi * (p - 0.5))
    if freedom == 2:
        return (2 * p - 1) / math.sqrt(2 * p * (1 - p))
    z, n = statistics.NormalDist().inv_cdf(p), freedom
    return (
        z
        + (z**3 + z) / (4 * n)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * n**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * n**3)
        + (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / (92160 * n**4)
    )

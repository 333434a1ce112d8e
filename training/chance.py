"""By how much two means of a sweep's runs differ by chance. Light: no torch, no Optuna, no numpy."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable
from dataclasses import dataclass

# Student's t, two-sided 95 %, by degrees of freedom; between two rows the smaller one's, which claims less.
T95 = {
    1: 12.71, 2: 4.30, 3: 3.18, 4: 2.78, 5: 2.57, 6: 2.45, 7: 2.36, 8: 2.31, 9: 2.26, 10: 2.23, 11: 2.20, 12: 2.18, 13: 2.16, 14: 2.14,
    15: 2.13, 16: 2.12, 17: 2.11, 18: 2.10, 19: 2.09, 20: 2.09, 25: 2.06, 30: 2.04, 40: 2.02, 60: 2.00, 120: 1.98,
}  # fmt: skip


@dataclass(frozen=True)
class Compared:
    """Two means `size` apart; `noise` is how much two such differ by the seed alone in 19 of 20 cases, None if that is not known."""

    size: float
    noise: float | None

    @property
    def within_noise(self) -> bool | None:
        """None: not known."""
        return None if self.noise is None else self.size <= self.noise

    @property
    def verdict(self) -> str:
        """Within, beyond or unknown."""
        return {True: "within", False: "beyond", None: "unknown"}[self.within_noise]


def of_the_seed(settings: Iterable[Iterable[tuple[float, bool]]], first: int, second: int) -> float | None:
    """By how much the means of so many runs differ by the seed alone, judged by the repeats; None if no setting has two of them.

    A setting's first run does not count: it was repeated because that one was good, so it lies further from the others than chance has it.

    Args:
        settings: of each setting its runs' numbers, and whether the run is a repeat.
    """
    return chance([[value for value, repeat in runs if repeat] for runs in settings], first, second)


def chance(groups: list[list[float]], first: int, second: int) -> float | None:
    """By how much the means of so many runs differ by chance, judged by what runs of one setting (a group) differ by.

    Student's t with the standard deviation pooled over all groups (Welch's needs more runs); None if no group has two runs.
    """
    repeated = [v for v in groups if len(v) > 1]
    freedom = sum(len(v) - 1 for v in repeated)
    if not freedom:
        return None
    pooled = math.sqrt(sum(statistics.stdev(v) ** 2 * (len(v) - 1) for v in repeated) / freedom)
    return T95[max(k for k in T95 if k <= freedom)] * pooled * math.sqrt(1 / first + 1 / second)

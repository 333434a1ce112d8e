"""A study as study.json has it (study_json.py reads it): for the report and for the page. Light: no torch, no Optuna.

A *setting* is one value of each knob; a *trial* is one training of it. Trials of the same setting differ in their seed only.
"""

from __future__ import annotations

import json
import math
import re
import statistics
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from training.sweeps.values import name_of, number

STATES = ("complete", "pruned", "failed", "running")

LEAST_WEIGHED = 10  # complete trials, repeats not counted, below which the knobs' importance is not worked out

Cost = Literal["seconds", "parameters", "second"]


@dataclass(frozen=True)
class Axis:
    """A knob as it was recorded.

    Attributes:
        label: its short name, or its whole key where two knobs have the same one.
        values: of a list, as the sweep's config has them; None for a range.
        tried: the values of the trials that are over; `ordered`, and so sorted, if all values are numbers.
        scale: every value of a list, or the two ends of a range.
        step: of a range, if it has one.
        when: (key, values) pairs, all of which must hold for the knob to be turned.
    """

    key: str
    label: str
    values: tuple[Any, ...] | None
    tried: tuple[Any, ...]
    ordered: bool
    scale: tuple[Any, ...]
    log: bool
    whole: bool
    step: float | None
    when: tuple[tuple[str, tuple[Any, ...]], ...]

    def distance(self, a: Any, b: Any) -> float:
        """From 0 to 1: of a range its share; the numbers of a list count as evenly spaced; other values differ or they do not."""
        if self.values is None:
            low, high, here, there = (math.log(v) if self.log else float(v) for v in (*self.scale, a, b))
            return abs(here - there) / (high - low)
        if self.ordered and len(self.scale) > 1:
            names = [name_of(v) for v in self.scale]
            return abs(names.index(name_of(a)) - names.index(name_of(b))) / (len(names) - 1)
        return float(name_of(a) != name_of(b))


@dataclass(frozen=True)
class Trial:
    """One training.

    Attributes:
        value, second: its metric and its second aim, None where there is none; of a pruned trial, its best so far.
        step, best_step: where it ended, and where it was best.
        seconds, wall: of training, on its own clock; and from its start to its end.
        first: whether it was the first that its worker process trained, None where that is not recorded.
        folder: its run folder, inside the study's.
    """

    number: int
    state: str
    params: dict[str, Any]
    value: float | None
    second: float | None
    repeat_of: int | None
    seed: int | None
    step: float | None
    best_step: int | None
    seconds: float | None
    wall: float | None
    first: bool | None
    parameters: float | None
    ended: str
    reason: str
    folder: str
    curve: list[tuple[float, float]]
    samples: list[dict[str, str]]
    verdicts: list[dict[str, str]]
    metrics: dict[str, Any]

    @cached_property
    def setting(self) -> str:
        """Equal for trials that differ in nothing but their seed."""
        return json.dumps({key: name_of(value) for key, value in self.params.items()}, sort_keys=True)

    @property
    def perplexity(self) -> float | None:
        """The perplexity among its metrics, if it is a number."""
        return number(self.metrics.get("perplexity"))

    @property
    def done(self) -> bool:
        """Whether it came to its end and has a number."""
        return self.state == "complete" and self.value is not None


@dataclass(frozen=True)
class StudyRecords:
    """A study.

    Attributes:
        maximize: whether more of the metric is better; of the second aim less is.
        grid_points: how many settings the whole grid has; 0 if there is no grid.
        unreadable: how many trials were left out because they could not be read.
    """

    folder: Path
    name: str
    task: str
    base: str
    search: str
    prune: str
    metric: str
    maximize: bool
    second: str | None
    axes: list[Axis]
    importance: dict[str, float]
    trials: list[Trial]
    grid_points: int
    unreadable: int

    def better(self, value: float) -> float:
        """For sorting by the metric, the best first."""
        return -value if self.maximize else value

    @cached_property
    def rises(self) -> dict[int, float]:
        """By number, how much worse a complete trial's last evaluation is than its best, 0 if it is the best; of those with two or more."""
        rises = {}
        for trial in (t for t in self.complete if len(t.curve) > 1):
            values = [self.better(v) for _, v in trial.curve]
            best = min(*values, self.better(trial.value or 0.0))  # a curve in study.json is thinned, its best may be left out of it
            rises[trial.number] = values[-1] - best
        return rises

    @cached_property
    def complete(self) -> list[Trial]:
        """Trials that came to their end and have a number, repeats too."""
        return [t for t in self.trials if t.done]

    @cached_property
    def searched(self) -> list[Trial]:
        """Trials that are over and are no repeats: repeats would give the best settings more weight than the others."""
        return [t for t in self.trials if t.repeat_of is None and t.state != "running"]

    @cached_property
    def balanced(self) -> bool:
        """Whether a whole grid was completed, so that every value of a knob met the same values of the others.

        Not so where a condition leaves a knob unturned in some settings: there are fewer than the product of the knobs' numbers of
        values then, and a value of a knob meets some values of the others more often than another value does.
        """
        done = [r for r in self.complete if r.repeat_of is None]
        return 0 < self.grid_points <= len({r.setting for r in done}) and all(len(r.params) == len(self.axes) for r in done)

    @cached_property
    def settings(self) -> list[Setting]:
        """Every setting that has a complete trial, the best mean first."""
        return sorted(self._by_setting.values(), key=lambda s: self.better(s.mean))

    def setting_of(self, trial: Trial) -> Setting | None:
        """The setting of a trial with all its complete ones; None for a trial that is none of them."""
        return self._by_setting[trial.setting] if trial.done else None

    @cached_property
    def _by_setting(self) -> dict[str, Setting]:
        complete: dict[str, list[Trial]] = {}
        for trial in self.complete:
            complete.setdefault(trial.setting, []).append(trial)
        lost = Counter(t.setting for t in self.trials if t.repeat_of is not None and t.state in ("pruned", "failed"))
        return {name: Setting(trials[0].params, trials, lost[name]) for name, trials in complete.items()}

    @cached_property
    def leaders(self) -> list[Setting]:
        """The settings that were repeated, the best mean first; without repeats, all settings.

        A single trial that was lucky may beat the mean of the repeated ones, so where there are repeats it does not compete.
        """
        repeated = {r.setting for r in self.complete if r.repeat_of is not None}
        return [s for s in self.settings if not repeated or s.trials[0].setting in repeated]


@dataclass(frozen=True)
class Setting:
    """One value of each knob and its complete trials, the first one first; `lost` repeats were pruned or failed."""

    params: dict[str, Any]
    trials: list[Trial]
    lost: int = 0

    @property
    def values(self) -> list[float]:
        """The metric of each trial."""
        return [float(t.value) for t in self.trials if t.value is not None]

    @property
    def mean(self) -> float:
        """The mean of the metric."""
        return statistics.fmean(self.values)

    @property
    def error(self) -> float | None:
        """The standard error of the mean; None for a single trial."""
        return statistics.stdev(self.values) / math.sqrt(len(self.values)) if len(self.values) > 1 else None

    def cost(self, by: Cost) -> float | None:
        """The mean over its trials of seconds, parameters or the second aim; None where no trial has it."""
        known = [float(v) for t in self.trials if (v := getattr(t, by)) is not None]
        return statistics.fmean(known) if known else None


def ended_in_words(how: str, words: dict[str, Any]) -> str:
    """How a trial ended, in the words of the book `sweep`; a way that they lack stays as study.json has it."""
    return str(words.get("ended_" + re.sub(r"\W+", "_", how), how))

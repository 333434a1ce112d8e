"""A study as study.json records it, for the report and the page; study_json.py reads it. Light: no torch, no Optuna.

A *setting* is one value of each knob; a *trial* is one training of it. Trials of the same setting differ only in their seed.
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

LEAST_WEIGHED = 10  # complete trials, without repeats, that the knobs' importance needs

Cost = Literal["seconds", "parameters", "second"]


@dataclass(frozen=True)
class Axis:
    """A knob as it was recorded.

    Attributes:
        label: its short name, or its whole key if two knobs have the same short name.
        values: the values of a list as in the sweep's config; None for a range.
        tried: the values of the trials that have ended; sorted if all values are numbers, which `ordered` says.
        scale: every value of a list, or the two ends of a range.
        whole: whether it is a range of whole numbers.
        step: the step of a range, if it has one.
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
        """The distance of two values, 0 to 1: as a share of a range; in a list of numbers by position; else 1 if they differ."""
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
        value, second: the metric and the second aim, None if missing; for a pruned trial the best metric until then.
        repeat_of: the number of the trial that it repeats with another seed.
        step, best_step: the steps at which it ended and at which it was best.
        seconds, wall: seconds of training alone, and from start to end.
        first: whether its worker process had trained no other before; None if not recorded.
        parameters: the number of the model's parameters.
        ended, reason: how it ended, and why it failed.
        folder: its run folder, relative to the study's.
        curve: (step, metric) of its evaluations.
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
        """A text that is equal for trials that differ only in their seed."""
        return json.dumps({key: name_of(value) for key, value in self.params.items()}, sort_keys=True)

    @property
    def perplexity(self) -> float | None:
        """The perplexity among its metrics, if it is a number."""
        return number(self.metrics.get("perplexity"))

    @property
    def done(self) -> bool:
        """Whether it is complete and has a metric."""
        return self.state == "complete" and self.value is not None


@dataclass(frozen=True)
class StudyRecords:
    """A study with its knobs (`axes`) and trials.

    Attributes:
        maximize: whether a larger metric is better; of the second aim less is always better.
        grid_points: the number of settings in the whole grid; 0 without a grid.
        unreadable: the number of trials that were left out because they could not be read.
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
        """A sort key for the metric: smaller is better."""
        return -value if self.maximize else value

    @cached_property
    def rises(self) -> dict[int, float]:
        """How much worse the last evaluation is than the best one, by number, for complete trials with two evaluations or more."""
        rises = {}
        for trial in (t for t in self.complete if len(t.curve) > 1):
            values = [self.better(v) for _, v in trial.curve]
            best = min(*values, self.better(trial.value or 0.0))  # study.json has a thinned curve, which may lack the best evaluation
            rises[trial.number] = values[-1] - best
        return rises

    @cached_property
    def complete(self) -> list[Trial]:
        """Complete trials with a metric, repeats included."""
        return [t for t in self.trials if t.done]

    @cached_property
    def searched(self) -> list[Trial]:
        """Trials that have ended, without repeats, which would give the best settings more weight than the others."""
        return [t for t in self.trials if t.repeat_of is None and t.state != "running"]

    @cached_property
    def balanced(self) -> bool:
        """Whether a whole grid is complete, so that every value of a knob is combined with the same values of the others.

        A grid with a condition that leaves a knob unturned in some settings is not balanced: it lacks combinations.
        """
        done = [r for r in self.complete if r.repeat_of is None]
        return 0 < self.grid_points <= len({r.setting for r in done}) and all(len(r.params) == len(self.axes) for r in done)

    @cached_property
    def settings(self) -> list[Setting]:
        """Every setting with a complete trial, the best mean first."""
        return sorted(self._by_setting.values(), key=lambda s: self.better(s.mean))

    def setting_of(self, trial: Trial) -> Setting | None:
        """The setting of a trial with all its complete trials; None if the trial is not complete."""
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
        """The repeated settings, the best mean first; all settings if there are no repeats.

        A single lucky trial may beat the means of the repeated settings, so it does not compete with them.
        """
        repeated = {r.setting for r in self.complete if r.repeat_of is not None}
        return [s for s in self.settings if not repeated or s.trials[0].setting in repeated]


@dataclass(frozen=True)
class Setting:
    """One value of each knob, with its complete trials by number; `lost` counts its repeats that were pruned or failed."""

    params: dict[str, Any]
    trials: list[Trial]
    lost: int = 0

    @property
    def values(self) -> list[float]:
        """The metric of each trial."""
        return [float(t.value) for t in self.trials if t.value is not None]

    @property
    def mean(self) -> float:
        """The mean metric of its trials."""
        return statistics.fmean(self.values)

    @property
    def error(self) -> float | None:
        """The standard error of the mean; None for a single trial."""
        return statistics.stdev(self.values) / math.sqrt(len(self.values)) if len(self.values) > 1 else None

    def cost(self, by: Cost) -> float | None:
        """The mean of seconds, parameters or the second aim over its trials; None if no trial has it."""
        costs = [float(v) for t in self.trials if (v := getattr(t, by)) is not None]
        return statistics.fmean(costs) if costs else None


def ended_in_words(how: str, words: dict[str, Any]) -> str:
    """How a trial ended in the words of the wording `sweep`; an unknown ending stays as it is in study.json."""
    return str(words.get("ended_" + re.sub(r"\W+", "_", how), how))

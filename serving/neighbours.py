"""One step on a knob: recorded settings that differ in nothing else, and the means over its neighbouring values. See studies.py."""

from __future__ import annotations

import statistics
from bisect import bisect_right
from dataclasses import dataclass
from typing import Any

import numpy as np

from serving.studies import Knob, Run, Study, done, mean_and_error, name_of

BANDS = 6  # that the values of a range are put in for averages, at most


@dataclass(frozen=True)
class Step:
    """A setting that differs in one knob, which has `value` there; `along` are knobs that come or go with that value.

    `change` and `seconds` are differences between the means of complete runs, None where either side has none. `noise` is how much
    two such means differ by chance, None where there is no change to compare or that is not known.
    """

    value: Any
    along: dict[str, Any]
    runs: list[Run]
    change: float | None
    seconds: float | None
    noise: float | None


@dataclass(frozen=True)
class Band:
    """The complete runs in which a knob has one value, or a value in one range (from `low` to `high`): `values` are their metric."""

    low: Any
    high: Any
    values: tuple[float, ...]

    @property
    def mean(self) -> float | None:
        """Over runs whose other knobs differ; None if there are none."""
        return statistics.fmean(self.values) if self.values else None


def steps(study: Study, run: Run, knob: Knob) -> list[Step]:
    """Recorded settings that differ from the run's in this knob only: by the next smaller and the next larger value among them.

    Of values without an order, every other one. Knobs whose condition names this one may come or go with it.
    """
    if knob.key not in run.params:
        return []
    loose = _dependents(study, knob.key)
    here = {k: name_of(v) for k, v in run.params.items()}
    groups: dict[str, list[Run]] = {}
    for other in study.runs:
        there = {k: name_of(v) for k, v in other.params.items()}
        odd = {k for k in here.keys() | there.keys() if here.get(k) != there.get(k)} - {knob.key}
        turned = knob.key in there and there[knob.key] != here[knob.key]
        if turned and other.state != "running" and all(k in loose and not (k in here and k in there) for k in odd):
            groups.setdefault(other.setting, []).append(other)
    found = [_step(study, run, knob, runs) for runs in groups.values()]
    if not knob.ordered:
        names = [name_of(v) for v in knob.values]
        return sorted(found, key=lambda s: (names.index(name_of(s.value)), study.worth(s.runs[0])))
    now = run.params[knob.key]
    below, above = (s.value for s in found if s.value < now), (s.value for s in found if s.value > now)
    ends = {max(below, default=now), min(above, default=now)}
    return sorted((s for s in found if s.value in ends), key=lambda s: (s.value, study.worth(s.runs[0])))


def averages(study: Study, run: Run, knob: Knob) -> tuple[Band | None, list[Band]]:
    """The band of a knob's values that the run's lies in, and the nearest recorded ones below and above it.

    Of values without an order, every other one. A random search has hardly two runs that differ in one knob only, but it has these.
    """
    if knob.key not in run.params:
        return None, []
    now = run.params[knob.key]
    every = _bands(study, knob)
    here = next((b for b in every if name_of(b.low) == name_of(now) or (knob.ordered and b.low <= now <= b.high)), None)
    others = [b for b in every if b is not here and b.values]
    if not knob.ordered:
        return here, others
    below, above = [b for b in others if b.high < now], [b for b in others if b.low > now]
    return here, below[-1:] + above[:1]


def _bands(study: Study, knob: Knob) -> list[Band]:
    """A knob's recorded values, each its own band; a range's many are cut at quantiles (of the logarithm if it is logarithmic).

    Of the searched runs only: repeats would give the best settings more weight than the others.
    """
    runs = [r for r in study.runs if knob.key in r.params and not r.repeat and r.state != "running"]
    seen = [r.params[knob.key] for r in runs]
    names = {name_of(v) for v in seen}
    if knob.is_range and len(names) > BANDS:
        raw = np.array(seen, dtype=float)
        cuts = np.quantile(np.log(raw) if knob.log else raw, np.arange(1, BANDS) / BANDS)
        edges = sorted({float(c) for c in (np.exp(cuts) if knob.log else cuts)})
        groups: dict[Any, list[Run]] = {}
        for run in sorted(runs, key=lambda r: r.params[knob.key]):
            groups.setdefault(bisect_right(edges, run.params[knob.key]), []).append(run)
    else:
        groups = {name_of(v): [] for v in knob.values if name_of(v) in names}
        for run in runs:
            groups[name_of(run.params[knob.key])].append(run)
    values = [tuple(r.value for r in group if r.state == "complete" and r.value is not None) for group in groups.values()]
    return [Band(g[0].params[knob.key], g[-1].params[knob.key], told) for g, told in zip(groups.values(), values)]


def _step(study: Study, run: Run, knob: Knob, runs: list[Run]) -> Step:
    runs = [r for r in runs if done(r)] or sorted(runs, key=study.worth)
    both = done(run) and done(runs[0])
    here, there = study.seeds(run), runs

    def change(of: str) -> float | None:
        before, after = (mean_and_error(getattr(r, of) for r in side)[0] for side in (here, there))
        return after - before if both and before is not None and after is not None else None

    along = {k: v for k, v in runs[0].params.items() if k not in run.params}
    changed = change("value")
    noise = study.noise(len(here), len(there)) if changed is not None else None
    return Step(runs[0].params[knob.key], along, runs, changed, change("seconds"), noise)


def _dependents(study: Study, key: str) -> set[str]:
    """Knobs whose condition names this one, and those whose condition names them."""
    found: set[str] = set()
    for knob in study.knobs:
        if any(k == key or k in found for k, _ in knob.when):
            found.add(knob.key)
    return found

"""The parallel-coordinates picture of a sweep's report: each trial is a line through its knobs' values to its metric."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from training.sweeps import effects, plot_style, ranking
from training.sweeps.records import Axis, StudyRecords, Trial
from training.sweeps.values import spans_decades

LINES = 150  # drawn at most; more could not be told apart

UNTURNED = -0.1  # the height at which a trial's line passes a knob without a value


def draw(records: StudyRecords) -> Figure | None:
    """Draw the picture; None if fewer than two trials are complete, or if there are no knobs."""
    trials = [t for t in records.searched if t.done]
    if len(trials) < 2 or not records.axes:
        return None
    trials.sort(key=lambda t: records.better(t.value or 0.0))
    kept = trials[:20] + [trials[20:][k] for k in ranking.spread(len(trials) - 20, LINES - 20)]
    ranks = {t.number: k / (len(trials) - 1) for k, t in enumerate(trials)}
    columns = [_column(records, trials, axis) for axis in records.axes]
    values = [float(t.value or 0) for t in trials]
    columns.append(_numeric({t.number: float(t.value or 0) for t in trials}, spans_decades(values)))
    figure = plot_style.figure(max(5.6, 1.15 * len(columns)), 3.9)
    axes = figure.subplots()
    for trial in reversed(kept):
        heights = [places.get(trial.number, UNTURNED) for places, _ in columns]
        good = 1 - ranks[trial.number]
        axes.plot(
            heights,
            color=plot_style.BEST if good > 0.9 else plot_style.POINT,
            alpha=0.9 if good > 0.9 else 0.1 + 0.35 * good,
            lw=1.4 if good > 0.9 else 0.8,
        )
    under = {"facecolor": plot_style.PAPER, "edgecolor": "none", "alpha": 0.75, "pad": 0.8}
    for at, (places, ticks) in enumerate(columns):
        axes.plot([at, at], [0, 1], color=plot_style.INK, lw=0.7)
        for height, label in ticks + ([(UNTURNED, "—")] if len(places) < len(trials) else []):
            axes.annotate(
                label, (at, height), (3, 0), textcoords="offset points", va="center", fontsize=7.5, annotation_clip=False, bbox=under
            )
    names = [plot_style.short(a.label, 18) for a in records.axes] + [plot_style.short(records.metric)]
    axes.set_xticks(range(len(columns)), [name if at % 2 == 0 else f"\n{name}" for at, name in enumerate(names)])
    axes.set_xlim(-0.1, len(columns) - 0.5)
    axes.set_ylim(-0.15 if any(len(places) < len(trials) for places, _ in columns) else -0.04, 1.04)
    axes.yaxis.set_visible(False)
    axes.tick_params(axis="x", length=0)
    for side in axes.spines.values():
        side.set_visible(False)
    return figure


def _column(records: StudyRecords, trials: list[Trial], axis: Axis) -> tuple[dict[int, float], list[tuple[float, str]]]:
    """For one knob: the height (0 to 1) of each trial by number, and (height, label) of its values."""
    have = {t.number: t for t in trials if axis.key in t.params}
    if axis.values is None and have:
        return _numeric({k: float(t.params[axis.key]) for k, t in have.items()}, axis.log)
    bins = effects.rows(records, axis)
    seen = {k: row for k, t in have.items() if (row := bins.of(t)) is not None}
    heights = {row: at / max(1, len(set(seen.values())) - 1) for at, row in enumerate(sorted(set(seen.values())))}
    return {k: heights[row] for k, row in seen.items()}, [
        (height, plot_style.short(bins.labels[row], 10)) for row, height in heights.items()
    ]


def _numeric(have: dict[int, float], log: bool) -> tuple[dict[int, float], list[tuple[float, str]]]:
    """As in `_column`, for numbers by trial."""

    def height(value: float) -> float:
        at = (np.log([value, low, high]) if log else np.array([value, low, high])).tolist()
        return float((at[0] - at[1]) / ((at[2] - at[1]) or 1.0))

    low, high = min(have.values()), max(have.values())
    ticks = np.geomspace(low, high, 5) if log else np.linspace(low, high, 5)
    labels = {plot_style.number(float(tick)): height(float(tick)) for tick in ticks}
    return {k: height(v) for k, v in have.items()}, [(h, label) for label, h in labels.items()]

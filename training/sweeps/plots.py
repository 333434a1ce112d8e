"""The pictures of a sweep's report, each as PNG and as SVG in the colours of the page.

The pictures contain only names of keys and numbers, so that they need no translation.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps, font_manager, rc_context
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from training.base.files import replacing
from training.sweeps import effects, plot_parallel, plot_style, ranking
from training.sweeps.effects import Effect
from training.sweeps.records import Cost, StudyRecords
from training.sweeps.values import spans_decades

GROUPS = (
    "#4a63d8",
    "#8a5fc9",
    "#bb5fae",
    "#dc6a78",
    "#e0803f",
    "#c9a227",
)  # ordered so that the colour-blind can follow, on white and on black

APART = "#8d9196"  # for trials without a group

SHADES = "cividis_r"

CURVES = 200  # drawn at most; more could not be told apart

POINTS = 300  # more points are drawn as a bitmap, or the page would have megabytes

UPRIGHT = 8  # labels of more values than this are rotated by 90°


def draw(records: StudyRecords, folder: Path) -> dict[str, str]:
    """Write `<name>.png` for each picture for which there are enough trials, and return the pictures as SVG by name.

    Each knob's slice is an SVG of its own, `slice-<number>` in the order of `effects.effects`; slices.png has all of them.
    """
    folder.mkdir(exist_ok=True)
    installed = {f.name for f in font_manager.fontManager.ttflist}
    with rc_context({**plot_style.STYLE, "font.family": ["DejaVu Sans", *(n for n in plot_style.CHINESE if n in installed)]}):
        knobs = effects.effects(records)
        drawn = {
            "importance": _importance(knobs), "interaction": _interaction(records), "curves": _curves(records),
            "slices": _slices(records, knobs), "rise": _rises(records),
            "parallel": plot_parallel.draw(records), "time": _against(records, "seconds"),
            "front": _against(records, "second") if records.second not in (None, "seconds") else None,
        }  # fmt: skip
        as_svg: dict[str, str] = {}
        for name, figure in drawn.items():
            if figure is None:
                (folder / f"{name}.png").unlink(missing_ok=True)  # from an earlier report
                continue
            with replacing(folder / f"{name}.png") as file:
                figure.savefig(file, dpi=130, facecolor="white", format="png")
            figure.set_layout_engine("none")  # savefig has computed the layout
            if name != "slices":
                as_svg[name] = plot_style.svg(figure, name)
        for k, knob in enumerate(knobs if drawn["slices"] else []):
            figure = plot_style.figure(3.3, 2.1 + _names_take([knob]))
            _slice(figure.subplots(), records, knob)
            as_svg[f"slice-{k}"] = plot_style.svg(figure, f"slice-{k}")
    return as_svg


# ---- the pictures


def _importance(knobs: list[Effect]) -> Figure | None:
    """A bar for each knob's importance."""
    weighed = sorted((k for k in knobs if k.importance is not None), key=lambda k: k.importance or 0.0)  # bars are drawn from the bottom
    if not weighed:
        return None
    figure = plot_style.figure(5.0, 0.5 + 0.28 * len(weighed))
    axes = figure.subplots()
    shares = [k.importance or 0.0 for k in weighed]
    axes.barh([plot_style.short(k.axis.label) for k in weighed], shares, color=plot_style.POINT, height=0.6)
    for at, share in enumerate(shares):
        axes.annotate(f"{share:.0%}", (share, at), (4, 0), textcoords="offset points", va="center", fontsize=8)
    axes.set_xlim(0, max([*shares, 0.01]) * 1.15)
    axes.xaxis.set_visible(False)
    axes.spines["bottom"].set_visible(False)
    axes.tick_params(left=False)
    return figure


def _interaction(records: StudyRecords) -> Figure | None:
    """The mean metric for each pair of values of the two most effective knobs."""
    pair = effects.interaction(records)
    values = [v for row in pair.mean for v in row if v is not None] if pair else []
    if pair is None or not values:
        return None
    across, up = len(pair.x_labels), len(pair.y_labels)
    figure = plot_style.figure(min(16, max(4.2, 1.6 + 0.85 * across)), min(14, 1.0 + 0.48 * up))
    axes = figure.subplots()
    low, high = min(values), max(values)
    norm = LogNorm(low, high) if spans_decades(values) else Normalize(low, high if high > low else low + 1)
    shades = colormaps[SHADES if not records.maximize else SHADES.removesuffix("_r")]
    grid = np.array([[np.nan if v is None else v for v in row] for row in pair.mean], dtype=float)
    axes.pcolormesh(np.ma.masked_invalid(grid), cmap=shades, norm=norm, edgecolors="none")
    for row in range(up):
        for column in range(across):
            value = pair.mean[row][column]
            if value is not None:
                red, green, blue, _ = shades(norm(value))
                colour = "#000000" if 0.3 * red + 0.59 * green + 0.11 * blue > 0.45 else "#ffffff"
                where = (column + 0.5, row + 0.5)
                axes.annotate(plot_style.number(value), where, ha="center", va="bottom", color=colour, fontsize=9)
                axes.annotate(f"n={pair.runs[row][column]}", where, (0, -1), textcoords="offset points", ha="center", va="top", color=colour, fontsize=6.5)  # fmt: skip  # noqa: E501
    axes.set_xticks(np.arange(across) + 0.5, [plot_style.cut(v) for v in pair.x_labels])
    axes.set_yticks(np.arange(up) + 0.5, [plot_style.cut(v) for v in pair.y_labels])
    axes.set(xlabel=plot_style.short(pair.x.label), ylabel=plot_style.short(pair.y.label))
    axes.tick_params(length=0)
    for side in axes.spines.values():
        side.set_visible(False)
    return figure


def _curves(records: StudyRecords) -> Figure | None:
    """The metric of each trial over the steps, coloured by the deciding knob, with the best setting's trials emphasised."""
    trials = [t for t in records.trials if t.curve]
    if not trials:
        return None
    leaders = records.leaders[:1]
    best = {t.number for s in leaders for t in s.trials}
    others = sorted((t for t in trials if t.number not in best), key=lambda t: records.better(t.curve[-1][1]))
    others = [others[k] for k in ranking.spread(len(others), CURVES)]
    knob = effects.deciding(records)
    labels, group = effects.groups(records, knob) if knob else ([], {})
    shades = [GROUPS[k] for k in ranking.spread(len(GROUPS), len(labels))]
    colours = {t.number: (shades[group[t.number]] if t.number in group else APART) if knob else plot_style.POINT for t in trials}
    figure = plot_style.figure(6.4 if knob else 5.0, 3.2)
    axes = figure.subplots()
    for trial in others:
        lines = LineCollection(
            [_thinned(trial.curve)], colors=colours[trial.number], linewidths=0.8, alpha=0.6 if len(others) < 60 else 0.4
        )
        lines.set_linestyle("-" if trial.state == "complete" else ":")
        axes.add_collection(lines)
    for trial in trials:
        if trial.number in best:
            style: dict[str, Any] = {"marker": "o" if len(trial.curve) < 30 else None, "ms": 4}
            axes.plot(*zip(*_thinned(trial.curve)), color=plot_style.INK, lw=3.2, **style)
            axes.plot(*zip(*_thinned(trial.curve)), color=colours[trial.number], lw=1.6)
    if knob:
        apart = [Line2D([], [], color=APART, label="—")] if any(t.number not in group for t in trials) else []
        handles = [Line2D([], [], color=c, label=plot_style.short(label, 24)) for c, label in zip(shades, labels)]
        figure.legend(
            handles=[*handles, *apart],
            title=plot_style.short(knob.label),
            loc="outside right upper",
            frameon=False,
            fontsize=8,
            title_fontsize=8,
        )
    shown = [v for t in trials for _, v in t.curve]
    plot_style.scale(axes, "y", shown, MaxNLocator(6))
    axes.autoscale_view()
    axes.set(xlabel="step", ylabel=records.metric)
    axes.grid(True)
    return figure


def _slices(records: StudyRecords, knobs: list[Effect]) -> Figure | None:
    """The metric of each trial over each knob."""
    return _panels(records, knobs) if any(t.state == "complete" for t in records.searched) else None


def _rises(records: StudyRecords) -> Figure | None:
    """How much worse each trial became after its best, over each knob that affects this."""
    return _panels(records, effects.rising(records), rise=True)


def _panels(records: StudyRecords, knobs: list[Effect], rise: bool = False) -> Figure | None:
    """One panel (`_slice`) per knob, at most three in a row."""
    if not knobs:
        return None
    across = min(3, len(knobs))
    down = -(-len(knobs) // across)
    figure = plot_style.figure(3.2 * across, (2.2 + _names_take(knobs)) * down)
    panels = figure.subplots(down, across, squeeze=False, sharey=rise).ravel()
    for panel, knob in zip(panels, knobs):
        _slice(panel, records, knob, rise)
    if rise:
        for at in range(len(knobs)):
            panels[at].set_ylabel(panels[at].get_ylabel() if at % across == 0 else "")
    for panel in panels[len(knobs) :]:
        panel.set_visible(False)
    return figure


def _names_take(knobs: list[Effect]) -> float:
    """Inches of height that rotated labels need."""
    return 1.1 if any(sum(m.turned for m in k.rows) > UPRIGHT for k in knobs) else 0.0


def _slice(axes: Axes, records: StudyRecords, knob: Effect, rise: bool = False) -> None:
    """Every trial's metric (or rise) over one knob, and the mean of each row, for the metric with its standard deviation."""
    trials = [t for t in records.searched if t.done and (not rise or t.number in records.rises)]
    bins = effects.rows(records, knob.axis)
    placed = [(t, row) for t in trials if (row := bins.of(t)) is not None]
    values = [records.rises[t.number] if rise else float(t.value or 0) for t, _ in placed]
    jitter = np.random.default_rng(0).uniform(-0.13, 0.13, len(placed))
    middle: list[float]
    if bins.keys:
        places = [row + shift for (_, row), shift in zip(placed, jitter)]
        middle = [float(k) for k in range(len(bins.labels))]
        upright = len(middle) > UPRIGHT
        labels = [plot_style.short(label, 18 if upright else 60 // max(4, len(middle))) for label in bins.labels]
        axes.set_xticks(middle, labels)
        axes.set_xlim(-0.5, len(middle) - 0.5)
        if upright or sum(map(len, labels)) > 32:
            axes.tick_params(axis="x", labelrotation=90 if upright else 30)
    else:
        places = [float(t.params[knob.axis.key]) for t, _ in placed]
        inside = [[p for p, (_, at) in zip(places, placed) if at == k] for k in range(len(bins.labels))]
        middle = [float(np.median(p)) if p else float("nan") for p in inside]
        if knob.axis.log:
            plot_style.scale(axes, "x", places, MaxNLocator(5), force=True)
        else:
            axes.xaxis.set_major_locator(MaxNLocator(5))
    plot_style.scale(axes, "y", values, MaxNLocator(5))
    axes.scatter(
        places, values, s=11, color=plot_style.POINT, alpha=0.65 if len(values) < 200 else 0.2, lw=0, rasterized=len(values) > POINTS
    )
    means = [(m.rise, 0.0) if rise else (m.mean, m.sd or 0.0) for m in knob.rows]
    points = [(x, mean, sd) for x, (mean, sd) in zip(middle, means) if mean is not None]
    if points:
        xs, heights, spread = (list(column) for column in zip(*points))
        down = spread
        if axes.get_yscale() == "log":  # a logarithmic axis cannot show a spread that reaches below zero
            low, high = min(values), max(max(values), *(m + sd for m, sd in zip(heights, spread)))
            down = [min(sd, m - low) for m, sd in zip(heights, spread)]
            axes.set_ylim(low / (high / low) ** 0.06, high * (high / low) ** 0.06)
        axes.errorbar(xs, heights, [down, spread], color=plot_style.BEST, fmt="o-", ms=4, lw=1.3, elinewidth=1)
    axes.set(xlabel=plot_style.short(knob.axis.label), ylabel=("Δ " if rise else "") + plot_style.short(records.metric))
    axes.grid(True, axis="y")


def _against(records: StudyRecords, by: Cost) -> Figure | None:
    """The metric over a cost, with a point for each setting and the Pareto front."""
    points = [(cost, s.mean) for s in records.settings if (cost := s.cost(by)) is not None]
    if not points:
        return None
    front = ranking.pareto(records, by)
    figure = plot_style.figure(5.0, 3.0)
    axes = figure.subplots()
    costs, values = [c for c, _ in points], [v for _, v in points]
    plot_style.scale(axes, "x", costs, MaxNLocator(6))
    plot_style.scale(axes, "y", values, MaxNLocator(6))
    axes.scatter(costs, values, s=14, color=plot_style.POINT, alpha=0.55, lw=0, rasterized=len(points) > POINTS)
    axes.plot(
        [s.cost(by) or 0.0 for s in front], [s.mean for s in front], "o-", color=plot_style.BEST, drawstyle="steps-post", ms=5, lw=1.4
    )
    axes.set(xlabel="training_seconds" if by == "seconds" else records.second, ylabel=records.metric)
    axes.grid(True)
    return figure


def _thinned(curve: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most 60 points of a curve."""
    return [curve[k] for k in ranking.spread(len(curve), 60)]

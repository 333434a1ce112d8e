"""The style of the pictures in a sweep's report: colours, figures as SVG, scales, labels.

Text and lines have one colour, which becomes `currentColor` in the SVG; the background colour becomes `var(--card)`. Text stays text,
in the font of the page.
"""

from __future__ import annotations

import io
import re
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullLocator

from training.sweeps.values import spans_decades

INK, PAPER = "#123456", "#fefefe"  # placeholders for the page's colours of text and background

BEST, POINT = "#d5722a", "#3f88b5"  # distinguishable for the colour-blind, and visible on white and on black

CHINESE = ("Noto Sans CJK SC", "Noto Sans CJK JP", "Source Han Sans SC", "PingFang SC", "Microsoft YaHei", "WenQuanYi Micro Hei")

STYLE: dict[str, Any] = {
    "svg.fonttype": "none", "font.size": 9, "text.color": INK, "axes.edgecolor": INK, "axes.labelcolor": INK, "xtick.color": INK,
    "ytick.color": INK, "axes.facecolor": "none", "figure.facecolor": "none", "axes.spines.top": False, "axes.spines.right": False,
    "axes.linewidth": 0.7, "xtick.major.width": 0.7, "ytick.major.width": 0.7, "axes.grid": False, "grid.color": INK, "grid.alpha": 0.12,
    "grid.linewidth": 0.6, "text.parse_math": False,
}  # fmt: skip


def figure(width: float, height: float) -> Figure:
    """An empty figure of this size in inches, without a window."""
    made = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(made)
    return made


def svg(figure: Figure, name: str) -> str:
    """The figure as an <svg> element for a page with several: without size, style and namespace, with unique ids and the page's colours."""
    out = io.StringIO()
    with rc_context({"svg.hashsalt": name}):
        figure.savefig(out, format="svg", transparent=True, dpi=130)
    text = out.getvalue()
    view = re.search(r'viewBox="[^"]*"', text)
    assert view, "Matplotlib writes a viewBox"
    body = re.sub(r"<metadata>.*?</metadata>|<style[^>]*>.*?</style>", "", text[text.index(">", view.end()) + 1 :], flags=re.S)
    inside = r"(?=[^<>]*>)"  # inside a tag, not in text
    body = re.sub(rf'\bid="{inside}', f'id="{name}-', body)
    body = re.sub(rf'xlink:href="(#?){inside}', lambda m: f'href="#{name}-' if m[1] else 'href="', body)
    body = re.sub(rf"url\(#{inside}", f"url(#{name}-", body)
    body = re.sub(rf"{INK}{inside}", "currentColor", body)
    body = re.sub(rf"{PAPER}{inside}", "var(--card)", body)
    return f'<svg role="img" {view[0]} style="--natural:{round(figure.get_figwidth() * 96)}px">{body}'


def scale(axes: Axes, which: str, values: list[float], linear: MaxNLocator, force: bool = False) -> None:
    """Make an axis logarithmic if the values span decades (or by `force`), with a few ticks written as plain numbers."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    if not (force and values and min(values) > 0) and not spans_decades(values):
        axis.set_major_locator(linear)
        return
    (axes.set_xscale if which == "x" else axes.set_yscale)("log")
    decades = np.log10(max(values) / min(values))
    if decades < 0.5:
        axis.set_major_locator(FixedLocator(np.geomspace(min(values), max(values), 4).tolist()))
    else:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5) if decades < 1.3 else (1, 3) if decades < 2.6 else (1,), numticks=8))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))


def number(value: float) -> str:
    """Three digits of a number, or all whole digits from a thousand to a million."""
    return f"{value:.0f}" if 1e3 <= abs(value) < 1e6 else f"{value:.3g}"


def cut(label: str) -> str:
    """A label on one line, or on two if it is a range."""
    return "\n– ".join(short(part, 14) for part in label.split(" – "))


def short(label: str, most: int = 28) -> str:
    """A label cut to `most` characters, without characters that a picture cannot show."""
    plain = "".join(c if c.isprintable() else " " for c in label)
    return plain if len(plain) <= most else plain[: most - 1] + "…"

"""What is drawn in a sweep's pictures, read from their axes. `pytest tests/test_sweep_plots.py`"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sweep_studies import again, read, study, trial, widths

from training.sweeps import effects, plot_parallel, plots
from training.sweeps.records import StudyRecords

AB = [{"key": k, "name": k, "kind": "categorical", "values": [1, 2]} for k in "ab"]


def three_and_a_slow_one(folder: Path) -> StudyRecords:
    """Three widths, the wider the better and the slower, and a setting that is beaten in both."""
    trials = widths((32, 3.0), (64, 2.0), (128, 1.0), (256, 2.5))
    for t, seconds in zip(trials, (1.0, 2.0, 3.0, 4.0)):
        t["training_seconds"] = seconds
    return read(study(trials), folder)


def pairs(folder: Path) -> StudyRecords:
    """All pairs of two knobs."""
    rows = [(1, 1, 4.0), (2, 1, 1.0), (1, 2, 3.0), (2, 2, 2.0)]
    trials = [trial(n, {"a": a, "b": b}, value) for n, (a, b, value) in enumerate(rows)]
    return read(study(trials, AB, importance={"a": 0.6, "b": 0.4}), folder)


def test_the_line_over_the_cost_goes_through_the_front_only(tmp_path: Path) -> None:
    figure: Any = plots._against(three_and_a_slow_one(tmp_path), "seconds")
    (front,) = figure.axes[0].lines
    assert front.get_xydata().tolist() == [[1.0, 3.0], [2.0, 2.0], [3.0, 1.0]]


def test_the_thick_curve_is_the_best_run_s(tmp_path: Path) -> None:
    figure: Any = plots._curves(three_and_a_slow_one(tmp_path))
    assert {line.get_ydata()[-1] for line in figure.axes[0].lines} == {1.0}


def test_every_mean_stands_at_its_own_pair_of_values(tmp_path: Path) -> None:
    figure: Any = plots._interaction(pairs(tmp_path))
    (mesh,) = figure.axes[0].collections
    assert mesh.get_array().tolist() == [[4.0, 1.0], [3.0, 2.0]]


def test_every_slice_is_of_the_knob_under_which_it_stands(tmp_path: Path) -> None:
    records = pairs(tmp_path)
    drawn = plots.draw(records, tmp_path / "plots")
    labels = [effect.axis.label for effect in effects.effects(records)]
    assert sorted(labels) == ["a", "b"]
    for k, label in enumerate(labels):
        assert [name for name in labels if f">{name}<" in drawn[f"slice-{k}"]] == [label]


def test_a_slice_has_the_searched_runs_and_each_mean_over_its_value(tmp_path: Path) -> None:
    trials = widths((32, 3.0), (64, 1.0), (64, 2.0), (128, 4.0))
    figure: Any = plots._slices(records := read(study([*trials, again(4, trials[1], 9.0)]), tmp_path), effects.effects(records))
    (axes,) = figure.axes
    runs, *_ = axes.collections
    (means,) = axes.containers
    assert [(round(x), y) for x, y in runs.get_offsets()] == [(0, 3.0), (1, 1.0), (1, 2.0), (2, 4.0)]
    assert means.lines[0].get_xydata().tolist() == [[0, 3.0], [1, 1.5], [2, 4.0]]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["32", "64", "128"]


def test_every_bar_is_as_long_as_its_knob_s_importance_and_the_longest_is_on_top(tmp_path: Path) -> None:
    records = pairs(tmp_path)
    figure: Any = plots._importance(effects.effects(records))
    (axes,) = figure.axes
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert [(name, bar.get_width()) for name, bar in zip(names, axes.patches)] == [("b", 0.4), ("a", 0.6)]
    assert [text.get_text() for text in axes.texts] == ["40%", "60%"]


def test_a_line_passes_every_knob_where_its_value_is_written(tmp_path: Path) -> None:
    figure: Any = plot_parallel.draw(pairs(tmp_path))
    (axes,) = figure.axes
    lines = sorted(list(line.get_ydata()) for line in axes.lines if len(line.get_ydata()) == 3)
    assert lines == [[0, 0, 1], [0, 1, pytest.approx(2 / 3)], [1, 0, 0], [1, 1, pytest.approx(1 / 3)]]
    written = {text.xy: text.get_text() for text in axes.texts}
    assert [written[at] for at in ((0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1))] == ["1", "2", "1", "2", "1", "4"]

"""What a sweep says in numbers: means, effects, who overfits, how fast. `pytest tests/test_sweep_effects.py`"""

from __future__ import annotations

import itertools
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sweep_studies import KNOBS, again, lively, put, read, study, trial, widths

from training.sweeps import effects, ranking, report
from training.sweeps.records import StudyRecords


def test_marginals_are_what_a_hand_computes(tmp_path: Path) -> None:
    trials = widths((32, 3.0), (32, 5.0), (64, 2.0), (64, 2.5), (64, 3.0))
    trials += [trial(5, {"model.hidden_size": 64}, 9.0, "pruned"), trial(6, {"model.hidden_size": 32}, None, "failed", reason="no")]
    trials += [again(7, trials[2], 7.0), trial(8, {"model.hidden_size": 32}, None, "running")]
    (effect,) = effects.effects(read(study(trials), tmp_path))
    narrow, middle, wide = effect.rows
    assert (narrow.label, narrow.mean, narrow.best, narrow.pruned, narrow.failed) == ("32", 4.0, 3.0, 0, 1)
    assert narrow.sd == pytest.approx(math.sqrt(2)) and len(narrow.values) == 2
    assert (middle.mean, middle.sd, middle.best, middle.pruned) == (2.5, 0.5, 2.0, 1)  # without the repeat
    assert (wide.label, wide.values, wide.mean, wide.sd) == ("128", [], None, None)
    assert effect.metric is not None and (effect.metric.best, effect.metric.worst, effect.size) == (middle, narrow, 1.5)


def test_more_is_better_if_the_study_says_so(tmp_path: Path) -> None:
    told = study(widths((32, 10.0), (64, 30.0), (128, 20.0)), objectives=[{"name": "bleu", "direction": "maximize"}])
    records = read(told, tmp_path)
    best, (effect,) = ranking.best(records), effects.effects(records)
    assert best is not None and best.mean == 30 and effect.metric is not None and effect.metric.best.label == "64"
    assert [rank for rank, _ in ranking.gallery(read(told, tmp_path))] == []


def test_values_that_are_alike_in_python_are_told_apart(tmp_path: Path) -> None:
    knob = {"key": "k", "name": "k", "kind": "categorical", "values": [True, 1, "1", None, "null", 0.5, False]}
    trials = [trial(n, {"k": v}, float(n)) for n, v in enumerate(knob["values"])]  # type: ignore[arg-type]
    records = read(study(trials, [knob]), tmp_path)
    found = effects.marginals(records, records.axes[0])
    assert [(m.label, m.mean) for m in found] == [(t, n) for n, t in enumerate(["true", "1", "1", "null", "null", "0.5", "false"])]
    assert len(records.settings) == 7


def test_a_range_is_cut_where_its_runs_are_and_a_knob_may_be_unturned(tmp_path: Path) -> None:
    rates = [10 ** (-5 + n / 10) for n in range(36)]
    trials = [trial(n, {"optim.learning_rate": r}, 1.0 + n) for n, r in enumerate(rates)] + [trial(36, {}, 99.0)]
    records = read(study(trials, KNOBS[:1]), tmp_path)
    found = effects.marginals(records, records.axes[0])
    assert [len(m.values) for m in found] == [6] * 6 + [1] and [m.turned for m in found] == [True] * 6 + [False]
    assert found[0].label == "1e-05 – 3.16e-05" and found[0].mean == 3.5
    (effect,) = effects.effects(records)
    assert effect.size == 30.0  # what is not turned has no part in it
    few = read(study(trials[:4], KNOBS[:1]), tmp_path)
    assert [m.label for m in effects.marginals(few, few.axes[0])] == ["1e-05", "1.259e-05", "1.585e-05", "1.995e-05"]
    crowded = read(study([trial(n, {"k": 0 if n < 30 else n}, 1.0) for n in range(40)],
                         [{"key": "k", "name": "k", "kind": "int", "low": 0, "high": 99}]), tmp_path)  # fmt: skip
    assert sum(len(m.values) for m in effects.marginals(crowded, crowded.axes[0])) == 40


def test_the_front_of_two_aims(tmp_path: Path) -> None:
    trials = widths((32, 3.0), (64, 2.0), (128, 1.0), (256, 2.5), (512, 1.0))
    for t, cost in zip(trials, [1, 4, 9, 6, 20]):
        t["values"].append(cost)
    told = study(trials, objectives=[{"name": "val_loss", "direction": "minimize"}, {"name": "parameters", "direction": "minimize"}])
    records = read(told, tmp_path)
    assert ranking.best(records) is None
    assert [s.params["model.hidden_size"] for s in ranking.pareto(records, "second")] == [32, 64, 128]
    assert "3 settings" in report.write(tmp_path, "en")[0]
    assert (tmp_path / "plots" / "front.png").is_file() and "no single best" in (tmp_path / "report.md").read_text("utf-8")


def test_interaction_counts_the_runs_of_each_pair(tmp_path: Path) -> None:
    knobs = [{"key": k, "name": k, "kind": "categorical", "values": [1, 2]} for k in "abc"]
    rows = [(1, 1, 4.0), (1, 1, 6.0), (2, 1, 1.0), (1, 2, 3.0)]
    trials = [trial(n, {"a": a, "b": b, "c": 1}, v) for n, (a, b, v) in enumerate(rows)]
    found = effects.interaction(read(study(trials, knobs, importance={"b": 0.6, "a": 0.4}), tmp_path))
    assert found is not None and (found.x.key, found.y.key) == ("a", "b")  # by effect, whatever their importance
    assert found.mean == [[5.0, 1.0], [3.0, None]] and found.runs == [[2, 1], [1, 0]]


def test_interaction_is_of_complete_runs(tmp_path: Path) -> None:
    knobs = [{"key": k, "name": k, "kind": "categorical", "values": [1, 2]} for k in "ab"]
    rows = [(1, 1, 4.0), (2, 1, 1.0), (1, 2, 3.0)]
    trials = [trial(n, {"a": a, "b": b}, v) for n, (a, b, v) in enumerate(rows)]
    trials += [trial(3, {"a": 1, "b": 1}, 9.0, "pruned"), again(4, trials[1], 7.0)]
    found = effects.interaction(read(study(trials, knobs), tmp_path))
    assert found is not None and sorted(v for row in found.mean for v in row if v is not None) == [1.0, 3.0, 4.0]
    assert sum(map(sum, found.runs)) == 3  # and no repeats


def test_speed_counts_what_is_not_training(tmp_path: Path) -> None:
    trials = widths((32, 1.0), (64, 2.0), (128, 3.0))
    trials[0] |= {"training_seconds": 10.0, "wall_seconds": 20.0}
    trials[1] |= {"training_seconds": 10.0, "wall_seconds": 10.2}
    trials[2] |= {"training_seconds": 10.0, "wall_seconds": 10.4}
    trials.append(trial(3, {"model.hidden_size": 32}, None, "failed", ended="refused", reason="no", wall_seconds=0.3))
    trials.append(trial(4, {"model.hidden_size": 32}, None, "failed", ended="failed", reason="it broke", wall_seconds=19.1))
    found = ranking.speed(read(study(trials), tmp_path))
    assert found.per_minute == pytest.approx(60 * 4 / 60)  # the one that was refused is no trial of a training
    assert found.idle == pytest.approx(10.9 / 40.9) and found.overhead == pytest.approx(0.3)


def test_failures_that_differ_in_numbers_are_one(tmp_path: Path) -> None:
    reasons = ["33 does not divide by 4", "out of memory", "65 does not divide by 8"]
    trials = [trial(n, {}, None, "failed", ended="refused", reason=r) for n, r in enumerate(reasons)]
    found = ranking.failures(read(study(trials), tmp_path))
    assert [(f.reason, f.numbers) for f in found] == [("33 does not divide by 4", [0, 2]), ("out of memory", [1])]


def test_the_gallery_goes_from_worst_to_best(tmp_path: Path) -> None:
    records = read(lively(200), tmp_path)
    ranks = [rank for rank, _ in ranking.gallery(records)]
    values = [run.value or 0.0 for _, run in ranking.gallery(records)]
    assert len(ranks) == 10 and ranks[-1] == 1 and values == sorted(values, reverse=True)
    steps = [a - b for a, b in itertools.pairwise(ranks)]
    assert max(steps) - min(steps) <= 1


def test_the_gallery_and_the_front_of_bleu_are_of_complete_runs_and_the_most_is_the_best(tmp_path: Path) -> None:
    trials = widths((32, 10.0), (64, 30.0), (128, 20.0), (64, 35.0))
    for t, seconds in zip(trials, (1.0, 3.0, 2.0, 1.0)):
        t |= {"samples": [{"prompt": "", "text": "x"}], "training_seconds": seconds}
    trials[3] |= {"state": "pruned", "values": None}
    records = read(study(trials, objectives=[{"name": "bleu", "direction": "maximize"}]), tmp_path)
    assert [(rank, run.value) for rank, run in ranking.gallery(records)] == [(3, 10.0), (2, 20.0), (1, 30.0)]
    assert [s.mean for s in ranking.pareto(records, "seconds")] == [10.0, 20.0, 30.0]


def test_the_numbers_need_nothing_heavy() -> None:
    heavy = "[m for m in ('torch', 'optuna', 'matplotlib', 'pandas') if m in sys.modules]"
    code = f"import sys, training.sweeps.neighbours, training.sweeps.study_json; print({heavy})"
    root = Path(__file__).resolve().parents[1]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True).stdout == "[]\n"


def test_the_first_trial_of_every_worker_is_no_overhead(tmp_path: Path) -> None:
    trials = widths((32, 1.0), (64, 2.0), (128, 3.0), (32, 1.0))
    for t, (wall, first) in zip(trials, [(20.0, True), (10.2, False), (30.0, True), (10.4, False)]):
        t |= {"training_seconds": 10.0, "wall_seconds": wall, "first": first}
    assert ranking.speed(read(study(trials), tmp_path)).overhead == pytest.approx(0.3)


def test_a_grid_that_conditions_thin_is_not_balanced(tmp_path: Path) -> None:
    knobs = [{"key": k, "name": k, "kind": "categorical", "values": v} for k, v in (("a", ["x", "y"]), ("b", [1, 2]), ("c", [1, 2, 3]))]
    settings: list[dict[str, Any]] = [{"a": "x", "b": 1, "c": c} for c in (1, 2, 3)]
    settings += [{"a": "x", "b": 2}, {"a": "y", "b": 1}, {"a": "y", "b": 2}]
    trials = [trial(n, s, 1.0 + (s["a"] == "y") + n / 1000) for n, s in enumerate(settings)]  # b does nothing
    trials += [again(6, trials[0], 1.001), again(7, trials[0], 1.0)]
    records = read(study(trials, knobs, grid_points=6), tmp_path)
    assert {e.axis.key: e.metric.verdict for e in effects.effects(records) if e.metric}["b"] == "others"


def test_a_grid_with_a_pruned_point_is_not_balanced(tmp_path: Path) -> None:
    knobs = [{"key": k, "name": k, "kind": "categorical", "values": [1, 2]} for k in "ab"]
    trials = [trial(n, {"a": 1 + n % 2, "b": 1 + n // 2}, 1.0) for n in range(4)]
    assert read(study(trials, knobs, grid_points=4), tmp_path).balanced
    trials[3] |= {"state": "pruned", "values": None}
    assert not read(study(trials, knobs, grid_points=4), tmp_path).balanced
    assert not read(study([*trials, again(4, trials[0], 1.0)], knobs, grid_points=4), tmp_path).balanced


def test_a_grid_of_ranges_is_balanced_too(tmp_path: Path) -> None:
    knobs = [{"key": k, "name": k, "kind": "int", "low": 1, "high": 3, "log": False, "step": 1} for k in "ab"]
    trials = [trial(n, {"a": 1 + n % 3, "b": 1 + n // 3}, 1.0) for n in range(9)]
    assert read(study(trials, knobs, grid_points=9), tmp_path).balanced


def rising(tmp_path: Path, maximize: bool = False) -> StudyRecords:
    """Wide models are the better ones at their best, and get worse again; a knob with a single odd run does not hide it."""
    knobs = [*KNOBS[1:2], {"key": "odd", "name": "odd", "kind": "int", "low": 1, "high": 9}]
    trials = []
    for n in range(24):
        width, sign = (32, 64, 128)[n % 3], -1 if maximize else 1
        up = {32: 0.0, 64: 0.2, 128: 0.5}[width] * (1 + 0.1 * (n % 2)) + 0.6 * (n == 2)
        best = 5.0 - width / 64 * sign
        curve = [[10, best + sign], [20, best], [30, best + sign * up]]
        trials.append(trial(n, {"model.hidden_size": width, "odd": 1 if n == 2 else 2 + n % 2}, best, curve=curve))
    trials.append(trial(24, {"model.hidden_size": 32, "odd": 2}, 4.0, "pruned", curve=[[10, 4.0], [20, 99.0]]))
    return read(study(trials, knobs, objectives=[{"name": "m", "direction": "maximize" if maximize else "minimize"}]), tmp_path)


@pytest.mark.parametrize("maximize", [False, True])
def test_the_knob_by_which_runs_overfit_is_found(maximize: bool, tmp_path: Path) -> None:
    records = rising(tmp_path, maximize)
    assert 24 not in records.rises and records.rises[3] == 0 and records.rises[8] == pytest.approx(0.5)
    first = effects.rising(records)[0]
    assert first.axis.key == "model.hidden_size" and first.rise is not None
    assert (first.rise.worst.label, first.rise.worst.rise) == ("128", pytest.approx(0.6))
    report.write(tmp_path, "en")
    page = (tmp_path / "report.md").read_text("utf-8")
    assert "The clearest connection is with hidden\\_size: with 128, runs end 0.6 worse" in page
    assert "(plots/rise.png)" in page and "16 of 24 complete runs ended worse" in page


def test_a_best_that_a_thinned_curve_left_out_counts(tmp_path: Path) -> None:
    records = read(study([trial(0, {"model.hidden_size": 32}, 1.0, curve=[[10, 3.0], [30, 1.5]])]), tmp_path)
    assert records.rises == {0: 0.5}


def test_where_nothing_overfits_it_is_said_and_there_is_no_figure(tmp_path: Path) -> None:
    report.write(put(tmp_path, study(widths((32, 1.0), (64, 2.0)))), "en")
    assert "the last evaluation is the best: no run overfitted" in (tmp_path / "report.md").read_text("utf-8")
    assert not (tmp_path / "plots" / "rise.png").exists()


def test_curves_have_at_most_six_groups(tmp_path: Path) -> None:
    def grouped(values: list[Any], knob: dict[str, Any]) -> tuple[list[str], dict[int, int]]:
        trials = [trial(n, {"k": v}, 1.0 + n) for n, v in enumerate(values)]
        records = read(study(trials, [{"key": "k", "name": "k"} | knob]), tmp_path)
        axis = effects.deciding(records)
        assert axis is not None
        return effects.groups(records, axis)

    labels, group = grouped([64, 8, 32, 16, 4, 2, 128], {"kind": "categorical", "values": [64, 8, 32, 16, 4, 2, 128]})
    assert len(labels) == 6 and labels[0] == "2 – 4" and group[4] == group[5] == 0 and group[6] == 5
    labels, group = grouped([*"abcdefgh", *"bcdefh"], {"kind": "categorical", "values": [*"abcdefgh"]})
    assert labels == [*"bcdefh"] and 0 not in group  # the rare ones are grey
    labels, group = grouped([n / 40 for n in range(40)], {"kind": "float", "low": 0.0, "high": 1.0})
    assert len(labels) == 6 and set(group) == set(range(40))

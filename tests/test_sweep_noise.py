"""What of a sweep's differences is more than chance. `pytest tests/test_sweep_noise.py`"""

from __future__ import annotations

import itertools
import math
import random
import statistics
from collections import Counter
from pathlib import Path

import pytest
from sweep_studies import again, put, read, study, trial, widths

from training.sweeps import effects, noise, ranking, report


def test_a_difference_is_compared_with_that_between_repeats(tmp_path: Path) -> None:
    trials = widths((32, 1.0), (64, 2.0), (128, 0.5))
    trials[2]["state"], trials[2]["values"] = "pruned", None
    trials += [again(3, trials[0], 1.2), again(4, trials[0], 1.4), again(5, trials[1], 2.1), again(6, trials[1], 2.5)]
    records = read(study(trials), tmp_path)
    best, found = ranking.best(records), ranking.noise(records)
    assert best is not None and found is not None and found.noise is not None
    assert best.mean == pytest.approx(1.2) and best.error == pytest.approx(0.2 / math.sqrt(3))
    pooled = math.sqrt((0.02 + 0.08) / 2)  # variances of two repeats each; the first runs were chosen because they were good
    assert found.size == pytest.approx(1.0) and found.noise == pytest.approx(4.3027 * pooled * math.sqrt(2 / 3), rel=1e-4)
    (effect,) = effects.effects(records)
    assert effect.metric is not None and effect.metric.noise == pytest.approx(4.3027 * pooled * math.sqrt(2), rel=1e-4)
    assert found.within_noise is False
    trials[3]["values"], trials[4]["values"] = [1.9], [3.0]
    found = ranking.noise(read(study(trials), tmp_path))
    assert found is not None and found.within_noise is True


def test_a_lucky_single_run_does_not_beat_what_was_repeated(tmp_path: Path) -> None:
    trials = widths((32, 1.0), (64, 1.1), (128, 1.15))
    trials += [again(3, trials[0], 1.5), again(4, trials[1], 1.1), again(5, trials[1], None, "failed"), again(6, trials[0], 1.7)]
    records = read(study(trials), tmp_path)
    best = ranking.best(records)
    assert best is not None and best.params == {"model.hidden_size": 64} and best.lost == 1
    assert [s.params["model.hidden_size"] for s in records.leaders] == [64, 32]
    page = (put(tmp_path, study(trials)), report.write(tmp_path, "en"), (tmp_path / "report.md").read_text("utf-8"))[2]
    assert "1 of its repeats did not finish" in page and "within noise" in page
    assert "single run" not in page  # 1.0 is of a setting that was repeated, and 1.15 is worse than the mean


def test_a_better_single_number_is_named_only_where_there_is_one(tmp_path: Path) -> None:
    trials = widths((32, 1.0), (64, 1.1), (128, 1.05), (128, 0.9))
    trials += [again(4, trials[0], 1.1), again(5, trials[1], 1.3)]
    found = ranking.better_once(read(study(trials), tmp_path))
    assert found is not None and (found[0].number, found[1]) == (3, 0.9)
    report.write(tmp_path, "en")
    assert "A setting that was not repeated, trial 3, has a single run that is better than this mean (0.9)" in (
        tmp_path / "report.md"
    ).read_text("utf-8")
    assert ranking.better_once(read(study(trials[:3] + trials[4:]), tmp_path)) is None  # 1.05 is the mean of the repeated one


def test_without_repeats_noise_is_not_known(tmp_path: Path) -> None:
    lines = report.write(put(tmp_path, study(widths((32, 1.0), (64, 2.0)))), "en")
    assert "(a single run)" in lines[0] and "is not known" in lines[1]
    assert "which is partly luck" in (tmp_path / "report.md").read_text("utf-8")


def test_the_best_is_compared_with_the_next_best(tmp_path: Path) -> None:
    for repeated in ((0, 1, 2), (0,)):
        trials = widths((32, 1.0), (64, 2.0), (128, 4.0))
        trials += [again(3 + k, trials[of], trials[of]["value"]) for k, of in enumerate(repeated)]
        found = ranking.noise(read(study(trials), tmp_path))
        assert found is not None and (found.size, found.second.params["model.hidden_size"]) == (1.0, 64)


def test_one_repeat_of_a_setting_tells_nothing_of_the_noise(tmp_path: Path) -> None:
    trials = widths((32, 1.0), (64, 2.0))
    found = ranking.noise(read(study([*trials, again(2, trials[0], 1.4), again(3, trials[1], 2.4)]), tmp_path))
    assert found is not None and found.verdict == "unknown"


def test_noise_is_of_the_seed_and_of_the_other_knobs(tmp_path: Path) -> None:
    knobs = [{"key": k, "name": k, "kind": "categorical", "values": [1, 2]} for k in "ab"]

    def verdicts(by: float, grid_points: int, repeated: bool = True) -> dict[str, str]:
        rows = [(a, b, 1.0 + by * (a == 2) + 2.0 * (b == 2)) for a in (1, 2) for b in (1, 2)]
        trials = [trial(n, {"a": a, "b": b}, v) for n, (a, b, v) in enumerate(rows)]
        trials += [again(4, trials[0], 1.02), again(5, trials[0], 0.98)] if repeated else []
        found = effects.effects(read(study(trials, knobs, grid_points=grid_points), tmp_path))
        return {e.axis.key: e.metric.verdict for e in found if e.metric}

    assert verdicts(0.5, 4) == {"a": "beyond", "b": "beyond"}  # b is balanced in a whole grid
    assert verdicts(0.5, 0)["a"] == "others"  # and may be what a seems to do in any other search
    assert verdicts(0.01, 4)["a"] == "within"
    assert verdicts(0.5, 4, repeated=False) == {"a": "unknown", "b": "unknown"}
    pair = [trial(0, {"a": 1, "b": 1}, 1.0), trial(1, {"a": 2, "b": 2}, 2.0)]  # they differ in both knobs
    found = effects.effects(read(study([*pair, again(2, pair[0], 1.02), again(3, pair[0], 0.98)], knobs), tmp_path))
    assert {e.axis.key: e.metric.verdict for e in found if e.metric} == {"a": "alone", "b": "alone"}


def test_in_a_grid_whose_bad_runs_are_noisy_a_knob_without_effect_is_not_called_more_than_noise(tmp_path: Path) -> None:
    """The repeats are of the best settings, which differ by a hundredth of what the bad ones do."""
    knobs = [{"key": k, "name": k, "kind": "categorical", "values": v} for k, v in (("a", [0.01, 0.1, 1.0, 3.0]), ("b", [1, 2, 3]))]
    called = Counter[str]()
    for seed in range(60):
        dice = random.Random(seed)
        trials = [
            trial(n, {"a": a, "b": b}, a * dice.gauss(1, 0.05)) for n, (a, b) in enumerate(itertools.product(*(k["values"] for k in knobs)))
        ]
        trials += [again(12 + n, trials[n // 2], 0.01 * dice.gauss(1, 0.05)) for n in range(6)]
        found = {e.axis.key: e.metric for e in effects.effects(read(study(trials, knobs, grid_points=12), tmp_path))}
        called[f"a {found['a'].verdict}"] += 1  # type: ignore[union-attr]
        called[f"b {found['b'].verdict}"] += 1  # type: ignore[union-attr]
    assert called["a beyond"] == 60
    assert called["b beyond"] <= 6 and called["b mixed"] >= 54


def test_of_many_that_are_alike_none_is_called_worse_than_the_best(tmp_path: Path) -> None:
    wrong = 0
    for seed in range(100):
        dice = random.Random(seed)
        trials = widths(*((8 * k, dice.gauss(1, 0.1)) for k in range(1, 49)))
        trials += [again(48 + n, t, dice.gauss(1, 0.1)) for n, t in enumerate(sorted(trials, key=lambda t: t["value"])[:8] * 2)]
        sweep = read(study(trials), tmp_path)
        wrong += any(ranking.difference(sweep, sweep.leaders[0], s).verdict == "beyond" for s in sweep.leaders)
    assert wrong <= 5


def test_what_a_search_drew_three_times_tells_the_noise_without_repeats(tmp_path: Path) -> None:
    found = ranking.noise(read(study(widths((32, 1.0), (64, 2.0), (32, 1.1), (32, 1.12))), tmp_path))
    assert found is not None and found.within_noise is False


def test_the_next_best_is_never_a_better_one(tmp_path: Path) -> None:
    trials = widths((32, 1.0), (64, 1.1), (128, 2.0))
    trials += [again(3, trials[0], 1.9), again(4, trials[0], 1.901)]
    found = ranking.noise(read(study(trials), tmp_path))
    assert found is not None and found.second.params == {"model.hidden_size": 128}
    lines = report.write(put(tmp_path, study(trials)), "en")
    assert any("trial 1, has a single run that is better than this mean (1.1)" in line for line in lines)


def test_many_repeats_need_less_of_a_margin() -> None:
    pairs = [[1.0, 3.0]] * 70
    margins = [noise.chance(pairs[:count], 1, 1) or 0.0 for count in (20, 22, 25, 30, 59, 60, 70)]
    assert [m / 2 for m in margins] == pytest.approx([2.086, 2.074, 2.060, 2.042, 2.001, 2.000, 1.994], abs=1e-3)


def test_a_rise_is_compared_with_what_the_seed_does_to_rises(tmp_path: Path) -> None:
    trials = widths((32, 1.0), (64, 1.0))
    trials += [again(2, trials[0], 1.0), again(3, trials[0], 1.0)]  # always as good at their best
    for t, up in zip(trials, (0.5, 0.9, 0.1, 1.1)):
        t["curve"] = [[50, 1.0], [100, 1.0 + up]]
    (knob,) = effects.rising(read(study(trials), tmp_path))
    assert knob.rise is not None and knob.rise.noise == pytest.approx(noise.chance([[0.1, 1.1]], 1, 1))


def test_the_furthest_of_several_means_are_not_called_more_than_chance_by_chance(tmp_path: Path) -> None:
    """Runs of pure chance under a knob of four values: of twenty such studies about one may be wrong, not one in five."""
    wrong = 0
    dice = random.Random(3)
    for _ in range(200):
        rows = [[dice.gauss(0, 1) for _ in range(12)] for _ in range(4)]
        means = sorted(statistics.fmean(r) for r in rows)
        limit = noise.chance(rows, 12, 12, among=4)
        assert limit is not None and limit > (noise.chance(rows, 12, 12) or 0)
        wrong += means[-1] - means[0] > limit
    assert wrong <= 16
    knob = {"key": "model.hidden_size", "name": "hidden_size", "kind": "categorical", "values": [32, 64, 128]}
    for values, beyond in (((3.0, 3.4, 4.6), False), ((3.0, 3.4, 6.6), True)):
        trials = widths(*((w, v + d) for w, v in zip((32, 64, 128), values) for d in (-0.5, 0.5)))
        trials.append(again(6, trials[0], 3.6))
        (effect,) = effects.effects(read(study(trials, knobs=[knob], search="tpe"), tmp_path))
        assert effect.metric is not None and effect.metric.others == pytest.approx(noise.student(1 - 0.05 / 6, 3) * math.sqrt(0.5))
        assert (effect.size > effect.metric.others) == beyond
        assert effect.metric.noise == pytest.approx(noise.student(1 - 0.05 / 6, 1) * statistics.stdev([3.5, 3.6]))


@pytest.mark.parametrize(("freedom", "p", "t"), [(1, 0.975, 12.706), (2, 0.975, 4.303), (3, 0.975, 3.182), (3, 0.995, 5.841), (10, 0.995, 3.169), (60, 0.999, 3.232)])  # fmt: skip # noqa: E501
def test_students_t_is_that_of_the_tables(freedom: int, p: float, t: float) -> None:
    assert noise.student(p, freedom) == pytest.approx(t, rel=0.02)

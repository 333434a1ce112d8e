"""Studies on the page: how study.json is read, the nearest run, one step, and the tab's texts. `pytest tests/test_studies.py`"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import PIL.Image
import pytest
from serving_fixtures import HOSTILE, save_study

from serving import runs as shown_folders
from serving import studies, study_html
from serving.strings import Language
from serving.studies import StudyError
from serving.tabs import sweep
from training.base.errors import ConfigError
from training.sweeps import effects, neighbours, noise, ranking
from training.sweeps.records import StudyRecords
from training.sweeps.study_json import load_study

RATE = {"key": "optim.learning_rate", "name": "learning_rate", "kind": "float", "low": 1e-4, "high": 1e-2, "log": True, "step": None}
WIDTH = {"key": "model.width", "name": "width", "kind": "categorical", "values": [32, 64, 256]}
KIND = {"key": "optim.name", "name": "optim.name", "kind": "categorical", "values": ["adamw", "muon"]}
MUON = {"key": "optim.muon", "name": "muon", "kind": "categorical", "values": [0.01, 0.02], "when": {"optim.name": ["muon"]}}
HEADER: dict[str, Any] = {"name": "x", "task": "gpt", "base": "b", "search": "tpe", "importance": {}}


def trial(number: int, value: float | None, state: str = "complete", **params: Any) -> dict[str, Any]:
    """With params by the last parts of the knobs' keys."""
    keys = {k["key"].split(".")[-1]: k["key"] for k in (RATE, WIDTH, KIND, MUON)}
    said = {
        "number": number,
        "state": state,
        "params": {keys[k]: v for k, v in params.items()},
        "repeat_of": None,
        "training_seconds": 10.0,
    }
    return said | {"values": [value] if state == "complete" else None, "value": value, "folder": f"trials/{number:04d}-x"}


def put(folder: Path, trials: list[dict[str, Any]], *knobs: dict[str, Any], **more: Any) -> StudyRecords:
    folder.mkdir(exist_ok=True)
    content = {"objectives": [{"name": "val_loss", "direction": "minimize"}], "knobs": knobs, "trials": trials, **more}
    (folder / "study.json").write_text(json.dumps(content), encoding="utf-8")
    return studies.read(folder)


def value(update: Any) -> Any:
    """Of a component that a tab's function returned."""
    return update.value


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that the page looks in."""
    (tmp_path / "runs").mkdir()
    monkeypatch.setenv("MODELS_DIR", str(tmp_path / "runs"))
    return tmp_path / "runs"


# ---- finding and reading


def test_studies_are_found_the_latest_first(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(root / "old", [], WIDTH)
    put(root / "new", [], WIDTH)
    put(root / ".hidden", [], WIDTH)
    (root / "run").mkdir()
    os.utime(root / "old" / "study.json", (1, 1))
    assert shown_folders.find_studies() == [root / "new", root / "old"]
    monkeypatch.setenv("MODELS_DIR", f"{root / 'old'}{os.pathsep}{root / 'nowhere'}")
    assert shown_folders.find_studies() == [root / "old"]


@pytest.mark.parametrize(
    "text",
    ["", "[1]", "{}", '{"knobs": 3}', '{"knobs": [{}], "trials": [], "objectives": []}', "[" * 100_000, "\udcff",
     '{"knobs": [], "trials": [], "objectives": []}', '{"knobs": [], "trials": 5, "objectives": [{"name": "a", "direction": "b"}]}'],
)  # fmt: skip
def test_a_damaged_file_is_a_plain_sentence(root: Path, text: str) -> None:
    (root / "x").mkdir()
    (root / "x" / "study.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(StudyError):
        studies.read(root / "x")
    assert "is damaged, or it was not written by a sweep" in sweep.shown(str(root / "x"), (), "en")[0]
    assert "已损坏" in sweep.opening(str(root / "x"), "zh")[-3]


@pytest.mark.parametrize("knob", [{**RATE, "low": 0}, {**RATE, "low": "a"}, {**RATE, "high": 1e-4}, {**WIDTH, "values": [[1]]}])
def test_a_knob_that_cannot_be_is_damage(root: Path, knob: dict[str, Any]) -> None:
    with pytest.raises(StudyError):
        put(root / "x", [], knob)


def test_odd_trials_are_left_out_and_counted(root: Path) -> None:
    odd: list[Any] = [5, {}, {"state": "complete", "number": 1, "params": {"model.width": [1]}}, trial(2, 1.0) | {"state": "odd"}]
    odd += [trial(3, 1.0) | {"params": {"no.knob": 1}}, trial(4, 1.0) | {"params": {"model.width": float("nan")}}]
    found = put(root / "x", [*odd, trial(7, float("inf"), width=32), trial(8, 1.5, width=64)], WIDTH)
    assert [(r.number, r.value) for r in found.trials] == [(7, None), (8, 1.5)] and found.unreadable == 6
    assert "6 more could not be read" in study_html.state(found, "en", 16)


def test_a_study_is_read_again_when_it_changed(root: Path) -> None:
    put(root / "x", [trial(0, 1.0, width=32)], WIDTH)
    os.utime(root / "x" / "study.json", (1, 1))
    assert len(put(root / "x", [trial(0, 1.0, width=32), trial(1, 1.0, width=32)], WIDTH).trials) == 2


def test_a_picture_outside_the_study_is_none(root: Path, tmp_path: Path) -> None:
    found = put(root / "x", [trial(k, 1.0, width=32) for k in range(5)], WIDTH)
    outside = tmp_path / "secret"
    outside.mkdir()
    for folder in (outside, root / "x/trials/0000-x"):
        folder.mkdir(parents=True, exist_ok=True)
        PIL.Image.new("RGB", (2, 2)).save(folder / "curves.png")
    (root / "x/trials/0001-x").symlink_to(outside)
    for number, folder in ((2, str(outside)), (3, "../../secret"), (4, "\0")):
        found.trials[number].params["model.width"] = 32
        object.__setattr__(found.trials[number], "folder", folder)
    assert [studies.curves(found, r) is not None for r in found.trials] == [True, False, False, False, False]


def test_the_report_takes_a_study_whole_and_the_page_goes_without_what_is_damaged(root: Path) -> None:
    whole, odd = trial(0, 1.0, width=32), trial(1, 1.0, width=32) | {"params": {"no.knob": 1}}
    put(root / "x", [whole, odd], WIDTH, **HEADER)
    assert load_study(root / "x", leave_out_damaged=True).unreadable == 1
    with pytest.raises(ConfigError, match=r"trial 1 sets no\.knob, which is not one of the study's knobs"):
        load_study(root / "x")
    put(root / "x", [whole], WIDTH)
    assert load_study(root / "x", leave_out_damaged=True).name == ""
    with pytest.raises(ConfigError, match="is damaged"):
        load_study(root / "x")


# ---- the nearest run


def test_the_nearest_run_by_ratio_on_a_log_range_and_by_rank_in_a_list(root: Path) -> None:
    runs = [trial(0, 1.0, learning_rate=1e-4), trial(1, 2.0, learning_rate=5e-3)]
    found = put(root / "x", runs, RATE)
    for asked, number in ((3e-4, 0), (1e-3, 1), (4.9e-3, 1)):  # the middle between the two is 7e-4, and by difference 2.5e-3
        near = neighbours.nearest(found, {"optim.learning_rate": asked})
        assert near and near.number == number
    found = put(root / "y", [trial(0, 1.0, width=32), trial(1, 2.0, width=256)], WIDTH)
    assert found.axes[0].distance(32, 64) == found.axes[0].distance(64, 256) == 0.5
    near = neighbours.nearest(found, {"model.width": 64})
    assert near and near.number == 0, "of two equally near ones the better"


def test_pruned_and_failed_runs_come_last_among_equals_and_running_ones_never(root: Path) -> None:
    runs = [trial(0, None, "failed", width=32), trial(1, 0.1, "pruned", width=32), trial(2, 3.0, width=32), trial(3, 2.0, width=32)]
    found = put(root / "x", [*runs, trial(4, None, "running", width=64)], WIDTH)
    assert [r.number for r in sorted(found.trials, key=lambda t: ranking.worth(found, t))] == [2, 3, 1, 0, 4], (
        "of one setting's runs the first, not the luckiest"
    )
    near = neighbours.nearest(found, {"model.width": 64})
    assert near and near.number == 2
    assert found.axes[0].tried == (32,)


def test_more_is_better_for_bleu(root: Path) -> None:
    aim = [{"name": "bleu", "direction": "maximize"}]
    found = put(root / "x", [trial(0, 10.0, width=32), trial(1, 20.0, width=32), trial(2, 16.0, width=64)], WIDTH, objectives=aim)
    assert (best := ranking.best_trial(found)) and best.number == 2
    (step,) = neighbours.one_step_off(found, found.trials[2], found.axes[0])
    assert step.change == -1 and len(step.trials) == 2
    found = put(root / "y", [trial(0, 10.0, width=32), trial(1, 20.0, width=64)], WIDTH, objectives=aim)
    assert "+10 better, or chance" in study_html.more(found, found.trials[0], "en")


def test_a_knob_whose_condition_does_not_hold_is_not_asked_for(root: Path) -> None:
    found = put(root / "x", [trial(0, 1.0, name="adamw"), trial(1, 2.0, name="muon", muon=0.01)], KIND, MUON)
    assert neighbours.wanted_params(found, {"optim.name": "adamw", "optim.muon": 0.01}) == {"optim.name": "adamw"}
    assert neighbours.wanted_params(found, {"optim.name": "muon", "optim.muon": 0.01}) == {"optim.name": "muon", "optim.muon": 0.01}
    assert neighbours.distance(found.axes, {"optim.name": "muon", "optim.muon": 0.01}, {"optim.name": "muon"}) == 1


# ---- one step


def test_a_step_is_to_recorded_runs_that_differ_in_one_knob(root: Path) -> None:
    grid = [trial(k, 1.0 + k, learning_rate=r, width=w) for k, (r, w) in enumerate([(1e-3, 64), (1e-3, 32), (1e-3, 256), (5e-3, 256)])]
    grid.append(trial(4, 1.5, learning_rate=1e-3, width=64) | {"repeat_of": 0, "training_seconds": 20.0})
    grid.append(trial(5, None, "running", learning_rate=5e-3, width=64))
    found = put(root / "x", grid, RATE, WIDTH)
    rate, width = found.axes
    below, above = neighbours.one_step_off(found, found.trials[0], width)
    assert (below.value, below.change, below.seconds) == (32, pytest.approx(2.0 - 1.25), pytest.approx(-5.0))
    assert (above.value, above.change) == (256, pytest.approx(3.0 - 1.25)), "from the mean over the seeds"
    assert neighbours.one_step_off(found, found.trials[0], rate) == []
    shown_html = study_html.more(found, found.trials[0], "en")
    assert '64 →</span> <span class="whole">32<' in shown_html and "There is no such trial for these knobs: learning_rate." in shown_html
    assert "the smallest that was tried" in study_html.more(found, found.trials[1], "en")
    assert "1.25 ± 0.25" in study_html.result(found, found.trials[0], found.trials[0].params, "en"), "the standard error, as in the report"


def test_a_step_is_to_the_next_value_on_either_side(root: Path) -> None:
    rates = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2)
    found = put(root / "x", [trial(k, 1.0 + k, learning_rate=rate) for k, rate in enumerate(rates)], RATE)
    for number, wanted in ((0, [3e-4]), (2, [3e-4, 3e-3]), (4, [3e-3])):
        assert [step.value for step in neighbours.one_step_off(found, found.trials[number], found.axes[0])] == wanted


@pytest.mark.parametrize(
    ("repeats", "english", "chinese", "colour"),
    [([], "+0.3 worse, or chance", "+0.3 更差，或只是偶然", "quiet"), ([1.0, 1.4, 0.6], "+0.3 within noise", "+0.3 在噪声之内", "quiet"),
     ([1.0, 1.01, 0.99], "+0.3 worse", "+0.3 更差", "bad")],
)  # fmt: skip
def test_a_step_is_good_or_bad_only_if_it_is_more_than_noise(
    root: Path, repeats: list[float], english: str, chinese: str, colour: str
) -> None:
    runs = [trial(0, 1.0, width=64), trial(1, 1.3, width=32)]
    runs += [trial(2 + k, v, width=64) | {"repeat_of": 0} for k, v in enumerate(repeats)]
    found = put(root / "x", runs, WIDTH)
    for speaks, said, unknown in (("en", english, "no setting has three runs"), ("zh", chinese, "没有哪个设置有三次训练")):
        steps, averages = study_html.more(found, found.trials[0], speaks).split("<h4>")[1:3]  # type: ignore[arg-type]
        assert f'"{colour}">{said}<' in steps
        assert f'"quiet">{said}<' in averages, "other knobs differ there, so it has no colour"
        assert (unknown in averages) == (not repeats)


def test_the_noise_of_a_step_and_of_an_average_is_that_of_means_of_so_many_runs(root: Path) -> None:
    runs = [trial(k, (1.0, 1.27)[k // 4], learning_rate=1e-3 + 1e-4 * (k % 4), width=(64, 32)[k // 4]) for k in range(8)]
    runs += [trial(8 + k, v, learning_rate=1e-3, width=64) | {"repeat_of": 0} for k, v in enumerate([1.0, 1.05, 0.95])]
    found = put(root / "x", runs, WIDTH, RATE)
    steps, averages = study_html.more(found, found.trials[0], "en").split("<h4>")[1:3]
    assert '"bad">+0.27 worse<' in steps and '"quiet">+0.27 worse<' in averages
    assert (ranking.by_chance(found, 1, 1) or 0.0) > 0.27, "two single runs may differ as much"


def test_a_random_search_shows_what_a_step_does_on_average(root: Path) -> None:
    runs = [trial(k, 1.0 + k, learning_rate=1e-4 * 1.2**k, width=(32, 64, 256)[k % 3]) for k in range(18)]
    runs += [trial(18, 0.0, "pruned", learning_rate=1e-4 * 1.2**18, width=32), trial(19, 9.0, name="muon", muon=0.02)]
    runs += [trial(20, 100.0, learning_rate=1e-4, width=32) | {"repeat_of": 0}]
    found = put(root / "x", runs, RATE, WIDTH, KIND, MUON)
    rate, width, kind, _ = found.axes
    assert neighbours.one_step_off(found, found.trials[7], width) == []
    here, (below, above) = neighbours.averages(found, found.trials[7], width)
    assert here and (here.low, here.high, here.mean, len(here.values)) == (64, 64, pytest.approx(9.5), 6)
    assert (below.low, below.mean, above.low, above.mean) == (32, pytest.approx(8.5), 256, pytest.approx(10.5)), (
        "no repeats, no pruned ones"
    )
    here, (below, above) = neighbours.averages(found, found.trials[7], rate)
    assert here and here.low <= 1e-4 * 1.2**7 <= here.high and below.high < here.low and here.high < above.low
    assert neighbours.averages(found, found.trials[0], rate)[1][0].low > 1e-4, "the lowest has one neighbour"
    assert neighbours.averages(found, found.trials[7], kind) == (None, [])
    shown_html = study_html.more(found, found.trials[7], "en")
    assert "There is no such trial for these knobs: width." in shown_html
    assert "No recorded trial differs from this one in only one knob." in study_html.more(found, found.trials[19], "en")
    assert '>9.5 →</span> <span class="whole">8.5<' in shown_html and ">6 → 6<" in shown_html
    assert "not used in this run" in shown_html and "平均验证损失" in study_html.more(found, found.trials[7], "zh")
    assert "muon → no other value was recorded" in study_html.more(found, found.trials[19], "en")


def test_a_slower_step_has_a_plus_and_pruned_runs_are_not_in_its_mean(root: Path) -> None:
    runs = [trial(0, 1.0, width=64), trial(1, 2.0, width=32) | {"training_seconds": 7.0}]
    runs += [trial(2, 3.0, width=256) | {"training_seconds": 14.0}, trial(3, 9.0, "pruned", width=256)]
    found = put(root / "x", runs, WIDTH)
    below, above = neighbours.one_step_off(found, found.trials[0], found.axes[0])
    assert (below.change, above.change) == (1.0, 2.0)
    shown_html = study_html.more(found, found.trials[0], "en")
    assert ">+4" in shown_html and ">-3" in shown_html and ">+-3" not in shown_html


def test_seconds_are_rounded_before_they_become_minutes() -> None:
    said = {v: study_html.seconds(v, "en") for v in (119.94, 119.96, 179.7, -179.7, 130.0, -0.01)}
    assert list(said.values()) == ["119.9 s", "2 min 0 s", "3 min 0 s", "-3 min 0 s", "2 min 10 s", "0.0 s"]


def test_a_failed_neighbour_shows_its_reason_and_no_number(root: Path) -> None:
    found = put(root / "x", [trial(0, 1.0, width=32), trial(1, None, "failed", width=64) | {"reason": "out of <memory>"}], WIDTH)
    (step,) = neighbours.one_step_off(found, found.trials[0], found.axes[0])
    assert (step.change, step.seconds) == (None, None)
    assert "out of &lt;memory&gt;" in study_html.more(found, found.trials[0], "en")
    shown_html = study_html.result(found, found.trials[1], {"model.width": 32}, "zh")
    assert "失败：out of &lt;memory&gt;" in shown_html and "≠ 64" in shown_html and "没有试过" in shown_html


def test_knobs_that_hang_on_another_come_and_go_with_it(root: Path) -> None:
    runs = [trial(0, 1.0, name="adamw", width=32), trial(1, 0.5, name="muon", muon=0.02, width=32)]
    found = put(root / "x", [*runs, trial(2, 0.4, name="muon", muon=0.02, width=64)], WIDTH, KIND, MUON)
    (step,) = neighbours.one_step_off(found, found.trials[0], found.axes[1])
    assert (step.value, step.along, step.change) == ("muon", {"optim.muon": 0.02}, pytest.approx(-0.5))
    assert ">muon</span>, muon = 0.02<" in study_html.more(found, found.trials[0], "en")
    assert neighbours.one_step_off(found, found.trials[0], found.axes[2]) == []


# ---- the report says the same


def chance_of(*repeats: float) -> float:
    """By how much the mean of two runs and a single one differ, judged by repeats of one setting."""
    return noise.chance([list(repeats)], 2, 1) or 0.0


def test_the_page_and_the_report_agree_on_the_best_its_error_the_noise_and_the_ranges(root: Path) -> None:
    lucky = [trial(0, 0.5, learning_rate=2e-3, width=64), trial(1, 0.8, learning_rate=1e-3, width=32)]
    lucky += [trial(2, 0.9, learning_rate=1e-3, width=64)]
    lucky += [
        trial(3 + k, v, learning_rate=1e-3, width=w) | {"repeat_of": of}
        for k, (of, w, v) in enumerate([(1, 32, 1.2), (2, 64, 0.91), (1, 32, 1.3)])
    ]
    more = [trial(6 + k, 2.0 + k, learning_rate=1e-4 * 1.2**k, width=256) for k in range(20)]
    found = put(root / "x", lucky + more, RATE, WIDTH, **HEADER)
    records = load_study(root / "x")
    best = ranking.best(records)
    shown = ranking.best_trial(found)
    assert best and shown and shown.number == best.trials[0].number == 2, "neither the best single run nor the luckiest one"
    setting = found.setting_of(shown)
    assert setting and (setting.mean, setting.error) == (pytest.approx(best.mean), pytest.approx(best.error))
    other = next(s for s in records.settings if s.trials[0].number == 0)
    expected_noise = ranking.difference(records, best, other).noise
    assert ranking.by_chance(found, 2, 1) == pytest.approx(expected_noise) == pytest.approx(chance_of(1.2, 1.3))
    for axis in records.axes:
        here, beside = neighbours.averages(found, shown, axis)
        assert here and beside and all(row in effects.marginals(records, axis) for row in (here, *beside))
    assert "Trial 2<" in sweep.opening(str(root / "x"), "en")[-3]


# ---- the tab


@pytest.mark.parametrize("speaks", ["zh", "en"])
def test_the_knobs_stand_as_in_the_best_run_and_moving_one_shows_a_real_one(root: Path, speaks: Language) -> None:
    found = studies.read(save_study(root / "birds"))
    PIL.Image.new("RGB", (2, 2)).save(root / "birds" / ranking.best_trial(found).folder / "curves.png")  # type: ignore[union-attr]
    state, *parts, shown_html, picture, more = sweep.opening(str(root / "birds"), speaks)
    assert len(parts) == 2 * sweep.MOST and "50" in state and value(picture) is not None
    shown = [part.visible for part in parts[:8]]
    assert shown == [False, True, True, False, True, False, True, False], "the range slides, the lists are lists"
    values = [value(part) for part in parts]
    assert sweep.shown(str(root / "birds"), tuple(values), speaks)[0] == shown_html, "what the controls say is the best run itself"
    values[1] = -4.0
    moved = sweep.shown(str(root / "birds"), tuple(values), speaks)
    assert moved[0] != shown_html and "0.0001<" in moved[0] and "≠" in moved[0] and value(moved[1]) is None
    for text in (*moved[::2], shown_html, more):
        assert HOSTILE not in text and "<script" not in text and not set("${}`") & set(text)


def test_the_tab_shows_the_recorded_number_of_every_run(root: Path) -> None:
    found = studies.read(save_study(root / "birds"))
    stored = {t["number"]: t for t in json.loads((root / "birds/study.json").read_text(encoding="utf-8"))["trials"]}
    shown = [r for r in found.trials if r.value is not None]
    assert len(shown) > 20
    for r in shown:
        said = stored[r.number]
        recorded = said["values"][0] if said["state"] == "complete" else said["value"]
        assert f"<b>{study_html.number(recorded)}</b>" in study_html.result(found, r, r.params, "en"), r.number


def test_the_ends_of_a_slider_are_asked_for_as_they_are(root: Path) -> None:
    runs = [trial(k, 1.0, learning_rate=1e-4 * 1.3**k) for k in range(18)]
    found = put(root / "x", runs, {**RATE, "low": 0.00013, "high": 0.0097})
    (knob,) = found.axes
    low, high, _ = sweep._slider(knob)
    assert low <= -3.88 and high >= -2.02
    assert sweep.settings(found, (None, high))["optim.learning_rate"] == 0.0097
    assert sweep.settings(found, (None, -3.5))["optim.learning_rate"] == pytest.approx(10**-3.5, rel=0.02)


def test_only_studies_that_the_page_shows_are_read(root: Path, tmp_path: Path) -> None:
    save_study(tmp_path / "elsewhere")
    for folder in (str(tmp_path / "elsewhere"), str(root / ".." / "elsewhere"), None, ""):
        assert "no longer there" in sweep.shown(folder, (), "en")[0]
    save_study(root / "birds")
    shutil.rmtree(root / "birds")
    assert "不见了" in sweep.opening(str(root / "birds"), "zh")[-3]


def test_moving_a_knob_does_not_look_for_studies_on_disk_again(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(root / "x", [trial(0, 1.0, width=32), trial(1, 2.0, width=64)], WIDTH)
    looks: list[int] = []
    listing = shown_folders.Listing(lambda: looks.append(1) or shown_folders.find_studies())  # type: ignore[func-returns-value]
    monkeypatch.setattr(sweep, "STUDIES", listing)
    listing.look()  # the page is opened
    for move in (0, 1, 0):
        assert f"Trial {move}<" in sweep.shown(str(root / "x"), (move, 0) * sweep.MOST, "en")[0]
    assert len(looks) == 1
    put(root / "new", [trial(0, 1.0, width=32)], WIDTH)
    assert "Trial 0<" in sweep.shown(str(root / "new"), (0, 0) * sweep.MOST, "en")[0] and len(looks) == 2, "one that is new is looked for"
    shutil.rmtree(root / "x")
    assert "no longer there" in sweep.shown(str(root / "x"), (0, 0) * sweep.MOST, "en")[0]


def test_a_study_without_a_finished_trial_says_so(root: Path) -> None:
    put(root / "x", [trial(0, None, "running", width=32)], WIDTH)
    assert "No trial has ended yet" in sweep.opening(str(root / "x"), "en")[-3]
    assert "No trial has ended yet" in sweep.shown(str(root / "x"), (None, 0) * sweep.MOST, "en")[0]


def test_more_knobs_than_controls(root: Path) -> None:
    knobs = [{**WIDTH, "key": f"k{k}", "name": f"k{k}"} for k in range(sweep.MOST + 2)]
    runs = [trial(0, 1.0) | {"params": {k["key"]: 32 for k in knobs}}]
    put(root / "x", runs, *knobs)
    state, *parts, shown_html, _, _ = sweep.opening(str(root / "x"), "en")
    assert "only the first 16 knobs" in state and len(parts) == 2 * sweep.MOST
    assert sweep.shown(str(root / "x"), (0, 0) * sweep.MOST, "en")[0] == shown_html

"""What a sweep's report says, how it is written, and how it looks. `pytest tests/test_sweep_report.py`"""

from __future__ import annotations

import itertools
import json
import math
import random
import re
import shutil
import subprocess
import sys
import time
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from training import effects, findings, study_records, sweep_report
from training.config import ConfigError
from training.study_records import Records

KNOBS = [
    {"key": "optim.learning_rate", "name": "learning_rate", "kind": "float", "low": 1e-4, "high": 1e-2, "log": True, "step": None},
    {"key": "model.hidden_size", "name": "hidden_size", "kind": "categorical", "values": [32, 64, 128]},
    {"key": "model.dropout", "name": "dropout", "kind": "categorical", "values": [0.0, 0.1, None]},
    {"key": "tie", "name": "tie", "kind": "categorical", "values": [True, False]},
    {"key": "schedule", "name": "schedule", "kind": "categorical", "values": ["cosine", "no", "$x_{1}$ 余弦 <b>"]},
    {"key": "optim.warmup_steps", "name": "warmup_steps", "kind": "int", "low": 0, "high": 500, "log": False, "step": None,
     "when": {"schedule": ["cosine"]}},
]  # fmt: skip
HOSTILE = '<script>window.hacked = 1</script><img src=x onerror="window.hacked=1">\n``` http://example.org/x.png\x07'


def trial(number: int, params: dict[str, Any], value: float | None = None, state: str = "complete", **more: Any) -> dict[str, Any]:
    """A trial as study.json has it."""
    said = {"number": number, "state": state, "params": params, "values": [value] if state == "complete" else None, "seed": 1,
            "repeat_of": None, "folder": f"trials/{number:04d}-x"}  # fmt: skip
    if value is not None:
        said |= {"value": value, "best_step": 100, "step": 100, "training_seconds": 2.0, "curve": [[50, value * 2], [100, value]]}
        said |= {"metrics": {"val_loss": value}, "samples": [], "verdicts": [], "ended": "finished", "reason": None, "parameters": 1000}
        said |= {"wall_seconds": 2.5}
    return said | more


def study(trials: list[dict[str, Any]], knobs: list[dict[str, Any]] | None = None, **more: Any) -> dict[str, Any]:
    """A study.json."""
    return {
        "name": "birds", "task": "gpt", "base": "configs/gpt/sentence.yaml", "search": "tpe", "prune": "median",
        "objectives": [{"name": "val_loss", "direction": "minimize"}], "knobs": knobs or KNOBS[1:2], "importance": {}, "trials": trials,
        "grid_points": 0, **more,
    }  # fmt: skip


def lively(count: int, seed: int = 1) -> dict[str, Any]:
    """A study of all kinds of knobs and trials, whose loss depends on learning rate, width and dropout."""
    dice = random.Random(seed)
    trials = []
    for n in range(count):
        rate = 10 ** dice.uniform(-4, -2)
        params = {
            "optim.learning_rate": rate,
            "model.hidden_size": dice.choice([32, 64, 128]),
            "model.dropout": dice.choice([0.0, 0.1, None]),
        }
        params |= {"tie": dice.choice([True, False]), "schedule": dice.choice(KNOBS[4]["values"])}  # type: ignore[arg-type]
        if params["schedule"] == "cosine":
            params["optim.warmup_steps"] = dice.randint(0, 500)
        value = 2.2 + 0.9 * (math.log10(rate) + 2.7) ** 2 - 0.25 * math.log2(params["model.hidden_size"] / 32) + dice.gauss(0, 0.05)
        value += 0.15 if params["model.dropout"] is None else 0.0
        curve = [[s, value + 4 * math.exp(-s / 60)] for s in range(10, 410, 10)]
        seconds = params["model.hidden_size"] / 16 * dice.uniform(0.9, 1.3)
        text = "".join(dice.choice("夏天的飞鸟到我窗前唱歌又去了秋黄叶") for _ in range(int(60 / value))) + "。"
        samples = [{"prompt": "夏天的", "text": text}, {"prompt": "", "text": HOSTILE, "reference": "stray birds of summer"}]
        verdict = {"id": "underfitting", "severity": "warning", "zh": "还没练够。", "en": "The loss was still falling."}
        said = trial(n, params, value, curve=curve, samples=samples if n % 7 else [], training_seconds=seconds, parameters=12345 * n)
        said |= {"wall_seconds": seconds + 0.3 + 5 * (n == 0), "verdicts": [verdict] * (n % 3 == 0)}
        if n % 9 == 4:
            said |= {"state": "pruned", "values": None, "curve": curve[: dice.randint(3, 20)], "ended": "pruned"}
        elif n % 11 == 5:
            why = f"model.hidden_size: {n} does not divide by 3 | heads <i>" if n % 2 else "out of memory"
            said = trial(n, params, None, "failed", ended="refused" if n % 2 else "out_of_memory", reason=why, wall_seconds=0.1)
        elif n == count - 1:
            said = trial(n, params, None, "running")
        trials.append(said)
    done = sorted((t for t in trials if t["state"] == "complete"), key=lambda t: t["value"])
    for best in done[:3]:
        for seed in (2, 3):
            value = best["value"] + dice.gauss(0.04, 0.03)
            trials.append({**best, "number": len(trials), "seed": seed, "repeat_of": best["number"], "value": value, "values": [value]})
    shares = {"optim.learning_rate": 0.62, "model.hidden_size": 0.2, "model.dropout": 0.1, "tie": 0.01}
    return study(trials, KNOBS, importance=shares if count > 10 else {})


def put(folder: Path, told: dict[str, Any]) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "study.json").write_text(json.dumps(told, ensure_ascii=False), encoding="utf-8")
    return folder


def read(told: dict[str, Any], folder: Path) -> Records:
    return study_records.load(put(folder, told))


def widths(*values: tuple[int, float]) -> list[dict[str, Any]]:
    return [trial(n, {"model.hidden_size": width}, value) for n, (width, value) in enumerate(values)]


def again(number: int, of: dict[str, Any], value: float | None, state: str = "complete") -> dict[str, Any]:
    return trial(number, of["params"], value, state, seed=number, repeat_of=of["number"])


# ---- the numbers


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
    assert (effect.best, effect.worst, effect.size) == (middle, narrow, 1.5)


def test_more_is_better_if_the_study_says_so(tmp_path: Path) -> None:
    told = study(widths((32, 10.0), (64, 30.0), (128, 20.0)), objectives=[{"name": "bleu", "direction": "maximize"}])
    records = read(told, tmp_path)
    best, (effect,) = effects.best(records), effects.effects(records)
    assert best is not None and best.mean == 30 and effect.best is not None and effect.best.label == "64"
    assert [rank for rank, _ in effects.gallery(read(told, tmp_path))] == []


def test_a_difference_is_compared_with_that_between_repeats(tmp_path: Path) -> None:
    trials = widths((32, 1.0), (64, 2.0), (128, 0.5))
    trials[2]["state"], trials[2]["values"] = "pruned", None
    trials += [again(3, trials[0], 1.2), again(4, trials[0], 1.4), again(5, trials[1], 2.1), again(6, trials[1], 2.5)]
    records = read(study(trials), tmp_path)
    best, found = effects.best(records), effects.noise(records)
    assert best is not None and found is not None and found.noise is not None
    assert best.mean == pytest.approx(1.2) and best.error == pytest.approx(0.2 / math.sqrt(3))
    pooled = math.sqrt((2 * 0.04 + 2 * 0.07) / 4)  # variances 0.04 and 0.07, two degrees of freedom each
    assert found.size == pytest.approx(1.0) and found.noise == pytest.approx(2.78 * pooled * math.sqrt(2 / 3))
    assert found.within_noise is False
    trials[3]["values"], trials[4]["values"] = [1.9], [3.0]
    found = effects.noise(read(study(trials), tmp_path))
    assert found is not None and found.within_noise is True


def test_a_lucky_single_run_does_not_beat_what_was_repeated(tmp_path: Path) -> None:
    trials = widths((32, 1.0), (64, 1.1), (128, 1.15))
    trials += [again(3, trials[0], 1.6), again(4, trials[1], 1.1), again(5, trials[1], None, "failed")]
    records = read(study(trials), tmp_path)
    best = effects.best(records)
    assert best is not None and best.params == {"model.hidden_size": 64} and best.lost == 1
    assert [s.params["model.hidden_size"] for s in records.leaders] == [64, 32]
    page = (put(tmp_path, study(trials)), sweep_report.write(tmp_path, "en"), (tmp_path / "report.md").read_text("utf-8"))[2]
    assert "Of its repeats 1 did not come to the end" in page and "within noise" in page


def test_without_repeats_noise_is_not_known(tmp_path: Path) -> None:
    lines = sweep_report.write(put(tmp_path, study(widths((32, 1.0), (64, 2.0)))), "en")
    assert "(a single run)" in lines[0] and "is not known" in lines[1]
    assert "part of which is luck" in (tmp_path / "report.md").read_text("utf-8")


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
    assert effects.best(records) is None
    assert [s.params["model.hidden_size"] for s in effects.pareto(records, "second")] == [32, 64, 128]
    assert "3 settings" in sweep_report.write(tmp_path, "en")[0]
    assert (tmp_path / "plots" / "front.png").is_file() and "no single best" in (tmp_path / "report.md").read_text("utf-8")


def test_interaction_counts_the_runs_of_each_pair(tmp_path: Path) -> None:
    knobs = [{"key": k, "name": k, "kind": "categorical", "values": [1, 2]} for k in "abc"]
    rows = [(1, 1, 4.0), (1, 1, 6.0), (2, 1, 1.0), (1, 2, 3.0)]
    trials = [trial(n, {"a": a, "b": b, "c": 1}, v) for n, (a, b, v) in enumerate(rows)]
    found = effects.interaction(read(study(trials, knobs, importance={"b": 0.6, "a": 0.4}), tmp_path))
    assert found is not None and (found.x.key, found.y.key) == ("b", "a")
    assert found.mean == [[5.0, 3.0], [1.0, None]] and found.runs == [[2, 1], [1, 0]]


def test_speed_counts_what_is_not_training(tmp_path: Path) -> None:
    trials = widths((32, 1.0), (64, 2.0), (128, 3.0))
    trials[0] |= {"training_seconds": 10.0, "wall_seconds": 20.0}
    trials[1] |= {"training_seconds": 10.0, "wall_seconds": 10.2}
    trials[2] |= {"training_seconds": 10.0, "wall_seconds": 10.4}
    trials.append(trial(3, {"model.hidden_size": 32}, None, "failed", ended="refused", reason="no", wall_seconds=0.3))
    trials.append(trial(4, {"model.hidden_size": 32}, None, "failed", ended="failed", reason="it broke", wall_seconds=19.1))
    found = effects.speed(read(study(trials), tmp_path))
    assert found.per_minute == pytest.approx(60 * 5 / 60)
    assert found.idle == pytest.approx(10.9 / 40.9) and found.overhead == pytest.approx(0.3)


def test_failures_that_differ_in_numbers_are_one(tmp_path: Path) -> None:
    reasons = ["33 does not divide by 4", "out of memory", "65 does not divide by 8"]
    trials = [trial(n, {}, None, "failed", ended="refused", reason=r) for n, r in enumerate(reasons)]
    found = effects.failures(read(study(trials), tmp_path))
    assert [(f.reason, f.numbers) for f in found] == [("33 does not divide by 4", [0, 2]), ("out of memory", [1])]


def test_the_gallery_goes_from_worst_to_best(tmp_path: Path) -> None:
    records = read(lively(200), tmp_path)
    ranks = [rank for rank, _ in effects.gallery(records)]
    values = [run.value or 0.0 for _, run in effects.gallery(records)]
    assert len(ranks) == 10 and ranks[-1] == 1 and values == sorted(values, reverse=True)
    steps = [a - b for a, b in itertools.pairwise(ranks)]
    assert max(steps) - min(steps) <= 1


# ---- the report

MANY = [f"a rather long value {n}\n\x07" for n in range(30)]
PLAIN = trial(0, {"model.hidden_size": 32}, 2.0)
STUDIES = {
    "nothing": study([]),
    "no knob": study([PLAIN], []),
    "running": study([trial(0, {"model.hidden_size": 32}, None, "running")]),
    "failed": study([trial(n, {"model.hidden_size": 32}, None, "failed", ended="failed", reason="|x|\n<b>") for n in range(3)]),
    "pruned": study([trial(0, {"model.hidden_size": 32}, 3.0, "pruned")]),
    "one": study([PLAIN]),
    "alike": study(widths((32, 1.0), (64, 1.0), (128, 1.0))),
    "zero and below": study(widths((32, 0.0), (64, -1e6), (128, 3.0))),
    "huge": study(widths((32, 1e30), (64, 1.0), (128, 1e99))),
    "not finite": study([{**PLAIN, "values": [float("nan")]}, {**PLAIN, "number": 1, "values": [float("inf")]}]),
    "two aims, nothing yet": study([], objectives=[{"name": "val_loss", "direction": "minimize"}, {"name": "s", "direction": "minimize"}]),
    "bare": study([{"number": 0, "state": "complete", "params": {}, "values": [1.0]}]),
    "many values": study([trial(n, {"k": v}, 1.0 + n) for n, v in enumerate(MANY)],
                         [{"key": "k", "name": "k", "kind": "categorical", "values": MANY}]),
    "lively": lively(40),
}  # fmt: skip


class Balanced(HTMLParser):
    """Every tag that is opened is closed, no id is there twice, and every reference inside the page is to one that is."""

    VOID = ("meta", "br", "img", "link")

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.tags: set[str] = set()
        self.values: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.ids += [v for k, v in attrs if k == "id" and v]
        self.values += [v or "" for _, v in attrs]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag


@pytest.mark.parametrize("name", STUDIES)
def test_every_study_has_a_report_that_is_one_sound_file(name: str, tmp_path: Path) -> None:
    lines = sweep_report.write(put(tmp_path, STUDIES[name]), "zh" if len(name) % 2 else "en")
    assert str(tmp_path / "report.html") in lines[-1] and all(lines)
    page = (tmp_path / "report.html").read_text("utf-8")
    found = Balanced(page)
    assert found.open == [] and len(found.ids) == len(set(found.ids))
    used = {m for v in found.values for m in re.findall(r"(?:^#|url\(#)([^)]+)", v)}
    assert used <= set(found.ids)
    assert not any("://" in v for v in found.values) and not {"script", "img", "link", "iframe", "b", "i"} & found.tags
    assert "{" not in re.sub(r"<style>.*?</style>|\$x_\{1\}\$", "", page, flags=re.S), "a sentence that was not filled in"
    markdown = (tmp_path / "report.md").read_text("utf-8")
    for picture in re.findall(r"\]\((plots/[^)]*)\)", markdown):
        assert (tmp_path / picture).stat().st_size > 1000
    assert "nan" not in page + markdown and "None" not in markdown


def test_what_a_model_wrote_is_text_in_the_report(tmp_path: Path) -> None:
    told = lively(40)
    told["name"] = "</title><script>"
    sweep_report.write(put(tmp_path, told), "zh")
    page, markdown = ((tmp_path / f"report.{kind}").read_text("utf-8") for kind in ("html", "md"))
    assert "&lt;script&gt;window.hacked" in page and "<script" not in page and "\x07" not in page + markdown
    outside = [line for line in markdown.splitlines() if not line.startswith("    ")]
    assert not any(re.search(r"(?<!\\)<(script|img|b>)", line) for line in outside) and "    写出: <script>" in markdown


def test_the_report_has_all_its_parts_in_the_language_asked_for(tmp_path: Path) -> None:
    for language in findings.LANGUAGES:
        sweep_report.write(put(tmp_path, lively(60)), language)
        words = findings.phrases("sweep", language)
        page = (tmp_path / "report.html").read_text("utf-8")
        for part in ("best", "knobs", "interaction", "curves", "parallel", "time", "gallery", "failures", "speed"):
            assert f"<h2>{words[part]}</h2>" in page, part
        assert "Watanabe" in page and page.count("<svg") == 5 + len(KNOBS)
        assert not re.search(r"[\u4e00-\u9fff]", "".join(words.values())) or language == "zh"
    assert sorted(p.name for p in (tmp_path / "plots").iterdir()) == [
        f"{n}.png" for n in ("curves", "importance", "interaction", "parallel", "slices", "time")
    ]


def test_a_later_report_keeps_no_picture_of_an_earlier_one(tmp_path: Path) -> None:
    sweep_report.write(put(tmp_path, lively(40)), "en")
    sweep_report.write(put(tmp_path, study([])), "en")
    assert list((tmp_path / "plots").iterdir()) == []


@pytest.mark.parametrize("text", ["", "[]", "{", '{"trials": 3}', "null", json.dumps(study([{"number": 0}])), "[" * 100_000, "\x00",
                                  json.dumps(study([trial(0, {}, 1.0) | {"state": "odd"}])),
                                  json.dumps(study([trial(0, {}, 1.0) | {"curve": 3}])), json.dumps(study([], objectives=[]))])  # fmt: skip
def test_a_damaged_study_is_one_plain_line(text: str, tmp_path: Path) -> None:
    (tmp_path / "study.json").write_text(text)
    with pytest.raises(ConfigError, match=r"study\.json: is damaged") as error:
        sweep_report.write(tmp_path, "en")
    assert len(str(error.value).splitlines()) == 1
    with pytest.raises(ConfigError, match="cannot be read"):
        study_records.load(tmp_path / "nowhere")


def test_both_languages_say_the_same_things() -> None:
    english, chinese = findings.phrases("sweep", "en"), findings.phrases("sweep", "zh")
    assert english.keys() == chinese.keys()
    for key in english:
        assert set(re.findall(r"{(\w*)", english[key])) == set(re.findall(r"{(\w*)", chinese[key])), key


def test_the_numbers_need_nothing_heavy() -> None:
    code = "import sys, training.effects; print([m for m in ('torch', 'optuna', 'matplotlib', 'pandas') if m in sys.modules])"
    root = Path(__file__).resolve().parents[1]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True).stdout == "[]\n"


def test_thousands_of_trials_take_seconds(tmp_path: Path) -> None:
    put(tmp_path, lively(2304))
    began = time.process_time()
    sweep_report.write(tmp_path, "en")
    assert time.process_time() - began < 10
    assert (tmp_path / "report.html").stat().st_size < 2_000_000


# ---- in a browser


@pytest.mark.skipif(not (shutil.which("chromium") and shutil.which("chromedriver")), reason="chromium or chromedriver is not installed")
def test_the_page_opens_from_disk_without_a_network(tmp_path: Path) -> None:
    pytest.importorskip("selenium.webdriver", reason="selenium is not installed (requirements-dev.txt)")
    from test_page import Page

    sweep_report.write(put(tmp_path, lively(60)), "zh")
    page = Page((tmp_path / "report.html").as_uri(), "zh-CN", tmp_path / "profile")
    try:
        page.driver.execute_cdp_cmd("Network.enable", {})
        offline = {"offline": True, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0}
        page.driver.execute_cdp_cmd("Network.emulateNetworkConditions", offline)
        inks = []
        for scheme in ("light", "dark"):
            media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
            page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
            for width in (390, 1200):
                size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
                page.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
                page.driver.get(page.url)
                assert page.driver.execute_script("return document.documentElement.scrollWidth") <= width  # tables scroll in their box
                shot = tmp_path / f"{scheme}-{width}.png"
                assert page.driver.save_screenshot(str(shot)) and shot.stat().st_size > 10_000
            look = "getComputedStyle(document.querySelector('svg text')).fill"
            inks.append(page.driver.execute_script(f"return [{look}, getComputedStyle(document.body).color]"))
        print(f"screenshots: {tmp_path}")
        assert inks[0][0] == inks[0][1] and inks[1][0] == inks[1][1] and inks[0] != inks[1]  # axes are drawn in the page's ink
        assert page.driver.execute_script("return [window.hacked, document.querySelectorAll('img').length]") == [None, 0]
        assert page.hosts() == set() and page.complaints() == []
    finally:
        page.driver.quit()

"""What a sweep's report says, how it is written, and how it looks. `pytest tests/test_sweep_report.py`"""

from __future__ import annotations

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml
from sweep_studies import KNOBS, again, lively, put, study, trial, widths

from training.base.errors import ConfigError
from training.base.words import LANGUAGES, phrases
from training.sweeps import report
from training.sweeps.study_json import load_study

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
    lines = report.write(put(tmp_path, STUDIES[name]), "zh" if len(name) % 2 else "en")
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
    report.write(put(tmp_path, told), "zh")
    page, markdown = ((tmp_path / f"report.{kind}").read_text("utf-8") for kind in ("html", "md"))
    assert "&lt;script&gt;window.hacked" in page and "<script" not in page and "\x07" not in page + markdown
    outside = [line for line in markdown.splitlines() if not line.startswith("    ")]
    assert not any(re.search(r"(?<!\\)<(script|img|b>)", line) for line in outside) and "    输出: <script>" in markdown


def test_the_report_has_all_its_parts_in_the_language_asked_for(tmp_path: Path) -> None:
    for language in LANGUAGES:
        report.write(put(tmp_path, lively(60)), language)
        words = phrases("sweep", language)
        page = (tmp_path / "report.html").read_text("utf-8")
        for part in ("best", "knobs", "overfit", "interaction", "curves", "parallel", "time", "gallery", "failures", "speed"):
            assert f"<h2>{words[part]}</h2>" in page, part
        assert "Watanabe" in page and page.count("<svg") == 6 + len(KNOBS)
        assert not re.search(r"[\u4e00-\u9fff]", "".join(words.values())) or language == "zh"
    assert sorted(p.name for p in (tmp_path / "plots").iterdir()) == [
        f"{n}.png" for n in ("curves", "importance", "interaction", "parallel", "rise", "slices", "time")
    ]


def test_the_report_says_how_the_study_searched_and_how_trials_ended(tmp_path: Path) -> None:
    trials = [trial(n, {}, None, "failed", ended=how, reason=f"because {how}") for n, how in enumerate(["not finite", "refused", "odd"])]
    put(tmp_path, study(trials))
    report.write(tmp_path, "zh")
    page = (tmp_path / "report.md").read_text("utf-8")
    assert "搜索方法，剪枝方法 median，任务 gpt" in page
    assert "| 损失不是有限的数 |" in page and "| 训练前被拒绝 |" in page and "| odd |" in page
    put(tmp_path, study(trials, prune="none"))
    report.write(tmp_path, "en")
    assert "tpe search method, nothing pruned, task gpt" in (tmp_path / "report.md").read_text("utf-8")


def test_an_effect_is_told_beside_noise(tmp_path: Path) -> None:
    trials = widths((32, 1.0), (64, 1.1))
    report.write(put(tmp_path, study(trials)), "en")
    assert "Effect: 0.1, from 64" in (page := (tmp_path / "report.md").read_text("utf-8")) and "no setting has three runs" in page
    trials += [again(2, trials[0], 1.2), again(3, trials[0], 0.8)]
    report.write(put(tmp_path, study(trials)), "en")
    assert "This is within noise: the seed alone can make two such means differ by up to" in (tmp_path / "report.md").read_text("utf-8")


def test_every_setting_in_the_table_of_the_best_is_compared_with_the_first(tmp_path: Path) -> None:
    trials = widths((32, 1.0), (64, 1.1), (128, 9.0))
    trials += [again(3 + k, trials[k % 3], trials[k % 3]["value"] + (-0.1, 0.1)[k // 3]) for k in range(6)]
    report.write(put(tmp_path, study(trials)), "en")
    rows = re.findall(r"^\| \[\d+\]\(.*$", (tmp_path / "report.md").read_text("utf-8"), flags=re.M)
    words = phrases("sweep", "en")
    assert [row.split(" | ")[2] for row in rows] == [words["the_best"], words["within"], words["beyond"]]


def test_why_there_is_no_importance_is_told_with_the_number_that_counts(tmp_path: Path) -> None:
    trials = widths(*((32, 1.0 + n) for n in range(9)))
    trials += [again(9 + n, trials[n], 1.0) for n in range(6)]
    report.write(put(tmp_path, study(trials)), "en")
    assert "it needs 10 complete ones without repeats, and there are 9." in (tmp_path / "report.md").read_text("utf-8")
    report.write(put(tmp_path, study(widths(*((32, 1.0) for _ in range(12))))), "en")
    page = (tmp_path / "report.md").read_text("utf-8")
    assert "none of the 12 complete trials (repeats not counted) stand out" in page and "too few" not in page


def test_the_best_setting_can_be_copied_into_a_config(tmp_path: Path) -> None:
    for value in (1e-05, 0.00123456, 1e16, 3.0, 1.5e-7, 7, "1cycle", None, True):
        put(tmp_path, study([trial(0, {"model.hidden_size": value}, 1.0)]))
        printed = report.write(tmp_path, "en")[0]
        (row,) = re.findall(r"^\| model.hidden\\?_size \| (\S+) \|$", (tmp_path / "report.md").read_text("utf-8"), flags=re.M)
        read = yaml.safe_load(row)
        assert (read, type(read)) == (value, type(value)) and printed.endswith(f"hidden_size {row}")


def test_a_later_report_keeps_no_picture_of_an_earlier_one(tmp_path: Path) -> None:
    report.write(put(tmp_path, lively(40)), "en")
    report.write(put(tmp_path, study([])), "en")
    assert list((tmp_path / "plots").iterdir()) == []


@pytest.mark.parametrize("text", ["", "[]", "{", '{"trials": 3}', "null", json.dumps(study([{"number": 0}])), "[" * 100_000, "\x00",
                                  json.dumps(study([trial(0, {}, 1.0) | {"state": "odd"}])),
                                  json.dumps(study([trial(0, {}, 1.0) | {"curve": 3}])), json.dumps(study([], objectives=[]))])  # fmt: skip
def test_a_damaged_study_is_one_plain_line(text: str, tmp_path: Path) -> None:
    (tmp_path / "study.json").write_text(text)
    with pytest.raises(ConfigError, match=r"study\.json: is damaged") as error:
        report.write(tmp_path, "en")
    assert len(str(error.value).splitlines()) == 1
    with pytest.raises(ConfigError, match="cannot be read"):
        load_study(tmp_path / "nowhere")


def test_both_languages_say_the_same_things() -> None:
    english, chinese = phrases("sweep", "en"), phrases("sweep", "zh")
    assert english.keys() == chinese.keys()
    for key in english:
        assert set(re.findall(r"{(\w*)", english[key])) == set(re.findall(r"{(\w*)", chinese[key])), key


def test_thousands_of_trials_make_a_page_that_a_browser_can_open(tmp_path: Path) -> None:
    put(tmp_path, lively(2304))
    report.write(tmp_path, "en")
    assert (tmp_path / "report.html").stat().st_size < 2_000_000


# ---- in a browser


@pytest.mark.skipif(not (shutil.which("chromium") and shutil.which("chromedriver")), reason="chromium or chromedriver is not installed")
def test_the_page_opens_from_disk_without_a_network(tmp_path: Path) -> None:
    pytest.importorskip("selenium.webdriver", reason="selenium is not installed (requirements-dev.txt)")
    from test_page import Page

    report.write(put(tmp_path, lively(60)), "zh")
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

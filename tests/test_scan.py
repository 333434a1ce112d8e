"""The first pass over a corpus: every bad row counted once and told, filters, duplicates, and what is kept of it."""

import json
import os

import pytest
from test_corpus import jsonl, opened, pair, quarantine, rows_of, texts, told

from training.base.errors import ConfigError
from training.corpus.filters import length
from training.corpus.text_files import MAX_RECORD_BYTES
from training.settings.config import FiltersConfig, SourceConfig


def test_each_bad_row_is_counted_once_with_its_file_and_line(tmp_path):
    path = tmp_path / "a.jsonl"
    lines = [
        json.dumps(pair("好", "good")), "{broken", json.dumps(pair("一", None)), json.dumps(pair("二", 2)), json.dumps(pair("三", " ")),
        '{"chinese": "四", "english": "\\udfff"}', json.dumps(pair("x" * 90, "too long")), json.dumps(pair("好", "good")),
        json.dumps(pair("同", "同")), json.dumps({"english": "no Chinese"}), json.dumps(pair("坏", "bad")),
    ]  # fmt: skip
    path.write_bytes("\n".join(lines).encode() + b'\n{"chinese": "\xff", "english": "five"}\n')
    with path.open("a") as f:
        f.write("y" * (MAX_RECORD_BYTES + 1))
    corpus, _ = opened(tmp_path, train=str(path), filters=FiltersConfig(max_chars=80))
    assert corpus.report["rejected"] == {
        "malformed": 1, "missing_field": 2, "wrong_type": 1, "empty": 1, "not_utf8": 2, "too_long": 2, "duplicate": 1, "identical": 1,
    }  # fmt: skip
    assert corpus.report["rows_read"] == 13 and corpus.report["rows_kept"] == corpus.count() == 2
    found = quarantine(tmp_path)
    assert [(q["line"], q["reason"]) for q in found] == [
        (2, "malformed"), (3, "missing_field"), (4, "wrong_type"), (5, "empty"), (6, "not_utf8"), (7, "too_long"), (8, "duplicate"),
        (9, "identical"), (10, "missing_field"), (12, "not_utf8"), (13, "too_long"),
    ]  # fmt: skip
    assert all(q["file"] == str(path) for q in found)
    assert found[0]["data"] == "{broken" and "'english' is int, not text" in found[2]["detail"] and "\\xff" in found[9]["data"]
    line = told(corpus.report)
    assert line.startswith("2 of 13 rows used; rejected: ") and "2 missing_field" in line and "1 wrong_type" in line
    assert f"(first: {path}:2: not JSON" in line and line.endswith(f"; all in {tmp_path / 'scan' / 'quarantine.jsonl'})")


def test_lines_are_right_where_rows_take_several(tmp_path):
    (tmp_path / "a.csv").write_text('chinese,english\n"一\n二",one two\n三,\n四,four\n', "utf-8")
    (tmp_path / "b.txt").write_text("\n\n一首\n两行\n\n\n\nxx\n\n第三首\n", "utf-8")
    corpus, _ = opened(tmp_path, train=str(tmp_path / "a.csv"))
    assert [(q["line"], q["reason"]) for q in quarantine(tmp_path)] == [(4, "empty")]
    assert [corpus.where(0, r).rsplit(":")[-1] for r in (0, 2)] == ["2", "5"]
    corpus, _ = opened(
        tmp_path, "gpt", train=str(tmp_path / "b.txt"), document="blank_line", filters=FiltersConfig(min_chars=3), folder="b",
    )  # fmt: skip
    assert sorted(r["text"] for r in rows_of(corpus)) == ["一首\n两行", "第三首"]
    assert [(q["line"], q["reason"]) for q in quarantine(tmp_path, "b")] == [(8, "too_short")]
    assert corpus.where(0, 2).endswith("b.txt:10")


def test_only_the_first_hundred_are_written_down(tmp_path):
    path = jsonl(tmp_path / "a.jsonl", ["{"] * 250 + [pair("好", "good")])
    corpus, _ = opened(tmp_path, train=path)
    assert corpus.report["rejected"] == {"malformed": 250} and len(quarantine(tmp_path)) == 100
    assert f"; the first 100 in {tmp_path / 'scan' / 'quarantine.jsonl'})" in told(corpus.report)
    jsonl(tmp_path / "a.jsonl", [pair("好", "good")])
    opened(tmp_path, train=path)
    assert not (tmp_path / "scan" / "quarantine.jsonl").exists(), "nothing is rejected any more"


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("{", "malformed"),
        (pair("好", 1), "wrong_type"),
        (pair("好", ""), "empty"),
        ({"chinese": "好"}, "missing_field"),
        (pair("好" * 99, "x"), "too_long"),
    ],
)
def test_strict_names_file_and_line(tmp_path, bad, reason):
    path = jsonl(tmp_path / "a.jsonl", [pair("好", "good"), pair("好", "good"), bad])
    with pytest.raises(ConfigError, match=rf"a\.jsonl:3: {reason}: .*corpus\.strict is on"):
        opened(tmp_path, train=path, strict=True, filters=FiltersConfig(max_chars=50))
    good = jsonl(tmp_path / "a.jsonl", [pair("好", "good"), pair("好", "good"), pair("同", "同")])
    assert opened(tmp_path, train=good, strict=True)[0].count() == 1, "what a filter leaves out is no fault of the file"
    (tmp_path / "a.txt").write_text("一行\n\n又一行\n", "utf-8")
    assert opened(tmp_path, "gpt", train=str(tmp_path / "a.txt"), strict=True)[0].count() == 2, "blank lines of a text are no fault"


def test_nothing_left_says_why(tmp_path):
    path = jsonl(tmp_path / "a.jsonl", ["{", "{", pair("好", None)])
    with pytest.raises(ConfigError) as caught:
        opened(tmp_path, train=path)
    told = str(caught.value)
    assert (
        f"{path}: no usable row among 3: 2 malformed (first: {path}:1: not JSON" in told
        and f"1 missing_field (first: {path}:3: no 'english'" in told
    )
    with pytest.raises(ConfigError, match=r"among 1: nothing in it; 1 not selected by `where`"):
        opened(tmp_path, train=SourceConfig(jsonl(tmp_path / "b.jsonl", [pair("好", "good")]), where={"source": "tatoeba"}))
    (tmp_path / "empty.txt").write_text("")
    with pytest.raises(ConfigError, match=r"empty\.txt: no usable row among 0: nothing in it"):
        opened(tmp_path, "gpt", train=str(tmp_path / "empty.txt"))


@pytest.mark.parametrize(
    ("filters", "row", "reason"),
    [
        ({"max_chars": 5}, pair("一二三四五六", "six"), "too_long"), ({"max_chars": 5}, pair("一二", "twelve"), "too_long"),
        ({"min_chars": 3}, pair("一二", "two words"), "too_short"), ({"identical": True}, pair("OK 好", "OK 好"), "identical"),
        ({"max_ratio": 3}, pair("好", "this is a rather long sentence for one character"), "ratio"),
        ({"max_ratio": 3}, pair("这是一个很长很长的句子不是吗", "Yes."), "ratio"),
        ({"script": True}, pair("This is English", "So is this."), "script"), ({"script": True}, pair("这是中文", "这也是中文"), "script"),
    ],
)  # fmt: skip
def test_filters(tmp_path, filters, row, reason):
    good = pair("我们今天去", "Go now" if "max_chars" not in filters else "go")
    path = jsonl(tmp_path / "a.jsonl", [good, row])
    assert opened(tmp_path, train=path, filters=FiltersConfig(**filters))[0].report["rejected"] == {reason: 1}
    off = FiltersConfig(min_chars=0, identical=False, duplicates=False)
    assert opened(tmp_path, train=path, filters=off)[0].count() == 2


def test_duplicates_across_files_and_only_of_pairs(tmp_path):
    first = jsonl(tmp_path / "a.jsonl", [pair("好", "good"), pair("好", "fine")])
    second = jsonl(tmp_path / "b.jsonl", [pair("好", "good"), pair("坏", "bad")])
    assert opened(tmp_path, train=[first, second])[0].report["rejected"] == {"duplicate": 1}
    assert opened(tmp_path, train=[first, second], filters=FiltersConfig(duplicates=False))[0].count() == 4
    assert opened(tmp_path, "gpt", train=jsonl(tmp_path / "c.jsonl", [{"text": "叠句"}] * 3))[0].count() == 3


def test_many_rows_are_not_taken_for_duplicates(tmp_path):
    path = jsonl(tmp_path / "a.jsonl", [pair(f"第{i}句", f"sentence {i}") for i in range(20_000)])
    assert opened(tmp_path, train=path)[0].count() == 20_000


@pytest.fixture
def scans(monkeypatch):
    from training.corpus import prepare, scan

    count, real = [], scan.scan
    monkeypatch.setattr(prepare, "scan", lambda *args: count.append(1) or real(*args))
    return count


def test_the_scan_is_kept_while_files_and_config_are_the_same(tmp_path, scans):
    path = jsonl(tmp_path / "a.jsonl", texts(600))
    first, _ = opened(tmp_path, "gpt", train=path, validation_share=0.1)
    again, _ = opened(tmp_path, "gpt", train=path, validation_share=0.1, seed=2)
    assert len(scans) == 1 and again.report == first.report and [s.tolist() for s in again.states] == [s.tolist() for s in first.states]
    opened(tmp_path, "gpt", train=path, validation_share=0.2)
    assert len(scans) == 2, "another config"
    jsonl(tmp_path / "a.jsonl", texts(601))
    assert opened(tmp_path, "gpt", train=path, validation_share=0.2)[0].report["rows_read"] == 601 and len(scans) == 3
    jsonl(tmp_path / "b.jsonl", texts(10))
    for _ in range(2):
        opened(tmp_path, "gpt", train=str(tmp_path / "*.jsonl"), validation_share=0.2)
    assert len(scans) == 4, "another file under the glob"
    os.truncate(tmp_path / "scan" / "scan.npz", 50)
    assert opened(tmp_path, "gpt", train=str(tmp_path / "*.jsonl"), validation_share=0.2)[0].report["rows_read"] == 611
    assert len(scans) == 5, "half of a scan is none"


def test_a_file_that_changes_during_the_run_is_told(tmp_path):
    path = jsonl(tmp_path / "a.jsonl", texts(600))
    corpus, _ = opened(tmp_path, "gpt", train=path)
    jsonl(tmp_path / "a.jsonl", texts(500))
    with pytest.raises(ConfigError, match=r"a\.jsonl: changed since the run began"):
        rows_of(corpus)
    jsonl(tmp_path / "a.jsonl", [{"text": "x"}] * 600)
    with pytest.raises(ConfigError, match=r"a\.jsonl: changed since the run began"):
        rows_of(corpus)


def test_punctuation_is_no_english_word():
    assert length("你好 ， 世界 。 ！ ？") == 4 and length("Well , I never ! 3") == pytest.approx(1.6 * 4)


def test_a_file_that_may_not_be_read_stops_the_scan(tmp_path, monkeypatch):
    path = jsonl(tmp_path / "a.jsonl", texts(3))

    def refuse(path, *more, **options):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr("training.corpus.text_files.open", refuse, raising=False)
    with pytest.raises(ConfigError) as caught:
        opened(tmp_path, "gpt", train=path)
    assert str(caught.value) == f"{path}: cannot be read (Permission denied)"

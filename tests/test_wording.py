"""What findings and preflight's page say: both languages with the same numbers, and numbers that read well."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from training.base.words import LANGUAGES, phrases, size, spoken
from training.diagnosis.finding import Finding, worst_first
from training.estimate import page

BOOKS = sorted({p.name.split(".")[0] for p in (Path(__file__).resolve().parent.parent / "training/base/wording").glob("*.yaml")})


@pytest.mark.parametrize("book", BOOKS)
def test_both_languages_say_the_same_with_the_same_numbers(book: str) -> None:
    zh, en = ({k: v for k, v in phrases(book, lang).items()} for lang in LANGUAGES)
    assert set(zh) == set(en)
    for key in zh:
        assert isinstance(zh[key], dict) == isinstance(en[key], dict) and (not isinstance(zh[key], dict) or set(zh[key]) == set(en[key]))
        for part in zh[key] if isinstance(zh[key], dict) else (None,):
            ours, theirs = (w[key][part] if part else w[key] for w in (zh, en))
            fields = [sorted(set(re.findall(r"\{(\w*)[^}]*\}", str(words)))) for words in (ours, theirs)]
            assert fields[0] == fields[1] or set(fields[0]) <= set(fields[1]), f"{book}: {key}"
            assert re.search("[\u4e00-\u9fff]", str(ours)) or not re.search("[a-z]{4}", str(theirs)) or key.startswith(("float32", "bf16"))


def test_the_language_is_the_one_asked_for_or_the_locales(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LC_ALL", "LC_MESSAGES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LANG", "zh_CN.UTF-8")
    assert spoken() == "zh" and spoken("en") == "en"
    monkeypatch.setenv("LC_MESSAGES", "C.UTF-8")
    assert spoken() == "en"
    monkeypatch.setenv("LC_MESSAGES", "zh_TW")
    monkeypatch.setenv("LANG", "de_DE")
    assert spoken() == "zh"
    monkeypatch.setenv("LC_ALL", "C")
    assert spoken() == "en"


def test_findings_come_worst_first() -> None:
    some = [Finding("a", "note"), Finding("b", "problem"), Finding("c", "warning")]
    assert [f.id for f in worst_first(some)] == ["b", "c", "a"]


def test_numbers_on_the_page_read_well() -> None:
    books = {lang: phrases("page", lang) for lang in LANGUAGES}
    found: dict[str, Any] = {
        "data": {"rows": 1, "tokens": 60, "tokens_per_step": 60},
        "parameters": {"total": 1_000_000},
        "horizon": {"steps": 250, "epochs": 250.0, "steps_per_epoch": 1},
        "forecast": {"overfit_step": 104, "overfit_epoch": 104.0, "factor": 2.0},
        "vocabulary": {
            "size": 90,
            "training_bytes": 1e6,
            "seen_once": 0.1,
            "columns": {"text": {"tokens_per_text": 24.73, "tokens_per_character": 1.0}},
            "frequencies": {"at_least": {str(k): {"size": n, "coverage": n / 90} for k, n in ((2, 30), (5, 0), (10, 0), (20, 0))}},
        },
        "time": {
            "measured": False,
            "seconds": 9.0,
            "step_seconds": 0.1,
            "starting_seconds": 0.08,
            "operations_per_step": 2000,
            "tokens_per_second": 1.0,
            "flops_per_step": 1e9,
            "achieved_flops": 1e12,
            "utilisation": 0.3,
            "money": 0.0004,
        },
    }
    told = {lang: "\n".join([*page.data(found, w), *page.vocabulary(found, w), *page.time(found, w)]) for lang, w in books.items()}
    assert "平均每个参数 0.00006 个" in told["zh"] and "约第 104 个 epoch" in told["zh"] and "费用：0.0004" in told["zh"]
    assert "steps an epoch: 1" in told["en"] and "text: 1.0 tokens a character, 24.73 a row" in told["en"]
    assert "5 leaves 0" in told["en"] and "10 leaves" not in told["en"]


def test_sizes_and_times_read_well() -> None:
    words = phrases("page", "zh")
    assert [size(n) for n in (3e6, 2.5e8, 7.25e9)] == ["3.0 MB", "250 MB", "7.25 GB"]
    assert [page.duration(s, words) for s in (50, 600, 7200, 400_000)] == ["50 秒", "10.0 分钟", "2.0 小时", "4.6 天"]

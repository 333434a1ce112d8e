"""The embedded verses and the sentence: what the README promises of them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
HAN = re.compile(r"[\u4e00-\u9fff]")
VERSES = [json.loads(line) for line in (ROOT / "data/verses.jsonl").read_text(encoding="utf-8").splitlines()]


def han(text: str) -> str:
    return "".join(HAN.findall(text))


def runs(text: str, n: int) -> set[str]:
    """Runs of n Chinese characters, punctuation left out."""
    text = han(text)
    return {text[i : i + n] for i in range(len(text) - n + 1)}


def test_there_are_enough_verses_each_with_its_english() -> None:
    assert len(VERSES) >= 320
    for verse in VERSES:
        assert set(verse) == {"chinese", "english"}
        assert 10 <= len(verse["chinese"]) <= 70 and not HAN.search(verse["english"])
        assert re.fullmatch(r"[\u4e00-\u9fff，。？！；：“”、…—]+", verse["chinese"]), verse
        assert (verse["chinese"][-1] in "。？！”…" and verse["english"][0].isupper()) or verse["english"][0] in '"“'


def test_no_verse_repeats_another() -> None:
    assert len({v["chinese"] for v in VERSES}) == len({v["english"] for v in VERSES}) == len(VERSES)
    seen: set[str] = set()
    for verse in VERSES:
        mine = runs(verse["chinese"], 8)
        assert not mine & seen, verse
        seen |= mine


def test_the_verses_are_not_tagores() -> None:
    book = ROOT.parent / "shared/corpora/text/stray_birds.zh.txt"
    if not book.exists():
        pytest.skip(f"{book.name} is not beside the project")
    of_book = runs(book.read_text(encoding="utf-8"), 7)
    assert not [v for v in VERSES if runs(v["chinese"], 7) & of_book]


def test_the_sentence_is_one_line() -> None:
    text = (ROOT / "data/sentence.txt").read_text(encoding="utf-8")
    assert text.endswith("\n") and len(text.splitlines()) == 1 and 20 <= len(text) <= 80

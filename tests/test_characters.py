"""training.base.characters: what counts as a Chinese character, for the trainer and for the page."""

from __future__ import annotations

import re
import sys
import unicodedata
from pathlib import Path

import pytest

from training.base.characters import HAN, HAN_RUN, LATIN_RUN

ROOT = Path(__file__).resolve().parent.parent
UNIFIED = ("CJK UNIFIED IDEOGRAPH-", "CJK COMPATIBILITY IDEOGRAPH-")


@pytest.mark.parametrize("character", ["鸟", "㐀", "〇", "豈", "𠀀", "𪚥", "𫝀"])
def test_ideographs_are_han(character: str) -> None:
    assert HAN.fullmatch(character) and HAN_RUN.fullmatch(character * 2)


@pytest.mark.parametrize("character", ["䷀", "䷿", "。", "々", "あ", "한", "ㄅ", "A", "Ａ", "7", "🐦"])
def test_hexagrams_and_what_else_is_near_are_not(character: str) -> None:
    assert not HAN.search(character)


def test_han_is_what_unicode_calls_ideographs() -> None:
    named = {c for c in range(sys.maxunicode + 1) if unicodedata.name(chr(c), "").startswith(UNIFIED)} | {0x3007}
    matched = {c for c in range(sys.maxunicode + 1) if HAN.match(chr(c))}
    assert named <= matched
    assert all(unicodedata.category(chr(c)) == "Cn" for c in matched - named), "of the rest of the blocks, nothing is assigned"


def test_latin_letters_have_their_accents() -> None:
    assert LATIN_RUN.findall("café 鸟 naïve 7") == ["café", "naïve"]


def test_the_range_is_written_once() -> None:
    files = [ROOT / "app.py", *(p for room in ("training", "inference", "serving") for p in (ROOT / room).rglob("*.py"))]
    written = [str(p.relative_to(ROOT)) for p in files if re.search("(?i)u3400", p.read_text(encoding="utf-8"))]
    assert written == ["training/base/characters.py"]

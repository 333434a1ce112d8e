"""Sentences in two languages: the books in wording/*.yaml, which language is spoken, and sizes in words. Light: no torch."""

from __future__ import annotations

import locale
import os
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml

Language = Literal["zh", "en"]

LANGUAGES: tuple[Language, ...] = ("zh", "en")


def size(count: float, digits: int = 2) -> str:
    """Bytes in words."""
    return f"{count / 1e9:.{digits}f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB" if count >= 1e7 else f"{count / 1e6:.1f} MB"


def sizes(a: float, b: float) -> tuple[str, str]:
    """Two numbers of bytes in words, with so many digits that they differ, if they do."""
    for digits in range(1, 10):
        told = (size(a, digits), size(b, digits))
        if told[0] != told[1]:
            return told
    return f"{a:,.0f} B", f"{b:,.0f} B"


def phrases(book: str, language: Language) -> dict[str, Any]:
    """The words of `wording/<book>.<language>.yaml`."""
    return _book(book, language)


@cache
def _book(book: str, language: Language) -> dict[str, Any]:
    path = Path(__file__).parent / "wording" / f"{book}.{language}.yaml"
    words: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return words


_preferred: str | None = None  # what the command's `--lang` says while it runs


def prefer(language: str | None) -> None:
    """From here on `spoken` takes this language where it took the locale's; None: the locale's again."""
    global _preferred
    _preferred = language


def spoken(*asked_for: str | None) -> Language:
    """The first language asked for, `auto` and None aside; otherwise that of `prefer`, the locale's (LC_ALL, LC_MESSAGES, LANG, the
    system's), or English."""
    lang = next((one for one in asked_for if one and one != "auto"), _preferred)
    asked = lang or os.environ.get("LC_ALL") or os.environ.get("LC_MESSAGES") or os.environ.get("LANG") or locale.getlocale()[0] or ""
    return "zh" if asked.lower().startswith(("zh", "chinese")) else "en"

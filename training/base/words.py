"""Sentences in two languages (wording/*.yaml), the choice between them, and sizes in words. Imports no torch."""

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
    """A number of bytes in words, such as "1.25 GB"; `digits` are those after the point of gigabytes."""
    return f"{count / 1e9:.{digits}f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB" if count >= 1e7 else f"{count / 1e6:.1f} MB"


def sizes(a: float, b: float) -> tuple[str, str]:
    """Two numbers of bytes in words, with enough digits to tell different numbers apart."""
    for digits in range(1, 10):
        texts = (size(a, digits), size(b, digits))
        if texts[0] != texts[1]:
            return texts
    return f"{a:,.0f} B", f"{b:,.0f} B"


def phrases(book: str, language: Language) -> dict[str, Any]:
    """The sentences in `wording/<book>.<language>.yaml`, by key."""
    return _book(book, language)


@cache
def _book(book: str, language: Language) -> dict[str, Any]:
    path = Path(__file__).parent / "wording" / f"{book}.{language}.yaml"
    words: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return words


_preferred: str | None = None  # the value of `--lang` while a command runs


def prefer(language: str | None) -> None:
    """Make `spoken` prefer this language to the locale's from here on; None undoes that."""
    global _preferred
    _preferred = language


def spoken(*asked_for: str | None) -> Language:
    """The language of the output: the first of `asked_for` that is not None or `auto`, else the one set by `prefer`, else the locale's
    (LC_ALL, LC_MESSAGES, LANG, the system's), else English."""
    choice = next((language for language in asked_for if language and language != "auto"), _preferred)
    environment = os.environ.get("LC_ALL") or os.environ.get("LC_MESSAGES") or os.environ.get("LANG")
    name = choice or environment or locale.getlocale()[0] or ""
    return "zh" if name.lower().startswith(("zh", "chinese")) else "en"

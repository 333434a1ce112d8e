"""What preflight and doctor have to say: a finding is an id, a severity and numbers; its words are in wording/*.yaml.

Light: no torch, so that the app can show findings in the language of its page.
"""

from __future__ import annotations

import locale
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml

Language = Literal["zh", "en"]
Severity = Literal["note", "warning", "problem"]
LANGUAGES: tuple[Language, ...] = ("zh", "en")
SEVERITIES: tuple[Severity, ...] = ("problem", "warning", "note")  # worst first


@dataclass(frozen=True)
class Finding:
    """Something that a user should know.

    Attributes:
        id: names the sentence in `wording/<book>.<language>.yaml`.
        severity: `problem`: it will not work or did not; `warning`: it costs something; `note`: worth knowing.
        evidence: the numbers that the sentence is made from, and that a program can read.
        source: the paper or rule that the judgement is from; empty for plain arithmetic.
        book: `preflight` or `doctor`.
    """

    id: str
    severity: Severity
    evidence: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""
    book: str = "preflight"

    def text(self, language: Language) -> str:
        """What was found, in one or two sentences with its numbers."""
        return _words(self.book, language)[self.id]["text"].format(**self._told(language))

    def advice(self, language: Language) -> str:
        """One thing to try."""
        return _words(self.book, language)[self.id]["try"].format(**self._told(language))

    def _told(self, language: Language) -> dict[str, Any]:
        """The evidence as a sentence has it: a part of the memory by its name in that language, gigabytes as two that differ."""
        told, part = dict(self.evidence), self.evidence.get("part")
        if part:
            told["part"] = _words("page", language)[part]
        if "available" in told:
            told["needed"], told["there"] = sizes(1e9 * told["gigabytes"], 1e9 * told["available"])
        return told

    def as_dict(self, language: Language) -> dict[str, Any]:
        """For `--json true`: id, severity, text, evidence, try, source."""
        return {
            "id": self.id, "severity": self.severity, "text": self.text(language), "evidence": dict(self.evidence),
            "try": self.advice(language), "source": self.source,
        }  # fmt: skip


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


def worst_first(findings: list[Finding]) -> list[Finding]:
    """Problems, then warnings, then notes; otherwise in the order given."""
    return sorted(findings, key=lambda f: SEVERITIES.index(f.severity))


def lines(findings: list[Finding], language: Language) -> list[str]:
    """Findings as Markdown list items, each with what to try."""
    names = phrases("findings", language)
    told = []
    for f in worst_first(findings):
        told.append(f"- **{names[f.severity]}** {f.text(language)}  ")  # two spaces: Markdown's line break
        told.append(f"  → {f.advice(language)}" + (f" ({f.source})" if f.source else ""))
    return told


def phrases(book: str, language: Language) -> dict[str, Any]:
    """The words of `wording/<book>.<language>.yaml`."""
    return _words(book, language)


@cache
def _words(book: str, language: Language) -> dict[str, Any]:
    path = Path(__file__).parent / "wording" / f"{book}.{language}.yaml"
    words: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return words


def spoken(*asked_for: str | None) -> Language:
    """The first language asked for, `auto` and None aside; otherwise the locale's (LC_ALL, LC_MESSAGES, LANG, the system's), or English."""
    lang = next((one for one in asked_for if one and one != "auto"), None)
    asked = lang or os.environ.get("LC_ALL") or os.environ.get("LC_MESSAGES") or os.environ.get("LANG") or locale.getlocale()[0] or ""
    return "zh" if asked.lower().startswith(("zh", "chinese")) else "en"

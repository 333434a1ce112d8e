"""What preflight and doctor have to say: a finding is an id, a severity and numbers; its words are in base/wording/*.yaml.

Light: no torch, so that the app can show findings in the language of its page.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from training.base.words import Language, _book, phrases, sizes

Severity = Literal["note", "warning", "problem"]

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
        return _book(self.book, language)[self.id]["text"].format(**self._told(language))

    def advice(self, language: Language) -> str:
        """One thing to try."""
        return _book(self.book, language)[self.id]["try"].format(**self._told(language))

    def _told(self, language: Language) -> dict[str, Any]:
        """The evidence as a sentence has it: a part of the memory by its name in that language, gigabytes as two that differ."""
        told, part = dict(self.evidence), self.evidence.get("part")
        if part:
            told["part"] = _book("page", language)[part]
        if "available" in told:
            told["needed"], told["there"] = sizes(1e9 * told["gigabytes"], 1e9 * told["available"])
        return told

    def as_dict(self, language: Language) -> dict[str, Any]:
        """For `--json true`: id, severity, text, evidence, try, source."""
        return {
            "id": self.id, "severity": self.severity, "text": self.text(language), "evidence": dict(self.evidence),
            "try": self.advice(language), "source": self.source,
        }  # fmt: skip


def worst_first(findings: list[Finding]) -> list[Finding]:
    """Problems, then warnings, then notes; otherwise in the order given."""
    return sorted(findings, key=lambda f: SEVERITIES.index(f.severity))


def finding_lines(findings: list[Finding], language: Language) -> list[str]:
    """Findings as Markdown list items, each with what to try."""
    names = phrases("findings", language)
    told = []
    for f in worst_first(findings):
        told.append(f"- **{names[f.severity]}** {f.text(language)}  ")  # two spaces: Markdown's line break
        told.append(f"  → {f.advice(language)}" + (f" ({f.source})" if f.source else ""))
    return told

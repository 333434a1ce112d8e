"""A finding of preflight or the doctor: an id, a severity and numbers. Its sentences are in base/wording/*.yaml.

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
        severity: `problem` (the run cannot work or did not), `warning` (it costs something) or `note` (worth knowing).
        evidence: the numbers in the sentence, for programs too.
        source: the paper or rule behind the judgement; empty for plain arithmetic.
        book: whose sentences these are, `preflight` or `doctor`.
    """

    id: str
    severity: Severity
    evidence: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""
    book: str = "preflight"

    def text(self, language: Language) -> str:
        """One or two sentences that say what is the matter, with the numbers."""
        return _book(self.book, language)[self.id]["text"].format(**self._values(language))

    def advice(self, language: Language) -> str:
        """One thing to try."""
        return _book(self.book, language)[self.id]["try"].format(**self._values(language))

    def _values(self, language: Language) -> dict[str, Any]:
        """The values that go into the sentence: the evidence, with a part of the memory named in that language.

        Needed and available memory get as many digits as it takes to tell them apart.
        """
        values, part = dict(self.evidence), self.evidence.get("part")
        if part:
            values["part"] = _book("page", language)[part]
        if "available" in values:
            values["needed"], values["there"] = sizes(1e9 * values["gigabytes"], 1e9 * values["available"])
        return values

    def as_dict(self, language: Language) -> dict[str, Any]:
        """The finding as an object of `--json true`: id, severity, text, evidence, try, source."""
        return {
            "id": self.id, "severity": self.severity, "text": self.text(language), "evidence": dict(self.evidence),
            "try": self.advice(language), "source": self.source,
        }  # fmt: skip


def worst_first(findings: list[Finding]) -> list[Finding]:
    """Problems, then warnings, then notes; each kind keeps its order."""
    return sorted(findings, key=lambda f: SEVERITIES.index(f.severity))


def finding_lines(findings: list[Finding], language: Language) -> list[str]:
    """The findings as Markdown list items, the worst first, each with one thing to try."""
    names = phrases("findings", language)
    lines = []
    for f in worst_first(findings):
        lines.append(f"- **{names[f.severity]}** {f.text(language)}  ")  # two spaces: Markdown's line break
        lines.append(f"  → {f.advice(language)}" + (f" ({f.source})" if f.source else ""))
    return lines

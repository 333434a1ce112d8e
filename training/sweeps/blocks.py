"""The blocks of a sweep's report, rendered as Markdown and as one HTML page (templates/report.html.j2).

The template distinguishes the blocks by their `kind`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from training.base.templates import templates
from training.base.words import Language

TEMPLATES = templates(Path(__file__).parent / "templates")


@dataclass(frozen=True)
class Link:
    """A table cell that links to a file of the study."""

    text: str
    to: str


Cell = str | Link


@dataclass(frozen=True)
class Heading:
    """A heading: level 1 for the report, 2 for a section, 3 for a part of it."""

    kind: ClassVar[str] = "heading"
    text: str
    level: int = 2


@dataclass(frozen=True)
class Paragraph:
    """A paragraph. A `lead` sums up its section."""

    kind: ClassVar[str] = "text"
    text: str
    lead: bool = False


@dataclass(frozen=True)
class KeyNumbers:
    """A few important numbers, as (number, label) pairs."""

    kind: ClassVar[str] = "key_numbers"
    pairs: list[tuple[str, str]]


@dataclass(frozen=True)
class Table:
    """A table. Its first `words` columns are words, the others numbers; `plot` names a picture that stands beside it in the HTML."""

    kind: ClassVar[str] = "table"
    head: list[str]
    rows: list[list[Cell]]
    words: int = 1
    plot: str = ""


@dataclass(frozen=True)
class Plot:
    """A picture by its name. With `only_file` it is left out of the HTML, where its parts stand elsewhere."""

    kind: ClassVar[str] = "plot"
    name: str
    about: str
    only_file: bool = False


@dataclass(frozen=True)
class Rung:
    """A run in the gallery: a title, a line about the run, its samples as lists of (name, text), and notes."""

    kind: ClassVar[str] = "rung"
    title: str
    about: str
    texts: list[list[tuple[str, str]]]
    notes: list[str]


Block = Heading | Paragraph | KeyNumbers | Table | Plot | Rung


# ---- Markdown


def markdown(blocks: list[Block]) -> str:
    """The text of report.md."""
    lines: list[str] = []
    for b in blocks:
        match b:
            case Heading():
                lines += ["#" * b.level + " " + _plain(b.text)]
            case Paragraph():
                lines += [f"**{_plain(b.text)}**" if b.lead else _plain(b.text)]
            case KeyNumbers():
                lines += ["\n".join(f"- {_plain(value)} {_plain(what)}" for value, what in b.pairs)]
            case Table():
                rule = ["---" if k < b.words else "---:" for k in range(len(b.head))]
                rows = [[_plain(c) if isinstance(c, str) else f"[{c.text}]({c.to})" for c in row] for row in b.rows]
                lines += ["\n".join("| " + " | ".join(row) + " |" for row in [list(map(_plain, b.head)), rule, *rows])]
            case Plot():
                lines += [f"![{_plain(b.about)}](plots/{b.name}.png)", "" if b.only_file else _plain(b.about)]
            case Rung():
                texts = [f"{name}: {text}" for sample in b.texts for name, text in sample]
                code = "\n".join(
                    "    " + line for text in texts for line in text.splitlines()
                )  # indented, because the text could close a code fence
                lines += [f"### {_plain(b.title)}", _plain(b.about), code, *(_plain(note) for note in b.notes)]
    return _encodable("\n\n".join(line for line in lines if line) + "\n")


def _plain(text: str) -> str:
    """`text` on one line, with Markdown's special characters escaped."""
    return re.sub(r"([\\`*_\[\]<>#|])", r"\\\1", " ".join(text.split()))


def _encodable(text: str) -> str:
    """`text` with lone surrogates and control characters replaced, which a model may write but a file or page must not contain."""
    return re.sub(r"[\x00-\x08\x0b-\x1f\x7f]", "�", text.encode("utf-8", "replace").decode())


# ---- HTML


def html_page(blocks: list[Block], drawn: dict[str, str], language: Language) -> str:
    """The text of report.html; `drawn` has the pictures as SVG by name."""
    title = next(b.text for b in blocks if isinstance(b, Heading))
    page = TEMPLATES.get_template("report.html.j2").render(
        blocks=blocks, drawn=drawn, title=title, language={"zh": "zh-CN", "en": "en"}[language]
    )
    return _encodable(page + "\n")

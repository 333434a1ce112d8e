"""The blocks that a sweep's report is made of, as Markdown and as one HTML page (templates/report.html.j2).

The template asks a block for its `kind`.
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
    """A cell of a table that leads to a file of the study."""

    text: str
    to: str


Cell = str | Link


@dataclass(frozen=True)
class Heading:
    """Of a section; a smaller one of a part of it."""

    kind: ClassVar[str] = "heading"
    text: str
    level: int = 2


@dataclass(frozen=True)
class Text:
    """A paragraph; a `lead` says what the section comes to."""

    kind: ClassVar[str] = "text"
    text: str
    lead: bool = False


@dataclass(frozen=True)
class KeyNumbers:
    """A few numbers with what they are."""

    kind: ClassVar[str] = "key_numbers"
    pairs: list[tuple[str, str]]


@dataclass(frozen=True)
class Table:
    """`plot` is the name of a picture that stands beside it in the HTML; the first `words` columns are words, the others numbers."""

    kind: ClassVar[str] = "table"
    head: list[str]
    rows: list[list[Cell]]
    words: int = 1
    plot: str = ""


@dataclass(frozen=True)
class Plot:
    """A picture by its name; `only_file`: in the HTML its parts stand elsewhere."""

    kind: ClassVar[str] = "plot"
    name: str
    about: str
    only_file: bool = False


@dataclass(frozen=True)
class Rung:
    """A run in the gallery: a title, a line about it, and its texts with their names."""

    kind: ClassVar[str] = "rung"
    title: str
    about: str
    texts: list[list[tuple[str, str]]]
    notes: list[str]


Block = Heading | Text | KeyNumbers | Table | Plot | Rung


# ---- Markdown


def markdown(blocks: list[Block]) -> str:
    """report.md."""
    lines: list[str] = []
    for b in blocks:
        match b:
            case Heading():
                lines += ["#" * b.level + " " + _plain(b.text)]
            case Text():
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
                code = "\n".join("    " + line for text in texts for line in text.splitlines())  # a fence could be closed by the text
                lines += [f"### {_plain(b.title)}", _plain(b.about), code, *(_plain(note) for note in b.notes)]
    return _encodable("\n\n".join(line for line in lines if line) + "\n")


def _plain(text: str) -> str:
    """Text that Markdown shows as it is, on one line."""
    return re.sub(r"([\\`*_\[\]<>#|])", r"\\\1", " ".join(text.split()))


def _encodable(text: str) -> str:
    """Without half characters and control characters, which a model may write and no file or page may hold."""
    return re.sub(r"[\x00-\x08\x0b-\x1f\x7f]", "�", text.encode("utf-8", "replace").decode())


# ---- HTML


def html_page(blocks: list[Block], drawn: dict[str, str], language: Language) -> str:
    """report.html; `drawn` has the pictures by name, as SVG."""
    title = next(b.text for b in blocks if isinstance(b, Heading))
    page = TEMPLATES.get_template("report.html.j2").render(
        blocks=blocks, drawn=drawn, title=title, language={"zh": "zh-CN", "en": "en"}[language]
    )
    return _encodable(page + "\n")

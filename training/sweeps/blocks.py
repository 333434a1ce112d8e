"""The blocks that a sweep's report is made of, as Markdown and as one HTML page that asks the network for nothing."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass

from training.base.words import Language


@dataclass(frozen=True)
class Link:
    """A cell of a table that leads to a file of the study."""

    text: str
    to: str


Cell = str | Link


@dataclass(frozen=True)
class Heading:
    """Of a section; a smaller one of a part of it."""

    text: str
    level: int = 2


@dataclass(frozen=True)
class Text:
    """A paragraph; a `lead` says what the section comes to."""

    text: str
    lead: bool = False


@dataclass(frozen=True)
class Facts:
    """A few numbers with what they are."""

    pairs: list[tuple[str, str]]


@dataclass(frozen=True)
class Table:
    """`plot` is the name of a picture that stands beside it in the HTML; the first `words` columns are words, the others numbers."""

    head: list[str]
    rows: list[list[Cell]]
    words: int = 1
    plot: str = ""


@dataclass(frozen=True)
class Plot:
    """A picture by its name; `only_file`: in the HTML its parts stand elsewhere."""

    name: str
    about: str
    only_file: bool = False


@dataclass(frozen=True)
class Rung:
    """A run in the gallery: a title, a line about it, and its texts with their names."""

    title: str
    about: str
    texts: list[list[tuple[str, str]]]
    notes: list[str]


Block = Heading | Text | Facts | Table | Plot | Rung


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
            case Facts():
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
    body = "\n".join(_element(b, drawn) for b in blocks)
    title = _escaped(next(b.text for b in blocks if isinstance(b, Heading)))
    return _encodable(PAGE.format(language={"zh": "zh-CN", "en": "en"}[language], title=title, style=STYLE, body=body))


def _element(b: Block, drawn: dict[str, str]) -> str:
    match b:
        case Heading():
            return f"<h{b.level}>{_escaped(b.text)}</h{b.level}>"
        case Text():
            return f'<p class="lead">{_escaped(b.text)}</p>' if b.lead else f"<p>{_escaped(b.text)}</p>"
        case Facts():
            return '<dl class="facts">' + "".join(f"<div><dd>{_escaped(v)}</dd><dt>{_escaped(k)}</dt></div>" for v, k in b.pairs) + "</dl>"
        case Table():
            table = _table(b)
            return f'<div class="pair"><div class="plot">{drawn[b.plot]}</div>{table}</div>' if b.plot in drawn else table
        case Plot():
            if b.only_file:
                return ""
            return f'<figure><div class="plot">{drawn[b.name]}</div><figcaption>{_escaped(b.about)}</figcaption></figure>'
        case Rung():
            texts = "".join(
                '<div class="sample">' + "".join(f"<dt>{_escaped(k)}</dt><dd>{_escaped(v)}</dd>" for k, v in sample) + "</div>"
                for sample in b.texts
            )
            notes = "".join(f'<p class="quiet">{_escaped(n)}</p>' for n in b.notes)
            head = f'<h3>{_escaped(b.title)}</h3><p class="quiet">{_escaped(b.about)}</p>'
            return f'<section class="rung">{head}<dl>{texts}</dl>{notes}</section>'


def _table(b: Table) -> str:
    def cell(c: Cell, at: int, tag: str) -> str:
        inner = _escaped(c) if isinstance(c, str) else f'<a href="{_escaped(c.to)}">{_escaped(c.text)}</a>'
        kind = "" if at >= b.words else ' class="word long"' if len(inner) > 40 and tag == "td" else ' class="word"'
        return f"<{tag}{kind}>{inner}</{tag}>"

    def row(cells: Sequence[Cell], tag: str) -> str:
        return "<tr>" + "".join(cell(c, k, tag) for k, c in enumerate(cells)) + "</tr>"

    body = "".join(row(r, "td") for r in b.rows)
    return f'<div class="table" tabindex="0"><table><thead>{row(b.head, "th")}</thead><tbody>{body}</tbody></table></div>'


def _escaped(text: str) -> str:
    return html.escape(text)


PAGE = """<!DOCTYPE html>
<html lang="{language}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<title>{title}</title>
<style>{style}</style>
</head>
<body><main>
{body}
</main></body>
</html>
"""

STYLE = """
:root { --back: #faf8f4; --card: #ffffff; --line: #e3ddd1; --ink: #2b2a27; --quiet: #6c6860; --accent: #0f766e; }
@media (prefers-color-scheme: dark) {
  :root { --back: #16181a; --card: #1f2224; --line: #363b3e; --ink: #e6e3dc; --quiet: #a09c93; --accent: #5fc9bd; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--ink); line-height: 1.6; overflow-wrap: anywhere;
  font: 16px/1.6 system-ui, -apple-system, "Segoe UI", "PingFang SC", "Microsoft YaHei", "Noto Sans CJK SC", sans-serif; }
main { max-width: 940px; margin: 0 auto; padding: 24px 16px 64px; }
h1 { font-size: 1.65rem; line-height: 1.3; font-weight: 600; margin: .4em 0; }
h2 { font-size: 1.25rem; font-weight: 600; margin: 2.4em 0 .6em; padding-top: .8em; border-top: 1px solid var(--line); }
h3 { font-size: 1rem; font-weight: 600; margin: 1.8em 0 .3em; }
p { margin: .5em 0; max-width: 72ch; }
a { color: var(--accent); }
.lead { border-left: 3px solid var(--accent); padding-left: 12px; }
.quiet, figcaption { color: var(--quiet); font-size: .88rem; }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(230px, 1fr)); gap: 12px; margin: 1.2em 0; }
.facts div { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 12px 14px; }
.facts dd { margin: 0; font-size: 1.3rem; font-weight: 600; line-height: 1.35; font-variant-numeric: tabular-nums; }
.facts dt { color: var(--quiet); font-size: .85rem; line-height: 1.45; }
.table, .plot { background: var(--card); border: 1px solid var(--line); border-radius: 10px; overflow: auto hidden; margin: .8em 0; }
table { border-collapse: collapse; width: 100%; font-size: .88rem; font-variant-numeric: tabular-nums; }
th, td { padding: 6px 12px; text-align: right; white-space: nowrap; border-top: 1px solid var(--line); }
th { border-top: 0; color: var(--quiet); font-weight: 500; }
th.word, td.word { text-align: left; }
td.long { white-space: normal; min-width: 16em; max-width: 60ch; }
.plot { padding: 10px; }
.plot svg { display: block; width: 100%; height: auto; margin: 0 auto; max-width: calc(var(--natural) * 1.4);
  min-width: calc(var(--natural) * .7); overflow: visible; }
.plot svg * { stroke-linejoin: round; stroke-linecap: butt; }
.plot svg text { font-family: inherit !important; }
figure { margin: .8em 0; }
.pair { display: grid; grid-template-columns: minmax(0, 2fr) minmax(0, 3fr); gap: 12px; align-items: start; }
.pair > * { margin: .4em 0; }
.pair th, .pair td { padding: 6px 7px; }
.rung { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 2px 16px 12px; margin: .8em 0; }
.rung h3 { margin: .8em 0 .1em; }
.rung dl { margin: .6em 0; }
.sample { display: grid; grid-template-columns: 5em minmax(0, 1fr); gap: 2px 12px; padding: 6px 0; }
.sample + .sample { border-top: 1px dashed var(--line); }
.sample dt { color: var(--quiet); font-size: .82rem; line-height: 1.95; }
.sample dd { margin: 0; white-space: pre-wrap; max-height: 14em; overflow-y: auto; }
@media (max-width: 640px) {
  main { padding: 12px 12px 48px; }
  .pair { grid-template-columns: minmax(0, 1fr); }
  th, td { padding: 6px 9px; }
}
@media print { .table, .plot { overflow: visible; } }
"""

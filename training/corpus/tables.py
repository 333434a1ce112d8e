"""csv and tsv files, read tolerantly: a stray quote costs one row, not the rest of the file."""

from __future__ import annotations

import csv
import sys
from collections import deque
from collections.abc import Iterator
from typing import Any

from training.base.characters import HAN, LATIN_RUN, LETTER
from training.base.errors import ConfigError
from training.corpus.kinds import other_encoding
from training.corpus.shards import Record, Shard
from training.corpus.text_files import MAX_RECORD_BYTES, BadRow, Line, open_binary, read_lines

SAMPLE_BYTES = 1 << 18  # the beginning of a tsv, by which it is decided whether it is quoted

csv.field_size_limit(min(MAX_RECORD_BYTES, sys.maxsize))


class _Lines:
    """Feeds lines to the csv reader, which takes several while a quote is open, and accepts lines back in `returned`.

    Raises:
        csv.Error: at the end of the file inside a quote.
        BadRow: for a line that cannot be read.
    """

    def __init__(self, lines: Iterator[Line]):
        self.lines, self.returned = lines, deque[Line]()
        self.taken: list[Line] = []  # for the present record

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        try:
            line = self.returned.popleft() if self.returned else next(self.lines)
        except StopIteration:
            if self.taken:
                raise csv.Error("a quote is opened and never closed") from None
            raise
        self.taken.append(line)
        if isinstance(line[2], BadRow):
            raise line[2]
        return line[2].decode("utf-8", "surrogateescape") + "\n"


def read_table(shard: Shard, start: int) -> Iterator[Record]:
    """The records of a csv or tsv file with a header, from row `start` on. A tsv has quotes or not, see `_quoted`.

    A stray quote would swallow all lines up to the next one. So if a record of several lines is not clean csv, only its first line
    is given up, and reading goes on with the second.

    Raises:
        ConfigError: if the header lacks a needed column.
    """
    lines = _Lines(read_lines(shard.path, shard.label))
    options: dict[str, Any] = {"strict": True}
    if shard.format == "tsv":
        options = {"delimiter": "\t", "strict": True} if _quoted(shard) else {"delimiter": "\t", "quoting": csv.QUOTE_NONE}
    rows = csv.reader(lines, **options)
    header: list[str] | None = None
    row = -1
    while True:
        lines.taken = []
        try:
            data: Any = next(rows)
        except StopIteration:
            return
        except (csv.Error, BadRow) as error:
            first = lines.taken[0]
            lines.returned.extendleft(reversed(lines.taken[1:]))
            alone = isinstance(error, BadRow) and len(lines.taken) == 1
            data = error if alone else _lenient(first[2], error, options.get("delimiter", ","))
        number, offset, _ = lines.taken[0]
        row += 1
        if header is None:
            row, header = -1, _header(data, shard)
        elif row >= start:
            if isinstance(data, list):
                if len(data) == len(header):
                    data = dict(zip(header, data))
                else:
                    data = BadRow("malformed", f"{len(data)} columns instead of {len(header)}") if data else BadRow("empty")
            yield Record(row, number, offset, data)


def _quoted(shard: Shard) -> bool:
    """Whether a tsv was written with quotes, as by pandas, Excel and databases: its beginning is clean csv, and some cell needs quotes.

    A cell needs quotes if it holds a quote, a tab or a line end; a sentence in quotation marks of its own does not. A table in
    which every cell is quoted counts as well.
    """
    with open_binary(shard.path, shard.label) as f:
        sample = f.read(SAMPLE_BYTES).decode("utf-8", "replace")
    text = sample if len(sample) < SAMPLE_BYTES // 4 else sample[: sample.rfind("\n") + 1]
    if '"' not in text:
        return False
    rows = []
    try:
        for row in csv.reader(text.splitlines(keepends=True), delimiter="\t", strict=True):
            rows.append(row)
    except csv.Error as error:
        if "unexpected end" not in str(error) or text is sample:  # unless the sample cuts a cell in two
            return False
    rows = [row for row in rows if row]
    if any(len(row) != len(rows[0]) for row in rows):
        return False
    cells = [cell for row in rows for cell in row]
    return any(c in cell for cell in cells for c in '"\t\n') or text.count('"') == 2 * len(cells)


def _lenient(line: bytes, error: Exception, delimiter: str) -> Any:
    """Parse a single line whose quotes are in the wrong places but closed; otherwise a BadRow with `error`."""
    try:
        return next(csv.reader(_Lines(iter([(0, 0, line)])), delimiter=delimiter))
    except (csv.Error, StopIteration):
        return BadRow("malformed", str(error))


def _header(names: Any, shard: Shard) -> list[str]:
    """The column names in the first line; raises ConfigError, with advice, if a needed one is missing or there twice."""
    needed = [c for _, c in shard.columns] + [k for k, _ in shard.where]
    if isinstance(names, BadRow):
        raise ConfigError(f"{shard.label}: the first line, which names the columns, cannot be read: {names}")
    names = [n.strip() for n in names]
    if doubled := [c for c in dict.fromkeys(needed) if names.count(c) > 1]:
        raise ConfigError(f"{shard.label}: the column {doubled[0]!r} is there {names.count(doubled[0])} times; give each a name of its own")
    if missing := [c for c in needed if c not in names]:
        line = ", ".join(names).encode("utf-8", "surrogateescape")
        message = f"{shard.label}: no column {', '.join(missing)}; the first line, which names the columns, has: "
        message += f"{line.decode('utf-8', 'replace')[:200]}. "
        if len(names) == 1 and ";" in names[0]:
            raise ConfigError(message + "It is separated by semicolons: save it with commas (Excel: CSV UTF-8, comma delimited)")
        if len(names) == 1 and "\t" in names[0]:
            raise ConfigError(message + "It is separated by tabs: call it .tsv, or set `format: tsv`")
        header = ("\t" if shard.format == "tsv" else ",").join(_proposed(names, needed))
        message += f"If there is no header line, add one: {header}; otherwise say which columns to read in corpus.columns"
        raise ConfigError(message + (f" ({guess})" if (guess := other_encoding(line)) else ""))
    return names


def _proposed(cells: list[str], needed: list[str]) -> list[str]:
    """A header to propose for a table without one: each needed name over the longest cell in its script, or else the first free cell.

    Args:
        cells: of the first row.
        needed: names of the columns.
    """
    if len(cells) == len(needed) and not {"chinese", "english"} <= set(needed):
        return needed
    names = [""] * len(cells)
    texts = sorted((k for k, cell in enumerate(cells) if LETTER.search(cell)), key=lambda k: -len(cells[k]))
    for name in needed:
        script = {"chinese": HAN, "english": LATIN_RUN}.get(name, LETTER)
        column = next((k for k in texts if script.search(cells[k]) and (name != "english" or not HAN.search(cells[k]))), None)
        column = column if column is not None else next((k for k in range(len(cells)) if not names[k]), None)
        if column is None:
            return needed
        names[column], texts = name, [k for k in texts if k != column]
    return [name or f"column{k}" for k, name in enumerate(names, 1)]

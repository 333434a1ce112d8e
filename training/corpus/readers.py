"""Raw records of one file or dataset, whatever its kind: read tolerantly, numbered, and returned to by number.

`read` yields a shard's records one at a time. What cannot be read becomes a record that carries a `BadRow`; only a
header that lacks a wanted column is an error, for then no row could be used. `sources.py` finds the shards and turns
records into rows.
"""

from __future__ import annotations

import csv
import itertools
import os
import re
import sys
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from training.base.characters import HAN, LATIN_RUN, LETTER
from training.base.errors import ConfigError
from training.corpus.kinds import other_encoding
from training.corpus.text_files import MAX_RECORD_BYTES, BadRow, Line, compression, is_blank, join, open_binary, read_lines, read_pieces

if TYPE_CHECKING:
    import pyarrow


SAMPLE_BYTES = 1 << 18  # of a table, by which it is told how it was written

csv.field_size_limit(min(MAX_RECORD_BYTES, sys.maxsize))


@dataclass(frozen=True)
class Shard:
    """One file or dataset to read from, with everything needed to do so."""

    path: str
    label: str  # what the user called it; used in messages
    format: str  # txt, jsonl, csv, tsv, parquet, hub
    columns: tuple[tuple[str, str], ...]  # ours -> the file's
    document: str = "line"
    target_path: str | None = None
    target_label: str = ""
    weight: float = 1.0
    where: tuple[tuple[str, tuple[Any, ...]], ...] = ()
    name: str | None = None
    split: str = "train"
    tag: str = ""  # before the first column of what is dealt

    @property
    def seekable(self) -> bool:
        """Whether a byte offset leads straight to a row."""
        return self.format in ("txt", "jsonl") and self.target_path is None and not compression(self.label)

    @property
    def line_by_line(self) -> bool:
        """Whether row n stands in line n + 1."""
        return self.format != "csv" and self.format != "tsv" and (self.format != "txt" or self.document == "line")

    def fingerprint(self) -> list[Any]:
        """What changes when the data does: names, sizes and times of files; the version of a hub dataset is its own affair."""
        files = [p for p in (self.path, self.target_path) if p and os.path.isfile(p)]
        if os.path.isdir(self.path):
            files += sorted(os.path.join(folder, f) for folder, _, names in os.walk(self.path) for f in names)
        return [repr(self)] + [[p, os.stat(p).st_size, os.stat(p).st_mtime_ns] for p in files]


class Record(NamedTuple):
    """A row as it lies in the shard."""

    row: int  # counted from 0
    line: int  # counted from 1: where it begins, or the row's number where there are no lines
    offset: int  # bytes from the start of the (uncompressed) file, where that helps
    data: Any  # bytes; a pair of bytes; a dict; or a BadRow


def read(shard: Shard, start: int = 0, offset: int | None = None) -> Iterator[Record]:
    """The records from row `start` on; `offset`, if known, is where that row begins in a plain file.

    After a jump to an offset, lines are counted from `start`. A file that breaks off (a truncated .gz) ends with a
    record that carries a BadRow.
    """
    if shard.format == "hub":
        return _hub(shard, start)
    if shard.format == "parquet":
        return _parquet(shard, start)
    if shard.format in ("csv", "tsv"):
        return _table(shard, start)
    if shard.target_path is not None:
        return _aligned(shard, start)
    number = start + 1 if offset is not None else 1
    if shard.format == "txt" and shard.document == "file":
        lines = read_pieces(shard.path, shard.label, number, offset or 0)
    elif shard.format == "txt" and shard.document == "blank_line":
        lines = join(read_lines(shard.path, shard.label, number, offset or 0))
    elif shard.format == "txt" and shard.document.startswith("^"):
        lines = join(read_lines(shard.path, shard.label, number, offset or 0), re.compile(shard.document))
    else:
        lines = read_lines(shard.path, shard.label, number, offset or 0)
    skip = 0 if offset is not None else start
    return (Record(row, *line) for row, line in enumerate(itertools.islice(lines, skip, None), start))


def _aligned(shard: Shard, start: int) -> Iterator[Record]:
    """Line n of one file with line n of the other.

    Raises:
        ConfigError: if one has more lines than the other, blank ones at its end aside: a line lost anywhere shifts all that follow.
            (fairseq, Marian, OpenNMT and Sockeye refuse such files too.)
    """
    assert shard.target_path is not None
    sides = read_lines(shard.path, shard.label), read_lines(shard.target_path, shard.target_label)
    for row, (a, b) in enumerate(itertools.zip_longest(*sides)):
        bad = next((x[2] for x in (a, b) if x and isinstance(x[2], BadRow)), None)
        if (a is None or b is None) and bad is None:  # one that breaks off says so, whatever the other has
            longer, rest = (b, sides[1]) if a is None else (a, sides[0])
            more = [line for _, _, line in itertools.chain([longer], rest)]
            if all(isinstance(line, bytes) and is_blank(line) for line in more):
                return
            counts = (row, row + len(more)) if a is None else (row + len(more), row)
            raise ConfigError(
                f"{shard.label} has {counts[0]:,} lines and {shard.target_label} has {counts[1]:,}: every pair after the line that is "
                "missing would be wrong. Find it (it is often an empty line, or a line end inside a sentence), or use tsv or jsonl"
            )
        if row >= start:
            yield Record(row, row + 1, 0, bad or (a[2], b[2]))


class _Physical:
    """Lines for the csv reader, which may ask for more while a quote is open, and can be given them back."""

    def __init__(self, lines: Iterator[Line]):
        self.lines, self.returned = lines, deque[Line]()
        self.taken: list[Line] = []

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


def _table(shard: Shard, start: int) -> Iterator[Record]:
    """csv with a header as Excel writes it; tsv with a header and no quoting, as corpora are published, or quoted where the file is.

    A stray quote would swallow the lines up to the next quote: where a record of several lines is not clean csv, only
    its first line is given up and reading goes on with the second.
    """
    lines = _Physical(read_lines(shard.path, shard.label))
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
            data = (
                error if isinstance(error, BadRow) and len(lines.taken) == 1 else _lenient(first[2], error, options.get("delimiter", ","))
            )
        number, at, _ = lines.taken[0]
        row += 1
        if header is None:
            row, header = -1, _header(data, shard)
        elif row >= start:
            if isinstance(data, list):
                if len(data) == len(header):
                    data = dict(zip(header, data))
                else:
                    data = BadRow("malformed", f"{len(data)} columns instead of {len(header)}") if data else BadRow("empty")
            yield Record(row, number, at, data)


def _quoted(shard: Shard) -> bool:
    """Whether a tsv was written with quotes, as pandas, Excel and databases do: its beginning is clean csv, and some cell needs quotes.

    A sentence that stands in quotation marks of its own is no such cell: quotes are needed for a quote, a tab or a line end inside.
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
        if "unexpected end" not in str(error) or text is sample:  # a cell that the sample cuts in two
            return False
    rows = [row for row in rows if row]
    if any(len(row) != len(rows[0]) for row in rows):
        return False
    cells = [cell for row in rows for cell in row]
    return any(c in cell for cell in cells for c in '"\t\n') or text.count('"') == 2 * len(cells)


def _lenient(line: bytes, error: Exception, delimiter: str) -> Any:
    """A single line of a table with quotes in the wrong places, as long as they close."""
    try:
        return next(csv.reader(_Physical(iter([(0, 0, line)])), delimiter=delimiter))
    except (csv.Error, StopIteration):
        return BadRow("malformed", str(error))


def _header(names: Any, shard: Shard) -> list[str]:
    wanted = [c for _, c in shard.columns] + [k for k, _ in shard.where]
    if isinstance(names, BadRow):
        raise ConfigError(f"{shard.label}: the first line, which names the columns, cannot be read: {names}")
    names = [n.strip() for n in names]
    if doubled := [c for c in dict.fromkeys(wanted) if names.count(c) > 1]:
        raise ConfigError(f"{shard.label}: the column {doubled[0]!r} is there {names.count(doubled[0])} times; give each a name of its own")
    if missing := [c for c in wanted if c not in names]:
        line = ", ".join(names).encode("utf-8", "surrogateescape")
        told = f"{shard.label}: no column {', '.join(missing)}; the first line, which names the columns, has: "
        told += f"{line.decode('utf-8', 'replace')[:200]}. "
        if len(names) == 1 and ";" in names[0]:
            raise ConfigError(told + "It is separated by semicolons: save it with commas (Excel: CSV UTF-8, comma delimited)")
        if len(names) == 1 and "\t" in names[0]:
            raise ConfigError(told + "It is separated by tabs: call it .tsv, or set `format: tsv`")
        header = ("\t" if shard.format == "tsv" else ",").join(_proposed(names, wanted))
        told += f"If there is no header line, add one: {header}; otherwise say which columns to read in corpus.columns"
        raise ConfigError(told + (f" ({guess})" if (guess := other_encoding(line)) else ""))
    return names


def _proposed(cells: list[str], wanted: list[str]) -> list[str]:
    """A header for a table without one: the wanted names over the columns that look like them, by their script, else the first ones."""
    if len(cells) == len(wanted) and not {"chinese", "english"} <= set(wanted):
        return wanted
    names = [""] * len(cells)
    texts = sorted((k for k, cell in enumerate(cells) if LETTER.search(cell)), key=lambda k: -len(cells[k]))
    for name in wanted:
        looks = {"chinese": HAN, "english": LATIN_RUN}.get(name, LETTER)
        at = next((k for k in texts if looks.search(cells[k]) and (name != "english" or not HAN.search(cells[k]))), None)
        at = at if at is not None else next((k for k in range(len(cells)) if not names[k]), None)
        if at is None:
            return wanted
        names[at], texts = name, [k for k in texts if k != at]
    return [name or f"column{k}" for k, name in enumerate(names, 1)]


def _parquet(shard: Shard, start: int) -> Iterator[Record]:
    import pyarrow
    import pyarrow.parquet as pq

    wanted = list(dict.fromkeys([c for _, c in shard.columns] + [k for k, _ in shard.where]))
    open_binary(shard.path, shard.label).close()  # says why it cannot be opened
    try:
        file = pq.ParquetFile(shard.path)
    except (pyarrow.ArrowException, OSError) as error:
        raise ConfigError(f"{shard.label}: not a parquet file ({' '.join(str(error).split())[:120]})") from None
    names = file.schema_arrow.names
    # Parallel corpora nest both sides: {"translation": {"en": …, "zh": …}}.
    if missing := [c for c in wanted if c not in names and "translation" not in names]:
        raise ConfigError(f"{shard.label}: no column {', '.join(missing)}; it has {', '.join(names)[:200]}")
    wanted = [c for c in (*wanted, "translation") if c in names]
    row = 0
    try:
        for group in range(file.num_row_groups):
            size = file.metadata.row_group(group).num_rows
            if row + size <= start:  # whole groups are passed over unread
                row += size
                continue
            for batch in file.iter_batches(batch_size=1024, row_groups=[group], columns=wanted):
                for data in _plain_rows(batch):
                    if row >= start:
                        yield Record(row, row + 1, 0, data)
                    row += 1
    except (pyarrow.ArrowException, OSError) as error:
        yield Record(row, row + 1, 0, BadRow("malformed", f"the file breaks off: {' '.join(str(error).split())[:200]}"))


def _plain_rows(batch: pyarrow.RecordBatch) -> list[Any]:
    """Each row as a dict, or as a BadRow where a text in it is not UTF-8, which the format does not check."""
    try:
        return list(batch.to_pylist())
    except UnicodeDecodeError:
        pass
    rows: list[Any] = []
    for k in range(batch.num_rows):
        try:
            rows += batch.slice(k, 1).to_pylist()
        except UnicodeDecodeError as error:
            rows.append(BadRow("not_utf8", f"{error.reason} at byte {error.start} of a text"))
    return rows


def _hub(shard: Shard, start: int) -> Iterator[Record]:
    import datasets

    try:
        rows = datasets.load_dataset(shard.path, shard.name, split=shard.split, streaming=True)
    except Exception as error:  # the hub's own errors are many; each is the user's to read, none is ours to crash on
        raise ConfigError(f"{shard.label}: cannot be opened ({type(error).__name__}: {' '.join(str(error).split())[:300]})") from None
    row = start
    try:
        # Batches of one row: iterating plainly, a loader worker would be given its own part of the dataset only.
        for batch in (rows.skip(start) if start else rows).iter(batch_size=1):
            yield Record(row, row + 1, 0, {k: v[0] for k, v in batch.items()})
            row += 1
    except Exception as error:  # whatever its builder could not read
        yield Record(row, row + 1, 0, BadRow("malformed", f"the dataset breaks off: {' '.join(str(error).split())[:200]}"))

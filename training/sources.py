"""Where rows come from: files of any usual kind, web addresses and hub datasets, read tolerantly one row at a time.

A source of the config resolves to shards (one file or dataset each). `read` yields a shard's raw records with their
number and, in plain files, their byte offset, so that any place can be returned to; `parse` turns a record into a row
or says what is wrong with it. The stock JSON reader of `datasets` dies on the first malformed line; this one does not.
"""

from __future__ import annotations

import bz2
import csv
import glob
import gzip
import io
import itertools
import json
import lzma
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from training.config import ConfigError, SourceConfig

MAX_RECORD_BYTES = 4 << 20  # a longer line is read past, not into memory
PIECE_BYTES = 4096  # `document: file` is read in pieces of about this size
COMPRESSION = (".gz", ".xz", ".zst", ".bz2")
ENDINGS = {
    ".txt": "txt", ".text": "txt", ".jsonl": "jsonl", ".json": "jsonl", ".ndjson": "jsonl",
    ".csv": "csv", ".tsv": "tsv", ".parquet": "parquet",
}  # fmt: skip
csv.field_size_limit(min(MAX_RECORD_BYTES, sys.maxsize))


class BadRow(Exception):
    """A row that cannot be used; `reason` is the short name under which it is counted."""

    def __init__(self, reason: str, detail: str = ""):
        super().__init__(detail or reason)
        self.reason = reason


@dataclass(frozen=True)
class Shard:
    """One file or dataset to read from, with everything needed to do so."""

    path: str
    label: str  # what the user called it; used in messages
    format: str  # txt, jsonl, csv, tsv, parquet, hub
    columns: tuple[tuple[str, str], ...]  # ours -> the file's
    document: str = "line"
    target_path: str | None = None
    weight: float = 1.0
    where: tuple[tuple[str, tuple[Any, ...]], ...] = ()
    name: str | None = None
    split: str = "train"

    @property
    def seekable(self) -> bool:
        """Whether a byte offset leads straight to a row."""
        return self.format in ("txt", "jsonl") and self.target_path is None and not self.path.endswith(COMPRESSION)

    def fingerprint(self) -> list[Any]:
        """What changes when the data does: names, sizes and times of files; the version of a hub dataset is its own affair."""
        files = [p for p in (self.path, self.target_path) if p and self.format != "hub"]
        return [repr(self)] + [[os.stat(p).st_size, os.stat(p).st_mtime_ns] for p in files]


class Record(NamedTuple):
    """A row as it lies in the shard."""

    row: int  # counted from 0
    offset: int | None  # bytes from the start of the file, where that helps
    data: Any  # bytes; a pair of bytes; a dict; or a BadRow


def resolve(sources: list[SourceConfig], columns: dict[str, str], document: str, key: str) -> list[Shard]:
    """The shards of a list of sources, in a fixed order.

    Raises:
        ConfigError: naming `key` and every source that has no file or no known format.
    """
    shards, problems = [], []
    for s in sources:
        names = tuple({**columns, **(s.columns or {})}.items())
        where = tuple((k, tuple(v) if isinstance(v, list) else (v,)) for k, v in (s.where or {}).items())
        try:
            for path, label in _locate(s.path, key):
                kind = _format(s, label)
                target = _locate(s.target_path, key)[0][0] if s.target_path else None
                shards.append(Shard(path, label, kind, names, document, target, s.weight, where, s.name, s.split))
        except ConfigError as error:
            problems.append(str(error))
    if problems:
        raise ConfigError("\n".join(problems))
    return shards


def _locate(path: str, key: str) -> list[tuple[str, str]]:
    """(where it is, what to call it) of each file that a path, glob, address or hub id stands for."""
    if path.startswith(("http://", "https://")):
        return [(_download(path), path)]
    if path.startswith("hub:"):
        return [(path.removeprefix("hub:"), path)]
    expanded = os.path.expanduser(path)
    if os.path.isfile(expanded):
        return [(expanded, path)]
    found = sorted(p for p in glob.glob(expanded, recursive=True) if os.path.isfile(p))
    if found:
        return [(p, p) for p in found]
    if re.fullmatch(r"[\w.-]+/[\w.-]+", path) and not _ending(path) and not os.path.isdir(expanded):
        return [(path, "hub:" + path)]
    if os.path.isdir(expanded):
        raise ConfigError(f"{key}: {path} is a folder; name its files, e.g. {path.rstrip('/')}/*.jsonl")
    parent = os.path.dirname(expanded) or "."
    beside = sorted(os.listdir(parent))[:8] if os.path.isdir(parent) else []
    hint = f"; in {parent} there are: {', '.join(beside)}" if beside else f"; there is no folder {parent}"
    raise ConfigError(f"{key}: no file matches {path}{hint}")


def _download(url: str) -> str:
    """The local copy of a web file, fetched once into the cache of `datasets` and read from there."""
    import datasets

    try:
        return str(datasets.DownloadManager().download(url))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{url}: cannot be downloaded ({' '.join(str(error).split())[:200]})") from None


def _ending(path: str) -> str | None:
    stem = path.split("?")[0]
    for suffix in COMPRESSION:
        stem = stem.removesuffix(suffix)
    return ENDINGS.get(Path(stem).suffix.lower())


def _format(source: SourceConfig, label: str) -> str:
    if label.startswith("hub:"):
        return "hub"
    if source.target_path is not None:
        return "txt"
    kind = source.format if source.format != "auto" else _ending(label)
    if kind is None:
        raise ConfigError(f"{label}: unknown kind of file; set `format:` to one of {', '.join(sorted(set(ENDINGS.values())))}")
    return kind


def _open(path: str, label: str) -> io.BufferedReader:
    """A possibly compressed file as bytes; by its label's ending, because a download's cached name has none."""
    stem = label.split("?")[0]
    if stem.endswith(".gz"):
        raw: Any = gzip.open(path, "rb")
    elif stem.endswith(".xz"):
        raw = lzma.open(path, "rb")
    elif stem.endswith(".bz2"):
        raw = bz2.open(path, "rb")
    elif stem.endswith(".zst"):
        import zstandard

        raw = zstandard.ZstdDecompressor().stream_reader(open(path, "rb"), read_across_frames=True, closefd=True)
    else:
        return open(path, "rb")
    return io.BufferedReader(raw, 1 << 18)


def read(shard: Shard, start: int = 0, offset: int | None = None) -> Iterator[Record]:
    """The records from row `start` on; `offset`, if known, is where that row begins in a plain file.

    A file that breaks off (a truncated .gz) ends with a record that carries a BadRow.
    """
    if shard.format == "hub":
        return _read_hub(shard, start)
    if shard.format == "parquet":
        return _read_parquet(shard, start)
    if shard.format in ("csv", "tsv"):
        return _read_table(shard, start)
    if shard.target_path is not None:
        pairs = itertools.zip_longest(
            _lines(shard.path, shard.label), _lines(shard.target_path, shard.target_path), fillvalue=(None, b"")
        )
        records = (Record(i, None, (a[1], b[1])) for i, (a, b) in enumerate(pairs))
        return itertools.islice(records, start, None)
    skip = 0 if offset is not None else start
    lines = _lines(shard.path, shard.label, offset or 0, pieces=shard.document == "file" and shard.format == "txt")
    if shard.document == "blank_line" and shard.format == "txt":
        lines = _paragraphs(lines)
    numbered = enumerate(lines, start - skip)
    return itertools.islice((Record(i, at, data) for i, (at, data) in numbered), skip, None)


def _lines(path: str, label: str, offset: int = 0, pieces: bool = False) -> Iterator[tuple[int, Any]]:
    """(byte offset, line without its end), or about PIECE_BYTES of text at a time with the line ends in it."""
    with _open(path, label) as f:
        if offset:
            f.seek(offset)
        at = offset
        while True:
            try:
                line = f.read(PIECE_BYTES) if pieces else f.readline(MAX_RECORD_BYTES)
                if pieces and line:
                    line += f.readline(PIECE_BYTES)
                    while (more := f.peek(1)[:1]) and more[0] & 0xC0 == 0x80:
                        line += f.read(1)  # do not cut a character in two
            except (OSError, EOFError, lzma.LZMAError, ValueError) as error:
                yield at, BadRow("malformed", f"the file breaks off: {error}")
                return
            if not line:
                return
            size, data = len(line), line
            if not pieces and len(line) == MAX_RECORD_BYTES and not line.endswith(b"\n"):
                while (rest := f.readline(MAX_RECORD_BYTES)) and not rest.endswith(b"\n"):
                    size += len(rest)
                size += len(rest)
                yield at, BadRow("too_long", f"a line of {size} bytes")
            else:
                data = data.removeprefix(b"\xef\xbb\xbf") if at == 0 else data  # the mark that Windows puts first
                yield at, data.replace(b"\r\n", b"\n") if pieces else data.rstrip(b"\r\n")
            at += size


def _paragraphs(lines: Iterator[tuple[int, Any]]) -> Iterator[tuple[int, Any]]:
    """Lines up to the next blank one, joined."""
    start, held = 0, []
    for at, data in lines:
        if isinstance(data, BadRow):
            yield at, data
        elif data.strip():
            start = start if held else at
            held.append(data)
        elif held:
            yield start, b"\n".join(held)
            held = []
    if held:
        yield start, b"\n".join(held)


def _read_table(shard: Shard, start: int) -> Iterator[Record]:
    """csv with a header as Excel writes it; tsv with a header and no quoting, as corpora are published."""
    with _open(shard.path, shard.label) as raw:
        text = io.TextIOWrapper(raw, encoding="utf-8-sig", errors="surrogateescape", newline="")
        options: dict[str, Any] = {"delimiter": "\t", "quoting": csv.QUOTE_NONE} if shard.format == "tsv" else {}
        rows = csv.reader(text, **options)
        header: list[str] | None = None
        for number in itertools.count():
            try:
                values = next(rows)
            except StopIteration:
                return
            except (csv.Error, OSError, EOFError, lzma.LZMAError) as error:
                yield Record(number, None, BadRow("malformed", str(error)))
                if not isinstance(error, csv.Error):
                    return
                continue
            if header is None:
                header = values
                if missing := [c for _, c in shard.columns if c not in header]:
                    raise ConfigError(
                        f"{shard.label}: no column {', '.join(missing)}; the first line has {', '.join(header)[:200]}. "
                        "Name them in corpus.columns"
                    )
            elif number - 1 >= start:
                wrong = len(values) != len(header)
                data = BadRow("malformed", f"{len(values)} columns instead of {len(header)}") if wrong else dict(zip(header, values))
                yield Record(number - 1, None, data)


def _read_parquet(shard: Shard, start: int) -> Iterator[Record]:
    import pyarrow
    import pyarrow.parquet as pq

    wanted = [c for _, c in shard.columns] + [k for k, _ in shard.where]
    try:
        file = pq.ParquetFile(shard.path)
    except (pyarrow.ArrowInvalid, OSError) as error:
        raise ConfigError(f"{shard.label}: not a parquet file ({' '.join(str(error).split())[:120]})") from None
    if missing := [c for c in wanted if c not in file.schema_arrow.names]:
        raise ConfigError(f"{shard.label}: no column {', '.join(missing)}; it has {', '.join(file.schema_arrow.names)[:200]}")
    row = 0
    for group in range(file.num_row_groups):
        size = file.metadata.row_group(group).num_rows
        if row + size <= start:  # whole groups are passed over unread
            row += size
            continue
        for batch in file.iter_batches(batch_size=1024, row_groups=[group], columns=wanted):
            for data in batch.to_pylist():
                if row >= start:
                    yield Record(row, None, data)
                row += 1


def _read_hub(shard: Shard, start: int) -> Iterator[Record]:
    import datasets

    try:
        rows = datasets.load_dataset(shard.path, shard.name, split=shard.split, streaming=True)
    except Exception as error:  # the hub's own errors are many; each is the user's to read, none is ours to crash on
        raise ConfigError(f"{shard.label}: cannot be opened ({type(error).__name__}: {' '.join(str(error).split())[:300]})") from None
    for row, data in enumerate(rows.skip(start) if start else rows, start):
        # Parallel corpora of the hub nest both sides: {"translation": {"en": …, "zh": …}}.
        nested = data.get("translation")
        yield Record(row, None, {**data, **nested} if isinstance(nested, dict) else data)


def parse(record: Record, shard: Shard) -> dict[str, Any] | None:
    """A record as a row with our column names, or None if `where` leaves it out.

    Raises:
        BadRow: with the reason: malformed, not_utf8, missing_field, wrong_type or empty.
    """
    data = record.data
    if isinstance(data, BadRow):
        raise data
    if isinstance(data, tuple):
        return _strings(dict(zip(("source", "target"), map(_decode, data))), shard, columns=(("source", "source"), ("target", "target")))
    if shard.format == "txt":
        ours = shard.columns[0][0]
        if shard.document == "file":
            return {ours: _decode(data)}
        return _strings({ours: _decode(data)}, shard, columns=((ours, ours),))
    if isinstance(data, bytes):
        if not data.strip():
            raise BadRow("empty")
        try:
            data = json.loads(_decode(data))
        except (json.JSONDecodeError, RecursionError) as error:
            raise BadRow("malformed", f"not JSON: {error}") from None
        if not isinstance(data, dict):
            raise BadRow("malformed", "a JSON object {…} a line is wanted")
    for column, values in shard.where:
        if data.get(column) not in values:
            return None
    return _strings(data, shard, shard.columns)


def _decode(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadRow("not_utf8", str(error)) from None


def _strings(data: dict[str, Any], shard: Shard, columns: tuple[tuple[str, str], ...]) -> dict[str, str]:
    """The wanted columns, each a string with something in it."""
    row = {}
    for ours, theirs in columns:
        value = data.get(theirs)
        if value is None:
            raise BadRow("missing_field", f"no {theirs!r}; this row has {', '.join(map(str, data))[:200]}")
        if not isinstance(value, str):
            raise BadRow("wrong_type", f"{theirs!r} is {type(value).__name__}, not text")
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:  # half of a surrogate pair, or a byte that the csv reader could not decode
            raise BadRow("not_utf8", f"{theirs!r} holds what is not UTF-8") from None
        row[ours] = value.strip()
        if not row[ours]:
            raise BadRow("empty", f"{theirs!r} is empty")
    return row

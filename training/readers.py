"""Raw records of one file or dataset, whatever its kind: read tolerantly, numbered, and returned to by number.

`read` yields a shard's records one at a time. What cannot be read becomes a record that carries a `BadRow`; only a
header that lacks a wanted column is an error, for then no row could be used. `sources.py` finds the shards and turns
records into rows.
"""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import itertools
import lzma
import os
import re
import sys
import zlib
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import zstandard

from training.config import ConfigError

if TYPE_CHECKING:
    import pyarrow

MAX_RECORD_BYTES = 4 << 20  # a longer line is read past, not into memory
PIECE_BYTES = 4096  # `document: file` is read in pieces of about this size
COMPRESSION = (".gz", ".xz", ".zst", ".bz2")
UTF16 = "the file is UTF-16; save it as UTF-8 (in Notepad or Excel, or iconv -f UTF-16 -t UTF-8)"
BREAKS_OFF = (OSError, EOFError, ValueError, lzma.LZMAError, zlib.error, zstandard.ZstdError)
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
    target_label: str = ""
    weight: float = 1.0
    where: tuple[tuple[str, tuple[Any, ...]], ...] = ()
    name: str | None = None
    split: str = "train"

    @property
    def seekable(self) -> bool:
        """Whether a byte offset leads straight to a row."""
        return self.format in ("txt", "jsonl") and self.target_path is None and not _compression(self.label)

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


Line = tuple[int, int, Any]  # line number, byte offset, bytes or BadRow


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
        lines = _pieces(shard.path, shard.label, number, offset or 0)
    elif shard.format == "txt" and shard.document == "blank_line":
        lines = _joined(_lines(shard.path, shard.label, number, offset or 0))
    elif shard.format == "txt" and shard.document.startswith("^"):
        lines = _joined(_lines(shard.path, shard.label, number, offset or 0), re.compile(shard.document))
    else:
        lines = _lines(shard.path, shard.label, number, offset or 0)
    skip = 0 if offset is not None else start
    return (Record(row, *line) for row, line in enumerate(itertools.islice(lines, skip, None), start))


class _Zst(io.RawIOBase):
    """zstd read as the other formats are: a file that breaks off raises EOFError; the package's own reader just ends."""

    def __init__(self, path: str):
        self.file = open(path, "rb")
        self.frame: Any = None
        self.packed = self.plain = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self.plain:
            packed, self.packed = self.packed or self.file.read(1 << 16), b""
            if not packed:
                if self.frame:
                    raise EOFError("it ends in the middle of a compressed frame")
                return 0
            self.frame = self.frame or zstandard.ZstdDecompressor().decompressobj()
            self.plain = self.frame.decompress(packed)
            if self.frame.eof:
                self.packed, self.frame = self.frame.unused_data, None
        n = min(len(buffer), len(self.plain))
        buffer[:n], self.plain = self.plain[:n], self.plain[n:]
        return n

    def close(self) -> None:
        self.file.close()
        super().close()


def _compression(label: str) -> str:
    """The ending of a compressed file's name; a download's cached name has none, so the label counts."""
    return next((c for c in COMPRESSION if label.split("?")[0].lower().endswith(c)), "")


def _open(path: str, label: str) -> Any:
    """As a binary file; raises ConfigError if it cannot be opened at all.

    No second buffer around gz, xz and bz2: what it holds is lost when they break off.
    """
    kind = _compression(label)
    try:
        if kind == ".gz":
            return gzip.open(path, "rb")
        if kind == ".xz":
            return lzma.open(path, "rb")
        if kind == ".bz2":
            return bz2.open(path, "rb")
        return io.BufferedReader(_Zst(path) if kind == ".zst" else open(path, "rb", buffering=0), 1 << 18)
    except OSError as error:
        raise ConfigError(f"{label}: cannot be read ({error.strerror or error})") from None


def _marked(beginning: bytes) -> BadRow | None:
    """What to say of a file that begins with the mark of UTF-16 or UTF-32."""
    if not beginning.startswith((b"\xff\xfe", b"\xfe\xff", b"\0\0\xfe\xff")):
        return None
    wide = beginning.startswith((b"\xff\xfe\0\0", b"\0\0\xfe\xff"))
    return BadRow("not_utf8", UTF16.replace("UTF-16", "UTF-32") if wide else UTF16)


def _lines(path: str, label: str, number: int = 1, offset: int = 0) -> Iterator[Line]:
    """Lines without their ends."""
    at = offset
    try:
        with _open(path, label) as f:
            if offset:
                f.seek(offset)
            while line := f.readline(MAX_RECORD_BYTES):
                size = len(line)
                if size == MAX_RECORD_BYTES and not line.endswith(b"\n"):
                    beginning = line[:20]
                    while line and not line.endswith(b"\n"):
                        line = f.readline(MAX_RECORD_BYTES)
                        size += len(line)
                    array = "; is it a JSON array? One object {…} a line is wanted" if beginning.lstrip().startswith(b"[") else ""
                    yield number, at, BadRow("too_long", f"a line of {size} bytes{array}")
                elif at == 0 and (other := _marked(line)):
                    yield number, at, other
                    return
                else:
                    if at == 0:
                        line = line.removeprefix(b"\xef\xbb\xbf")  # the mark that Windows puts first
                    yield number, at, line.rstrip(b"\r\n")
                at += size
                number += 1
    except BREAKS_OFF as error:
        yield number, at, BadRow("malformed", f"the file breaks off: {error}")


def _pieces(path: str, label: str, number: int, offset: int) -> Iterator[Line]:
    """About PIECE_BYTES of text at a time, with the line ends in it: joined, they are the file."""
    at = offset
    try:
        with _open(path, label) as f:
            if offset:
                f.seek(offset)
            while piece := f.read(PIECE_BYTES):
                piece += f.readline(PIECE_BYTES)
                # Neither a character nor a Windows line end is cut in two.
                while (more := f.peek(1)[:1]) and (more[0] & 0xC0 == 0x80 or (more == b"\n" and piece.endswith(b"\r"))):
                    piece += f.read(1)
                if at == 0 and (other := _marked(piece)):
                    yield number, at, other
                    return
                yield number, at, (piece.removeprefix(b"\xef\xbb\xbf") if at == 0 else piece).replace(b"\r\n", b"\n")
                at += len(piece)
                number += piece.count(b"\n")
    except BREAKS_OFF as error:
        yield number, at, BadRow("malformed", f"the file breaks off: {error}")


def _joined(lines: Iterator[Line], beginning: re.Pattern[str] | None = None) -> Iterator[Line]:
    """Lines up to the next blank one, or to the next that matches `beginning`, joined without the blank ones.

    A line that cannot be read ends a text too, so that every record begins where the one before has ended.
    """
    held: list[Line] = []
    size = 0
    for line in itertools.chain(lines, [(0, 0, b"")]):
        bad = isinstance(line[2], BadRow)
        blank = not bad and not line[2].strip()
        new = blank if beginning is None else not bad and beginning.match(line[2].decode("utf-8", "replace")) is not None
        if held and (bad or new or not line[0]):  # line 0 is the end
            long = size > MAX_RECORD_BYTES
            yield *held[0][:2], BadRow("too_long", f"a text of {size} bytes") if long else b"\n".join(data for _, _, data in held)
            held, size = [], 0
        if bad:
            yield line
        elif not blank:
            size += len(line[2]) + 1
            if size <= MAX_RECORD_BYTES or not held:
                held.append(line)


def _aligned(shard: Shard, start: int) -> Iterator[Record]:
    """Line n of one file with line n of the other."""
    assert shard.target_path is not None
    sides = _lines(shard.path, shard.label), _lines(shard.target_path, shard.target_label)
    for row, (a, b) in enumerate(itertools.zip_longest(*sides)):
        if row >= start:
            data: Any = next((x[2] for x in (a, b) if x and isinstance(x[2], BadRow)), None)
            if a is None or b is None:
                data = data or BadRow("missing_field", f"{shard.label if a is None else shard.target_label} has fewer lines")
            yield Record(row, row + 1, 0, data or (a[2], b[2]))


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
    """csv with a header as Excel writes it; tsv with a header and no quoting, as corpora are published.

    A stray quote would swallow the lines up to the next quote: where a record of several lines is not clean csv, only
    its first line is given up and reading goes on with the second.
    """
    lines = _Physical(_lines(shard.path, shard.label))
    options: dict[str, Any] = {"delimiter": "\t", "quoting": csv.QUOTE_NONE} if shard.format == "tsv" else {"strict": True}
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
            data = error if isinstance(error, BadRow) and len(lines.taken) == 1 else _lenient(first[2], error)
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


def _lenient(line: bytes, error: Exception) -> Any:
    """A single line of csv with quotes in the wrong places, as long as they close."""
    try:
        return next(csv.reader(_Physical(iter([(0, 0, line)]))))
    except (csv.Error, StopIteration):
        return BadRow("malformed", str(error))


def _header(names: Any, shard: Shard) -> list[str]:
    wanted = [c for _, c in shard.columns] + [k for k, _ in shard.where]
    if isinstance(names, BadRow):
        raise ConfigError(f"{shard.label}: the first line, which names the columns, cannot be read: {names}")
    names = [n.strip() for n in names]
    if missing := [c for c in wanted if c not in names]:
        line = ", ".join(names).encode("utf-8", "surrogateescape")
        told = f"{shard.label}: no column {', '.join(missing)}; the first line, which names the columns, has: "
        told += f"{line.decode('utf-8', 'replace')[:200]}. "
        if len(names) == 1 and ";" in names[0]:
            raise ConfigError(told + "It is separated by semicolons: save it with commas (Excel: CSV UTF-8, comma delimited)")
        if len(names) == 1 and "\t" in names[0]:
            raise ConfigError(told + "It is separated by tabs: call it .tsv, or set `format: tsv`")
        header = ("\t" if shard.format == "tsv" else ",").join(wanted)
        told += f"If there is no header line, add one: {header}; otherwise say which columns to read in corpus.columns"
        raise ConfigError(told + (f" ({guess})" if (guess := other_encoding(line)) else ""))
    return names


def other_encoding(data: bytes) -> str:
    """What to do about bytes that are not UTF-8: in China they are mostly GBK, which Windows and Excel write. Else empty."""
    try:
        data.decode()
    except UnicodeDecodeError:
        if re.search(r"[\u4e00-\u9fff]", data.decode("gb18030", "ignore")):
            return "it reads as GBK: save the file as UTF-8 (in Notepad or Excel, or iconv -f GB18030 -t UTF-8)"
        return "save the file as UTF-8"
    return ""


def _parquet(shard: Shard, start: int) -> Iterator[Record]:
    import pyarrow
    import pyarrow.parquet as pq

    wanted = list(dict.fromkeys([c for _, c in shard.columns] + [k for k, _ in shard.where]))
    _open(shard.path, shard.label).close()  # says why it cannot be opened
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

"""The raw records of a shard of any kind, read tolerantly and numbered, so that reading can start at any row.

A record that cannot be read carries a `BadRow`. Only a missing column is an error, because then no row could be used. `sources.py`
finds the shards and turns records into rows.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from training.base.errors import ConfigError
from training.corpus.shards import Record, Shard
from training.corpus.tables import read_table
from training.corpus.text_files import BadRow, is_blank, join, open_binary, read_lines, read_pieces

if TYPE_CHECKING:
    import pyarrow


def read(shard: Shard, start: int = 0, offset: int | None = None) -> Iterator[Record]:
    """The records from row `start` on.

    A file that breaks off, such as a truncated .gz, ends with a record that carries a BadRow.

    Args:
        offset: where row `start` begins in a seekable file, if known. Lines are then counted from `start`.
    """
    if shard.format == "hub":
        return _hub(shard, start)
    if shard.format == "parquet":
        return _parquet(shard, start)
    if shard.format in ("csv", "tsv"):
        return read_table(shard, start)
    if shard.target_path is not None:
        return _aligned(shard, start)
    number = start + 1 if offset is not None else 1
    if shard.in_pieces:
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
    """Pairs of line n of one file and line n of the other.

    Raises:
        ConfigError: if one file has more lines than the other (blank ones at the end aside), because a line lost anywhere shifts all
            pairs after it. fairseq, Marian, OpenNMT and Sockeye refuse such files too.
    """
    assert shard.target_path is not None
    sides = read_lines(shard.path, shard.label), read_lines(shard.target_path, shard.target_label)
    for row, (a, b) in enumerate(itertools.zip_longest(*sides)):
        bad = next((x[2] for x in (a, b) if x and isinstance(x[2], BadRow)), None)
        if (a is None or b is None) and bad is None:  # a file that breaks off is reported as a bad row
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


def _parquet(shard: Shard, start: int) -> Iterator[Record]:
    """The records of a parquet file; raises ConfigError if it is not one or lacks a needed column."""
    import pyarrow
    import pyarrow.parquet as pq

    needed = list(dict.fromkeys([c for _, c in shard.columns] + [k for k, _ in shard.where]))
    open_binary(shard.path, shard.label).close()  # raises a ConfigError with the reason if it cannot be opened
    try:
        file = pq.ParquetFile(shard.path)
    except (pyarrow.ArrowException, OSError) as error:
        raise ConfigError(f"{shard.label}: not a parquet file ({' '.join(str(error).split())[:120]})") from None
    names = file.schema_arrow.names
    # Some parallel corpora nest both sides: {"translation": {"en": …, "zh": …}}.
    if missing := [c for c in needed if c not in names and "translation" not in names]:
        raise ConfigError(f"{shard.label}: no column {', '.join(missing)}; it has {', '.join(names)[:200]}")
    columns = [c for c in (*needed, "translation") if c in names]
    row = 0
    try:
        for group in range(file.num_row_groups):
            size = file.metadata.row_group(group).num_rows
            if row + size <= start:  # skip whole groups without reading them
                row += size
                continue
            for batch in file.iter_batches(batch_size=1024, row_groups=[group], columns=columns):
                for data in _plain_rows(batch):
                    if row >= start:
                        yield Record(row, row + 1, 0, data)
                    row += 1
    except (pyarrow.ArrowException, OSError) as error:
        yield Record(row, row + 1, 0, BadRow("malformed", f"the file breaks off: {' '.join(str(error).split())[:200]}"))


def _plain_rows(batch: pyarrow.RecordBatch) -> list[Any]:
    """Each row as a dict, or as a BadRow if a text in it is not UTF-8, which the format itself does not check."""
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
    """The records of a hub dataset, streamed; raises ConfigError if it cannot be opened."""
    import datasets

    try:
        rows = datasets.load_dataset(shard.path, shard.name, split=shard.split, streaming=True)
    except Exception as error:  # the hub has many kinds of errors, all of which the user should read
        raise ConfigError(f"{shard.label}: cannot be opened ({type(error).__name__}: {' '.join(str(error).split())[:300]})") from None
    row = start
    try:
        # In batches of one row, because plain iteration in a loader worker gives only that worker's part of the dataset.
        for batch in (rows.skip(start) if start else rows).iter(batch_size=1):
            yield Record(row, row + 1, 0, {k: v[0] for k, v in batch.items()})
            row += 1
    except Exception as error:  # the errors depend on the dataset's builder
        yield Record(row, row + 1, 0, BadRow("malformed", f"the dataset breaks off: {' '.join(str(error).split())[:200]}"))

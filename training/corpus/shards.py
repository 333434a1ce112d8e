"""What a corpus is read from: shards (a file or dataset each) and the raw records in them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, NamedTuple

from training.corpus.text_files import compression


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

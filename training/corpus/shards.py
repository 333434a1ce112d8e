"""What a corpus is read from: shards (a file or dataset each) and the raw records in them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, NamedTuple

from training.corpus.text_files import compression


@dataclass(frozen=True)
class Shard:
    """One file or dataset, with all settings that reading it needs. See SourceConfig for fields without a comment."""

    path: str
    label: str  # the user's name for it, used in messages
    format: str  # txt, jsonl, csv, tsv, parquet, hub
    columns: tuple[tuple[str, str], ...]  # (the task's column, the file's column)
    document: str = "line"
    target_path: str | None = None
    target_label: str = ""
    weight: float = 1.0
    where: tuple[tuple[str, tuple[Any, ...]], ...] = ()
    name: str | None = None
    split: str = "train"
    tag: str = ""

    @property
    def seekable(self) -> bool:
        """Whether reading can start at a row's byte offset."""
        return self.format in ("txt", "jsonl") and self.target_path is None and not compression(self.label)

    @property
    def line_by_line(self) -> bool:
        """Whether row n is line n + 1."""
        return self.format != "csv" and self.format != "tsv" and (self.format != "txt" or self.document == "line")

    @property
    def in_pieces(self) -> bool:
        """Whether the file is one long text, read in pieces."""
        return self.format == "txt" and self.document == "file"

    def fingerprint(self) -> list[Any]:
        """A value that changes when the data does: settings, and sizes and times of files. A hub dataset's version is not part of it."""
        files = [p for p in (self.path, self.target_path) if p and os.path.isfile(p)]
        if os.path.isdir(self.path):
            files += sorted(os.path.join(folder, f) for folder, _, names in os.walk(self.path) for f in names)
        return [repr(self)] + [[p, os.stat(p).st_size, os.stat(p).st_mtime_ns] for p in files]


class Record(NamedTuple):
    """A row as it is in the shard, before it is parsed."""

    row: int  # counted from 0
    line: int  # counted from 1: its first line, or the row's number in formats without lines
    offset: int  # bytes from the beginning of a seekable file; 0 elsewhere
    data: Any  # bytes (txt, jsonl), a pair of bytes (two aligned files), a dict (tables, hub), or a BadRow

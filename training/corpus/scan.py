"""The first pass over a corpus: which rows are used, and why the others are not.

`scan` reads every row once, counts rejected rows by reason and writes the first hundred of them to quarantine.jsonl. It keeps one byte a
row and the byte offset of every slice of rows, so that its memory does not grow with the length of the texts.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from training.base.errors import ConfigError
from training.corpus.filters import FILTERS, Seen, filter_row
from training.corpus.readers import read
from training.corpus.shards import Record, Shard
from training.corpus.sources import parse
from training.corpus.text_files import LEADING, BadRow
from training.settings.config import CorpusConfig, FiltersConfig
from training.settings.task_specs import TASKS

SLICE = 256  # consecutive rows that are read together

QUARANTINE = 100  # rejected rows that are written to the file

LEFT_OUT, TRAIN, HELD_OUT = 0, 1, 2  # the states of a row


class Scan(NamedTuple):
    """The result of a scan: the state of every row, where slices begin, and counts for the report."""

    states: list[np.ndarray]  # an array a shard, one uint8 a row: LEFT_OUT, TRAIN or HELD_OUT
    offsets: list[np.ndarray]  # an array a shard, int64: the byte offset of each slice in a seekable file
    report: dict[str, Any]


# Headings of Chinese chapters, such as 第一回 or 卷第三章, which are proposed as a pattern.
HEADING = re.compile(r"^(.{0,8}?)第[〇零○一二三四五六七八九十百千两\d]{1,9}([章回节節卷集部篇幕话話])")
MANY_LINES = 10  # a file with fewer lines may be a single text, such as a poem


class _Undivided:
    """Collects text files that `corpus.document` should have divided into several texts, but did not."""

    def __init__(self) -> None:
        self.whole: list[tuple[Shard, int, bytes]] = []  # (shard, its number of lines, the beginning of its text)
        self.patterns_found = False

    def add(self, shard: Shard, only: Any) -> None:
        """Add a shard. `only` is the data of its record if it has a single one, otherwise None."""
        if shard.format != "txt" or shard.document in ("line", "file") or shard.target_path:
            return
        if not isinstance(only, bytes):
            self.patterns_found |= shard.document.startswith("^")
            return
        first = only.split(b"\n", 1)[0].decode("utf-8", "replace")
        if shard.document.startswith("^") and re.match(shard.document, LEADING.sub("", first)):
            self.patterns_found = True
        elif (lines := only.count(b"\n") + 1) >= (2 if shard.document.startswith("^") else MANY_LINES):
            self.whole.append((shard, lines, only[: 1 << 20]))

    def report(self) -> list[list[Any]]:
        """[file, number of lines] of each collected file; raises ConfigError if a pattern matched in no file at all."""
        unmatched = [part for part in self.whole if part[0].document.startswith("^")]
        if unmatched and not self.patterns_found:
            shard, _, text = unmatched[0]
            lines = (LEADING.sub("", line) for line in text.decode("utf-8", "ignore").split("\n"))
            heading = next((m for m in map(HEADING.match, lines) if m), None)
            pattern = f"^{re.escape(heading[1])}第.{{1,9}}{heading[2]}".replace("\\ ", " ") if heading else ""
            hint = f"; lines such as {heading.string[:20]!r} look like headings: {pattern!r}" if heading else ""
            raise ConfigError(f"corpus.document: no line of {shard.label} matches {shard.document!r}{hint}")
        return [[shard.label, lines] for shard, lines, _ in self.whole]


class _Rejected:
    """Rejected rows: their number and the first one by reason, and the first hundred for the quarantine file."""

    def __init__(self, strict: bool, task: str):
        self.strict, self.spec = strict, TASKS[task]
        self.reasons: Counter[str] = Counter()
        self.first_of: dict[str, str] = {}
        self.rows: list[dict[str, Any]] = []

    def add(self, shard: Shard, record: Record, error: BadRow) -> None:
        """Count a row; raises ConfigError under `corpus.strict` if the row is a fault of the file."""
        where = f"{shard.label}:{record.line}"
        blank_line = error.reason == "empty" and shard.format == "txt" and self.spec.blank_lines_harmless
        if self.strict and error.reason not in FILTERS and not blank_line:
            raise ConfigError(f"{where}: {error.reason}: {error} (corpus.strict is on)")
        self.reasons[error.reason] += 1
        self.first_of.setdefault(error.reason, f"{where}: {error}")
        if len(self.rows) < QUARANTINE and not blank_line:
            self.rows.append({
                "file": shard.label, "line": record.line, "reason": error.reason, "detail": str(error), "data": _excerpt(record.data),
            })  # fmt: skip

    def first(self) -> str:
        """The first row of the quarantine in words; empty if there is none."""
        return "{file}:{line}: {detail}".format(**self.rows[0]) if self.rows else ""

    def write(self, path: Path) -> None:
        """Write the quarantine file, replacing that of an earlier scan; without rejected rows there is no file."""
        path.unlink(missing_ok=True)
        if self.rows:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in self.rows), encoding="utf-8")


def scan(
    shards: list[Shard], config: CorpusConfig, task: str, filters: FiltersConfig | None, quarantine: Path | None,
    progress: Callable[[int], None] = lambda rows: None, seen: Seen | None = None, trained: Seen | None = None,
) -> Scan:  # fmt: skip
    """Read every row of `shards` once.

    Args:
        filters: None for a validation set, whose rows only have to be readable.
        quarantine: the file for the first hundred rejected rows.
        progress: called now and then with the number of rows read.
        seen: collects the texts, and which rows repeat an earlier one.
        trained: for a validation set, the texts of the training corpus; the report counts the rows that are also training rows.

    Raises:
        ConfigError: if no row is left, with the reasons; under `corpus.strict`, at the first bad row.
    """
    seen = seen or Seen()
    no_repeats = filters is not None and filters.duplicates and TASKS[task].drops_duplicates
    rejected = _Rejected(config.strict, task)
    characters: Counter[str] = Counter()
    states, offsets = [], []
    undivided = _Undivided()
    total = not_selected = also_trained = 0
    for shard in shards:
        marks, repeats, starts = bytearray(), bytearray(), []
        lengths = dict.fromkeys((column for column, _ in shard.columns), 0)
        only: Any = None
        for record in read(shard):
            if record.row == config.max_rows:
                break
            if record.row % SLICE == 0:
                starts.append(record.offset)
            only = record.data if record.row == 0 else None
            total += 1
            if total % 4096 == 0:
                progress(total)
            mark, repeated = LEFT_OUT, False
            try:
                row = parse(record, shard)
                if row is None:
                    not_selected += 1
                else:
                    if filters:
                        filter_row(row, filters)
                    repeated = seen.add(row)
                    if repeated and no_repeats:
                        raise BadRow("duplicate")
                    also_trained += trained is not None and row in trained
                    for column, text in row.items():
                        lengths[column] += len(text)
                    mark = TRAIN
            except BadRow as error:
                rejected.add(shard, record, error)
            marks.append(mark)
            repeats.append(repeated)
        undivided.add(shard, only)
        characters.update(lengths)
        states.append(np.frombuffer(bytes(marks), dtype=np.uint8).copy())
        seen.repeats.append(np.frombuffer(bytes(repeats), dtype=bool))
        offsets.append(np.array(starts, dtype=np.int64))
    if quarantine is not None:
        rejected.write(quarantine)
    reasons = rejected.reasons.most_common()
    report = {
        "rows_read": total, "rows_kept": sum(int((s == TRAIN).sum()) for s in states), "not_selected": not_selected,
        "rejected": dict(reasons), "examples": rejected.first_of, "characters": dict(characters), "first_rejected": rejected.first(),
        "undivided": undivided.report(), "also_trained": also_trained,
    }  # fmt: skip
    if not report["rows_kept"]:
        why = "; ".join(f"{n} {reason} (first: {rejected.first_of[reason]})" for reason, n in reasons)
        chosen = f"; {not_selected} not selected by `where`" if not_selected else ""
        raise ConfigError(f"{', '.join(s.label for s in shards[:3])}: no usable row among {total}: {why or 'nothing in it'}{chosen}")
    return Scan(states, offsets, report)


def _excerpt(data: Any) -> str:
    """The beginning of a record's data, as text for the quarantine file."""
    if isinstance(data, tuple):
        return "\t".join(map(_excerpt, data))
    if isinstance(data, bytes):
        return data[:200].decode("utf-8", errors="backslashreplace")
    if isinstance(data, BadRow):
        return ""
    return str(data)[:200].encode("utf-8", errors="backslashreplace").decode()

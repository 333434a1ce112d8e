"""The first pass over a corpus: which rows are used, and why the others are not.

`scan` reads every row once, counts the rejected ones by reason and writes the first hundred of them to
quarantine.jsonl. It keeps one byte a row and the byte offset of every slice of rows, so memory does not grow with the
text.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from training.base.errors import ConfigError
from training.corpus.filters import FILTERS, Bloom, filter_row
from training.corpus.readers import Record, Shard, read
from training.corpus.sources import parse
from training.corpus.text_files import BadRow
from training.settings.config import CorpusConfig, FiltersConfig
from training.settings.task_specs import TASKS

SLICE = 256  # rows that are always read together

QUARANTINE = 100  # rejected rows that are written down

LEFT_OUT, TRAIN, HELD_OUT = 0, 1, 2


class Scan(NamedTuple):
    """What is known of each shard's rows."""

    states: list[np.ndarray]  # one uint8 a row and shard: LEFT_OUT, TRAIN or HELD_OUT
    offsets: list[np.ndarray]  # int64, where each slice of a plain file begins
    report: dict[str, Any]


class _Rejected:
    """The rows that are not used: counted, the first of each reason remembered, the first hundred kept to be written."""

    def __init__(self, strict: bool, task: str):
        self.strict, self.spec = strict, TASKS[task]
        self.reasons: Counter[str] = Counter()
        self.first_of: dict[str, str] = {}
        self.rows: list[dict[str, Any]] = []

    def add(self, shard: Shard, record: Record, error: BadRow) -> None:
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
        """The first of those that are written, in words; empty if there is none."""
        return "{file}:{line}: {detail}".format(**self.rows[0]) if self.rows else ""

    def write(self, path: Path) -> None:
        """An earlier scan's file is replaced, or removed where nothing is rejected any more."""
        path.unlink(missing_ok=True)
        if self.rows:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in self.rows), encoding="utf-8")


def scan(
    shards: list[Shard], config: CorpusConfig, task: str, filters: FiltersConfig | None, quarantine: Path | None,
    progress: Callable[[int], None] = lambda rows: None,
) -> Scan:  # fmt: skip
    """Read every row of `shards` once.

    Args:
        filters: None for a validation set, whose rows are only required to be readable.
        quarantine: the file that gets the first hundred rejected rows.
        progress: called now and then with the number of rows read.

    Raises:
        ConfigError: if no row is left, saying what was rejected and why; with `strict`, at the first bad row.
    """
    seen = Bloom() if filters and filters.duplicates and TASKS[task].drops_duplicates else None
    rejected = _Rejected(config.strict, task)
    characters: Counter[str] = Counter()
    states, offsets = [], []
    total = not_selected = 0
    for shard in shards:
        marks, starts = bytearray(), []
        lengths = dict.fromkeys((ours for ours, _ in shard.columns), 0)
        for record in read(shard):
            if record.row == config.max_rows:
                break
            if record.row % SLICE == 0:
                starts.append(record.offset)
            total += 1
            if total % 4096 == 0:
                progress(total)
            mark = LEFT_OUT
            try:
                row = parse(record, shard)
                if row is None:
                    not_selected += 1
                else:
                    if filters:
                        filter_row(row, filters)
                    if seen and seen.add("\t".join(row.values())):
                        raise BadRow("duplicate")
                    for column, text in row.items():
                        lengths[column] += len(text)
                    mark = TRAIN
            except BadRow as error:
                rejected.add(shard, record, error)
            marks.append(mark)
        characters.update(lengths)
        states.append(np.frombuffer(bytes(marks), dtype=np.uint8).copy())
        offsets.append(np.array(starts, dtype=np.int64))
    if quarantine is not None:
        rejected.write(quarantine)
    reasons = rejected.reasons.most_common()
    report = {
        "rows_read": total, "rows_kept": sum(int((s == TRAIN).sum()) for s in states), "not_selected": not_selected,
        "rejected": dict(reasons), "examples": rejected.first_of, "characters": dict(characters), "first_rejected": rejected.first(),
    }  # fmt: skip
    if not report["rows_kept"]:
        why = "; ".join(f"{n} {reason} (first: {rejected.first_of[reason]})" for reason, n in reasons)
        chosen = f"; {not_selected} not selected by `where`" if not_selected else ""
        raise ConfigError(f"{', '.join(s.label for s in shards[:3])}: no usable row among {total}: {why or 'nothing in it'}{chosen}")
    return Scan(states, offsets, report)


def _excerpt(data: Any) -> str:
    if isinstance(data, tuple):
        return "\t".join(map(_excerpt, data))
    if isinstance(data, bytes):
        return data[:200].decode("utf-8", errors="backslashreplace")
    if isinstance(data, BadRow):
        return ""
    return str(data)[:200].encode("utf-8", errors="backslashreplace").decode()

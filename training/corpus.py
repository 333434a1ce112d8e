"""A corpus: read once to see what is in it, then streamed in an order that is a function of seed, epoch and position.

`scan` reads every row once, decides which are used, counts the others by reason, writes the first hundred of those to
quarantine.jsonl and holds out a validation set. It keeps one byte a row and the byte offset of every slice of 256 rows,
so memory does not grow with the text. After that an epoch is a *plan*: a shuffled list of slices. A *chunk* is a run of
slices whose rows are shuffled and batched together. Because the plan is computed, not remembered, a run resumes from
three numbers (epoch, chunk, batch), whatever the number of loader workers. It knows no model.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from training.config import ConfigError, CorpusConfig, FiltersConfig
from training.config import sources as source_list
from training.sources import BadRow, Record, Shard, parse, read, resolve

if TYPE_CHECKING:
    import datasets

SLICE = 256  # rows that are always read together
OPEN_AT_ONCE = 16  # compressed files that an epoch reads from side by side
QUARANTINE = 100  # rejected rows that are written down
LEFT_OUT, TRAIN, HELD_OUT = 0, 1, 2
COLUMNS = {
    "gpt": {"text": "text"},
    "translation": {"source": "chinese", "target": "english"},  # the names of translation2019zh
}
HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")
LATIN = re.compile(r"[A-Za-z\u00c0-\u024f]")


class Slice(NamedTuple):
    """Rows `SLICE * number` and following of one shard; `share` < 1 takes a random part of them."""

    shard: int
    visit: int
    number: int
    share: float


@dataclass
class Corpus:
    """Shards and what the scan decided about each of their rows."""

    shards: list[Shard]
    states: list[np.ndarray]  # one uint8 a row and shard: LEFT_OUT, TRAIN or HELD_OUT
    offsets: list[np.ndarray]  # int64, where each slice of a plain file begins
    report: dict[str, Any]
    seed: int = 1
    shuffle_rows: int = 16384
    shuffle: bool = True
    plans: dict[int, list[Slice]] = field(default_factory=dict, repr=False)  # the epoch last planned

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "plans": {}}

    def count(self, state: int = TRAIN) -> int:
        """Rows in that state."""
        return sum(int((s == state).sum()) for s in self.states)

    @property
    def keeps_order(self) -> bool:
        """One long text in pieces: slices change places, the pieces inside one stay in order."""
        return any(s.document == "file" for s in self.shards)

    @property
    def chunks_per_epoch(self) -> int:
        """The same in every epoch, so that (epoch, chunk) can be counted through."""
        return max(1, -(-len(self.plan(0)) // self._slices_per_chunk))

    @property
    def _slices_per_chunk(self) -> int:
        return max(1, self.shuffle_rows // SLICE)

    def plan(self, epoch: int) -> list[Slice]:
        """All slices of an epoch in the order in which they are read; a function of seed and epoch alone."""
        if epoch in self.plans:
            return self.plans[epoch]
        rng = np.random.default_rng([self.seed, epoch, 1])
        visits: list[list[Slice]] = []
        for i, (shard, states) in enumerate(zip(self.shards, self.states)):
            used = [int(n) for n in np.unique(np.flatnonzero(states == TRAIN) // SLICE)]
            whole, part = int(shard.weight), shard.weight % 1
            for visit in range(whole + (part > 0)):
                slices = [Slice(i, visit, n, 1.0 if visit < whole else part) for n in used]
                if self.shuffle and shard.seekable:  # compressed files can only be read from front to back
                    slices = [slices[k] for k in rng.permutation(len(slices))]
                visits.append(slices)
        if self.shuffle:
            visits = [visits[k] for k in rng.permutation(len(visits))]
        plan: list[Slice] = []
        for start in range(0, len(visits), OPEN_AT_ONCE):
            group = visits[start : start + OPEN_AT_ONCE]
            turns = np.repeat(np.arange(len(group)), [len(v) for v in group])
            iterators = [iter(v) for v in group]
            plan += [next(iterators[k]) for k in (rng.permutation(turns) if self.shuffle else turns)]
        self.plans = {epoch: plan}
        return plan

    def rows(self, epoch: int, chunks: Iterable[int]) -> Iterator[dict[str, Any]]:
        """The training rows of these chunks (ascending) of an epoch, shuffled inside each chunk.

        Each row has our columns and `_chunk`, `_shard` and `_row`, which say where it came from.
        """
        plan, per = self.plan(epoch), self._slices_per_chunk
        front_to_back: dict[tuple[int, int], Iterator[Record]] = {}
        for chunk in chunks:
            held: list[dict[str, Any]] = []
            for s in plan[chunk * per : (chunk + 1) * per]:
                held += self._slice_rows(s, epoch, front_to_back)
            order = range(len(held))
            if self.shuffle and not self.keeps_order:
                order = np.random.default_rng([self.seed, epoch, 2, chunk]).permutation(len(held)).tolist()
            for k in order:
                yield {"_chunk": chunk, **held[k]}

    def _slice_rows(self, s: Slice, epoch: int, front_to_back: dict[tuple[int, int], Iterator[Record]]) -> Iterator[dict[str, Any]]:
        shard, first = self.shards[s.shard], s.number * SLICE
        wanted = self.states[s.shard][first : first + SLICE] == TRAIN
        if s.share < 1:
            rng = np.random.default_rng([self.seed, epoch, 3, s.shard, s.number])
            wanted = wanted & (rng.random(len(wanted)) < s.share)
        if shard.seekable:
            records = read(shard, first, int(self.offsets[s.shard][s.number]))
        else:
            records = front_to_back.get((s.shard, s.visit)) or read(shard, first)
            front_to_back[s.shard, s.visit] = records
        last = int(np.flatnonzero(wanted)[-1]) if wanted.any() else -1
        for record in records if last >= 0 else ():
            k = record.row - first
            if k >= 0 and wanted[k]:
                yield {**_reread(record, shard), **self._place(s.shard, record.row)}
            if k >= last:
                break

    def _place(self, shard: int, row: int) -> dict[str, Any]:
        """Where a row is from; and, for a long text in pieces, whether it is the first or the last of them."""
        pieces = self.shards[shard].document == "file"
        ends = {"_first": row == 0, "_last": row == len(self.states[shard]) - 1} if pieces else {}
        return {"_shard": shard, "_row": row, **ends}

    def held_out(self, limit: int | None = None) -> Iterator[dict[str, Any]]:
        """The validation rows, in the order of the files."""
        found = 0
        for i, (shard, states) in enumerate(zip(self.shards, self.states)):
            marked = np.flatnonzero(states == HELD_OUT)
            if not len(marked):
                continue
            first = int(marked[0]) // SLICE
            offset = int(self.offsets[i][first]) if shard.seekable else None
            for record in read(shard, first * SLICE, offset):
                if states[record.row] == HELD_OUT:
                    yield {**_reread(record, shard), **self._place(i, record.row)}
                    found += 1
                if record.row >= marked[-1] or found == limit:
                    break
            if found == limit:
                return

    def stream(self, epoch: int = 0, chunks: Iterable[int] | None = None) -> datasets.IterableDataset:
        """The training rows of an epoch as a streamed `datasets.IterableDataset`, in the order of training."""
        import datasets

        wanted = range(self.chunks_per_epoch) if chunks is None else chunks
        return datasets.IterableDataset.from_generator(self.rows, gen_kwargs={"epoch": epoch, "chunks": wanted})

    def where(self, shard: int, row: int) -> str:
        """`file:line` of a row, for messages."""
        return f"{self.shards[shard].label}:{_line(self.shards[shard], row)}"


def _reread(record: Record, shard: Shard) -> dict[str, Any]:
    try:
        row = parse(record, shard)
    except BadRow as error:
        raise ConfigError(f"{shard.label}: changed since the run began (row {record.row}: {error})") from None
    assert row is not None, (shard.label, record.row)
    return row


def _line(shard: Shard, row: int) -> int:
    return row + (2 if shard.format in ("csv", "tsv") else 1)


class Bloom:
    """A set of constant size that may, rarely, think that it has seen what it has not (Bloom 1970): 2^29 bits, 4 hashes."""

    def __init__(self, bits: int = 29):
        self.mask, self.bits = (1 << bits) - 1, bytearray(1 << (bits - 3))

    def add(self, key: str) -> bool:
        """Put `key` in; True if it was there before."""
        digest, seen = hashlib.blake2b(key.encode(), digest_size=16).digest(), True
        for k in range(0, 16, 4):
            at = int.from_bytes(digest[k : k + 4], "little") & self.mask
            if not self.bits[at >> 3] >> (at & 7) & 1:
                self.bits[at >> 3] |= 1 << (at & 7)
                seen = False
        return seen


def filter_row(row: dict[str, str], f: FiltersConfig) -> None:
    """Raises BadRow with the name of the first filter that a row does not pass."""
    sides = list(row.values())
    if f.max_chars and max(map(len, sides)) > f.max_chars:
        raise BadRow("too_long", f"{max(map(len, sides))} characters")
    if min(map(len, sides)) < f.min_chars:
        raise BadRow("too_short", f"{min(map(len, sides))} characters")
    if len(sides) == 1:
        return
    source, target = sides
    if f.identical and source == target:
        raise BadRow("identical")
    if f.max_ratio:
        a, b = _length(source), _length(target)
        if max(a, b) > f.max_ratio * min(a, b):
            raise BadRow("ratio", f"lengths {a:.0f} and {b:.0f}")
    if f.script:
        if 2 * len(HAN.findall(source)) <= len(LATIN.findall(source)):
            raise BadRow("script", "the source is not Chinese")
        if 2 * len(HAN.findall(target)) >= len(LATIN.findall(target)):
            raise BadRow("script", "the target is not English")


def _length(text: str) -> float:
    """Length in Chinese characters, an English word counting as 1.6 of them (the mean over Tatoeba's pairs)."""
    han = len(HAN.findall(text))
    return max(1.0, han + 1.6 * len(HAN.sub(" ", text).split()))


def scan(
    shards: list[Shard], config: CorpusConfig, task: str, filters: FiltersConfig | None, quarantine: Path | None,
    progress: Callable[[int], None] = lambda rows: None,
) -> Corpus:  # fmt: skip
    """Read every row of `shards` once.

    Args:
        filters: None for a validation set, whose rows are only required to be readable.
        quarantine: the file that gets the first hundred rejected rows.
        progress: called now and then with the number of rows read.

    Raises:
        ConfigError: if no row is left, saying what was rejected and why; with `strict`, at the first bad row.
    """
    seen = Bloom() if filters and filters.duplicates and task == "translation" else None
    reasons: Counter[str] = Counter()
    characters: Counter[str] = Counter()
    first_of: dict[str, str] = {}
    rejected: list[dict[str, Any]] = []
    states, offsets = [], []
    total = not_selected = 0
    for shard in shards:
        marks, starts = bytearray(), []
        for record in read(shard):
            if config.max_rows is not None and record.row >= config.max_rows:
                break
            if record.row % SLICE == 0:
                starts.append(record.offset or 0)
            total += 1
            if total % 4096 == 0:
                progress(total)
            try:
                row = parse(record, shard)
                if row is None:
                    not_selected += 1
                    marks.append(LEFT_OUT)
                    continue
                if filters:
                    filter_row(row, filters)
                    if seen and seen.add("\t".join(row.values())):
                        raise BadRow("duplicate")
                characters.update({k: len(v) for k, v in row.items()})
                marks.append(TRAIN)
            except BadRow as error:
                marks.append(LEFT_OUT)
                where = f"{shard.label}:{_line(shard, record.row)}"
                blank_line = error.reason == "empty" and shard.format == "txt" and task == "gpt"
                if config.strict and error.reason not in FILTERS and not blank_line:
                    raise ConfigError(f"{where}: {error.reason}: {error} (corpus.strict is on)") from None
                reasons[error.reason] += 1
                first_of.setdefault(error.reason, f"{where}: {error}")
                if len(rejected) < QUARANTINE and not blank_line:
                    rejected.append({
                        "file": shard.label, "line": _line(shard, record.row), "reason": error.reason,
                        "detail": str(error), "data": _excerpt(record.data),
                    })  # fmt: skip
        states.append(np.frombuffer(bytes(marks), dtype=np.uint8).copy())
        offsets.append(np.array(starts, dtype=np.int64))
    report = {
        "rows_read": total, "rows_kept": sum(int((s == TRAIN).sum()) for s in states), "not_selected": not_selected,
        "rejected": dict(reasons.most_common()), "examples": first_of, "characters": dict(characters),
    }  # fmt: skip
    if quarantine is not None and rejected:
        quarantine.parent.mkdir(parents=True, exist_ok=True)
        quarantine.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rejected), encoding="utf-8")
    if not report["rows_kept"]:
        why = "; ".join(f"{n} {reason} (first: {first_of[reason]})" for reason, n in reasons.most_common())
        chosen = f"; {not_selected} not selected by `where`" if not_selected else ""
        raise ConfigError(f"{', '.join(s.label for s in shards[:3])}: no usable row among {total}: {why or 'nothing in it'}{chosen}")
    return Corpus(shards, states, offsets, report, shuffle_rows=config.shuffle_rows)


FILTERS = ("too_short", "identical", "ratio", "script", "duplicate")  # choices of the config, not faults of the file


def _excerpt(data: Any) -> str:
    if isinstance(data, tuple):
        return "\t".join(map(_excerpt, data))
    if isinstance(data, bytes):
        return data[:200].decode("utf-8", errors="backslashreplace")
    return "" if isinstance(data, BadRow) else str(data)[:200]


def hold_out(corpus: Corpus, share: float, most: int, how: str) -> int:
    """Mark a share of the rows, at most `most`, as HELD_OUT; returns how many. The same rows for every seed."""
    n = corpus.count()
    wanted = min(n - 1, most, max(1, round(share * n))) if share else 0
    if wanted < 1:
        return 0
    chosen = np.sort(np.random.default_rng(0).permutation(n)[:wanted]) if how == "spread" else np.arange(n - wanted, n)
    before = 0
    for states in corpus.states:
        at = np.flatnonzero(states == TRAIN)
        here = chosen[(chosen >= before) & (chosen < before + len(at))] - before
        states[at[here]] = HELD_OUT
        before += len(at)
    return wanted


def open_corpus(
    config: CorpusConfig, task: str, folder: Path, seed: int, most_validation: int,
    progress: Callable[[int], None] = lambda rows: None,
) -> tuple[Corpus, Corpus]:  # fmt: skip
    """The training corpus and the one whose held-out rows are the validation set (often the same).

    What the scan found is kept in `folder` and used again while the files and the config stay the same.

    Raises:
        ConfigError: for sources that cannot be found or have no usable row.
    """
    columns = {**COLUMNS[task], **config.columns}
    train = resolve(source_list(config.train), columns, config.document, "corpus.train")
    valid = resolve(source_list(config.validation), columns, config.document, "corpus.validation")
    keys = [config.filters, config.max_rows, config.strict, config.validation_share, config.holdout, most_validation, task]
    stamp = [[s.fingerprint() for s in train], [s.fingerprint() for s in valid], repr(keys)]
    print_of = hashlib.sha256(json.dumps(stamp).encode()).hexdigest()
    parts = _load(folder, print_of, [train, valid])
    if parts is None:
        corpus = scan(train, config, task, config.filters, folder / "quarantine.jsonl", progress)
        if valid:
            validation = scan(valid, config, task, None, folder / "quarantine_validation.jsonl", progress)
            for states in validation.states:
                states[states == TRAIN] = HELD_OUT
            parts = [corpus, validation]
        else:
            corpus.report["held_out"] = hold_out(corpus, config.validation_share, most_validation, config.holdout)
            parts = [corpus]
        _save(folder, print_of, parts)
    for part in parts:
        part.seed, part.shuffle_rows = seed, config.shuffle_rows
    return parts[0], parts[-1]


def _save(folder: Path, fingerprint: str, parts: list[Corpus]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {}
    for p, part in enumerate(parts):
        for i in range(len(part.shards)):
            arrays[f"{p}_{i}_states"], arrays[f"{p}_{i}_offsets"] = part.states[i], part.offsets[i]
    beside = folder / "scan.tmp.npz"
    np.savez_compressed(beside, allow_pickle=False, **arrays)
    report = {"fingerprint": fingerprint, "parts": [p.report for p in parts]}
    (folder / "report.tmp").write_text(json.dumps(report, ensure_ascii=False, indent=1), encoding="utf-8")
    os.replace(beside, folder / "scan.npz")
    os.replace(folder / "report.tmp", folder / "report.json")  # last: it says that the scan is whole


def _load(folder: Path, fingerprint: str, shards: list[list[Shard]]) -> list[Corpus] | None:
    try:
        report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
        if report["fingerprint"] != fingerprint:
            return None
        arrays = np.load(folder / "scan.npz", allow_pickle=False)
        return [
            Corpus(
                shards[p], [arrays[f"{p}_{i}_states"] for i in range(len(shards[p]))],
                [arrays[f"{p}_{i}_offsets"] for i in range(len(shards[p]))], found,
            )
            for p, found in enumerate(report["parts"])
        ]  # fmt: skip
    except (OSError, KeyError, ValueError, zipfile.BadZipFile):
        return None


def summary(report: dict[str, Any]) -> str:
    """What a scan found, in one line for people."""
    line = f"{report['rows_kept']:,} of {report['rows_read']:,} rows used"
    if report.get("held_out"):
        line += f", {report['held_out']:,} of them held out for validation"
    if report["not_selected"]:
        line += f"; {report['not_selected']:,} not selected by `where`"
    if report["rejected"]:
        line += "; rejected: " + ", ".join(f"{n:,} {reason}" for reason, n in report["rejected"].items())
    return line

"""A corpus: read once to see what is in it, then streamed in an order that is a function of seed, epoch and position.

`open_corpus` has every row read once (scan.py) and holds out a validation set. After that an epoch is a *plan*: a
shuffled list of slices of 256 rows. A *chunk* is a run of slices whose rows are shuffled and batched together. Because
the plan is computed, not remembered, a run resumes from three numbers (epoch, chunk, batch), whatever the number of
loader workers. It knows no model.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from training.base.errors import ConfigError
from training.corpus.readers import read
from training.corpus.scan import HELD_OUT, SLICE, TRAIN
from training.corpus.shards import Record, Shard
from training.corpus.sources import parse
from training.corpus.text_files import BadRow

if TYPE_CHECKING:
    import datasets

OPEN_AT_ONCE = 16  # compressed files that an epoch reads from side by side

CHUNK_CHARACTERS = 16_000_000  # a chunk of long texts has fewer rows than `shuffle_rows`, so that it fits into memory


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
    _ends: dict[tuple[int, int], tuple[int, int]] = field(default_factory=dict, init=False, repr=False)

    def count(self, state: int = TRAIN) -> int:
        """Rows in that state."""
        return sum(int((s == state).sum()) for s in self.states)

    @property
    def keeps_order(self) -> bool:
        """One long text in pieces: slices change places, the pieces inside one stay in order."""
        return any(s.document == "file" and s.format == "txt" for s in self.shards)

    @property
    def chunks_per_epoch(self) -> int:
        """The same in every epoch, so that (epoch, chunk) can be counted through."""
        return max(1, math.ceil(self._slices / self._slices_per_chunk))

    @property
    def mixed_rows(self) -> int:
        """Rows that are shuffled together, in the mean."""
        return round(min(self._slices_per_chunk, self._slices) * self._rows_per_slice)

    @property
    def front_to_back_rows(self) -> int:
        """Training rows of the longest source that can only be read from front to back (compressed, csv, parquet, a stream)."""
        return max((int((s == TRAIN).sum()) for s, shard in zip(self.states, self.shards) if not shard.seekable), default=0)

    @property
    def _slices_per_chunk(self) -> int:
        characters = sum(self.report["characters"].values()) / max(1, self.report["rows_kept"])  # of a row, in the mean
        return max(1, int(min(self.shuffle_rows, CHUNK_CHARACTERS / max(1, characters)) / self._rows_per_slice))

    @property
    def _slices(self) -> int:
        """Slices of an epoch, those of a source of weight 2 twice."""
        return sum(len(self._used(i)) * math.ceil(s.weight) for i, s in enumerate(self.shards))

    @property
    def _rows_per_slice(self) -> float:
        """Training rows of a slice, in the mean over an epoch: few where `where` or a filter leaves few.

        The short last slice of a file counts by its length.
        """
        selected, read = 0.0, 0
        for i, (shard, states) in enumerate(zip(self.shards, self.states)):
            used = self._used(i)
            short = -len(states) % SLICE if used and used[-1] == (len(states) - 1) // SLICE else 0
            selected += shard.weight * int((states == TRAIN).sum())
            read += math.ceil(shard.weight) * (len(used) * SLICE - short)
        return max(1.0, SLICE * selected / max(1, read))

    def _used(self, shard: int) -> list[int]:
        """The slices that hold training rows."""
        return np.unique(np.flatnonzero(self.states[shard] == TRAIN) // SLICE).tolist()

    def plan(self, epoch: int) -> list[Slice]:
        """All slices of an epoch in the order in which they are read; a function of seed and epoch alone."""
        rng = np.random.default_rng([self.seed, epoch, 1])
        visits: list[list[Slice]] = []
        for i, shard in enumerate(self.shards):
            used, whole, part = self._used(i), int(shard.weight), shard.weight % 1
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
        return plan

    def rows(self, epoch: int, chunks: Iterable[int]) -> Iterator[dict[str, Any]]:
        """The training rows of these chunks of an epoch, shuffled inside each chunk.

        Each row has our columns and `_chunk`, `_shard` and `_row`, which say where it came from.
        """
        plan, per = self.plan(epoch), self._slices_per_chunk
        last = {(s.shard, s.visit): at for at, s in enumerate(plan)}
        front_to_back: dict[tuple[int, int], Iterator[Record]] = {}
        before = -1
        for chunk in chunks:
            if chunk <= before:  # files that are read from front to back are opened again
                front_to_back.clear()
            before = chunk
            held: list[dict[str, Any]] = []
            for visit in [v for v in front_to_back if last[v] < chunk * per]:  # another worker read its last slice
                del front_to_back[visit]
            for at, s in enumerate(plan[chunk * per : (chunk + 1) * per], chunk * per):
                held += self._slice_rows(s, epoch, front_to_back)
                if last[s.shard, s.visit] == at:  # its file is closed with it
                    front_to_back.pop((s.shard, s.visit), None)
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
        if not wanted.any():
            return
        last = int(np.flatnonzero(wanted)[-1])
        for record in records:
            k = record.row - first
            if k >= 0 and wanted[k]:
                yield {**_reread(record, shard), **self._place(s.shard, record.row, TRAIN)}
            if k >= last:
                return
        raise ConfigError(f"{shard.label}: changed since the run began (it ends before row {first + last})")

    def _place(self, shard: int, row: int, state: int) -> dict[str, Any]:
        """Where a row is from; and, for a long text in pieces, whether it is the first or the last of those in that state.

        Not of the file's: with `holdout: tail` its last piece is held out, and no end of a text would be trained on.
        """
        place: dict[str, Any] = {"_shard": shard, "_row": row}
        if self.shards[shard].document == "file" and self.shards[shard].format == "txt":
            if (shard, state) not in self._ends:
                found = np.flatnonzero(self.states[shard] == state)
                self._ends[shard, state] = int(found[0]), int(found[-1])
            first, last = self._ends[shard, state]
            place |= {"_first": row == first, "_last": row == last}
        return place

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
                    yield {**_reread(record, shard), **self._place(i, record.row, HELD_OUT)}
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

    def some(self, rows: int, characters: int) -> Iterator[dict[str, Any]]:
        """The beginning of the stream: at most so many rows, and no more of them once they have so many characters."""
        for row in itertools.islice(self.stream(), rows):
            yield row
            characters -= sum(len(value) for value in row.values() if isinstance(value, str))
            if characters <= 0:
                return

    def where(self, shard: int, row: int) -> str:
        """`file:line` of a row, for messages; where rows take several lines, they are counted through again."""
        found = self.shards[shard]
        line = row + 1 if found.line_by_line else next((r.line for r in read(found, row)), row + 1)
        return f"{found.label}:{line}"


def _reread(record: Record, shard: Shard) -> dict[str, Any]:
    try:
        row = parse(record, shard)
    except BadRow as error:
        raise ConfigError(f"{shard.label}: changed since the run began (row {record.row}: {error})") from None
    assert row is not None, (shard.label, record.row)
    first = shard.columns[0][0]
    return {**row, first: shard.tag + row[first]} if shard.tag else row

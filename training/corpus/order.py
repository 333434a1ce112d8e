"""The order of a corpus's rows: a function of seed, epoch and position.

`prepare.open_corpus` makes a corpus. An epoch is a *plan*: a shuffled list of slices of 256 rows. A *chunk* is a run of slices whose
rows are shuffled and batched together. Because the plan is computed and not stored, a run resumes from its position alone, whatever the
number of loader workers.
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

OPEN_AT_ONCE = 16  # files that an epoch reads from at the same time

CHUNK_CHARACTERS = 16_000_000  # the size of a chunk at most: with long texts it has fewer rows than `shuffle_rows`, to fit into memory


class Slice(NamedTuple):
    """Up to SLICE consecutive rows of one shard, from row `SLICE * number` on."""

    shard: int  # index into Corpus.shards
    visit: int  # a source of weight 2 is visited twice in an epoch: 0 and 1
    number: int
    share: float  # below 1, a random part of the rows is taken


@dataclass
class Corpus:
    """Shards, the scan's decision about each of their rows, and the order in which an epoch reads them."""

    shards: list[Shard]
    states: list[np.ndarray]  # one uint8 a row and shard: LEFT_OUT, TRAIN or HELD_OUT
    offsets: list[np.ndarray]  # int64, where each slice of a plain file begins
    report: dict[str, Any]
    seed: int = 1
    shuffle_rows: int = 16384
    shuffle: bool = True
    _ends: dict[tuple[int, int], tuple[int, int]] = field(default_factory=dict, init=False, repr=False)

    def count(self, state: int = TRAIN) -> int:
        """The number of rows in a state."""
        return sum(int((s == state).sum()) for s in self.states)

    @property
    def keeps_order(self) -> bool:
        """Whether rows keep their order within a chunk, because they are pieces of one long text; slices are shuffled still."""
        return any(shard.in_pieces for shard in self.shards)

    @property
    def chunks_per_epoch(self) -> int:
        """The number of chunks, which is the same in every epoch, so that chunks can be numbered across epochs."""
        return max(1, math.ceil(self._slices / self._slices_per_chunk))

    @property
    def mixed_rows(self) -> int:
        """The mean number of rows that are shuffled together."""
        return round(min(self._slices_per_chunk, self._slices) * self._rows_per_slice)

    @property
    def front_to_back_rows(self) -> int:
        """Training rows of the longest shard that can only be read from front to back (compressed, csv, parquet, a stream)."""
        return max((int((s == TRAIN).sum()) for s, shard in zip(self.states, self.shards) if not shard.seekable), default=0)

    @property
    def _slices_per_chunk(self) -> int:
        characters = sum(self.report["characters"].values()) / max(1, self.report["rows_kept"])  # mean of a row
        return max(1, int(min(self.shuffle_rows, CHUNK_CHARACTERS / max(1, characters)) / self._rows_per_slice))

    @property
    def _slices(self) -> int:
        """The number of slices in an epoch; those of a source of weight 2 count twice."""
        return sum(len(self._used(i)) * math.ceil(s.weight) for i, s in enumerate(self.shards))

    @property
    def _rows_per_slice(self) -> float:
        """The mean number of training rows in a slice; it is below SLICE if rows are left out. A file's short last slice counts in part."""
        selected, read = 0.0, 0
        for i, (shard, states) in enumerate(zip(self.shards, self.states)):
            used = self._used(i)
            short = -len(states) % SLICE if used and used[-1] == (len(states) - 1) // SLICE else 0
            selected += shard.weight * int((states == TRAIN).sum())
            read += math.ceil(shard.weight) * (len(used) * SLICE - short)
        return max(1.0, SLICE * selected / max(1, read))

    def _used(self, shard: int) -> list[int]:
        """The numbers of a shard's slices that hold training rows."""
        return np.unique(np.flatnonzero(self.states[shard] == TRAIN) // SLICE).tolist()

    def plan(self, epoch: int) -> list[Slice]:
        """All slices of an epoch in reading order; a function of seed and epoch alone."""
        rng = np.random.default_rng([self.seed, epoch, 1])
        visits: list[list[Slice]] = []
        for i, shard in enumerate(self.shards):
            used, whole, part = self._used(i), int(shard.weight), shard.weight % 1
            for visit in range(whole + (part > 0)):
                slices = [Slice(i, visit, n, 1.0 if visit < whole else part) for n in used]
                if self.shuffle and shard.seekable:  # other files can only be read from front to back
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
        """The training rows of these chunks of an epoch, shuffled within each chunk.

        Each row has the task's columns, and `_chunk`, `_shard` and `_row` (see `_place` for two more).
        """
        plan, per = self.plan(epoch), self._slices_per_chunk
        last = {(s.shard, s.visit): at for at, s in enumerate(plan)}  # where each visit of a shard ends in the plan
        front_to_back: dict[tuple[int, int], Iterator[Record]] = {}
        before = -1
        for chunk in chunks:
            if chunk <= before:  # going back: such files must be opened again
                front_to_back.clear()
            before = chunk
            rows: list[dict[str, Any]] = []
            for visit in [v for v in front_to_back if last[v] < chunk * per]:  # its last slice was another worker's
                del front_to_back[visit]
            for at, s in enumerate(plan[chunk * per : (chunk + 1) * per], chunk * per):
                rows += self._slice_rows(s, epoch, front_to_back)
                if last[s.shard, s.visit] == at:  # dropping the iterator closes its file
                    front_to_back.pop((s.shard, s.visit), None)
            order = range(len(rows))
            if self.shuffle and not self.keeps_order:
                order = np.random.default_rng([self.seed, epoch, 2, chunk]).permutation(len(rows)).tolist()
            for k in order:
                yield {"_chunk": chunk, **rows[k]}

    def _slice_rows(self, s: Slice, epoch: int, front_to_back: dict[tuple[int, int], Iterator[Record]]) -> Iterator[dict[str, Any]]:
        """The training rows of a slice in the order of the file. `front_to_back` keeps the open records of shards without offsets."""
        shard, first = self.shards[s.shard], s.number * SLICE
        chosen = self.states[s.shard][first : first + SLICE] == TRAIN
        if s.share < 1:
            rng = np.random.default_rng([self.seed, epoch, 3, s.shard, s.number])
            chosen = chosen & (rng.random(len(chosen)) < s.share)
        if shard.seekable:
            records = read(shard, first, int(self.offsets[s.shard][s.number]))
        else:
            records = front_to_back.get((s.shard, s.visit)) or read(shard, first)
            front_to_back[s.shard, s.visit] = records
        if not chosen.any():
            return
        last = int(np.flatnonzero(chosen)[-1])
        for record in records:
            k = record.row - first
            if k >= 0 and chosen[k]:
                yield {**_reread(record, shard), **self._place(s.shard, record.row, TRAIN)}
            if k >= last:
                return
        raise ConfigError(f"{shard.label}: changed since the run began (it ends before row {first + last})")

    def _place(self, shard: int, row: int, state: int) -> dict[str, Any]:
        """`_shard` and `_row` of a row; for a piece of one long text also `_first` and `_last`: whether it begins or ends the pieces in
        this state. (In the file as a whole, `holdout: tail` holds out the last piece, so no end of a text would be trained on.)"""
        place: dict[str, Any] = {"_shard": shard, "_row": row}
        if self.shards[shard].in_pieces:
            if (shard, state) not in self._ends:
                rows = np.flatnonzero(self.states[shard] == state)
                self._ends[shard, state] = int(rows[0]), int(rows[-1])
            first, last = self._ends[shard, state]
            place |= {"_first": row == first, "_last": row == last}
        return place

    def held_out(self, limit: int | None = None) -> Iterator[dict[str, Any]]:
        """The validation rows in the order of the files, at most `limit`."""
        count = 0
        for i, (shard, states) in enumerate(zip(self.shards, self.states)):
            marked = np.flatnonzero(states == HELD_OUT)
            if not len(marked):
                continue
            first = int(marked[0]) // SLICE
            offset = int(self.offsets[i][first]) if shard.seekable else None
            for record in read(shard, first * SLICE, offset):
                if states[record.row] == HELD_OUT:
                    yield {**_reread(record, shard), **self._place(i, record.row, HELD_OUT)}
                    count += 1
                if record.row >= marked[-1] or count == limit:
                    break
            if count == limit:
                return

    def stream(self, epoch: int = 0, chunks: Iterable[int] | None = None) -> datasets.IterableDataset:
        """The training rows of an epoch as a streamed `datasets.IterableDataset`, in the order of training."""
        import datasets

        numbers = range(self.chunks_per_epoch) if chunks is None else chunks
        return datasets.IterableDataset.from_generator(self.rows, gen_kwargs={"epoch": epoch, "chunks": numbers})

    def some(self, rows: int, characters: int) -> Iterator[dict[str, Any]]:
        """The beginning of the stream: at most `rows` rows, ending with the row that makes up `characters` characters."""
        for row in itertools.islice(self.stream(), rows):
            yield row
            characters -= sum(len(value) for value in row.values() if isinstance(value, str))
            if characters <= 0:
                return

    def where(self, shard: int, row: int) -> str:
        """`file:line` of a row, for messages. Where rows may take several lines, the file is read again to count them."""
        source = self.shards[shard]
        line = row + 1 if source.line_by_line else next((r.line for r in read(source, row)), row + 1)
        return f"{source.label}:{line}"


def _reread(record: Record, shard: Shard) -> dict[str, Any]:
    """A record as a row, with the source's tag; raises ConfigError if the scan accepted the row and it is not usable any more."""
    try:
        row = parse(record, shard)
    except BadRow as error:
        raise ConfigError(f"{shard.label}: changed since the run began (row {record.row}: {error})") from None
    assert row is not None, (shard.label, record.row)
    first = shard.columns[0][0]
    return {**row, first: shard.tag + row[first]} if shard.tag else row

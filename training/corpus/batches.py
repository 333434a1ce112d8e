"""From chunks of rows to this process's micro-batches, with a cursor that resumes exactly.

Every process goes through the same endless sequence of micro-batches and takes every `world`-th, so that no row is lost or seen twice.
Loader workers build chunks in turn, so their number does not change the sequence. The cursor is (chunk, batch).
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from training.base.errors import ConfigError
from training.corpus.order import Corpus

EMPTY_EPOCHS = 20  # epochs without a row before a corpus counts as empty: a small weight may leave out all of a few rows by chance

# Widths are padded to a multiple of this, for tensor cores, and because a CPU caches kernels for every shape: all widths took 190 MB more
# (docs/log.md).
MULTIPLE = 8

Batch = dict[str, np.ndarray]

# (rows of one chunk, a generator that is a function of seed, epoch and chunk) -> (micro-batches, rows left out as too long)
MakeBatches = Callable[[list[dict[str, Any]], np.random.Generator], tuple[list[Batch], int]]


class Chunks(IterableDataset):
    """Chunk after chunk, without end. Each item is (number of the chunk, its micro-batches, rows left out), or an error's message."""

    def __init__(self, corpus: Corpus, make_batches: MakeBatches, first: int = 0):
        self.corpus, self.make_batches, self.first = corpus, make_batches, first
        self.closing = multiprocessing.RawValue("b", 0)  # 1 tells the workers to end; a killed worker could keep the lock of an Event

    def __iter__(self) -> Iterator[tuple[int, list[Batch], int] | str]:
        worker = get_worker_info()
        mine, workers = (worker.id, worker.num_workers) if worker else (0, 1)
        number, per_epoch = self.first + mine, self.corpus.chunks_per_epoch
        try:
            while True:
                epoch = number // per_epoch
                chunks = list(range(number % per_epoch, per_epoch, workers))
                rows: list[dict[str, Any]] = []
                at = 0
                # Not through `stream()`, because inside a loader worker `datasets` would divide the chunks among workers again.
                for row in self.corpus.rows(epoch, chunks):
                    while row["_chunk"] != chunks[at]:  # the previous chunk is complete (it may have no rows)
                        yield self._build(epoch * per_epoch + chunks[at], rows)
                        rows, at = [], at + 1
                    rows.append(row)
                for chunk in chunks[at:]:
                    yield self._build(epoch * per_epoch + chunk, rows)
                    rows = []
                number += len(chunks) * workers
        except ConfigError as error:  # the main process raises it; an exception from a worker would come with a traceback
            yield str(error)

    def _build(self, number: int, rows: list[dict[str, Any]]) -> tuple[int, list[Batch], int]:
        batches, left_out = self.make_batches(rows, np.random.default_rng([self.corpus.seed, 4, number])) if rows else ([], 0)
        return number, batches, left_out


def live_with_the_run(worker: int) -> None:
    """Make a loader worker ignore SIGINT and SIGTERM, and end as soon as the run closes or its process is gone.

    Terminals, `timeout` and job schedulers signal the whole process group, but without its workers a run could neither finish its step
    nor save. Since torch ends workers by SIGTERM, and a worker that waits to hand over a chunk does not notice the end of the run, a
    thread watches for it.
    """
    info = get_worker_info()
    assert info is not None
    closing, run = info.dataset.closing, os.getppid()

    def watch() -> None:
        while not closing.value and os.getppid() == run:
            time.sleep(0.2)
        os._exit(0)

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    threading.Thread(target=watch, daemon=True).start()


class MicroBatches:
    """This process's share of the sequence, `accumulation` micro-batches a step.

    Args:
        rank, world: the number of this process, and of all processes.
        workers: loader processes; 0 loads in this process.
        cursor: where an earlier run stopped, as `state()` returned it.
    """

    def __init__(
        self, corpus: Corpus, make_batches: MakeBatches, rank: int, world: int, workers: int,
        cursor: dict[str, int] | None = None,
    ):  # fmt: skip
        cursor = cursor or {}
        self.rank, self.world, self.per_epoch = rank, world, corpus.chunks_per_epoch
        self.chunk, self.next = cursor.get("chunk", 0), cursor.get("batch", 0)
        self._left_out_before = cursor.get("left_out", 0)
        source = Chunks(corpus, make_batches, self.chunk)
        self._closing = source.closing
        try:
            self._chunks: Iterator[Any] = _loaded(source, workers)
            self._load()
        except BaseException:  # also a signal, because the first chunk of a large corpus takes a while
            self.close()
            raise
        self.before = self.state()  # the cursor before the last step

    def _load(self) -> None:
        """Take the next chunk; raises ConfigError if its rows could not be read."""
        item = next(self._chunks)
        if isinstance(item, str):
            self.close()
            raise ConfigError(item)
        self.chunk, self._batches, self._left_out_here = item

    def _deal(self) -> Batch:
        """The next micro-batch of the sequence; raises ConfigError if the corpus gives none."""
        empty = too_long = 0
        while self.next >= len(self._batches):
            empty, too_long = (0, 0) if self._batches else (empty + 1, too_long + self._left_out_here)
            if empty > self.per_epoch * (1 if too_long else EMPTY_EPOCHS):
                self.close()
                if too_long:
                    raise ConfigError("batch: every pair is longer than max_source_length and max_target_length allow; nothing is left")
                raise ConfigError(f"corpus.train: no row was left in {EMPTY_EPOCHS} epochs; raise the weights of its sources")
            self.next = 0
            self._left_out_before += self._left_out_here
            self._load()
        self.next += 1
        return self._batches[self.next - 1]

    def close(self) -> None:
        """End the workers at once."""
        self._closing.value = 1
        self._chunks = iter(())

    @property
    def left_out(self) -> int:
        """Rows that the task left out as too long so far, those of the current chunk included."""
        return self._left_out_before + self._left_out_here

    def step(self, accumulation: int) -> list[dict[str, torch.Tensor]]:
        """The next `accumulation` micro-batches of this process; the cursor moves on by `accumulation` x `world`."""
        self.before = self.state()
        dealt = [self._deal() for _ in range(accumulation * self.world)]
        return [to_tensors(b) for b in dealt[self.rank :: self.world]]

    def state(self) -> dict[str, int]:
        """The cursor, which is the same in every process."""
        return {"chunk": self.chunk, "batch": self.next, "left_out": self._left_out_before}

    @property
    def epoch(self) -> float:
        """Passes over the corpus so far."""
        return (self.chunk + self.next / max(1, len(self._batches))) / self.per_epoch


def _loaded(source: Chunks, workers: int) -> Iterator[Any]:
    """The items of `source`, built by `workers` processes, or in this process if that is 0."""
    with warnings.catch_warnings():
        # Both lines below warn of more workers than cores, which does no harm here: workers sleep once they are two chunks ahead.
        warnings.filterwarnings("ignore", "This DataLoader will create", UserWarning)
        loader = DataLoader(
            source, batch_size=None, num_workers=workers, prefetch_factor=2 if workers else None, collate_fn=as_is,
            worker_init_fn=live_with_the_run,
        )  # fmt: skip
        return iter(loader)


def as_is(item: Any) -> Any:
    """Collate nothing: chunks leave a loader worker as arrays, because thousands of small tensors would use up its file handles."""
    return item


def divided(batch: dict[str, torch.Tensor], parts: int) -> list[dict[str, torch.Tensor]]:
    """A micro-batch in at most `parts` parts with about equally many rows."""
    names = list(batch)
    pieces = zip(*(torch.chunk(batch[n], parts) for n in names))
    return [dict(zip(names, piece)) for piece in pieces]


def to_tensors(batch: Batch) -> dict[str, torch.Tensor]:
    """The arrays of a micro-batch as int64 tensors, which models expect."""
    return {k: torch.from_numpy(v.astype(np.int64)) for k, v in batch.items()}


def padded(length: int, most: int) -> int:
    """The width to which rows of this length are padded: the next multiple of MULTIPLE, at most `most`."""
    return min(most, -(-length // MULTIPLE) * MULTIPLE)


def pad(rows: list[np.ndarray], value: int, most: int) -> np.ndarray:
    """Rows of ids, none longer than `most`, as one int32 array (B, T), padded on the right with `value`; see `padded` for T."""
    out = np.full((len(rows), padded(max(map(len, rows)), most)), value, dtype=np.int32)
    for i, row in enumerate(rows):
        out[i, : len(row)] = row
    return out

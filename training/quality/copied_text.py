"""What of a text stands in a training text: an index of character n-grams that takes bounded memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np


class Match(NamedTuple):
    share: float  # of the n-grams asked about, 0 to 1
    longest: int  # characters
    exact: bool


class NgramIndex:
    """The character n-grams of a training text in bounded memory; documents stream in, whitespace is dropped.

    Up to `exact_characters` the text itself is kept (26 bytes a character once asked) and answers are exact.
    Beyond that it becomes a Bloom filter of 2**bits bits: 28 is 32 MiB and takes 35M characters at 3% false
    positives; one bit more doubles both. `match` subtracts the false positives expected. ValueError when
    over half of what is looked up would be found by chance. n = 8 suits Chinese; for English take 30.
    """

    HASHES = 4
    CHUNK = 1 << 20  # characters hashed at a time once the text is not kept
    MAX_PAIRS = 2_000_000  # (sample, training) positions compared for one span

    def __init__(self, n: int = 8, bits: int = 28, exact_characters: int = 4_000_000) -> None:
        if n < 1 or not 10 <= bits <= 40:
            raise ValueError(f"NgramIndex: n must be at least 1 and bits 10 to 40, not n={n}, bits={bits}")
        self.n, self.bits, self.exact_characters = n, bits, exact_characters
        self.characters = 0  # seen, whitespace not counted
        self._pending: list[str] = []
        self._pending_characters = 0
        self._table: np.ndarray | None = None  # (2**bits / 8,) uint8, once the text is not kept
        self._sorted: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None

    def add(self, documents: Iterable[str]) -> NgramIndex:
        """Read documents from any iterable and return the index; no n-gram spans two documents."""
        if isinstance(documents, str):
            raise TypeError("NgramIndex.add takes documents, an iterable of strings, not one string")
        self._sorted = None
        for document in documents:
            self._pending.append(squeeze(document))
            self._pending_characters += len(self._pending[-1])
            self.characters += len(self._pending[-1])
            if self._pending_characters > (self.exact_characters if self._table is None else self.CHUNK):
                self._spill()
        return self

    @property
    def false_positive_rate(self) -> float:
        """Chance that an n-gram which is not in the text is found all the same; 0.0 while text is kept."""
        if self._table is None:
            return 0.0
        part = self._table[: 1 << 16]  # hashes spread evenly: it stands for the whole
        return float(np.unpackbits(part).mean()) ** self.HASHES

    def match(self, texts: Sequence[str]) -> Match:
        """What of `texts` is in the index; see `CopiedShare`. ValueError on an index of no text."""
        if not self.characters:
            raise ValueError("NgramIndex: no training text was added, so nothing can be said about copying")
        where, hashes = _windows("\n".join(map(squeeze, texts)), self.n)  # (W,) each
        if not len(where):
            return Match(0.0, 0, self._table is None)
        if self._table is None:
            keys = self._positions()[0]
            order = np.argsort(hashes)  # looking up in order spares the cache
            slots = np.empty_like(order)
            slots[order] = np.minimum(np.searchsorted(keys, hashes[order]), len(keys) - 1)  # (W,)
            found = keys[slots] == hashes if len(keys) else np.zeros(len(hashes), bool)
            longest, exact = self._longest(_runs(where[found]), slots[found])
            return Match(float(found.mean()), longest, exact)
        self._spill()
        found = np.ones(len(hashes), bool)
        for bit in self._bits(hashes):
            found &= (self._table[bit >> 3] >> (bit & 7).astype(np.uint8) & 1).astype(bool)
        chance = self.false_positive_rate
        bounds = [stop - start + self.n - 1 for start, stop in _runs(where[found])]
        return Match(max(0.0, (float(found.mean()) - chance) / (1 - chance)), max(bounds, default=0), False)

    def _longest(self, runs: list[tuple[int, int]], slots: np.ndarray) -> tuple[int, bool]:
        """Characters of the longest common span, and whether that is exact.

        A run is neighbouring n-grams that were all found, perhaps in several places; those which neighbour
        in the training text too have one and the same distance between their positions here and there.
        """
        _, starts, positions = self._positions()
        best = 0
        for start, stop in sorted(runs, key=lambda run: run[0] - run[1]):  # longest first
            if stop - start <= best:
                break
            first = starts[slots[start:stop]]  # (L,)
            counts = starts[slots[start:stop] + 1] - first  # (L,)
            if counts.sum() > self.MAX_PAIRS:  # a training text that repeats itself thousands of times
                return max(best, stop - start) + self.n - 1, False
            here = np.repeat(np.arange(stop - start), counts)  # (pairs,)
            nth = np.arange(len(here)) - np.repeat(np.cumsum(counts) - counts, counts)
            there = positions[np.repeat(first, counts) + nth]
            # Sorted by distance, then by place; only neighbours at one distance differ by 1.
            diagonals = np.sort((there - here) * (stop - start + 1) + here)
            best = max(best, max(b - a for a, b in _runs(diagonals)))
        return (best + self.n - 1 if best else 0), True

    def _positions(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Distinct hashes in order (K,), where each one's positions start (K + 1,), and positions (W,)."""
        if self._sorted is None:
            where, hashes = _windows("\n".join(self._pending), self.n)
            order = np.argsort(hashes)
            ranked = hashes[order]
            starts = np.flatnonzero(np.append(True, ranked[1:] != ranked[:-1])[: len(ranked)])
            self._sorted = ranked[starts], np.append(starts, len(ranked)), where[order]
        return self._sorted

    def _bits(self, hashes: np.ndarray) -> Iterable[np.ndarray]:
        for _ in range(self.HASHES):
            hashes = hashes * np.uint64(0x9E3779B97F4A7C15)
            yield (hashes >> np.uint64(64 - self.bits)).astype(np.int64)

    def _spill(self) -> None:
        """Move the text that is held into the Bloom filter."""
        if self._table is None:
            self._table = np.zeros(1 << (self.bits - 3), np.uint8)
        text = "\n".join(self._pending)
        self._pending, self._pending_characters = [], 0
        for start in range(0, len(text), self.CHUNK):
            _, hashes = _windows(text[start : start + self.CHUNK + self.n - 1], self.n)
            for bit in self._bits(hashes):
                byte, place = bit >> 3, bit & 7
                for i in range(8):  # np.bitwise_or.at would do, eight times slower
                    self._table[byte[place == i]] |= np.uint8(1 << i)
        if self.false_positive_rate > 0.5:
            raise ValueError(f"NgramIndex: 2**{self.bits} bits are too few for this text; give more `bits`")


def squeeze(text: str) -> str:
    """Without its whitespace."""
    return "".join(text.split())


def _windows(text: str, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Start and 64-bit hash of each n-character window of `text` without a line break in it: (W,), (W,)."""
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")
    width = max(0, len(codes) - n + 1)
    hashes = np.zeros(width, np.uint64)
    for i in range(n if width else 0):
        hashes *= np.uint64(0xD6E8FEB86659FD93)
        hashes += codes[i : i + width]
    hashes ^= hashes >> np.uint64(32)
    hashes *= np.uint64(0xBF58476D1CE4E5B9)
    hashes ^= hashes >> np.uint64(29)
    breaks = np.append(0, np.cumsum(codes == 10))  # (len + 1,)
    where = np.flatnonzero(breaks[n:] == breaks[:width])
    return where, hashes[where]


def _runs(numbers: np.ndarray) -> list[tuple[int, int]]:
    """Maximal runs of consecutive integers in sorted `numbers`, as index ranges [start, stop)."""
    if not len(numbers):
        return []
    cuts = np.flatnonzero(np.diff(numbers) != 1) + 1
    return list(zip([0, *cuts.tolist()], [*cuts.tolist(), len(numbers)], strict=True))

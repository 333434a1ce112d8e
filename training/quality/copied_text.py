"""How much of a text is copied from the training text: an index of character n-grams that takes bounded memory.

Legend: W windows of n characters, K distinct hashes, L windows of a run.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np


class Match(NamedTuple):
    """How much of some texts is in an index."""

    share: float  # of the texts' n-grams, 0 to 1
    longest: int  # characters of the longest span that the index has too
    exact: bool  # False: `share` is an estimate and `longest` an upper bound


class NgramIndex:
    """The character n-grams of a training text in bounded memory. Documents are added as a stream; whitespace is dropped.

    Args:
        n: length of an n-gram in characters; 8 suits Chinese, 30 suits English.
        bits: size of the Bloom filter is 2**bits bits. 28 bits take 32 MiB and hold 35M characters at 3% false positives;
            one more doubles both. `match` subtracts the expected false positives.
        exact_characters: up to so many the text itself is kept (26 bytes a character once `match` is called) and answers are
            exact; a longer text goes into the Bloom filter.

    Raises:
        ValueError: if n or bits are out of range; from `add` and `match`, if a filter would find over half of all n-grams by chance.
    """

    HASHES = 4
    CHUNK = 1 << 20  # characters hashed at a time once the text is not kept
    MAX_PAIRS = 2_000_000  # (sample, training) positions compared for one span

    def __init__(self, n: int = 8, bits: int = 28, exact_characters: int = 4_000_000) -> None:
        if n < 1 or not 10 <= bits <= 40:
            raise ValueError(f"NgramIndex: n must be at least 1 and bits 10 to 40, not n={n}, bits={bits}")
        self.n, self.bits, self.exact_characters = n, bits, exact_characters
        self.characters = 0  # added so far, without whitespace
        self._pending: list[str] = []
        self._pending_characters = 0
        self._table: np.ndarray | None = None  # (2**bits / 8,) uint8, once the text is not kept
        self._sorted: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None

    def add(self, documents: Iterable[str]) -> NgramIndex:
        """Add documents and return the index itself; no n-gram spans two documents."""
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
        """Probability that an n-gram is found although it is not in the text; 0.0 while the text itself is kept."""
        if self._table is None:
            return 0.0
        part = self._table[: 1 << 16]  # hashes spread evenly, so a part is enough
        return float(np.unpackbits(part).mean()) ** self.HASHES

    def match(self, texts: Sequence[str]) -> Match:
        """How much of `texts` is in the index, see `metrics.CopiedShare`. Raises ValueError if no text was added."""
        if not self.characters:
            raise ValueError("NgramIndex: no training text was added, so nothing can be said about copying")
        where, hashes = _windows("\n".join(map(squeeze, texts)), self.n)  # (W,) each
        if not len(where):
            return Match(0.0, 0, self._table is None)
        if self._table is None:
            keys = self._positions()[0]
            order = np.argsort(hashes)  # sorted look-ups use the CPU's cache better
            slots = np.empty_like(order)
            slots[order] = np.minimum(np.searchsorted(keys, hashes[order]), len(keys) - 1)  # (W,)
            present = keys[slots] == hashes if len(keys) else np.zeros(len(hashes), bool)  # (W,)
            longest, exact = self._longest(_runs(where[present]), slots[present])
            return Match(float(present.mean()), longest, exact)
        self._spill()
        present = np.ones(len(hashes), bool)  # (W,)
        for bit in self._bits(hashes):
            present &= (self._table[bit >> 3] >> (bit & 7).astype(np.uint8) & 1).astype(bool)
        chance = self.false_positive_rate
        bounds = [stop - start + self.n - 1 for start, stop in _runs(where[present])]
        return Match(max(0.0, (float(present.mean()) - chance) / (1 - chance)), max(bounds, default=0), False)

    def _longest(self, runs: list[tuple[int, int]], slots: np.ndarray) -> tuple[int, bool]:
        """Length of the longest common span in characters, and whether that is exact.

        A run is a range of neighbouring n-grams of the samples that all occur in the training text, perhaps in several places.
        N-grams that are neighbours in the training text too have the same distance between their two positions.

        Args:
            runs: index ranges [start, stop) into `slots`.
            slots: for each n-gram that was found, its place among the distinct hashes.
        """
        _, starts, positions = self._positions()
        best = 0
        for start, stop in sorted(runs, key=lambda run: run[0] - run[1]):  # longest first
            if stop - start <= best:
                break
            first = starts[slots[start:stop]]  # (L,)
            counts = starts[slots[start:stop] + 1] - first  # (L,)
            if counts.sum() > self.MAX_PAIRS:  # the training text repeats itself thousands of times
                return max(best, stop - start) + self.n - 1, False
            here = np.repeat(np.arange(stop - start), counts)  # (pairs,): position in the run
            nth = np.arange(len(here)) - np.repeat(np.cumsum(counts) - counts, counts)
            there = positions[np.repeat(first, counts) + nth]  # (pairs,): position in the training text
            # Sorted by distance, then by position; only neighbours at the same distance differ by 1.
            diagonals = np.sort((there - here) * (stop - start + 1) + here)
            best = max(best, max(b - a for a, b in _runs(diagonals)))
        return (best + self.n - 1 if best else 0), True

    def _positions(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The distinct hashes in order (K,), the index at which the positions of each start (K + 1,), and the positions (W,)."""
        if self._sorted is None:
            where, hashes = _windows("\n".join(self._pending), self.n)
            order = np.argsort(hashes)
            ranked = hashes[order]
            starts = np.flatnonzero(np.append(True, ranked[1:] != ranked[:-1])[: len(ranked)])
            self._sorted = ranked[starts], np.append(starts, len(ranked)), where[order]
        return self._sorted

    def _bits(self, hashes: np.ndarray) -> Iterable[np.ndarray]:
        """The bits of the filter that belong to each hash (W,): HASHES arrays of bit numbers (W,)."""
        for _ in range(self.HASHES):
            hashes = hashes * np.uint64(0x9E3779B97F4A7C15)
            yield (hashes >> np.uint64(64 - self.bits)).astype(np.int64)

    def _spill(self) -> None:
        """Move the pending text into the Bloom filter."""
        if self._table is None:
            self._table = np.zeros(1 << (self.bits - 3), np.uint8)
        text = "\n".join(self._pending)
        self._pending, self._pending_characters = [], 0
        for start in range(0, len(text), self.CHUNK):
            _, hashes = _windows(text[start : start + self.CHUNK + self.n - 1], self.n)
            for bit in self._bits(hashes):
                byte, place = bit >> 3, bit & 7
                for i in range(8):  # np.bitwise_or.at would do the same eight times slower
                    self._table[byte[place == i]] |= np.uint8(1 << i)
        if self.false_positive_rate > 0.5:
            raise ValueError(f"NgramIndex: 2**{self.bits} bits are too few for this text; give more `bits`")


def squeeze(text: str) -> str:
    """The text without its whitespace."""
    return "".join(text.split())


def _windows(text: str, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Start (W,) and 64-bit hash (W,) of each n-character window of `text` that has no line break in it."""
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

"""Filters: which rows a config leaves out by choice. Rejected rows are counted under the filter's name. Imports no numpy."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from training.base.characters import HAN_RUN, LATIN_RUN, LETTER
from training.corpus.text_files import BadRow
from training.settings.config import FiltersConfig

if TYPE_CHECKING:
    import numpy as np

# The reasons that are choices of the config, not faults of the file: `corpus.strict` does not stop at them. It does stop at
# `too_long`, which is therefore not among them.
FILTERS = ("too_short", "identical", "ratio", "script", "duplicate")


def filter_row(row: dict[str, str], f: FiltersConfig) -> None:
    """Raise BadRow with the name of the first filter that the row does not pass."""
    sides = list(row.values())
    lengths = [len(s) for s in sides]
    if f.max_chars and max(lengths) > f.max_chars:
        raise BadRow("too_long", f"{max(lengths)} characters")
    if min(lengths) < f.min_chars:
        raise BadRow("too_short", f"{min(lengths)} characters")
    if len(sides) != 2:  # the other filters compare the two sides of a pair
        return
    source, target = sides
    if f.identical and source == target:
        raise BadRow("identical")
    if f.max_ratio:
        a, b = length(source), length(target)
        if max(a, b) > f.max_ratio * min(a, b):
            raise BadRow("ratio", f"lengths {a:.0f} and {b:.0f}")
    if f.script:
        if not is_chinese(source):
            raise BadRow("script", "the source is not Chinese")
        if 2 * _han(target) >= sum(map(len, LATIN_RUN.findall(target))):
            raise BadRow("script", "the target is not English")


def _han(text: str) -> int:
    """The number of Chinese characters. It searches for runs, and skips ASCII text, because it is called for every row."""
    return 0 if text.isascii() else sum(map(len, HAN_RUN.findall(text)))


def is_chinese(text: str) -> bool:
    """Whether a text has more than half as many Chinese characters as Latin letters."""
    return 2 * _han(text) > sum(map(len, LATIN_RUN.findall(text)))


def length(text: str) -> float:
    """Length in Chinese characters, an English word counting as 1.6 of them (the mean over Tatoeba's pairs)."""
    han = _han(text)
    words = (HAN_RUN.sub(" ", text) if han else text).split()
    return max(1.0, han + 1.6 * sum(bool(LETTER.search(word)) for word in words))  # punctuation alone is not a word


class Seen:
    """The texts of a corpus so far. It finds rows that repeat an earlier row, and validation rows that are also training rows."""

    def __init__(self) -> None:
        self._texts = Bloom()
        self.repeats: list[np.ndarray] = []  # an array a shard, one bool a row: whether an earlier row has the same text

    def add(self, row: dict[str, str]) -> bool:
        """Add the row's text; True if an earlier row has the same text."""
        return self._texts.add("\t".join(row.values()))

    def __contains__(self, row: dict[str, str]) -> bool:
        return "\t".join(row.values()) in self._texts


class Bloom:
    """A set of constant size (Bloom 1970). Rarely, it claims to hold a key that was never added.

    It has 2^23 words of 64 bits. A key sets four bits of a single word, so that it costs one access to memory.
    """

    def __init__(self) -> None:
        self.words = memoryview(bytearray(1 << 26)).cast("Q")

    def add(self, key: str) -> bool:
        """Add `key`; True if it was there before."""
        index, bits = self._place(key)
        word = self.words[index]
        self.words[index] = word | bits
        return word & bits == bits

    def __contains__(self, key: str) -> bool:
        index, bits = self._place(key)
        return self.words[index] & bits == bits

    def _place(self, key: str) -> tuple[int, int]:
        """The index of a key's word, and its four bits in that word."""
        h = int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "little")
        index, h = h & 0x7FFFFF, h >> 23
        return index, 1 << (h & 63) | 1 << (h >> 6 & 63) | 1 << (h >> 12 & 63) | 1 << (h >> 18 & 63)

"""Which rows are left out by choice: the filters of `corpus.filters`, each counted under its own name."""

from __future__ import annotations

import hashlib

import numpy as np

from training.base.characters import HAN_RUN, LATIN_RUN, LETTER
from training.corpus.text_files import BadRow
from training.settings.config import FiltersConfig

# Choices of the config, not faults of the file: `corpus.strict` lets them pass. `too_long` is not among them, because an
# over-long row, by max_chars or by the reader's 4 MB, is what strict stops at.
FILTERS = ("too_short", "identical", "ratio", "script", "duplicate")


def filter_row(row: dict[str, str], f: FiltersConfig) -> None:
    """Raises BadRow with the name of the first filter that a row does not pass."""
    sides = list(row.values())
    lengths = [len(s) for s in sides]
    if f.max_chars and max(lengths) > f.max_chars:
        raise BadRow("too_long", f"{max(lengths)} characters")
    if min(lengths) < f.min_chars:
        raise BadRow("too_short", f"{min(lengths)} characters")
    if len(sides) != 2:  # the others are of pairs
        return
    source, target = sides
    if f.identical and source == target:
        raise BadRow("identical")
    if f.max_ratio:
        a, b = length(source), length(target)
        if max(a, b) > f.max_ratio * min(a, b):
            raise BadRow("ratio", f"lengths {a:.0f} and {b:.0f}")
    if f.script:
        if not chinese(source):
            raise BadRow("script", "the source is not Chinese")
        if 2 * _han(target) >= sum(map(len, LATIN_RUN.findall(target))):
            raise BadRow("script", "the target is not English")


def _han(text: str) -> int:
    """Chinese characters; looked for by runs, and not at all in plain English, because this is done to every row."""
    return 0 if text.isascii() else sum(map(len, HAN_RUN.findall(text)))


def chinese(text: str) -> bool:
    """Whether it is mostly Han characters, against which a Latin letter counts half."""
    return 2 * _han(text) > sum(map(len, LATIN_RUN.findall(text)))


def length(text: str) -> float:
    """Length in Chinese characters, an English word counting as 1.6 of them (the mean over Tatoeba's pairs)."""
    han = _han(text)
    words = (HAN_RUN.sub(" ", text) if han else text).split()
    return max(1.0, han + 1.6 * sum(bool(LETTER.search(word)) for word in words))  # punctuation is no word


class Seen:
    """The texts of a corpus so far: which rows repeat an earlier one, and later, which validation rows are training rows."""

    def __init__(self) -> None:
        self._texts = Bloom()
        self.repeats: list[np.ndarray] = []  # one bool a row and shard: whether an earlier row has the same text

    def add(self, row: dict[str, str]) -> bool:
        """Put the row's text in; True if an earlier row has the same."""
        return self._texts.add("\t".join(row.values()))

    def __contains__(self, row: dict[str, str]) -> bool:
        return "\t".join(row.values()) in self._texts


class Bloom:
    """A set of constant size that may, rarely, think that it has seen what it has not (Bloom 1970).

    2^23 words of 64 bits; a key sets four bits of one word, so that it costs one look into memory.
    """

    def __init__(self) -> None:
        self.words = memoryview(bytearray(1 << 26)).cast("Q")

    def add(self, key: str) -> bool:
        """Put `key` in; True if it was there before."""
        at, bits = self._place(key)
        found = self.words[at]
        self.words[at] = found | bits
        return found & bits == bits

    def __contains__(self, key: str) -> bool:
        at, bits = self._place(key)
        return self.words[at] & bits == bits

    def _place(self, key: str) -> tuple[int, int]:
        """The word of a key, and its four bits."""
        h = int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "little")
        at, h = h & 0x7FFFFF, h >> 23
        return at, 1 << (h & 63) | 1 << (h >> 6 & 63) | 1 << (h >> 12 & 63) | 1 << (h >> 18 & 63)

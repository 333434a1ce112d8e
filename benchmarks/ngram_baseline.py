"""Bits per character of a 5-gram model of characters on the held-out texts of a gpt config: the number that a network has to beat.

python benchmarks/ngram_baseline.py configs/gpt/stray_birds.yaml [ORDER]

Interpolated Kneser-Ney with one discount an order (Chen & Goodman 1999, section 2.7) and all counts kept. The lowest order backs off to a
uniform distribution over 65,536 characters, so that an unseen character has a probability. The end of a text is predicted too but does
not count as a character, as in the numbers of our gpt models.

A token is a character, or the end of a text. N: tokens, with the marks before each text.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from training.corpus.prepare import open_corpus
from training.settings.load import load_config

BEGIN, END, UNKNOWN = 0, 1, 2
UNIFORM = 1 / 65536


def main() -> int:
    """Print the model's bits per character; 2 for a wrong call."""
    if len(sys.argv) not in (2, 3) or not (sys.argv[2:] or ["5"])[0].isdigit():
        print(__doc__, file=sys.stderr)
        return 2
    order = int((sys.argv[2:] or ["5"])[0])
    config = load_config(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        corpus, validation = open_corpus(config.corpus, "gpt", Path(folder), config.seed, config.evaluation.max_rows)
        train = [r["text"] for r in corpus.rows(0, range(corpus.chunks_per_epoch))]
        held_out = [r["text"] for r in validation.held_out(config.evaluation.max_rows)]
    model = KneserNey(train, order)
    nats = -np.log(model.probabilities(held_out)).sum()
    characters = sum(map(len, held_out))
    print(f"{order}-gram: {nats / np.log(2) / characters:.3f} bits per character on {characters:,} characters of {len(held_out):,} texts")
    return 0


class KneserNey:
    """Counts of all n-grams up to an order.

    An n-gram is one integer: the index of its first n - 1 tokens among the (n-1)-grams, times the number of tokens, plus its last token. So
    millions of n-grams are sorted arrays, without a dictionary.
    """

    def __init__(self, texts: list[str], order: int):
        self.order = order
        self.ids = {c: k + 3 for k, c in enumerate(sorted(set("".join(texts))))}
        self.size = len(self.ids) + 3
        tokens, real = self._tokens(texts)
        self.grams: list[np.ndarray] = []  # the n-grams of each order, sorted
        occurrences, firsts = [], []
        before = np.zeros(len(tokens), dtype=np.int64)  # (N,) index of the (n-1)-gram that ends at each place; there is one of order 0
        for _ in range(order):
            grams, first, index = np.unique(self._joined(before, tokens), return_index=True, return_inverse=True)
            self.grams.append(grams)
            occurrences.append(index)
            firsts.append(first)
            before = index
        self.tables: list[dict[str, Any]] = []
        for n in range(order):
            if n == order - 1:
                counts = np.bincount(occurrences[n][real], minlength=len(self.grams[n]))
            else:  # lower orders count different tokens before the n-gram
                wider = firsts[n + 1][real[firsts[n + 1]]]
                counts = np.bincount(occurrences[n][wider], minlength=len(self.grams[n]))
            once, twice = (counts == 1).sum(), (counts == 2).sum()
            prefix, some = self.grams[n] // self.size, counts > 0
            length = len(self.grams[n - 1]) if n else 1
            self.tables.append({
                "counts": counts, "discount": once / max(1, once + 2 * twice), "sums": np.bincount(prefix, counts, length),
                "kinds": np.bincount(prefix[some], minlength=length),
            })  # fmt: skip

    def _tokens(self, texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """(N,) all texts end to end, each after order - 1 marks, and (N,) whether a place is to be predicted."""
        tokens: list[int] = []
        for text in texts:
            tokens += [BEGIN] * (self.order - 1) + [self.ids.get(c, UNKNOWN) for c in text] + [END]
        array = np.array(tokens, dtype=np.int64)
        return array, array != BEGIN

    def _joined(self, before: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        """(N,) the integer of the n-gram that ends at each place, from the (N,) indices of the (n-1)-grams; -1 if there is none."""
        earlier = np.concatenate([[0], before[:-1]])
        return np.where(earlier < 0, -1, earlier * self.size + tokens)

    def probabilities(self, texts: list[str]) -> np.ndarray:
        """The probability of every character and every end of these texts, in order."""
        tokens, real = self._tokens(texts)
        probability = np.full(len(tokens), UNIFORM)
        before = np.zeros(len(tokens), dtype=np.int64)
        for n, (grams, table) in enumerate(zip(self.grams, self.tables)):
            joined = self._joined(before, tokens)
            place = np.minimum(np.searchsorted(grams, joined), len(grams) - 1)
            index = np.where(grams[place] == joined, place, -1)
            history = np.concatenate([[0], before[:-1]]) if n else np.zeros(len(tokens), dtype=np.int64)
            total = np.where(history < 0, 0, table["sums"][np.maximum(history, 0)])
            counts = np.where(index < 0, 0, table["counts"][np.maximum(index, 0)])
            d = table["discount"]
            with np.errstate(divide="ignore", invalid="ignore"):
                mixed = np.maximum(counts - d, 0) / total + d * table["kinds"][np.maximum(history, 0)] / total * probability
            probability = np.where(total > 0, mixed, probability)
            before = index
        return probability[real]


if __name__ == "__main__":
    raise SystemExit(main())

"""Bits per character of a 5-gram model of characters on what a gpt config holds out: what a network has to beat.

python benchmarks/ngram_baseline.py configs/gpt/stray_birds.yaml [ORDER]

Interpolated Kneser-Ney with one discount an order (Chen & Goodman 1999, section 2.7), all counts kept; below it a uniform
distribution over 65,536 characters, so that a character never seen has a price. The end of a text is predicted too and counts as no
character, as in the gpts' own numbers.
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
    """Print the model's bits per character; 2 if it was asked wrongly."""
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

    An n-gram is the number of its first n - 1 tokens among those of order n - 1, and its last token: one integer. So all is sorted
    arrays, and millions of n-grams take no dictionary.
    """

    def __init__(self, texts: list[str], order: int):
        self.order = order
        self.ids = {c: k + 3 for k, c in enumerate(sorted(set("".join(texts))))}
        self.size = len(self.ids) + 3
        tokens, real = self._tokens(texts)
        self.grams: list[np.ndarray] = []  # of each order, sorted
        occurrences, firsts = [], []
        before = np.zeros(len(tokens), dtype=np.int64)  # the (n-1)-gram that ends at each place; of order 0 there is one
        for _ in range(order):
            found, first, here = np.unique(self._joined(before, tokens), return_index=True, return_inverse=True)
            self.grams.append(found)
            occurrences.append(here)
            firsts.append(first)
            before = here
        self.tables: list[dict[str, Any]] = []
        for n in range(order):
            if n == order - 1:
                counts = np.bincount(occurrences[n][real], minlength=len(self.grams[n]))
            else:  # how many different tokens stand before it
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
        """All texts end to end, each after order - 1 marks; and which places are to be predicted."""
        tokens: list[int] = []
        for text in texts:
            tokens += [BEGIN] * (self.order - 1) + [self.ids.get(c, UNKNOWN) for c in text] + [END]
        found = np.array(tokens, dtype=np.int64)
        return found, found != BEGIN

    def _joined(self, before: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        """At each place the integer of the n-gram that ends there, given the (n-1)-grams that end at each place; -1 if there is none."""
        earlier = np.concatenate([[0], before[:-1]])
        return np.where(earlier < 0, -1, earlier * self.size + tokens)

    def probabilities(self, texts: list[str]) -> np.ndarray:
        """Of every character and every end of these texts."""
        tokens, real = self._tokens(texts)
        found = np.full(len(tokens), UNIFORM)
        before = np.zeros(len(tokens), dtype=np.int64)
        for n, (grams, table) in enumerate(zip(self.grams, self.tables)):
            wanted = self._joined(before, tokens)
            place = np.minimum(np.searchsorted(grams, wanted), len(grams) - 1)
            here = np.where(grams[place] == wanted, place, -1)
            history = np.concatenate([[0], before[:-1]]) if n else np.zeros(len(tokens), dtype=np.int64)
            total = np.where(history < 0, 0, table["sums"][np.maximum(history, 0)])
            counts = np.where(here < 0, 0, table["counts"][np.maximum(here, 0)])
            d = table["discount"]
            with np.errstate(divide="ignore", invalid="ignore"):
                mixed = np.maximum(counts - d, 0) / total + d * table["kinds"][np.maximum(history, 0)] / total * found
            found = np.where(total > 0, mixed, found)
            before = here
        return found[real]


if __name__ == "__main__":
    raise SystemExit(main())

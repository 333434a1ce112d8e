"""The scores: how well a model predicts, translates and writes, and how much of what it writes is copied.

Every metric is an `evaluate.Metric` of our own, so it is used as any other of that library:

    Bleu().compute(predictions=["a bird ."], references=["a bird ."])     # at once
    metric = Perplexity(); metric.add_batch(loss_sum=…, tokens=…, characters=…); metric.compute()
    text_metrics(NgramIndex().add(documents)).compute(predictions=samples)  # several, by evaluate.combine

`evaluate.load` would fetch a script from the hub; nothing here opens a socket. Rows are held in memory.
`evaluate` makes a cache folder even with `keep_in_memory`; ours touch no disk, so they work on a read-only
home and in any number of processes, each of which scores what it was given itself (gather first). Nothing is
random. Input that cannot be scored (no rows at all, a missing column, a string where a list belongs, None for
a text) is a ValueError; an empty *text* is an ordinary text. `import evaluate` takes seconds (it imports
transformers' pipelines): import this module only where scores are computed.
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Iterable, Sequence
from itertools import chain, zip_longest
from typing import Any, NamedTuple

import evaluate
import numpy as np
from datasets import Features, Value
from datasets import Sequence as ListOf
from sacrebleu.metrics import BLEU, CHRF

from training.filters import HAN, LATIN_RUN, LETTER, chinese

TOKENIZERS = ("13a", "intl", "zh", "char", "none")  # sacrebleu's others download a model or need a package
TEXT, REFERENCES = Value("string"), ListOf(Value("string"))
TEXTS = Features({"predictions": TEXT})
ENDED = re.compile(r"""[.!?…。！？]["'”’」』）)\]]*\Z""")  # a sentence's mark, and what may close after it
PAIRS = Features({"predictions": TEXT, "references": REFERENCES})


class _Metric(evaluate.Metric):
    """`evaluate.Metric` without the cache folder; it checks input where upstream guesses or fails obscurely.

    A subclass gives its docstring (the description), `source` (where the formula is from) and `inputs`.
    """

    source: str
    inputs: Features

    def __init__(self) -> None:
        super().__init__(keep_in_memory=True, seed=0)

    def _info(self) -> evaluate.MetricInfo:
        description = inspect.cleandoc(self.__doc__ or "")
        return evaluate.MetricInfo(description=description, citation=self.source, features=self.inputs)

    def _build_data_dir(self) -> str:
        return ""  # upstream makes the folder here, whether it will be used or not

    def add_batch(self, *, predictions: Any = None, references: Any = None, **kwargs: Any) -> None:
        """Add rows: lists (or 1-D arrays, tensors) of one length, named as in `self.features`."""
        columns = {"predictions": predictions, "references": references, **kwargs}
        if unknown := set(kwargs) - set(self.features):
            raise ValueError(f"{self.name}: unknown input {sorted(unknown)}; it takes {list(self.features)}")
        for name, feature in self.features.items():
            column = columns.get(name)
            if column is None or isinstance(column, str) or not hasattr(column, "__len__"):
                raise ValueError(f"{self.name}: `{name}` must be a list, one element a row, not {column!r:.50}")
            texts: Iterable[Any] = column if feature == TEXT else ()
            if feature == REFERENCES:  # one string or several a row; what is neither is found below
                column = [row if isinstance(row, list | tuple) and row else [row] for row in column]
                texts = chain.from_iterable(column)
            for bad in (text for text in texts if not isinstance(text, str)):
                raise ValueError(f"{self.name}: `{name}` must hold strings, found {bad!r:.60}")
            columns[name] = column
        super().add_batch(**{name: columns[name] for name in self.features})

    def add(self, *, prediction: Any = None, reference: Any = None, **kwargs: Any) -> None:
        """Add one row."""
        row = {"predictions": prediction, "references": reference, **kwargs}
        self.add_batch(**{name: [row.get(name)] for name in self.features})

    def _finalize(self) -> None:
        if len(self) == 0:
            raise ValueError(f"{self.name}: nothing to score; give at least one row of {list(self.features)}")
        super()._finalize()


class Perplexity(_Metric):
    """Loss of a language model over a whole set, from sums per batch.

    `loss_sum` (float): negative log-likelihood in nats, summed over a batch's targets, `tokens` (int) of
    them; `characters` (int): length of the text that they spell, special tokens excluded. Returns `val_loss`
    (nats a token), `perplexity` (inf where it overflows) and `bits_per_character`, which, unlike these two,
    compares models with different vocabularies. ValueError where tokens or characters sum to nothing.
    """

    source = "Perplexity: Jelinek, Mercer, Bahl & Baker (1977); bits per character: Graves (2013), 1308.0850."
    inputs = Features({"loss_sum": Value("float64"), "tokens": Value("int64"), "characters": Value("int64")})

    def _compute(self, loss_sum: list[float], tokens: list[int], characters: list[int]) -> dict[str, float]:
        nats, n_tokens, n_characters = math.fsum(loss_sum), sum(tokens), sum(characters)
        if n_tokens <= 0 or n_characters <= 0:
            raise ValueError(f"perplexity: no average over {n_tokens} tokens, {n_characters} characters")
        val_loss = nats / n_tokens
        try:
            perplexity = math.exp(val_loss)
        except OverflowError:  # above 709.78 nats
            perplexity = math.inf
        bits_per_character = nats / math.log(2) / n_characters
        return {"val_loss": val_loss, "perplexity": perplexity, "bits_per_character": bits_per_character}


class Bleu(_Metric):
    """Corpus BLEU, 0 to 100, by sacrebleu: detokenised output against untouched references.

    A reference is a string, or a list of strings where there are several. `tokenize`: "13a" for English, "zh"
    for Chinese, or another of `TOKENIZERS`; the signature says which, and only equal signatures compare.
    """

    source = "Papineni et al. (2002), BLEU, P02-1040; Post (2018), sacrebleu, W18-6319."
    inputs = PAIRS

    def __init__(self, tokenize: str = "13a") -> None:
        if tokenize not in TOKENIZERS:
            raise ValueError(f"bleu: tokenize must be one of {', '.join(TOKENIZERS)}, not {tokenize!r}")
        self.tokenize = tokenize
        super().__init__()

    def _compute(self, predictions: list[str], references: list[list[str]]) -> dict[str, Any]:
        bleu = BLEU(tokenize=self.tokenize)
        score = bleu.corpus_score(predictions, _streams(references)).score
        return {"bleu": score, "bleu_signature": str(bleu.get_signature())}


class Chrf(_Metric):
    """Corpus chrF2 (n-grams up to 6 characters, β = 2), 0 to 100, by sacrebleu; inputs as `Bleu`."""

    source = "Popović (2015), chrF, W15-3049."
    inputs = PAIRS

    def _compute(self, predictions: list[str], references: list[list[str]]) -> dict[str, Any]:
        chrf = CHRF()
        score = chrf.corpus_score(predictions, _streams(references)).score
        return {"chrf": score, "chrf_signature": str(chrf.get_signature())}


class DistinctN(_Metric):
    """`distinct_1`, `distinct_2`: distinct n-grams / n-grams of all texts together; 1.0 is "none repeats".

    Units are characters (no whitespace) for a text with Han characters or without any letter, whitespace-separated words otherwise.
    The paper divides by tokens, which for bigrams caps short texts below 1. More text gives lower values:
    compare equal numbers of samples of equal length. 0.0 where there is no n-gram.
    """

    source = "Li et al. (2016), A Diversity-Promoting Objective Function for Neural Conversation Models."
    inputs = TEXTS

    def _compute(self, predictions: list[str]) -> dict[str, float]:
        grams = {n: [gram for text in predictions for gram in _ngrams(text, n)] for n in (1, 2)}
        return {f"distinct_{n}": len(set(found)) / max(1, len(found)) for n, found in grams.items()}


class Repetition(_Metric):
    """`repetition`: 1 − distinct 4-grams / 4-grams within a text (seq-rep-4), averaged over texts.

    Units as in `DistinctN`. A text shorter than a 4-gram counts as 0. Near 0 in human text, near 1 in a loop.
    """

    source = "Welleck et al. (2019), Neural Text Generation with Unlikelihood Training, arXiv:1908.04319."
    inputs = TEXTS

    def _compute(self, predictions: list[str]) -> dict[str, float]:
        texts = [_ngrams(text, 4) for text in predictions]
        return {"repetition": math.fsum(1 - len(set(t)) / len(t) for t in texts if t) / len(texts)}


class Faults(_Metric):
    """What can be seen to be wrong with translations without knowing the language; inputs as `Bleu`.

    `empty_share`: of the texts, those with nothing but whitespace. `length_ratio`: characters of all texts / those of
    their references (no whitespace; of several references the one nearest in length). `truncated_share`: of the texts
    whose references all end with a sentence's mark (. ! ? … and the like), those that do not, empty ones left out; 0.0 where no
    reference has one. `untranslated_share`: Han characters left in the texts / their letters, where the references have no
    Han characters themselves; Latin letters, where the references are Chinese.
    """

    source = "Length ratio: Papineni et al. (2002), P02-1040; the other shares are counts."
    inputs = PAIRS

    def _compute(self, predictions: list[str], references: list[list[str]]) -> dict[str, float]:
        texts = [_squeeze(text) for text in predictions]
        lengths = [min((len(_squeeze(r)) for r in refs), key=lambda n: abs(n - len(text))) for text, refs in zip(texts, references)]
        ended = [ENDED.search(text) is not None for text, refs in zip(texts, references) if text and all(map(ENDED.search, refs))]
        return {
            "empty_share": sum(not text for text in texts) / len(texts),
            "length_ratio": sum(map(len, texts)) / max(1, sum(lengths)),
            "truncated_share": ended.count(False) / max(1, len(ended)),
            "untranslated_share": _untranslated(texts, ["".join(refs) for refs in references]),
        }


class CopiedShare(_Metric):
    """How much of the texts stands in the training text: what sounds too good may be recited.

    `copied_share`: share of all the texts' n-grams (`index.n` characters, no whitespace) found in `index`.
    `longest_copied`: characters in the longest span that one training document has too; 0 if shorter than n.
    `copied_exact`: whether both are exact; if not, the share is an estimate and the span an upper bound (its
    n-grams all occur, perhaps not side by side). ValueError for an empty index, where 0 would mislead.
    """

    source = "n-gram novelty: McCoy et al. (2023), arXiv:2111.09509; Bloom filter: Bloom (1970), CACM 13(7)."
    inputs = TEXTS

    def __init__(self, index: NgramIndex) -> None:
        self.index = index
        super().__init__()

    def _compute(self, predictions: list[str]) -> dict[str, Any]:
        share, longest, exact = self.index.match(predictions)
        return {"copied_share": share, "longest_copied": longest, "copied_exact": exact}


def bleu_tokenizer(references: Iterable[str]) -> str:
    """sacrebleu's tokenizer for these references: its 13a leaves a Chinese sentence in one piece."""
    return "zh" if chinese("".join(references)) else "13a"


def translation_metrics(tokenize: str = "13a") -> evaluate.CombinedEvaluations:
    """`.compute(predictions=[str], references=[str])` -> bleu, chrf and their signatures, repetition and what `Faults` counts."""
    return evaluate.combine([Bleu(tokenize), Chrf(), Repetition(), Faults()])


def text_metrics(index: NgramIndex | None = None) -> evaluate.CombinedEvaluations:
    """Diversity, repetition and, given an index of the training text, copying: `.compute(predictions=…)`."""
    metrics: list[_Metric] = [DistinctN(), Repetition()]
    return evaluate.combine([*metrics, CopiedShare(index)] if index is not None else metrics)


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
            self._pending.append(_squeeze(document))
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
        where, hashes = _windows("\n".join(map(_squeeze, texts)), self.n)  # (W,) each
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


def _streams(references: list[list[str]]) -> list[Sequence[str]]:
    """References by row -> by number, as sacrebleu wants them; None where a row has fewer."""
    return list(zip_longest(*references))


def _untranslated(texts: list[str], references: list[str]) -> float:
    """Share of the letters of `texts` that are of the other script than the references'; 0.0 where there are none."""
    to_chinese = chinese("".join(references))
    wrong = letters = 0
    for text, reference in zip(texts, references):
        han, latin = len(HAN.findall(text)), sum(map(len, LATIN_RUN.findall(text)))
        if not (LATIN_RUN if to_chinese else HAN).search(reference):  # a name left as it is is no fault
            wrong += latin if to_chinese else han
            letters += han + latin
    return wrong / max(1, letters)


def _squeeze(text: str) -> str:
    return "".join(text.split())


def _ngrams(text: str, n: int) -> list[tuple[str, ...]]:
    units = text.split() if LETTER.search(text) and not HAN.search(text) else list(_squeeze(text))
    return list(zip(*(units[i:] for i in range(n)), strict=False))


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

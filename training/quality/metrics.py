"""The scores: how well a model predicts, translates and writes, and how much of what it writes is copied.

Every metric is an `evaluate.Metric`, so it is used like those of that library:

    Bleu().compute(predictions=["a bird ."], references=["a bird ."])     # at once
    metric = Perplexity(); metric.add_batch(loss_sum=…, tokens=…, characters=…); metric.compute()
    text_metrics(NgramIndex().add(documents)).compute(predictions=samples)  # several, by evaluate.combine

`evaluate.load` would fetch a script from the hub; nothing here opens a socket. Rows are held in memory.
`evaluate` makes a cache folder even with `keep_in_memory`; these metrics touch no disk, so they work with a read-only
home and in any number of processes, each of which scores its own rows (gather them first). Nothing is
random. Input that cannot be scored (no rows at all, a missing column, a string in place of a list, None in place of
a text) raises ValueError; an empty *text* is an ordinary text. `import evaluate` takes seconds, because it imports
transformers' pipelines: import this module only where scores are computed.
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Iterable, Sequence
from itertools import chain, zip_longest
from typing import Any

import evaluate
from datasets import Features, Value
from datasets import Sequence as ListOf
from sacrebleu.metrics import BLEU, CHRF

from training.base.characters import HAN, LATIN_RUN, LETTER
from training.corpus.filters import is_chinese
from training.quality.copied_text import NgramIndex, squeeze

TOKENIZERS = ("13a", "intl", "zh", "char", "none")  # sacrebleu's others download a model or need a package

TEXT, REFERENCES = Value("string"), ListOf(Value("string"))
TEXTS = Features({"predictions": TEXT})
PAIRS = Features({"predictions": TEXT, "references": REFERENCES})

ENDED = re.compile(r"""[.!?…。！？]["'”’」』）)\]]*\Z""")  # the mark that ends a sentence, and quotes or brackets that close after it


class _Metric(evaluate.Metric):
    """`evaluate.Metric` without the cache folder; it checks input where upstream guesses or fails obscurely.

    A subclass has a docstring (the description), `source` (where the formula is from) and `inputs` (its columns).
    """

    source: str
    inputs: Features

    def __init__(self) -> None:
        super().__init__(keep_in_memory=True, seed=0)

    def _info(self) -> evaluate.MetricInfo:
        description = inspect.cleandoc(self.__doc__ or "")
        return evaluate.MetricInfo(description=description, citation=self.source, features=self.inputs)

    def _build_data_dir(self) -> str:
        return ""  # upstream makes the folder here, whether or not it is used

    def add_batch(self, *, predictions: Any = None, references: Any = None, **kwargs: Any) -> None:
        """Add rows: lists (or 1-D arrays or tensors) of equal length, named as in `self.features`. Raises ValueError for other input."""
        columns = {"predictions": predictions, "references": references, **kwargs}
        if unknown := set(kwargs) - set(self.features):
            raise ValueError(f"{self.name}: unknown input {sorted(unknown)}; it takes {list(self.features)}")
        for name, feature in self.features.items():
            column = columns.get(name)
            if column is None or isinstance(column, str) or not hasattr(column, "__len__"):
                raise ValueError(f"{self.name}: `{name}` must be a list, one element a row, not {column!r:.50}")
            texts: Iterable[Any] = column if feature == TEXT else ()
            if feature == REFERENCES:  # a row is one string or several; anything else is refused below
                column = [row if isinstance(row, list | tuple) and row else [row] for row in column]
                texts = chain.from_iterable(column)
            for bad in (text for text in texts if not isinstance(text, str)):
                raise ValueError(f"{self.name}: `{name}` must hold strings, found {bad!r:.60}")
            columns[name] = column
        super().add_batch(**{name: columns[name] for name in self.features})

    def add(self, *, prediction: Any = None, reference: Any = None, **kwargs: Any) -> None:
        """Add one row; raises ValueError as `add_batch` does."""
        row = {"predictions": prediction, "references": reference, **kwargs}
        self.add_batch(**{name: [row.get(name)] for name in self.features})

    def _finalize(self) -> None:
        if len(self) == 0:
            raise ValueError(f"{self.name}: nothing to score; give at least one row of {list(self.features)}")
        super()._finalize()


class Perplexity(_Metric):
    """Loss of a language model over a whole set, from sums per batch.

    `loss_sum` (float) is the negative log-likelihood in nats, summed over a batch's targets; `tokens` (int) is their number;
    `characters` (int) is the length of the text that they spell, without special tokens. Returns `val_loss`
    (nats a token), `perplexity` (inf if it overflows) and `bits_per_character`, which, unlike the other two, can be
    compared between models with different vocabularies. Raises ValueError if tokens or characters sum to 0.
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

    A reference is a string, or a list of strings if there are several. `tokenize` is "13a" for English, "zh"
    for Chinese, or another of `TOKENIZERS`. The signature names it; only scores with equal signatures can be compared.
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
    """Corpus chrF2 (n-grams up to 6 characters, β = 2), 0 to 100, by sacrebleu; inputs are those of `Bleu`."""

    source = "Popović (2015), chrF, W15-3049."
    inputs = PAIRS

    def _compute(self, predictions: list[str], references: list[list[str]]) -> dict[str, Any]:
        chrf = CHRF()
        score = chrf.corpus_score(predictions, _streams(references)).score
        return {"chrf": score, "chrf_signature": str(chrf.get_signature())}


class DistinctN(_Metric):
    """`distinct_1` and `distinct_2`: distinct n-grams / n-grams of all texts together; 1.0 means that none repeats.

    Units are characters (no whitespace) for a text with Han characters or without any letter, and words between whitespace otherwise.
    The paper divides by tokens, which keeps the bigrams of short texts below 1. More text gives lower values, so
    compare equal numbers of samples of equal length. The value is 0.0 if there is no n-gram.
    """

    source = "Li et al. (2016), A Diversity-Promoting Objective Function for Neural Conversation Models."
    inputs = TEXTS

    def _compute(self, predictions: list[str]) -> dict[str, float]:
        grams = {n: [gram for text in predictions for gram in _ngrams(text, n)] for n in (1, 2)}
        return {f"distinct_{n}": len(set(ngrams)) / max(1, len(ngrams)) for n, ngrams in grams.items()}


class Repetition(_Metric):
    """`repetition`: 1 − distinct 4-grams / 4-grams within a text (seq-rep-4), averaged over texts.

    Units are those of `DistinctN`. A text shorter than a 4-gram counts as 0. The value is near 0 in human text and near 1 in a loop.
    """

    source = "Welleck et al. (2019), Neural Text Generation with Unlikelihood Training, arXiv:1908.04319."
    inputs = TEXTS

    def _compute(self, predictions: list[str]) -> dict[str, float]:
        texts = [_ngrams(text, 4) for text in predictions]
        return {"repetition": math.fsum(1 - len(set(t)) / len(t) for t in texts if t) / len(texts)}


class Faults(_Metric):
    """Faults of translations that can be counted without knowing the language; inputs are those of `Bleu`.

    - `empty_share`: share of the texts that have nothing but whitespace.
    - `length_ratio`: characters of all texts / characters of their references (no whitespace; of several references the one
      nearest in length).
    - `truncated_share`: among texts whose references all end with a sentence's mark (. ! ? … and the like), the share that does
      not; empty texts are left out. 0.0 if there is no such text.
    - `untranslated_share`: Han characters in the texts / letters of the texts, counted where the references have no Han characters;
      if the references are Chinese, Latin letters are counted in the same way.
    """

    source = "Length ratio: Papineni et al. (2002), P02-1040; the other shares are counts."
    inputs = PAIRS

    def _compute(self, predictions: list[str], references: list[list[str]]) -> dict[str, float]:
        texts = [squeeze(text) for text in predictions]
        lengths = [min((len(squeeze(r)) for r in refs), key=lambda n: abs(n - len(text))) for text, refs in zip(texts, references)]
        ended = [ENDED.search(text) is not None for text, refs in zip(texts, references) if text and all(map(ENDED.search, refs))]
        return {
            "empty_share": sum(not text for text in texts) / len(texts),
            "length_ratio": sum(map(len, texts)) / max(1, sum(lengths)),
            "truncated_share": ended.count(False) / max(1, len(ended)),
            "untranslated_share": _untranslated(texts, ["".join(refs) for refs in references]),
        }


class CopiedShare(_Metric):
    """How much of the texts is copied from the training text.

    - `copied_share`: share of all the texts' n-grams (`index.n` characters, no whitespace) that are in `index`.
    - `longest_copied`: characters of the longest span that a training document has too; 0 if it is shorter than n.
    - `copied_exact`: whether both are exact. If not, the share is an estimate and the span an upper bound (its
      n-grams all occur, but perhaps not side by side).

    Raises ValueError for an empty index, because 0 would mislead.
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
    """The tokenizer of sacrebleu for these references: 13a would leave a Chinese sentence in one piece."""
    return "zh" if is_chinese("".join(references)) else "13a"


def translation_metrics(tokenize: str = "13a") -> evaluate.CombinedEvaluations:
    """BLEU, chrF and their signatures, repetition and what `Faults` counts: `.compute(predictions=[str], references=[str])`."""
    return evaluate.combine([Bleu(tokenize), Chrf(), Repetition(), Faults()])


def text_metrics(index: NgramIndex | None = None) -> evaluate.CombinedEvaluations:
    """Diversity, repetition and, given an index of the training text, copying: `.compute(predictions=[str])`."""
    metrics: list[_Metric] = [DistinctN(), Repetition()]
    return evaluate.combine([*metrics, CopiedShare(index)] if index is not None else metrics)


def _streams(references: list[list[str]]) -> list[Sequence[str]]:
    """Lists of each row's first, second … reference, as sacrebleu takes them; None where a row has fewer."""
    return list(zip_longest(*references))


def _untranslated(texts: list[str], references: list[str]) -> float:
    """Share of the letters of `texts` that are in the source's script, not in that of the references; 0.0 if there are no letters."""
    to_chinese = is_chinese("".join(references))
    wrong = letters = 0
    for text, reference in zip(texts, references):
        han, latin = len(HAN.findall(text)), sum(map(len, LATIN_RUN.findall(text)))
        if not (LATIN_RUN if to_chinese else HAN).search(reference):  # a name that the reference keeps too is not a fault
            wrong += latin if to_chinese else han
            letters += han + latin
    return wrong / max(1, letters)


def _ngrams(text: str, n: int) -> list[tuple[str, ...]]:
    """The n-grams of a text in the units of `DistinctN`."""
    units = text.split() if LETTER.search(text) and not HAN.search(text) else list(squeeze(text))
    return list(zip(*(units[i:] for i in range(n)), strict=False))

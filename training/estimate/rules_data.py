"""Preflight's rules on the corpus: its size against the model's, its pairs, its rows. Light: no torch."""

from __future__ import annotations

import itertools
import math

from training.diagnosis.corpus_report import MIXED, SWAPPED, count_lost_rows, says_chinese_to_english, validation_on_training_text
from training.diagnosis.finding import Finding, Severity
from training.estimate.facts import Facts
from training.estimate.overfitting import FACTOR, SOURCE, tokens_wanted

CHINCHILLA = "Hoffmann et al. 2022, arXiv:2203.15556"

REPEATED = "Muennighoff et al. 2023, arXiv:2305.16264"

CHALLENGES = "Koehn & Knowles 2017, arXiv:1706.03872"

LOW_RESOURCE = "Sennrich & Zhang 2019, arXiv:1905.11901"


def overfit_forecast(f: Facts) -> Finding | None:
    """The horizon goes far beyond the step at which the validation loss is expected to turn."""
    steps, turning = f.horizon.get("steps"), f.forecast.get("overfit_step")
    if not turning or not steps or steps < 1.5 * turning:
        return None
    severity: Severity = "problem" if steps > 4 * turning and f.config.train.early_stopping == 0 else "warning"
    evidence = {
        "step": turning, "low": round(turning / FACTOR), "high": round(turning * FACTOR), "steps": steps,
        "epoch": f.forecast["overfit_epoch"], "epochs": f.horizon["epochs"], "parameters": f.parameters["total"],
        "tokens": f.data["tokens"], "every": min(f.config.evaluation.every_steps, max(1, turning // 4)),
        "wanted_tokens": tokens_wanted(f.parameters["total"], steps * f.data["tokens_per_step"]),
    }  # fmt: skip
    evidence["wanted_rows"] = round(evidence["wanted_tokens"] / max(1e-9, f.data["tokens_per_row"]))
    return Finding("overfit_forecast", severity, evidence, SOURCE)


# English words of a corpus and the BLEU that Koehn & Knowles reached with them (figure 3; there English is the source, here the target).
WORDS_AND_BLEU = ((0.4e6, 1.6), (0.75e6, 7.2), (1.5e6, 11.9))


def too_few_pairs(f: Facts) -> Finding | None:
    """The corpus is too small to learn translation from: few words in long sentences give a BLEU near zero.

    Sennrich & Zhang, with everything tuned, reached 16.6 with 0.1M words of TED talks. Short, simple sentences (a phrasebook) need fewer.
    """
    if not f.config.spec.two_languages or not f.data.get("rows"):
        return None
    length = f.data["words_per_target"]
    words = f.data["rows"] * length
    if words >= WORDS_AND_BLEU[-1][0] or length < 12:
        return None
    evidence = {
        "rows": f.data["rows"], "words": words, "length": length, "wanted_rows": _two_digits(15e6 / length),
        "some_rows": _two_digits(1.5e6 / length),
    }  # fmt: skip
    sources = f"{CHALLENGES}; {LOW_RESOURCE}"
    if words < WORDS_AND_BLEU[0][0]:
        return Finding("too_few_pairs", "problem", evidence, sources)
    return Finding("few_pairs", "warning", evidence | {"expected": expected_bleu(words)}, sources)


def _two_digits(number: float) -> int:
    return int(float(f"{number:.1e}"))


def expected_bleu(words: float) -> float:
    """The BLEU for this many words, interpolated in WORDS_AND_BLEU linearly in the logarithm of the words."""
    for (x0, y0), (x1, y1) in itertools.pairwise(WORDS_AND_BLEU):
        if words <= x1:
            return round(y0 + (y1 - y0) * math.log(words / x0) / math.log(x1 / x0), 1)
    return WORDS_AND_BLEU[-1][1]


MANY_EPOCHS = 16  # 1 + R* of the paper: here one more epoch is worth a third (1/e) of new text; at 40 epochs nearly nothing


def many_epochs(f: Facts) -> Finding | None:
    """A large corpus is read so often that repeating it teaches little; small ones are left to overfit_forecast."""
    epochs = f.horizon.get("epochs") or 0
    if epochs <= MANY_EPOCHS or f.data.get("tokens", 0) < 1e6 or f.forecast.get("overfit_step"):
        return None
    return Finding("many_epochs", "note", {"epochs": epochs, "tokens": f.data["tokens"]}, REPEATED)


SMALL_MODEL = 10_000_000  # parameters; the law is from models of 70M and more and is not extrapolated below this

AS_NEW = 4  # epochs; text that is read up to this often is as good as new (Muennighoff et al.)


def model_large_for_tokens(f: Facts) -> Finding | None:
    """A large model sees few tokens: with the same compute a smaller model sees more and reaches a lower loss.

    Compute is 6 * parameters * tokens, and is best used with about 20 tokens a parameter. So sqrt(N * D / 20) parameters that see 20 tokens
    each beat N parameters that see D tokens, if there is that much text.
    """
    tokens, total, corpus_tokens = f.horizon.get("tokens"), f.parameters.get("total", 0), f.data.get("tokens", 0)
    if not tokens or not total or tokens / total >= 5:
        return None
    best = round(math.sqrt(total * tokens / 20))
    if best < SMALL_MODEL or 20 * best > AS_NEW * corpus_tokens:
        return None
    evidence = {"tokens": tokens, "parameters": total, "ratio": tokens / total, "wanted": best, "wanted_tokens": 20 * best}
    return Finding("model_large_for_tokens", "note", evidence, CHINCHILLA)


def sides_swapped(f: Facts) -> Finding | None:
    """Source and target are swapped, in all pairs or in some."""
    if not f.config.spec.two_languages or not f.data.get("rows"):
        return None
    swapped, against = f.data.get("swapped_share", 0.0), f.data.get("chinese_targets", 0.0)
    if swapped >= MIXED:
        return Finding("sides_mixed", "warning", {"share": swapped})
    if against > SWAPPED and (names := says_chinese_to_english(f.config)):
        return Finding("sides_swapped", "problem", {"share": against, "source": names["source"], "target": names["target"]})
    return None


def rows_lost(f: Facts) -> Finding | None:
    """A fifth of the rows is rejected, not counting harmless reasons, as in the doctor."""
    share, (lost, _) = f.data.get("rejected_share", 0.0), count_lost_rows(f.data, f.config.task)
    if share <= 0.2 or not lost:
        return None
    reason = max(lost, key=lambda k: lost[k])
    return Finding("rows_lost", "warning", {"share": share, "reason": reason, "count": lost[reason]})


def pairs_too_long(f: Facts) -> Finding | None:
    """Many pairs are left out because a side is longer than `batch` allows."""
    share = f.data.get("left_out_share", 0.0)
    if share <= 0.05:
        return None
    b = f.config.batch
    return Finding("pairs_too_long", "warning", {"share": share, "source": b.max_source_length, "target": b.max_target_length})


def nothing_held_out(f: Facts) -> Finding | None:
    """There are no validation rows, so overfitting cannot be seen."""
    return Finding("nothing_held_out", "warning") if f.data.get("held_out") == 0 else None


def validation_trained(f: Facts) -> Finding | None:
    """Validation rows are training rows too, so a loss measured on them says nothing about new text."""
    rows, of = f.data.get("validation_trained", (0, 0))
    if (overlap := validation_on_training_text(f.config, rows, of)) is None:
        return None
    return Finding("validation_trained" if overlap[0] != "note" else "validation_is_training", *overlap)


def text_undivided(f: Facts) -> Finding | None:
    """`corpus.document` should have cut a file into texts, but it is one text."""
    undivided = f.data.get("undivided") or []
    if not undivided:
        return None
    file, lines = undivided[0]
    return Finding(
        "text_undivided", "problem", {"file": file, "lines": lines, "files": len(undivided), "document": f.config.corpus.document}
    )


def order_of_file(f: Facts) -> Finding | None:
    """A file is shuffled inside a window only: if it is sorted, the model learns its beginning first and its end last."""
    rows, mixed = f.data.get("front_to_back_rows", 0), f.data.get("mixed_rows", 0)
    if not mixed or rows < 2 * mixed:
        return None
    return Finding("order_of_file", "note", {"rows": rows, "mixed": mixed})


def block_longer_than_text(f: Facts) -> Finding | None:
    """No text ever fills the context, so the positions beyond the longest text are never trained."""
    block, longest = f.config.batch.block_size, f.data.get("longest_tokens", 0)
    if f.data.get("packed") is not False or not longest or block < 2 * longest:
        return None
    return Finding("block_longer_than_text", "note", {"block": block, "longest": longest})

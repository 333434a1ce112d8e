"""What went in and what came out: the doctor's verdicts on output, tokenizer and data, on speed, and on what was predicted.

As in verdicts_training.py, each is a function of the records to a Finding, or None.
"""

from __future__ import annotations

import statistics
from typing import Any

from training.base.errors import OutOfMemory
from training.corpus.filters import FILTERS, chinese
from training.diagnosis.finding import Finding, Severity
from training.diagnosis.run_records import (
    MIXED,
    SWAPPED,
    RunRecords,
    count_lost_rows,
    level,
    missing,
    number,
    plausible,
    rejected,
    says_chinese_to_english,
    shown,
    validation_on_training_text,
)
from training.diagnosis.verdicts_training import finding, overfitting
from training.settings.config import source_list

COPIED = 0.10  # share of n-grams (8 of Chinese, 30 letters of English): in samples of healthy models of verses it is 0.00

COPIED_ALONE = 0.5  # without a validation set that tells reciting from a language of few phrases

GAP = 0.75  # training loss over validation loss below which the training text is known by heart

REPEATED = 0.3  # seq-rep-4: near 0 in human text, 0.4 to 0.9 in loops (Welleck et al. 2019)

EMPTY, EMPTY_MANY = 0.25, 0.5  # share of outputs

UNENDED, TRUNCATED = 0.2, 0.3  # share of gpt's samples that end by themselves; of translations that are cut

ROOM = 2.0  # a text that is to end by itself has to find this many times its mean length

UNTRANSLATED = 0.1  # share of letters in the source's script

UNKNOWN, UNKNOWN_MANY = 0.01, 0.05  # share of tokens

FINE_CHINESE, FINE_OTHER = 1.3, 0.5  # tokens a character: one is a token a character; English at 8,000 entries has 0.25

QUARANTINED, QUARANTINED_MANY, FILTERED = 0.01, 0.2, 0.5  # share of the rows: faults of the file; rows that the filters leave out

DUPLICATE, DUPLICATE_MANY = 0.05, 0.2  # share of the rows

MIXED_MANY = 0.2  # share of the pairs

SLOW = 0.5  # of the probe's tokens a second

TIME_FACTOR, MEMORY_FACTOR, STEP_FACTOR = 1.5, 1.25, 2.0  # a prediction within these is called right

# Bytes. Models of a few million parameters in bf16 had up to 70 MB more resident than foretold after a thousand steps (docs/log.md,
# "Small models have more resident"): a large share of little. No machine is short of that much, so it is not told.
NOTICED = 256 << 20

WAITED = 30.0  # seconds


# ---- output


def memorised_text(r: RunRecords) -> Finding | None:
    """Samples stand in the training text, and the model knows that text far better than text of the same kind."""
    copied, longest, loss = r.last("copied_share"), r.last("longest_copied"), level(r.losses, 0.95, 1.0)
    if copied is None or longest is None or loss is None or source_list(r.config.corpus.validation) == source_list(r.config.corpus.train):
        return None  # validated on the training text: reciting is what is wanted
    validation = r.validation[-1].value if r.validation else None
    if copied < (COPIED_ALONE if validation is None else COPIED) or (validation is not None and loss > GAP * validation):
        return None
    evidence = {
        "step": r.evaluations[-1]["step"], "copied_share": round(copied, 3), "longest_copied": int(longest),
        "epoch": round(r.epoch(r.steps), 1), "loss": round(loss, 4), "val_loss": validation and round(validation, 4),
    }  # fmt: skip
    return finding("memorised_text", "warning", evidence, "Carlini et al. 2022, arXiv:2202.07646")


def repetition_loops(r: RunRecords) -> Finding | None:
    """The same words over and over at the last evaluation."""
    repeated = r.last("repetition")
    if repeated is None or repeated < REPEATED:
        return None
    evidence = {"step": r.evaluations[-1]["step"], "repetition": round(repeated, 3), "temperature": _temperature(r)}
    return finding("repetition_loops", "warning", evidence, "Holtzman et al. 2019, arXiv:1904.09751; Welleck et al. 2019, arXiv:1908.04319")


def empty_output(r: RunRecords) -> Finding | None:
    """Nothing at all where a text was asked for."""
    texts = [s["text"] for s in r.samples if isinstance(s.get("text"), str)]
    share = r.last("empty_share")
    if share is None:
        share = sum(not t.strip() for t in texts) / len(texts) if texts else 0.0
    if share < EMPTY:
        return None
    evidence = {"step": r.evaluations[-1]["step"] if r.evaluations else r.steps, "share": round(share, 3)}
    return finding("empty_output", "problem" if share >= EMPTY_MANY else "warning", evidence)


def truncated_output(r: RunRecords) -> Finding | None:
    """Texts that do not come to an end: cut at the longest length, where those of the corpus would have ended."""
    if repetition_loops(r):
        return None  # a loop has no end
    c, spec = r.config, r.config.spec
    room = min(c.evaluation.max_new_tokens, spec.target_length(c.batch))
    if spec.open_ended:
        ended, length = r.last("stopped"), _mean_tokens(r)
        if ended is None or length is None or c.corpus.document == "file" or ended > UNENDED or ROOM * length > room:
            return None
        share = 1 - ended
    else:
        cut = r.last("truncated_share")
        if cut is None or cut < TRUNCATED:
            return None
        share, length = cut, r.predicted("vocabulary", "columns", spec.target_column, "tokens_per_text")
    ratio = r.last("length_ratio")
    evidence = {
        "step": r.evaluations[-1]["step"], "share": round(share, 3), "max_new_tokens": room, "mean_tokens": length and round(length, 1),
        "length_ratio": ratio and round(ratio, 2),
    }  # fmt: skip
    return finding("truncated_output", "warning", evidence)


def untranslated_output(r: RunRecords) -> Finding | None:
    """The source's script in the translations."""
    share = r.last("untranslated_share")
    if share is None or share < UNTRANSLATED:
        return None
    return finding("untranslated_output", "warning", {"step": r.evaluations[-1]["step"], "share": round(share, 3)})


def _temperature(r: RunRecords) -> float:
    return r.config.evaluation.temperature if r.config.spec.open_ended else 0.0


def _mean_tokens(r: RunRecords) -> float | None:
    """Tokens of a text, in the mean; without a preflight its characters, which are no fewer (bytes apart)."""
    column = r.config.spec.target_column
    known = r.predicted("vocabulary", "columns", column, "tokens_per_text")
    characters, rows = r.corpus.get("characters"), number(r.corpus.get("rows_kept"))
    if known is not None or not isinstance(characters, dict) or not rows:
        return known
    total = number(characters.get(column))
    return total / rows if total else None


# ---- tokenizer


def tokenizer_unknowns(r: RunRecords) -> Finding | None:
    """Tokens that say only "something that I do not know"; they can be neither read nor written."""
    share, size = r.predicted("vocabulary", "unknown"), r.predicted("vocabulary", "size")
    if share is None or share < UNKNOWN:
        return None
    t = r.config.tokenizer
    evidence = {"unknown": round(share, 4), "vocabulary": int(size or 0), "type": t.type, "min_frequency": t.min_frequency}
    return finding("tokenizer_unknowns", "problem" if share >= UNKNOWN_MANY else "warning", evidence)


def tokenizer_too_fine(r: RunRecords) -> Finding | None:
    """BPE that hardly merges: English nearly by letters, Chinese by bytes. Long sequences cost time and context."""
    if r.config.tokenizer.type != "bpe":
        return None  # a token a character was asked for
    worst: tuple[float, dict[str, Any]] | None = None
    for column in r.config.spec.columns:
        rate = r.predicted("vocabulary", "columns", column, "tokens_per_character")
        if rate is None:
            continue
        limit = FINE_CHINESE if _is_chinese(r, column) else FINE_OTHER
        if rate >= limit and (worst is None or rate / limit > worst[0]):
            worst = rate / limit, {"column": column, "tokens_per_character": round(rate, 3), "limit": limit}
    if worst is None:
        return None
    evidence = worst[1] | {"vocab_size": r.config.tokenizer.vocab_size, "suggested": max(4000, 2 * r.config.tokenizer.vocab_size)}
    return finding("tokenizer_too_fine", "warning", evidence, "Petrov et al. 2023, arXiv:2305.15425")


def _is_chinese(r: RunRecords, column: str) -> bool:
    """By what the samples show; without samples yes, for which the limit is the looser one."""
    spec = r.config.spec
    key = "prompt" if column != spec.target_column else "text" if spec.open_ended else "reference"
    text = "".join(s[key] for s in r.samples if isinstance(s.get(key), str))
    return chinese(text) or not text.strip()


# ---- data


def rows_quarantined(r: RunRecords) -> Finding | None:
    """Rows that cannot be read or are incomplete; or filters that leave out most of a corpus."""
    lost, rows = count_lost_rows(r.corpus, r.config.task)
    filters = set(FILTERS) | ({"too_long"} if r.config.corpus.filters.max_chars else set())
    faults = {reason: n for reason, n in lost.items() if reason not in filters}
    told = lost if sum(lost.values()) >= FILTERED * rows else faults  # of filtering that was asked for, nothing is said
    count = sum(told.values())
    if rows <= 0 or not count or count < QUARANTINED * rows:
        return None
    share = count / rows
    reason = max(told, key=lambda k: told[k])
    examples = r.corpus.get("examples")
    evidence = {
        "rows": rows, "quarantined": count, "share": round(share, 4), "reason": shown(reason),
        "of_reason": told[reason], "example": shown(examples.get(reason, "–") if isinstance(examples, dict) else "–")[:200],
    }  # fmt: skip
    return finding("rows_quarantined", "problem" if share >= QUARANTINED_MANY else "warning", evidence)


def rows_duplicate(r: RunRecords) -> Finding | None:
    """The corpus is smaller than its number of lines says."""
    reasons, rows = rejected(r.corpus)
    duplicates = reasons.get("duplicate", 0)
    if rows <= 0 or duplicates < DUPLICATE * rows:
        return None
    evidence = {"rows": rows, "duplicates": duplicates, "share": round(duplicates / rows, 4), "left": rows - sum(reasons.values())}
    severity: Severity = "warning" if duplicates >= DUPLICATE_MANY * rows else "note"
    return finding("rows_duplicate", severity, evidence, "Lee et al. 2021, arXiv:2107.06499")


def validation_trained(r: RunRecords) -> Finding | None:
    """Validation rows that were trained on: loss, scores, the best checkpoint and early stopping are about training text then."""
    counts = r.corpus.get("validation_trained")
    if not (isinstance(counts, list) and len(counts) == 2 and all(type(n) is int and n >= 0 for n in counts)):
        return None
    found = validation_on_training_text(r.config, *counts)
    return finding("validation_trained", *found) if found and found[0] != "note" else None


def sides_swapped(r: RunRecords) -> Finding | None:
    """The columns say Chinese to English, and most pairs go the other way."""
    against, names = r.predicted("data", "chinese_targets"), says_chinese_to_english(r.config)
    if against is None or against <= SWAPPED or names is None:
        return None
    return finding("sides_swapped", "problem", {"share": round(against, 4), "source": names["source"], "target": names["target"]})


def sides_mixed(r: RunRecords) -> Finding | None:
    """Some pairs go the other way than most."""
    share = r.predicted("data", "swapped_share")
    if share is None or share < MIXED:
        return None
    severity: Severity = "problem" if share >= MIXED_MANY else "warning"
    return finding("sides_mixed", severity, {"share": round(share, 4)}, "Khayrallah & Koehn 2018, W18-2709")


# ---- speed, predictions, the end


def throughput_low(r: RunRecords) -> Finding | None:
    """Far slower than the probe before the run; the median, so that a pause does not count."""
    probe = r.predicted("time", "tokens_per_second")
    speeds = [v for t in r.train if (v := number(t.get("tokens_per_second"))) is not None]
    del speeds[:1]  # it has the warming up of caches in it
    if not probe or len(speeds) < 3:
        return None
    measured = statistics.median(speeds)
    if measured > SLOW * probe:
        return None
    return finding("throughput_low", "warning", {"measured": round(measured), "probe": round(probe), "share": round(measured / probe, 3)})


def prediction_time(r: RunRecords) -> Finding | None:
    """The whole run against its forecast; of a few seconds nobody minds how many."""
    if abs((r.predicted("time", "seconds") or 0) - (plausible("seconds", r.end.get("seconds")) or 0)) < WAITED:
        return None
    return _missed(r, "prediction_time", r.predicted("time", "seconds"), plausible("seconds", r.end.get("seconds")), TIME_FACTOR)


def prediction_memory(r: RunRecords) -> Finding | None:
    """The measured peak against its forecast; a miss that no machine would notice is none."""
    predicted, measured = r.predicted_peak, plausible("bytes", r.end.get("peak_memory_bytes"))
    if abs((predicted or 0) - (measured or 0)) < NOTICED:
        return None
    return _missed(r, "prediction_memory", predicted, measured, MEMORY_FACTOR)


def prediction_overfit(r: RunRecords) -> Finding | None:
    """Where the validation loss turned, or how far it came without turning, against the forecast."""
    forecast = r.predicted("forecast", "overfit_step")
    if not forecast or len(r.validation) < 3:
        return None
    best, final = min(r.validation, key=lambda p: p.value), r.validation[-1]
    turned = overfitting(r) is not None
    if not turned and final.step < STEP_FACTOR * forecast:
        return None  # it may still come
    missed = _missed(r, "prediction_overfit", forecast, float(best.step), STEP_FACTOR, any_end=True)
    if missed or not turned:
        return missed
    evidence = {"predicted": round(forecast), "measured": best.step, "times": round(best.step / forecast, 2), "factor": STEP_FACTOR}
    return finding("prediction_overfit_right", "note", evidence)


def _missed(
    r: RunRecords, name: str, predicted: float | None, measured: float | None, factor: float, any_end: bool = False
) -> Finding | None:
    if not predicted or not measured or not (any_end or r.ended == "finished"):
        return None
    times = measured / predicted
    if 1 / factor <= times <= factor:
        return None
    evidence = {"predicted": round(predicted), "measured": round(measured), "times": round(times, 2), "factor": factor}
    if name == "prediction_memory":
        evidence |= {"predicted_mb": round(predicted / 1e6), "measured_mb": round(measured / 1e6)}
    return finding(name, "note", evidence)


ENDS: dict[str, tuple[str, Severity]] = {
    "interrupted": ("interrupted", "note"), "not finite": ("not_finite", "problem"), "stopped": ("stopped", "warning"),
    OutOfMemory.ended: ("out_of_memory", "problem"), OutOfMemory.ended + OutOfMemory.SAVED: ("out_of_memory_saved", "problem"),
    OutOfMemory.ended + OutOfMemory.SINGLE_ROW: ("out_of_memory_row", "problem"),
    OutOfMemory.ended + OutOfMemory.OPTIMIZER: ("out_of_memory_optimizer", "problem"), "": ("unfinished", "note"),
}  # fmt: skip


def records_unreadable(r: RunRecords) -> Finding | None:
    """Lines of the metrics that are no record of ours: nothing that they say was looked at."""
    if not r.unreadable:
        return None
    evidence = {"unreadable": r.unreadable, "readable": len(r.train) + len(r.evaluations)}
    return finding("records_unreadable", "warning" if r.train else "problem", evidence)


def records_empty(r: RunRecords) -> Finding | None:
    """A run that has its report, which is written at the end, and no records: silence would be a clean bill."""
    if r.unreadable or r.train or r.evaluations or r.end or not r.reported:
        return None
    return finding("records_empty", "problem", {})


def losses_missing(r: RunRecords) -> Finding | None:
    """Losses that are no numbers, in a run that did not stop because of them."""
    train, validation = missing(r.train, "loss"), missing(r.evaluations, "val_loss")
    if r.ended == "not finite" or not (train or validation):
        return None
    evidence = {
        "train": len(train), "of_train": len(r.train), "validation": len(validation), "of_validation": len(r.evaluations),
        "step": min(train + validation),
    }  # fmt: skip
    return finding("losses_missing", "problem", evidence)


def ending(r: RunRecords) -> Finding | None:
    """How the run ended, if not at its horizon; without a record of it, it is still running or was killed."""
    if r.ended not in ENDS or (r.unreadable and not r.steps):  # with nothing that can be read, there is nothing to go by
        return None
    name, severity = ENDS[r.ended]
    return finding(name, severity, {"step": r.steps})


TEXT_AND_DATA = (
    memorised_text, repetition_loops, empty_output, truncated_output, untranslated_output, tokenizer_unknowns, tokenizer_too_fine,
    rows_quarantined, rows_duplicate, validation_trained, sides_swapped, sides_mixed, throughput_low, prediction_time, prediction_memory,
    prediction_overfit, records_unreadable, records_empty, losses_missing, ending,
)  # fmt: skip

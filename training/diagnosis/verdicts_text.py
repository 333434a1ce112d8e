"""What went in and what came out: the doctor's verdicts on output, tokenizer and data.

Each is a function of the records to a Finding, or None.
"""

from __future__ import annotations

from typing import Any

from training.corpus.filters import FILTERS, is_chinese
from training.diagnosis.corpus_report import (
    MIXED,
    SWAPPED,
    count_lost_rows,
    rejected,
    says_chinese_to_english,
    validation_on_training_text,
)
from training.diagnosis.curves import level, number
from training.diagnosis.finding import Finding, Severity
from training.diagnosis.run_records import RunRecords, printable
from training.diagnosis.verdicts_training import finding
from training.settings.config import source_list

COPIED = 0.10  # share of n-grams (8 characters of Chinese, 30 letters of English) found in the corpus; 0.00 in healthy models of verses

COPIED_ALONE = 0.5  # the same without a validation loss, which would tell reciting from a language of few phrases

GAP = 0.75  # training loss over validation loss; below, the training text is known by heart

REPEATED = 0.3  # seq-rep-4: near 0 in human text, 0.4 to 0.9 in loops (Welleck et al. 2019)

EMPTY, EMPTY_MANY = 0.25, 0.5  # share of the outputs

UNENDED, TRUNCATED = 0.2, 0.3  # share of the samples of gpt that end by themselves; share of the translations that are cut

ROOM = 2.0  # a text can be expected to end by itself if it has room for this many times the mean length

UNTRANSLATED = 0.1  # share of the letters in the source's script

UNKNOWN, UNKNOWN_MANY = 0.01, 0.05  # share of the tokens

FINE_CHINESE, FINE_OTHER = 1.3, 0.5  # tokens a character; English with 8,000 entries has 0.25

QUARANTINED, QUARANTINED_MANY, FILTERED = 0.01, 0.2, 0.5  # share of the rows: faulty (warning, problem); left out for any reason

DUPLICATE, DUPLICATE_MANY = 0.05, 0.2  # share of the rows

MIXED_MANY = 0.2  # share of the pairs

# ---- output


def memorised_text(r: RunRecords) -> Finding | None:
    """Samples are copied from the training text, and the model knows that text far better than other text of its kind."""
    copied, longest, loss = r.last("copied_share"), r.last("longest_copied"), level(r.losses, 0.95, 1.0)
    if copied is None or longest is None or loss is None or source_list(r.config.corpus.validation) == source_list(r.config.corpus.train):
        return None  # it is validated on the training text, so reciting is the aim
    validation = r.validation[-1].value if r.validation else None
    if copied < (COPIED_ALONE if validation is None else COPIED) or (validation is not None and loss > GAP * validation):
        return None
    evidence = {
        "step": r.evaluations[-1]["step"], "copied_share": round(copied, 3), "longest_copied": int(longest),
        "epoch": round(r.epoch(r.steps), 1), "loss": round(loss, 4), "val_loss": validation and round(validation, 4),
    }  # fmt: skip
    return finding("memorised_text", "warning", evidence, "Carlini et al. 2022, arXiv:2202.07646")


def repetition_loops(r: RunRecords) -> Finding | None:
    """The samples of the last evaluation repeat the same words over and over."""
    repeated = r.last("repetition")
    if repeated is None or repeated < REPEATED:
        return None
    evidence = {"step": r.evaluations[-1]["step"], "repetition": round(repeated, 3), "temperature": _temperature(r)}
    return finding("repetition_loops", "warning", evidence, "Holtzman et al. 2019, arXiv:1904.09751; Welleck et al. 2019, arXiv:1908.04319")


def empty_output(r: RunRecords) -> Finding | None:
    """The model writes empty texts."""
    texts = [s["text"] for s in r.samples if isinstance(s.get("text"), str)]
    share = r.last("empty_share")
    if share is None:
        share = sum(not t.strip() for t in texts) / len(texts) if texts else 0.0
    if share < EMPTY:
        return None
    evidence = {"step": r.evaluations[-1]["step"] if r.evaluations else r.steps, "share": round(share, 3)}
    return finding("empty_output", "problem" if share >= EMPTY_MANY else "warning", evidence)


def truncated_output(r: RunRecords) -> Finding | None:
    """Texts are cut at the length limit, where texts of the corpus would have ended."""
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
    """Translations contain letters of the source's script."""
    share = r.last("untranslated_share")
    if share is None or share < UNTRANSLATED:
        return None
    return finding("untranslated_output", "warning", {"step": r.evaluations[-1]["step"], "share": round(share, 3)})


def _temperature(r: RunRecords) -> float:
    return r.config.evaluation.temperature if r.config.spec.open_ended else 0.0


def _mean_tokens(r: RunRecords) -> float | None:
    """Mean tokens of a text; without a preflight its mean characters, which are no fewer unless tokens are bytes."""
    column = r.config.spec.target_column
    predicted = r.predicted("vocabulary", "columns", column, "tokens_per_text")
    characters, rows = r.corpus.get("characters"), number(r.corpus.get("rows_kept"))
    if predicted is not None or not isinstance(characters, dict) or not rows:
        return predicted
    total = number(characters.get(column))
    return total / rows if total else None


# ---- tokenizer


def tokenizer_unknowns(r: RunRecords) -> Finding | None:
    """Many tokens are `<unk>`: the model can neither read nor write what they stand for."""
    share, size = r.predicted("vocabulary", "unknown"), r.predicted("vocabulary", "size")
    if share is None or share < UNKNOWN:
        return None
    t = r.config.tokenizer
    evidence = {"unknown": round(share, 4), "vocabulary": int(size or 0), "type": t.type, "min_frequency": t.min_frequency}
    return finding("tokenizer_unknowns", "problem" if share >= UNKNOWN_MANY else "warning", evidence)


def tokenizer_too_fine(r: RunRecords) -> Finding | None:
    """BPE hardly merges: English is cut nearly into letters, Chinese into bytes. Long sequences cost time and context."""
    if r.config.tokenizer.type != "bpe":
        return None  # the config asks for a token a character
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
    """Whether a column is Chinese, judged by the samples; without samples yes, as the limit for Chinese is the looser one."""
    spec = r.config.spec
    key = "prompt" if column != spec.target_column else "text" if spec.open_ended else "reference"
    text = "".join(s[key] for s in r.samples if isinstance(s.get(key), str))
    return is_chinese(text) or not text.strip()


# ---- data


def rows_quarantined(r: RunRecords) -> Finding | None:
    """Rows cannot be read or are incomplete, or the filters leave out most of a corpus."""
    lost, rows = count_lost_rows(r.corpus, r.config.task)
    filters = set(FILTERS) | ({"too_long"} if r.config.corpus.filters.max_chars else set())
    faults = {reason: n for reason, n in lost.items() if reason not in filters}
    counted = lost if sum(lost.values()) >= FILTERED * rows else faults  # the config asked for the filters: only much of it is worth a word
    count = sum(counted.values())
    if rows <= 0 or not count or count < QUARANTINED * rows:
        return None
    share = count / rows
    reason = max(counted, key=lambda k: counted[k])
    examples = r.corpus.get("examples")
    evidence = {
        "rows": rows, "quarantined": count, "share": round(share, 4), "reason": printable(reason),
        "of_reason": counted[reason], "example": printable(examples.get(reason, "–") if isinstance(examples, dict) else "–")[:200],
    }  # fmt: skip
    return finding("rows_quarantined", "problem" if share >= QUARANTINED_MANY else "warning", evidence)


def rows_duplicate(r: RunRecords) -> Finding | None:
    """The corpus has many duplicates, so it is smaller than its number of lines says."""
    reasons, rows = rejected(r.corpus)
    duplicates = reasons.get("duplicate", 0)
    if rows <= 0 or duplicates < DUPLICATE * rows:
        return None
    evidence = {"rows": rows, "duplicates": duplicates, "share": round(duplicates / rows, 4), "left": rows - sum(reasons.values())}
    severity: Severity = "warning" if duplicates >= DUPLICATE_MANY * rows else "note"
    return finding("rows_duplicate", severity, evidence, "Lee et al. 2021, arXiv:2107.06499")


def validation_trained(r: RunRecords) -> Finding | None:
    """Validation rows were trained on, so that loss, scores, best checkpoint and early stopping say little about new text."""
    counts = r.corpus.get("validation_trained")
    if not (isinstance(counts, list) and len(counts) == 2 and all(type(n) is int and n >= 0 for n in counts)):
        return None
    overlap = validation_on_training_text(r.config, *counts)
    return finding("validation_trained", *overlap) if overlap and overlap[0] != "note" else None


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


TEXT_AND_DATA = (
    memorised_text, repetition_loops, empty_output, truncated_output, untranslated_output, tokenizer_unknowns, tokenizer_too_fine,
    rows_quarantined, rows_duplicate, validation_trained, sides_swapped, sides_mixed,
)  # fmt: skip

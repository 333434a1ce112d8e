"""What the scan of a corpus and its config say about rows and pairs; preflight's rules and the doctor's verdicts both ask.

Light: no torch, no numpy.
"""

from __future__ import annotations

from typing import Any

from training.diagnosis.curves import plausible
from training.diagnosis.finding import Severity
from training.settings.config import Config, source_list
from training.settings.task_specs import TASKS


def rejected(report: dict[str, Any]) -> tuple[dict[str, int], int]:
    """How many rows a scan left out, by reason, and how many it looked at; rows that `where` does not select count in neither.

    Args:
        report: the scan's, with `rejected`, `rows_read` and `not_selected`.
    """
    counts = report.get("rejected")
    reasons = {k: int(n) for k, v in counts.items() if (n := plausible("rows", v)) is not None} if isinstance(counts, dict) else {}
    return reasons, int((plausible("rows", report.get("rows_read")) or 0) - (plausible("rows", report.get("not_selected")) or 0))


LEAKED, LEAKED_MANY = 0.01, 0.2  # share of the validation rows: from here a warning, from here a problem


def validation_on_training_text(config: Config, rows: int, of: int) -> tuple[Severity, dict[str, Any]] | None:
    """How bad it is that validation rows are training rows, with the numbers; None if (nearly) none are.

    It is only a note if the config names the training text as its validation set: then learning it by heart is the aim.

    Args:
        rows: how many validation rows are training rows too.
        of: how many validation rows there are.
    """
    if not of or rows < LEAKED * of:
        return None
    train, validation = ([s.path for s in source_list(sources)] for sources in (config.corpus.train, config.corpus.validation))
    severity: Severity = "note" if train and train == validation else "problem" if rows >= LEAKED_MANY * of else "warning"
    return severity, {"rows": rows, "of": of, "share": round(rows / of, 4)}


def count_lost_rows(report: dict[str, Any], task: str) -> tuple[dict[str, int], int]:
    """`rejected` without harmless reasons: duplicates, which have a verdict of their own, and blank lines that separate texts."""
    harmless = {"duplicate", "empty"} if TASKS[task].blank_lines_harmless else {"duplicate"}
    reasons, rows = rejected(report)
    return {reason: n for reason, n in reasons.items() if reason not in harmless}, rows


MIXED = 0.02  # share of the pairs that go the other way than most (Khayrallah & Koehn 2018 measured 5% and more of noise)

SWAPPED = 0.5  # share of the pairs whose languages contradict the names of their columns

CHINESE, ENGLISH = {"chinese", "zh", "cn"}, {"english", "en"}  # column names that tell the language


def says_chinese_to_english(config: Config) -> dict[str, str] | None:
    """The names of source and target column if they say Chinese to English; None otherwise, as for aligned files without columns."""
    first = next(iter(source_list(config.corpus.train)), None)
    names = {"source": "chinese", "target": "english"} | config.corpus.columns | ((first and first.columns) or {})
    return names if not (first and first.target_path) and names["source"] in CHINESE and names["target"] in ENGLISH else None

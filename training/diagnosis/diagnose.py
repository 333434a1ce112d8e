"""A run's records to verdicts, and verdicts to lines or JSON."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from training.base.words import Language
from training.diagnosis.finding import Finding, finding_lines, worst_first
from training.diagnosis.run_records import RunRecords, read_run
from training.diagnosis.verdicts_text import TEXT_AND_DATA
from training.diagnosis.verdicts_training import TRAINING
from training.settings.config import Config

NOTHING = Finding("nothing_found", "note", book="doctor")  # what is said when there is no verdict; it is none itself


def diagnose(folder: Path, config: Config | None = None) -> list[Finding]:
    """The verdicts on a run, the worst first; empty if nothing was found.

    Args:
        config: for a caller that has it; otherwise the folder's config.yaml is read.

    Raises:
        ConfigError: if the folder is not that of a run, or its config cannot be read.
    """
    return judge(read_run(folder, config))


def judge(records: RunRecords) -> list[Finding]:
    """The verdicts on records that have been read."""
    return worst_first([found for verdict in (*TRAINING, *TEXT_AND_DATA) if (found := verdict(records)) is not None])


def verdict_lines(verdicts: list[Finding], language: Language) -> list[str]:
    """The verdicts as Markdown list items; if there are none, that."""
    if verdicts:
        return finding_lines(verdicts, language)
    return [f"- {NOTHING.text(language)}  ", f"  → {NOTHING.advice(language)}"]


def as_json(folder: Path, verdicts: list[Finding], language: Language) -> dict[str, Any]:
    """What `--json true` prints; a number that is not finite, for which JSON has no name, is null."""
    said = [v.as_dict(language) for v in verdicts]
    for v in said:
        v["evidence"] = {k: None if isinstance(x, float) and not math.isfinite(x) else x for k, x in v["evidence"].items()}
    return {"run": str(folder), "verdicts": said}

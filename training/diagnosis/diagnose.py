"""A run's records to verdicts, and verdicts to lines or JSON."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from training.base.words import Language
from training.diagnosis.finding import Finding, finding_lines, worst_first
from training.diagnosis.run_records import RunRecords, read_run
from training.diagnosis.verdicts_outcome import OUTCOME
from training.diagnosis.verdicts_text import TEXT_AND_DATA
from training.diagnosis.verdicts_training import TRAINING
from training.settings.config import Config

NOTHING = Finding("nothing_found", "note", book="doctor")  # printed when there is no verdict; never among the verdicts


def diagnose(folder: Path, config: Config | None = None) -> list[Finding]:
    """The verdicts on a run, the worst first; empty if nothing was found.

    Args:
        config: the run's config, if the caller has it; by default the folder's config.yaml is read.

    Raises:
        ConfigError: if it is not a run folder, or its config cannot be read.
    """
    return judge(read_run(folder, config))


def judge(records: RunRecords) -> list[Finding]:
    """The verdicts on records that have been read, the worst first."""
    return worst_first([finding for verdict in (*TRAINING, *TEXT_AND_DATA, *OUTCOME) if (finding := verdict(records)) is not None])


def verdict_lines(verdicts: list[Finding], language: Language) -> list[str]:
    """The verdicts as Markdown list items, or one item that says that there are none."""
    if verdicts:
        return finding_lines(verdicts, language)
    return [f"- {NOTHING.text(language)}  ", f"  → {NOTHING.advice(language)}"]


def as_json(folder: Path, verdicts: list[Finding], language: Language) -> dict[str, Any]:
    """The object that `--json true` prints; numbers that are not finite are null, as JSON has no name for them."""
    objects = [v.as_dict(language) for v in verdicts]
    for v in objects:
        v["evidence"] = {k: None if isinstance(x, float) and not math.isfinite(x) else x for k, x in v["evidence"].items()}
    return {"run": str(folder), "verdicts": objects}

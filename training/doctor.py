"""What happened in a run, in plain words: `python training/doctor.py runs/verses [--json true] [--lang zh]`.

Reads the run folder, nothing else, and needs no torch. Each verdict has its evidence (steps, numbers) and one thing to try; the rules
are in verdicts.py (training) and verdicts_text.py (data, output, predictions), the words in wording/doctor.*.yaml.
Exit code 0 however bad the verdicts; 2 if the folder is not that of a run.
"""

from __future__ import annotations

import os
import sys

if __name__ == "__main__":  # see train.py
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

import math
from pathlib import Path
from typing import Any

import jsonargparse

from training import evidence, speaking
from training.config import Config, ConfigError
from training.evidence import Records
from training.findings import LANGUAGES, Finding, Language, lines, spoken, worst_first
from training.verdicts import TRAINING
from training.verdicts_text import TEXT_AND_DATA

NOTHING = Finding("nothing_found", "note", book="doctor")  # what is said when there is no verdict; it is none itself


def diagnose(folder: Path, config: Config | None = None) -> list[Finding]:
    """The verdicts on a run, the worst first; empty if nothing was found.

    Args:
        config: for a caller that has it; otherwise the folder's config.yaml is read.

    Raises:
        ConfigError: if the folder is not that of a run, or its config cannot be read.
    """
    return judge(evidence.read(folder, config))


def judge(records: Records) -> list[Finding]:
    """The verdicts on records that have been read."""
    return worst_first([found for verdict in (*TRAINING, *TEXT_AND_DATA) if (found := verdict(records)) is not None])


def tell(verdicts: list[Finding], language: Language) -> list[str]:
    """The verdicts as Markdown list items; if there are none, that."""
    if verdicts:
        return lines(verdicts, language)
    return [f"- {NOTHING.text(language)}  ", f"  → {NOTHING.advice(language)}"]


def as_json(folder: Path, verdicts: list[Finding], language: Language) -> dict[str, Any]:
    """What `--json true` prints; a number that is not finite, for which JSON has no name, is null."""
    said = [v.as_dict(language) for v in verdicts]
    for v in said:
        v["evidence"] = {k: None if isinstance(x, float) and not math.isfinite(x) else x for k, x in v["evidence"].items()}
    return {"run": str(folder), "verdicts": said}


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    p = jsonargparse.ArgumentParser(prog="doctor.py", description=__doc__, exit_on_error=False)
    p.add_argument("run", type=Path, help="a run folder")
    p.add_argument("--json", choices=["true", "false"], default="false", help="true: print one JSON object")
    p.add_argument("--lang", choices=LANGUAGES, help="zh or en; otherwise the run's log.language, or that of the locale")
    try:
        args = p.parse_args(argv)
        records = evidence.read(args.run)
    except (ConfigError, jsonargparse.ArgumentError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    verdicts, language = judge(records), spoken(args.lang, records.config.log.language)
    speaking.printed(as_json(args.run, verdicts, language) if args.json == "true" else "\n".join(tell(verdicts, language)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

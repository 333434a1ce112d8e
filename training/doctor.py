"""What happened in a run, in plain words: `python training/doctor.py runs/verses [--json true] [--lang zh]`.

Reads the run folder, nothing else, and needs no torch. Each verdict has its evidence (steps, numbers) and one thing to try; the rules
are in diagnosis/verdicts_training.py and verdicts_text.py (data, output, predictions), the words in
base/wording/doctor.*.yaml.
Exit code 0 however bad the verdicts; 2 if the folder is not that of a run.
"""

from __future__ import annotations

import os
import sys

if __name__ == "__main__":  # see train.py
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

from pathlib import Path

import jsonargparse

from training.base.console import printed
from training.base.errors import ConfigError
from training.base.words import LANGUAGES, spoken
from training.diagnosis.diagnose import as_json, judge, tell
from training.diagnosis.run_records import read_run


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    p = jsonargparse.ArgumentParser(prog="doctor.py", description=__doc__, exit_on_error=False)
    p.add_argument("run", type=Path, help="a run folder")
    p.add_argument("--json", choices=["true", "false"], default="false", help="true: print one JSON object")
    p.add_argument("--lang", choices=LANGUAGES, help="zh or en; otherwise the run's log.language, or that of the locale")
    try:
        args = p.parse_args(argv)
        records = read_run(args.run)
    except (ConfigError, jsonargparse.ArgumentError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    verdicts, language = judge(records), spoken(args.lang, records.config.log.language)
    printed(as_json(args.run, verdicts, language) if args.json == "true" else "\n".join(tell(verdicts, language)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

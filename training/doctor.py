"""What happened in a run, in plain words: `python training/doctor.py runs/verses [--json true] [--lang zh]`.

It reads nothing but the run folder and needs no torch. Each verdict has its evidence (steps, numbers) and one thing to try. The rules
are in diagnosis/verdicts_training.py, verdicts_text.py and verdicts_outcome.py, the sentences in base/wording/doctor.*.yaml.
Exit code 0 however bad the verdicts; 2 if it is not a run folder.
"""

from __future__ import annotations

import os
import sys

if __name__ == "__main__":  # see train.py
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

from pathlib import Path

from training.base.console import command_parser, one_line, options_of, print_result
from training.base.words import spoken
from training.diagnosis.diagnose import as_json, judge, verdict_lines
from training.diagnosis.run_records import read_run


@one_line
def main(argv: list[str] | None = None) -> None:
    """Run the command."""
    parser = command_parser(__doc__)
    parser.add_argument("run", type=Path, help="a run folder")
    parser.add_argument("--json", choices=["true", "false"], default="false", help="true: print one JSON object")
    args = options_of(parser, argv)
    records = read_run(args.run)
    verdicts, language = judge(records), spoken(args.lang, records.config.log.language)
    print_result(as_json(args.run, verdicts, language) if args.json == "true" else "\n".join(verdict_lines(verdicts, language)))


if __name__ == "__main__":
    raise SystemExit(main())

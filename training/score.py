"""Score a translation model on test sets: `python training/score.py --model runs/phrasebook --test data/phrasebook/test_patterns.jsonl`.

sacrebleu scores the detokenised output against the references, which are read unchanged from the file, and prints its signatures.
"""

from __future__ import annotations

import os
import sys

if __name__ == "__main__":  # see train.py
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

import json
from pathlib import Path

import jsonargparse

from training.base.console import command_parser, loading, one_line, options_of
from training.base.words import spoken
from training.scoring.scores import score, scores_table
from training.scoring.translator import free_to_write


@one_line
def main(argv: list[str] | None = None) -> None:
    """Run the command."""
    p = command_parser(__doc__)
    p.add_argument("--model", type=str, required=True, help="a run folder or a checkpoint")
    p.add_argument("--test", type=str, nargs="+", required=True, help="test sets: files with a pair a row")
    p.add_argument("--columns", type=dict[str, str], default={}, help="the columns' names, e.g. '{source: zh, target: en}'")
    p.add_argument("--out", type=str | None, help="write one JSON line a sentence here: source, hyp, ref")
    p.add_argument("--beams", type=jsonargparse.typing.PositiveInt, default=1, help="beam size; 1 is greedy")
    args = options_of(p, argv)
    loading(spoken())
    if args.out:
        free_to_write("--out", Path(args.out))
    records, lines = score(Path(args.model), args.test, args.beams, args.columns)
    if args.out:
        Path(args.out).write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")
    print(scores_table(records))


if __name__ == "__main__":
    raise SystemExit(main())

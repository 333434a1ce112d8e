"""Compare all models: `python training/scoreboard.py --models models --test corpora/zh-en/dev-*.jsonl`.

Every translation model that the app would offer is scored, with its int8 copy in a row of its own, at each beam size of --beams (the
app uses 4): with confidence intervals, by sentence length, and in paired tests against the others. The worst and some random
translations go into a file to read. scoring/writers.py does the same for gpt models. The same models and test sets give the same page;
speeds, which differ from run to run, have a page of their own beside it (docs/scoreboard_speed.md).
"""

from __future__ import annotations

import os
import sys

if __name__ == "__main__":  # see train.py
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

import shlex
from pathlib import Path
from typing import Any

import jsonargparse

from training.base.console import command_parser, loading, one_line, options_of
from training.base.errors import ConfigError
from training.base.files import write_text
from training.base.words import spoken
from training.scoring import writers
from training.scoring.board import COMMAND, board, speeds, to_read
from training.scoring.systems import SUFFIXES, systems, translated
from training.scoring.test_sets import read_pairs
from training.scoring.translator import free_to_write


@one_line
def main(argv: list[str] | None = None) -> None:
    """Run the command."""
    p = command_parser(__doc__)
    p.add_argument("--models", type=str, nargs="+", default=["models"], help="folders with models, or model folders")
    p.add_argument("--test", type=str, nargs="+", required=True, help="test sets: files with a pair a row")
    p.add_argument("--columns", type=dict[str, str], default={}, help="the columns' names, e.g. '{source: zh, target: en}'")
    p.add_argument("--out", type=str, default="docs/scoreboard.md", help="the page of scores")
    p.add_argument("--sentences", type=str, default="runs/scoreboard_sentences.md", help="the worst and some random sentences")
    p.add_argument(
        "--beams",
        type=jsonargparse.typing.PositiveInt,
        nargs="+",
        default=[1],
        help="beam sizes, e.g. 1 4; 1 is greedy, others are for what the app serves",
    )
    args = options_of(p, argv)
    loading(spoken())
    tests: dict[str, list[dict[str, Any]]] = {}
    for path in args.test:
        name = writers.cell(SUFFIXES.sub("", Path(path).name))
        if name in tests:
            raise ConfigError(f"--test: two test sets are called {name}; give {path} another name")
        tests[name] = read_pairs(path, args.columns)
    out, sentences = Path(args.out), Path(args.sentences)
    speed = out.with_name(f"{out.stem}_speed.md")
    if len({p.absolute() for p in (out, sentences, speed)}) < 3:
        raise ConfigError(f"--sentences: {sentences} is where the scores go; choose another name")
    for option, path in (("--out", out), ("--out", speed), ("--sentences", sentences)):
        path.parent.mkdir(parents=True, exist_ok=True)
        free_to_write(option, path)
    roots = [Path(m) for m in args.models]
    made, wrote = translated(systems(roots, list(dict.fromkeys(args.beams))), tests), writers.written(roots)
    if not made and not wrote:
        raise ConfigError(f"--models: no model in {', '.join(map(str, roots))}")
    options = ["--columns", "{" + ", ".join(f"{k}: {v}" for k, v in args.columns.items()) + "}"] if args.columns else []
    options += ["--beams", *map(str, args.beams)] if args.beams != [1] else []
    command = shlex.join([*COMMAND.split(), "--models", *args.models, "--test", *args.test, *options])
    pages = {out: board(made, wrote, command), sentences: to_read(made, wrote)} | ({speed: speeds(made, command)} if made else {})
    for path, text in pages.items():
        write_text(path, text)
    print("\n".join(map(str, pages)))


if __name__ == "__main__":
    raise SystemExit(main())

"""Translate a file with a model: `python training/translate.py --model models/zh_en --text my.txt --out my.en.jsonl`.

Each text becomes a row {"chinese": …, "english": …}, in the order of the file. The rows can be trained on as they are: for a smaller model,
as a teacher's translations (distillation, Kim & Rush 2016, arXiv:1606.07947), or for a model of the other direction, as real targets
with synthetic sources (back-translation, Sennrich et al. 2016, arXiv:1511.06709).
"""

from __future__ import annotations

import os
import sys

if __name__ == "__main__":  # see train.py
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

from pathlib import Path

import jsonargparse

from training.base.console import command_parser, loading, one_line, options_of
from training.base.errors import ConfigError
from training.base.words import spoken
from training.scoring.texts import read_texts, translate_file
from training.scoring.translator import free_to_write


@one_line
def main(argv: list[str] | None = None) -> None:
    """Run the command."""
    p = command_parser(__doc__)
    p.add_argument("--model", type=str, required=True, help="a run folder, a checkpoint, or a folder below models/")
    p.add_argument("--text", type=str, nargs="+", required=True, help="files: a text a line, or rows with a column that has it")
    p.add_argument("--out", type=str, required=True, help="where the rows go, e.g. pairs.jsonl")
    p.add_argument("--column", type=str, default="chinese", help="the column that has the text")
    p.add_argument("--where", type=dict[str, str] | None, help="only rows that have this, e.g. '{source: tatoeba}'")
    p.add_argument("--beams", type=jsonargparse.typing.PositiveInt, default=1, help="beam size; 1 is greedy")
    p.add_argument("--int8", type=bool, default=True, help="compute with the int8 copy where there is one")
    args = options_of(p, argv)
    loading(spoken())
    out = Path(args.out)
    if out.is_file():
        raise ConfigError(f"--out: {out} is there already; choose another name")
    free_to_write("--out", out)
    texts = read_texts(args.text, args.column, args.where)
    translate_file(Path(args.model), texts, args.beams, args.int8, out)
    print(f"{len(texts):,} → {out}")


if __name__ == "__main__":
    raise SystemExit(main())

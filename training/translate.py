"""Translate a file with a model: `python training/translate.py --model models/zh_en --text my.txt --out my.en.jsonl`.

Each text becomes a row {"chinese": …, "english": …}, in the file's order, which can be trained on as it is: a teacher's translations for
a smaller model (distillation, Kim & Rush 2016, arXiv:1606.07947), or, with a model of the other direction, real sentences behind
made-up sources (back-translation, Sennrich et al. 2016, arXiv:1511.06709).
"""

from __future__ import annotations

import os
import sys

if __name__ == "__main__":  # see train.py
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

import json
from pathlib import Path

import jsonargparse

from training.command_line import one_line
from training.config import ConfigError, SourceConfig
from training.score import model_folder, read_rows
from training.translator import free_to_write, in_pieces, translator


def read_texts(paths: list[str], column: str, where: dict[str, str] | None) -> list[str]:
    """The readable texts of these files, in order; raises ConfigError if there are none.

    Args:
        column: that has the text, in files with columns.
        where: columns and what they must have, as in `corpus.train`.
    """
    found = [read_rows(SourceConfig(path, where=where), {"text": column}, "--text", "--column")[0] for path in paths]
    texts = [" ".join(row["text"].split()) for rows in found for row in rows]
    if not texts:
        raise ConfigError(f"--text: no usable text in {', '.join(paths)}; --column says which column has it ({column})")
    return texts


def translate(model: Path, texts: list[str], beams: int, copy: bool, out: Path) -> None:
    """Write a row a text; the file has its name when it is whole.

    Args:
        copy: compute with the int8 copy where the model's folder has one of these weights.
    """
    from serving.ctranslate2_backend import usable
    from serving.folders import COPY
    from training.filters import HAN

    folder = model_folder(model)
    served = copy and usable(folder)
    if copy and not served and (folder / COPY).exists():
        print(f"{folder / COPY} was made of other weights and is left alone; training/export.py makes it anew", file=sys.stderr)
    run = translator(folder, folder / COPY if served else None)
    chinese = sum(bool(HAN.search(text)) for text in texts) >= len(texts) / 2
    ours, theirs = ("chinese", "english") if chinese else ("english", "chinese")
    beside = out.with_name(f".tmp-{out.name}-{os.getpid()}")
    try:
        with open(beside, "w", encoding="utf-8", newline="\n") as f:
            for text, hyp in zip(texts, in_pieces(run, texts, beams, str(out)), strict=True):
                f.write(json.dumps({ours: text, theirs: hyp}, ensure_ascii=False) + "\n")
        os.replace(beside, out)
    finally:
        beside.unlink(missing_ok=True)


@one_line
def main(argv: list[str] | None = None) -> None:
    """The command."""
    p = jsonargparse.ArgumentParser(description=__doc__, exit_on_error=False)
    p.add_argument("--model", type=str, required=True, help="a run folder, a checkpoint, or a folder below models/")
    p.add_argument("--text", type=str, nargs="+", required=True, help="files: a text a line, or rows with a column that has it")
    p.add_argument("--out", type=str, required=True, help="where the rows go, e.g. pairs.jsonl")
    p.add_argument("--column", type=str, default="chinese", help="the column that has the text")
    p.add_argument("--where", type=dict[str, str] | None, help="only rows that have this, e.g. '{source: tatoeba}'")
    p.add_argument("--beams", type=jsonargparse.typing.PositiveInt, default=1, help="beam size; 1 is greedy")
    p.add_argument("--int8", type=bool, default=True, help="compute with the int8 copy where there is one")
    args = p.parse_args(argv)
    out = Path(args.out)
    if out.is_file():
        raise ConfigError(f"--out: {out} is there already; choose another name")
    free_to_write("--out", out)
    texts = read_texts(args.text, args.column, args.where)
    translate(Path(args.model), texts, args.beams, args.int8, out)
    print(f"{len(texts):,} → {out}")


if __name__ == "__main__":
    raise SystemExit(main())

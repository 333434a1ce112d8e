"""Score a translation model on test sets: `python training/score.py --model runs/phrasebook --test data/phrasebook/test_patterns.jsonl`.

Detokenised output against untouched references, which are read from the file and nowhere else; sacrebleu scores and signs.
"""

from __future__ import annotations

import os
import sys

if __name__ == "__main__":  # see train.py
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

import json
import time
from pathlib import Path
from typing import Any

import jsonargparse

from training.command_line import one_line
from training.config import ConfigError, SourceConfig
from training.translator import free_to_write, in_pieces, translator


def model_folder(path: Path) -> Path:
    """The checkpoint that a run folder's `best` names, or the folder itself; raises ConfigError if neither holds a model."""
    pointer = path / "best" if (path / "best").is_file() else path / "latest"
    folder = path
    if pointer.is_file():
        name = pointer.read_bytes()[:1000].decode(errors="replace").strip()
        if name != Path(name).name or name in ("", ".", ".."):  # a pointer must not lead out of the run folder
            raise ConfigError(f"--model: {pointer} must hold the name of a folder in {path / 'checkpoints'}")
        folder = path / "checkpoints" / name
    if not (folder / "config.json").is_file():
        raise ConfigError(f"--model: {path} holds no model; name a run folder or a checkpoint")
    return folder


def read_pairs(path: str, columns: dict[str, str] | None = None) -> list[dict[str, Any]]:
    """The readable pairs of a test set, in order; raises ConfigError if there are none.

    Args:
        columns: names of the file's columns, as in `corpus.columns`.
    """
    from training.corpus import COLUMNS

    names = {**COLUMNS["translation"], **(columns or {})}
    if wrong := set(names) - {"source", "target"}:
        raise ConfigError(f"--columns: no column is called {', '.join(sorted(wrong))} here; valid: source, target")
    rows, reasons = read_rows(SourceConfig(path), names, "--test", "--columns")
    if not rows:
        hint = '; say which columns to read with --columns "{source: …, target: …}"' if "missing_field" in reasons else ""
        raise ConfigError(f"--test: {path} has no usable pair{hint}")
    return rows


def read_rows(source: SourceConfig, names: dict[str, str], option: str, columns: str) -> tuple[list[dict[str, Any]], set[str]]:
    """The readable rows of a source, in order, and why others are not; what is left out is told.

    Args:
        names: of the columns, as in `corpus.columns`.
        option, columns: the options of the command that named the file and its columns, for its errors.
    """
    from training.sources import BadRow, parse, read, resolve

    rows: list[dict[str, Any]] = []
    bad: list[tuple[str, str]] = []  # reason, and where with what
    try:
        for shard in resolve([source], names, "line", option):
            for record in read(shard):
                try:
                    row = parse(record, shard)
                except BadRow as error:
                    bad.append((error.reason, f"row {record.row + 1}: {error}"))
                    continue
                if row:
                    rows.append(row)
    except ConfigError as error:  # the readers speak to those who train
        raise ConfigError(str(error).replace("corpus.columns", columns)) from None
    if bad:
        print(f"{source.path}: {len(bad)} unusable rows left out; the first: {bad[0][1]}", file=sys.stderr)
    return rows, {reason for reason, _ in bad}


def score(
    model: Path, tests: list[str], beams: int = 1, columns: dict[str, str] | None = None
) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
    """Translate and score each test set.

    Returns:
        A record a test set (test, pairs, seconds, and what `metrics.translation_metrics` finds: bleu and chrf with their signatures, and
        faults of the output as shares), and a line a sentence (source, hyp, ref).
    """
    folder = model_folder(model)
    pairs = [read_pairs(test, columns) for test in tests]  # first of all, so that a wrong name is told at once
    from training.metrics import bleu_tokenizer, translation_metrics

    translate = translator(folder)
    records, lines = [], []
    for test, rows in zip(tests, pairs):
        begin = time.monotonic()
        hyps = list(in_pieces(translate, [r["source"] for r in rows], beams, test))
        references = [r["target"] for r in rows]
        found = translation_metrics(bleu_tokenizer(references)).compute(predictions=hyps, references=references)
        records.append({"test": test, "pairs": len(rows), "seconds": time.monotonic() - begin, **found})
        lines += [{"source": r["source"], "hyp": h, "ref": r["target"]} for r, h in zip(rows, hyps)]
    return records, lines


def table(records: list[dict[str, Any]]) -> str:
    """The records as a Markdown table, signatures below."""
    rows = ["| test set | pairs | BLEU | chrF2 | sentences/s |", "|---|---:|---:|---:|---:|"]
    for r in records:
        rows.append(f"| {Path(r['test']).stem} | {r['pairs']:,} | {r['bleu']:.2f} | {r['chrf']:.2f} | {r['pairs'] / r['seconds']:.0f} |")
    signatures = [f"{name} {r[key]}" for name, key in (("BLEU", "bleu_signature"), ("chrF2", "chrf_signature")) for r in records]
    return "\n".join([*rows, "", "  \n".join(dict.fromkeys(signatures))])  # several, if the sets are in several languages


@one_line
def main(argv: list[str] | None = None) -> None:
    """The command."""
    p = jsonargparse.ArgumentParser(description=__doc__, exit_on_error=False)
    p.add_argument("--model", type=str, required=True, help="a run folder or a checkpoint")
    p.add_argument("--test", type=str, nargs="+", required=True, help="test sets: files with a pair a row")
    p.add_argument("--columns", type=dict[str, str], default={}, help="the columns' names, e.g. '{source: zh, target: en}'")
    p.add_argument("--out", type=str | None, help="write one JSON line a sentence here: source, hyp, ref")
    p.add_argument("--beams", type=jsonargparse.typing.PositiveInt, default=1, help="beam size; 1 is greedy")
    args = p.parse_args(argv)
    if args.out:
        free_to_write("--out", Path(args.out))
    records, lines = score(Path(args.model), args.test, args.beams, args.columns)
    if args.out:
        Path(args.out).write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")
    print(table(records))


if __name__ == "__main__":
    raise SystemExit(main())

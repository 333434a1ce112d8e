"""Scores of a translation model on test sets, by sacrebleu (training/score.py)."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from training.base.words import phrases, spoken
from training.scoring.test_sets import model_folder, read_pairs
from training.scoring.translator import in_pieces, translator


def score(
    model: Path, tests: list[str], beams: int = 1, columns: dict[str, str] | None = None
) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
    """Translate and score each test set.

    Returns:
        One record per test set (test, pairs, seconds, and the scores of `metrics.translation_metrics`: bleu and chrf with their
        signatures, and shares of faulty output), and one line per sentence (source, hyp, ref).

    Raises:
        ConfigError: if the model or a test set cannot be used.
    """
    folder = model_folder(model)
    pairs = [read_pairs(test, columns) for test in tests]  # before anything slow, so that a wrong name is reported at once
    from training.quality.metrics import bleu_tokenizer, translation_metrics

    translate = translator(folder)
    records, lines = [], []
    for test, rows in zip(tests, pairs):
        begin = time.monotonic()
        hyps = list(in_pieces(translate, [r["source"] for r in rows], beams, test))
        references = [r["target"] for r in rows]
        metrics = translation_metrics(bleu_tokenizer(references)).compute(predictions=hyps, references=references)
        records.append({"test": test, "pairs": len(rows), "seconds": time.monotonic() - begin, **metrics})
        lines += [{"source": r["source"], "hyp": h, "ref": r["target"]} for r, h in zip(rows, hyps)]
    return records, lines


def scores_table(records: list[dict[str, Any]]) -> str:
    """The records as a Markdown table with sacrebleu's signatures below it."""
    rows = [phrases("commands", spoken())["scores"], "|---|---:|---:|---:|---:|"]
    for r in records:
        rows.append(f"| {Path(r['test']).stem} | {r['pairs']:,} | {r['bleu']:.2f} | {r['chrf']:.2f} | {r['pairs'] / r['seconds']:.0f} |")
    signatures = [f"{name} {r[key]}" for name, key in (("BLEU", "bleu_signature"), ("chrF2", "chrf_signature")) for r in records]
    return "\n".join([*rows, "", "  \n".join(dict.fromkeys(signatures))])  # there are several if the test sets are in several languages

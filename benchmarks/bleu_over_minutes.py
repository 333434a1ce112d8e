"""Draws BLEU over minutes of training from a run's metrics.jsonl, and prints the same as a table.

python benchmarks/bleu_over_minutes.py runs/tatoeba docs/tatoeba_bleu.png
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure


def main() -> int:
    """Draw the picture and print the table; 2 if the arguments are not a run folder and a picture."""
    if len(sys.argv) != 3 or not (Path(sys.argv[1]) / "metrics.jsonl").is_file():
        print("usage: python benchmarks/bleu_over_minutes.py RUN_FOLDER PICTURE.png", file=sys.stderr)
        return 2
    records = [json.loads(line) for line in (Path(sys.argv[1]) / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    points = [(r["seconds"] / 60, r["bleu"], r["chrf"], r["val_loss"], r["step"]) for r in records if r.get("bleu") is not None]
    print("| minutes | step | validation loss | BLEU | chrF2 |\n|---:|---:|---:|---:|---:|")
    for minutes, bleu, chrf, loss, step in points:
        print(f"| {minutes:.1f} | {step:,} | {loss:.3f} | {bleu:.2f} | {chrf:.2f} |")
    figure = Figure(figsize=(7, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.plot([p[0] for p in points], [p[1] for p in points], "o-", color="#c2491d", label="BLEU")
    axes.plot([p[0] for p in points], [p[2] for p in points], "s--", ms=4, color="#8aa6c1", label="chrF2")
    axes.set(xlabel="minutes of training (evaluation included)", ylabel="score, greedy", title=Path(sys.argv[1]).name, ylim=(0, None))
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(sys.argv[2], dpi=110)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

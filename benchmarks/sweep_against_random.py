"""Is the search better than random sampling?

python benchmarks/sweep_against_random.py [--config configs/sweep/sentence.yaml] [--trials 200] [--workers 1] [--folder FOLDER]

Trains a random sample of the config's space, without pruning, each trial to its end (this takes hours), then runs the config's own search
within its own budget. Prints the best of both and when the search was as good as the sample. Both studies stay in FOLDER, their values in
FOLDER/values.json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


def sweep(config: str, folder: Path, workers: int, *options: str) -> list[dict[str, Any]]:
    """Run or continue a study with this many workers; returns its trials in order, without repeats."""
    command = [sys.executable, "training/sweep.py", "--config", config, "--run_dir", str(folder), "--repeat_best", "0", *options]
    running = [subprocess.Popen(command, cwd=ROOT) for _ in range(workers)]
    if any([worker.wait() for worker in running]):
        raise SystemExit(f"a worker of {folder} failed")
    trials: list[dict[str, Any]] = json.loads((folder / "study.json").read_text(encoding="utf-8"))["trials"]
    return [t for t in trials if t["repeat_of"] is None]


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default="configs/sweep/sentence.yaml")
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--workers", type=int, default=1, help="of the config's own search, each with OMP_NUM_THREADS threads")
    parser.add_argument("--folder", type=Path, default=ROOT / "runs/sweep-against-random")
    options = parser.parse_args()
    few = ["--search", "random", "--prune", "none", "--minutes", "null", "--trials", str(options.trials)]
    drawn = sweep(options.config, options.folder / "random", 1, *few)
    searched = sweep(options.config, options.folder / "searched", options.workers)
    best_drawn = min(t["value"] for t in drawn if t["state"] == "complete")  # the metric is minimised
    wall, best, level = 0.0, float("inf"), None
    for t in searched:
        wall += t["wall_seconds"]
        if t["state"] == "complete":
            best = min(best, t["value"])
        if level is None and best <= best_drawn:
            level = (t["number"] + 1, wall / 60)
    spent = sum(t["wall_seconds"] for t in drawn) / 60
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {os.environ.get('OMP_NUM_THREADS', 'all')} threads")
    print(f"random: best {best_drawn:.5f} of {len(drawn)} trials, {spent:.1f} minutes")
    print(f"search: best {best:.5f} of {len(searched)} trials, {wall / 60:.1f} minutes of {options.workers} workers")
    print(
        f"as good as the sample after {level[0]} trials, {level[1]:.1f} minutes of workers"
        if level
        else "the search was never as good as the sample"
    )
    keys = ("number", "state", "params", "value", "training_seconds", "wall_seconds")
    values = {name: [{k: t.get(k) for k in keys} for t in trials] for name, trials in (("random", drawn), ("searched", searched))}
    (options.folder / "values.json").write_text(json.dumps(values, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()

"""Sweeps over a tiny run, in this process and as workers of their own."""

from __future__ import annotations

import json
import multiprocessing.process
import os
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import training_runs
import yaml
from training_runs import gpt_config

from training import sweep

RATES, WIDTHS = [1.0e-3, 3.0e-3], [8, 16, 32]
TINY = {
    "tokenizer": {"type": "char", "min_frequency": 1}, "train": {"max_steps": 6, "mixed_precision": "no"},
    "model": {"type": "gpt2", "n_embd": 16, "n_layer": 1, "n_head": 2}, "batch": {"block_size": 32, "micro_batch_size": 8},
    "evaluation": {"every_steps": 3, "samples": 1, "max_new_tokens": 4}, "checkpoint": {"every_steps": 6, "keep": 1},
}  # fmt: skip


def sweep_config(folder: Path, space: dict[str, Any], sections: dict[str, Any] | None = None, **keys: Any) -> Path:
    """A sweep over a tiny run; without repeats unless they are asked for."""
    base = gpt_config(folder, **{**TINY, **(sections or {})})
    config = {"base": str(base), "run_dir": str(folder / "study"), "space": space, "repeat_best": 0, **keys}
    (folder / "sweep.yaml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    return folder / "sweep.yaml"


def run(config: Path, *options: str) -> dict[str, Any]:
    """Sweep in this process; study.json."""
    assert sweep.main(["--config", str(config), *options]) == 0
    return study(config.parent / "study")


def study(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "study.json").read_text(encoding="utf-8"))
    return found


def start(config: Path, name: str) -> multiprocessing.process.BaseProcess:
    """A worker; what it prints goes into the folder `name` beside the config."""
    told = config.parent / name
    told.mkdir(exist_ok=True)
    (process,) = training_runs.start(config, command="sweep", told=told)
    return process


def kill(worker: multiprocessing.process.BaseProcess) -> None:
    os.killpg(worker.pid, signal.SIGKILL)
    worker.join()


def points(found: dict[str, Any]) -> Counter[str]:
    return Counter(json.dumps(t["params"], sort_keys=True) for t in found["trials"])


def until_it_trains(worker: multiprocessing.process.BaseProcess, folder: Path, trials: int = 1) -> None:
    """Wait until so many trials have records."""
    while len(list((folder / "trials").glob("*/metrics.jsonl"))) < trials:
        assert worker.is_alive(), worker
        time.sleep(0.05)


def whole(found: dict[str, Any], count: int) -> None:
    """Every point once, each trial as if nothing had been stopped."""
    searched = [t for t in found["trials"] if t["repeat_of"] is None]
    assert sorted(points({"trials": searched}).values()) == [1] * count
    assert {t["state"] for t in found["trials"]} == {"complete"}
    assert [t["number"] for t in found["trials"]] == list(range(len(found["trials"])))

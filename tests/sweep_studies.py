"""Made-up studies, as study.json has them, for the tests of what is read from one."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import Any

from training.sweeps.records import StudyRecords
from training.sweeps.study_json import load_study

KNOBS = [
    {"key": "optim.learning_rate", "name": "learning_rate", "kind": "float", "low": 1e-4, "high": 1e-2, "log": True, "step": None},
    {"key": "model.hidden_size", "name": "hidden_size", "kind": "categorical", "values": [32, 64, 128]},
    {"key": "model.dropout", "name": "dropout", "kind": "categorical", "values": [0.0, 0.1, None]},
    {"key": "tie", "name": "tie", "kind": "categorical", "values": [True, False]},
    {"key": "schedule", "name": "schedule", "kind": "categorical", "values": ["cosine", "no", "$x_{1}$ 余弦 <b>"]},
    {"key": "optim.warmup_steps", "name": "warmup_steps", "kind": "int", "low": 0, "high": 500, "log": False, "step": None,
     "when": {"schedule": ["cosine"]}},
]  # fmt: skip
HOSTILE = '<script>window.hacked = 1</script><img src=x onerror="window.hacked=1">\n``` http://example.org/x.png\x07'


def trial(number: int, params: dict[str, Any], value: float | None = None, state: str = "complete", **more: Any) -> dict[str, Any]:
    """A trial as study.json has it."""
    said = {"number": number, "state": state, "params": params, "values": [value] if state == "complete" else None, "seed": 1,
            "repeat_of": None, "folder": f"trials/{number:04d}-x"}  # fmt: skip
    if value is not None:
        said |= {"value": value, "best_step": 100, "step": 100, "training_seconds": 2.0, "curve": [[50, value * 2], [100, value]]}
        said |= {"metrics": {"val_loss": value}, "samples": [], "verdicts": [], "ended": "finished", "reason": None, "parameters": 1000}
        said |= {"wall_seconds": 2.5}
    return said | more


def study(trials: list[dict[str, Any]], knobs: list[dict[str, Any]] | None = None, **more: Any) -> dict[str, Any]:
    """A study.json."""
    return {
        "name": "birds", "task": "gpt", "base": "configs/gpt/sentence.yaml", "search": "tpe", "prune": "median",
        "objectives": [{"name": "val_loss", "direction": "minimize"}], "knobs": knobs or KNOBS[1:2], "importance": {}, "trials": trials,
        "grid_points": 0, **more,
    }  # fmt: skip


def lively(count: int, seed: int = 1) -> dict[str, Any]:
    """A study of all kinds of knobs and trials, whose loss depends on learning rate, width and dropout, and its rise on the width."""
    dice = random.Random(seed)
    trials = []
    for n in range(count):
        rate = 10 ** dice.uniform(-4, -2)
        params = {
            "optim.learning_rate": rate,
            "model.hidden_size": dice.choice([32, 64, 128]),
            "model.dropout": dice.choice([0.0, 0.1, None]),
        }
        params |= {"tie": dice.choice([True, False]), "schedule": dice.choice(KNOBS[4]["values"])}  # type: ignore[arg-type]
        if params["schedule"] == "cosine":
            params["optim.warmup_steps"] = dice.randint(0, 500)
        value = 2.2 + 0.9 * (math.log10(rate) + 2.7) ** 2 - 0.25 * math.log2(params["model.hidden_size"] / 32) + dice.gauss(0, 0.05)
        value += 0.15 if params["model.dropout"] is None else 0.0
        up = 0.4 * (params["model.hidden_size"] == 128) + 0.1 * dice.random()  # wide models overfit
        curve = [[s, value + 4 * math.exp(-s / 60) + up * max(0, s - 300) / 100] for s in range(10, 410, 10)]
        seconds = params["model.hidden_size"] / 16 * dice.uniform(0.9, 1.3)
        text = "".join(dice.choice("夏天的飞鸟到我窗前唱歌又去了秋黄叶") for _ in range(int(60 / value))) + "。"
        samples = [{"prompt": "夏天的", "text": text}, {"prompt": "", "text": HOSTILE, "reference": "stray birds of summer"}]
        verdict = {"id": "underfitting", "severity": "warning", "zh": "还没练够。", "en": "The loss was still falling."}
        said = trial(n, params, value, curve=curve, samples=samples if n % 7 else [], training_seconds=seconds, parameters=12345 * n)
        said |= {"wall_seconds": seconds + 0.3 + 5 * (n == 0), "verdicts": [verdict] * (n % 3 == 0)}
        if n % 9 == 4:
            said |= {"state": "pruned", "values": None, "curve": curve[: dice.randint(3, 20)], "ended": "pruned"}
        elif n % 11 == 5:
            why = f"model.hidden_size: {n} does not divide by 3 | heads <i>" if n % 2 else "out of memory"
            said = trial(n, params, None, "failed", ended="refused" if n % 2 else "out_of_memory", reason=why, wall_seconds=0.1)
        elif n == count - 1:
            said = trial(n, params, None, "running")
        trials.append(said)
    done = sorted((t for t in trials if t["state"] == "complete"), key=lambda t: t["value"])
    for best in done[:3]:
        for seed in (2, 3):
            value = best["value"] + dice.gauss(0.04, 0.03)
            trials.append({**best, "number": len(trials), "seed": seed, "repeat_of": best["number"], "value": value, "values": [value]})
    shares = {"optim.learning_rate": 0.62, "model.hidden_size": 0.2, "model.dropout": 0.1, "tie": 0.01}
    return study(trials, KNOBS, importance=shares if count > 10 else {})


def put(folder: Path, told: dict[str, Any]) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "study.json").write_text(json.dumps(told, ensure_ascii=False), encoding="utf-8")
    return folder


def read(told: dict[str, Any], folder: Path) -> StudyRecords:
    return load_study(put(folder, told))


def widths(*values: tuple[int, float]) -> list[dict[str, Any]]:
    return [trial(n, {"model.hidden_size": width}, value) for n, (width, value) in enumerate(values)]


def again(number: int, of: dict[str, Any], value: float | None, state: str = "complete") -> dict[str, Any]:
    return trial(number, of["params"], value, state, seed=number, repeat_of=of["number"])

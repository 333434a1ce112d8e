"""The recorded runs that the doctor's tests look at: which are broken and how, and changed copies of them.

The runs in doctor_runs/ were trained for real, see record_doctor_runs.py; nothing is trained here. Only those named in its PREDICTED have
predictions of their own, made before they began; in the others a prediction cannot miss, and the table says nothing of false alarms there.
"""

from __future__ import annotations

import json
import shutil
import string
from functools import cache
from pathlib import Path
from typing import Any

from training.base.errors import OutOfMemory
from training.diagnosis.finding import Finding
from training.diagnosis.run_records import RunRecords
from training.settings.config import Config
from training.settings.load import load_config

ROOT = Path(__file__).resolve().parent.parent
RUNS = Path(__file__).parent / "doctor_runs"
HEALTHY = sorted(path.name for path in RUNS.glob("healthy_*"))
# A run is called by its verdict; these are further cases of one.
CALLED = {"learning_rate_too_high_muon": "learning_rate_too_high", "learning_rate_too_high_seq2seq": "learning_rate_too_high"}
BROKEN = {path.name: CALLED.get(path.name, path.name) for path in sorted(RUNS.iterdir()) if path.name not in HEALTHY}
# What cannot be trained into a run is changed in the records of a healthy one: the file, and what is put over it.
CHANGED: dict[str, tuple[str, str, dict[str, Any]]] = {
    "throughput_low": ("healthy_phrasebook", "preflight.json", {"time": {"tokens_per_second": 100_000.0}}),
    "prediction_time": ("healthy_phrasebook", "preflight.json", {"time": {"seconds": 9.0}}),
    "prediction_memory": ("healthy_phrasebook", "preflight.json", {"memory": {"peak_bytes": 2000 << 20}}),
    "prediction_overfit": ("overfitting", "preflight.json", {"forecast": {"overfit_step": 30}}),
    "interrupted": ("healthy_phrasebook", "end", {"ended": "interrupted"}),
    "prediction_overfit_right": ("overfitting", "preflight.json", {"forecast": {"overfit_step": 150}}),
    "sides_swapped": ("healthy_phrasebook", "preflight.json", {"data": {"chinese_sources": 0.0, "chinese_targets": 1.0}}),
    "out_of_memory": ("healthy_phrasebook", "end", {"ended": "out of memory"}),
    "out_of_memory_saved": ("healthy_phrasebook", "end", {"ended": OutOfMemory("", OutOfMemory.SAVED).ended}),
    "out_of_memory_row": ("healthy_phrasebook", "end", {"ended": OutOfMemory("", OutOfMemory.SINGLE_ROW).ended}),
    "out_of_memory_optimizer": ("healthy_phrasebook", "end", {"ended": OutOfMemory("", OutOfMemory.OPTIMIZER).ended}),
    "stopped": ("healthy_phrasebook", "end", {"ended": "stopped"}),
    "unfinished": ("healthy_phrasebook", "end", {"event": "nothing"}),
    "records_unreadable": ("healthy_phrasebook", "end", {"step": 10.0}),
    "records_empty": ("healthy_phrasebook", "empty", {}),
    "validation_trained": ("healthy_phrasebook", "corpus", {"validation_trained": [120, 400]}),
    "losses_missing": ("healthy_phrasebook", "loss", {"loss": None}),
}
SIDE = {"bleu_elsewhere"}  # a remark that comes with the verdict overfitting
# Verdicts that would say the opposite of what is so.
LEARNT_NOTHING = {"overfitting", "memorised_text"}
CONTRARY = {
    "overfitting": {"underfitting", "learning_rate_too_low", "learning_rate_too_high", "loss_plateau"},
    "memorised_text": {"underfitting", "learning_rate_too_low", "learning_rate_too_high", "loss_plateau"},
    "underfitting": {"overfitting", "memorised_text", "loss_plateau", "learning_rate_too_high", "learning_rate_too_low"},
    "learning_rate_too_high": LEARNT_NOTHING | {"learning_rate_too_low", "warmup_missing", "underfitting", "batch_too_small"},
    "learning_rate_too_low": LEARNT_NOTHING | {"learning_rate_too_high", "warmup_missing", "loss_plateau", "batch_too_small"},
    "warmup_missing": LEARNT_NOTHING | {"learning_rate_too_low", "learning_rate_too_high", "loss_plateau"},
    "loss_plateau": LEARNT_NOTHING | {"learning_rate_too_high", "learning_rate_too_low", "warmup_missing", "underfitting"},
    "batch_too_small": {"overfitting", "loss_plateau", "learning_rate_too_low", "memorised_text"},
    "empty_output": {"truncated_output", "repetition_loops"},
    "warmup_unended": LEARNT_NOTHING | {"loss_plateau", "learning_rate_too_high", "warmup_missing"},
}


@cache
def config_of(name: str) -> Config:
    """Reading a config takes a good part of a second on a busy machine."""
    return load_config(RUNS / (CHANGED[name][0] if name in CHANGED else name) / "config.yaml")


def changed(name: str, folder: Path) -> Path:
    """A copy of a recorded run with what CHANGED says."""
    source, what, over = CHANGED[name]
    shutil.copytree(RUNS / source, folder, dirs_exist_ok=True)
    if what == "empty":
        (folder / "metrics.jsonl").write_text("", encoding="utf-8")
        (folder / "report.md").touch()
        return folder
    if what == "corpus":
        report = json.loads((folder / "corpus/report.json").read_text(encoding="utf-8"))
        report["parts"][0] |= over
        (folder / "corpus/report.json").write_text(json.dumps(report), encoding="utf-8")
        return folder
    if what in ("end", "loss"):
        lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    if what == "loss":
        records = [json.loads(line) for line in lines]
        (folder / "metrics.jsonl").write_text(
            "".join(json.dumps(r | (over if r["event"] == "train" else {})) + "\n" for r in records), encoding="utf-8"
        )
    elif what == "end":
        (folder / "metrics.jsonl").write_text("\n".join([*lines[:-1], json.dumps(json.loads(lines[-1]) | over)]) + "\n", encoding="utf-8")
    else:
        tree = json.loads((folder / what).read_text(encoding="utf-8"))
        (folder / what).write_text(json.dumps({k: v | over.get(k, {}) for k, v in tree.items()}), encoding="utf-8")
    return folder


def one(verdicts: list[Finding], name: str) -> dict[str, Any]:
    (found,) = [v for v in verdicts if v.id == name]
    return dict(found.evidence)


def ended(**records: Any) -> RunRecords:
    """The records of a finished run without anything but what is given."""
    config = config_of("healthy_phrasebook")
    return RunRecords(config, **{**records, "end": {"event": "end", "step": 100, "ended": "finished", **records.get("end", {})}})


def losses(*values: float) -> list[dict[str, Any]]:
    return [{"event": "train", "step": 10 * i, "loss": v, "tokens": 10_000 * i} for i, v in enumerate(values, 1)]


def predicted(section: str, key: str, value: float, **end: float) -> dict[str, Any]:
    return {"preflight": {section: {key: value}}, "end": end}


FALLING = [7.5 - 0.4 * i for i in range(12)]  # losses, to 3.1


def places(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}

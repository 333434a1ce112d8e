"""Small real runs for the tests: configs as a user would write them, started as a user would start them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
TIMINGS = ("seconds", "tokens_per_second")


def gpt_config(folder: Path, **sections: dict[str, Any]) -> Path:
    """A tiny gpt run on some of the embedded verses; sections are merged into the config."""
    lines = (ROOT / "data/verses.jsonl").read_text(encoding="utf-8").splitlines()[:120]
    (folder / "verses.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    config: dict[str, Any] = {
        "task": "gpt",
        "run_dir": str(folder / "run"),
        "corpus": {"train": str(folder / "verses.jsonl"), "columns": {"text": "chinese"}, "shuffle_rows": 256},
        "tokenizer": {"type": "char", "min_frequency": 1},
        "model": {"type": "gpt2", "n_embd": 32, "n_layer": 2, "n_head": 2, "resid_pdrop": 0.1, "embd_pdrop": 0.1, "attn_pdrop": 0.1},
        "batch": {"block_size": 48, "micro_batch_size": 8},
        "optim": {"learning_rate": 3e-3, "warmup_steps": 5},
        "train": {"max_steps": 24, "mixed_precision": "no"},
        "evaluation": {"every_steps": 8, "samples": 2, "max_new_tokens": 16},
        "checkpoint": {"every_steps": 6, "keep": 2},
        "log": {"every_steps": 3},
    }
    return _write(folder, config, sections)


def translation_config(folder: Path, **sections: dict[str, Any]) -> Path:
    """A tiny translation run on pairs of the embedded verses."""
    lines = (ROOT / "data/verses.jsonl").read_text(encoding="utf-8").splitlines()[:300]
    (folder / "pairs.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    config: dict[str, Any] = {
        "task": "translation",
        "run_dir": str(folder / "run"),
        "corpus": {"train": str(folder / "pairs.jsonl"), "shuffle_rows": 256},
        "tokenizer": {"vocab_size": 900},
        "model": {
            "type": "m2m_100", "d_model": 32, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2,
            "decoder_attention_heads": 2, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "dropout": 0.1,
        },
        "batch": {"tokens_per_batch": 400, "max_source_length": 80, "max_target_length": 120},
        "optim": {"learning_rate": 3e-3, "warmup_steps": 5},
        "train": {"max_steps": 24, "mixed_precision": "no", "label_smoothing": 0.1},
        "evaluation": {"every_steps": 8, "generate_rows": 4, "max_new_tokens": 8},
        "checkpoint": {"every_steps": 6, "keep": 2},
        "log": {"every_steps": 3},
    }  # fmt: skip
    return _write(folder, config, sections)


def _write(folder: Path, config: dict[str, Any], sections: dict[str, dict[str, Any]]) -> Path:
    for name, values in sections.items():
        config[name] = {**config[name], **values} if isinstance(values, dict) else values
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(config, allow_unicode=True), encoding="utf-8")
    return path


def environment() -> dict[str, str]:
    """As a user's, but one thread, so that runs side by side do not wait for each other."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


def launch(config: Path, *options: str, **kwargs: Any) -> subprocess.CompletedProcess[str]:
    """`python training/train.py --config …` to its end."""
    command = [sys.executable, "training/train.py", "--config", str(config), *options]
    return subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=300, **kwargs)


def kill_at(config: Path, run_dir: Path, step: int, *options: str, number: int = signal.SIGKILL) -> subprocess.CompletedProcess[str]:
    """Start a run and send it a signal as soon as metrics.jsonl has reached `step`."""
    command = [sys.executable, "training/train.py", "--config", str(config), "--run_dir", str(run_dir), *options]
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    deadline = time.monotonic() + 240
    while process.poll() is None and time.monotonic() < deadline:
        if any(r["step"] >= step for r in records(run_dir)):
            break
        time.sleep(0.02)
    assert process.poll() is None, f"the run ended before step {step}: {process.communicate()[1][-2000:]}"
    if number == signal.SIGKILL:
        os.killpg(process.pid, number)  # its loader workers too, as a machine that loses power
    else:
        process.send_signal(number)
    out, err = process.communicate(timeout=120)
    return subprocess.CompletedProcess(command, process.returncode, out, err)


def records(run_dir: Path) -> list[dict[str, Any]]:
    """metrics.jsonl as it is, without a half-written last line."""
    found = []
    path = run_dir / "metrics.jsonl"
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return found


def numbers(run_dir: Path) -> list[dict[str, Any]]:
    """The records without what a clock decides."""
    return [{k: v for k, v in r.items() if k not in TIMINGS} for r in records(run_dir)]

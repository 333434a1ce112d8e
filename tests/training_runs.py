"""Small real runs for the tests: configs as a user would write them, started as a user would start them."""

from __future__ import annotations

import importlib
import json
import multiprocessing
import multiprocessing.process
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import yaml
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

from training.base.errors import TrainResult
from training.settings.config import Config
from training.settings.load import parse_args
from training.setup.data import open_data
from training.setup.processes import Processes
from training.train import train

AUTO = {"gpt": AutoModelForCausalLM, "translation": AutoModelForSeq2SeqLM}
ROOT = Path(__file__).resolve().parent.parent
TIMINGS = ("seconds", "tokens_per_second", "peak_memory_bytes")
SMALL = {"encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2, "decoder_attention_heads": 2}
MODELS: dict[str, tuple[str, dict[str, Any]]] = {  # the smallest of each class that the project promises
    "gpt2": ("gpt", {"n_embd": 32, "n_layer": 2, "n_head": 2}),
    "qwen3": ("gpt", {
        "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 2,
        "head_dim": 16,
    }),
    "llama": ("gpt", {
        "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1,
    }),
    "marian": ("translation", {"d_model": 32, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64, **SMALL}),
    "m2m_100": ("translation", {"d_model": 32, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64, **SMALL}),
    "t5": ("translation", {"d_model": 32, "d_ff": 64, "d_kv": 16, "num_layers": 1, "num_heads": 2}),
}  # fmt: skip


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
        "log": {"every_steps": 3, "preflight": False, "language": "en"},
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
        "log": {"every_steps": 3, "preflight": False, "language": "en"},
    }  # fmt: skip
    return _write(folder, config, sections)


def _write(folder: Path, config: dict[str, Any], sections: dict[str, dict[str, Any]]) -> Path:
    for name, values in sections.items():
        config[name] = {**config[name], **values} if isinstance(values, dict) else values
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(config, allow_unicode=True), encoding="utf-8")
    return path


def run_here(config: Path, *options: str, **kwargs: Any) -> TrainResult:
    """The same in this process; a process start costs seconds."""
    return train(parse_args(["--config", str(config), *options]), **kwargs)


def environment() -> dict[str, str]:
    """As a user's, but one thread, so that runs side by side do not wait for each other."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


def launch(config: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """`python training/train.py --config …` to its end, as a user starts it."""
    command = [sys.executable, "training/train.py", "--config", str(config), *options]
    return subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=300)


# The same command in processes of their own that need not import torch again: a server that has it forks them.
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["training.loop.run", "training.quality.metrics", "training_runs"])


def start(
    config: Path, *options: str, world: int = 1, before: Callable[[], None] | None = None, command: str = "train", told: Path | None = None
) -> list[multiprocessing.process.BaseProcess]:
    """The command's processes; what they print goes to `out-<rank>.txt` and `err-<rank>.txt`.

    Args:
        before: called in each process before the command.
        command: a module of training/ with a `main`.
        told: the folder of what they print; None: beside the config.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = []
    for rank in range(world):
        group = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "RANK": str(rank), "LOCAL_RANK": str(rank)}
        group |= {"WORLD_SIZE": str(world), "LOCAL_WORLD_SIZE": str(world)}
        env = {**environment(), **(group if world > 1 else {})}
        argv = ["--config", str(config), *options]
        process = FORKS.Process(target=_child, args=(command, argv, env, told or config.parent, rank, before))
        process.start()
        started.append(process)
    return started


def _child(command: str, argv: list[str], env: dict[str, str], folder: Path, rank: int, before: Callable[[], None] | None) -> None:
    os.setsid()
    os.chdir(ROOT)
    os.environ.clear()
    os.environ.update(env)
    torch.set_num_threads(1)
    multiprocessing.set_start_method("fork", force=True)  # as in a process that nobody forked
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(folder / f"{name}-{rank}.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", buffering=1, closefd=False)
    if before:
        before()
    code = importlib.import_module(f"training.{command}").main(argv)
    sys.stdout.flush()
    os._exit(code)


def end(processes: list[multiprocessing.process.BaseProcess], config: Path, told: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Wait for them: the first one's code and what all of them printed (see `start`)."""
    for process in processes:
        process.join(240)
    texts = ["".join(((told or config.parent) / f"{n}-{r}.txt").read_text() for r in range(len(processes))) for n in ("out", "err")]
    return subprocess.CompletedProcess([], processes[0].exitcode or 0, *texts)


def run_to_end(config: Path, *options: str, **kwargs: Any) -> subprocess.CompletedProcess[str]:
    """Start the command and wait for its end."""
    return end(start(config, *options, **kwargs), config)


def kill_at(config: Path, run_dir: Path, step: int, *options: str, number: int = signal.SIGKILL) -> subprocess.CompletedProcess[str]:
    """Start a run and send it a signal as soon as metrics.jsonl has reached `step`: its loader workers too, as a terminal does, `timeout`
    or a job scheduler, and as a machine that loses power ends them."""
    (process,) = started = start(config, "--run_dir", str(run_dir), *options)
    deadline = time.monotonic() + 240
    while process.is_alive() and time.monotonic() < deadline and not any(r["step"] >= step for r in records(run_dir)):
        time.sleep(0.02)
    assert process.is_alive(), f"the run ended before step {step}: {end(started, config).stderr[-2000:]}"
    os.killpg(process.pid, number)
    return end(started, config)


def records(run_dir: Path) -> list[dict[str, Any]]:
    """metrics.jsonl as it is, without a half-written last line."""
    events = []
    path = run_dir / "metrics.jsonl"
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            events.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return events


def numbers(run_dir: Path) -> list[dict[str, Any]]:
    """The records without what a clock decides."""
    return [{k: v for k, v in r.items() if k not in TIMINGS} for r in records(run_dir)]


def names(folder: Path) -> list[str]:
    """Every file under a folder, by its path in it."""
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def val_loss(model_dir: Path, config: Config) -> float:
    """The validation loss of a published folder, measured anew."""
    data = open_data(config, Processes())
    model = AUTO[config.task].from_pretrained(model_dir).eval()
    total = torch.zeros(2, dtype=torch.float64)
    with torch.no_grad():
        for batch in data.held_out_batches:
            total += torch.stack([n.double() for n in data.task.loss(model, {k: torch.tensor(v).long() for k, v in batch.items()})])
    return float(total[0] / total[1])


def fail_at(step: int) -> Any:
    """An `on_evaluation` that dies between the evaluation of this step and the checkpoint."""

    def on_evaluation(record: dict[str, Any]) -> None:
        if record["step"] == step:
            raise RuntimeError("as if killed")

    return on_evaluation

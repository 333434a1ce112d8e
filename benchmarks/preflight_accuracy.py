"""Preflight's predictions against real runs: peak memory of twelve configs, time of four.

python benchmarks/preflight_accuracy.py memory | time [NAME ...]

Memory: `training/preflight.py --json true --probe false` predicts each config, and `training/train.py` trains it for three steps, each in
a process of its own. The measured peak is resident memory, less what the interpreter and its libraries took before the corpus was opened
(on a GPU: torch.cuda.max_memory_allocated). Time: the whole run against the probe's prediction; other work on the machine spoils it. Exit
code 1 if a run fails or a row is off by more than 15% (memory) or 20% (time).
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
MEMORY_OFF, TIME_OFF = 0.15, 0.20
GPT: dict[str, Any] = {
    "task": "gpt", "corpus": {"train": "data/verses.jsonl", "columns": {"text": "chinese"}},
    "tokenizer": {"type": "char", "min_frequency": 1},
    "evaluation": {"samples": 1, "max_new_tokens": 8}, "train": {"max_steps": 3}, "log": {"preflight": False},
}  # fmt: skip
PAIRS: dict[str, Any] = {
    "task": "translation", "corpus": {"train": "data/phrasebook/train.jsonl", "validation": "data/phrasebook/valid.jsonl"},
    "tokenizer": {"type": "bpe", "vocab_size": 8000}, "evaluation": {"generate_rows": 4, "max_rows": 16, "max_new_tokens": 8},
    "train": {"max_steps": 3}, "log": {"preflight": False},
}  # fmt: skip


def qwen3(width: int, layers: int) -> dict[str, Any]:
    """A qwen3 model section."""
    heads = {"num_attention_heads": width // 64, "num_key_value_heads": width // 64, "head_dim": 64}
    return {
        "type": "qwen3",
        "hidden_size": width,
        "intermediate_size": 3 * width,
        "num_hidden_layers": layers,
        "tie_word_embeddings": True,
        **heads,
    }


def m2m(width: int, encoder: int, decoder: int) -> dict[str, Any]:
    """An m2m_100 model section."""
    heads = {"encoder_attention_heads": width // 64, "decoder_attention_heads": width // 64}
    inner = {"encoder_ffn_dim": 4 * width, "decoder_ffn_dim": 4 * width}
    return {"type": "m2m_100", "d_model": width, "encoder_layers": encoder, "decoder_layers": decoder, **heads, **inner}


def gpt(model: dict[str, Any], rows: int, block: int, precision: str, checkpointing: bool = False, **more: Any) -> dict[str, Any]:
    """A gpt config on the embedded verses, packed."""
    train = {**GPT["train"], "mixed_precision": precision, "gradient_checkpointing": checkpointing, **more.pop("train", {})}
    return {**GPT, "model": model, "batch": {"block_size": block, "micro_batch_size": rows, "packing": "always"}, "train": train, **more}


def pairs(model: dict[str, Any], tokens: int, precision: str, checkpointing: bool = False, **more: Any) -> dict[str, Any]:
    """A translation config on the embedded phrasebook."""
    train = {**PAIRS["train"], "mixed_precision": precision, "gradient_checkpointing": checkpointing, **more.pop("train", {})}
    return {**PAIRS, "model": model, "batch": {"tokens_per_batch": tokens}, "train": train, **more}


MEMORY: dict[str, dict[str, Any]] = {
    "gpt qwen3 256x6, 16x128": gpt(qwen3(256, 6), 16, 128, "no"),
    "gpt qwen3 256x6, 64x128": gpt(qwen3(256, 6), 64, 128, "no"),
    "gpt qwen3 512x8, 16x256": gpt(qwen3(512, 8), 16, 256, "no"),
    "gpt qwen3 512x8, 16x256, bf16": gpt(qwen3(512, 8), 16, 256, "bf16"),
    "gpt qwen3 512x8, 16x256, checkpointing": gpt(qwen3(512, 8), 16, 256, "no", True),
    "gpt gpt2 768x12, 4x256, Muon": gpt({"type": "gpt2", "n_embd": 768, "n_layer": 12, "n_head": 12}, 4, 256, "no", optim={"name": "muon"}),
    "gpt llama 640x10, 8x256, bf16, checkpointing, accumulation 2": gpt(
        {"type": "llama", "hidden_size": 640, "intermediate_size": 1920, "num_hidden_layers": 10, "num_attention_heads": 10},
        8, 256, "bf16", True, train={"gradient_accumulation_steps": 2},
    ),
    "translation m2m_100 256 3+3, 4000": pairs(m2m(256, 3, 3), 4000, "no"),
    "translation m2m_100 512 6+6, 3000": pairs(m2m(512, 6, 6), 3000, "no"),
    "translation m2m_100 512 6+6, 3000, bf16": pairs(m2m(512, 6, 6), 3000, "bf16"),
    "translation m2m_100 512 6+6, 3000, checkpointing, EMA": pairs(m2m(512, 6, 6), 3000, "no", True, train={"averaging": "ema"}),
    "translation t5 384 4+4, 4000": pairs(
        {"type": "t5", "d_model": 384, "d_ff": 1024, "d_kv": 64, "num_layers": 4, "num_heads": 6}, 4000, "no"
    ),
}  # fmt: skip
TIME = {
    "gpt/verses": [], "gpt/shakespeare_char": ["--train.max_steps", "600"],
    "translation/phrasebook": ["--train.max_steps", "150", "--evaluation.every_steps", "50"],
    "translation/tatoeba": ["--train.max_minutes", "null", "--train.max_steps", "250", "--evaluation.generate_rows", "200"],
}  # fmt: skip


def main() -> int:
    """Measure the named configs, or all, and print a table; 1 if a run fails or a prediction is too far off, 2 for a wrong call."""
    kind, names = (sys.argv[1:2] or [""])[0], sys.argv[2:]
    if kind not in ("memory", "time"):
        print(__doc__, file=sys.stderr)
        return 2
    machine = platform.processor() or platform.machine()
    print(f"{machine}, {os.cpu_count()} cores, Python {platform.python_version()}, {time.strftime('%Y-%m-%d')}\n")
    failed = False
    if kind == "memory":
        print("| config | predicted MB | measured MB | off by |\n|---|---:|---:|---:|", flush=True)
        for name, config in MEMORY.items():
            failed |= (not names or name in names) and memory(name, config)
    else:
        print("| config | predicted s | measured s | off by |\n|---|---:|---:|---:|", flush=True)
        for name, options in TIME.items():
            failed |= (not names or name in names) and seconds(name, options)
    return int(failed)


def memory(name: str, config: dict[str, Any]) -> bool:
    """One row of the first table; True if something failed or is too far off."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.yaml"
        path.write_text(yaml.safe_dump({**config, "run_dir": f"{folder}/run"}))
        output = command("training/preflight.py", "--config", str(path), "--json", "true", "--probe", "false")
        if output is None or command("training/train.py", "--config", str(path)) is None:
            return True
        predicted, measured = json.loads(output)["memory"]["peak_bytes"], records(Path(folder) / "run")[-1]["peak_memory_bytes"]
    print(f"| {name} | {predicted / 1e6:,.0f} | {measured / 1e6:,.0f} | {predicted / measured - 1:+.0%} |", flush=True)
    return bool(abs(predicted / measured - 1) > MEMORY_OFF)


def seconds(name: str, options: list[str]) -> bool:
    """One row of the second table: the predicted against the measured time of a run; True if something failed or is too far off."""
    with tempfile.TemporaryDirectory() as folder:
        options_given = ["--config", f"configs/{name}.yaml", "--run_dir", f"{folder}/run", *options]
        output = command("training/preflight.py", *options_given, "--json", "true")
        if output is None or command("training/train.py", *options_given) is None:
            return True
        predicted, measured = json.loads(output)["time"]["seconds"], records(Path(folder) / "run")[-1]["seconds"]
    print(f"| {name} {' '.join(options)} | {predicted:,.0f} | {measured:,.0f} | {predicted / measured - 1:+.0%} |", flush=True)
    return bool(abs(predicted / measured - 1) > TIME_OFF)


def records(run: Path) -> list[dict[str, Any]]:
    """The records of the run's metrics.jsonl."""
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]


def command(*words: str) -> str | None:
    """The output of one of the project's commands; None, with its errors shown, if it fails."""
    process = subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True)
    if process.returncode:
        print(" ".join(words), process.stderr[-2000:], sep="\n", file=sys.stderr)
        return None
    return process.stdout


if __name__ == "__main__":
    raise SystemExit(main())

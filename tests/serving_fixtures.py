"""Real small models for the serving tests: overfitted in seconds, so that their greedy output is known."""

from __future__ import annotations

import contextlib
import functools
import json
import math
import os
import random
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    M2M100Config,
    M2M100ForConditionalGeneration,
    PreTrainedTokenizerFast,
)

from inference.engine import Continuation, Engine

SENTENCE = "夏天的飞鸟，飞到我的窗前唱歌，又飞去了。"
PAIRS = {
    "我爱你。": "I love you.",
    "今天天气很好。": "The weather is fine today.",
    "请问车站在哪里？": "Where is the station?",
}
HOSTILE = '<img src=x onerror="window.hacked=1">'
CONTEXT = 48  # of both models, in tokens
IGNORE_INDEX = -100


@functools.cache
def tiny_gpt() -> tuple[Any, Any]:
    """A character GPT that knows SENTENCE by heart, and its tokenizer with `<unk>`."""
    vocabulary = {token: i for i, token in enumerate(["<eos>", "<unk>", *sorted(set(SENTENCE))])}
    raw = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    raw.decoder = decoders.Fuse()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, bos_token="<eos>", eos_token="<eos>", pad_token="<eos>", unk_token="<unk>")
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=len(vocabulary),
        n_positions=CONTEXT,
        n_embd=64,
        n_layer=2,
        n_head=4,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=0,
    )
    model = GPT2LMHeadModel(config)
    ids = torch.tensor([[0, *tokenizer(SENTENCE, add_special_tokens=False)["input_ids"], 0]])  # (1, T)
    _fit(model, {"input_ids": ids, "labels": ids}, steps=80, learning_rate=3e-3)
    return model, tokenizer


@functools.cache
def tiny_byte_gpt() -> tuple[Any, Any]:
    """The same sentence as byte tokens: nothing is unknown, and a character takes three tokens."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    raw = Tokenizer(models.BPE({token: i for i, token in enumerate(["<eos>", *alphabet])}, []))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, bos_token="<eos>", eos_token="<eos>", pad_token="<eos>")
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=257,
        n_positions=96,
        n_embd=64,
        n_layer=2,
        n_head=4,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=0,
    )
    model = GPT2LMHeadModel(config)
    ids = torch.tensor([[0, *tokenizer(SENTENCE, add_special_tokens=False)["input_ids"], 0]])  # (1, T)
    _fit(model, {"input_ids": ids, "labels": ids}, steps=120, learning_rate=3e-3)
    return model, tokenizer


@functools.cache
def tiny_translator() -> tuple[Any, Any]:
    """An m2m_100 that knows PAIRS by heart; byte-level BPE, special tokens in fairseq's order."""
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    raw.train_from_iterator([*PAIRS, *PAIRS.values()], trainer)
    raw.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 2)])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, bos_token="<s>", pad_token="<pad>", eos_token="</s>", unk_token="<unk>")
    torch.manual_seed(0)
    config = M2M100Config(
        vocab_size=len(tokenizer),
        d_model=64,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=128,
        decoder_ffn_dim=128,
        max_position_embeddings=CONTEXT,
        dropout=0.0,
        attention_dropout=0.0,
        activation_dropout=0.0,
        encoder_layerdrop=0.0,
        decoder_layerdrop=0.0,
        bos_token_id=0,
        pad_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=2,
    )
    model = M2M100ForConditionalGeneration(config)
    fit_pairs(model, tokenizer, steps=150)
    return model, tokenizer


@functools.cache
def endless_gpt() -> tuple[Any, Any]:
    """An untrained model that must not choose its end token, and takes seconds for 1,000 tokens."""
    _, tokenizer = tiny_gpt()
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=2048,
        n_embd=256,
        n_layer=6,
        n_head=4,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=0,
    )
    model = GPT2LMHeadModel(config).eval()
    model.generation_config.suppress_tokens = [0, 1]
    return model, tokenizer


def fit_pairs(model: Any, tokenizer: Any, steps: int) -> None:
    """Train a translation model until it knows PAIRS."""
    source = tokenizer(list(PAIRS), padding=True, return_tensors="pt")  # (3, S)
    target = tokenizer(list(PAIRS.values()), padding=True, return_tensors="pt")  # (3, T)
    labels = target["input_ids"].masked_fill(target["attention_mask"] == 0, IGNORE_INDEX)
    batch = {"input_ids": source["input_ids"], "attention_mask": source["attention_mask"], "labels": labels}
    _fit(model, batch, steps, learning_rate=3e-3)


def _fit(model: Any, batch: dict[str, torch.Tensor], steps: int, learning_rate: float) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # faster for matrices this small, above all on a busy machine
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=0.0)
    model.train()
    for _ in range(steps):
        loss = model(**batch).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.eval()
    torch.set_num_threads(threads)
    assert loss.item() < 0.05, f"the fixture did not learn its text: loss {loss.item():.3f}"


def save(folder: Path, pair: tuple[Any, Any], task: str, step: int = 100, complete: bool = True, **meta: Any) -> Path:
    """Write a model folder as the trainer does, meta.json last (not at all when not `complete`)."""
    model, tokenizer = pair
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    if complete:
        record = {"task": task, "step": step, "metrics": {}, "corpus": {}, "versions": {}, **meta}
        (folder / "meta.json").write_text(json.dumps(record, ensure_ascii=False), encoding="utf-8")
    return folder


def save_run(run: Path, pair: tuple[Any, Any], task: str, best: int, latest: int) -> Path:
    """Write a run folder with two checkpoints and its pointers."""
    for step in {best, latest}:
        save(run / "checkpoints" / f"step-{step:08d}", pair, task, step)
    (run / "best").write_text(f"step-{best:08d}\n", encoding="utf-8")
    (run / "latest").write_text(f"step-{latest:08d}\n", encoding="utf-8")
    return run


def both_models(root: Path) -> Path:
    """A folder for MODELS_DIR: a run `verses` (gpt) and a model folder `phrasebook` (translation)."""
    save_run(root / "verses", tiny_gpt(), "gpt", best=100, latest=100)
    save(root / "phrasebook", tiny_translator(), "translation", examples=list(PAIRS))
    return root


def save_study(folder: Path, count: int = 60) -> Path:
    """Write a study folder as training/sweep.py does: a range that slides, lists, a conditional knob, and trials of every state."""
    dice = random.Random(1)
    knobs: list[dict[str, Any]] = [
        {"key": "optim.learning_rate", "name": "learning_rate", "kind": "float", "low": 1e-4, "high": 1e-2, "log": True, "step": None},
        {"key": "model.hidden_size", "name": "hidden_size", "kind": "categorical", "values": [32, 64, 128]},
        {"key": "optim.name", "name": "optim.name", "kind": "categorical", "values": ["adamw", "muon"]},
        {"key": "optim.muon_learning_rate", "name": "muon_learning_rate", "kind": "categorical", "values": [0.01, 0.02],
         "when": {"optim.name": ["muon"]}},
    ]  # fmt: skip
    trials = []
    for n in range(count):
        rate = 10 ** dice.uniform(-4, -2) if n % 3 else trials[n - 1]["params"]["optim.learning_rate"] if n else 1e-3
        params = {
            "optim.learning_rate": rate,
            "model.hidden_size": dice.choice([32, 64, 128]),
            "optim.name": dice.choice(["adamw", "muon"]),
        }
        if params["optim.name"] == "muon":
            params["optim.muon_learning_rate"] = dice.choice([0.01, 0.02])
        value = 2.2 + (math.log10(rate) + 2.7) ** 2 - 0.25 * math.log2(params["model.hidden_size"] / 32) + dice.gauss(0, 0.05)
        state = "pruned" if n % 9 == 4 else "failed" if n % 11 == 5 else "running" if n == count - 1 else "complete"
        trials.append({
            "number": n, "state": state, "params": params, "values": [value] if state == "complete" else None, "seed": 1, "repeat_of": None,
            "folder": f"trials/{n:04d}-x", "value": None if state == "failed" else value, "step": 300, "training_seconds": 2.0 + n,
            "metrics": {"val_loss": value, "perplexity": math.exp(value)}, "parameters": 332_864, "ended": state,
            "reason": "out of memory <i>" if state == "failed" else None,
            "samples": [{"prompt": "夏天的", "text": f"飞鸟 {HOSTILE} {{{{value}}}} ${{1+1}} `x`"}],
            "verdicts": [{"id": "underfitting", "severity": "warning", "zh": "还没练够。", "en": "Still falling."}] * (n % 3 == 0),
        })  # fmt: skip
        (folder / trials[-1]["folder"]).mkdir(parents=True, exist_ok=True)
    best = min((t for t in trials if t["state"] == "complete"), key=lambda t: t["value"])
    for seed in (2, 3):
        worse = best["value"] + 0.02 * seed
        trials.append({**best, "number": len(trials), "seed": seed, "repeat_of": best["number"], "value": worse, "values": [worse]})
    told = {
        "name": folder.name, "task": "gpt", "base": "configs/gpt/sentence.yaml", "search": "tpe", "prune": "median", "grid_points": 0,
        "objectives": [{"name": "val_loss", "direction": "minimize"}], "knobs": knobs, "importance": {}, "trials": trials,
    }  # fmt: skip
    (folder / "study.json").write_text(json.dumps(told, ensure_ascii=False), encoding="utf-8")
    return folder


@contextlib.contextmanager
def serve(models_dir: Path) -> Iterator[str]:
    """`python app.py` in a process of its own, as a user starts it; gives its address."""
    app = Path(__file__).resolve().parents[1] / "app.py"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {
        "MODELS_DIR": str(models_dir),
        "GRADIO_SERVER_NAME": "127.0.0.1",
        "GRADIO_SERVER_PORT": str(port),
        "OMP_NUM_THREADS": "1",
        "PYTHONUNBUFFERED": "1",
    }
    log = models_dir.parent / f"app-{port}.log"
    url = f"http://127.0.0.1:{port}"
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, str(app)],
            cwd=models_dir.parent,  # from anywhere: the app finds its own modules
            env=os.environ | settings,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        deadline = time.monotonic() + 120
        while True:
            with contextlib.suppress(OSError):
                urllib.request.urlopen(url, timeout=5).close()
                break
            assert process.poll() is None, f"app.py ended with {process.returncode}:\n{log.read_text()}"
            assert time.monotonic() < deadline, f"app.py did not answer in time:\n{log.read_text()}"
            time.sleep(0.2)
        yield url
        assert process.poll() is None, f"app.py died:\n{log.read_text()}"
        assert "Traceback" not in log.read_text(), log.read_text()
    finally:
        process.terminate()
        process.wait(30)


def last(engine: Engine, prompt: str = "", model: str = "verses", **options: Any) -> Continuation:
    """A continuation as it ends."""
    return list(engine.generate(prompt, model, **options))[-1]

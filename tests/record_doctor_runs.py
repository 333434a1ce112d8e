"""Records the runs of tests/doctor_runs, by training each for real: `python tests/record_doctor_runs.py [NAME …]`.

A run is a small config of this project, broken in one way or healthy. What the doctor reads of its folder is kept: the config, the
metrics (samples thinned), the report of the scan, and a preflight.json. All text is of data/. Takes about twenty
minutes of one core for all of them; the tests read only what is recorded.

What was predicted before the start (time, speed, memory, where the loss turns) is kept as it was in the runs of PREDICTED; record these
one a process, whose peak memory is then theirs. In all others it is filled in from the outcome, so that they say nothing about
predictions that miss.
"""

from __future__ import annotations

import json
import random
import shutil
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
KEPT = Path(__file__).parent / "doctor_runs"
WORK = Path("runs/doctor")  # below the working directory: paths in the configs stay relative

SMALL = {"hidden_size": 96, "intermediate_size": 256, "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 4}
QWEN = {"type": "qwen3", **SMALL, "head_dim": 24, "tie_word_embeddings": True}
LLAMA = {"type": "llama", **SMALL, "tie_word_embeddings": True}
GPT2 = {"type": "gpt2", "n_embd": 96, "n_layer": 3, "n_head": 4, "resid_pdrop": 0.1, "embd_pdrop": 0.1, "attn_pdrop": 0.1}
SEQ2SEQ = {
    "d_model": 96, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4, "decoder_attention_heads": 4,
    "encoder_ffn_dim": 256, "decoder_ffn_dim": 256, "dropout": 0.1, "attention_dropout": 0.0, "scale_embedding": True,
}  # fmt: skip
M2M = {"type": "m2m_100", **SEQ2SEQ}
MARIAN = {"type": "marian", **SEQ2SEQ}
T5 = {"type": "t5", "d_model": 96, "d_ff": 256, "d_kv": 24, "num_layers": 2, "num_heads": 4}
MUON = {"name": "muon", "learning_rate": 3e-3, "muon_learning_rate": 0.02, "weight_decay": 0.1, "warmup_steps": 20, "decay_share": 0.5}
ADAMW = {"name": "adamw", "learning_rate": 2e-3, "warmup_steps": 20, "schedule": "cosine"}

SENTENCE = {
    "task": "gpt", "corpus.train": "data/sentence.txt", "corpus.validation": "data/sentence.txt", "tokenizer.type": "char",
    "tokenizer.min_frequency": 1, "model": {**QWEN, "tie_word_embeddings": False}, "batch.block_size": 64, "batch.micro_batch_size": 1,
    "optim": {"learning_rate": 3e-3, "weight_decay": 0.0, "warmup_steps": 30}, "train.max_steps": 200, "evaluation.every_steps": 100,
    "evaluation.prompts": ["", "一只鸟"], "evaluation.samples": 1, "evaluation.max_new_tokens": 60, "evaluation.temperature": 0.0,
}  # fmt: skip
VERSES = {
    "task": "gpt", "corpus.train": "data/verses.jsonl", "corpus.columns": {"text": "chinese"}, "tokenizer.type": "char",
    "tokenizer.min_frequency": 1, "model": QWEN, "batch.block_size": 64, "batch.micro_batch_size": 32, "optim": MUON,
    "train.max_steps": 60, "evaluation.every_steps": 10, "evaluation.prompts": ["", "鸟", "夜里"], "evaluation.samples": 4,
    "evaluation.max_new_tokens": 60, "log.every_steps": 5,
}  # fmt: skip
PHRASES = {
    "task": "translation", "corpus.train": "data/phrasebook/train.jsonl", "corpus.validation": "data/phrasebook/valid.jsonl",
    "tokenizer.vocab_size": 2500, "model": M2M, "batch.tokens_per_batch": 1000, "batch.max_source_length": 64,
    "batch.max_target_length": 64, "optim": MUON, "train.max_steps": 300, "train.label_smoothing": 0.1, "evaluation.every_steps": 50,
    "evaluation.generate_rows": 48, "evaluation.max_rows": 200, "evaluation.max_new_tokens": 40,
}  # fmt: skip
DEEP = {"model": {**MARIAN, "encoder_layers": 6, "decoder_layers": 6}, "train.max_steps": 240, "evaluation.generate_rows": 16}  # post-norm
SPEECH = {  # the phrasebook as texts of one language
    "task": "gpt", "corpus.train": "data/phrasebook/train.jsonl", "corpus.validation": "data/phrasebook/valid.jsonl",
    "corpus.columns": {"text": "chinese"}, "tokenizer.vocab_size": 2000, "model": LLAMA, "batch.block_size": 48,
    "batch.micro_batch_size": 32, "optim": ADAMW, "train.max_steps": 250, "evaluation.every_steps": 50, "evaluation.max_rows": 300,
    "evaluation.prompts": ["我想", "请问"], "evaluation.max_new_tokens": 40,
}  # fmt: skip

RUNS: dict[str, dict[str, Any]] = {
    # --- broken, by the verdict that each must get
    "overfitting": {**PHRASES, "corpus.max_rows": 400, "train.max_steps": 240, "evaluation.every_steps": 20},
    "memorised_text": {**VERSES, "train.max_steps": 250, "evaluation.every_steps": 25, "optim": {**MUON, "schedule": "constant"}},
    "underfitting": {**PHRASES, "train.max_steps": 100, "evaluation.every_steps": 20, "optim.schedule": "constant"},
    "learning_rate_too_high": {**VERSES, "model": GPT2, "optim": {**ADAMW, "learning_rate": 0.2}, "train.max_steps": 80},
    "learning_rate_too_high_seq2seq": {**PHRASES, "optim": {**ADAMW, "learning_rate": 0.1}, "train.max_steps": 100},
    "learning_rate_too_high_muon": {**SPEECH, "optim": {**MUON, "learning_rate": 0.3, "muon_learning_rate": 2.0}, "train.max_steps": 100},
    "learning_rate_too_low": {**VERSES, "optim": {**ADAMW, "learning_rate": 1e-6}, "train.max_steps": 120},
    "muon_idle": {**VERSES, "optim": {**MUON, "muon_learning_rate": 1e-5}, "train.max_steps": 120},
    "warmup_missing": {**PHRASES, **DEEP, "optim": {**ADAMW, "learning_rate": 4e-3, "warmup_steps": 0}},
    "loss_plateau": {
        **SPEECH, "corpus.train": "runs/doctor/noise.txt", "corpus.validation": None, "corpus.columns": {}, "tokenizer.type": "char",
    },
    "gradients_clipped": {**VERSES, "optim": {**MUON, "max_grad_norm": 0.01}},
    "batch_too_small": {**VERSES, "batch.micro_batch_size": 1, "train.max_steps": 300, "evaluation.every_steps": 50,
        "optim": {**ADAMW, "schedule": "constant"}},
    "repetition_loops": {**VERSES, "train.max_steps": 30, "evaluation.temperature": 0.0, "optim": ADAMW, "evaluation.samples": 1},
    "empty_output": {**SENTENCE, "evaluation.prompts": [(ROOT / "data/sentence.txt").read_text(encoding="utf-8").strip()]},
    "truncated_output": {**PHRASES, "evaluation.max_new_tokens": 6, "train.max_steps": 250},
    "tokenizer_unknowns": {**VERSES, "tokenizer.min_frequency": 12},
    "tokenizer_too_fine": {**PHRASES, "tokenizer.vocab_size": 300, "train.max_steps": 150},
    "rows_quarantined": {**SPEECH, "corpus.train": "runs/doctor/gbk.txt", "corpus.columns": {}, "corpus.validation": None},
    "rows_duplicate": {**PHRASES, "corpus.train": "runs/doctor/duplicates.jsonl"},
    "untranslated_output": {**PHRASES, "corpus.train": "runs/doctor/untranslated.jsonl", "train.max_steps": 250},
    "not_finite": {**VERSES, "optim": {**ADAMW, "learning_rate": 1e15}, "log.every_steps": 2},
    "sides_mixed": {**PHRASES, "corpus.train": "runs/doctor/swapped.jsonl"},
    "warmup_unended": {**PHRASES, "optim.warmup_steps": 100, "train.max_steps": 20, "evaluation.every_steps": 10},
    # --- healthy
    "healthy_deep_warmup": {**PHRASES, **DEEP, "optim": {**ADAMW, "learning_rate": 4e-3, "warmup_steps": 100}},  # beside warmup_missing
    "healthy_sentence": SENTENCE,
    "healthy_sentence_deep": {**SENTENCE, "model": {**QWEN, "num_hidden_layers": 8}, "train.max_steps": 150, "optim.schedule": "linear"},
    "healthy_verses_short": {**VERSES, "train.max_steps": 50},
    "healthy_verses_early_stopping": {**VERSES, "train.max_steps": 300, "train.early_stopping": 2, "model": GPT2, "optim": ADAMW},
    "healthy_speech": SPEECH,
    "healthy_speech_english_packed": {
        **SPEECH, "corpus.columns": {"text": "english"}, "batch.packing": "always", "optim": {**MUON, "schedule": "cosine"},
        "evaluation.prompts": ["I", "Where"],
    },
    "healthy_code_file": {
        **SPEECH, "corpus.train": "runs/doctor/code.txt", "corpus.validation": None, "corpus.columns": {}, "corpus.document": "file",
        "tokenizer.type": "char", "batch.block_size": 64, "train.max_steps": 60, "evaluation.every_steps": 20,
        "evaluation.prompts": ["def "], "optim": MUON,
    },
    "healthy_phrasebook": PHRASES,
    "healthy_phrasebook_to_chinese": {
        **PHRASES, "corpus.columns": {"source": "english", "target": "chinese"}, "train.label_smoothing": 0.0,
    },
    "healthy_t5": {**PHRASES, "model": T5, "optim": {**ADAMW, "learning_rate": 4e-3}, "batch.tokens_per_batch": 1600},
}  # fmt: skip

# Short enough that their predictions can be recorded too.
PREDICTED = {
    "healthy_sentence", "healthy_sentence_deep", "healthy_verses_short", "healthy_verses_early_stopping", "healthy_speech",
    "healthy_speech_english_packed", "healthy_code_file", "warmup_unended",
}  # fmt: skip


def broken_texts() -> None:
    """The corpora that are broken, made from those of data/."""
    WORK.mkdir(parents=True, exist_ok=True)
    rng = random.Random(1)
    rows = [json.loads(line) for line in (ROOT / "data/phrasebook/train.jsonl").read_text(encoding="utf-8").splitlines()]
    characters = sorted({c for row in rows for c in row["chinese"]})
    (WORK / "noise.txt").write_text("".join("".join(rng.choices(characters[:400], k=20)) + "\n" for _ in range(8000)), encoding="utf-8")
    shutil.copy(ROOT / "data/make_phrasebook.py", WORK / "code.txt")
    texts = [row["chinese"] + "\n" for row in rows[:8000]]
    (WORK / "gbk.txt").write_bytes(b"".join(t.encode("gbk" if rng.random() < 0.4 else "utf-8", "ignore") for t in texts))
    pairs = [{"chinese": row["chinese"], "english": row["english"]} for row in rows]
    swapped = [{"chinese": p["english"], "english": p["chinese"]} if rng.random() < 0.3 else p for p in pairs]
    copied = [{"chinese": p["chinese"], "english": p["chinese"] + "!"} if rng.random() < 0.5 else p for p in pairs]
    for name, found in (("duplicates", pairs[:10000] * 3), ("swapped", swapped), ("untranslated", copied)):
        (WORK / f"{name}.jsonl").write_text("".join(json.dumps(p, ensure_ascii=False) + "\n" for p in found), encoding="utf-8")


def tree(options: dict[str, Any], run_dir: Path) -> dict[str, Any]:
    """Options with dotted names as a config's tree."""
    found: dict[str, Any] = {"run_dir": str(run_dir), "train": {"mixed_precision": "no"}}
    for name, value in options.items():
        *sections, last = name.split(".")
        place = found
        for section in sections:
            place = place.setdefault(section, {})
        if isinstance(value, dict) and isinstance(place.get(last), dict):
            place[last].update(value)
        else:
            place[last] = dict(value) if isinstance(value, dict) else value
    return found


def record(name: str) -> None:
    """Train one run and keep what the doctor reads of it."""
    import yaml

    from training.base.errors import NotFinite
    from training.settings.load import load_config
    from training.train import train

    folder = WORK / name
    shutil.rmtree(folder, ignore_errors=True)
    path = WORK / f"{name}.yaml"
    path.write_text(yaml.safe_dump(tree(RUNS[name], folder), allow_unicode=True), encoding="utf-8")
    ended = "not finite"
    try:
        ended = train(load_config(path)).ended
    except NotFinite as error:
        print(f"stopped: {error}")
    (folder / "ended").write_text(ended)
    keep(name)


def keep(name: str) -> None:
    """Copy what the doctor reads, thinned; but for PREDICTED, what preflight.json predicts is what came out."""
    from training.diagnosis.run_records import read_metrics
    from training.settings.load import load_config

    source, target = WORK / name, KEPT / name
    shutil.rmtree(target, ignore_errors=True)
    (target / "corpus").mkdir(parents=True)
    shutil.copy(source / "config.yaml", target)
    shutil.copy(source / "corpus" / "report.json", target / "corpus")
    records = read_metrics(source)
    train = [r for r in records if r["event"] == "train"]
    last = train[-1] if train else {"step": 0, "seconds": 0.0}
    dropped = {id(r) for r in train[3:-1:2]} if len(train) > 70 else set()
    dropped |= {id(r) for r in [r for r in records if r["event"] == "sample"][:-1]}
    peak = 400 << 20
    if not any(r["event"] == "end" for r in records):
        ended = (source / "ended").read_text()
        records.append({"event": "end", "step": last["step"], "seconds": last["seconds"], "ended": ended, "peak_memory_bytes": peak})
    lines = []
    for r in records:
        if id(r) not in dropped:
            lines.append(json.dumps(r | ({"samples": r["samples"][:12]} if r["event"] == "sample" else {}), ensure_ascii=False) + "\n")
    (target / "metrics.jsonl").write_text("".join(lines), encoding="utf-8")
    speeds = sorted(r["tokens_per_second"] for r in train) or [1000.0]
    predicted = measured_text(source, load_config(source / "config.yaml")) | {
        "memory": {"peak_bytes": peak}, "forecast": {"overfit_step": None},
        "time": {"seconds": round(last["seconds"], 1), "tokens_per_second": round(speeds[len(speeds) // 2], 1)},
    }  # fmt: skip
    if name in PREDICTED:
        before = json.loads((source / "preflight.json").read_text(encoding="utf-8"))
        predicted |= {section: {key: before[section][key] for key in predicted[section]} for section in ("memory", "forecast", "time")}
    (target / "preflight.json").write_text(json.dumps(predicted, indent=1), encoding="utf-8")


def measured_text(folder: Path, config: Any) -> dict[str, Any]:
    """What a preflight would have found in the first 2,000 rows, with the run's own tokenizer."""
    from transformers import AutoTokenizer

    from training.corpus.filters import is_chinese
    from training.settings.config import source_list

    tokenizer = AutoTokenizer.from_pretrained(str(folder / "tokenizer"))
    columns = {**config.spec.columns, **config.corpus.columns}
    (text,) = source_list(config.corpus.train)
    lines = Path(text.path).read_text(encoding="utf-8", errors="ignore").splitlines()[:2000]
    rows = [json.loads(x) if text.path.endswith("jsonl") else {columns["text"]: x} for x in lines if x.strip()]
    found, unknown, total = {}, 0, 0
    for ours, theirs in columns.items():
        texts = [row[theirs] for row in rows]
        ids = tokenizer(texts, add_special_tokens=False)["input_ids"]
        tokens = sum(map(len, ids))
        unknown, total = unknown + sum(i.count(tokenizer.unk_token_id) for i in ids), total + tokens
        found[ours] = {"tokens_per_text": round(tokens / len(texts), 2), "tokens_per_character": round(tokens / sum(map(len, texts)), 4)}
    data: dict[str, Any] = {"rows": len(rows)}
    if config.task == "translation":
        sides = [(is_chinese(row[columns["source"]]), is_chinese(row[columns["target"]])) for row in rows]
        forward, backward = (sum(a and not b for a, b in pairs) for pairs in (sides, [(b, a) for a, b in sides]))
        data |= {"chinese_sources": round(forward / len(rows), 4), "chinese_targets": round(backward / len(rows), 4)}
        data["swapped_share"] = round(min(forward, backward) / (forward + backward), 4)
    vocabulary = {"size": len(tokenizer), "unknown": round(unknown / total, 4), "columns": found}
    return {"vocabulary": vocabulary, "data": data}


if __name__ == "__main__":
    broken_texts()
    for name in sys.argv[1:] or RUNS:
        record(name)

"""Models of every class train and load anywhere; the settings of a training do what they say."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file
from training_runs import AUTO, MODELS, ROOT, environment, fail_at, gpt_config, numbers, records, run_here, translation_config, val_loss
from transformers import AutoTokenizer

from training.base.errors import TrainResult
from training.loop import run
from training.settings.load import load_config

SENTENCE = (ROOT / "data/sentence.txt").read_text(encoding="utf-8").strip()


@pytest.fixture(scope="module")
def sentence(tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    """configs/gpt/sentence.yaml with two layers, fewer steps and another text for validation."""
    options: dict[str, Any] = {"train.max_steps": 60, "model.num_hidden_layers": 2, "optim.warmup_steps": 10, "evaluation.every_steps": 60}
    folder = tmp_path_factory.mktemp("sentence")
    (folder / "other.txt").write_text("夜里有风，山上的树都听见了。\n", encoding="utf-8")
    options |= {"run_dir": folder / "run", "corpus.validation": folder / "other.txt"}
    arguments = [word for key, value in options.items() for word in (f"--{key}", str(value))]
    return run_here(ROOT / "configs/gpt/sentence.yaml", *arguments)


# ---- models


@pytest.mark.parametrize("kind", MODELS)
def test_each_class_trains_and_loads_as_what_was_measured(kind: str, tmp_path: Path) -> None:
    task, keys = MODELS[kind]
    make = gpt_config if task == "gpt" else translation_config
    path = make(tmp_path, train={"max_steps": 3}, evaluation={"every_steps": 3})
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text(encoding="utf-8")), "model": {"type": kind, **keys}}))
    result = run_here(path)
    assert result.step == 3
    tokenizer, model = AutoTokenizer.from_pretrained(result.model_dir), AUTO[task].from_pretrained(result.model_dir)
    for settings in (model.config, model.generation_config):
        for key, value in settings.to_dict().items():
            if key.endswith("_token_id") and value is not None:
                assert all(0 <= i < len(tokenizer) for i in (value if isinstance(value, list) else [value])), (key, value)
    inputs = tokenizer("夜里", return_tensors="pt").to(model.device)
    tokens = model.generate(**inputs, max_new_tokens=5)
    assert tokens.max() < len(tokenizer) and isinstance(tokenizer.decode(tokens[0]), str)
    assert val_loss(result.model_dir, load_config(path)) == pytest.approx(result.metrics["val_loss"], rel=1e-5)


def test_into_chinese_the_score_the_card_and_the_samples_follow(tmp_path: Path) -> None:
    config = translation_config(
        tmp_path, corpus={"columns": {"source": "english", "target": "chinese"}}, train={"max_steps": 1},
        evaluation={"every_steps": 1, "samples": 2, "prompts": ["The night."]},
    )  # fmt: skip
    result = run_here(config)
    assert "tok:zh" in result.metrics["bleu_signature"]
    card = (result.model_dir / "README.md").read_text(encoding="utf-8")
    assert "it translates English into Chinese" in card and "(licence not stated)" in card and "look up what is not stated" in card
    (record,) = [r for r in records(result.run_dir) if r["event"] == "sample"]
    assert [bool(s["reference"]) for s in record["samples"]] == [True, True, False]  # BLEU was of four


def test_one_sentence_comes_back_word_for_word_and_stops(sentence: TrainResult) -> None:
    (sample,) = [r for r in records(sentence.run_dir) if r["event"] == "sample"]
    assert sample["samples"][0] == {"prompt": "", "text": SENTENCE, "stopped": True}
    assert sample["samples"][1] == {"prompt": "一只鸟", "text": SENTENCE.removeprefix("一只鸟"), "stopped": True}
    assert sentence.metrics["copied_share"] > 0.9 and sentence.metrics["stopped"] == 1  # what it copies is what it was trained on


def test_plain_transformers_loads_the_folders_from_an_empty_directory(sentence: TrainResult, tmp_path: Path) -> None:
    pairs = run_here(translation_config(tmp_path, train={"max_steps": 2}, evaluation={"every_steps": 2}))
    code = f"""
import sys
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer, pipeline
folder, sentence = {str(sentence.model_dir)!r}, {SENTENCE!r}
tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
assert tokenizer("")["input_ids"] == [tokenizer.bos_token_id] == [model.config.eos_token_id]
tokens = model.generate(**tokenizer("", return_tensors="pt"), do_sample=False)[0]
assert tokenizer.decode(tokens, skip_special_tokens=True) == sentence and tokens[-1] == tokenizer.eos_token_id
continued = pipeline("text-generation", model=folder)("一只鸟", do_sample=False)[0]["generated_text"]
assert continued == sentence, continued
folder = {str(pairs.model_dir)!r}
tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForSeq2SeqLM.from_pretrained(folder)
tokens = model.generate(**tokenizer(["鸟", "夜里有风"], return_tensors="pt", padding=True), max_new_tokens=4)
assert len(tokenizer.batch_decode(tokens, skip_special_tokens=True)) == 2
assert not [m for m in sys.modules if m.split(".")[0] in ("training", "accelerate", "datasets") and "accelerate" not in m]
print("loaded")
"""
    empty = tmp_path / "empty"
    empty.mkdir()
    env = {k: v for k, v in environment().items() if k != "PYTHONPATH"}
    done = subprocess.run([sys.executable, "-c", code], cwd=empty, env=env, capture_output=True, text=True)
    assert done.stdout.strip() == "loaded", done.stderr[-3000:]
    assert not list(empty.iterdir())


# ---- settings of the training


@pytest.mark.parametrize("averaging", ["ema", "last"])
def test_the_published_weights_are_the_average_and_the_measured_ones(averaging: str, tmp_path: Path) -> None:
    keys = {"max_steps": 20, "averaging": averaging, "average_share": 0.5, "average_every_steps": 2, "ema_decay": 0.9}
    config = gpt_config(tmp_path, train=keys, checkpoint={"every_steps": 1, "keep": 30}, evaluation={"every_steps": 20})
    result = run_here(config, "--checkpoint.keep", "30")
    places = sorted((result.run_dir / "checkpoints").iterdir())
    own = [p / "trainer_state/weights.safetensors" for p in places]
    raw = [load_file(p) for p in own if p.exists()]
    published = load_file(places[-1] / "model.safetensors")
    name = "transformer.h.0.attn.c_attn.weight"
    if averaging == "last":
        taken = [w[name] for w in raw[::2]]  # steps 10, 12, … 20
        assert len(taken) == 6
        expected = torch.stack(taken).mean(0)
    else:
        before, expected = load_file(places[-2] / "model.safetensors")[name], raw[-1][name]
        expected = before.lerp(expected, 1 - min(0.9, 20 / 29))
    torch.testing.assert_close(published[name], expected)
    assert not torch.equal(published[name], raw[-1][name])
    (measured,) = [r["val_loss"] for r in records(result.run_dir) if r["event"] == "evaluate"]
    assert val_loss(places[-1], load_config(config)) == pytest.approx(measured, rel=1e-5)


def test_a_horizon_in_tokens_and_one_in_minutes(tmp_path: Path) -> None:
    tokens = run_here(gpt_config(tmp_path, train={"max_steps": None, "max_tokens": 1000}), "--log.every_steps", "1")
    steps = [r for r in records(tokens.run_dir) if r["event"] == "train"]
    assert steps[-1]["tokens"] >= 1000 > steps[-2]["tokens"] and tokens.ended == "finished"
    assert steps[-1]["learning_rate"] < 0.5 * max(r["learning_rate"] for r in steps)  # the schedule follows the same horizon
    config = gpt_config(tmp_path, train={"max_steps": None, "max_minutes": 0.02}, evaluation={"every_steps": 10**6})
    minutes = run_here(config, "--run_dir", str(tmp_path / "minutes"), "--checkpoint.every_steps", "1000000")
    assert minutes.ended == "finished" and records(minutes.run_dir)[-1]["seconds"] >= 1.2
    again = run_here(config, "--run_dir", str(tmp_path / "minutes"), "--resume", "true")  # is over: nothing is done twice
    assert again.step == minutes.step and len([r for r in records(minutes.run_dir) if r["event"] == "evaluate"]) == 1


def test_gradient_checkpointing_gives_the_same_losses(plain: TrainResult, tmp_path: Path) -> None:
    less = run_here(gpt_config(tmp_path, train={"max_steps": 24, "gradient_checkpointing": True}))
    for record, expected in zip(records(less.run_dir), records(plain.run_dir)):
        assert record["event"] == expected["event"]
        for key in {"loss", "val_loss"} & set(record):
            assert record[key] == pytest.approx(expected[key], rel=1e-5)


def test_bf16_runs_on_this_cpu_and_is_recorded(tmp_path: Path) -> None:
    result = run_here(gpt_config(tmp_path, train={"max_steps": 3, "mixed_precision": "bf16"}, evaluation={"every_steps": 3}))
    assert yaml.safe_load((result.run_dir / "config.yaml").read_text())["train"]["mixed_precision"] == "bf16"
    assert result.metrics["val_loss"] < 7 and all(
        v.dtype == torch.float32 for v in load_file(result.model_dir / "model.safetensors").values()
    )


class Scaled(run.Accelerator):
    """What fp16 on a GPU has: a loss scale that starts far too high and is halved at every step that overflows."""

    mixed_precision = "fp16"

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.native_amp, self.scaler = True, torch.amp.GradScaler("cpu", init_scale=2.0**127, growth_interval=1000)

    def autocast(self, *args: Any, **kwargs: Any) -> Any:
        return torch.autocast("cpu", enabled=False)


def test_a_step_left_out_by_the_loss_scaler_is_no_failure_and_its_scale_survives_a_resume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "Accelerator", Scaled)
    several = {"checkpoint": {"every_steps": 7, "keep": 9}, "log": {"every_steps": 1}, "optim": {"name": "muon"}}
    config = gpt_config(tmp_path, train={"max_steps": 16}, **several)
    whole = run_here(config, "--run_dir", str(tmp_path / "whole"))
    left_out = [r["step"] for r in records(whole.run_dir) if r["event"] == "train" and r["grad_norm"] is None]
    assert 0 < len(left_out) < 12
    with pytest.raises(RuntimeError):
        run_here(config, "--run_dir", str(tmp_path / "cut"), on_evaluation=fail_at(8))
    run_here(config, "--run_dir", str(tmp_path / "cut"), "--resume", "true")
    ends = [json.loads((tmp_path / d / "checkpoints/step-00000016/trainer_state/state.json").read_text()) for d in ("whole", "cut")]
    assert ends[0]["scaler"] == ends[1]["scaler"] and ends[0]["scaler"]["scale"] < 2.0**127
    assert numbers(whole.run_dir) == numbers(tmp_path / "cut")
    # Half the scale for each step left out, whatever the number of optimizers; the growth counts from the last of them.
    assert ends[0]["scaler"]["scale"] == 2.0 ** (127 - len(left_out)) and ends[0]["scaler"]["_growth_tracker"] == 16 - left_out[-1]

"""What a run leaves, how it ends, and what a user is told."""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file
from training_runs import MODELS, ROOT, environment, gpt_config, launch, numbers, records, run_here, translation_config
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer

from training import checkpoint, prepare, run_folder
from training import config as configs
from training import run as run_module
from training import train as train_module
from training.outcome import NotFinite, Stopped, TrainResult
from training.processes import Processes
from training.tasks.gpt import Gpt
from training.train import main

SENTENCE = (ROOT / "data/sentence.txt").read_text(encoding="utf-8").strip()
AUTO = {"gpt": AutoModelForCausalLM, "translation": AutoModelForSeq2SeqLM}


def names(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def val_loss(model_dir: Path, config: configs.Config) -> float:
    """The validation loss of a published folder, measured anew."""
    data = prepare.open_data(config, Processes())
    model = AUTO[config.task].from_pretrained(model_dir).eval()
    total = torch.zeros(2, dtype=torch.float64)
    with torch.no_grad():
        for batch in data.held_out_batches:
            total += torch.stack([n.double() for n in data.task.loss(model, {k: torch.tensor(v).long() for k, v in batch.items()})])
    return float(total[0] / total[1])


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    """One gpt run to the end, with TensorBoard."""
    folder = tmp_path_factory.mktemp("plain")
    return run_here(gpt_config(folder), "--log.log_with", "tensorboard")


@pytest.fixture(scope="module")
def sentence(tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    """configs/gpt/sentence.yaml with two layers and fewer steps."""
    options = {"train.max_steps": 60, "model.num_hidden_layers": 2, "optim.warmup_steps": 10, "evaluation.every_steps": 60}
    told = [word for key, value in options.items() for word in (f"--{key}", str(value))]
    return run_here(ROOT / "configs/gpt/sentence.yaml", "--run_dir", str(tmp_path_factory.mktemp("sentence")), *told)


# ---- what a run leaves


def test_the_run_folder_holds_exactly_what_the_contract_says(plain: TrainResult) -> None:
    seen = sorted(p.name for p in plain.run_dir.iterdir() if not p.name.startswith("."))
    assert seen == [
        "best", "checkpoints", "config.yaml", "corpus", "curves.png", "latest", "metrics.jsonl", "report.md", "samples.md",
        "stray-bird", "tokenizer",
    ]  # fmt: skip
    assert sorted(p.name for p in (plain.run_dir / "checkpoints").iterdir()) == ["step-00000018", "step-00000024"]
    for place in (plain.run_dir / "checkpoints").iterdir():
        assert names(place) == sorted([*checkpoint.FILES, "trainer_state/state.json", "trainer_state/tensors.safetensors"])
        last = (place / "meta.json").stat().st_mtime_ns
        assert all((place / name).stat().st_mtime_ns <= last for name in names(place))


def test_meta_and_pointers(plain: TrainResult) -> None:
    assert (plain.run_dir / "latest").read_text() == "step-00000024\n"
    best = min((r for r in records(plain.run_dir) if r["event"] == "evaluate"), key=lambda r: r["val_loss"])
    assert (plain.run_dir / "best").read_text() == f"step-{best['step']:08d}\n"
    assert plain.model_dir == plain.run_dir / "checkpoints" / f"step-{best['step']:08d}"
    meta = json.loads((plain.model_dir / "meta.json").read_text())
    assert (meta["task"], meta["step"]) == ("gpt", best["step"])
    assert meta["metrics"]["val_loss"] == best["val_loss"] == plain.metrics["val_loss"]
    assert {"torch", "transformers", "tokenizers", "datasets", "accelerate", "python"} == set(meta["versions"])
    assert meta["corpus"]["rows"] == 108
    unmeasured = json.loads((plain.run_dir / "checkpoints/step-00000018/meta.json").read_text())
    assert unmeasured["metrics"] == {}  # nothing was measured there; an older number would be a lie


def test_every_record_has_event_step_and_seconds(plain: TrainResult) -> None:
    found = records(plain.run_dir)
    assert {r["event"] for r in found} == {"train", "evaluate", "sample"}
    assert all({"event", "step", "seconds"} <= set(r) for r in found)
    assert [r["step"] for r in found if r["event"] == "train"] == list(range(3, 25, 3))
    assert [r["step"] for r in found if r["event"] == "evaluate"] == [8, 16, 24]
    seconds = [r["seconds"] for r in found]
    assert seconds == sorted(seconds)
    wanted = {"loss", "learning_rate", "grad_norm", "tokens", "epoch", "tokens_per_second"}
    assert all(wanted <= set(r) for r in found if r["event"] == "train")
    assert all({"val_loss", "perplexity", "bits_per_character", "stopped"} <= set(r) for r in found if r["event"] == "evaluate")


def test_config_yaml_launched_again_is_the_same_run(plain: TrainResult, tmp_path: Path) -> None:
    assert yaml.safe_load((plain.run_dir / "config.yaml").read_text())["train"]["mixed_precision"] == "no"
    again = run_here(plain.run_dir / "config.yaml", "--run_dir", str(tmp_path / "again"), "--log.log_with", "null")
    assert numbers(again.run_dir) == numbers(plain.run_dir)
    assert (again.model_dir / "model.safetensors").read_bytes() == (plain.model_dir / "model.safetensors").read_bytes()


def test_tensorboard_has_the_numbers(plain: TrainResult) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = EventAccumulator(str(plain.run_dir / "stray-bird")).Reload()
    logged = {r["step"]: r["val_loss"] for r in records(plain.run_dir) if r["event"] == "evaluate"}
    assert {s.step: pytest.approx(s.value, rel=1e-6) for s in board.Scalars("val_loss")} == logged
    assert {"loss", "learning_rate", "tokens_per_second"} <= set(board.Tags()["scalars"])


def test_the_best_checkpoint_stays_when_the_run_overfits(tmp_path: Path) -> None:
    config = gpt_config(
        tmp_path, train={"max_steps": 60}, optim={"learning_rate": 2e-2}, checkpoint={"every_steps": 10, "keep": 1},
        evaluation={"every_steps": 5, "samples": 1}, corpus={"max_rows": 30},
    )  # fmt: skip
    result = run_here(config)
    losses = {r["step"]: r["val_loss"] for r in records(result.run_dir) if r["event"] == "evaluate"}
    best = min(losses, key=lambda step: losses[step])
    assert best < 60 and result.metrics["val_loss"] == losses[best]
    assert [p.name for p in sorted((result.run_dir / "checkpoints").iterdir())] == [f"step-{best:08d}", "step-00000060"]
    assert result.model_dir.name == f"step-{best:08d}"
    assert f"overfitting begins about step {best}" in (result.run_dir / "report.md").read_text()
    assert val_loss(result.model_dir, configs.load(config)) == pytest.approx(losses[best], rel=1e-5)


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
    for found in (model.config, model.generation_config):
        for key, value in found.to_dict().items():
            if key.endswith("_token_id") and value is not None:
                assert all(0 <= i < len(tokenizer) for i in (value if isinstance(value, list) else [value])), (key, value)
    inputs = tokenizer("夜里", return_tensors="pt").to(model.device)
    tokens = model.generate(**inputs, max_new_tokens=5)
    assert tokens.max() < len(tokenizer) and isinstance(tokenizer.decode(tokens[0]), str)
    assert val_loss(result.model_dir, configs.load(path)) == pytest.approx(result.metrics["val_loss"], rel=1e-5)


def test_into_chinese_the_score_the_card_and_the_samples_follow(tmp_path: Path) -> None:
    result = run_here(translation_config(
        tmp_path, corpus={"columns": {"source": "english", "target": "chinese"}}, train={"max_steps": 1},
        evaluation={"every_steps": 1, "samples": 2, "prompts": ["The night."]},
    ))  # fmt: skip
    assert "tok:zh" in result.metrics["bleu_signature"]
    assert "it translates English into Chinese" in (result.model_dir / "README.md").read_text(encoding="utf-8")
    (record,) = [r for r in records(result.run_dir) if r["event"] == "sample"]
    assert [bool(s["reference"]) for s in record["samples"]] == [True, True, False]  # BLEU was of four


def test_one_sentence_comes_back_word_for_word_and_stops(sentence: TrainResult) -> None:
    (sample,) = [r for r in records(sentence.run_dir) if r["event"] == "sample"]
    assert sample["samples"][0] == {"prompt": "", "text": SENTENCE, "stopped": True}
    assert sample["samples"][1] == {"prompt": "一只鸟", "text": SENTENCE.removeprefix("一只鸟"), "stopped": True}


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
    assert val_loss(places[-1], configs.load(config)) == pytest.approx(records(result.run_dir)[-2]["val_loss"], rel=1e-5)


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
    for mine, theirs in zip(records(less.run_dir), records(plain.run_dir)):
        assert mine["event"] == theirs["event"]
        for key in {"loss", "val_loss"} & set(mine):
            assert mine[key] == pytest.approx(theirs[key], rel=1e-5)


def test_label_smoothing_is_for_training_only(tmp_path: Path) -> None:
    config = configs.load(translation_config(tmp_path))
    data = prepare.open_data(config, Processes())
    net, _ = prepare.build_model(config, data)
    batch = {k: torch.tensor(v).long() for k, v in data.held_out_batches[0].items()}
    net.eval()
    with torch.no_grad():
        plain, tokens = data.task.loss(net, batch)
        smooth, _ = data.task.loss(net, batch, 0.1)
        labels = batch["labels"]
        starts = torch.full((len(labels), 1), net.config.decoder_start_token_id)
        before = torch.cat([starts, labels[:, :-1].masked_fill(labels[:, :-1] < 0, 1)], 1)
        logs = net(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], decoder_input_ids=before).logits.log_softmax(-1)
    real = labels >= 0
    assert int(tokens) == int(real.sum())
    expected = -logs[real].gather(1, labels[real][:, None]).sum()
    assert float(plain) == pytest.approx(float(expected), rel=1e-5)
    assert float(smooth) == pytest.approx(0.9 * float(expected) - 0.1 * float(logs[real].mean(-1).sum()), rel=1e-5)


def test_bf16_runs_on_this_cpu_and_is_recorded(tmp_path: Path) -> None:
    result = run_here(gpt_config(tmp_path, train={"max_steps": 3, "mixed_precision": "bf16"}, evaluation={"every_steps": 3}))
    assert yaml.safe_load((result.run_dir / "config.yaml").read_text())["train"]["mixed_precision"] == "bf16"
    assert result.metrics["val_loss"] < 7 and all(
        v.dtype == torch.float32 for v in load_file(result.model_dir / "model.safetensors").values()
    )


class Scaled(run_module.Accelerator):
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
    monkeypatch.setattr(run_module, "Accelerator", Scaled)
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


# ---- how a run ends


def fail_at(step: int) -> Any:
    """An `on_evaluation` that dies between the evaluation of this step and the checkpoint."""

    def on_evaluation(record: dict[str, Any]) -> None:
        if record["step"] == step:
            raise RuntimeError("as if killed")

    return on_evaluation


def test_a_kill_between_evaluation_and_checkpoint_changes_nothing(plain: TrainResult, tmp_path: Path) -> None:
    config = gpt_config(tmp_path)
    for step in (8, 16):
        with pytest.raises(RuntimeError):
            run_here(config, "--resume", "true", on_evaluation=fail_at(step))
    result = run_here(config, "--resume", "true")
    assert numbers(result.run_dir) == numbers(plain.run_dir)
    assert (result.model_dir / "model.safetensors").read_bytes() == (plain.model_dir / "model.safetensors").read_bytes()
    over = run_here(config, "--resume", "true")  # over already: no step, no second evaluation
    assert over.metrics == result.metrics and numbers(result.run_dir) == numbers(plain.run_dir)


@pytest.mark.parametrize("at", [8, 16])
def test_a_signal_at_an_evaluation_changes_nothing(at: int, plain: TrainResult, tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    def signal_at(record: dict[str, Any]) -> None:
        if record["step"] == at:
            os.kill(os.getpid(), signal.SIGINT)

    config = gpt_config(tmp_path, checkpoint={"every_steps": 5, "keep": 2})
    before = signal.getsignal(signal.SIGINT)
    cut = run_here(config, on_evaluation=signal_at)
    assert (cut.ended, cut.step) == ("interrupted", at + 1)
    assert signal.getsignal(signal.SIGINT) == before
    assert f"SIGINT: saved at step {at + 1}; go on with --resume true" in capfd.readouterr().err
    result = run_here(config, "--resume", "true")
    assert numbers(result.run_dir) == numbers(plain.run_dir)


@pytest.mark.parametrize("at", [8, 16, 24])
def test_after_a_signal_the_run_saves_and_the_resumed_one_evaluates(
    at: int, plain: TrainResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = run_module.Run.count

    def signal_in_the_step(self: Any, *args: Any) -> None:
        count(self, *args)
        if self.state.step == at and not self.resumed_from:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(run_module.Run, "count", signal_in_the_step)
    config = gpt_config(tmp_path)
    cut = run_here(config)
    assert (cut.ended, cut.step) == ("interrupted", at)
    assert at not in [r["step"] for r in records(cut.run_dir) if r["event"] == "evaluate"]
    result = run_here(config, "--resume", "true")
    assert (result.ended, numbers(result.run_dir)) == ("finished", numbers(plain.run_dir))
    for folder in sorted((plain.run_dir / "checkpoints").iterdir()):
        metas = [json.loads((run / "checkpoints" / folder.name / "meta.json").read_text()) for run in (plain.run_dir, result.run_dir)]
        assert metas[0]["metrics"] == metas[1]["metrics"]


def test_early_stopping(tmp_path: Path) -> None:
    keys = {"max_steps": 1000, "early_stopping": 2}
    still = {"optim": {"learning_rate": 1e-15}, "evaluation": {"every_steps": 2, "samples": 1}}
    result = run_here(gpt_config(tmp_path, train=keys, **still))
    assert (result.ended, result.step) == ("stopped early", 6)  # best at 2, none better at 4 and 6
    assert (result.run_dir / "latest").read_text() == "step-00000006\n" and "Stopped early" in (result.run_dir / "report.md").read_text()


def test_on_evaluation_sees_every_record_and_a_string_from_it_ends_the_run(tmp_path: Path) -> None:
    seen: list[dict[str, Any]] = []

    def on_evaluation(record: dict[str, Any]) -> str | None:
        seen.append(record)
        return "pruned" if len(seen) == 2 else None

    result = run_here(gpt_config(tmp_path), on_evaluation=on_evaluation)
    assert (result.ended, result.step, [r["step"] for r in seen]) == ("pruned", 16, [8, 16])
    assert result.metrics == {k: v for k, v in min(seen, key=lambda r: r["val_loss"]).items() if k != "step"}


def test_a_loss_that_is_not_finite_stops_with_the_last_checkpoint_whole(tmp_path: Path) -> None:
    """As a user starts it, because a script's own exception classes are not those of its modules."""
    config = gpt_config(tmp_path, optim={"learning_rate": 1e20, "warmup_steps": 0}, checkpoint={"every_steps": 1, "keep": 1})
    run = launch(config)
    assert run.returncode == 1, run.stderr
    told = run.stderr.strip().splitlines()[-1]
    assert told.startswith("stopped: the loss of step") and "verses.jsonl:" in told and "learning_rate" in told
    assert "Traceback" not in run.stderr and "\r" not in run.stderr
    weights = load_file(checkpoint.pointed(tmp_path / "run", "latest") / "model.safetensors")
    assert all(v.isfinite().all() for v in weights.values())


def test_a_gradient_that_is_not_finite_stops_before_it_reaches_the_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loss_of, calls = Gpt.loss, []

    def loss(self: Gpt, model: Any, batch: Any, smoothing: float = 0.0) -> Any:
        total, tokens = loss_of(self, model, batch, smoothing)
        calls.append(model.training)
        bad = sum(calls) == 10
        return total + (0 * next(model.parameters()).sum()).abs().sqrt() if bad else total, tokens  # finite, its gradient is not

    monkeypatch.setattr(Gpt, "loss", loss)
    with pytest.raises(NotFinite, match=r"the gradient of step 10 is not finite.*verses.jsonl:\d+.*step-00000008"):
        run_here(gpt_config(tmp_path))


def test_a_full_disk_is_one_line_and_the_checkpoint_before_stays(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    config = gpt_config(tmp_path, train={"max_steps": 6}, evaluation={"every_steps": 6})
    first = run_here(config)
    files = {n: (first.model_dir / n).read_bytes() for n in names(first.model_dir)}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    capsys.readouterr()
    resource.setrlimit(resource.RLIMIT_FSIZE, (120_000, limits[1]))  # what a full disk looks like from here
    try:
        code = main(["--config", str(config), "--resume", "true", "--train.max_steps", "12", "--evaluation.every_steps", "100"])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    told = capsys.readouterr().err.strip().splitlines()[-1]
    assert code == 1 and told.startswith("stopped: the checkpoint of step 12 cannot be written")
    assert [p.name for p in (first.run_dir / "checkpoints").iterdir()] == ["step-00000006"]
    assert files == {n: (first.model_dir / n).read_bytes() for n in names(first.model_dir)}
    assert run_here(config, "--resume", "true", "--train.max_steps", "12").step == 12


# ---- what a user is told


def refused(capsys: pytest.CaptureFixture, *argv: str) -> str:
    capsys.readouterr()
    assert main(list(argv)) == 2
    told = capsys.readouterr().err
    assert told.startswith("error: ") and "Traceback" not in told
    return told


def test_a_second_run_in_one_folder_is_refused(plain: TrainResult, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    config = gpt_config(tmp_path)
    before = names(plain.run_dir)
    told = refused(capsys, "--config", str(config), "--run_dir", str(plain.run_dir))
    assert told.count("\n") == 1 and "already holds a run (at step-00000024)" in told and "--resume true" in told and "--run_dir" in told
    held = run_folder.lock(tmp_path / "run")
    told = refused(capsys, "--config", str(config))
    assert told.count("\n") == 1 and "another run is writing in" in told
    held.release()
    assert names(plain.run_dir) == before


def test_a_published_folder_is_not_written_over(plain: TrainResult, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    config = gpt_config(tmp_path, train={"max_steps": 6}, evaluation={"every_steps": 100})
    place = run_here(config).model_dir
    for path in (place / "trainer_state").iterdir():
        path.unlink()
    (place / "trainer_state").rmdir()
    assert "already holds a run" in refused(capsys, "--config", str(config))
    assert "no trainer_state" in refused(capsys, "--config", str(config), "--resume", "true")
    assert (place / "model.safetensors").is_file() and (tmp_path / "run/best").is_file()


def test_a_resume_that_would_be_another_run_is_refused(plain: TrainResult, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    resume = ["--config", str(plain.run_dir / "config.yaml"), "--resume", "true"]
    before = numbers(plain.run_dir)
    changes = {
        "--seed": ("2", "seed was 1"), "--model.n_layer": ("3", "model was"), "--tokenizer.vocab_size": ("999", "tokenizer was"),
        "--batch.micro_batch_size": ("4", "batch was"), "--optim.name": ("muon", "optim.name was adamw"),
        "--corpus.max_rows": ("50", "corpus was"),
    }  # fmt: skip
    for option, (value, told) in changes.items():
        assert told in refused(capsys, *resume, option, value)
    told = refused(capsys, *resume, "--seed", "2", "--optim.name", "muon")
    assert "seed was 1" in told and "optim.name was" in told and "config.yaml" in told
    assert numbers(plain.run_dir) == before
    assert (plain.run_dir / "best").is_file()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--optim.lerning_rate", "1"], "optim.learning_rate"),
        (["--model.n_hed", "4"], "model.n_hed: gpt2 has no such key; did you mean n_head?"),
        (["--model.n_head", "5"], "5 heads do not divide the width 32; heads that do: 1, 2, 4, 8"),
        (["--corpus.train", "nowhere.jsonl"], "nowhere.jsonl"),
        (["--train.mixed_precision", "fp16"], "fp16 needs a GPU"),
        (["--log.log_with", "wandbb"], "wandbb"),
        (["--tokenizer.path", "nowhere"], "nowhere has no tokenizer.json"),
        (["--run_dir", "{file}/run"], "cannot write in"),
    ],
)
def test_a_mistake_is_one_clear_line(options: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    config = gpt_config(tmp_path)
    (tmp_path / "a file").write_text("")
    found = refused(capsys, "--config", str(config), *[o.replace("{file}", str(tmp_path / "a file")) for o in options])
    assert told in found and found.count("\n") == 1, found


def test_a_run_that_cannot_start_leaves_the_folder_free(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    config = gpt_config(tmp_path, train={"max_steps": 1}, evaluation={"every_steps": 1, "samples": 1})
    refused(capsys, "--config", str(config), "--model.n_head", "5")
    assert run_here(config).step == 1


@pytest.mark.parametrize("rank", ["0", "1"])
def test_a_disk_that_fails_is_told_by_the_process_that_met_it(
    rank: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def full(config: configs.Config) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "corpus")

    monkeypatch.setattr(train_module, "train", full)
    monkeypatch.setenv("RANK", rank)
    assert main(["--config", str(gpt_config(tmp_path))]) == 1
    assert capsys.readouterr().err == "stopped: corpus: No space left on device; there is no checkpoint yet\n"


def test_stopped_is_not_a_mistake_of_the_user() -> None:
    assert issubclass(NotFinite, Stopped) and not issubclass(Stopped, configs.ConfigError)
    assert replace(TrainResult(Path("."), 1, "finished", {}, None), step=2).step == 2

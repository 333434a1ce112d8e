"""The settings of a config reach the objects that they are about: each is checked where it takes effect."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import load_file
from training_runs import gpt_config, records, run_here, translation_config
from transformers import PreTrainedModel

from training.base.errors import TrainResult
from training.loop import run
from training.loop.evaluation import Evaluation
from training.model.optim import Muon
from training.settings.config import Config
from training.settings.load import load_config, parse_args
from training.setup.data import Data, build_model, open_data
from training.setup.processes import Processes
from training.tasks.gpt import GptTask

ONCE = {"evaluation": {"every_steps": 100, "samples": 1}, "checkpoint": {"every_steps": 100}}


class Built(NamedTuple):
    """What a run has before its first step."""

    config: Config
    data: Data
    net: PreTrainedModel

    @property
    def batch(self) -> dict[str, torch.Tensor]:
        return {k: torch.tensor(v).long() for k, v in self.data.held_out_batches[0].items()}


def built(path: Path) -> Built:
    config = load_config(path)
    data = open_data(config, Processes())
    return Built(config, data, build_model(config, data).eval())


@pytest.fixture(scope="module")
def gpt(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return built(gpt_config(tmp_path_factory.mktemp("gpt")))


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return built(translation_config(tmp_path_factory.mktemp("pairs")))


# ---- the loop


def test_rates_clipping_and_moments_reach_the_optimizers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[list[float], float, dict[str, Any]]] = []
    clip = Accelerator.clip_grad_norm_

    def look(self: Accelerator, parameters: Iterable[torch.nn.Parameter], limit: float) -> Any:
        parameters = list(parameters)
        before = clip(self, parameters, limit)
        norm = torch.stack([p.grad.norm() for p in parameters if p.grad is not None]).norm()
        groups = [g for o in self._optimizers for g in o.param_groups]
        seen.append(([g["lr"] for g in groups], float(norm), dict(groups[0])))
        return before

    monkeypatch.setattr(Accelerator, "clip_grad_norm_", look)
    optim = {
        "name": "muon", "learning_rate": 1e-3, "muon_learning_rate": 0.03, "warmup_steps": 4, "schedule": "constant",
        "max_grad_norm": 0.05, "beta1": 0.8, "beta2": 0.7, "eps": 1e-6,
    }  # fmt: skip
    result = run_here(gpt_config(tmp_path, train={"max_steps": 6}, optim=optim, **ONCE), "--log.every_steps", "1")
    shares = [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    assert [rates for rates, _, _ in seen] == [pytest.approx([1e-3 * s, 1e-3 * s, 0.03 * s]) for s in shares]
    logged = [r for r in records(result.run_dir) if r["event"] == "train"]
    assert [r["learning_rate"] for r in logged] == pytest.approx([1e-3 * s for s in shares])
    assert all(norm <= 0.0501 for _, norm, _ in seen) and all(r["grad_norm"] > 0.06 for r in logged)  # before clipping
    assert (seen[0][2]["betas"], seen[0][2]["eps"]) == ((0.8, 0.7), 1e-6)


def test_smoothing_autocast_and_checkpointing_reach_the_forward_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: set[tuple[bool, float, bool, bool]] = set()
    recomputes = "is_activation_checkpointing" if hasattr(PreTrainedModel, "is_activation_checkpointing") else "is_gradient_checkpointing"
    loss = GptTask.loss

    def look(self: GptTask, model: Any, batch: Any, smoothing: float = 0.0) -> Any:
        seen.add((model.training, smoothing, torch.is_autocast_enabled("cpu"), getattr(model, recomputes)))
        return loss(self, model, batch, smoothing)

    monkeypatch.setattr(GptTask, "loss", look)
    train = {"max_steps": 1, "mixed_precision": "bf16", "label_smoothing": 0.1, "gradient_checkpointing": True}
    run_here(gpt_config(tmp_path, train=train, **ONCE))
    assert seen == {(True, 0.1, True, True), (False, 0.0, True, True)}


def test_the_runs_precision_reaches_muon_in_the_run_and_in_the_probe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[torch.dtype, float]] = []
    step = Muon.step

    def look(self: Muon, *args: Any) -> Any:
        seen.append((self.dtype, self.param_groups[0]["lr"]))
        return step(self, *args)

    monkeypatch.setattr(Muon, "step", look)
    for precision, dtype in (("bf16", torch.bfloat16), ("no", torch.float32)):
        del seen[:]
        config = gpt_config(tmp_path, train={"max_steps": 1, "mixed_precision": precision}, optim={"name": "muon"}, **ONCE)
        run_here(config, "--run_dir", str(tmp_path / precision), "--log.preflight", "true")
        assert {d for d, _ in seen} == {dtype} and any(rate == 0 for _, rate in seen) and seen[-1][1] > 0, "first the probe's, at no rate"


@pytest.mark.parametrize("checkpointing", [True, False])
def test_memory_goes_back_to_the_system_with_gradient_checkpointing_alone(
    checkpointing: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []
    monkeypatch.setattr(run, "return_memory", asked.append)
    run_here(gpt_config(tmp_path, train={"max_steps": 1, "gradient_checkpointing": checkpointing}, **ONCE))
    assert asked == [checkpointing]


def test_another_seed_is_another_model_and_other_dice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dice: list[bytes] = []
    loss = GptTask.loss

    def look(self: GptTask, model: Any, batch: Any, smoothing: float = 0.0) -> Any:
        if model.training:
            dice.append(bytes(torch.get_rng_state().numpy()))
        return loss(self, model, batch, smoothing)

    monkeypatch.setattr(GptTask, "loss", look)
    weights = []
    for seed in (1, 2):
        result = run_here(gpt_config(tmp_path, seed=seed, train={"max_steps": 1}, **ONCE), "--run_dir", str(tmp_path / str(seed)))
        assert result.model_dir
        weights.append(load_file(result.model_dir / "model.safetensors")["transformer.h.0.attn.c_attn.weight"])
    assert (weights[0] - weights[1]).abs().mean() > 0.005
    assert dice[0] != dice[1]


def test_patience_begins_again_at_each_better_evaluation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    losses = iter([5.0, 6.0, 4.0, 6.0, 6.0, 6.0])
    monkeypatch.setattr(Evaluation, "_loss", lambda self, model: {"val_loss": next(losses), "perplexity": 1.0, "bits_per_character": 1.0})
    few = {"every_steps": 1, "samples": 1, "max_new_tokens": 1}
    result = run_here(gpt_config(tmp_path, train={"max_steps": 100, "early_stopping": 2}, evaluation=few))
    assert (result.ended, result.step) == ("stopped early", 5)


# ---- the loss


@pytest.mark.parametrize("task", ["gpt", "pairs"])
def test_the_loss_is_the_cross_entropy_of_the_next_token_and_smoothing_pulls_to_the_mean(task: str, request: pytest.FixtureRequest) -> None:
    one: Built = request.getfixturevalue(task)
    batch, labels, net = one.batch, one.batch["labels"], one.net
    with torch.no_grad():
        plain, tokens = one.data.task.loss(net, batch)
        smooth, _ = one.data.task.loss(net, batch, 0.1)
        if task == "gpt":
            logs, labels = net(input_ids=batch["input_ids"]).logits[:, :-1].log_softmax(-1), labels[:, 1:]
        else:
            starts = torch.full((len(labels), 1), net.config.decoder_start_token_id)
            before = torch.cat([starts, labels[:, :-1].masked_fill(labels[:, :-1] < 0, 1)], 1)
            asked = {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"], "decoder_input_ids": before}
            logs = net(**asked).logits.log_softmax(-1)
    real = labels >= 0
    assert int(tokens) == int(real.sum())
    expected = -float(logs[real].gather(1, labels[real][:, None]).sum())
    assert float(plain) == pytest.approx(expected, rel=1e-5)
    assert float(smooth) == pytest.approx(0.9 * expected - 0.1 * float(logs[real].mean(-1).sum()), rel=1e-5)


@pytest.mark.parametrize(("task", "column"), [("gpt", "text"), ("pairs", "target")])
def test_bits_are_of_the_characters_that_are_predicted(task: str, column: str, request: pytest.FixtureRequest) -> None:
    one: Built = request.getfixturevalue(task)
    assert one.data.task.characters(one.data.held_out) == sum(len(row[column]) for row in one.data.held_out)


def test_bits_per_character_are_the_loss_of_all_tokens_over_all_characters(plain: TrainResult) -> None:
    one = built(plain.run_dir / "config.yaml")  # its corpus and tokenizer are there already
    tokens = sum(int((b["labels"][:, 1:] >= 0).sum()) for b in one.data.held_out_batches)
    characters = sum(len(row["text"]) for row in one.data.held_out)
    assert plain.metrics["bits_per_character"] == pytest.approx(plain.metrics["val_loss"] * tokens / characters / math.log(2), rel=1e-6)


# ---- samples


@pytest.fixture
def texts(gpt: Built, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Returns the texts that the untrained model writes for prompts, with some settings of `evaluation:`."""

    def samples(prompts: list[str], seed: int = 1, **keys: Any) -> list[str]:
        for key, value in {"prompts": prompts, "samples": 4, "max_new_tokens": 12, **keys}.items():
            monkeypatch.setattr(gpt.config.evaluation, key, value)
        before = torch.get_rng_state()
        samples = gpt.data.task.samples(gpt.net, [], seed)
        assert torch.equal(torch.get_rng_state(), before), "the training's dice stay as they were"
        assert [s["prompt"] for s in samples] == [p for p in prompts for _ in range(len(samples) // len(prompts))]
        return [s["text"] for s in samples]

    return samples


def test_each_sample_is_another_and_every_seed_repeats_its_own(texts: Callable[..., list[str]]) -> None:
    written = texts(["夜", "夜"])
    assert len(set(written)) == 8, "the same prompt twice, four samples each"
    assert texts(["夜", "夜"]) == written and not set(texts(["夜", "夜"], seed=11)) & set(written)


def test_the_temperature_is_the_configs(texts: Callable[..., list[str]]) -> None:
    assert len(set(texts(["夜"], temperature=0.0))) == 1
    cold, greedy = texts(["夜"], temperature=1e-4), texts(["夜"], temperature=0.0)
    assert set(cold) == set(greedy)


def test_a_sample_that_was_cut_off_says_so(gpt: Built, monkeypatch: pytest.MonkeyPatch) -> None:
    for key, value in {"prompts": ["夜"], "samples": 16, "max_new_tokens": 1}.items():
        monkeypatch.setattr(gpt.config.evaluation, key, value)
    assert sum(s["stopped"] for s in gpt.data.task.samples(gpt.net, [], 1)) < 3  # one token of hundreds is the end


# ---- the data


def test_an_own_validation_set_is_read_up_to_max_rows(tmp_path: Path) -> None:
    path = gpt_config(tmp_path, evaluation={"max_rows": 7})
    (tmp_path / "own.txt").write_text("".join(f"第{i}行是别的话。\n" for i in range(20)), encoding="utf-8")
    config = parse_args(["--config", str(path), "--corpus.validation", str(tmp_path / "own.txt")])
    rows = open_data(config, Processes()).held_out
    assert len(rows) == 7 and all(row["text"].endswith("别的话。") for row in rows)


def test_a_tokenizer_is_trained_on_sample_rows(gpt: Built, tmp_path: Path) -> None:
    few = open_data(load_config(gpt_config(tmp_path, tokenizer={"sample_rows": 3})), Processes())
    learnt = set(few.tokenizer.get_vocab()) - set(few.tokenizer.all_special_tokens)
    longest = sorted((len(set(row["text"])) for row in few.sample), reverse=True)
    assert 0 < len(learnt) <= sum(longest[:3]) < len(gpt.data.tokenizer) - 3

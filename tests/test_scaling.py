"""training.scaling: narrower models, and the forecast from their short runs."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from training_runs import gpt_config, translation_config

from training import preflight
from training.base.errors import ConfigError, NotFinite, Train
from training.base.words import phrases
from training.estimate import loss_forecast, page
from training.settings.config import Config, CorpusConfig


def test_a_narrower_model_keeps_the_size_of_its_heads() -> None:
    model = {"type": "qwen3", "hidden_size": 256, "intermediate_size": 768, "num_hidden_layers": 6, "num_attention_heads": 4, "num_key_value_heads": 4, "head_dim": 64}  # fmt: skip # noqa: E501
    half = loss_forecast.narrower(model, 0.5)
    assert half == {**model, "hidden_size": 128, "intermediate_size": 384, "num_attention_heads": 2, "num_key_value_heads": 2}
    for heads in (2, 6):
        with pytest.raises(ConfigError, match="multiple of four"):
            loss_forecast.narrower({**model, "num_attention_heads": heads}, 0.25)


def test_the_loss_is_forecast_from_three_sizes_with_an_error_bar(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(loss_forecast, "STEPS", 24)
    model = {"n_embd": 64, "n_layer": 1, "n_head": 4}
    path = gpt_config(tmp_path, model=model, train={"max_steps": 60}, tokenizer={"type": "char", "min_frequency": 1})
    options = ["--config", str(path), "--probe", "false", "--forecast", "true"]
    assert preflight.main([*options, "--json", "true"]) == 0
    found = json.loads(capsys.readouterr().out)["forecast"]
    assert found["extrapolation"] and found["val_loss_error"] > 0 and 1 < found["val_loss"] < 7
    sizes = [run["parameters"] for run in found["runs"]]
    assert len(sizes) == 3 and sizes == sorted(sizes) and all(len(run["losses"]) >= 4 for run in found["runs"])
    assert not (tmp_path / "run").exists() and found["loss_step"] == 60


def test_what_cannot_be_forecast_is_told(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = translation_config(tmp_path)
    assert preflight.main(["--config", str(path), "--probe", "false", "--forecast", "true", "--lang", "en"]) == 0
    output = capsys.readouterr().out
    assert (
        "no forecast of the loss: model: the number of attention heads" in output
        and "multiple of four" in output
        and "parameters" in output
    )


def test_a_horizon_too_short_to_measure_is_a_mistake_told_in_words(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = str(gpt_config(tmp_path, model={"n_embd": 64, "n_layer": 1, "n_head": 4}))
    options = ["--probe", "false", "--forecast", "true", "--train.max_steps", "2", "--json", "true"]
    assert preflight.main(["--config", path, *options]) == 0
    assert "at least 6 steps" in json.loads(capsys.readouterr().out)["forecast"]["no_loss"]


def test_where_the_text_is_to_be_learnt_by_heart_every_look_counts() -> None:
    """Validated on the training text the loss does not turn, however few tokens there are."""
    config = Config(task="gpt", model=NARROW, corpus=CorpusConfig(train="a.txt", validation="a.txt"))
    train = pretended([5.0, 4.5, 4.2, 4.0, 3.9, 3.8])
    few = {**FOUND, "data": {**FOUND["data"], "tokens": 500}, "horizon": {**FOUND["horizon"], "steps_per_epoch": 1}}
    found = loss_forecast.loss_at_the_end(config, few | {"forecast": {"overfit_step": None}}, train)
    assert found["loss_step"] == 100_000 and len(found["runs"]) == 3
    with pytest.raises(ConfigError, match="overfit at once"):  # held-out rows would turn
        train = pretended([5.0, 4.5, 4.2, 4.0, 3.9, 3.8])
        loss_forecast.loss_at_the_end(Config(task="gpt", model=NARROW, corpus=CorpusConfig(train="a.txt")), few, train)


def pretended(losses: list[float], error: Exception | None = None) -> Train:
    """Small runs that take no time: their losses at each look."""
    sizes = iter((1_000_000, 4_000_000, 9_000_000))

    def train(config: Config, on_evaluation: Any) -> SimpleNamespace:
        if error:
            raise error
        for k, loss in enumerate(losses, 1):
            on_evaluation({"step": k * config.evaluation.every_steps, "val_loss": loss})
        return SimpleNamespace(ended="finished", signal="", parameters=next(sizes))

    return train


FOUND: dict[str, Any] = {
    "horizon": {"steps": 100_000, "tokens": 10**8, "steps_per_epoch": 12},
    "data": {"held_out": 10, "tokens_per_step": 1000, "tokens": 12_000},
    "parameters": {"total": 16_000_000}, "forecast": {"overfit_step": 148},
}  # fmt: skip
NARROW = {"type": "gpt2", "n_embd": 64, "n_layer": 1, "n_head": 4}


def test_the_loss_is_followed_no_further_than_to_where_it_turns() -> None:
    """What is read again is not new: neither the horizon nor the small runs count beyond their turning."""
    config = Config(task="gpt", model=NARROW, corpus=CorpusConfig(train="a.txt"))
    train = pretended([5.0, 4.5, 4.2, 9.0, 9.0, 9.0])  # every 40 steps; they turn about step 150
    found = loss_forecast.loss_at_the_end(config, FOUND, train)
    assert found["loss_step"] == 148 and 3.5 < found["val_loss"] < 5
    words = phrases("page", "en")
    lines = page.data({**FOUND, "forecast": {**found, "overfit_epoch": 12.3, "factor": 2.0},
        "data": {**FOUND["data"], "rows": 1}, "horizon": {**FOUND["horizon"], "epochs": 9.0}}, words)  # fmt: skip
    assert "at step 148, where it is expected to turn" in lines[-1]


def test_the_law_is_followed_to_the_full_model_and_the_whole_horizon() -> None:
    """Runs that obey a law exactly, but for the first look (the warmup), which must not count."""

    def law(parameters: float, tokens: float) -> float:
        return 40 * parameters**-0.1 * tokens**-0.05

    sizes: list[int] = []

    def train(config: Config, on_evaluation: Any) -> SimpleNamespace:
        sizes.append(1000 * config.model["n_embd"] ** 2)
        every = config.evaluation.every_steps
        for step in range(every, (config.train.max_steps or 0) + 1, every):
            on_evaluation({"step": step, "val_loss": 99.0 if step == every else law(sizes[-1], 500 * step)})
        return SimpleNamespace(ended="finished", signal="", parameters=sizes[-1])

    estimate = {"horizon": {"steps": 100_000, "tokens": 5e7, "steps_per_epoch": 10**6}, "parameters": {"total": 1000 * 64**2},
             "data": {"held_out": 9, "tokens_per_step": 500, "tokens": 10**9}, "forecast": {"overfit_step": None}}  # fmt: skip
    found = loss_forecast.loss_at_the_end(Config(task="gpt", model=NARROW), estimate, train)
    assert found["val_loss"] == pytest.approx(law(1000 * 64**2, 5e7), rel=1e-3) and found["val_loss_error"] < 1e-3
    assert (found["of_size"], found["of_tokens"]) == (0.1, 0.05) and found["extrapolation"] and found["loss_step"] == 100_000


def test_a_small_run_that_fails_is_a_mistake_told_in_words() -> None:
    config = Config(task="gpt", model=NARROW)
    train = pretended([], NotFinite("the loss is not finite"))
    with pytest.raises(ConfigError, match=r"of 25% of the width could not be trained: .*not finite"):
        loss_forecast.loss_at_the_end(config, FOUND, train)

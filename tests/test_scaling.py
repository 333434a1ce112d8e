"""training.scaling: narrower models, and the forecast from their short runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from training_runs import gpt_config, translation_config

from training import preflight, scaling
from training.config import ConfigError


def test_a_narrower_model_keeps_the_size_of_its_heads() -> None:
    model = {"type": "qwen3", "hidden_size": 256, "intermediate_size": 768, "num_hidden_layers": 6, "num_attention_heads": 4, "num_key_value_heads": 4, "head_dim": 64}  # fmt: skip # noqa: E501
    half = scaling.narrower(model, 0.5)
    assert half == {**model, "hidden_size": 128, "intermediate_size": 384, "num_attention_heads": 2, "num_key_value_heads": 2}
    for heads in (2, 6):
        with pytest.raises(ConfigError, match="multiple of four"):
            scaling.narrower({**model, "num_attention_heads": heads}, 0.25)


def test_the_loss_is_forecast_from_three_sizes_with_an_error_bar(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(scaling, "STEPS", 24)
    model = {"n_embd": 64, "n_layer": 1, "n_head": 4}
    path = gpt_config(tmp_path, model=model, train={"max_steps": 60}, tokenizer={"type": "char", "min_frequency": 1})
    options = ["--config", str(path), "--probe", "false", "--forecast", "true"]
    assert preflight.main([*options, "--json", "true"]) == 0
    found = json.loads(capsys.readouterr().out)["forecast"]
    assert found["extrapolation"] and found["val_loss_error"] > 0 and 1 < found["val_loss"] < 7
    sizes = [run["parameters"] for run in found["runs"]]
    assert len(sizes) == 3 and sizes == sorted(sizes) and all(len(run["losses"]) >= 4 for run in found["runs"])
    assert not (tmp_path / "run").exists()


def test_what_cannot_be_forecast_is_told(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = translation_config(tmp_path)
    assert preflight.main(["--config", str(path), "--probe", "false", "--forecast", "true"]) == 2
    assert "multiple of four" in capsys.readouterr().err

"""The tab "Check" without a browser: what the sliders say, which runs are shown, and what of them."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from serving.runs import find_runs
from serving.tabs import check
from training.base.errors import ConfigError
from training.settings.config import Config

RUNS = Path(__file__).parent / "doctor_runs"


@pytest.fixture
def shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of runs that the page shows: one that overfits, and what is no run."""
    root = tmp_path / "runs"
    shutil.copytree(RUNS / "overfitting", root / "overfitting")
    (root / "empty").mkdir()
    monkeypatch.setenv("MODELS_DIR", str(root))
    return root


@pytest.mark.parametrize(("task", "kind"), [(task, kind) for task, kinds in check.TYPES.items() for kind in kinds])
def test_every_class_of_the_sliders_is_worked_out(task: str, kind: str) -> None:
    frame, told = check.answer("en", task, kind, 128, 2, 1000, 32, 4, 1000, False, False, "rtx3090")
    assert len(frame) == len(check.PARTS) and frame["GB"].sum() > 0.001
    assert "parameters" in told and "not measured" in told and "None of these settings is known to fail" in told, told


def test_what_does_not_fit_is_said_in_the_visitors_language() -> None:
    frame, told = check.answer("zh", "gpt", "gpt2", 2048, 4, 256_000, 2048, 32, 1000, True, False, "t4")
    assert frame["GB"].sum() > 16 and "问题" in told and "logits" in told
    assert "权重" in set(frame["part"])
    told = check.answer("en", "gpt", "gpt2", 512, 4, 8000, 256, 4096, 1000, True, False, "t4")[1]
    assert "batch.micro_batch_size:" in told and "even the smallest batch" not in told


def test_settings_that_the_sliders_do_not_ask_for_are_not_judged() -> None:
    told = check.answer("en", "translation", "marian", 1024, 12, 8000, 64, 2, 100, True, False, "rtx3090")[1]
    assert "None of these settings is known to fail" in told, told


def test_every_slider_reaches_the_config() -> None:
    c = check.of_sliders("gpt", "qwen3", 256, 3, 128, 12, 700, True, True)
    assert (c.model["hidden_size"], c.model["num_hidden_layers"], c.batch.block_size, c.batch.micro_batch_size) == (256, 3, 128, 12)
    assert (c.train.max_steps, c.train.mixed_precision, c.train.gradient_checkpointing) == (700, "auto", True)
    c = check.of_sliders("translation", "marian", 256, 3, 128, 12, 700, False, False)
    assert (c.batch.max_source_length, c.batch.max_target_length, c.batch.tokens_per_batch) == (128, 128, 12 * 128)
    assert (c.train.mixed_precision, c.train.gradient_checkpointing) == ("no", False)


def test_vocabulary_and_device_reach_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[Any, Any]] = []
    sketch = check.gather.sketch

    def watched(*asked: Any) -> Any:
        found = sketch(*asked)
        seen.append((asked, found))
        return found

    monkeypatch.setattr(check.gather, "sketch", watched)
    frame, _ = check.answer("en", "gpt", "gpt2", 64, 1, 1000, 32, 4, 700, False, False, "t4")
    ((config, *asked), found) = seen[0]
    assert asked == [1000, "t4"] and found["memory"]["available_bytes"] == 16_000_000_000 and found["horizon"]["steps"] == 700
    assert config.batch.micro_batch_size == 4 and frame["GB"].sum() == pytest.approx(found["memory"]["peak_bytes"] / 1e9)


@pytest.mark.parametrize(("language", "told"), [("en", "Please fill in: Width, Steps"), ("zh", "请填写：宽度，训练步数")])
def test_a_field_that_was_emptied_is_named(language: Any, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check.answer(language, "gpt", "gpt2", None, 1, 1000, 32, 4, None, False, False, "t4")
    assert str(caught.value) == told


def test_precision_decides_the_time() -> None:
    def milliseconds(device: str, half: bool) -> float:
        told = check.answer("en", "gpt", "qwen3", 2048, 4, 8000, 512, 256, 1000, half, False, device)[1]
        return float(re.search(r"([\d.]+) ms a step", told)[1])  # type: ignore[index]

    assert milliseconds("h100", False) > 10 * milliseconds("h100", True)
    assert milliseconds("t4", False) > 4 * milliseconds("t4", True), "a T4 takes fp16"


def test_of_a_small_model_it_is_told_that_starting_its_operations_takes_the_time() -> None:
    told = [check.answer("en", "gpt", "qwen3", width, 4, 8000, 512, 64, 1000, True, False, "h100")[1] for width in (64, 2048)]
    assert "small operations" in told[0] and "small operations" not in told[1]


def test_a_class_that_there_is_not_is_a_mistake_told_in_words() -> None:
    with pytest.raises(ConfigError, match="gpt9"):
        check.gather.sketch(Config(task="gpt", model={"type": "gpt9"}), 1000, "t4")


def test_runs_are_found_and_only_they_are_read(shown: Path, tmp_path: Path) -> None:
    assert find_runs() == [shown / "overfitting"]
    picture, told = check.diagnosed(str(shown / "overfitting"), "en")
    assert picture is None and "verfit" in told
    assert "过拟合" in check.diagnosed(str(shown / "overfitting"), "zh")[1]
    for other in (str(RUNS / "memorised_text"), str(shown / ".."), None, "nowhere"):
        assert check.diagnosed(other, "en") == (None, "There is no run yet.")
    (shown / "overfitting" / "config.yaml").write_text("task: <img src=x onerror=alert(1)>")
    assert "<img" not in check.diagnosed(str(shown / "overfitting"), "en")[1]

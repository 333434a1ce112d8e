"""The tab "Check" without a browser: what the sliders say, which runs are shown, and what of them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from serving.runs import find_runs
from serving.tabs import check
from training.config import Config, ConfigError

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
    assert "parameters" in told and "not measured" in told and "Nothing here is known to fail" in told, told


def test_what_does_not_fit_is_said_in_the_visitors_language() -> None:
    frame, told = check.answer("zh", "gpt", "gpt2", 2048, 4, 256_000, 2048, 32, 1000, True, False, "t4")
    assert frame["GB"].sum() > 16 and "问题" in told and "logits" in told
    assert "权重" in set(frame["part"])


def test_a_class_that_there_is_not_is_a_mistake_told_in_words() -> None:
    with pytest.raises(ConfigError, match="gpt9"):
        check.preflight.sketch(Config(task="gpt", model={"type": "gpt9"}), 1000, "t4")


def test_runs_are_found_and_only_they_are_read(shown: Path, tmp_path: Path) -> None:
    assert find_runs() == [shown / "overfitting"]
    picture, told = check.diagnosed(str(shown / "overfitting"), "en")
    assert picture is None and "verfit" in told
    assert "过拟合" in check.diagnosed(str(shown / "overfitting"), "zh")[1]
    for other in (str(RUNS / "memorised_text"), str(shown / ".."), None, "nowhere"):
        assert check.diagnosed(other, "en") == (None, "There is no run yet.")
    (shown / "overfitting" / "config.yaml").write_text("task: <img src=x onerror=alert(1)>")
    assert "<img" not in check.diagnosed(str(shown / "overfitting"), "en")[1]

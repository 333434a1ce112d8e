"""preflight --fit: a config that fits, with as many tokens a step. `pytest tests/test_fitting.py`"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from test_preflight import ask
from training_runs import gpt_config

from training.base.errors import ConfigError
from training.estimate import fit
from training.settings.config import Config
from training.settings.load import load_config


def test_a_config_that_fits_goes_beside_its_file_and_replaces_no_other(tmp_path: Path) -> None:
    config = load_config(gpt_config(tmp_path))
    argv = ["--config", "a.yaml", "--seed", "7", f"--config={tmp_path}/v1.2.yaml"]
    path = fit.fitted_path(config, None, argv)
    assert path == tmp_path / "v1.2.fit.yaml" and fit.fitted_path(config, "b.yaml", argv) == Path("b.yaml")
    assert fit.fitted_path(replace(config, run_dir="runs/v1.2"), None, []) == Path("runs/v1.2.fit.yaml")
    roomy = {"memory": {"largest_batch": 1000}}
    for _ in range(2):  # the same again is no harm
        assert fit.fit(config, roomy, path, False)["fitted"] == str(path)
    other = replace(config, seed=7)
    with pytest.raises(ConfigError, match=r"v1\.2\.fit\.yaml is there already"):
        fit.fit(other, roomy, path, False)
    assert load_config(path) == config
    fit.fit(other, roomy, path, True)
    assert load_config(path).seed == 7


def test_fit_writes_a_config_with_the_same_tokens_a_step(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = gpt_config(tmp_path, batch={"block_size": 48, "micro_batch_size": 64, "packing": "always"})
    for _ in range(2):  # the first time, libraries that are loaded to read the corpus count as data
        _, out, _ = ask(capsys, "--config", str(path), "--probe", "false", "--json", "true")
    peak = json.loads(out)["memory"]["peak_bytes"]
    fitted = tmp_path / "fitted.yaml"
    code, out, _ = ask(
        capsys,
        "--config",
        str(path),
        "--probe",
        "false",
        "--memory",
        str(0.85 * peak / 1e9),
        "--fit",
        "true",
        "--out",
        str(fitted),
        "--lang",
        "en",
    )
    assert code == 0 and str(fitted) in out and "memory_short" not in out
    before, after = load_config(path), load_config(fitted)
    assert after.batch.micro_batch_size < 64
    assert after.batch.micro_batch_size * after.train.gradient_accumulation_steps == pytest.approx(64, rel=0.05)
    assert replace(after, batch=before.batch, train=before.train) == before
    assert "batch.micro_batch_size 32, accumulated 2 times a step, 64 in all (before: 64)" in out


def test_where_nothing_fits_that_is_the_answer(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    fitted = tmp_path / "fitted.yaml"
    nothing = ["--probe", "false", "--memory", "0.001", "--fit", "true", "--lang", "en", "--out"]
    options = ["--config", str(gpt_config(tmp_path)), *nothing, str(fitted)]
    code, out, _ = ask(capsys, *options, "--json", "true")
    assert code == 0 and json.loads(out)["fitted"] is None and not fitted.exists()
    found: dict[str, Any] = {"memory": {"largest_batch": 0}}
    assert fit.fit(load_config(gpt_config(tmp_path)), found, fitted, True) == {"fitted": None}


@pytest.mark.parametrize(
    ("rows", "times", "most", "size", "accumulation"),
    [(3, 4, 2, 2, 6), (5, 1, 4, 1, 5), (7, 1, 5, 1, 7), (9, 1, 8, 3, 3), (64, 1, 43, 32, 2), (64, 3, 20, 16, 12), (97, 1, 50, 48, 2),
     (17, 1, 2, 1, 17)],
)  # fmt: skip
def test_the_rows_of_a_step_stay_what_was_asked(rows: int, times: int, most: int, size: int, accumulation: int) -> None:
    """Exactly, or within 2% where an exact division would be less than half as fast (97 is a prime)."""
    assert fit.divided(rows * times, 1, most, exactly=True) == (size, accumulation)


@pytest.mark.parametrize(("asked", "least", "most"), [(8000, 256, 3000), (24_000, 256, 7000), (12_001, 128, 5999), (6000, 900, 1100)])
def test_the_tokens_of_a_step_stay_what_was_asked(asked: int, least: int, most: int) -> None:
    size, accumulation = fit.divided(asked, least, most, exactly=False)
    assert least <= size <= most and size * accumulation == pytest.approx(asked, rel=0.02)
    assert size > 0.75 * most, "no slower than need be"


@pytest.mark.parametrize(("run", "path"), [(".", "preflight.fit.yaml"), ("/", "/preflight.fit.yaml"), ("..", "../preflight.fit.yaml")])
def test_a_run_folder_without_a_name_has_a_place_for_the_config_that_fits(run: str, path: str) -> None:
    assert fit.fitted_path(Config(task="gpt", run_dir=run), None, []) == Path(path)

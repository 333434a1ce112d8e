"""Preflight's forecasts, and its arithmetic of horizon and time, on given numbers."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from training.estimate import numbers, probe
from training.estimate.overfitting import FACTOR, PASSES, RATIO, fit, overfit_step, tokens_wanted
from training.estimate.probe import Probe
from training.settings.config import Config
from training.tasks.gpt import GptTask

ROOT = Path(__file__).resolve().parent.parent
BOOKS = sorted({p.name.split(".")[0] for p in (ROOT / "training/base/wording").glob("*.yaml")})


# ---- forecasts


def test_the_power_law_is_found_again_with_its_error() -> None:
    points = [(n, t, 40 * n**-0.1 * t**-0.05) for n in (1e5, 3e5, 1e6) for t in (1e5, 4e5)]
    law = fit(points)
    loss, error = law.at(1e7, 1e7)
    assert loss == pytest.approx(40 * 1e7**-0.1 * 1e7**-0.05, rel=1e-6) and error < 1e-6
    without = [p if p[0] < 1e6 else (p[0], p[1], 1.2 * p[2]) for p in points]  # one size that does not follow
    loss, error = fit(without).at(1e7, 1e7)
    assert error == pytest.approx(loss - 40 * 1e7**-0.1 * 1e7**-0.05), "the bar reaches to where the others point"
    noisy = [(n, t, loss * (1 + (-1) ** k * 0.03)) for k, (n, t, loss) in enumerate(points)]
    near, far = fit(noisy).at(1e6, 4e5)[1], fit(noisy).at(1e9, 1e9)[1]
    assert near > 0 and math.isfinite(far) and far / fit(noisy).at(1e9, 1e9)[0] > near / fit(noisy).at(1e6, 4e5)[0]
    with pytest.raises(ValueError, match="three sizes"):
        fit(points[:4])


def test_the_error_of_a_prediction_worked_out_by_hand() -> None:
    """Three sizes, two numbers of tokens, all on one level of 5 nats but for scatter that no power law takes up.

    In the logarithms the design is orthogonal, and its scatter stands at right angles to it: of its squares, 12e-4, six points less
    three coefficients leave 0.02. In the middle, where nothing hangs on a single size, a prediction adds a sixth of one more point.
    """
    scatter = {-1: 0.01, 0: -0.02, 1: 0.01}
    law = fit([(math.exp(p), math.exp(t), 5 * math.exp(e * t)) for p, e in scatter.items() for t in (-1, 1)])
    assert (law.constant, law.of_size, law.of_tokens) == pytest.approx((math.log(5), 0, 0), abs=1e-12)
    assert law.residual == pytest.approx(0.02)
    assert law.at(1, 1) == pytest.approx((5, 5 * 0.02 * math.sqrt(7 / 6)))


def test_more_tokens_put_the_turning_off_and_the_wanted_tokens_do_too() -> None:
    early = overfit_step("adamw", 10_000_000, 100_000, 100)
    late = overfit_step("adamw", 10_000_000, 2_000_000, 100)
    assert early is not None and late is not None and early < late
    assert overfit_step("adamw", 10_000_000, 20_000_000, 100) is None
    seen = 50_000_000
    tokens = tokens_wanted(10_000_000, seen)
    passes = PASSES * math.sqrt(tokens / 10_000_000 / RATIO)
    assert seen / tokens == pytest.approx(passes, rel=0.01)
    assert tokens_wanted(10_000_000, 10**12) == 10_000_000, "from there on it never overfits"
    assert tokens_wanted(1_000_000_000, 400_000) == 100_000, "four passes"


def test_the_forecast_is_within_a_factor_of_two_of_what_was_measured() -> None:
    """configs/gpt/verses.yaml turned at step 50 (docs/log.md); 12 steps an epoch. AdamW takes its first hundred."""
    step = overfit_step("muon", 978_176, 9_391, 12)
    assert step is not None and 50 / FACTOR <= step <= 50 * FACTOR
    assert overfit_step("adamw", 978_176, 9_391, 12) == step + 50
    # A corpus of four times the tokens (and so the steps) from one token for a hundred parameters on: eight passes, not four.
    assert overfit_step("adamw", 10_000_000, 400_000, 400) == 100 + 8 * 400
    assert overfit_step("adamw", 10_000_000, 9_000_000, 9000) is not None


# ---- the arithmetic of horizon, time and --fit, without a run


def test_the_nearest_horizon_ends_the_run() -> None:
    config, data = Config(task="gpt"), {"tokens_per_step": 1000, "tokens": 50_000}
    for limits, steps in (({"max_steps": 300}, 300), ({"max_tokens": 100_000}, 100), ({"max_minutes": 2.0}, 60),
                          ({"max_steps": 80, "max_tokens": 70_000, "max_minutes": 9.0}, 70)):  # fmt: skip
        t = replace(config.train, **{"max_steps": None, "max_tokens": None, "max_minutes": None, **limits})
        found = numbers.of_horizon(replace(config, train=t), data, 2.0)
        assert (found["steps"], found["tokens"], found["steps_per_epoch"]) == (steps, 1000 * steps, 50), limits
        assert found["epochs"] == pytest.approx(steps / 50)


def test_the_time_is_that_of_steps_evaluations_and_checkpoints() -> None:
    config = Config(task="gpt")
    config.train.max_steps, config.train.gradient_accumulation_steps = 100, 4
    config.evaluation.every_steps, config.checkpoint.every_steps = 25, 10
    timed = Probe(micro_batch=1.0, optimizer=0.5, deal=0.25, evaluate_loss=3.0, evaluate_texts=4.0, save=2.0)
    assert timed.step(4) == 5.5 and timed.evaluation == 7.0
    assert numbers.seconds_per_step(config, timed) == pytest.approx(5.5 + 7 / 25 + 2 / 10)
    data = {"tokens_per_step": 1000, "tokens": 50_000}
    t = numbers.of_time(config, timed, numbers.of_horizon(config, data, numbers.seconds_per_step(config, timed)), 10**9, 1e10, 1)
    assert (t["step_seconds"], t["training_seconds"], t["evaluation_seconds"], t["saving_seconds"]) == (5.5, 550, 28, 20)
    assert t["seconds"] == 598 and t["flops_per_step"] == 4 * 10**9 and t["utilisation"] == pytest.approx(4e9 / 5.5 / 1e10, abs=1e-4)
    config.checkpoint.every_steps = 50  # an evaluation that is the best so far saves too
    assert numbers.seconds_per_step(config, timed) == pytest.approx(5.5 + 7 / 25 + 2 / 25)
    assert numbers.of_time(config, timed, {"steps": 100, "tokens": 100_000}, 10**9, None, 1)["saving_seconds"] == 4 * 2
    horizon = numbers.of_horizon(config, data, None)
    one, four = (numbers.of_time_on("t4", "fp16", horizon, 10**15, 0, world) for world in (1, 4))
    assert one["step_seconds"] == pytest.approx(1e15 / (65e12 * numbers.UTILISATION)) == pytest.approx(4 * four["step_seconds"])
    assert numbers.of_time_on("t4", "fp16", horizon, 10**15, 5000, 4)["step_seconds"] == pytest.approx(
        four["step_seconds"] + 5000 * numbers.START_SECONDS
    )
    assert one["seconds"] == pytest.approx(100 * one["step_seconds"]) and 0.1 < numbers.UTILISATION < 0.5


def test_what_is_timed_of_an_evaluation_is_scaled_to_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    config, cpu = Config(task="gpt"), torch.device("cpu")
    config.evaluation.prompts, config.evaluation.samples, config.evaluation.max_new_tokens = ["a", "b", "c"], 2, 100

    class Cuts:
        bos_token_id = 0

        def __call__(self, texts: list[str]) -> dict[str, Any]:
            return {"input_ids": [[0] * 30 for _ in texts]}

    batches = [{k: np.zeros((rows, 10), dtype=np.int64) for k in ("input_ids", "labels")} for rows in (1, 2, 3)]
    config.batch.block_size, config.batch.packing = 64, "never"
    task = GptTask(config, Cuts(), [])  # type: ignore[arg-type]
    monkeypatch.setattr(task, "loss", lambda *_: None)
    data: Any = SimpleNamespace(task=task, sample=[{"text": "x"}], held_out=[], held_out_batches=batches)
    net, clock = SimpleNamespace(), lambda _: 1.0
    assert probe._loss_seconds(config, data, net, cpu, clock) == pytest.approx(3.0)  # type: ignore[arg-type]
    monkeypatch.setattr(probe, "generate", lambda *_, **__: None)
    texts = probe._texts_seconds(config, data, net, cpu, clock)  # type: ignore[arg-type]
    assert texts == pytest.approx(3 * 30 / probe.GENERATED), "for each prompt as many tokens as the texts have"


def test_the_time_of_a_micro_batch_is_that_of_one_of_mean_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a clock that counts the tokens that went through the model: 10, 20 and 60 of them are 30 in the mean."""
    config = Config(task="gpt", run_dir=str(tmp_path / "run"))
    net, seen = torch.nn.Embedding(5, 4), [0]

    def loss(model: torch.nn.Module, batch: dict[str, torch.Tensor], smoothing: float = 0.0) -> tuple[torch.Tensor, torch.Tensor]:
        seen[0] += batch["input_ids"].numel()
        return model(batch["input_ids"]).sum(), torch.tensor(batch["input_ids"].numel())

    class Tokens:
        def __init__(self, device: torch.device):
            pass

        def __call__(self, work: Callable[[], Any]) -> float:
            before = seen[0]
            work()
            return float(seen[0] - before)

    batches = [{k: np.zeros((rows, 10), dtype=np.int64) for k in ("input_ids", "labels")} for rows in (1, 2, 6)]
    config.batch.packing = "never"
    task = GptTask(config, SimpleNamespace(), [])  # type: ignore[arg-type]
    monkeypatch.setattr(task, "loss", loss)
    monkeypatch.setattr(task, "make_batches", lambda *_: (batches, 0))
    data: Any = SimpleNamespace(task=task, sample=[], held_out_batches=batches)
    monkeypatch.setattr(probe, "_Clock", Tokens)
    monkeypatch.setattr(probe, "_texts_seconds", lambda *_: 0.0)
    found = probe.run(config, data, net, torch.device("cpu"))  # type: ignore[arg-type]
    assert found.micro_batch == pytest.approx(30) and found.evaluate_loss == pytest.approx(90) and found.optimizer == 0

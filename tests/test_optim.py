"""Optimizers, schedules and averages against their formulas and against torch."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM
from transformers.pytorch_utils import Conv1D

from training.model.optim import Average, Muon, make_optimizers, orthogonalise, rate
from training.settings.config import OptimConfig, TrainConfig

CPU = torch.device("cpu")


def curve(steps: int = 100, **keys) -> list[float]:
    config = OptimConfig(**({"warmup_steps": 10} | keys))
    return [rate(config, step, step / steps) for step in range(steps)]


@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine", "inverse_sqrt", "wsd"])
def test_warmup_is_linear_in_optimizer_steps_whatever_the_horizon(schedule: str) -> None:
    warm = [pytest.approx((k + 1) / 10) for k in range(10)]
    assert curve(schedule=schedule)[:10] == warm
    config = OptimConfig(schedule=schedule, warmup_steps=10)
    assert [rate(config, step, 0.9) for step in range(10)] == warm  # most of the time has gone by, ten steps are ten steps


def test_constant_stays() -> None:
    assert set(curve(schedule="constant")[10:]) == {1.0}


def test_wsd_is_flat_then_linear_to_the_final_ratio() -> None:
    found = curve(schedule="wsd", decay_share=0.4, final_ratio=0.1)
    assert set(found[10:61]) == {1.0}
    falls = [a - b for a, b in pairwise(found[61:])]
    assert falls == [pytest.approx(0.9 / 40)] * len(falls)
    assert rate(OptimConfig(schedule="wsd", final_ratio=0.1), 100, 1.0) == pytest.approx(0.1)
    assert rate(OptimConfig(schedule="wsd"), 105, 1.05) == 0.0  # a clock can overshoot; the rate never goes below


def test_linear_and_cosine_end_at_the_final_ratio_and_fall_all_the_way() -> None:
    for schedule in ("linear", "cosine"):
        found = curve(schedule=schedule, final_ratio=0.2)[10:]
        assert all(a > b for a, b in pairwise(found))
        assert rate(OptimConfig(schedule=schedule, final_ratio=0.2, warmup_steps=10), 100, 1.0) == pytest.approx(0.2)
        assert rate(OptimConfig(schedule=schedule, final_ratio=0.2, warmup_steps=0), 1000, 0.5) == pytest.approx(0.6)


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_the_rate_does_not_fall_off_a_cliff_where_the_warmup_ends(schedule: str) -> None:
    """It falls from the peak on, over what the warmup has left of the horizon: halfway through that, by half."""
    found = curve(schedule=schedule, warmup_steps=20)
    assert found[19:21] == [1.0, pytest.approx(1.0)] and found[20] - found[21] < 0.02
    assert found[60] == pytest.approx(0.5)
    config = OptimConfig(schedule=schedule, warmup_steps=20)  # with a horizon in tokens or minutes it is the share of the steps so far
    assert rate(config, 40, 0.4) == pytest.approx(rate(config, 40, 40 / 100))


def test_inverse_sqrt_is_vaswanis() -> None:
    config = OptimConfig(schedule="inverse_sqrt", warmup_steps=400)
    assert rate(config, 400, 0.1) == pytest.approx(1.0)
    assert rate(config, 1600, 0.4) == pytest.approx(0.5)
    assert rate(replace(config, warmup_steps=0), 0, 0.0) == 1.0


def gpt() -> torch.nn.Module:
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(AutoConfig.for_model("gpt2", vocab_size=50, n_embd=16, n_layer=2, n_head=2, n_positions=32))


def named(model: torch.nn.Module, parameters: list[torch.Tensor]) -> set[str]:
    names = {id(p): n for n, p in model.named_parameters()}
    return {names[id(p)] for p in parameters}


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_every_parameter_is_in_one_group_and_norms_biases_and_positions_do_not_decay(name: str) -> None:
    t5 = AutoConfig.for_model("t5", vocab_size=50, d_model=16, d_ff=32, d_kv=8, num_layers=2, num_heads=2)
    for model in (gpt(), AutoModelForSeq2SeqLM.from_config(t5)):
        groups = [g for o in make_optimizers(model, OptimConfig(name=name, weight_decay=0.3), CPU, "no") for g in o.param_groups]
        every = [n for g in groups for n in named(model, g["params"])]
        assert sorted(every) == sorted(n for n, p in model.named_parameters() if p.requires_grad)
        plain = set().union(*(named(model, g["params"]) for g in groups if g["weight_decay"] == 0))
        assert plain == {n for n in every if n.endswith("bias") or "ln_" in n or "layer_norm" in n or "wpe" in n or "attention_bias" in n}
        assert {g["weight_decay"] for g in groups} == {0.0, 0.3}


def test_muon_gets_the_hidden_matrices_only() -> None:
    model = gpt()
    adamw, muon = make_optimizers(model, OptimConfig(name="muon"), CPU, "no")
    matrices = named(model, muon.param_groups[0]["params"])
    assert matrices == {f"transformer.h.{i}.{m}.weight" for i in (0, 1) for m in ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")}
    untied = AutoConfig.for_model(
        "qwen3", vocab_size=50, hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=2, head_dim=8, tie_word_embeddings=False,
    )  # fmt: skip
    model = AutoModelForCausalLM.from_config(untied)
    adamw, muon = make_optimizers(model, OptimConfig(name="muon"), CPU, "no")
    assert not {n for n in named(model, muon.param_groups[0]["params"]) if "embed" in n or "lm_head" in n}
    assert {"model.embed_tokens.weight", "lm_head.weight"} <= named(model, adamw.param_groups[0]["params"])


@pytest.mark.parametrize("shape", [(24, 24), (16, 48), (48, 16)])
def test_muon_is_torchs_up_to_its_bfloat16(shape: tuple[int, int]) -> None:
    torch.manual_seed(1)
    start = torch.randn(shape)
    mine, theirs = torch.nn.Parameter(start.clone()), torch.nn.Parameter(start.clone())
    keys = {"lr": 0.05, "momentum": 0.95, "weight_decay": 0.1}
    ours, torchs = Muon([mine], **keys), torch.optim.Muon([theirs], **keys)
    for _ in range(5):
        grad = torch.randn(shape)
        mine.grad, theirs.grad = grad.clone(), grad.clone()
        ours.step()
        torchs.step()
    moved = (theirs - start).norm()
    assert (mine - theirs).norm() < 0.02 * moved  # bfloat16 has eight bits
    assert moved > 0.1


def test_muon_iterates_in_the_precision_that_it_is_given() -> None:
    torch.manual_seed(1)
    start, grad, moved = torch.randn(24, 24), torch.randn(24, 24), []
    for dtype in (torch.float32, torch.bfloat16):
        p = torch.nn.Parameter(start.clone())
        p.grad = grad.clone()
        Muon([p], lr=0.05, dtype=dtype).step()
        moved.append(p.detach() - start)
    assert 1e-3 * moved[0].norm() < (moved[0] - moved[1]).norm() < 0.05 * moved[0].norm()


def test_muon_moves_a_transposed_weight_as_the_plain_one() -> None:
    torch.manual_seed(3)
    plain, turned = torch.nn.Linear(16, 48), Conv1D(48, 16)  # weights (48, 16) and (16, 48)
    with torch.no_grad():
        turned.weight.copy_(plain.weight.T)
        turned.bias.copy_(plain.bias)
    for model in (plain, turned):
        _, muon = make_optimizers(model, OptimConfig(name="muon"), CPU, "no")
        inputs = torch.linspace(-1, 1, 32).reshape(2, 16)
        model(inputs).square().sum().backward()
        muon.step()
    torch.testing.assert_close(plain.weight.T, turned.weight)


def test_orthogonalise_brings_singular_values_near_one() -> None:
    torch.manual_seed(2)
    values = torch.linalg.svdvals(orthogonalise(torch.randn(3, 20, 32), torch.float32))
    assert values.min() > 0.3 and values.max() < 1.4


def feed(average: Average, model: torch.nn.Module, values: list[float]) -> float:
    for value in values:
        with torch.no_grad():
            model.weight.fill_(value)
        average.update(model)
    return float(average.weights[0][0, 0])


def test_the_average_of_the_last_is_their_mean_and_is_due_at_the_end() -> None:
    model = torch.nn.Linear(1, 1, bias=False)
    average = Average(model, TrainConfig(averaging="last", average_share=0.25, average_every_steps=10))
    assert feed(average, model, [2.0, 4.0, 9.0]) == pytest.approx(5.0)
    assert [step for step in range(1, 101) if average.due(step, step / 100)] == [80, 90, 100]


def test_the_exponential_average_forgets_its_start_faster_at_first() -> None:
    model = torch.nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        model.weight.fill_(100.0)  # a random beginning
    average = Average(model, TrainConfig(averaging="ema", ema_decay=0.99))
    values, expected = [float(k) for k in range(1, 40)], 100.0
    for n, value in enumerate(values):
        decay = min(0.99, (1 + n) / (10 + n))
        expected = decay * expected + (1 - decay) * value
    assert feed(average, model, values) == pytest.approx(expected, rel=1e-5)
    assert expected < 40 and math.isfinite(expected)


def test_a_model_has_the_average_inside_and_its_own_weights_again_after() -> None:
    model = torch.nn.Linear(1, 1, bias=False)
    average = Average(model, TrainConfig(averaging="last"))
    with torch.no_grad():
        model.weight.fill_(3.0)
    with average.inside(model):
        assert model.weight.item() == 3.0  # nothing averaged yet: the model's own
    feed(average, model, [1.0, 2.0])
    with pytest.raises(KeyError), average.inside(model):
        assert model.weight.item() == 1.5
        raise KeyError
    assert model.weight.item() == 2.0 and float(average.weights[0]) == 1.5

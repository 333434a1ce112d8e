"""Attention of a CPU under bf16: the same numbers, by float32's kernel."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from training.estimate.footprint import measure
from training.model import attention
from training.model.optim import Muon, make_optimizers
from training.settings.config import Config, OptimConfig

QWEN = {
    "type": "qwen3", "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 8,
}  # fmt: skip


class Seen(TorchDispatchMode):
    """The dtypes that attention is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.dtypes: set[torch.dtype] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if "scaled_dot_product" in func.__name__:
            self.dtypes.add(args[0].dtype)
        return func(*args, **(kwargs or {}))


def model() -> Any:
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    keys = {k: v for k, v in QWEN.items() if k != "type"}
    return AutoModelForCausalLM.from_config(AutoConfig.for_model("qwen3", vocab_size=50, **keys), dtype=torch.float32)


def gradients(net: Any, bf16: bool) -> tuple[torch.Tensor, set[torch.dtype]]:
    ids = torch.arange(24).reshape(2, 12)
    mask = torch.ones_like(ids)
    mask[1, 8:] = 0
    with Seen() as seen:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            net(ids, attention_mask=mask, use_cache=False).logits.float().square().mean().backward()
        found = torch.cat([p.grad.flatten() for p in net.parameters()])
    net.zero_grad()
    return found, seen.dtypes


def test_under_bf16_attention_is_trained_in_float32_and_the_gradients_are_the_same() -> None:
    net = model()
    exact, _ = gradients(net, bf16=False)
    ours, dtypes = gradients(net, bf16=True)
    assert dtypes == {torch.float32}
    with attention.as_elsewhere(True):
        torchs, dtypes = gradients(net, bf16=True)
    assert dtypes == {torch.bfloat16}
    assert (ours - exact).norm() < 0.02 * exact.norm() and (ours - torchs).norm() < 0.02 * exact.norm()


def test_without_gradients_it_is_transformers_own() -> None:
    net = model()
    with Seen() as seen, torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        net(torch.arange(24).reshape(2, 12), use_cache=False)
    assert seen.dtypes == {torch.bfloat16}


def test_preflight_counts_it_for_a_cpu_alone() -> None:
    config = Config(task="gpt", model=QWEN)
    shapes = config.spec.full_batch(config.batch)
    there, here = (measure(config, 200, shapes, bf16=True, cpu=cpu).memory["activations"] for cpu in (False, True))
    assert here > there
    assert measure(config, 200, shapes, bf16=False, cpu=True).memory == measure(config, 200, shapes, bf16=False).memory


@pytest.mark.parametrize(("precision", "dtype"), [("no", torch.float32), ("bf16", torch.bfloat16)])
def test_muon_iterates_in_the_precision_that_was_found_fast(precision: str, dtype: torch.dtype) -> None:
    _, muon = make_optimizers(model(), OptimConfig(name="muon"), torch.device("cpu"), precision)
    assert isinstance(muon, Muon) and muon.dtype == dtype

"""Attention on a CPU: when training under bf16, attention runs in float32.

The backward pass of torch's flash attention for CPUs multiplies head by head, and in bf16 each of these small products goes through
oneDNN. For 62 rows of 32 tokens with 4 heads of width 64, forward and backward take 20 ms instead of 5; over all layers that was a fifth
of a step (docs/log.md). The products of the other layers stay in bf16.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward

_elsewhere: ContextVar[bool] = ContextVar("elsewhere", default=False)


def attention(
    module: torch.nn.Module, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor,
    attention_mask: torch.Tensor | None, **options: Any,
) -> tuple[torch.Tensor, None]:  # fmt: skip
    """The `sdpa` attention of transformers, but in float32 when a CPU trains under bf16.

    Args:
        query, key, value: (B, heads, T, width of a head).
        attention_mask: (B, 1, T, T), boolean, or float to be added.

    Returns:
        (B, T, heads, width of a head), and None in place of the attention weights.
    """
    trains_on_cpu = query.device.type == "cpu" and torch.is_autocast_enabled("cpu") and torch.is_grad_enabled()
    if not trains_on_cpu or torch.get_autocast_dtype("cpu") != torch.bfloat16 or _elsewhere.get():
        return sdpa_attention_forward(module, query, key, value, attention_mask, **options)
    if attention_mask is not None and attention_mask.is_floating_point():
        attention_mask = attention_mask.float()
    with torch.autocast("cpu", enabled=False):  # autocast would turn them into bf16 again
        out, _ = sdpa_attention_forward(module, query.float(), key.float(), value.float(), attention_mask, **options)
    return out.to(torch.bfloat16), None


@contextmanager
def as_elsewhere(elsewhere: bool) -> Iterator[None]:
    """Switch float32 attention off inside, for fake tensors that are on the CPU but stand for tensors of another device."""
    token = _elsewhere.set(elsewhere)
    try:
        yield
    finally:
        _elsewhere.reset(token)


AttentionInterface.register("sdpa", attention)

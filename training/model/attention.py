"""Attention on a CPU: under bf16 it is trained in float32.

The backward pass of torch's flash attention for CPUs multiplies head by head, and in bf16 each of these small products goes through
oneDNN: for 62 rows of 32 tokens with 4 heads of 64 both passes take 20 ms instead of 5, and over all layers that was a fifth of a step
(docs/log.md). The products of the other layers stay in bf16.
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
    """transformers' `sdpa`, in float32 where it is trained under bf16 on a CPU.

    Args:
        query, key, value: (B, heads, T, width of a head).
        attention_mask: (B, 1, T, T), boolean, or float to be added.
    """
    trained = query.device.type == "cpu" and torch.is_autocast_enabled("cpu") and torch.is_grad_enabled()
    if not trained or torch.get_autocast_dtype("cpu") != torch.bfloat16 or _elsewhere.get():
        return sdpa_attention_forward(module, query, key, value, attention_mask, **options)
    if attention_mask is not None and attention_mask.is_floating_point():
        attention_mask = attention_mask.float()
    with torch.autocast("cpu", enabled=False):  # which would make them bf16 again
        out, _ = sdpa_attention_forward(module, query.float(), key.float(), value.float(), attention_mask, **options)
    return out.to(torch.bfloat16), None


@contextmanager
def as_elsewhere(elsewhere: bool) -> Iterator[None]:
    """For a step on paper whose fake tensors, though they say CPU, stand for those of another device."""
    token = _elsewhere.set(elsewhere)
    try:
        yield
    finally:
        _elsewhere.reset(token)


AttentionInterface.register("sdpa", attention)

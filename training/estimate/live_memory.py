"""Counts, operation by operation, which memory is alive and what is computed; fake_step.py takes a step under it."""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Iterable
from functools import cache
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry, register_flop_formula, sdpa_backward_flop_count, sdpa_flop_count


@register_flop_formula(torch.ops.aten._scaled_dot_product_flash_attention_for_cpu)
def _attention(query: Any, key: Any, value: Any, *args: Any, out_shape: Any = None, **kwargs: Any) -> int:
    return int(sdpa_flop_count(query, key, value))


@register_flop_formula(torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward)
def _attention_backward(grad: Any, query: Any, key: Any, value: Any, *args: Any, out_shape: Any = None, **kwargs: Any) -> int:
    return int(sdpa_backward_flop_count(grad, query, key, value))


@cache
def _writes(operation: Any) -> bool:
    """Whether an operation writes numbers; views, empty tensors and queries do not."""
    schema = operation._schema
    view = schema.name.endswith("view") or any(r.alias_info is not None and not r.alias_info.is_write for r in schema.returns)
    tensors = any("Tensor" in str(r.type) for r in schema.returns) or schema.is_mutable
    return tensors and not view and "empty" not in schema.name


class LiveMemory(TorchDispatchMode):
    """Adds up the bytes of the storages that are alive, by part, and the FLOPs of the operations.

    torch's FlopCounterMode would keep what gradient checkpointing computes again from being freed, so only its formulas are used.

    Args:
        vocabulary: number of entries; an activation whose last dimension is this long counts as logits.

    Attributes:
        operations: how many kernels a GPU would start: one for each operation that writes something.
        moments: bytes alive, by part, when activations and logits were largest (`fullest`), and at the peaks before and after half of the
            layers' parameters have gradients (`early`, `late`).
        half_way: whether half of them have gradients; the caller sets it.
    """

    def __init__(self, vocabulary: int):
        super().__init__()
        self.vocabulary, self.default, self.half_way = vocabulary, "activations", False
        self.flops = self.operations = 0
        self.now, self.moments, self._most = Counter[str](), dict[str, Counter[str]](), dict[str, int]()
        self.kinds: weakref.WeakKeyDictionary[Any, list[str]] = weakref.WeakKeyDictionary()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operation and count its result."""
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        if formula := flop_registry.get(func._overloadpacket):
            self.flops += formula(*args, **kwargs, out_val=out)
        self.operations += _writes(func)
        for tensor in out if isinstance(out, tuple | list) else (out,):
            if isinstance(tensor, torch.Tensor):
                self._see(tensor)
        self._look()
        return out

    def _look(self) -> None:
        now = self.now
        self._note("late" if self.half_way else "early", now.total())
        self._note("fullest", now["activations"] + now["logits"])

    def _note(self, moment: str, bytes_: int) -> None:
        if bytes_ >= self._most.get(moment, 0):  # the later of equal ones: the second micro-batch meets the gradients of the first
            self._most[moment], self.moments[moment] = bytes_, self.now.copy()

    def _see(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        if storage in self.kinds:
            return
        logits = self.default == "activations" and tensor.ndim > 1 and tensor.shape[-1] == self.vocabulary
        kind, size = ["logits" if logits else self.default], storage.nbytes()
        self.kinds[storage] = kind
        self.now[kind[0]] += size
        weakref.finalize(storage, self._forget, kind, size)

    def _forget(self, kind: list[str], size: int) -> None:
        self.now[kind[0]] -= size

    def rename(self, tensors: Iterable[torch.Tensor], name: str) -> None:
        """Count these tensors under another part from here on."""
        for tensor in tensors:
            storage = tensor.untyped_storage()
            if (kind := self.kinds.get(storage)) and kind[0] != name:
                self.now[kind[0]] -= storage.nbytes()
                self.now[name] += storage.nbytes()
                kind[0] = name

    @property
    def at_peak(self) -> Counter[str]:
        """Bytes alive, by part, at the moment with the largest sum."""
        return max(self.moments.values(), key=Counter.total)

    def restart(self) -> None:
        """Look for the peak from here on."""
        self._most.clear()
        self.moments = {}
        self._look()

"""Optimizers, learning-rate schedules and the averaging of weights.

AdamW is torch's. Muon is our own, because torch's always iterates in bfloat16, which is many times slower than float32 on a CPU without
native bf16 (docs/log.md). Ours uses whichever dtype is fast, and orthogonalises all matrices of one shape together.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.distributed.tensor import DTensor, distribute_tensor
from transformers.pytorch_utils import Conv1D

from training.settings.config import OptimConfig, TrainConfig

# Coefficients of the quintic Newton-Schulz iteration (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon).
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)


class Muon(torch.optim.Optimizer):
    """Momentum, orthogonalised by Newton-Schulz: the update of each matrix gets singular values near one (Jordan et al. 2024).

    Updates are scaled by sqrt(max(1, rows / columns)) and weight decay is decoupled, as `torch.optim.Muon` does by default. Matrices of a
    group with `transposed` are stored as (in, out) instead of (out, in).

    Args:
        dtype: of the Newton-Schulz iteration.
    """

    def __init__(self, params: Any, lr: float, momentum: float = 0.95, weight_decay: float = 0.0, dtype: torch.dtype = torch.float32):
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "transposed": False})
        self.dtype = dtype

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:
        """Update every matrix that has a gradient."""
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            if not params:
                continue
            for p in params:
                if not self.state[p]:
                    self.state[p]["momentum_buffer"] = torch.zeros_like(p)
            gradients: list[torch.Tensor] = [p.grad for p in params]
            buffers = [self.state[p]["momentum_buffer"] for p in params]
            # One call for all matrices, because launching thousands of small kernels keeps a GPU waiting (docs/log.md).
            torch._foreach_lerp_(buffers, gradients, 1 - group["momentum"])
            ahead = torch._foreach_lerp(gradients, buffers, group["momentum"])  # Nesterov momentum
            torch._foreach_mul_(params, 1 - group["lr"] * group["weight_decay"])
            by_shape: dict[tuple[int, ...], list[int]] = defaultdict(list)
            for k, p in enumerate(params):
                by_shape[tuple(p.shape)].append(k)
            for (rows, columns), indices in by_shape.items():
                updates = orthogonalise(torch.stack([whole(ahead[k]) for k in indices]), self.dtype)  # (n, rows, columns)
                scale = group["lr"] * math.sqrt(max(1.0, columns / rows if group["transposed"] else rows / columns))
                matrices = [params[k] for k in indices]
                torch._foreach_add_(matrices, [like(p, u) for p, u in zip(matrices, updates.to(matrices[0].dtype))], alpha=-scale)


def orthogonalise(matrices: torch.Tensor, dtype: torch.dtype, steps: int = 5) -> torch.Tensor:
    """An approximation of the orthogonal matrix closest to each of `matrices` (n, rows, columns), in the same shape."""
    a, b, c = NEWTON_SCHULZ
    x = matrices.to(dtype)
    tall = x.shape[-2] > x.shape[-1]
    if tall:
        x = x.mT
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(steps):
        gram = x @ x.mT  # (n, k, k), k the smaller side
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x.mT if tall else x).contiguous()  # `_foreach_add_` is slow on strided matrices


def make_optimizers(
    model: torch.nn.Module, config: OptimConfig, device: torch.device, mixed_precision: str
) -> list[torch.optim.Optimizer]:  # fmt: skip
    """AdamW alone, or Muon for the hidden matrices and AdamW for the rest.

    Weight decay applies to weights of two or more dimensions, except embeddings of positions; biases and norms have none.

    Args:
        mixed_precision: the run's, with `auto` resolved (on a CPU, to bf16 only where that is fast). Under bf16, Muon iterates in bf16.
    """
    hidden: list[torch.nn.Parameter] = []
    hidden_transposed: list[torch.nn.Parameter] = []
    decayed, plain = [], []
    embeddings = {id(p) for m in model.modules() if isinstance(m, torch.nn.Embedding) for p in m.parameters()}
    transposed = {id(m.weight) for m in model.modules() if isinstance(m, Conv1D)}
    head = model.get_output_embeddings() if hasattr(model, "get_output_embeddings") else None
    embeddings |= {id(p) for p in head.parameters()} if head is not None else set()
    for name, p in model.named_parameters():
        if not p.requires_grad:
            continue
        if p.ndim < 2 or "position" in name or "wpe" in name or "relative_attention_bias" in name:
            plain.append(p)
        elif config.name == "muon" and p.ndim == 2 and id(p) not in embeddings:
            (hidden_transposed if id(p) in transposed else hidden).append(p)
        else:
            decayed.append(p)
    groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": plain, "weight_decay": 0.0}]
    adamw = torch.optim.AdamW(
        [g for g in groups if g["params"]], lr=config.learning_rate, betas=(config.beta1, config.beta2), eps=config.eps,
        fused=device.type in ("cpu", "cuda"),
    )  # fmt: skip
    optimizers: list[torch.optim.Optimizer] = [adamw]
    matrices = [g for g in ({"params": hidden}, {"params": hidden_transposed, "transposed": True}) if g["params"]]
    if matrices:
        dtype = torch.bfloat16 if device.type == "cuda" or mixed_precision == "bf16" else torch.float32
        optimizers.append(Muon(matrices, lr=config.muon_learning_rate, weight_decay=config.weight_decay, dtype=dtype))
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["peak"] = group["lr"]
    return optimizers


def rate(config: OptimConfig, step: int, progress: float) -> float:
    """The learning rate as a share of its peak.

    Args:
        step: optimizer steps done; the warmup counts them.
        progress: the share of the horizon that is done, 0 to 1; the decay follows it; `linear` and `cosine` fall from the warmup's end.

    Sources: inverse_sqrt is Vaswani et al. 2017; wsd is Hu et al. 2024 (MiniCPM).
    """
    if step < config.warmup_steps:
        return (step + 1) / config.warmup_steps
    final, progress = config.final_ratio, min(1.0, progress)
    warmup = progress * config.warmup_steps / max(1, step)  # the share of the horizon that it took: all of it, if the horizon is shorter
    since = (progress - warmup) / max(1 - warmup, 1e-9)  # of the rest, what is done
    if config.schedule == "constant":
        return 1.0
    if config.schedule == "inverse_sqrt":
        return math.sqrt(max(1, config.warmup_steps) / max(1, step))
    if config.schedule == "linear":
        return final + (1 - final) * (1 - since)
    if config.schedule == "cosine":
        return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * since))
    assert config.schedule == "wsd", config.schedule
    start = 1 - config.decay_share
    return 1.0 if progress <= start else final + (1 - final) * (1 - progress) / max(config.decay_share, 1e-9)


class Average:
    """An average of the weights over training: exponential, or the mean of the last part.

    After n updates the exponential decay is at most (1 + n) / (10 + n), as in TensorFlow's ExponentialMovingAverage, so that the random
    beginning does not weigh on a short run.

    Args:
        model: the model in training. If its weights are sharded, the average is sharded alike.
        updates: in a resumed run, the number of updates so far.
        start: in a resumed run, the average so far: one whole tensor for each parameter.
    """

    def __init__(self, model: torch.nn.Module, config: TrainConfig, updates: int = 0, start: list[torch.Tensor] | None = None):
        self.config, self.updates = config, updates
        self.weights = [p.detach().clone() for p in model.parameters()]
        for average, value in zip(self.weights, start or []):
            average.copy_(like(average, value))

    def due(self, step: int, progress: float) -> bool:
        """Whether the weights after this step go into the average."""
        if self.config.averaging == "ema":
            return True
        return progress >= 1 - self.config.average_share and step % self.config.average_every_steps == 0

    @torch.no_grad()
    def update(self, model: torch.nn.Module) -> None:
        """Add the model's present weights to the average."""
        n = self.updates
        share = 1 / (n + 1) if self.config.averaging == "last" else 1 - min(self.config.ema_decay, (1 + n) / (10 + n))
        for average, parameter in zip(self.weights, model.parameters()):
            average.lerp_(parameter.detach(), share)
        self.updates += 1

    @contextmanager
    def inside(self, model: torch.nn.Module) -> Iterator[None]:
        """Inside, the model has the average as its weights. Before the first update it keeps its own."""
        if self.updates:
            self._exchange(model)
        try:
            yield
        finally:
            if self.updates:
                self._exchange(model)

    @torch.no_grad()
    def _exchange(self, model: torch.nn.Module) -> None:
        for average, parameter in zip(self.weights, model.parameters()):
            trained = parameter.detach().clone()
            parameter.copy_(average)
            average.copy_(trained)


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """The complete tensor of a sharded one, which all processes must call for together; any other tensor unchanged."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def like(parameter: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """`value`, a complete tensor that every process has, moved to the device of `parameter` and sharded like it."""
    value = value.to(parameter.device)
    if not isinstance(parameter, DTensor):
        return value
    return distribute_tensor(value, parameter.device_mesh, parameter.placements, src_data_rank=None)

"""One training step of a model of fake tensors (torch's `FakeTensorMode`: shapes without memory), and what it costs, in bytes.

live_memory.py adds up, at every operation, what is alive; footprint.py makes a footprint of the result.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple
from unittest.mock import patch

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from training.estimate.facts import MEMORY_PARTS
from training.estimate.live_memory import LiveMemory
from training.model.attention import as_elsewhere
from training.model.build import checkpoint_activations, class_error, fresh, parameters_by_part
from training.model.optim import make_optimizers
from training.settings.config import Config
from training.tasks.base import Task

Shapes = dict[str, tuple[int, ...]]  # of a micro-batch's tensors, by name


class StepCost(NamedTuple):
    """What a step of a model, or of a few of its layers, costs.

    Attributes:
        sizes: numbers of parameters by part, in the `vocabulary`'s rows, in all (`every`, frozen ones too), in all `layers`, and in the
            `largest_layer`.
        moments: bytes by part at the moments of `LiveMemory`, and while the optimizer works (`stepping`).
        work: `flops` and `operations` of a micro-batch's passes, and `update_operations` of the optimizers.
    """

    sizes: dict[str, int]
    moments: dict[str, dict[str, int]]
    work: dict[str, int]


def take_step(config: Config, task: Task, hf_config: Any, vocabulary: int, shapes: Shapes, bf16: bool, cpu: bool) -> StepCost:
    """Take one step of the model that this transformers config describes, with as many layers as it says."""
    with FakeTensorMode(), without_value_checks(), as_elsewhere(not cpu), LiveMemory(vocabulary) as alive:
        alive.default = "weights"
        net = fresh(config.task, hf_config).train()
        if config.train.gradient_checkpointing:
            checkpoint_activations(net)
        sizes = sizes_of(net, vocabulary)
        optimizers = make_optimizers(net, config.optim, torch.device("cpu"), "bf16" if bf16 else "no")
        # Sizes of the layers' parameters that have no gradient yet.
        missing = {id(p): p.numel() for layer in repeated_layers(net) for p in layer.parameters() if p.requires_grad}
        half = sum(missing.values()) // 2

        def has_gradient(p: torch.Tensor) -> None:
            alive.rename([p.grad] if p.grad is not None else [], "gradients")
            missing.pop(id(p), None)
            alive.half_way = sum(missing.values()) <= half

        for p in (p for p in net.parameters() if p.requires_grad):
            p.register_post_accumulate_grad_hook(has_gradient)
        alive.default = "activations"
        batch = {k: torch.zeros(size, dtype=torch.long) for k, size in shapes.items()}
        alive.restart()
        building = alive.operations
        turns = min(2, config.train.gradient_accumulation_steps)  # the second micro-batch meets the gradients of the first
        for _ in range(turns):
            try:
                with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
                    loss, _ = task.loss(net, batch, config.train.label_smoothing)
                loss.backward()
            except Exception as error:  # some classes find out only here that their shapes do not fit
                raise class_error(hf_config.model_type, error) from None
            del loss
        passes, work = alive.moments, {"flops": alive.flops // turns, "operations": (alive.operations - building) // turns}
        before = alive.operations
        alive.restart()
        for optimizer in optimizers:
            optimizer.step()
        work["update_operations"] = alive.operations - before
        state = [v for o in optimizers for s in o.state.values() for v in s.values() if isinstance(v, torch.Tensor)]
        alive.rename(state, "optimizer")
        weights, gradients, held = (alive.now[k] for k in ("weights", "gradients", "optimizer"))
        working = alive.at_peak.total() - weights - gradients  # the optimizer's state and its temporary tensors
    moments = {name: {k: m[k] for k in MEMORY_PARTS} | {"optimizer": held} for name, m in passes.items()}
    moments["stepping"] = {**dict.fromkeys(MEMORY_PARTS, 0), "weights": weights, "gradients": gradients, "optimizer": working}
    return StepCost(sizes, moments, work)


def sizes_of(net: Any, vocabulary: int) -> dict[str, int]:
    """The sizes of a `StepCost`."""
    parameters, of_vocabulary = parameters_by_part(net, vocabulary)
    layers = [sum(p.numel() for p in layer.parameters()) for layer in repeated_layers(net)]
    every = sum(p.numel() for p in net.parameters())
    return {**parameters, "vocabulary": of_vocabulary, "every": every, "layers": sum(layers), "largest_layer": max(layers, default=0)}


def repeated_layers(net: torch.nn.Module) -> list[torch.nn.Module]:
    """The repeated layers of a model: the children of its outermost module lists."""
    layers: list[torch.nn.Module] = []
    for child in net.children():
        layers += list(child) if isinstance(child, torch.nn.ModuleList) else repeated_layers(child)
    return layers


@contextmanager
def without_value_checks() -> Iterator[None]:
    """Keep transformers from asking for values in two places, as fake tensors have none.

    It looks for packed texts, to build their mask: ours are not packed so. And up to 5.17 it throws the die of layer drop, which is off.
    """
    rand = torch.rand

    def no_die(*size: Any, **options: Any) -> Any:
        return 1.0 if size == ([],) else rand(*size, **options)

    with (
        patch("transformers.masking_utils.find_packed_sequence_indices", lambda *_: None, create=True),
        patch("torch.rand", no_die),
    ):
        yield

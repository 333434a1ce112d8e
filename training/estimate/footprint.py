"""What a training step takes, worked out without running it: parameters by part, peak memory by part, FLOPs and operations.

A model of fake tensors takes one step (fake_step.py) with the task's own loss and the run's own optimizers, so the answer holds for any
model class, and for models too large for this machine. Sizes are in bytes.

A deep model takes the step at two small depths; every number is then extrapolated, layer by layer, to the full depth.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch

from training.estimate.fake_step import Shapes, StepCost, sizes_of, take_step
from training.model.build import fresh, model_config
from training.model.tokenizer import StandIn
from training.settings.config import Config
from training.tasks.base import task_class

DEPTHS = ("num_hidden_layers", "encoder_layers", "decoder_layers", "num_layers", "num_encoder_layers", "num_decoder_layers")

DEEP, FEW = 12, (2, 4)  # models of more layers are measured at these two depths; even, as some classes alternate two kinds of layer

T = TypeVar("T")


@dataclass(frozen=True)
class Footprint:
    """What a step takes in one process.

    Attributes:
        parameters: numbers of parameters by part: embeddings, attention, feed_forward, head (0 if tied), other, total.
        vocabulary: how many of these are in the rows of the vocabulary's entries, in embeddings and head.
        memory: bytes at the peak by part: weights, gradients, optimizer, average, activations, logits (with the loss).
        moments: the same at each moment that may be the peak, depending on the number of devices; one of them is `memory`.
        flops: FLOPs of matrix products and attention (2 a multiply-add) in one micro-batch's forward and backward pass.
        operations, update_operations: how many kernels a GPU starts for these passes, and for the optimizers' step.
        targets: how many target tokens the micro-batch has at most.
        layers, largest_layer: numbers of parameters of all repeated layers, and of the largest one.
        shape: `width`, and `layers` of the deeper side; None where the config class has other names for them.
        bf16: whether the passes run under autocast.
        checkpointing: whether activations are checkpointed.
    """

    parameters: dict[str, int]
    vocabulary: int
    memory: dict[str, int]
    moments: tuple[dict[str, int], ...]
    flops: int
    operations: int
    update_operations: int
    targets: int
    layers: int
    largest_layer: int
    shape: dict[str, int | None]
    bf16: bool
    checkpointing: bool

    @property
    def peak(self) -> int:
        """Bytes of all parts together."""
        return sum(self.memory.values())

    def operations_of_step(self, accumulation: int) -> int:
        """How many kernels a GPU starts for this many micro-batches and the update after them."""
        return self.operations * accumulation + self.update_operations

    @property
    def vocabulary_bytes(self) -> int:
        """Bytes that the vocabulary causes: its rows with their gradients, optimizer state and average, and the logits."""
        whole = sum(self.memory[k] for k in ("weights", "gradients", "optimizer", "average"))
        return round(whole * self.vocabulary / max(1, self.parameters["total"])) + self.memory["logits"]

    def on_each(self, devices: int, sharded: bool) -> dict[str, int]:
        """Bytes on each of several devices, by part.

        DDP keeps everything on each device, and its buckets hold the gradients a second time. FSDP divides weights, gradients, optimizer
        and average. While a layer computes, its parameters and those outside the layers are gathered, the larger of the two with
        gradients; that counts as activations. Activations are not divided, so the peak can move from the end of the backward pass to
        its beginning. torch's FSDPMemTracker agrees within a tenth (benchmarks/fsdp_memory.py).
        """
        if devices == 1:
            return dict(self.memory)
        if not sharded:
            return {**self.memory, "gradients": self.memory["gradients"] + 4 * self.parameters["total"]}
        rest = self.parameters["total"] - self.layers
        together = 4 * (rest + self.largest_layer + max(rest, self.largest_layer))
        each = [
            {
                k: n if k in ("activations", "logits") else -(-n // devices)
                for k, n in {**m, "activations": m["activations"] + together}.items()
            }
            for m in self.moments
        ]
        return max(each, key=lambda m: sum(m.values()))


def heaviest(batches: list[dict[str, Any]]) -> Shapes:
    """The shapes of the micro-batch that takes most memory: most labels, so most logits, then the longest rows."""
    heaviest_batch = max(batches, key=lambda b: (b["labels"].size, b["labels"].shape[1] + b["input_ids"].shape[1]))
    return {k: v.shape for k, v in heaviest_batch.items() if k != "rows"}


class FootprintCache(dict[str, Any]):
    """Footprints by what they depend on: a preflight asks for the same one several times. The oldest are dropped."""

    MOST = 64

    def __call__(self, key: str, work: Callable[[], T]) -> T:
        """The cached answer, or that of `work`."""
        if key not in self:
            while len(self) >= self.MOST:
                del self[next(iter(self))]
            self[key] = work()
        answer: T = self[key]
        return answer


CACHE = FootprintCache()


def measure(config: Config, vocabulary: int, shapes: Shapes, bf16: bool, cpu: bool = False) -> Footprint:
    """The footprint of a run's step with micro-batches of these shapes.

    Args:
        vocabulary: number of entries of the tokenizer.
        bf16: whether the passes run under autocast to bf16 (fp16 takes as much); float32 otherwise.
        cpu: whether it is a CPU, where attention stays in float32.

    Raises:
        ConfigError: if the model section is wrong.
    """
    key = repr((config.task, config.model, config.batch, config.optim, config.train, vocabulary, shapes, bf16, cpu))
    return CACHE(key, lambda: _measure(config, vocabulary, shapes, bf16, cpu))


def _measure(config: Config, vocabulary: int, shapes: Shapes, bf16: bool, cpu: bool) -> Footprint:
    tokenizer: Any = StandIn(vocabulary)
    fixed = replace(config, batch=replace(config.batch, packing="always"))  # `auto` would ask for sample texts
    task = task_class(config.task)(fixed, tokenizer, [])
    hf_config = model_config(config.task, config.model, tokenizer, task.context)

    def step(cut_config: Any) -> StepCost:
        return take_step(config, task, cut_config, vocabulary, shapes, bf16, cpu)

    sizes, moments, work = _extrapolated(step, config.task, hf_config, vocabulary) or step(hf_config)
    average = 4 * sizes["every"] if config.train.averaging != "none" else 0
    times = tuple(m | {"average": average} for m in moments.values())
    parameters = {k: n for k, n in sizes.items() if k not in ("vocabulary", "every", "layers", "largest_layer")}
    return Footprint(
        parameters, sizes["vocabulary"], max(times, key=lambda m: sum(m.values())), times, **work,
        targets=config.spec.count_targets(shapes["labels"]), layers=sizes["layers"], largest_layer=sizes["largest_layer"],
        shape=_shape(hf_config), bf16=bf16, checkpointing=config.train.gradient_checkpointing,
    )  # fmt: skip


def _extrapolated(step: Callable[[Any], StepCost], task: str, hf_config: Any, vocabulary: int) -> StepCost | None:
    """The cost of a deep model's step, from its cost with FEW layers; None if it is not deep, or its layers are not alike.

    Every number grows evenly with the layers, at each moment by itself, so another moment may become the peak. The parameters of the
    whole model are counted without the step; they show whether its layers are alike.
    """
    deep = {n for name in DEPTHS if type(n := getattr(hf_config, name, None)) is int and n > DEEP}
    if len(deep) != 1:
        return None
    depth = deep.pop()
    try:
        few, more = (step(_shallower(hf_config, depth, layers)) for layers in FEW)
    except Exception:  # a class that cannot be cut reports its errors at full depth
        return None

    def on(a: dict[str, int], b: dict[str, int]) -> dict[str, int]:
        return {k: a[k] + (b[k] - a[k]) * (depth - FEW[0]) // (FEW[1] - FEW[0]) for k in a}

    def count() -> dict[str, int]:
        with torch.device("meta"):
            return sizes_of(fresh(task, hf_config), vocabulary)

    sizes = CACHE(f"sizes {task} {hf_config!r}", count)
    if on(few.sizes, more.sizes) != sizes or few.moments.keys() != more.moments.keys():
        return None
    moments = {name: on(few.moments[name], more.moments[name]) for name in few.moments}
    return StepCost(sizes, moments, on(few.work, more.work))


def _shallower(hf_config: Any, depth: int, layers: int) -> Any:
    """A copy of the transformers config with `layers` wherever it has `depth`."""
    small = copy.deepcopy(hf_config)
    for key, value in hf_config.to_dict().items():
        if isinstance(value, list) and len(value) == depth:  # one entry a layer
            setattr(small, key, value[:layers])
    for name in DEPTHS:
        if getattr(hf_config, name, None) == depth:
            setattr(small, name, layers)
    return small


def _shape(config: Any) -> dict[str, int | None]:
    """Width and depth of a transformers config, under whatever names its class has for them."""
    depths = ("num_hidden_layers", "encoder_layers", "decoder_layers", "num_decoder_layers")
    layers = [n for name in depths if type(n := getattr(config, name, None)) is int]
    width = getattr(config, "hidden_size", None)
    return {"width": width if type(width) is int else None, "layers": max(layers, default=None)}


def largest_batch(of: Callable[[int], int], now: int, available: int) -> int:
    """The largest micro-batch (in rows, or tokens for translation) that stays within `available` bytes; 0 if none does.

    Memory grows evenly with the batch, so two footprints give the size; further ones confirm it.

    Args:
        of: gives the bytes that a micro-batch of a size takes.
        now: the size in the config.
    """
    small, large = of(now), of(2 * now)
    each = max(1.0, (large - small) / now)
    size = int(now + (available - small) / each)
    while size > 0 and of(size) > available:
        size = int(0.9 * size)
    return max(0, size)

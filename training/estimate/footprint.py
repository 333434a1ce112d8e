"""What a training step takes, worked out without running it: parameters by part, peak memory by part, FLOPs and operations.

The model is built of fake tensors (torch's `FakeTensorMode`: shapes without memory) and takes one step with the task's
own loss and the run's own optimizers; at every operation, what is alive is added up. So the answer is right for any model
class, a model too large for the machine included. Bytes throughout. B: rows, T: tokens, V: vocabulary.

Of a deep model only a few layers take the step, at two depths; what one more layer adds is carried on to the full depth.
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

DEEP, FEW = 12, (2, 4)  # layers from beyond which a model is measured with fewer, and with how many; even, as classes alternate in twos

T = TypeVar("T")


@dataclass(frozen=True)
class Footprint:
    """Of one process.

    Attributes:
        parameters: numbers of parameters: embeddings, attention, feed_forward, head (0 if tied), other, total.
        vocabulary: of these, the entries' rows in the embeddings and the head.
        memory: bytes at the peak by part: weights, gradients, optimizer, average, activations, logits (with the loss).
        moments: the same at every moment that is the peak on some number of devices; one is `memory`.
        flops: of the forward and backward pass of one micro-batch (2 a multiply-add), matrix products and attention.
        operations, update_operations: kernels that a GPU starts for these passes, and for the optimizers' step.
        targets: tokens that the micro-batch predicts, if all are.
        layers, largest_layer: parameters of all repeated layers, and of the largest.
        shape: `width`, and `layers` of the deeper side, as the class has them with its defaults; None where it names them otherwise.
        bf16: under autocast.
        checkpointing: with gradient checkpointing.
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
        """Bytes in all."""
        return sum(self.memory.values())

    def operations_of_step(self, accumulation: int) -> int:
        """Kernels that a GPU starts for so many micro-batches and the update after them."""
        return self.operations * accumulation + self.update_operations

    @property
    def vocabulary_bytes(self) -> int:
        """Bytes that the vocabulary is to blame for: its rows with gradients and optimizer, and the logits."""
        whole = sum(self.memory[k] for k in ("weights", "gradients", "optimizer", "average"))
        return round(whole * self.vocabulary / max(1, self.parameters["total"])) + self.memory["logits"]

    def on_each(self, devices: int, sharded: bool) -> dict[str, int]:
        """The memory of each of several devices.

        DDP keeps everything on each and its buckets hold the gradients once more. FSDP divides weights, gradients, optimizer and
        average; while a layer computes, it and what is in no layer are put together, with one of them as gradients too. That is
        counted with the activations. Nobody divides those, so the peak can move from the end of the backward pass to its beginning.
        torch's FSDPMemTracker says the same within a tenth (benchmarks/fsdp_memory.py).
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
    """The shapes of the micro-batch that takes most: the widest logits, then the longest rows."""
    found = max(batches, key=lambda b: (b["labels"].size, b["labels"].shape[1] + b["input_ids"].shape[1]))
    return {k: v.shape for k, v in found.items() if k != "rows"}


class FootprintCache(dict[str, Any]):
    """What was worked out before, by question: a preflight asks for the same footprint several times."""

    MOST = 64

    def __call__(self, question: str, work: Callable[[], T]) -> T:
        """The answer, worked out if it is not known."""
        if question not in self:
            while len(self) >= self.MOST:
                del self[next(iter(self))]
            self[question] = work()
        answer: T = self[question]
        return answer


CACHE = FootprintCache()


def measure(config: Config, vocabulary: int, shapes: Shapes, bf16: bool, cpu: bool = False) -> Footprint:
    """The footprint of a run's step with micro-batches of these shapes.

    Args:
        vocabulary: entries of the tokenizer.
        bf16: under autocast to bf16 (fp16 takes as much); float32 otherwise.
        cpu: on a CPU, where attention stays in float32.

    Raises:
        ConfigError: if the model section is wrong.
    """
    asked = repr((config.task, config.model, config.batch, config.optim, config.train, vocabulary, shapes, bf16, cpu))
    return CACHE(asked, lambda: _measure(config, vocabulary, shapes, bf16, cpu))


def _measure(config: Config, vocabulary: int, shapes: Shapes, bf16: bool, cpu: bool) -> Footprint:
    tokenizer: Any = StandIn(vocabulary)
    fixed = replace(config, batch=replace(config.batch, packing="always"))  # `auto` would ask for sample texts
    task = task_class(config.task)(fixed, tokenizer, [])
    found = model_config(config.task, config.model, tokenizer, task.context)

    def step(kind: Any) -> StepCost:
        return take_step(config, task, kind, vocabulary, shapes, bf16, cpu)

    sizes, moments, work = _extrapolated(step, config.task, found, vocabulary) or step(found)
    average = 4 * sizes["every"] if config.train.averaging != "none" else 0
    times = tuple(m | {"average": average} for m in moments.values())
    parameters = {k: n for k, n in sizes.items() if k not in ("vocabulary", "every", "layers", "largest_layer")}
    return Footprint(
        parameters, sizes["vocabulary"], max(times, key=lambda m: sum(m.values())), times, **work,
        targets=config.spec.count_targets(shapes["labels"]), layers=sizes["layers"], largest_layer=sizes["largest_layer"],
        shape=_shape(found), bf16=bf16, checkpointing=config.train.gradient_checkpointing,
    )  # fmt: skip


def _extrapolated(step: Callable[[Any], StepCost], task: str, found: Any, vocabulary: int) -> StepCost | None:
    """The step of a deep model from those of FEW of its layers; None if it is not deep, or its layers are not alike.

    Every number grows evenly with the layers, each moment by itself; which of them is the peak may change. The parameters of the whole
    model are counted, and tell whether its layers are alike.
    """
    deep = {n for name in DEPTHS if type(n := getattr(found, name, None)) is int and n > DEEP}
    if len(deep) != 1:
        return None
    depth = deep.pop()
    try:
        few, more = (step(_shallower(found, depth, layers)) for layers in FEW)
    except Exception:  # a class that cannot be cut shows its own mistakes at its full depth
        return None

    def on(a: dict[str, int], b: dict[str, int]) -> dict[str, int]:
        return {k: a[k] + (b[k] - a[k]) * (depth - FEW[0]) // (FEW[1] - FEW[0]) for k in a}

    def count() -> dict[str, int]:
        with torch.device("meta"):
            return sizes_of(fresh(task, found), vocabulary)

    sizes = CACHE(f"sizes {task} {found!r}", count)
    if on(few.sizes, more.sizes) != sizes or few.moments.keys() != more.moments.keys():
        return None
    moments = {name: on(few.moments[name], more.moments[name]) for name in few.moments}
    return StepCost(sizes, moments, on(few.work, more.work))


def _shallower(found: Any, depth: int, layers: int) -> Any:
    """The config with so many layers wherever it has `depth`."""
    small = copy.deepcopy(found)
    for key, value in found.to_dict().items():
        if isinstance(value, list) and len(value) == depth:  # a kind for each layer
            setattr(small, key, value[:layers])
    for name in DEPTHS:
        if getattr(found, name, None) == depth:
            setattr(small, name, layers)
    return small


def _shape(config: Any) -> dict[str, int | None]:
    """Width and depth of a transformers config, by whatever name its class has for them."""
    depths = ("num_hidden_layers", "encoder_layers", "decoder_layers", "num_decoder_layers")
    layers = [n for name in depths if type(n := getattr(config, name, None)) is int]
    width = getattr(config, "hidden_size", None)
    return {"width": width if type(width) is int else None, "layers": max(layers, default=None)}


def largest_batch(of: Callable[[int], int], now: int, available: int) -> int:
    """The largest micro-batch (rows, or tokens of translation) that stays within `available` bytes; 0 if none does.

    Memory grows evenly with the batch, so two footprints tell; a third makes sure.

    Args:
        of: bytes that a micro-batch of some size takes.
        now: the size asked for.
    """
    small, large = of(now), of(2 * now)
    each = max(1.0, (large - small) / now)
    size = int(now + (available - small) / each)
    while size > 0 and of(size) > available:
        size = int(0.9 * size)
    return max(0, size)

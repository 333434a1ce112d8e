"""What a training step takes, worked out without running it: parameters by part, peak memory by part, FLOPs.

The model is built of fake tensors (torch's `FakeTensorMode`: shapes without memory) and takes one step with the task's
own loss and the run's own optimizers; at every operation, what is alive is added up. So the answer is right for any model
class, a model too large for the machine included. Bytes throughout. B: rows, T: tokens, V: vocabulary.
"""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any
from unittest.mock import patch

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry, register_flop_formula, sdpa_backward_flop_count, sdpa_flop_count

from training import model as models
from training.config import Config
from training.optim import make_optimizers
from training.tasks.gpt import Gpt
from training.tasks.translation import Translation

Shapes = dict[str, tuple[int, ...]]  # of a micro-batch, as `make_batches` makes it
PARTS = ("weights", "gradients", "optimizer", "average", "activations", "logits")


@register_flop_formula(torch.ops.aten._scaled_dot_product_flash_attention_for_cpu)
def _attention(query: Any, key: Any, value: Any, *args: Any, out_shape: Any = None, **kwargs: Any) -> int:
    return int(sdpa_flop_count(query, key, value))


@register_flop_formula(torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward)
def _attention_backward(grad: Any, query: Any, key: Any, value: Any, *args: Any, out_shape: Any = None, **kwargs: Any) -> int:
    return int(sdpa_backward_flop_count(grad, query, key, value))


@dataclass(frozen=True)
class Footprint:
    """Of one process.

    Attributes:
        parameters: numbers of parameters: embeddings, attention, feed_forward, head (0 if tied), other, total.
        vocabulary: of these, the entries' rows in the embeddings and the head.
        memory: bytes at the peak by part: weights, gradients, optimizer, average, activations, logits (with the loss).
        flops: of the forward and backward pass of one micro-batch (2 a multiply-add), matrix products and attention.
        targets: tokens that the micro-batch predicts, if all are.
        layers, largest_layer: parameters of all repeated layers, and of the largest.
    """

    parameters: dict[str, int]
    vocabulary: int
    memory: dict[str, int]
    flops: int
    targets: int
    layers: int
    largest_layer: int

    @property
    def peak(self) -> int:
        """Bytes in all."""
        return sum(self.memory.values())

    @property
    def vocabulary_bytes(self) -> int:
        """Bytes that the vocabulary is to blame for: its rows with gradients and optimizer, and the logits."""
        whole = sum(self.memory[k] for k in ("weights", "gradients", "optimizer", "average"))
        return round(whole * self.vocabulary / max(1, self.parameters["total"])) + self.memory["logits"]

    def on_each(self, devices: int, sharded: bool) -> dict[str, int]:
        """The memory of each of several devices.

        DDP keeps everything on each and its buckets hold the gradients once more. FSDP divides weights, gradients, optimizer and
        average; while a layer computes, it and what is in no layer are put together, with one of them as gradients too. That is
        counted with the activations.
        """
        if devices == 1:
            return dict(self.memory)
        if not sharded:
            return {**self.memory, "gradients": self.memory["gradients"] + 4 * self.parameters["total"]}
        shared = {k: -(-self.memory[k] // devices) for k in ("weights", "gradients", "optimizer", "average")}
        rest = self.parameters["total"] - self.layers
        together = 4 * (rest + self.largest_layer + max(rest, self.largest_layer))
        return {**self.memory, **shared, "activations": self.memory["activations"] + together}


class Alive(TorchDispatchMode):
    """Adds up the storages that are alive, by what they are for, and the FLOPs of the operations.

    (torch's FlopCounterMode keeps what gradient checkpointing computes again from being freed, so its formulas are used here.)

    Args:
        vocabulary: a tensor whose last side is this long is called logits.
    """

    def __init__(self, vocabulary: int):
        super().__init__()
        self.vocabulary, self.default = vocabulary, "activations"
        self.now, self.at_peak, self.peak, self.flops = Counter[str](), Counter[str](), 0, 0
        self.kinds: weakref.WeakKeyDictionary[Any, list[str]] = weakref.WeakKeyDictionary()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operation and count what it made."""
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        if formula := flop_registry.get(func._overloadpacket):
            self.flops += formula(*args, **kwargs, out_val=out)
        for tensor in out if isinstance(out, tuple | list) else (out,):
            if isinstance(tensor, torch.Tensor):
                self._see(tensor)
        total = self.now.total()
        if total > self.peak:
            self.peak, self.at_peak = total, self.now.copy()
        return out

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
        """From here on, these count under another name."""
        for tensor in tensors:
            storage = tensor.untyped_storage()
            if (kind := self.kinds.get(storage)) and kind[0] != name:
                self.now[kind[0]] -= storage.nbytes()
                self.now[name] += storage.nbytes()
                kind[0] = name

    def restart(self) -> None:
        """Look for the peak from here on."""
        self.peak, self.at_peak = self.now.total(), self.now.copy()


class Standin:
    """A tokenizer that has a size and special ids, and nothing else."""

    bos_token_id, eos_token_id, pad_token_id = 0, 2, 1
    unk_token_id = 3

    def __init__(self, size: int):
        self.size = size

    def __len__(self) -> int:
        return self.size


def full_batch(config: Config) -> Shapes:
    """The largest micro-batch that the `batch` section allows: every row as long as can be."""
    b = config.batch
    if config.task == "gpt":
        return {"input_ids": (b.micro_batch_size, b.block_size), "labels": (b.micro_batch_size, b.block_size)}
    rows = max(1, b.tokens_per_batch // max(b.max_source_length, b.max_target_length))
    source = (rows, b.max_source_length)
    return {"input_ids": source, "attention_mask": source, "labels": (rows, b.max_target_length)}


def heaviest(batches: list[dict[str, Any]]) -> Shapes:
    """The shapes of the micro-batch that takes most: the widest logits, then the longest rows."""
    found = max(batches, key=lambda b: (b["labels"].size, b["labels"].shape[1] + b["input_ids"].shape[1]))
    return {k: v.shape for k, v in found.items() if k != "rows"}


def measure(config: Config, vocabulary: int, shapes: Shapes, bf16: bool) -> Footprint:
    """The footprint of a run's step with micro-batches of these shapes.

    Args:
        vocabulary: entries of the tokenizer.
        bf16: under autocast to bf16 (fp16 takes as much); float32 otherwise.

    Raises:
        ConfigError: if the model section is wrong.
    """
    standin: Any = Standin(vocabulary)
    tasks: dict[str, Callable[..., Gpt | Translation]] = {"gpt": Gpt, "translation": Translation}
    fixed = replace(config, batch=replace(config.batch, packing="always"))  # which would ask for sample texts
    task = tasks[config.task](fixed, standin, [])
    found = models.model_config(config.task, config.model, standin, task.context)
    with FakeTensorMode(), _values_unasked(), Alive(vocabulary) as alive:
        alive.default = "weights"
        net = models.fresh(config.task, found).train()
        if config.train.gradient_checkpointing:
            models.checkpoint_activations(net)
        parameters, of_vocabulary = models.by_part(net, vocabulary)
        optimizers = make_optimizers(net, config.optim, torch.device("cpu"))
        for p in (p for p in net.parameters() if p.requires_grad):
            p.register_post_accumulate_grad_hook(lambda p: alive.rename([p.grad] if p.grad is not None else [], "gradients"))
        batch = {k: torch.zeros(size, dtype=torch.long) for k, size in shapes.items()}
        alive.default = "activations"
        alive.restart()
        turns = min(2, config.train.gradient_accumulation_steps)  # the second micro-batch meets the gradients of the first
        for _ in range(turns):
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
                loss, _ = task.loss(net, batch, config.train.label_smoothing)
            loss.backward()
            del loss
        passes, flops = alive.at_peak, alive.flops // turns
        alive.restart()
        for optimizer in optimizers:
            optimizer.step()
        state = [v for o in optimizers for s in o.state.values() for v in s.values() if isinstance(v, torch.Tensor)]
        alive.rename(state, "optimizer")
        held, stepping = alive.now["optimizer"], alive.at_peak
    weights = sum(4 * p.numel() for p in net.parameters())
    average = weights if config.train.averaging != "none" else 0
    extra = stepping.total() - alive.now["weights"] - alive.now["gradients"]  # moments, and what the step works with
    memory = {k: passes[k] for k in PARTS} | {"optimizer": held, "average": average}
    if extra > held + passes["activations"] + passes["logits"]:  # with very small batches the optimizer has the peak
        memory |= {"gradients": alive.now["gradients"], "optimizer": extra, "activations": 0, "logits": 0}
    layers = _layers(net)
    return Footprint(parameters, of_vocabulary, memory, flops, _targets(config.task, shapes), sum(layers), max(layers, default=0))


def _layers(net: torch.nn.Module) -> list[int]:
    """Parameters of each repeated layer: the children of module lists, of the outermost where they are nested."""
    found: list[int] = []
    for child in net.children():
        if isinstance(child, torch.nn.ModuleList):
            found += [sum(p.numel() for p in layer.parameters()) for layer in child]
        else:
            found += _layers(child)
    return found


@contextmanager
def _values_unasked() -> Iterator[None]:
    """transformers asks for values in two places, and fake tensors have none.

    For packed texts, of which a mask would be made: ours are never so. And, up to 5.17, for the die of layer drop, which is off.
    """
    rand = torch.rand

    def no_die(*size: Any, **options: Any) -> Any:
        return 1.0 if size == ([],) else rand(*size, **options)

    with patch("transformers.masking_utils.find_packed_sequence_indices", lambda *_: None, create=True), patch("torch.rand", no_die):
        yield


def _targets(task: str, shapes: Shapes) -> int:
    rows, length = shapes["labels"]
    return rows * (length - 1 if task == "gpt" else length)


def largest_batch(of: Callable[[int], Footprint], now: int, available: int) -> int:
    """The largest micro-batch (rows, or tokens of translation) whose peak stays within `available` bytes; 0 if none does.

    Memory grows evenly with the batch, so two footprints tell; a third makes sure.

    Args:
        of: the footprint for a micro-batch of some size.
        now: the size asked for.
    """
    small, large = of(now), of(2 * now)
    each = max(1.0, (large.peak - small.peak) / now)
    size = int(now + (available - small.peak) / each)
    while size > 0 and of(size).peak > available:
        size = int(0.9 * size)
    return max(0, size)

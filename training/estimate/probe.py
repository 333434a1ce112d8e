"""How long a run will take: a few of its own steps are done for real, and everything around them is timed once, in seconds.

The weights do not change, as the probe's optimizers have a learning rate of zero.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from transformers import PreTrainedModel

from training.base.errors import Stopped
from training.base.files import disk_error
from training.corpus.batches import Batch, to_tensors
from training.model.optim import make_optimizers
from training.settings.config import Config
from training.setup.data import Data
from training.tasks.base import Task, generate

MICRO_BATCHES = 6  # how many are timed, spread evenly over all sizes

ENOUGH = 20.0  # seconds after which no further one is timed

GENERATED = 12  # tokens that are generated to time generation


@dataclass(frozen=True)
class Probe:
    """Seconds that the parts of a run take on this device.

    Attributes:
        micro_batch: the mean forward and backward pass.
        optimizer: clipping and the optimizers' step.
        deal: reading and tokenizing the rows of a micro-batch; 0 if loader workers do it meanwhile.
        evaluate_loss, evaluate_texts: the two parts of one evaluation.
        save: writing one checkpoint.
    """

    micro_batch: float
    optimizer: float
    deal: float
    evaluate_loss: float
    evaluate_texts: float
    save: float

    def step(self, accumulation: int) -> float:
        """Seconds of one optimizer step with its micro-batches."""
        return accumulation * (self.micro_batch + self.deal) + self.optimizer

    @property
    def evaluation(self) -> float:
        """Seconds of one evaluation."""
        return self.evaluate_loss + self.evaluate_texts

    def as_dict(self) -> dict[str, float]:
        """The seconds as preflight.json has them."""
        return {k: round(v, 6) for k, v in asdict(self).items()}


def run(
    config: Config, data: Data, net: PreTrainedModel, device: torch.device, progress: Callable[[float], None] = lambda share: None
) -> Probe | None:
    """Time some of the run's steps, the parts of an evaluation, and a save; None if every pair is too long for a batch.

    Args:
        progress: called with the share that is done, from 0 to 1.
    """
    began = time.perf_counter()
    batches, _ = data.task.make_batches(data.sample, np.random.default_rng(config.seed))
    if not batches:
        return None
    dealing = (time.perf_counter() - began) / max(1, len(batches)) if not config.corpus.workers else 0.0
    still = replace(config.optim, learning_rate=0.0, muon_learning_rate=0.0)
    optimizers = make_optimizers(net, still, device, config.train.mixed_precision)
    clock = _Clock(device)

    def passes(batch: Batch) -> None:
        on_device = {k: v.to(device) for k, v in to_tensors(batch).items()}
        with _autocast(config, device):
            loss, tokens = data.task.loss(net, on_device, config.train.label_smoothing)
        (loss / tokens).backward()

    def update() -> None:
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()

    net.train()
    chosen = spread(data.task, batches, MICRO_BATCHES)
    parts = iter(np.linspace(0, 1, 2 * len(chosen) + 5)[1:])
    passes(chosen[len(chosen) // 2])  # the first pass allocates
    update()
    progress(next(parts))
    pass_seconds: list[float] = []
    sizes: list[int] = []
    for batch in [*chosen, *chosen]:  # the mean, not the fastest: the run will not have a quieter machine
        if sum(pass_seconds) < ENOUGH or len(pass_seconds) < 2:
            pass_seconds.append(clock(lambda: passes(batch)))  # noqa: B023
            sizes.append(data.task.padded_tokens(batch))
        progress(next(parts))
    steps = sum(clock(update) for _ in range(3)) / 3
    progress(next(parts))
    per_token = sum(pass_seconds) / max(1, sum(sizes))
    net.zero_grad(set_to_none=True)
    net.eval()
    mean = float(np.mean([data.task.padded_tokens(b) for b in batches]))
    loss_seconds = _loss_seconds(config, data, net, device, clock)
    progress(next(parts))
    texts_seconds = _texts_seconds(config, data, net, device, clock)
    progress(next(parts))
    net.train()
    return Probe(per_token * mean, steps, dealing, loss_seconds, texts_seconds, _save_seconds(net, config))


def by_precision(config: Config, data: Data, net: PreTrainedModel, device: torch.device) -> dict[str, float]:
    """Seconds of a forward and backward pass over the same rows, in the config's precision and in float32 ("no").

    The rows are half of a micro-batch of middle size, so that float32 has room even where the run itself only just fits.
    """
    batches, _ = data.task.make_batches(data.sample[:512], None)
    if not batches:
        return {}
    (batch,) = spread(data.task, batches, 1) if len(batches) > 1 else batches
    half = {k: v[: max(1, len(v) // 2)].to(device) for k, v in to_tensors(batch).items()}
    clock, seconds = _Clock(device), dict[str, float]()
    net.train()
    for turn in range(2):  # the first pass allocates
        for precision in ("no", config.train.mixed_precision):
            in_precision = replace(config, train=replace(config.train, mixed_precision=precision))

            def work() -> None:
                with _autocast(in_precision, device):  # noqa: B023
                    loss, tokens = data.task.loss(net, half)
                (loss / tokens).backward()
                net.zero_grad(set_to_none=True)

            took = clock(work)
            if turn:
                seconds[precision] = took
    return seconds


class _Clock:
    """Times a piece of work in seconds, including what the device does."""

    def __init__(self, device: torch.device):
        self.device = device

    def __call__(self, work: Callable[[], Any]) -> float:
        self._wait()
        began = time.perf_counter()
        work()
        self._wait()
        return time.perf_counter() - began

    def _wait(self) -> None:
        """Wait until an accelerator (CUDA, MPS, XPU) has finished its work; a CPU has already."""
        if self.device.type != "cpu":
            torch.accelerator.synchronize(self.device)


def _autocast(config: Config, device: torch.device) -> torch.autocast:
    precision = config.train.mixed_precision
    dtype = torch.float16 if precision == "fp16" else torch.bfloat16
    return torch.autocast(device.type, dtype=dtype, enabled=precision in ("bf16", "fp16"))


def spread(task: Task, batches: list[Batch], count: int) -> list[Batch]:
    """`count` of the batches, spread evenly over all sizes."""
    ordered = sorted(batches, key=task.padded_tokens)
    positions = {round((k + 0.5) * len(ordered) / count - 0.5) for k in range(count)} if len(ordered) > count else set(range(len(ordered)))
    return [ordered[k] for k in sorted(positions)]


def _loss_seconds(config: Config, data: Data, net: PreTrainedModel, device: torch.device, clock: _Clock) -> float:
    """Seconds of the validation loss: one batch of middle size is timed and scaled to all."""
    batches = data.held_out_batches
    if not batches:
        return 0.0
    (batch,) = spread(data.task, batches, 1) if len(batches) > 1 else batches

    def forward() -> None:
        with torch.no_grad(), _autocast(config, device):
            data.task.loss(net, {k: v.to(device) for k, v in to_tensors(batch).items()})

    forward()
    return clock(forward) * sum(map(data.task.padded_tokens, batches)) / data.task.padded_tokens(batch)


def _texts_seconds(config: Config, data: Data, net: PreTrainedModel, device: torch.device, clock: _Clock) -> float:
    """Seconds of an evaluation's texts: some tokens are generated, and the time is scaled to the typical length."""
    typical = data.task.typical_generation(data.sample, data.held_out)
    if typical is None:
        return 0.0
    inputs = {name: tensor.to(device) for name, tensor in typical.inputs.items()}
    most = max(1, min(GENERATED, data.task.context - 1))

    def write() -> None:
        with torch.inference_mode(), _autocast(config, device):
            generate(net, 0, **inputs, max_new_tokens=most, min_new_tokens=most)

    write()
    return clock(write) * typical.length / most * typical.calls


def _save_seconds(net: PreTrainedModel, config: Config) -> float:
    """Seconds of a checkpoint: the weights are written once and count three times, for the optimizer's two moments."""
    run_dir = Path(config.run_dir)
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        for left in run_dir.glob(".probe-*"):  # left by a run that was killed here
            shutil.rmtree(left, ignore_errors=True)
        with TemporaryDirectory(dir=run_dir, prefix=".probe-") as folder:
            began = time.perf_counter()
            save_file({f"{k}": p.detach().cpu().contiguous() for k, p in enumerate(net.parameters())}, Path(folder) / "weights.safetensors")
            return 3 * (time.perf_counter() - began) + 0.1
    except Exception as error:
        if not (why := disk_error(error)):
            raise
        raise Stopped(f"{run_dir}: not even the weights of one checkpoint can be written: {why}; there is no checkpoint yet") from None

"""The numbers of a preflight: the sections of preflight.json on parameters, memory, data, horizon and time.

The rules judge them; `preflight.py` and the start of a run show them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import psutil
import torch

from training.base.device_sheets import SHEETS
from training.corpus.batches import to_tensors
from training.corpus.filters import is_chinese, length
from training.diagnosis.corpus_report import count_lost_rows
from training.estimate import facts
from training.estimate.fake_step import Shapes
from training.estimate.footprint import Footprint, largest_batch, measure
from training.estimate.probe import Probe
from training.model.hardware import KEPT, KERNELS
from training.settings.config import Config
from training.setup.data import Data

# The share of a data sheet's FLOP/s that matrix products are assumed to reach without a probe (Megatron-LM and PaLM report 0.3 to 0.5 for
# large models).
UTILISATION = 0.3

# Seconds that a host takes to start an operation. The steps of three small Transformers on an H200 took 41, 77 and 149 ms, within a fourth
# of what this and UTILISATION give. The first two shared the card (docs/log.md); no other host was tried.
START_SECONDS = 50e-6

# From this many bytes of logits on, their tensors and the vocabulary's rows go back to the system when they are freed.
HUGE = 4_000_000_000


@dataclass(frozen=True)
class Place:
    """The devices that a run will use, and their memory.

    Attributes:
        available: bytes available to each process.
        held: bytes that its data take already.
        cpu: whether it is a CPU, whose allocator keeps some of what is freed.
        devices, sharded: the number of devices, and whether FSDP divides the model between them.
    """

    available: int = 0
    held: int = 0
    cpu: bool = False
    devices: int = 1
    sharded: bool = False

    def kept(self, footprint: Footprint) -> int:
        """Bytes of the kernels, and of freed memory that the allocator keeps."""
        if not self.cpu:
            return 0
        own = footprint.vocabulary_bytes if footprint.memory["logits"] > HUGE else 0
        pieces = 0 if footprint.checkpointing else round(KEPT * (footprint.peak - own))  # see hardware.return_memory
        return KERNELS["bf16" if footprint.bf16 else "float32"] + pieces

    def taken(self, footprint: Footprint) -> int:
        """All bytes that a run with this footprint takes at its peak on each device."""
        return sum(footprint.on_each(self.devices, self.sharded).values()) + self.held + self.kept(footprint)


def memory_here(device: torch.device) -> int:
    """Bytes that a run may take on this device: what is free, plus what this process holds already."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device))
    return int(psutil.virtual_memory().available + resident())


def resident() -> int:
    """Bytes of this process that are resident in memory."""
    return int(psutil.Process().memory_info().rss)


def resident_at_first() -> int:
    """`resident` before a run, after loading the libraries that a run loads later, so that they do not count as its data."""
    import datasets  # noqa: F401
    import evaluate  # noqa: F401
    import matplotlib.figure  # noqa: F401

    return resident()


def of_model(config: Config, vocabulary: int, shapes: Shapes, place: Place | None = None) -> tuple[dict[str, Any], Footprint]:
    """The sections `config`, `parameters`, `shape` and `memory`, and the footprint that they are from."""
    place = place or Place()
    footprint = measure(config, vocabulary, shapes, _mixed(config), place.cpu)
    kept = place.kept(footprint)
    peak = footprint.peak + place.held + kept
    memory: dict[str, Any] = {**{k: footprint.memory[k] for k in facts.MEMORY_PARTS}, "vocabulary_bytes": footprint.vocabulary_bytes}
    memory |= {"peak_bytes": peak, "vocabulary_share": round(footprint.vocabulary_bytes / max(1, peak), 4)}
    memory |= {"devices": place.devices, "sharded": place.sharded, "each_device_bytes": place.taken(footprint)}
    memory |= {"data_bytes": place.held, "kept_bytes": kept, "available_bytes": place.available}
    named = {"task": config.task, "model": config.model.get("type")}
    return {"config": named, "parameters": dict(footprint.parameters), "shape": dict(footprint.shape), "memory": memory}, footprint


def fits(estimate: dict[str, Any]) -> bool:
    """Whether the peak stays within the memory of each device."""
    return bool(estimate["memory"]["each_device_bytes"] <= estimate["memory"]["available_bytes"])


def variants(config: Config, vocabulary: int, shapes: Shapes, place: Place) -> dict[str, int]:
    """Peak in bytes on each device, in both precisions, with and without gradient checkpointing, by name of the variant."""
    peaks = {}
    for checkpointing in (False, True):
        changed = replace(config, train=replace(config.train, gradient_checkpointing=checkpointing))
        for name, bf16 in (("float32", False), ("bf16", True)):
            try:
                footprint = measure(changed, vocabulary, shapes, bf16, place.cpu)
                peaks[name + "_checkpointing" * checkpointing] = place.taken(footprint)
            except Exception:  # a class that cannot checkpoint has fewer variants
                continue
    return peaks


def largest(config: Config, vocabulary: int, shapes: Shapes, place: Place) -> int:
    """The largest `batch.micro_batch_size` (gpt) or `batch.tokens_per_batch` (translation) that fits on each device; 0 if none."""
    rows, now = shapes["labels"][0], config.spec.micro_batch(config.batch)[1]
    # Smaller micro-batches mean more of them a step, and the second meets the gradients of the first.
    several = replace(config, train=replace(config.train, gradient_accumulation_steps=max(2, config.train.gradient_accumulation_steps)))

    def of(size: int) -> int:
        scaled = {k: (max(1, round(rows * size / now)), *s[1:]) for k, s in shapes.items()}
        return place.taken(measure(several if size < now else config, vocabulary, scaled, _mixed(config), place.cpu))

    size = largest_batch(of, now, place.available)
    return size if size >= config.spec.smallest_batch(config.batch) else 0


def _mixed(config: Config) -> bool:
    return config.train.mixed_precision in ("bf16", "fp16")


def of_data(config: Config, data: Data, vocabulary: dict[str, Any], world: int) -> dict[str, Any]:
    """The section `data`: rows and tokens of an epoch, target tokens of a step, and shares and lengths in the sample."""
    report, target = data.corpus.report, config.spec.target_column
    rows = data.corpus.count()
    per_row = vocabulary["columns"][target]["tokens_per_text"] + 1
    batches, left_out = data.task.make_batches(data.sample, np.random.default_rng(config.seed))
    targets = sorted(int(data.task.targets(to_tensors(b))) for b in batches)
    targets = targets[1:] or targets  # the smallest is left out: it is seldom full, and a sample may make only two
    accumulation = config.train.gradient_accumulation_steps
    lengths = [len(r[target]) for r in data.sample]
    lost, looked_at = count_lost_rows(report, config.task)
    section: dict[str, Any] = {
        "rows": rows, "held_out": len(data.held_out), "rows_read": report["rows_read"],
        "front_to_back_rows": data.corpus.front_to_back_rows, "mixed_rows": data.corpus.mixed_rows,
        "undivided": report.get("undivided", []), "validation_trained": report.get("validation_trained", [0, 0]),
        "rejected": report["rejected"], "rejected_share": _share(sum(lost.values()), looked_at),
        "tokens": round(rows * per_row), "tokens_per_row": round(per_row, 2), "packed": data.task.packed,
        "tokens_per_step": round(float(np.mean(targets)) * accumulation * world) if targets else 0,
        "micro_batches": len(batches), "left_out_share": _share(left_out, len(data.sample)),
        "words_per_target": round(sum(map(words, (r[target] for r in data.sample))) / max(1, len(data.sample)), 2),
        "longest_text": max(lengths, default=0), "median_text": float(np.median(lengths)) if lengths else 0,
        "longest_tokens": max((int(b["labels"].shape[1]) for b in batches), default=0),
    }  # fmt: skip
    if config.spec.two_languages:
        pairs = [(is_chinese(r["source"]), is_chinese(r["target"])) for r in data.sample]
        forward = sum(s and not t for s, t in pairs)
        backward = sum(t and not s for s, t in pairs)
        section |= {"chinese_sources": _share(forward, len(pairs)), "chinese_targets": _share(backward, len(pairs))}
        section["swapped_share"] = _share(min(forward, backward), forward + backward)
    return section


def of_horizon(config: Config, data: dict[str, Any], seconds_per_step: float | None) -> dict[str, Any]:
    """The section `horizon` in steps, tokens and epochs; these are None if it is in minutes and there was no probe."""
    t, per_step = config.train, max(1, data["tokens_per_step"])
    ends = []
    if t.max_steps:
        ends.append(float(t.max_steps))
    if t.max_tokens:
        ends.append(t.max_tokens / per_step)
    if t.max_minutes and seconds_per_step:
        ends.append(60 * t.max_minutes / seconds_per_step)
    if not ends:
        return {"steps": None, "tokens": None, "epochs": None, "steps_per_epoch": max(1, round(data["tokens"] / per_step))}
    steps = max(1, math.ceil(min(ends)))
    return {
        "steps": steps, "tokens": steps * per_step, "epochs": round(steps * per_step / max(1, data["tokens"]), 3),
        "steps_per_epoch": max(1, round(data["tokens"] / per_step)),
    }  # fmt: skip


def seconds_per_step(config: Config, probe: Probe) -> float:
    """Seconds of a step with its share of evaluations and saves; in a healthy run most evaluations save, as the best so far."""
    evaluate_every = config.evaluation.every_steps
    save_every = min(evaluate_every, config.checkpoint.every_steps)
    return probe.step(config.train.gradient_accumulation_steps) + probe.evaluation / evaluate_every + probe.save / save_every


def of_time(config: Config, probe: Probe, horizon: dict[str, Any], flops: int, peak: float | None, world: int) -> dict[str, Any]:
    """The section `time`: the probe's seconds, extended to the whole horizon.

    Args:
        horizon: the section `horizon`, with steps.
        flops: FLOPs of a micro-batch of mean size.
        peak: FLOP/s of the device, for the utilisation; None if unknown.
        world: number of devices that work in parallel.
    """
    accumulation = config.train.gradient_accumulation_steps
    step, steps = probe.step(accumulation), horizon["steps"] or 0
    evaluations = math.ceil(steps / config.evaluation.every_steps)
    saves = math.ceil(steps / min(config.evaluation.every_steps, config.checkpoint.every_steps))  # as in seconds_per_step
    training, evaluating, saving = steps * step, evaluations * probe.evaluation, saves * probe.save
    achieved = accumulation * flops / max(1e-9, step)
    return {
        "measured": True, "step_seconds": step, "training_seconds": round(training, 2), "evaluation_seconds": round(evaluating, 2),
        "saving_seconds": round(saving, 2), "seconds": round(training + evaluating + saving, 2), "evaluations": evaluations,
        "one_evaluation_seconds": probe.evaluation,
        "tokens_per_second": round(horizon["tokens"] / max(1e-9, training), 1) if steps else None,
        "flops_per_step": accumulation * flops * world, "achieved_flops": achieved, "device_flops": peak,
        "utilisation": round(achieved / peak, 4) if peak else None, "probe": probe.as_dict(),
    }  # fmt: skip


def step_seconds_on(device: str, precision: str, flops_per_step: int, operations: int, world: int) -> float:
    """Seconds of a step by a data sheet: its FLOPs at UTILISATION of the sheet's FLOP/s, plus the starts of its operations.

    Args:
        device: name of the device.
        precision: `train.mixed_precision`, with `auto` resolved.
        flops_per_step: on all `world` devices together.
        operations: operations of a step on each device.
    """
    return flops_per_step / (world * SHEETS[device].flops(precision) * UTILISATION) + operations * START_SECONDS


def of_time_on(device: str, precision: str, horizon: dict[str, Any], flops_per_step: int, operations: int, world: int) -> dict[str, Any]:
    """The section `time` without a probe, from `step_seconds_on`, which explains the arguments."""
    peak, step = SHEETS[device].flops(precision), step_seconds_on(device, precision, flops_per_step, operations, world)
    seconds = step * horizon["steps"] if horizon["steps"] else None
    achieved = flops_per_step / step / world
    return {
        "measured": False, "device": device, "step_seconds": step, "training_seconds": seconds, "seconds": seconds,
        "tokens_per_second": round(horizon["tokens"] / seconds, 1) if seconds else None, "flops_per_step": flops_per_step,
        "operations_per_step": operations, "starting_seconds": operations * START_SECONDS, "gpu": True,
        "achieved_flops": achieved, "device_flops": peak, "utilisation": round(achieved / peak, 4),
    }  # fmt: skip


def _share(part: float, whole: float) -> float:
    return round(part / whole, 4) if whole else 0.0


def words(text: str) -> float:
    """Number of words in a text; a Chinese character counts as 1 / 1.6 of a word."""
    return length(text) / 1.6

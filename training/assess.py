"""The numbers of a preflight: what a run will hold, read and take, gathered into one object (preflight.json).

`rules.py` judges them, `preflight.py` and the start of a run show them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import psutil
import torch

from training import footprint
from training.config import Config
from training.corpus import COLUMNS
from training.filters import chinese, length
from training.footprint import PARTS, Footprint, Shapes
from training.prepare import Data
from training.probe import Probe
from training.sheets import SHEETS

# The share of a data sheet's FLOP/s that small Transformers reach: a guess to be replaced by a probe (Megatron-LM and PaLM report
# 0.3 to 0.5 for large ones).
UTILISATION = 0.3


def memory_here(device: torch.device) -> int:
    """Bytes that a run may take on this device: what is free, with what this process holds already."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[1])
    return int(psutil.virtual_memory().available + resident())


def resident() -> int:
    """Bytes of this process that are in memory."""
    return int(psutil.Process().memory_info().rss)


def of_model(config: Config, vocabulary: int, shapes: Shapes, devices: int = 1, sharded: bool = False) -> tuple[dict[str, Any], Footprint]:
    """The sections `parameters` and `memory`, from the footprint of the config as it is."""
    mixed = config.train.mixed_precision in ("bf16", "fp16")
    found = footprint.measure(config, vocabulary, shapes, mixed)
    memory: dict[str, Any] = {**{k: found.memory[k] for k in PARTS}, "vocabulary_bytes": found.vocabulary_bytes}
    memory |= {"peak_bytes": found.peak, "vocabulary_share": round(found.vocabulary_bytes / max(1, found.peak), 4)}
    each = found.on_each(devices, sharded)
    memory |= {"devices": devices, "sharded": sharded, "each_device_bytes": sum(each.values())}
    return {"parameters": found.parameters, "memory": memory}, found


def variants(config: Config, vocabulary: int, shapes: Shapes) -> dict[str, int]:
    """Peak bytes in both precisions, with and without gradient checkpointing."""
    found = {}
    for checkpointing in (False, True):
        changed = replace(config, train=replace(config.train, gradient_checkpointing=checkpointing))
        for name, bf16 in (("float32", False), ("bf16", True)):
            try:
                found[name + "_checkpointing" * checkpointing] = footprint.measure(changed, vocabulary, shapes, bf16).peak
            except Exception:  # a class that cannot checkpoint has fewer variants
                continue
    return found


def largest(config: Config, vocabulary: int, shapes: Shapes, available: int) -> int:
    """The largest `batch.micro_batch_size` (gpt) or `batch.tokens_per_batch` (translation) that fits."""
    mixed = config.train.mixed_precision in ("bf16", "fp16")
    rows = shapes["labels"][0]
    now = config.batch.micro_batch_size if config.task == "gpt" else config.batch.tokens_per_batch

    def of(size: int) -> Footprint:
        scaled = {k: (max(1, round(rows * size / now)), *s[1:]) for k, s in shapes.items()}
        return footprint.measure(config, vocabulary, scaled, mixed)

    return footprint.largest_batch(of, now, available)


def of_data(config: Config, data: Data, vocabulary: dict[str, Any], world: int) -> dict[str, Any]:
    """The section `data`: rows and tokens of an epoch, tokens of a step, and what the sample shows."""
    report, columns = data.corpus.report, list(COLUMNS[config.task])
    rows = data.corpus.count()
    target = columns[-1]
    per_row = vocabulary["columns"][target]["tokens_per_text"] + 1
    batches, left_out = data.task.make_batches(data.sample, np.random.default_rng(config.seed))
    targets = [int((b["labels"][:, 1:] if config.task == "gpt" else b["labels"]).__ge__(0).sum()) for b in batches]
    accumulation = config.train.gradient_accumulation_steps
    lengths = [len(r[target]) for r in data.sample]
    found: dict[str, Any] = {
        "rows": rows, "held_out": len(data.held_out), "rows_read": report["rows_read"],
        "rejected": report["rejected"], "rejected_share": _share(sum(report["rejected"].values()), report["rows_read"]),
        "tokens": round(rows * per_row), "tokens_per_row": round(per_row, 2), "packed": getattr(data.task, "packed", None),
        "tokens_per_step": round(float(np.mean(targets)) * accumulation * world) if targets else 0,
        "micro_batches": len(batches), "left_out_share": _share(left_out, len(data.sample)),
        "words_per_target": round(sum(map(words, (r[target] for r in data.sample))) / max(1, len(data.sample)), 2),
        "longest_text": max(lengths, default=0), "median_text": float(np.median(lengths)) if lengths else 0,
        "longest_tokens": max((int(b["labels"].shape[1]) for b in batches), default=0),
    }  # fmt: skip
    if config.task == "translation":
        pairs = [(chinese(r["source"]), chinese(r["target"])) for r in data.sample]
        forward = sum(s and not t for s, t in pairs)
        backward = sum(t and not s for s, t in pairs)
        found |= {"chinese_sources": _share(forward, len(pairs)), "chinese_targets": _share(backward, len(pairs))}
        found["swapped_share"] = _share(min(forward, backward), forward + backward)
    return found


def of_horizon(config: Config, data: dict[str, Any], seconds_per_step: float | None) -> dict[str, Any]:
    """Steps, tokens and epochs that the run's horizon means; None where it is in minutes and no probe was made."""
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


def of_time(config: Config, probe: Probe, horizon_of: Callable[[float], dict[str, Any]], flops: int, peak: float | None) -> dict[str, Any]:
    """The section `time`: what the probe's seconds mean for the whole horizon.

    Args:
        horizon_of: steps by the seconds of one, for a horizon in minutes.
        flops: of a micro-batch of mean size.
        peak: FLOP/s that the device has, for the utilisation.
    """
    accumulation = config.train.gradient_accumulation_steps
    step = probe.step(accumulation)
    save_every, evaluate_every = config.checkpoint.every_steps, config.evaluation.every_steps
    with_all = step + probe.evaluation / evaluate_every + probe.save / save_every
    horizon = horizon_of(with_all)
    steps = horizon["steps"] or 0
    evaluations = math.ceil(steps / evaluate_every)
    # Every evaluation that is the best so far saves too; in a healthy run most are.
    saves = max(evaluations, math.ceil(steps / save_every))
    training, evaluating, saving = steps * step, evaluations * probe.evaluation, saves * probe.save
    achieved = accumulation * flops / max(1e-9, step)
    return {
        "measured": True, "step_seconds": step, "training_seconds": round(training, 2), "evaluation_seconds": round(evaluating, 2),
        "saving_seconds": round(saving, 2), "seconds": round(training + evaluating + saving, 2), "evaluations": evaluations,
        "one_evaluation_seconds": probe.evaluation,
        "tokens_per_second": round(horizon["tokens"] / max(1e-9, training), 1) if steps else None,
        "flops_per_step": accumulation * flops, "achieved_flops": achieved, "device_flops": peak,
        "utilisation": round(achieved / peak, 4) if peak else None, "probe": probe.as_dict(),
    }  # fmt: skip


def of_time_on(device: str, horizon: dict[str, Any], flops_per_step: int, world: int) -> dict[str, Any]:
    """The section `time` without a probe, for a device by name: FLOPs over an assumed share of what the data sheet says."""
    peak, _ = SHEETS[device]
    step = flops_per_step / (world * peak * UTILISATION)
    seconds = step * horizon["steps"] if horizon["steps"] else None
    return {
        "measured": False, "device": device, "step_seconds": step, "training_seconds": seconds, "seconds": seconds,
        "tokens_per_second": round(horizon["tokens"] / seconds, 1) if seconds else None, "flops_per_step": flops_per_step,
        "achieved_flops": peak * UTILISATION, "device_flops": peak, "utilisation": UTILISATION,
    }  # fmt: skip


def _share(part: float, whole: float) -> float:
    return round(part / whole, 4) if whole else 0.0


def words(text: str) -> float:
    """Words of a text, a Chinese character counting as 1 / 1.6 of one."""
    return length(text) / 1.6

"""Everything that preflight knows of a run: on paper, by a probe of some steps, or by a device's data sheet; then the rules judge.

The start of every run asks the same (`before_run`), and the page's calculator a part of it (`sketch`).
"""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import replace
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from training.base.device_sheets import SHEETS
from training.base.words import Language, phrases, spoken
from training.diagnosis.finding import Finding, worst_first
from training.estimate import facts, rules
from training.estimate.overfitting import FACTOR, SOURCE, may_turn, overfit_step
from training.settings.config import Config
from training.settings.load import check_config

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from training.estimate.fake_step import Shapes
    from training.estimate.numbers import Place
    from training.setup.data import Data


def device_names() -> list[str]:
    """Devices that are known by name."""
    return list(SHEETS)


def of_config(config: Config, options: argparse.Namespace, language: Language) -> dict[str, Any]:
    """Everything about a run that is not launched yet; its files are made in a temporary folder.

    What it is at is said on stderr, in that language.

    Raises:
        ConfigError: if the config or its files cannot be used.
    """
    from training.estimate import numbers
    from training.model.build import quiet_transformers
    from training.model.hardware import gpu_precision, return_memory, share_threads
    from training.setup.data import build_model, check_before_reading, choose_precision, open_data
    from training.setup.processes import Processes

    check_config(config)
    share_threads()
    quiet_transformers()
    before = numbers.resident_at_first()
    processes, words = Processes(), phrases("page", language)
    with TemporaryDirectory(prefix="preflight-") as folder:
        inside = replace(config, run_dir=folder, log=replace(config.log, language=language))
        # Of a device that is not here, the precision cannot be checked against what is here.
        check_before_reading(with_precision(inside, "no") if options.device else inside, processes)
        data = open_data(inside, processes)
        cpu = processes.device.type == "cpu" and not options.device
        named = options.memory * 1e9 if options.memory else SHEETS[options.device].memory if options.device else None
        available = round(named) if named else numbers.memory_here(processes.device)
        held = max(0, numbers.resident() - before) if cpu else 0
        place = numbers.Place(available, held, cpu, options.devices, options.sharded)
        chosen = inside
        if inside.train.mixed_precision == "auto" and not cpu:  # a CPU is asked by the probe; until then float32 is assumed
            chosen = with_precision(inside, SHEETS[options.device].precision if options.device else gpu_precision(processes.device))
        processes.say(words["at_paper"])
        found = on_paper(chosen, data, place)
        if options.probe and not options.device and numbers.fits(found):
            processes.say(words["at_probe"])
            if cpu:
                return_memory(inside.train.gradient_checkpointing)
            net = build_model(inside, data).to(processes.device)
            assumed = chosen.train.mixed_precision
            chosen, _, seconds = choose_precision(inside, data, net, processes, False)
            if chosen.train.mixed_precision not in ("no", assumed):
                found = on_paper(chosen, data, place)
            by_probe(chosen, data, net, found, seconds)
        elif options.device:
            by_sheet(chosen, found, options.device)
        if options.price and found["time"].get("seconds"):
            found["time"]["money"] = float(f"{options.price * options.devices * found['time']['seconds'] / 3600:.6g}")
        processes.say(words["at_variants"])
        shapes, size = shapes_of(chosen, data), len(data.tokenizer)
        found["memory"]["variants"] = numbers.variants(chosen, size, shapes, place)
        found["memory"]["largest_batch"] = numbers.largest(chosen, size, shapes, place)
    found["findings"] = judged(chosen, found)
    return found


def with_precision(config: Config, precision: Any) -> Config:
    """The same with another `train.mixed_precision`."""
    return replace(config, train=replace(config.train, mixed_precision=precision))


def sketch(config: Config, vocabulary: int, device: str) -> dict[str, Any]:
    """What can be said without a corpus: parameters, memory and FLOPs at full batches, and the time on a device by name.

    Args:
        vocabulary: entries of the tokenizer that the run would have.
        device: one of `device_names()`.

    Raises:
        ConfigError: if the model cannot be built so.
    """
    from training.estimate import numbers
    from training.model.build import quiet_transformers

    quiet_transformers()
    sheet = SHEETS[device]
    if config.train.mixed_precision == "auto":
        config = with_precision(config, sheet.precision)
    place, shapes = numbers.Place(round(sheet.memory)), config.spec.full_batch(config.batch)
    found, footprint = numbers.of_model(config, vocabulary, shapes, place)
    if not numbers.fits(found):
        found["memory"]["largest_batch"] = numbers.largest(config, vocabulary, shapes, place)
    per_step = footprint.targets * config.train.gradient_accumulation_steps
    found["data"] = {"tokens_per_step": per_step, "tokens": 0}
    found["flops_per_step"] = footprint.flops * config.train.gradient_accumulation_steps
    found["operations_per_step"] = footprint.operations_of_step(config.train.gradient_accumulation_steps)
    by_sheet(config, found, device)
    found["horizon"]["epochs"] = None  # of a corpus that nobody knows
    found["vocabulary"], found["forecast"] = {"size": vocabulary}, {}
    found["findings"] = judged(config, found, rules.OF_A_MODEL)
    return found


def before_run(
    config: Config, data: Data, net: PreTrainedModel, seconds: dict[str, float] | None, held: int, devices: int, sharded: bool
) -> dict[str, Any]:
    """The same for a run that is about to begin, its model built and its precision chosen.

    Args:
        seconds: of a step by precision, as `setup.data.choose_precision` found them.
        held: bytes that this process has in memory for its data.
        devices, sharded: how many processes there are, and whether by FSDP.
    """
    from training.estimate import numbers

    place = numbers.Place(numbers.memory_here(net.device), held, net.device.type == "cpu", devices, sharded)
    found = on_paper(config, data, place)
    if not numbers.fits(found):
        found["memory"]["largest_batch"] = numbers.largest(config, len(data.tokenizer), shapes_of(config, data), place)
    by_probe(config, data, net, found, seconds)
    found["findings"] = judged(config, found)
    return found


def on_paper(config: Config, data: Data, place: Place) -> dict[str, Any]:
    """What needs no weights: parameters, memory, vocabulary, data, horizon."""
    from training.estimate import numbers
    from training.setup.data import look_at_vocabulary

    found, footprint = numbers.of_model(config, len(data.tokenizer), shapes_of(config, data), place)
    found["vocabulary"] = look_at_vocabulary(data, footprint.vocabulary)
    found["data"] = numbers.of_data(config, data, found["vocabulary"], place.devices)
    found["horizon"] = numbers.of_horizon(config, found["data"], None)
    mean = found["data"]["tokens_per_step"] / place.devices / config.train.gradient_accumulation_steps
    found["flops_per_micro_batch"] = round(footprint.flops * mean / max(1, footprint.targets))
    found["flops_per_step"] = found["flops_per_micro_batch"] * config.train.gradient_accumulation_steps * place.devices
    found["operations_per_step"] = footprint.operations_of_step(config.train.gradient_accumulation_steps)
    per_epoch = found["horizon"]["steps_per_epoch"]
    step = None
    if may_turn(config):
        step = overfit_step(config.optim.name, found["parameters"]["total"], found["data"]["tokens"], per_epoch)
    epoch = round(step / per_epoch, 2) if step else None
    found["forecast"] = {"overfit_step": step, "overfit_epoch": epoch, "factor": FACTOR, "source": SOURCE}
    found["time"] = {}
    return found


def shapes_of(config: Config, data: Data) -> Shapes:
    """The heaviest micro-batch of the sample."""
    from training.estimate import footprint

    batches, _ = data.task.make_batches(data.sample, None)
    return footprint.heaviest(batches) if batches else config.spec.full_batch(config.batch)


def by_probe(config: Config, data: Data, net: PreTrainedModel, found: dict[str, Any], seconds: dict[str, float] | None) -> None:
    """Time some steps and fill in the sections `time` and `horizon`, unless there is no batch to time.

    Args:
        seconds: of a step by precision, as `setup.data.choose_precision` found them.
    """
    import torch

    from training.base.console import Progress
    from training.estimate import numbers, probe
    from training.model.hardware import cores, peak_flops, watch_others

    where = next(net.parameters()).device
    language = spoken(config.log.language)
    left = phrases("training", language)["left"]
    bar = Progress(phrases("page", language)["at_probe"], 1.0, shown=data.processes.main, left=left)
    others = watch_others()
    timed = probe.run(config, data, net, where, bar.to)
    busy = others()
    bar.close()
    if timed is None:
        return
    peak = peak_flops(where, config.train.mixed_precision)
    found["horizon"] = numbers.of_horizon(config, found["data"], numbers.seconds_per_step(config, timed))
    found["time"] = numbers.of_time(config, timed, found["horizon"], found["flops_per_micro_batch"], peak, found["memory"]["devices"])
    if seconds is None:
        seconds = probe.by_precision(config, data, net, where) if config.train.mixed_precision != "no" else {}
    found["time"]["step_seconds_by_precision"] = seconds
    found["time"]["gpu"] = where.type == "cuda"
    if where.type == "cpu" and data.processes.world == 1 and busy is not None:
        found["time"] |= {"threads": torch.get_num_threads(), "cores": cores(), "busy_cores": round(busy, 2)}


def by_sheet(config: Config, found: dict[str, Any], device: str) -> None:
    """Fill in the sections `time` and `horizon` by what is known of a device."""
    from training.estimate import numbers

    on = (device, config.train.mixed_precision)
    work = (found["flops_per_step"], found["operations_per_step"], found["memory"]["devices"])
    found["horizon"] = numbers.of_horizon(config, found["data"], numbers.step_seconds_on(*on, *work))
    found["time"] = numbers.of_time_on(*on, found["horizon"], *work)


def judged(config: Config, found: dict[str, Any], which: tuple[facts.Rule, ...] | None = None) -> list[Finding]:
    """What these rules, by default all, say to the numbers."""
    sections = ("parameters", "shape", "memory", "vocabulary", "data", "horizon", "time", "forecast")
    return worst_first(rules.judge(facts.Facts(config, *(found.get(s) or {} for s in sections)), which))


def as_object(found: dict[str, Any], language: Language) -> dict[str, Any]:
    """What `--json true` prints, with the findings in words; a number that is not finite, for which JSON has no name, is null."""
    plain: dict[str, Any] = _finite_numbers({**found, "findings": [f.as_dict(language) for f in found["findings"]]})
    return plain


def as_json(found: dict[str, Any], language: Language) -> str:
    """The same as a text, for preflight.json."""
    return json.dumps(as_object(found, language), ensure_ascii=False, indent=1, allow_nan=False)


def _finite_numbers(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _finite_numbers(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite_numbers(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value

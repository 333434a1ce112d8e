"""Everything that preflight knows of a run: worked out, timed by a probe, or taken from a device's data sheet; then judged by the rules.

Preflight asks for it with `of_config`, the start of a run with `before_run`, and the page's calculator asks for a part with `sketch`.
"Estimate" is the resulting object, as in preflight.json, by sections.
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
    """Names of the devices whose data sheets are known."""
    return list(SHEETS)


def of_config(config: Config, options: argparse.Namespace, language: Language) -> dict[str, Any]:
    """The estimate of a run that is not launched yet. Files are written to a temporary folder, progress to stderr in `language`.

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
        # The precision of a device that is not here cannot be checked.
        check_before_reading(with_precision(inside, "no") if options.device else inside, processes)
        data = open_data(inside, processes)
        cpu = processes.device.type == "cpu" and not options.device
        named = options.memory * 1e9 if options.memory else SHEETS[options.device].memory if options.device else None
        available = round(named) if named else numbers.memory_here(processes.device)
        held = max(0, numbers.resident() - before) if cpu else 0
        place = numbers.Place(available, held, cpu, options.devices, options.sharded)
        chosen = inside
        if inside.train.mixed_precision == "auto" and not cpu:  # on a CPU the probe decides; until then float32 is assumed
            chosen = with_precision(inside, SHEETS[options.device].precision if options.device else gpu_precision(processes.device))
        processes.say(words["at_paper"])
        estimate = on_paper(chosen, data, place)
        if options.probe and not options.device and numbers.fits(estimate):
            processes.say(words["at_probe"])
            if cpu:
                return_memory(inside.train.gradient_checkpointing)
            net = build_model(inside, data).to(processes.device)
            assumed = chosen.train.mixed_precision
            chosen, _, seconds = choose_precision(inside, data, net, processes, False)
            if chosen.train.mixed_precision not in ("no", assumed):
                estimate = on_paper(chosen, data, place)
            by_probe(chosen, data, net, estimate, seconds)
        elif options.device:
            by_sheet(chosen, estimate, options.device)
        if options.price and estimate["time"].get("seconds"):
            estimate["time"]["money"] = float(f"{options.price * options.devices * estimate['time']['seconds'] / 3600:.6g}")
        processes.say(words["at_variants"])
        shapes, size = shapes_of(chosen, data), len(data.tokenizer)
        estimate["memory"]["variants"] = numbers.variants(chosen, size, shapes, place)
        estimate["memory"]["largest_batch"] = numbers.largest(chosen, size, shapes, place)
    estimate["findings"] = judged(chosen, estimate)
    return estimate


def with_precision(config: Config, precision: Any) -> Config:
    """The config with another `train.mixed_precision`."""
    return replace(config, train=replace(config.train, mixed_precision=precision))


def sketch(config: Config, vocabulary: int, device: str) -> dict[str, Any]:
    """An estimate without a corpus: parameters, memory and FLOPs of full batches, and the time on a device by its data sheet.

    Args:
        vocabulary: number of entries that the run's tokenizer would have.
        device: one of `device_names()`.

    Raises:
        ConfigError: if the model cannot be built.
    """
    from training.estimate import numbers
    from training.model.build import quiet_transformers

    quiet_transformers()
    sheet = SHEETS[device]
    if config.train.mixed_precision == "auto":
        config = with_precision(config, sheet.precision)
    place, shapes = numbers.Place(round(sheet.memory)), config.spec.full_batch(config.batch)
    estimate, footprint = numbers.of_model(config, vocabulary, shapes, place)
    if not numbers.fits(estimate):
        estimate["memory"]["largest_batch"] = numbers.largest(config, vocabulary, shapes, place)
    per_step = footprint.targets * config.train.gradient_accumulation_steps
    estimate["data"] = {"tokens_per_step": per_step, "tokens": 0}
    estimate["flops_per_step"] = footprint.flops * config.train.gradient_accumulation_steps
    estimate["operations_per_step"] = footprint.operations_of_step(config.train.gradient_accumulation_steps)
    by_sheet(config, estimate, device)
    estimate["horizon"]["epochs"] = None  # the corpus is unknown
    estimate["vocabulary"], estimate["forecast"] = {"size": vocabulary}, {}
    estimate["findings"] = judged(config, estimate, rules.OF_A_MODEL)
    return estimate


def before_run(
    config: Config, data: Data, net: PreTrainedModel, seconds: dict[str, float] | None, held: int, devices: int, sharded: bool
) -> dict[str, Any]:
    """The estimate of a run that is about to begin, with its model built and its precision chosen.

    Args:
        seconds: seconds of a step by precision, as `setup.data.choose_precision` returns them.
        held: bytes that this process has in memory for its data.
        devices, sharded: the number of processes, and whether they use FSDP.
    """
    from training.estimate import numbers

    place = numbers.Place(numbers.memory_here(net.device), held, net.device.type == "cpu", devices, sharded)
    estimate = on_paper(config, data, place)
    if not numbers.fits(estimate):
        estimate["memory"]["largest_batch"] = numbers.largest(config, len(data.tokenizer), shapes_of(config, data), place)
    by_probe(config, data, net, estimate, seconds)
    estimate["findings"] = judged(config, estimate)
    return estimate


def on_paper(config: Config, data: Data, place: Place) -> dict[str, Any]:
    """The sections that need no weights: parameters, memory, vocabulary, data, horizon, forecast; `time` is empty."""
    from training.estimate import numbers
    from training.setup.data import look_at_vocabulary

    estimate, footprint = numbers.of_model(config, len(data.tokenizer), shapes_of(config, data), place)
    estimate["vocabulary"] = look_at_vocabulary(data, footprint.vocabulary)
    estimate["data"] = numbers.of_data(config, data, estimate["vocabulary"], place.devices)
    estimate["horizon"] = numbers.of_horizon(config, estimate["data"], None)
    mean = estimate["data"]["tokens_per_step"] / place.devices / config.train.gradient_accumulation_steps
    estimate["flops_per_micro_batch"] = round(footprint.flops * mean / max(1, footprint.targets))
    estimate["flops_per_step"] = estimate["flops_per_micro_batch"] * config.train.gradient_accumulation_steps * place.devices
    estimate["operations_per_step"] = footprint.operations_of_step(config.train.gradient_accumulation_steps)
    per_epoch = estimate["horizon"]["steps_per_epoch"]
    step = None
    if may_turn(config):
        step = overfit_step(config.optim.name, estimate["parameters"]["total"], estimate["data"]["tokens"], per_epoch)
    epoch = round(step / per_epoch, 2) if step else None
    estimate["forecast"] = {"overfit_step": step, "overfit_epoch": epoch, "factor": FACTOR, "source": SOURCE}
    estimate["time"] = {}
    return estimate


def shapes_of(config: Config, data: Data) -> Shapes:
    """The shapes of the heaviest micro-batch of the sample, or of a full batch if the sample makes none."""
    from training.estimate import footprint

    batches, _ = data.task.make_batches(data.sample, None)
    return footprint.heaviest(batches) if batches else config.spec.full_batch(config.batch)


def by_probe(config: Config, data: Data, net: PreTrainedModel, estimate: dict[str, Any], seconds: dict[str, float] | None) -> None:
    """Time some steps and fill in the sections `time` and `horizon`, unless there is no batch to time.

    Args:
        seconds: seconds of a step by precision, as `setup.data.choose_precision` returns them; None: they are timed here.
    """
    import torch

    from training.base.console import Progress
    from training.estimate import numbers, probe
    from training.model.hardware import cores, peak_flops, watch_others

    device = next(net.parameters()).device
    language = spoken(config.log.language)
    left = phrases("training", language)["left"]
    bar = Progress(phrases("page", language)["at_probe"], 1.0, shown=data.processes.main, left=left)
    others = watch_others()
    timed = probe.run(config, data, net, device, bar.to)
    busy = others()
    bar.close()
    if timed is None:
        return
    peak = peak_flops(device, config.train.mixed_precision)
    estimate["horizon"] = numbers.of_horizon(config, estimate["data"], numbers.seconds_per_step(config, timed))
    estimate["time"] = numbers.of_time(
        config, timed, estimate["horizon"], estimate["flops_per_micro_batch"], peak, estimate["memory"]["devices"]
    )
    if seconds is None:
        seconds = probe.by_precision(config, data, net, device) if config.train.mixed_precision != "no" else {}
    estimate["time"]["step_seconds_by_precision"] = seconds
    estimate["time"]["gpu"] = device.type == "cuda"
    if device.type == "cpu" and data.processes.world == 1 and busy is not None:
        estimate["time"] |= {"threads": torch.get_num_threads(), "cores": cores(), "busy_cores": round(busy, 2)}


def by_sheet(config: Config, estimate: dict[str, Any], device: str) -> None:
    """Fill in the sections `time` and `horizon` from a device's data sheet."""
    from training.estimate import numbers

    device_and_precision = (device, config.train.mixed_precision)
    work = (estimate["flops_per_step"], estimate["operations_per_step"], estimate["memory"]["devices"])
    estimate["horizon"] = numbers.of_horizon(config, estimate["data"], numbers.step_seconds_on(*device_and_precision, *work))
    estimate["time"] = numbers.of_time_on(*device_and_precision, estimate["horizon"], *work)


def judged(config: Config, estimate: dict[str, Any], which: tuple[facts.Rule, ...] | None = None) -> list[Finding]:
    """The findings of these rules, by default of all, on the estimate, the worst first."""
    sections = ("parameters", "shape", "memory", "vocabulary", "data", "horizon", "time", "forecast")
    return worst_first(rules.judge(facts.Facts(config, *(estimate.get(s) or {} for s in sections)), which))


def as_object(estimate: dict[str, Any], language: Language) -> dict[str, Any]:
    """The object that `--json true` prints, its findings in words; numbers that are not finite are null, as JSON has no name for them."""
    plain: dict[str, Any] = _finite_numbers({**estimate, "findings": [f.as_dict(language) for f in estimate["findings"]]})
    return plain


def as_json(estimate: dict[str, Any], language: Language) -> str:
    """`as_object` as the text of preflight.json."""
    return json.dumps(as_object(estimate, language), ensure_ascii=False, indent=1, allow_nan=False)


def _finite_numbers(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _finite_numbers(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite_numbers(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value

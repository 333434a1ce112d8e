"""Know before you launch: `python training/preflight.py --config configs/gpt/verses.yaml`.

What a run will hold in memory and how long it will take, and what is wrong with it, before any weight exists: the corpus
is read, the model is measured on paper (footprint.py), some steps are probed if they fit (probe.py), and rules judge
(rules.py). The start of every run prints the same in short. Every setting of training/train.py can be given here as well.
Exit code 0, however bad the findings; 2 for a config that cannot be read.
"""

from __future__ import annotations

import os
import sys

if __name__ == "__main__":  # as in train.py
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

import argparse
import json
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from training import config as configs
from training import findings, forecast, preflight_page, rules
from training.config import Config, ConfigError
from training.findings import Finding, Language
from training.sheets import SHEETS

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from training.footprint import Shapes
    from training.prepare import Data


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    try:
        options, rest = _options().parse_known_args(argv)
        config = configs.parse_args(rest, __doc__ or "")
        language = findings.spoken(options.lang or (None if config.log.language == "auto" else config.log.language))
        found = of_config(config, options)
        if options.forecast:
            from training import scaling

            found["forecast"] = scaling.loss_at_the_end(config, found)
        if options.fit:
            found["fitted"] = fit(config, found, options)
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    print(as_json(found, language) if options.json else preflight_page.page(config, found, language))
    return 0


def _options() -> argparse.ArgumentParser:
    def yes(text: str) -> bool:
        if text.lower() not in ("true", "false"):
            raise argparse.ArgumentTypeError(f"{text!r}: true or false")
        return text.lower() == "true"

    p = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False,
        epilog="--config FILE and every setting of training/train.py (see its --help) are valid here too.",
    )  # fmt: skip
    p.add_argument("--json", type=yes, default=False, metavar="true|false", help="print one JSON object")
    p.add_argument("--lang", choices=findings.LANGUAGES, help="language; by default that of the locale")
    p.add_argument("--probe", type=yes, default=True, metavar="true|false", help="time some real steps on this device (default true)")
    p.add_argument("--device", choices=sorted(device_names()), help="estimate for this device by its data sheet instead of probing")
    p.add_argument("--devices", type=int, default=1, metavar="N", help="how many devices the run will have")
    p.add_argument("--sharded", type=yes, default=False, metavar="true|false", help="with several devices: FSDP instead of DDP")
    p.add_argument("--memory", type=float, metavar="GB", help="memory of a device, if not what is free here")
    p.add_argument("--price", type=float, metavar="MONEY", help="of a device for one hour, in any currency")
    p.add_argument(
        "--forecast", type=yes, default=False, metavar="true|false", help="train three smaller models a little to forecast the loss"
    )
    p.add_argument("--fit", type=yes, default=False, metavar="true|false", help="write a config that fits into the memory")
    p.add_argument("--out", metavar="FILE", help="where --fit writes it (default: beside the config, NAME.fit.yaml)")
    return p


@dataclass(frozen=True)
class Place:
    """Where a run will be.

    Attributes:
        available: bytes that there are for a process.
        held: bytes that its data take already.
        cpu: whether it is a CPU, whose allocator keeps some of what is freed.
        devices, sharded: how many devices, and whether by FSDP.
    """

    available: int
    held: int = 0
    cpu: bool = False
    devices: int = 1
    sharded: bool = False


def device_names() -> list[str]:
    """Devices that are known by name."""
    return list(SHEETS)


def of_config(config: Config, options: argparse.Namespace) -> dict[str, Any]:
    """Everything about a run that is not launched yet; its files are made in a temporary folder.

    Raises:
        ConfigError: if the config or its files cannot be used.
    """
    from training import assess, device, prepare
    from training.processes import Processes

    configs.check(config)
    device.share_threads()
    quiet()
    before = assess.resident()
    processes = Processes()
    with TemporaryDirectory(prefix="preflight-") as folder:
        inside = replace(config, run_dir=folder)
        prepare.check(inside, processes)
        data = prepare.open_data(inside, processes)
        cpu = processes.device.type == "cpu" and not options.device
        named = options.memory * 1e9 if options.memory else SHEETS[options.device][1] if options.device else None
        available = round(named) if named else assess.memory_here(processes.device)
        place = Place(available, max(0, assess.resident() - before) if cpu else 0, cpu, options.devices, options.sharded)
        found = on_paper(inside, data, place)
        if options.probe and not options.device and found["memory"]["each_device_bytes"] < available:
            if found["parameters"]["total"] >= device.LARGE_MODEL:
                device.return_memory()
            net = prepare.build_model(inside, data).to(processes.device)
            chosen, _, seconds = prepare.choose_precision(inside, data, net, processes, False)
            if chosen.train.mixed_precision != "no":
                found = on_paper(chosen, data, place)
            by_probe(chosen, data, net, found, seconds)
        elif options.device:
            found["time"] = assess.of_time_on(options.device, found["horizon"], found["flops_per_step"], options.devices)
        if options.price and found["time"].get("seconds"):
            found["time"]["money"] = round(options.price * options.devices * found["time"]["seconds"] / 3600, 2)
        if named or not options.probe or found["memory"]["each_device_bytes"] < available:
            more_on_memory(inside, data, found, available)
    found["config"] = {"task": config.task, "model": config.model.get("type")}
    found["findings"] = judged(config, found)
    return found


def sketch(config: Config, vocabulary: int, device: str) -> dict[str, Any]:
    """What can be said without a corpus: parameters, memory and FLOPs at full batches, and the time on a device by name.

    Args:
        vocabulary: entries of the tokenizer that the run would have.
        device: one of `device_names()`.

    Raises:
        ConfigError: if the model cannot be built so.
    """
    from training import assess
    from training.footprint import full_batch

    quiet()
    found, footprint = assess.of_model(config, vocabulary, full_batch(config))
    available = round(SHEETS[device][1])
    found["memory"] |= {"data_bytes": 0, "kept_bytes": 0, "available_bytes": available}
    per_step = footprint.targets * config.train.gradient_accumulation_steps
    found["data"] = {"tokens_per_step": per_step, "tokens": 0}
    found["horizon"] = {**assess.of_horizon(config, found["data"], None), "epochs": None}
    found["time"] = assess.of_time_on(device, found["horizon"], footprint.flops * config.train.gradient_accumulation_steps, 1)
    found["vocabulary"], found["forecast"] = {"size": vocabulary}, {}
    found["config"] = {"task": config.task, "model": config.model.get("type")}
    found["findings"] = judged(config, found)
    return found


def quiet() -> None:
    """transformers would advise on what the tasks see to."""
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()


def before_run(config: Config, data: Data, net: PreTrainedModel, seconds: dict[str, float], held: int, devices: int) -> dict[str, Any]:
    """The same for a run that is about to begin, its model built and its precision chosen.

    Args:
        seconds: of a step by precision, if they were compared.
        held: bytes that this process has in memory for its data.
    """
    from training import assess

    found = on_paper(config, data, Place(assess.memory_here(net.device), held, net.device.type == "cpu", devices))
    by_probe(config, data, net, found, seconds)
    found["config"] = {"task": config.task, "model": config.model.get("type")}
    found["findings"] = judged(config, found)
    return found


def on_paper(config: Config, data: Data, place: Place) -> dict[str, Any]:
    """What needs no weights: parameters, memory, vocabulary, data, horizon."""
    from training import assess, prepare
    from training.device import KEPT, LARGE_MODEL

    shapes = shapes_of(config, data)
    found, footprint = assess.of_model(config, len(data.tokenizer), shapes, place.devices, place.sharded)
    kept = round(KEPT * footprint.peak) if place.cpu and footprint.parameters["total"] < LARGE_MODEL else 0
    found["memory"]["peak_bytes"] += place.held + kept
    found["memory"]["each_device_bytes"] += place.held + kept
    found["memory"] |= {"data_bytes": place.held, "kept_bytes": kept, "available_bytes": place.available}
    found["vocabulary"] = prepare.look_at_vocabulary(data, footprint.vocabulary)
    found["data"] = assess.of_data(config, data, found["vocabulary"], place.devices)
    found["horizon"] = assess.of_horizon(config, found["data"], None)
    mean = found["data"]["tokens_per_step"] / place.devices / config.train.gradient_accumulation_steps
    found["flops_per_micro_batch"] = round(footprint.flops * mean / max(1, footprint.targets))
    found["flops_per_step"] = found["flops_per_micro_batch"] * config.train.gradient_accumulation_steps * place.devices
    per_epoch = found["horizon"]["steps_per_epoch"]
    step = forecast.overfit_step(config.optim.name, found["parameters"]["total"], found["data"]["tokens"], per_epoch)
    epoch = round(step / per_epoch, 2) if step else None
    found["forecast"] = {"overfit_step": step, "overfit_epoch": epoch, "factor": forecast.FACTOR, "source": forecast.SOURCE}
    found["time"] = {}
    return found


def shapes_of(config: Config, data: Data) -> Shapes:
    """The heaviest micro-batch of the sample."""
    from training import footprint

    batches, _ = data.task.make_batches(data.sample, None)
    return footprint.heaviest(batches) if batches else footprint.full_batch(config)


def by_probe(config: Config, data: Data, net: PreTrainedModel, found: dict[str, Any], seconds: dict[str, float]) -> None:
    """Time some steps and fill in the sections `time` and `horizon`.

    Args:
        seconds: of a step by precision, if they were compared.
    """
    from training import assess, device, probe

    where = next(net.parameters()).device
    timed = probe.run(config, data, net, where)
    peak = device.peak_flops(where, config.train.mixed_precision)
    flops = found["flops_per_micro_batch"]
    found["time"] = assess.of_time(config, timed, lambda s: assess.of_horizon(config, found["data"], s), flops, peak)
    found["time"]["step_seconds_by_precision"] = seconds
    each = found["time"]["step_seconds"] + timed.evaluation / config.evaluation.every_steps + timed.save / config.checkpoint.every_steps
    found["horizon"] = assess.of_horizon(config, found["data"], each)


def more_on_memory(config: Config, data: Data, found: dict[str, Any], available: int) -> None:
    """The other precision, gradient checkpointing, and the largest micro-batch that fits."""
    from training import assess

    shapes, size = shapes_of(config, data), len(data.tokenizer)
    found["memory"]["variants"] = assess.variants(config, size, shapes)
    found["memory"]["largest_batch"] = assess.largest(
        config, size, shapes, available - found["memory"]["data_bytes"] - found["memory"]["kept_bytes"]
    )


def judged(config: Config, found: dict[str, Any]) -> list[Finding]:
    """What the rules say to the numbers."""
    sections = ("parameters", "memory", "vocabulary", "data", "horizon", "time", "forecast")
    return findings.worst_first(rules.judge(rules.Facts(config, *(found.get(s) or {} for s in sections))))


def as_json(found: dict[str, Any], language: Language) -> str:
    """One object, with the findings in words."""
    plain = {**found, "findings": [f.as_dict(language) for f in found["findings"]]}
    return json.dumps(plain, ensure_ascii=False, indent=1)


def fit(config: Config, found: dict[str, Any], options: argparse.Namespace) -> str:
    """Write a config whose micro-batch fits, with as many tokens a step as was asked; returns its path.

    Raises:
        ConfigError: if no micro-batch fits.
    """
    gpt = config.task == "gpt"
    now = config.batch.micro_batch_size if gpt else config.batch.tokens_per_batch
    largest = found["memory"].get("largest_batch") or 0
    fitted = config
    if largest < now:
        least = 1 if gpt else max(config.batch.max_source_length, config.batch.max_target_length)
        if largest < least:
            raise ConfigError("preflight --fit: no micro-batch is small enough; see the finding memory_never_fits")
        parts = -(-now // largest)  # micro-batches of an even size, so that the tokens of a step stay what was asked
        size = -(-now // parts)
        batch = replace(config.batch, micro_batch_size=size) if gpt else replace(config.batch, tokens_per_batch=size)
        accumulation = config.train.gradient_accumulation_steps * parts
        fitted = replace(config, batch=batch, train=replace(config.train, gradient_accumulation_steps=accumulation))
    path = Path(options.out) if options.out else Path(config.run_dir).with_suffix(".fit.yaml")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(configs.dump(fitted), encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"--out: cannot write {path} ({error.strerror})") from None
    return str(path)


if __name__ == "__main__":
    raise SystemExit(main())

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
import difflib
import json
import math
from dataclasses import replace
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from training import config as configs
from training import facts, findings, fitting, forecast, preflight_page, rules, speaking
from training.config import Config, ConfigError
from training.findings import Finding, Language
from training.sheets import SHEETS

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from training.assess import Place
    from training.footprint import Shapes
    from training.prepare import Data


MOST = 1_000_000_000  # devices, GB, money an hour: beyond is a slip


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    try:
        options, rest = _options().parse_known_args(argv)
        _refuse_misspelt(rest)
        config = configs.parse_args(rest, __doc__ or "")
        language = findings.spoken(options.lang, config.log.language)
        speaking.loading(language)
        found = of_config(config, options, language)
        if options.forecast:
            from training import scaling

            try:
                found["forecast"] = scaling.loss_at_the_end(replace(config, log=replace(config.log, language=language)), found)
            except ConfigError as error:  # the rest is worth knowing all the same
                found["forecast"]["no_loss"] = str(error)
        if options.fit:
            found |= fitting.fit(config, found, fitting.fitted_path(config, options.out, rest), bool(options.out))
    except (ConfigError, argparse.ArgumentError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    speaking.printed(as_object(found, language) if options.json else preflight_page.page(config, found, language))
    return 0


def _options() -> argparse.ArgumentParser:
    def yes(text: str) -> bool:
        if text.lower() not in ("true", "false"):
            raise argparse.ArgumentTypeError(f"{text!r}: true or false")
        return text.lower() == "true"

    def count(text: str) -> int:
        if not text.isdecimal() or not 1 <= int(text) <= MOST:
            raise argparse.ArgumentTypeError(f"{text[:40]!r}: a whole number from 1 to {MOST:,}")
        return int(text)

    def positive(text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not 1 / MOST <= number <= MOST:
            raise argparse.ArgumentTypeError(f"{text[:40]!r}: a number above 0, at most {MOST:,}")
        return number

    p = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False, exit_on_error=False,
        epilog="--config FILE and every setting of training/train.py (see its --help) are valid here too.",
    )  # fmt: skip
    p.add_argument("--json", type=yes, default=False, metavar="true|false", help="print one JSON object")
    p.add_argument("--lang", choices=findings.LANGUAGES, help="language; by default that of the locale")
    p.add_argument("--probe", type=yes, default=True, metavar="true|false", help="time some real steps on this device (default true)")
    p.add_argument("--device", choices=sorted(device_names()), help="estimate for this device by its data sheet instead of probing")
    p.add_argument("--devices", type=count, default=1, metavar="N", help="how many devices the run will have")
    p.add_argument("--sharded", type=yes, default=False, metavar="true|false", help="with several devices: FSDP instead of DDP")
    p.add_argument("--memory", type=positive, metavar="GB", help="memory of a device, if not what is free here")
    p.add_argument("--price", type=positive, metavar="MONEY", help="of a device for one hour, in any currency")
    p.add_argument(
        "--forecast", type=yes, default=False, metavar="true|false", help="train three smaller models a little to forecast the loss"
    )
    p.add_argument("--fit", type=yes, default=False, metavar="true|false", help="write a config that fits into the memory")
    p.add_argument("--out", metavar="FILE", help="where --fit writes it (default: beside the config file, NAME.fit.yaml)")
    return p


def _refuse_misspelt(rest: list[str]) -> None:
    """Raises ConfigError for what is nearly an option of this command: the config's keys alone would be offered for it."""
    own = [option for action in _options()._actions for option in action.option_strings if option.startswith("--")]
    for name in (word.partition("=")[0] for word in rest if word.startswith("--") and "." not in word.partition("=")[0]):
        near = difflib.get_close_matches(name, own, 1, 0.7)
        if near and name[2:] not in Config.__dataclass_fields__ and name != "--config":
            raise ConfigError(f"the command line: unknown option {name}; did you mean {near[0]}?")


def device_names() -> list[str]:
    """Devices that are known by name."""
    return list(SHEETS)


def of_config(config: Config, options: argparse.Namespace, language: Language) -> dict[str, Any]:
    """Everything about a run that is not launched yet; its files are made in a temporary folder.

    What it is at is said on stderr, in that language.

    Raises:
        ConfigError: if the config or its files cannot be used.
    """
    from training import assess, device, prepare
    from training.processes import Processes

    configs.check(config)
    device.share_threads()
    quiet()
    before = assess.resident_at_first()
    processes, words = Processes(), findings.phrases("page", language)
    with TemporaryDirectory(prefix="preflight-") as folder:
        inside = replace(config, run_dir=folder, log=replace(config.log, language=language))
        # Of a device that is not here, the precision cannot be checked against what is here.
        prepare.check(with_precision(inside, "no") if options.device else inside, processes)
        data = prepare.open_data(inside, processes)
        cpu = processes.device.type == "cpu" and not options.device
        named = options.memory * 1e9 if options.memory else SHEETS[options.device].memory if options.device else None
        available = round(named) if named else assess.memory_here(processes.device)
        held = max(0, assess.resident() - before) if cpu else 0
        place = assess.Place(available, held, cpu, options.devices, options.sharded)
        chosen = inside
        if inside.train.mixed_precision == "auto" and not cpu:  # a CPU is asked by the probe; until then float32 is assumed
            chosen = with_precision(inside, SHEETS[options.device].precision if options.device else device.of_gpu(processes.device))
        processes.say(words["at_paper"])
        found = on_paper(chosen, data, place)
        if options.probe and not options.device and assess.fits(found):
            processes.say(words["at_probe"])
            if cpu:
                device.return_memory(inside.train.gradient_checkpointing)
            net = prepare.build_model(inside, data).to(processes.device)
            assumed = chosen.train.mixed_precision
            chosen, _, seconds = prepare.choose_precision(inside, data, net, processes, False)
            if chosen.train.mixed_precision not in ("no", assumed):
                found = on_paper(chosen, data, place)
            by_probe(chosen, data, net, found, seconds)
        elif options.device:
            by_sheet(chosen, found, options.device)
        if options.price and found["time"].get("seconds"):
            found["time"]["money"] = float(f"{options.price * options.devices * found['time']['seconds'] / 3600:.6g}")
        processes.say(words["at_variants"])
        shapes, size = shapes_of(chosen, data), len(data.tokenizer)
        found["memory"]["variants"] = assess.variants(chosen, size, shapes, place)
        found["memory"]["largest_batch"] = assess.largest(chosen, size, shapes, place)
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
    from training import assess
    from training.footprint import full_batch

    quiet()
    sheet = SHEETS[device]
    if config.train.mixed_precision == "auto":
        config = with_precision(config, sheet.precision)
    place, shapes = assess.Place(round(sheet.memory)), full_batch(config)
    found, footprint = assess.of_model(config, vocabulary, shapes, place)
    if not assess.fits(found):
        found["memory"]["largest_batch"] = assess.largest(config, vocabulary, shapes, place)
    per_step = footprint.targets * config.train.gradient_accumulation_steps
    found["data"] = {"tokens_per_step": per_step, "tokens": 0}
    found["flops_per_step"] = footprint.flops * config.train.gradient_accumulation_steps
    found["operations_per_step"] = footprint.operations_of_step(config.train.gradient_accumulation_steps)
    by_sheet(config, found, device)
    found["horizon"]["epochs"] = None  # of a corpus that nobody knows
    found["vocabulary"], found["forecast"] = {"size": vocabulary}, {}
    found["findings"] = judged(config, found, rules.OF_A_MODEL)
    return found


def quiet() -> None:
    """transformers would advise on what the tasks see to."""
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()


def before_run(
    config: Config, data: Data, net: PreTrainedModel, seconds: dict[str, float] | None, held: int, devices: int, sharded: bool
) -> dict[str, Any]:
    """The same for a run that is about to begin, its model built and its precision chosen.

    Args:
        seconds: of a step by precision, as `prepare.choose_precision` found them.
        held: bytes that this process has in memory for its data.
        devices, sharded: how many processes there are, and whether by FSDP.
    """
    from training import assess

    place = assess.Place(assess.memory_here(net.device), held, net.device.type == "cpu", devices, sharded)
    found = on_paper(config, data, place)
    if not assess.fits(found):
        found["memory"]["largest_batch"] = assess.largest(config, len(data.tokenizer), shapes_of(config, data), place)
    by_probe(config, data, net, found, seconds)
    found["findings"] = judged(config, found)
    return found


def on_paper(config: Config, data: Data, place: Place) -> dict[str, Any]:
    """What needs no weights: parameters, memory, vocabulary, data, horizon."""
    from training import assess, prepare

    found, footprint = assess.of_model(config, len(data.tokenizer), shapes_of(config, data), place)
    found["vocabulary"] = prepare.look_at_vocabulary(data, footprint.vocabulary)
    found["data"] = assess.of_data(config, data, found["vocabulary"], place.devices)
    found["horizon"] = assess.of_horizon(config, found["data"], None)
    mean = found["data"]["tokens_per_step"] / place.devices / config.train.gradient_accumulation_steps
    found["flops_per_micro_batch"] = round(footprint.flops * mean / max(1, footprint.targets))
    found["flops_per_step"] = found["flops_per_micro_batch"] * config.train.gradient_accumulation_steps * place.devices
    found["operations_per_step"] = footprint.operations_of_step(config.train.gradient_accumulation_steps)
    per_epoch = found["horizon"]["steps_per_epoch"]
    step = None
    if forecast.may_turn(config):
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


def by_probe(config: Config, data: Data, net: PreTrainedModel, found: dict[str, Any], seconds: dict[str, float] | None) -> None:
    """Time some steps and fill in the sections `time` and `horizon`, unless there is no batch to time.

    Args:
        seconds: of a step by precision, as `prepare.choose_precision` found them.
    """
    import torch

    from training import assess, device, probe
    from training.processes import Progress

    where = next(net.parameters()).device
    language = findings.spoken(config.log.language)
    left = findings.phrases("training", language)["left"]
    bar = Progress(findings.phrases("page", language)["at_probe"], 1.0, shown=data.processes.main, left=left)
    others = device.watch_others()
    timed = probe.run(config, data, net, where, bar.to)
    busy = others()
    bar.close()
    if timed is None:
        return
    peak = device.peak_flops(where, config.train.mixed_precision)
    found["horizon"] = assess.of_horizon(config, found["data"], assess.seconds_per_step(config, timed))
    found["time"] = assess.of_time(config, timed, found["horizon"], found["flops_per_micro_batch"], peak, found["memory"]["devices"])
    if seconds is None:
        seconds = probe.by_precision(config, data, net, where) if config.train.mixed_precision != "no" else {}
    found["time"]["step_seconds_by_precision"] = seconds
    found["time"]["gpu"] = where.type == "cuda"
    if where.type == "cpu" and data.processes.world == 1 and busy is not None:
        found["time"] |= {"threads": torch.get_num_threads(), "cores": device.cores(), "busy_cores": round(busy, 2)}


def by_sheet(config: Config, found: dict[str, Any], device: str) -> None:
    """Fill in the sections `time` and `horizon` by what is known of a device."""
    from training import assess

    on = (device, config.train.mixed_precision)
    work = (found["flops_per_step"], found["operations_per_step"], found["memory"]["devices"])
    found["horizon"] = assess.of_horizon(config, found["data"], assess.step_seconds_on(*on, *work))
    found["time"] = assess.of_time_on(*on, found["horizon"], *work)


def judged(config: Config, found: dict[str, Any], which: tuple[facts.Rule, ...] | None = None) -> list[Finding]:
    """What these rules, by default all, say to the numbers."""
    sections = ("parameters", "shape", "memory", "vocabulary", "data", "horizon", "time", "forecast")
    return findings.worst_first(rules.judge(facts.Facts(config, *(found.get(s) or {} for s in sections)), which))


def as_object(found: dict[str, Any], language: Language) -> dict[str, Any]:
    """What `--json true` prints, with the findings in words; a number that is not finite, for which JSON has no name, is null."""
    plain: dict[str, Any] = _finite({**found, "findings": [f.as_dict(language) for f in found["findings"]]})
    return plain


def as_json(found: dict[str, Any], language: Language) -> str:
    """The same as a text, for preflight.json."""
    return json.dumps(as_object(found, language), ensure_ascii=False, indent=1, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


if __name__ == "__main__":
    raise SystemExit(main())

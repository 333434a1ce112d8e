"""Know before you launch: `python training/preflight.py --config configs/gpt/verses.yaml`.

What a run will hold in memory and how long it will take, and what is wrong with it, before any weight exists: the corpus
is read, the model is measured on paper (estimate/footprint.py), some steps are probed if they fit (estimate/probe.py), and rules
judge (estimate/rules_data.py, rules_settings.py). The start of every run prints the same in short. Every setting of
training/train.py can be given here as well.
Exit code 0, however bad the findings; 2 for a config that cannot be read.
"""

from __future__ import annotations

import os
import sys

if __name__ == "__main__":  # as in train.py
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

import argparse
import difflib
import math
from dataclasses import replace

import jsonargparse

from training.base.console import command_parser, loading, option_names, options_of, print_result
from training.base.errors import ConfigError
from training.base.words import prefer, spoken
from training.estimate import fit, page
from training.estimate.gather import as_object, device_names, of_config
from training.settings.config import Config
from training.settings.load import parse_args
from training.train import train

MOST = 1_000_000_000  # devices, GB, money an hour: beyond is a slip


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    try:
        options, rest = _split(sys.argv[1:] if argv is None else argv)
        config = parse_args(rest, __doc__ or "")
        language = spoken(options.lang, config.log.language)
        loading(language)
        found = of_config(config, options, language)
        if options.forecast:
            from training.estimate import loss_forecast

            try:
                found["forecast"] = loss_forecast.loss_at_the_end(replace(config, log=replace(config.log, language=language)), found, train)
            except ConfigError as error:  # the rest is worth knowing all the same
                found["forecast"]["no_loss"] = str(error)
        if options.fit:
            found |= fit.fit(config, found, fit.fitted_path(config, options.out, rest), bool(options.out))
    except (ConfigError, argparse.ArgumentError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    finally:
        prefer(None)
    print_result(as_object(found, language) if options.json else page.page(config, found, language))
    return 0


def _split(argv: list[str]) -> tuple[jsonargparse.Namespace, list[str]]:
    """The options of this command, and all others, which are settings of the run."""
    p = _parser()
    known, own, rest = option_names(p), [], []  # type: tuple[list[str], list[str], list[str]]
    waiting = list(argv)
    while waiting:
        option = waiting.pop(0)
        name, equals, _ = option.partition("=")
        if name in known or name == "-h":
            own.append(option)
            if not equals and waiting and not waiting[0].startswith("--"):
                own.append(waiting.pop(0))
            continue
        rest.append(option)
        near = difflib.get_close_matches(name, known, 1, 0.7)  # the config's keys alone would be offered for it
        if near and name.startswith("--") and "." not in name and name[2:] not in Config.__dataclass_fields__ and name != "--config":
            raise ConfigError(f"the command line: unknown option {name}; did you mean {near[0]}?")
    return options_of(p, own), rest


def _count(value: str | int) -> int:
    text = str(value)  # jsonargparse asks once more about what came of it
    if not text.isdecimal() or not 1 <= int(text) <= MOST:
        raise argparse.ArgumentTypeError(f"{text[:40]!r}: a whole number from 1 to {MOST:,}")
    return int(text)


def _positive(value: str | float) -> float:
    text = str(value)
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 1 / MOST <= number <= MOST:
        raise argparse.ArgumentTypeError(f"{text[:40]!r}: a number above 0, at most {MOST:,}")
    return number


def _parser() -> jsonargparse.ArgumentParser:
    p = command_parser(__doc__, "--config FILE and every setting of training/train.py (see its --help) are valid here too.")
    p.add_argument("--json", type=bool, default=False, help="print one JSON object")
    p.add_argument("--probe", type=bool, default=True, help="time some real steps on this device")
    p.add_argument("--device", choices=sorted(device_names()), help="estimate for this device by its data sheet instead of probing")
    p.add_argument("--devices", type=_count, default=1, metavar="N", help="how many devices the run will have")
    p.add_argument("--sharded", type=bool, default=False, help="with several devices: FSDP instead of DDP")
    p.add_argument("--memory", type=_positive, metavar="GB", help="memory of a device, if not what is free here")
    p.add_argument("--price", type=_positive, metavar="MONEY", help="of a device for one hour, in any currency")
    p.add_argument("--forecast", type=bool, default=False, help="train three smaller models a little to forecast the loss")
    p.add_argument("--fit", type=bool, default=False, help="write a config that fits into the memory")
    p.add_argument("--out", metavar="FILE", help="where --fit writes it (default: beside the config file, NAME.fit.yaml)")
    return p


if __name__ == "__main__":
    raise SystemExit(main())

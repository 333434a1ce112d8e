"""Know before you launch: `python training/preflight.py --config configs/gpt/verses.yaml`.

It tells how much memory a run will take, how long it will take, and what is wrong with it, before any weight exists: the corpus is
read, the memory of a step is worked out on fake tensors (estimate/footprint.py), some steps are timed if they fit (estimate/probe.py),
and rules judge (estimate/rules.py). The start of every run prints the same in short. Every setting of training/train.py is valid here.
Exit code 0, however bad the findings; 2 for a config that cannot be read.
"""

from __future__ import annotations

import os
import sys

if __name__ == "__main__":  # the path is set as in train.py
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

MOST = 1_000_000_000  # devices, GB, money an hour: a larger number is a slip of the finger


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    try:
        options, rest = _split(sys.argv[1:] if argv is None else argv)
        config = parse_args(rest, __doc__ or "")
        language = spoken(options.lang, config.log.language)
        loading(language)
        estimate = of_config(config, options, language)
        if options.forecast:
            from training.estimate import loss_forecast

            try:
                estimate["forecast"] = loss_forecast.loss_at_the_end(
                    replace(config, log=replace(config.log, language=language)), estimate, train
                )
            except ConfigError as error:  # the other numbers are shown without it
                estimate["forecast"]["no_loss"] = str(error)
        if options.fit:
            estimate |= fit.fit(config, estimate, fit.fitted_path(config, options.out, rest), bool(options.out))
    except (ConfigError, argparse.ArgumentError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    finally:
        prefer(None)
    print_result(as_object(estimate, language) if options.json else page.page(config, estimate, language))
    return 0


def _split(argv: list[str]) -> tuple[jsonargparse.Namespace, list[str]]:
    """The options of this command, and the remaining words of the command line, which are settings of the run."""
    parser = _parser()
    options, own, rest = option_names(parser), [], []  # type: tuple[list[str], list[str], list[str]]
    waiting = list(argv)
    while waiting:
        option = waiting.pop(0)
        name, equals, _ = option.partition("=")
        if name in options or name == "-h":
            own.append(option)
            if not equals and waiting and not waiting[0].startswith("--"):
                own.append(waiting.pop(0))
            continue
        rest.append(option)
        near = difflib.get_close_matches(name, options, 1, 0.7)  # parse_args would suggest keys of the config only
        if near and name.startswith("--") and "." not in name and name[2:] not in Config.__dataclass_fields__ and name != "--config":
            raise ConfigError(f"the command line: unknown option {name}; did you mean {near[0]}?")
    return options_of(parser, own), rest


def _count(value: str | int) -> int:
    text = str(value)  # jsonargparse passes the converted value through once more
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
    parser = command_parser(__doc__, "--config FILE and every setting of training/train.py (see its --help) are valid here too.")
    parser.add_argument("--json", type=bool, default=False, help="print one JSON object")
    parser.add_argument("--probe", type=bool, default=True, help="time some real steps on this device")
    parser.add_argument("--device", choices=sorted(device_names()), help="estimate for this device by its data sheet instead of probing")
    parser.add_argument("--devices", type=_count, default=1, metavar="N", help="how many devices the run will have")
    parser.add_argument("--sharded", type=bool, default=False, help="with several devices: FSDP instead of DDP")
    parser.add_argument("--memory", type=_positive, metavar="GB", help="memory of a device, if not what is free here")
    parser.add_argument("--price", type=_positive, metavar="MONEY", help="price of a device for one hour, in any currency")
    parser.add_argument("--forecast", type=bool, default=False, help="train three smaller models a little to forecast the loss")
    parser.add_argument("--fit", type=bool, default=False, help="write a config that fits into the memory")
    parser.add_argument("--out", metavar="FILE", help="where --fit writes it (default: beside the config file, NAME.fit.yaml)")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())

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

from training.base.console import loading, printed
from training.base.errors import ConfigError
from training.base.words import LANGUAGES, spoken
from training.estimate import fit, page
from training.estimate.gather import as_object, device_names, of_config
from training.settings.config import Config
from training.settings.load import parse_args
from training.train import train

MOST = 1_000_000_000  # devices, GB, money an hour: beyond is a slip


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    try:
        options, rest = _options().parse_known_args(argv)
        _refuse_misspelt(rest)
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
    printed(as_object(found, language) if options.json else page.page(config, found, language))
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
    p.add_argument("--lang", choices=LANGUAGES, help="language; by default that of the locale")
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


if __name__ == "__main__":
    raise SystemExit(main())

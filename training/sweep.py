"""Which knob does what: `python training/sweep.py --config configs/sweep/sentence.yaml`.

Trains the base config again and again with other values of some of its keys, as Optuna proposes them, and reports what each
knob does. Stop it at any point and start it again: it goes on. Start it twice, here or on another machine that sees the
folder: both work on the same study. Under `accelerate launch` all processes train the same trial.
Exit code 0: done, or stopped by Ctrl-C (130: twice, at once); 1: the study cannot go on (a full disk); 2: a mistake in the config.
"""

from __future__ import annotations

import os
import sys

if __name__ == "__main__":  # see train.py
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

import gc
import signal
import threading
from typing import Any

from training.base.console import die_with_the_launcher, loading
from training.base.errors import ConfigError, Stopped
from training.base.words import phrases, spoken
from training.sweeps import space
from training.sweeps.worker import work
from training.train import train


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    die_with_the_launcher()
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _interrupted)  # a run has its own while it trains
    sweep = None
    try:
        sweep = space.parse_sweep_args(argv, __doc__ or "")
        loading(spoken(sweep.language))
        work(sweep, train)
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except Stopped as error:
        print(f"stopped: {error}; the same command goes on", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        words = phrases("sweep", spoken(sweep.language if sweep else None))
        begun = sweep and os.path.exists(os.path.join(sweep.run_dir, "sweep.yaml"))
        print(words["stopped" if begun else "stopped_before"], file=sys.stderr)
        return 0
    return 0


def _interrupted(number: int, frame: Any) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    code = main()
    gc.freeze()  # else the interpreter looks through the libraries' million objects on its way out, for seconds
    raise SystemExit(code)

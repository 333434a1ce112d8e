"""Find out which knob does what: `python training/sweep.py --config configs/sweep/sentence.yaml`.

The command trains a base config repeatedly with other values of some of its keys, proposed by Optuna, and reports what each
knob does. It can be stopped at any point; the same command goes on. Started twice, here or on another machine that sees the
folder, both work on the same study. Under `accelerate launch` all processes train the same trial.
Exit code 0: done, or stopped by Ctrl-C; 130: stopped at once by a second Ctrl-C; 1: the study cannot go on, as on a full disk;
2: a mistake in the config.
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
    """Run the command and return its exit code."""
    die_with_the_launcher()
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _interrupted)  # a run installs its own handler while it trains
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
        has_begun = sweep and os.path.exists(os.path.join(sweep.run_dir, "sweep.yaml"))
        print(words["stopped" if has_begun else "stopped_before"], file=sys.stderr)
        return 0
    return 0


def _interrupted(number: int, frame: Any) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    code = main()
    gc.freeze()  # else the interpreter spends seconds at exit collecting the libraries' million objects
    raise SystemExit(code)

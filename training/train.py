"""Train a model from a config: `accelerate launch training/train.py --config configs/gpt/verses.yaml`.

`train(config)` is the same for callers. The one loop, for every task: evaluate, sample, save, then accumulate
micro-batches, clip, step and log. What it leaves behind is the run folder (README, "The run folder").
Exit code 0: done, or saved after Ctrl-C; 1: stopped (a loss that is not finite, a full disk); 2: a mistake in the config.
"""

from __future__ import annotations

import os
import sys

if __name__ == "__main__":  # the script's own folder is first on the path; the repository's root belongs there instead
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

import errno
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from training import config as configs
from training.config import Config, ConfigError
from training.outcome import NotFinite, Stopped, TrainResult

if TYPE_CHECKING:
    from training.run import Run

DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EIO)  # what a disk can do to us

__all__ = ["ConfigError", "NotFinite", "Stopped", "TrainResult", "train"]


def train(config: Config, on_evaluation: Callable[[dict[str, Any]], str | None] | None = None) -> TrainResult:
    """Train until the first horizon is reached.

    Args:
        on_evaluation: called with the record of each evaluation; a string that it returns ends the run and becomes `ended`.

    Raises:
        ConfigError: for anything in the config or its files that cannot work.
        Stopped: when the run cannot go on; NotFinite, when its loss is no longer a number.
    """
    configs.check(config)
    from training.run import Run

    run = Run(config)
    try:
        return _loop(run, on_evaluation)
    finally:
        run.close()


def _loop(run: Run, on_evaluation: Callable[[dict[str, Any]], str | None] | None) -> TrainResult:
    task, accelerator, t = run.data.task, run.accelerator, run.config.train
    while True:
        ended = run.finished()
        if run.evaluation_due(ended):
            ended = run.evaluate(on_evaluation) or ended
        if run.save_due(ended):
            run.save()
        if ended:
            return run.finish(ended)

        batches = run.batches.step(t.gradient_accumulation_steps)
        tokens = run.agree(sum(int(task.targets(b)) for b in batches))
        run.set_rate()
        losses = []
        for batch in batches:
            with accelerator.accumulate(run.model):
                on_device = {k: v.to(accelerator.device, non_blocking=True) for k, v in batch.items()}
                with accelerator.autocast():
                    loss, _ = task.loss(run.model, on_device, t.label_smoothing)
                losses.append(loss.detach())
                # The mean over all tokens of the step, on all processes: accelerate divides by the accumulation and
                # DDP averages over processes, so both are taken back.
                accelerator.backward(loss * (t.gradient_accumulation_steps * accelerator.num_processes / tokens))
                if accelerator.sync_gradients:
                    run.clip(batches, losses)
                    run.update()
        run.count(losses, tokens, batches)
        run.log()


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    die_with_the_launcher()
    problem, code, agreed = "", 0, True
    config = None
    try:
        config = configs.parse_args(argv, __doc__ or "")
        train(config)
    except ConfigError as error:
        problem, code = f"error: {error}", 2
    except Stopped as error:
        problem, code = f"stopped: {error}", 1
    except OSError as error:
        if error.errno not in DISK:
            raise
        from training.checkpoint import newest  # costs seconds, so not before it is needed

        kept = newest(Path(config.run_dir)) if config else None
        rest = f"the last checkpoint is whole ({kept.name})" if kept else "there is no checkpoint yet"
        problem, code, agreed = f"stopped: {error.filename or 'the run folder'}: {error.strerror}; {rest}", 1, False
    except KeyboardInterrupt:
        problem, code = "stopped before the first step", 130
    if problem and (not agreed or os.environ.get("RANK", "0") == "0"):  # what every process knows, one says
        print(problem, file=sys.stderr)
    return code


def die_with_the_launcher() -> None:
    """When `accelerate launch` is killed, its only child gets a SIGTERM, instead of training on unseen (Linux)."""
    if sys.platform == "linux" and "ACCELERATE_MIXED_PRECISION" in os.environ:
        import ctypes
        import signal

        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


if __name__ == "__main__":
    raise SystemExit(main())

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

import signal
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from training.base.console import loading
from training.base.errors import ConfigError, NotFinite, OutOfMemory, Stopped, TrainResult
from training.base.words import spoken
from training.settings.config import Config
from training.settings.load import check_config, parse_args

if TYPE_CHECKING:
    import torch

    from training.loop.run import Run
    from training.tasks.base import Memory
from training.base.console import die_with_the_launcher
from training.base.errors import DISK

__all__ = ["ConfigError", "NotFinite", "OutOfMemory", "Stopped", "TrainResult", "train"]


def train(
    config: Config,
    on_evaluation: Callable[[dict[str, Any]], str | None] | None = None,
    memory: Memory | None = None,
    workers: int = 1,
) -> TrainResult:  # fmt: skip
    """Train until the first horizon is reached.

    Args:
        on_evaluation: called with the record of each evaluation; a string that it returns ends the run and becomes `ended`.
        memory: of token ids, for a caller that trains several runs on the same rows.
        workers: runs that train side by side on this machine and share its cores.

    Raises:
        ConfigError: for anything in the config or its files that cannot work.
        Stopped: when the run cannot go on: NotFinite, when its loss is no longer a number, OutOfMemory, when memory ran out
            after the first steps (before that, micro-batches are divided).
    """
    check_config(config)
    from training.loop.run import Run

    run = Run(config, memory, workers)
    try:
        result = _loop(run, on_evaluation)
    except Stopped as error:
        run.journal.end(run.state.step, run.seconds, error.ended, run.peak_memory())
        error.signal = run.interrupted
        raise
    except Exception as error:
        error.signal = run.interrupted  # type: ignore[attr-defined]  # for a sweep, which goes on with its next trial otherwise
        raise
    finally:
        run.close()
    return replace(result, signal=run.interrupted)  # one that came while the report was written counts too


def _loop(run: Run, on_evaluation: Callable[[dict[str, Any]], str | None] | None) -> TrainResult:
    from training.loop.out_of_memory import within_memory

    task, t = run.data.task, run.config.train
    while True:
        ended = run.finished()
        if run.evaluation_due(ended):
            verdict = run.evaluate(on_evaluation)
            ended = ended if ended == "finished" else verdict or ended  # at the horizon nothing is left to be cut short
        if run.save_due(ended):
            run.save()
        if ended:
            return run.finish(ended)

        batches = run.batches.step(t.gradient_accumulation_steps)
        tokens = run.agree(sum(int(task.targets(b)) for b in batches))
        run.set_rate()
        losses = within_memory(run, batches, partial(_accumulate, run, tokens))
        run.count(losses, tokens, batches)
        run.log()


def _accumulate(run: Run, tokens: int, batches: list[dict[str, torch.Tensor]]) -> list[torch.Tensor]:
    """Forward and backward over this process's micro-batches, and the optimizers' step; their summed losses.

    Args:
        tokens: that the step predicts, over all processes.
    """
    task, accelerator = run.data.task, run.accelerator
    losses = []
    for batch in batches:
        with accelerator.accumulate(run.model):
            on_device = {k: v.to(accelerator.device, non_blocking=True) for k, v in batch.items()}
            with accelerator.autocast():
                loss, _ = task.loss(run.model, on_device, run.config.train.label_smoothing)
            losses.append(loss.detach())
            # The mean over all tokens of the step, on all processes: accelerate divides by the accumulation and
            # DDP averages over processes, so both are taken back.
            accelerator.backward(loss * (len(batches) * accelerator.num_processes / tokens))
            if accelerator.sync_gradients:
                run.clip(batches, losses)
                run.update()
    return losses


class Terminated(KeyboardInterrupt):
    """SIGTERM before the first step; later ones are the run's own affair (run.py)."""


def _terminated(number: int, frame: Any) -> None:
    signal.signal(number, signal.SIG_IGN)  # often it comes twice: to the group, and again from the launcher as it dies
    raise Terminated


def _last_checkpoint(config: Config | None) -> str:
    from training.setup.checkpoint import newest  # costs seconds, so not before it is needed

    try:
        kept = newest(Path(config.run_dir)) if config else None
    except ConfigError as error:
        return str(error)
    return f"the last checkpoint is whole ({kept.name})" if kept else "there is no checkpoint yet"


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    die_with_the_launcher()
    problem, code, agreed = "", 0, True
    config = None
    before = signal.signal(signal.SIGTERM, _terminated) if threading.current_thread() is threading.main_thread() else None
    try:
        config = parse_args(argv, __doc__ or "")
        loading(spoken(config.log.language))
        train(config)
    except ConfigError as error:
        problem, code = f"error: {error}", 2
    except Stopped as error:
        problem, code = f"stopped: {error}", 1
    except OSError as error:
        if error.errno not in DISK:
            raise
        rest = _last_checkpoint(config)
        problem, code, agreed = f"stopped: {error.filename or 'the run folder'}: {error.strerror}; {rest}", 1, False
    except KeyboardInterrupt as error:
        problem, code = "stopped before the first step", 143 if isinstance(error, Terminated) else 130
    finally:
        if before is not None:
            signal.signal(signal.SIGTERM, before)
    if problem and (not agreed or os.environ.get("RANK", "0") == "0"):  # what every process knows, one says
        print(problem, file=sys.stderr)
    return code


if __name__ == "__main__":
    raise SystemExit(main())

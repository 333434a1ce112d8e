"""Train a model from a config: `accelerate launch -q training/train.py --config configs/gpt/verses.yaml`.

`train(config)` does the same for a caller in Python. There is one loop for every task: evaluate, sample, save, then accumulate
micro-batches, clip, step and log. Its output is the run folder (README, "The run folder").
Exit code 0: done, or saved after Ctrl-C; 1: stopped (a loss that is not finite, a full disk); 2: a mistake in the config;
130 and 143: ended by SIGINT or SIGTERM before the first step.
"""

from __future__ import annotations

import os
import sys

if __name__ == "__main__":  # Python put the script's own folder first on the path; the repository's root belongs there
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

import math
import signal
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from training.base.console import die_with_the_launcher, loading
from training.base.errors import DISK, ConfigError, NotFinite, OutOfMemory, Stopped, TrainResult
from training.base.words import spoken
from training.loop.signals import Signals
from training.settings.config import Config
from training.settings.load import check_config, parse_args, refuse_moved

if TYPE_CHECKING:
    import torch

    from training.loop.run import Run
    from training.tasks.base import TokenCache

__all__ = ["ConfigError", "NotFinite", "OutOfMemory", "Stopped", "TrainResult", "train"]


def train(
    config: Config,
    on_evaluation: Callable[[dict[str, Any]], str | None] | None = None,
    token_cache: TokenCache | None = None,
    workers: int = 1,
    signals: Signals | None = None,
) -> TrainResult:  # fmt: skip
    """Train until the first horizon is reached.

    Args:
        on_evaluation: called with the record of each evaluation; if it returns a string, the run ends and `ended` is that string.
        token_cache: shared by a caller that trains several runs on the same rows.
        workers: number of runs that train side by side on this machine and share its cores.
        signals: remembers SIGINT and SIGTERM, for a caller that must know of them even if the run ended by an exception.

    Raises:
        ConfigError: if the config or its files cannot work.
        Stopped: if the run cannot go on; NotFinite, if its loss is not finite; OutOfMemory, if memory ran out and smaller parts of
            micro-batches do not help.
    """
    check_config(config)
    from training.loop.run import open_run

    signals = signals or Signals()
    with closing(open_run(config, token_cache, workers, signals)) as run:
        try:
            result = _loop(run, on_evaluation)
        except Stopped as error:
            run.journal.end(run.state.step, run.seconds, error.ended, run.peak_memory())
            raise
    return replace(result, signal=signals.received)  # a signal that came while the report was written counts too


def _loop(run: Run, on_evaluation: Callable[[dict[str, Any]], str | None] | None) -> TrainResult:
    """Evaluate, sample and save, then accumulate, clip, step and log; repeat until the run ends."""
    import torch

    from training.loop.out_of_memory import no_second_try, within_memory
    from training.model.optim import rate, whole

    config, state, task, processes, accelerator = run.config, run.state, run.data.task, run.processes, run.accelerator
    interrupted = False  # whether any process had received a signal at the last step
    while True:
        ended = "finished" if run.progress() >= 1 else "interrupted" if interrupted else None
        if run.evaluation_due(ended):
            if processes.any(bool(run.signals.received)):  # the sender may not wait for an evaluation: the launcher kills after 30 s
                ended = "interrupted"  # the resumed run evaluates
            else:
                verdict = run.evaluate(on_evaluation)
                ended = ended or verdict  # a finished run stays finished, whatever the verdict
        if run.save_due(ended):
            run.save()
        if ended:
            return run.finish(ended)

        batches = run.batches.step(config.train.gradient_accumulation_steps)
        # Summed over all processes: this step's target tokens, the signals received, and the main process's clock (0 in the others).
        targets, clock = sum(int(task.targets(batch)) for batch in batches), run.seconds if processes.main else 0.0
        total, signalled, state.seconds = processes.sum(targets, bool(run.signals.received), clock)
        tokens, interrupted = int(total), signalled > 0

        factor = rate(config.optim, state.step, run.progress())  # of the peak learning rate, by warmup and schedule
        for group in run.parameter_groups():
            group["lr"] = group["peak"] * factor
        micro_batches, losses = within_memory(
            partial(_accumulate, run, tokens), batches, state, processes, config,
            clear=run.clear_gradients, save=partial(run.save, run.batches.before),
        )  # fmt: skip
        with no_second_try(state.step + 1, run.dir):
            norm = accelerator.clip_grad_norm_(run.network.parameters(), config.optim.max_grad_norm or math.inf)
            grad_norm = float(whole(norm))  # before clipping
            # fp16's loss scaling tries larger scales from time to time; an overflow then only makes the optimizers skip the step.
            if not math.isfinite(grad_norm) and accelerator.scaler is None:
                raise run.not_finite(micro_batches, losses)  # the weights are still those of the previous step
            for optimizer in run.optimizers:
                if math.isfinite(grad_norm):
                    optimizer.step()
                optimizer.zero_grad()
            # accelerate's own step updates after each optimizer, and would then unscale the next one's gradients a second time.
            if accelerator.scaler:
                accelerator.scaler.update()

        (loss,) = processes.sum(float(torch.stack(losses).double().sum()))
        if not math.isfinite(loss):
            raise run.not_finite(micro_batches, losses)
        state.step += 1
        state.tokens += tokens
        state.window_loss += loss
        state.window_tokens += tokens
        if run.average and run.average.due(state.step, run.progress()):
            run.average.update(run.network)
            state.average_updates = run.average.updates
        if state.step % config.log.every_steps == 0 or run.progress() >= 1:
            run.log(config.optim.learning_rate * factor, grad_norm)
        run.journal.progress(state.step, run.progress())


def _accumulate(run: Run, tokens: int, micro_batches: list[dict[str, torch.Tensor]]) -> list[torch.Tensor]:
    """Forward and backward passes. Returns the loss of each micro-batch of this process, summed over its target tokens.

    Args:
        tokens: number of target tokens in the step, over all processes.
    """
    accelerator = run.accelerator
    accelerator.gradient_accumulation_steps, accelerator.step = len(micro_batches), 0
    losses = []
    for batch in micro_batches:
        with accelerator.accumulate(run.model):
            on_device = {k: v.to(accelerator.device, non_blocking=True) for k, v in batch.items()}
            with accelerator.autocast():
                loss, _ = run.data.task.loss(run.model, on_device, run.config.train.label_smoothing)
            losses.append(loss.detach())
            # The gradient is that of the mean over all target tokens of the step, on all processes. accelerate divides by the
            # number of micro-batches and DDP by the number of processes, so both are multiplied back in.
            accelerator.backward(loss * (len(micro_batches) * accelerator.num_processes / tokens))
    return losses


class Terminated(KeyboardInterrupt):
    """SIGTERM before the first step. Later ones are remembered by `Signals`."""


def _terminated(number: int, frame: Any) -> None:
    signal.signal(number, signal.SIG_IGN)  # it often comes twice: to the process group, and again from the launcher as it dies
    raise Terminated


def _last_checkpoint(config: Config | None) -> str:
    """Words for the message of a run that stops: which checkpoint is left, or why that cannot be told."""
    from training.setup.checkpoint import newest  # takes seconds to import, so not before it is needed

    try:
        latest = newest(Path(config.run_dir)) if config else None
    except ConfigError as error:
        return str(error)
    return f"the last checkpoint is whole ({latest.name})" if latest else "there is no checkpoint yet"


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    die_with_the_launcher()
    problem, code, agreed = "", 0, True
    config = None
    before = signal.signal(signal.SIGTERM, _terminated) if threading.current_thread() is threading.main_thread() else None
    try:
        config = parse_args(argv, __doc__ or "")
        refuse_moved(argv, config)
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
    if problem and (not agreed or os.environ.get("RANK", "0") == "0"):  # a problem that every process has is printed by one
        print(problem, file=sys.stderr)
    return code


if __name__ == "__main__":
    raise SystemExit(main())

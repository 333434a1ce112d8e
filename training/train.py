"""Train a model from a config: `accelerate launch training/train.py --config configs/gpt/verses.yaml`.

`train(config)` is the same for callers. The one loop, for every task: evaluate, sample, save, then accumulate
micro-batches, clip, step and log. What it leaves behind is the run folder (README, "The run folder").
"""

from __future__ import annotations

import os
import sys

if __name__ == "__main__":  # the script's own folder is first on the path; the repository's root belongs there instead
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

import json
import math
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from training import config as configs
from training.config import Config, ConfigError


class NotFinite(Exception):
    """The loss became infinite or not a number; the last checkpoint is from before."""


@dataclass
class TrainResult:
    """How a run ended.

    Attributes:
        ended: finished, stopped early, interrupted, or what a caller's `on_evaluation` said.
        metrics: the records of the best evaluation (val_loss, perplexity, …), empty without a validation set.
        model_dir: the checkpoint to use: the best one, or the latest.
    """

    run_dir: Path
    step: int
    ended: str
    metrics: dict[str, Any]
    model_dir: Path | None


def train(config: Config, on_evaluation: Callable[[dict[str, Any]], str | None] | None = None) -> TrainResult:
    """Train until the first horizon is reached.

    Args:
        on_evaluation: called with the record of each evaluation; a string that it returns ends the run and becomes `ended`.

    Raises:
        ConfigError: for anything in the config or its files that cannot work.
        NotFinite: when the loss is no longer a number.
    """
    configs.check(config)
    from training.run import Run

    run = Run(config)
    try:
        return _loop(run, on_evaluation)
    finally:
        run.close()


def _loop(run: Any, on_evaluation: Callable[[dict[str, Any]], str | None] | None) -> TrainResult:
    config, accelerator = run.config, run.accelerator
    accumulation = config.train.gradient_accumulation_steps
    ended = None
    while True:
        finished = ended or run.finished()
        fresh = run.step > run.resumed_at  # what was evaluated and saved before a resume is not done again
        if fresh and run.step and (finished or run.step % config.evaluation.every_steps == 0) and ended != "interrupted":
            record = run.evaluate()
            verdict = run.judge(record) or (on_evaluation(record) if on_evaluation else None)
            finished = finished or verdict
        if fresh and run.step and (finished or run.improved or run.step % config.checkpoint.every_steps == 0):
            run.save()
        if finished:
            return run.finish(finished)

        batches = run.batches.step(accumulation)
        tokens, ended, elapsed = run.agree(sum(int(run.task.targets(b)) for b in batches))
        run.set_rate(elapsed)
        step_loss = 0.0
        for batch in batches:
            with accelerator.accumulate(run.model):
                batch = {k: v.to(accelerator.device, non_blocking=True) for k, v in batch.items()}
                with accelerator.autocast():
                    loss, _ = run.task.loss(run.model, batch, config.train.label_smoothing)
                # The mean over all tokens of the step, on all processes: accelerate divides by the accumulation and
                # DDP averages over processes, so both are taken back.
                accelerator.backward(loss * (accumulation * accelerator.num_processes / tokens))
                step_loss += float(loss.detach())
                if accelerator.sync_gradients:
                    limit = config.optim.max_grad_norm or math.inf
                    run.grad_norm = float(accelerator.clip_grad_norm_(run.model.parameters(), limit))
                for optimizer in run.optimizers:
                    optimizer.step()
                    optimizer.zero_grad()
        run.count(step_loss, tokens, batches)
        run.log()


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    try:
        config = configs.parse_args(argv, __doc__ or "")
        result = train(config)
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except NotFinite as error:
        print(f"stopped: {error}", file=sys.stderr)
        return 1
    return 0 if result else 1


if __name__ == "__main__":
    raise SystemExit(main())

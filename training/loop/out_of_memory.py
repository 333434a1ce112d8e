"""When memory runs out in a step: smaller parts at first, a checkpoint and a word of advice later."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from accelerate.utils.memory import clear_device_cache, should_reduce_batch_size

from training.base.errors import OutOfMemory
from training.corpus.batches import divided
from training.setup.checkpoint import Tensors

if TYPE_CHECKING:
    from training.loop.run import Run


FIRST_STEPS = 50  # in which memory that runs out makes parts smaller; later it stops the run, because something else grew


def within_memory(run: Run, batches: list[Tensors], step: Callable[[list[Tensors]], list[torch.Tensor]]) -> list[torch.Tensor]:
    """`step` over the micro-batches, in parts if memory is short; tokens and gradients are those of the whole.

    Raises:
        OutOfMemory: when that does not help, or it happens after the first steps; then there is a checkpoint.
    """
    while True:
        parts = [part for batch in batches for part in divided(batch, run.state.parts)]
        run.accelerator.gradient_accumulation_steps, run.accelerator.step = len(parts), 0
        try:
            return step(parts)
        except RuntimeError as error:
            if not should_reduce_batch_size(error):
                raise
        _make_room(run, max(len(b["labels"]) for b in batches))  # here, where the error no longer holds the tensors


def _make_room(run: Run, rows: int) -> None:
    s, now = run.state, run.state.parts
    for optimizer in run.optimizers:
        optimizer.zero_grad()
    clear_device_cache(garbage_collection=True)
    smaller = "a smaller batch section, train.gradient_checkpointing: true or a smaller vocabulary (training/preflight.py says which)"
    if run.processes.world > 1:  # the others wait for gradients that will not come
        raise OutOfMemory(f"out of memory in step {s.step + 1:,}. With several processes it needs {smaller}")
    if now >= rows:
        raise OutOfMemory(
            f"out of memory in step {s.step + 1:,} even with a single row at a time; it needs {smaller}", OutOfMemory.SINGLE_ROW
        )
    s.parts = 2 * now
    if s.step >= FIRST_STEPS:
        run.save(run.batches.before)
        raise OutOfMemory(
            f"out of memory in step {s.step + 1:,}; saved at step {s.step:,}. Go on with --resume true --run_dir {run.dir}: each "
            f"micro-batch will go in {s.parts} parts, with the same tokens a step. Or free memory: {smaller}",
            OutOfMemory.SAVED,
        )
    accumulation = run.config.train.gradient_accumulation_steps
    counts = {"parts": s.parts, "before": accumulation * now, "after": accumulation * s.parts}
    run.processes.say(run.words["in_parts"].format(step=s.step + 1, **counts))

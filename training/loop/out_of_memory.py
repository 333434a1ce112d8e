"""Out of memory in a step: its micro-batches are accumulated again in smaller parts, or the run stops and says what helps.

Only accumulation is tried again, since gradients can be cleared. Weights that an optimizer has moved cannot be moved back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from accelerate.utils.memory import clear_device_cache, should_reduce_batch_size

from training.base.errors import OutOfMemory
from training.base.words import phrases, spoken
from training.corpus.batches import divided
from training.loop.snapshot import State
from training.settings.config import Config
from training.setup import checkpoint
from training.setup.checkpoint import Tensors
from training.setup.processes import Processes

FIRST_STEPS = 50  # out of memory in these makes parts smaller; later it stops the run, because something other than the batch grew


def within_memory(
    accumulate: Callable[[list[Tensors]], list[torch.Tensor]], batches: list[Tensors], state: State, processes: Processes, config: Config,
    *, clear: Callable[[], None], save: Callable[[], None],
) -> tuple[list[Tensors], list[torch.Tensor]]:  # fmt: skip
    """Call `accumulate` with the micro-batches, each in `state.parts` parts; that number is doubled until they fit into memory.

    Args:
        batches: the micro-batches of a step in this process.
        clear: clears the gradients accumulated so far.
        save: writes a checkpoint of the state before this step.

    Returns:
        the parts that fitted, and what `accumulate` returned for them. Their tokens and gradients are those of the whole micro-batches.

    Raises:
        OutOfMemory: if smaller parts do not help, or after FIRST_STEPS, when a checkpoint is saved first.
    """
    while True:
        parts = [part for batch in batches for part in divided(batch, state.parts)]
        try:
            return parts, accumulate(parts)
        except RuntimeError as error:
            if not should_reduce_batch_size(error):
                raise
        # This is not in the `except` block, because the error would still hold the tensors there.
        clear()
        clear_device_cache(garbage_collection=True)
        _divide_further(batches, state, processes, config, save)


def _divide_further(batches: list[Tensors], state: State, processes: Processes, config: Config, save: Callable[[], None]) -> None:
    """Double `state.parts`, or raise the OutOfMemory that says why that does not help."""
    step, rows = state.step + 1, max(len(batch["labels"]) for batch in batches)
    smaller = "a smaller batch section, train.gradient_checkpointing: true or a smaller vocabulary (training/preflight.py says which)"
    if processes.world > 1:  # the other processes already wait for this one's gradients
        raise OutOfMemory(f"out of memory in step {step:,}. With several processes it needs {smaller}")
    if state.parts >= rows:
        raise OutOfMemory(f"out of memory in step {step:,} even with a single row at a time; it needs {smaller}", OutOfMemory.SINGLE_ROW)
    before = len(batches) * state.parts
    state.parts *= 2
    if state.step >= FIRST_STEPS:
        save()
        raise OutOfMemory(
            f"out of memory in step {step:,}; saved at step {state.step:,}. Go on with --resume true --run_dir {config.run_dir}: each "
            f"micro-batch will go in {state.parts} parts, with the same tokens a step. Or free memory: {smaller}",
            OutOfMemory.SAVED,
        )
    words = phrases("training", spoken(config.log.language))
    processes.say(words["in_parts"].format(step=step, parts=state.parts, before=before, after=2 * before))


@contextmanager
def no_second_try(step: int, run_dir: Path) -> Iterator[None]:
    """A context for clipping and the optimizers' step. Out of memory in it ends the run, because some weights may have moved.

    Raises:
        OutOfMemory: its message has advice and names the last checkpoint in `run_dir`.
    """
    try:
        yield
    except RuntimeError as error:
        if not should_reduce_batch_size(error):
            raise
        raise OutOfMemory(
            f"out of memory in the optimizer of step {step:,}, which smaller batches do not change; it needs a smaller model or "
            f"vocabulary. {checkpoint.last_in_words(run_dir)}",
            OutOfMemory.OPTIMIZER,
        ) from None

"""What of a run goes into a checkpoint; how it is written is checkpoint.py's."""

from __future__ import annotations

from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from training import checkpoint, report
from training.outcome import Stopped

if TYPE_CHECKING:
    from training.run import Run


def save(run: Run, cursor: dict[str, int] | None = None) -> None:
    """A checkpoint of this step; `latest` and perhaps `best` point to it.

    Args:
        cursor: where to go on in the data, if not after what was dealt last.
    """
    problem = ""
    weights, raw = _weights(run), None
    if run.average and run.average.updates:
        raw = weights
        with run.average.inside(run.network):
            weights = {n: v.clone() for n, v in _weights(run).items()}
    states = run.processes.gather(checkpoint.random_state(run.processes.device))
    tensors = checkpoint.pack_optimizers(run.optimizers) if run.main or run.sharded else {}
    if run.main:
        tensors |= {f"random.{i}": state for i, state in enumerate(states)}
        scaler = run.accelerator.scaler
        state = {
            "world": run.processes.world, "rows": run.data.corpus.count(), "contents": run.data.contents,
            "cursor": cursor or run.batches.state(),
            "scaler": scaler.state_dict() if scaler is not None else None, "state": asdict(run.state) | {"seconds": run.seconds},
        }  # fmt: skip
        measured = {k: v for k, v in run.latest.items() if k != "step"} if run.latest.get("step") == run.state.step else {}
        meta = report.meta(run.config, run.state.step, run.parameters, measured, run.data.corpus.count())
        card = report.card(run.config, meta)
        try:
            place = checkpoint.save(
                run.dir, run.state.step, run.network, weights, run.data.tokenizer, meta, card, state, tensors, raw
            )  # fmt: skip
            point(run, place)
            checkpoint.prune(run.dir, run.config.checkpoint.keep)
        except (Stopped, OSError) as error:
            problem = str(error)
    run.processes.stop_if(problem, Stopped)


def _weights(run: Run) -> checkpoint.Tensors:
    """The present weights, whole and on the CPU, tied ones under one name; for the process that writes them."""
    if not run.main and not run.sharded:  # sharded weights are put together by all processes
        return {}
    names = {n for n, _ in chain(run.network.named_parameters(), run.network.named_buffers())}
    return {n: checkpoint.whole(v).cpu() for n, v in run.network.state_dict().items() if n in names}


def point(run: Run, latest: Path) -> None:
    """`latest`, and `best`: the best evaluation's checkpoint, or without a validation set the latest."""
    checkpoint.point(run.dir, "latest", latest)
    best = latest.with_name(f"step-{run.state.best['step']:08d}") if run.state.best else latest
    if best.is_dir():
        checkpoint.point(run.dir, "best", best)

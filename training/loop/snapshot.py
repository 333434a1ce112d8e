"""What of a run goes into a checkpoint, and how the run finds it again; how it is written is checkpoint.py's."""

from __future__ import annotations

from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from training.base.errors import Stopped
from training.loop.pages import meta_of, model_card
from training.model import optim
from training.model.hardware import random_state
from training.setup import checkpoint

if TYPE_CHECKING:
    from training.loop.run import Run
from dataclasses import dataclass
from typing import Any

from training.base.errors import ConfigError
from training.setup.data import Data, changed_contents
from training.setup.processes import Processes


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
    states = run.processes.gather(random_state(run.processes.device))
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
        meta = meta_of(run.config, run.state.step, run.parameters, measured, run.data.corpus.count())
        card = model_card(run.config, meta)
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
    return {n: optim.whole(v).cpu() for n, v in run.network.state_dict().items() if n in names}


def point(run: Run, latest: Path) -> None:
    """`latest`, and `best`: the best evaluation's checkpoint, or without a validation set the latest."""
    checkpoint.point(run.dir, "latest", latest)
    best = latest.with_name(f"step-{run.state.best['step']:08d}") if run.state.best else latest
    if best.is_dir():
        checkpoint.point(run.dir, "best", best)


@dataclass
class State:
    """What a run counts, from its first launch on."""

    step: int = 0
    tokens: int = 0
    seconds: float = 0.0  # up to the last time that all processes agreed on it
    evaluated: int = 0  # the step of the last evaluation
    best: dict[str, Any] | None = None  # its record
    evaluations_since_best: int = 0
    window_loss: float = 0.0  # since the last `train` record
    window_tokens: int = 0
    average_updates: int = 0
    parts: int = 1  # that each micro-batch is divided into since memory ran out


def restored(saved: dict[str, Any], place: Path, data: Data, processes: Processes) -> State:
    """The counters of a checkpoint whose rows and their order are still this run's.

    Args:
        saved: its trainer_state/state.json.
        place: its folder.

    Raises:
        ConfigError: if it is damaged, or the processes, the rows or their bytes are not what the run began with.
    """
    try:
        counts = (("processes", saved["world"], processes.world), ("rows", saved["rows"], data.corpus.count()))
        state = State(**saved["state"])
        whole = [saved["world"], saved["rows"], *(saved["cursor"][k] for k in ("chunk", "batch", "left_out"))]
        s = {k: v for k, v in asdict(state).items() if k not in ("seconds", "window_loss", "best")}
        sound = all(type(n) is int and n >= 0 for n in [*whole, *s.values()]) and state.seconds >= 0 and state.window_loss >= 0
        sound = sound and (state.best is None or state.best["step"] + state.best["val_loss"] >= 0)
        changed = changed_contents(saved["contents"], data.contents) if saved.get("contents") else ""
    except (LookupError, TypeError, ValueError):
        sound = False
    if not sound:
        raise checkpoint.unusable(place, "trainer_state/state.json is damaged or another version of this trainer wrote it")
    for what, before, now in counts:
        if before != now:
            raise ConfigError(f"resume: this run began with {before:,} {what}, now there are {now:,}; the order of its rows would change")
    if changed:
        raise ConfigError(
            f"resume: {changed} is not what this run began with; put back what it was (a copy with the same bytes will do), or "
            "train on it in another --run_dir"
        )
    return state

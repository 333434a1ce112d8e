"""What goes into a checkpoint of a run, and how a run is restored from it. setup/checkpoint.py writes and reads the files."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from training.base.errors import ConfigError, Stopped
from training.loop.pages import meta_of, model_card
from training.model.hardware import random_state, set_random_state
from training.model.optim import Average, whole
from training.settings.config import Config, TrainConfig
from training.setup import checkpoint
from training.setup.data import Data, changed_contents
from training.setup.processes import Processes


@dataclass
class State:
    """The counters of a run, over all its launches."""

    step: int = 0
    tokens: int = 0
    seconds: float = 0.0  # of training, as all processes last agreed
    evaluated: int = 0  # the step of the last evaluation
    best: dict[str, Any] | None = None  # the record of the best evaluation so far
    evaluations_since_best: int = 0
    window_loss: float = 0.0  # summed since the last `train` record
    window_tokens: int = 0  # counted since then
    average_updates: int = 0
    parts: int = 1  # into which each micro-batch is divided; more than 1 once memory has run out

    def progress(self, horizons: TrainConfig) -> float:
        """Share of the nearest horizon that is done, the same in every process. At 1 or more the run is finished."""
        pairs = [
            (self.step, horizons.max_steps), (self.tokens, horizons.max_tokens),
            (self.seconds, horizons.max_minutes and 60 * horizons.max_minutes),
        ]  # fmt: skip
        return max(done / horizon for done, horizon in pairs if horizon)


@dataclass(frozen=True)
class Snapshots:
    """Writes a run's checkpoints.

    Attributes:
        network: the model as it was before accelerate wrapped it.
        parameters: number of parameters of the whole model.
        scaler: the loss scaling of fp16; None with any other precision.
        sharded: whether every process holds a part of each weight; then all processes have to take part in gathering weights.
    """

    config: Config
    data: Data
    processes: Processes
    network: PreTrainedModel
    parameters: int
    optimizers: list[torch.optim.Optimizer]
    average: Average | None
    scaler: torch.amp.GradScaler | None
    sharded: bool

    def save(self, state: State, cursor: dict[str, int], measured: dict[str, Any]) -> None:
        """Write a checkpoint of this step, and point `latest` and perhaps `best` to it. Every process has to call.

        Args:
            cursor: where a resumed run goes on in the data.
            measured: the numbers of this step's evaluation, for meta.json; empty if there was none.

        Raises:
            Stopped: in every process, if the main process cannot write the checkpoint.
        """
        processes, run_dir, problem = self.processes, Path(self.config.run_dir), ""
        weights, raw = self._weights(), None
        if self.average and self.average.updates:
            raw = weights
            with self.average.inside(self.network):
                weights = {name: weight.clone() for name, weight in self._weights().items()}
        random_states = processes.gather(random_state(processes.device))
        tensors = checkpoint.pack_optimizers(self.optimizers) if processes.main or self.sharded else {}
        if processes.main:
            tensors |= {f"random.{rank}": random for rank, random in enumerate(random_states)}
            trainer_state = {
                "world": processes.world, "rows": self.data.corpus.count(), "contents": self.data.contents, "cursor": cursor,
                "scaler": self.scaler.state_dict() if self.scaler is not None else None, "state": asdict(state),
            }  # fmt: skip
            meta = meta_of(self.config, state.step, self.parameters, measured, self.data.corpus.count())
            card = model_card(self.config, meta)
            try:
                place = checkpoint.save(
                    run_dir, state.step, self.network, weights, self.data.tokenizer, meta, card, trainer_state, tensors, raw
                )  # fmt: skip
                point(place, state)
                checkpoint.prune(run_dir, self.config.checkpoint.keep, place)
            except (Stopped, OSError) as error:
                problem = str(error)
        processes.stop_if(problem, Stopped)

    def _weights(self) -> checkpoint.Tensors:
        """The present weights by name, whole and on the CPU. Empty in a process that neither writes them nor holds a part."""
        if not self.processes.main and not self.sharded:
            return {}
        names = {name for name, _ in chain(self.network.named_parameters(), self.network.named_buffers())}
        return {name: whole(weight).cpu() for name, weight in self.network.state_dict().items() if name in names}


def point(latest: Path, state: State) -> None:
    """Write `latest`, and `best`: the checkpoint of the best evaluation, or the latest one if there is no validation set."""
    run_dir = latest.parent.parent
    checkpoint.point(run_dir, "latest", latest)
    best = latest.with_name(f"step-{state.best['step']:08d}") if state.best else latest
    if best.is_dir():
        checkpoint.point(run_dir, "best", best)


@dataclass(frozen=True)
class Resumed:
    """A checkpoint that a run goes on from.

    Attributes:
        cursor: where the run goes on in the data.
        averaged: the averaged weights, one tensor for each parameter; None if the run does not average.
        scaler: the state of fp16's loss scaling; None with any other precision.
        tensors: the states of optimizers and of random number generators.
    """

    place: Path
    state: State
    cursor: dict[str, int]
    averaged: list[torch.Tensor] | None
    scaler: dict[str, Any] | None
    tensors: checkpoint.Tensors

    def put_back(self, optimizers: list[torch.optim.Optimizer], scaler: torch.amp.GradScaler | None, processes: Processes) -> None:
        """Restore the optimizers, the loss scaling and this process's random numbers. Raises ConfigError if they do not fit."""
        checkpoint.unpack_optimizers(optimizers, self.tensors, self.place)
        if scaler is not None and self.scaler:
            scaler.load_state_dict(self.scaler)
        set_random_state(self.tensors[f"random.{processes.rank}"], processes.device)


def load(place: Path, network: PreTrainedModel, data: Data, processes: Processes) -> Resumed:
    """Load a checkpoint's weights into `network` and return the rest of it.

    Raises:
        ConfigError: if the checkpoint is damaged, or the processes, the rows or their bytes are not what the run began with.
    """
    saved, tensors, averaged = checkpoint.load(place, network)
    state = _state(saved, place, data, processes)
    return Resumed(place, state, saved["cursor"], averaged, saved.get("scaler"), tensors)


def _state(saved: dict[str, Any], place: Path, data: Data, processes: Processes) -> State:
    """The counters from a checkpoint's state.json; raises ConfigError unless this run has the same rows in the same order."""
    try:
        counts = (("processes", saved["world"], processes.world), ("rows", saved["rows"], data.corpus.count()))
        state = State(**saved["state"])
        whole_numbers = [saved["world"], saved["rows"], *(saved["cursor"][k] for k in ("chunk", "batch", "left_out"))]
        whole_numbers += [v for k, v in asdict(state).items() if k not in ("seconds", "window_loss", "best")]
        sound = all(type(n) is int and n >= 0 for n in whole_numbers) and state.seconds >= 0 and state.window_loss >= 0
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

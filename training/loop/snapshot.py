"""What of a run goes into a checkpoint, and how a run finds it again. How a checkpoint is written is setup/checkpoint.py's."""

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

    def progress(self, horizons: TrainConfig) -> float:
        """Share of the nearest horizon that is done; 1 and more: the run is finished. The same in every process."""
        pairs = [
            (self.step, horizons.max_steps), (self.tokens, horizons.max_tokens),
            (self.seconds, horizons.max_minutes and 60 * horizons.max_minutes),
        ]  # fmt: skip
        return max(done / horizon for done, horizon in pairs if horizon)


@dataclass(frozen=True)
class Snapshots:
    """Writes a run's checkpoints.

    Attributes:
        network: the model without what accelerate wraps around it.
        parameters: of the whole model.
        scaler: of the losses under fp16, else None.
        sharded: every process holds a part of each weight, so all have to be there when weights are put together.
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
        """A checkpoint of this step; `latest` and perhaps `best` point to it. Every process has to call.

        Args:
            cursor: where to go on in the data.
            measured: the numbers of this step's evaluation, for meta.json; empty if there was none.

        Raises:
            Stopped: in every process, if the main one cannot write it.
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
        """The present weights, whole and on the CPU, tied ones under one name; for the process that writes them."""
        if not self.processes.main and not self.sharded:
            return {}
        names = {name for name, _ in chain(self.network.named_parameters(), self.network.named_buffers())}
        return {name: whole(weight).cpu() for name, weight in self.network.state_dict().items() if name in names}


def point(latest: Path, state: State) -> None:
    """The run's `latest`, and `best`: the best evaluation's checkpoint, or without a validation set the latest."""
    run_dir = latest.parent.parent
    checkpoint.point(run_dir, "latest", latest)
    best = latest.with_name(f"step-{state.best['step']:08d}") if state.best else latest
    if best.is_dir():
        checkpoint.point(run_dir, "best", best)


@dataclass(frozen=True)
class Resumed:
    """A checkpoint that a run goes on from.

    Attributes:
        cursor: where to go on in the data.
        averaged: the averaged weights, one a parameter, if the run averages.
        scaler: the state of fp16's loss scaling, if it had one.
        tensors: the states of optimizers and of random number generators.
    """

    place: Path
    state: State
    cursor: dict[str, int]
    averaged: list[torch.Tensor] | None
    scaler: dict[str, Any] | None
    tensors: checkpoint.Tensors

    def put_back(self, optimizers: list[torch.optim.Optimizer], scaler: torch.amp.GradScaler | None, processes: Processes) -> None:
        """Optimizers, loss scaling and this process's random numbers are as they were when the checkpoint was written."""
        checkpoint.unpack_optimizers(optimizers, self.tensors, self.place)
        if scaler is not None and self.scaler:
            scaler.load_state_dict(self.scaler)
        set_random_state(self.tensors[f"random.{processes.rank}"], processes.device)


def load(place: Path, network: PreTrainedModel, data: Data, processes: Processes) -> Resumed:
    """Put a checkpoint's weights into `network`; what it has besides is returned.

    Raises:
        ConfigError: if it is damaged, or the processes, the rows or their bytes are not what the run began with.
    """
    saved, tensors, averaged = checkpoint.load(place, network)
    state = _state(saved, place, data, processes)
    return Resumed(place, state, saved["cursor"], averaged, saved.get("scaler"), tensors)


def _state(saved: dict[str, Any], place: Path, data: Data, processes: Processes) -> State:
    """The counters in a checkpoint's state.json, if its rows and their order are still this run's."""
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

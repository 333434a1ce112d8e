"""What a run counts, and how it finds that again in a checkpoint."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from training import checkpoint, prepare
from training.config import ConfigError
from training.prepare import Data
from training.processes import Processes


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
        changed = prepare.changed(saved["contents"], data.contents) if saved.get("contents") else ""
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

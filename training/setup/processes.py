"""The processes of a run: which one this is, stopping together, speaking with one voice, and signs of life.

The main process (the first) decides, writes files and talks; what it decides is told to the others.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list, gather_object, parse_flag_from_env
from tqdm import tqdm

from training.base.errors import ConfigError, Stopped

T = TypeVar("T")

PATIENCE = timedelta(hours=12)  # the others wait while the main process reads a large corpus; a dead process is noticed anyway


class Processes:
    """This process among those that were launched together."""

    def __init__(self) -> None:
        # accelerate makes a group of processes on CPUs only if it is told that they are meant.
        several = int(os.environ.get("WORLD_SIZE", 1)) > 1
        cpu = parse_flag_from_env("ACCELERATE_USE_CPU") or (several and not torch.accelerator.is_available())
        self.state = PartialState(cpu=cpu, timeout=PATIENCE)
        self.main: bool = self.state.is_main_process
        self.rank: int = self.state.process_index
        self.world: int = self.state.num_processes
        self.device: torch.device = self.state.device
        if self.world == 1 and "MASTER_PORT" in os.environ and "RANK" not in os.environ:
            self.say(
                "note: `accelerate launch --cpu` starts one process, whatever --num_processes says; for several use "
                "--config_file configs/accelerate/cpu_processes.yaml"
            )

    def say(self, line: str) -> None:
        """A line on stderr, once, beside a progress bar if there is one."""
        if self.main:
            tqdm.write(line, file=sys.stderr)

    def from_main(self, value: T) -> T:
        """The main process's value, in every process."""
        told: list[Any] = broadcast_object_list([value])
        return told[0]

    def gather(self, value: T) -> list[T]:
        """Every process's value, in every process."""
        found: list[T] = gather_object([value])
        return found

    def sum(self, *numbers: float) -> list[float]:
        """Each number, summed over the processes."""
        if self.world == 1:
            return list(numbers)
        dtype = torch.float32 if self.device.type == "mps" else torch.float64
        total = torch.tensor(numbers, dtype=dtype, device=self.device)
        torch.distributed.all_reduce(total)
        return [float(n) for n in total]

    def any(self, mine: bool) -> bool:
        """Whether it is so in any process. As with `sum`, every process has to ask."""
        return self.sum(mine)[0] > 0

    def stop_if(self, problem: str, kind: type[Exception] = ConfigError) -> None:
        """End every process if one of them has a problem, instead of leaving the others waiting."""
        if problems := [p for p in self.gather(problem) if p]:
            raise kind(problems[0])

    def in_turn(self, work: Callable[[], T]) -> T:
        """`work` on the main process, then on the others, which find what it left on disk."""
        result: list[T] = []
        for turn in (self.main, not self.main):
            failure: tuple[type[Exception], str] | None = None
            if turn:
                try:
                    result.append(work())
                except (ConfigError, Stopped) as error:
                    failure = type(error), str(error)
            if failures := [f for f in self.gather(failure) if f]:
                kind, problem = failures[0]
                raise kind(problem)
        return result[0]

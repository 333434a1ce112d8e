"""The processes of a run: which one this is, and how they agree, stop together and print a line only once.

The main process (the first) decides, writes files and prints; it sends what it decides to the others. Every method but `say` is
collective: all processes have to call it.
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

PATIENCE = timedelta(hours=12)  # the others wait while the main process reads a large corpus; a process that dies is noticed earlier


class Processes:
    """This process among those that were launched together."""

    def __init__(self) -> None:
        # accelerate groups processes on CPUs only if it is told to use CPUs.
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
        """Print a line on stderr, from the main process only, without breaking a progress bar."""
        if self.main:
            tqdm.write(line, file=sys.stderr)

    def from_main(self, value: T) -> T:
        """The main process's `value`, in every process."""
        values: list[Any] = broadcast_object_list([value])
        return values[0]

    def gather(self, value: T) -> list[T]:
        """The values of all processes in the order of their ranks, in every process."""
        values: list[T] = gather_object([value])
        return values

    def sum(self, *numbers: float) -> list[float]:
        """Each number summed over all processes, in every process."""
        if self.world == 1:
            return list(numbers)
        dtype = torch.float32 if self.device.type == "mps" else torch.float64
        total = torch.tensor(numbers, dtype=dtype, device=self.device)
        torch.distributed.all_reduce(total)
        return [float(n) for n in total]

    def any(self, mine: bool) -> bool:
        """Whether `mine` is true in any process."""
        return self.sum(mine)[0] > 0

    def stop_if(self, problem: str, kind: type[Exception] = ConfigError) -> None:
        """Raise `kind` in every process if one of them has a problem (a string that is not empty), so that none is left waiting."""
        if problems := [p for p in self.gather(problem) if p]:
            raise kind(problems[0])

    def in_turn(self, work: Callable[[], T]) -> T:
        """Run `work` in the main process and then in the others, which find what it left on disk. Returns its result.

        Raises:
            ConfigError, Stopped: in every process, if `work` raised one in any.
        """
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

"""The processes of a run: which one this is, stopping together, speaking with one voice, and signs of life.

The main process (the first) decides, writes files and talks; what it decides is told to the others.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list, gather_object, parse_flag_from_env
from tqdm import tqdm

from training.config import ConfigError

T = TypeVar("T")
PATIENCE = timedelta(hours=12)  # the others wait while the main process reads a large corpus; a dead process is noticed anyway


class Processes:
    """This process among those that were launched together."""

    def __init__(self) -> None:
        gpu = torch.cuda.is_available() or torch.backends.mps.is_available() or (hasattr(torch, "xpu") and torch.xpu.is_available())
        # accelerate makes a group of processes on CPUs only if it is told that they are meant.
        cpu = parse_flag_from_env("ACCELERATE_USE_CPU") or (int(os.environ.get("WORLD_SIZE", 1)) > 1 and not gpu)
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

    def stop_if(self, problem: str, kind: type[Exception] = ConfigError) -> None:
        """End every process if one of them has a problem, instead of leaving the others waiting."""
        if problems := [p for p in self.gather(problem) if p]:
            raise kind(problems[0])

    def in_turn(self, work: Callable[[], T]) -> T:
        """`work` on the main process, then on the others, which find what it left on disk."""
        result: list[T] = []
        for turn in (self.main, not self.main):
            problem = ""
            if turn:
                try:
                    result.append(work())
                except ConfigError as error:
                    problem = str(error)
            self.stop_if(problem)
        return result[0]


class Progress:
    """How far something is: a bar on a terminal, elsewhere (a file, a pipe) a line every half minute.

    Args:
        total: what `done` goes up to, if that is known.
        delay: seconds before anything is shown.
        left: the words for `time` that is left.
    """

    EVERY = 30.0

    def __init__(
        self, what: str, total: float | None = None, done: float = 0, shown: bool = True, delay: float = 2.0, left: str = "{time} left"
    ):
        self._what, self.left, self.total, self.first, self.done, self.note = what, left, total, done, done, ""
        self.stream = sys.stderr  # of now: a study sends what its trials say elsewhere
        self.began = self.told = time.monotonic()
        self.shown = shown
        form = "{desc}: {percentage:3.0f}%|{bar:20}| [{elapsed}<{remaining}{postfix}]" if total else "{desc}: {n_fmt} [{elapsed}]"
        self.bar = tqdm(
            total=total, initial=done, desc=what, delay=delay, leave=False, unit_scale=True, file=self.stream, dynamic_ncols=True,
            disable=not (shown and self.stream.isatty()), mininterval=0.3, miniters=0, bar_format=form, smoothing=0,
        )  # fmt: skip

    @property
    def what(self) -> str:
        """What is going on; setting it shows it at once, since what follows may take long without a word."""
        return self._what

    @what.setter
    def what(self, what: str) -> None:
        self._what = what
        self.bar.delay = 0  # else tqdm does not wipe what is shown before that
        self.bar.set_description_str(what, refresh=self.shown)

    def to(self, done: float, note: str = "") -> None:
        """It has come as far as `done`."""
        self.done, self.note = done, note or self.note
        self.bar.set_postfix_str(self.note, refresh=False)
        self.bar.update(done - self.bar.n)
        now = time.monotonic()
        if self.shown and self.bar.disable and now - self.told >= self.EVERY:
            self.told = now
            parts = [f"{self.what}: {done / self.total:.0%}" if self.total else f"{self.what}: {done:,.0f}"]
            parts += [self.note] if self.note else []
            if self.total and self.first < done < self.total:
                left = (now - self.began) * (self.total - done) / (done - self.first)
                parts.append(self.left.format(time=tqdm.format_interval(max(0, int(left)))))
            print(", ".join(parts), file=self.stream, flush=True)

    @contextmanager
    def alive(self) -> Iterator[None]:
        """While something goes on that does not tell how far it is, what is known is shown again, with the time so far."""
        over = threading.Event()

        def beat() -> None:
            while not over.wait(1.0):
                self.to(self.done)

        beating = threading.Thread(target=beat, daemon=True)
        if self.shown:
            beating.start()
        try:
            yield
        finally:
            over.set()
            if self.shown:
                beating.join()

    def close(self) -> None:
        """Nothing more is shown."""
        self.bar.close()

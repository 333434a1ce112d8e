"""What a run writes down and shows while it lasts: metrics.jsonl, a tracker, the progress bar, curves and samples."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from training import config as configs
from training import evaluation, findings, run_folder
from training.config import Config
from training.processes import Processes, Progress

REDRAWN_AFTER = 10.0  # seconds; a picture takes half a second


class Journal:
    """The records of a run. The main process writes; every process may call.

    Args:
        step, evaluated: of the checkpoint that the run goes on from; later records are dropped.
        done: share of the run that is done.
    """

    def __init__(self, config: Config, accelerator: Accelerator, processes: Processes, step: int, evaluated: int, done: float):
        self.config, self.dir, self.accelerator, self.processes = config, Path(config.run_dir), accelerator, processes
        self.metrics: run_folder.Metrics | None = None
        self.words = findings.phrases("training", findings.spoken(config.log.language))
        over = step > 0 and done >= 1
        if processes.main:
            with run_folder.complaints(f"run_dir: cannot write in {self.dir}"):
                self.metrics = run_folder.Metrics(self.dir, step, evaluated, over)
                if not over:  # what ends before it has begun does not say how the run was made
                    run_folder.write(self.dir / "config.yaml", configs.dump(replace(config, resume=False)))
        if over:
            processes.say(self.words["already_finished"].format(step=step))
        if config.log.log_with:
            accelerator.init_trackers("stray-bird", config={"run_dir": config.run_dir, "model": str(config.model)})
        self.drawn, self.note = time.monotonic(), self.words["no_loss"]
        self.bar = Progress(self.words["training"], total=1.0, done=min(1.0, done), shown=processes.main, delay=0, left=self.words["left"])

    def train(self, step: int, seconds: float, numbers: dict[str, Any]) -> None:
        """A `train` record: loss, learning_rate, grad_norm, tokens, epoch, tokens_per_second."""
        if self.metrics:
            self.metrics.add("train", step, seconds, **numbers)
        if self.config.log.log_with:
            self.accelerator.log({k: v for k, v in numbers.items() if k != "tokens"}, step=step)
        self.note = self.words["loss"].format(loss=numbers["loss"], rate=numbers["tokens_per_second"])

    def progress(self, step: int, share: float) -> None:
        """The bar, after each step."""
        most = self.config.train.max_steps
        at = self.words["step_of" if most else "step"].format(step=step, most=most)
        self.bar.to(min(1.0, share), f"{at}{self.words['comma']}{self.note}")

    def evaluation(self, step: int, seconds: float, numbers: dict[str, Any], samples: list[dict[str, Any]]) -> None:
        """An `evaluate` and a `sample` record, and the pages made from them."""
        if self.metrics:
            self.metrics.add("evaluate", step, seconds, **numbers)
            if samples:
                self.metrics.add("sample", step, seconds, samples=samples)
            run_folder.write_samples(self.dir)
            if time.monotonic() - self.drawn > REDRAWN_AFTER:
                run_folder.draw(self.dir, self.dir.name)
                self.drawn = time.monotonic()
        self.processes.say(evaluation.line(step, numbers, samples, self.words))
        if self.config.log.log_with:
            self.accelerator.log({k: v for k, v in numbers.items() if isinstance(v, int | float)}, step=step)

    def end(self, step: int, seconds: float, ended: str, peak_memory: int) -> None:
        """How it ended, and the most memory that it took, in bytes; once, however often a finished run is resumed."""
        if self.metrics and not (self.metrics.finished and ended == "finished"):
            self.metrics.add("end", step, seconds, ended=ended, peak_memory_bytes=peak_memory)

    def close(self) -> None:
        """No more records; the tracker is told."""
        self.bar.close()
        if self.metrics:
            self.metrics.close()
        if self.config.log.log_with:
            self.accelerator.end_training()

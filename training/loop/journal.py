"""What a run records and shows while it lasts: metrics.jsonl, a tracker, the progress bar, curves and samples."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from training.base.console import Progress
from training.base.files import as_config_error, finite, write_text
from training.base.words import phrases, spoken
from training.diagnosis.run_records import read_metrics
from training.loop.evaluation import evaluation_line
from training.loop.pages import draw_curves, write_samples
from training.settings.config import Config, dump_config
from training.setup.processes import Processes


class Metrics:
    """metrics.jsonl: one record for each event, appended and flushed."""

    def __init__(self, folder: Path, step: int, evaluated: int, over: bool = False):
        """Open the file. Records after `step` are dropped: a launch that was cut off wrote them.

        Args:
            step: the step that the run goes on from.
            evaluated: the last step whose evaluation is in the checkpoint.
            over: whether the run is finished already; then the record of its end stays.
        """
        self.path = folder / "metrics.jsonl"
        last = {"evaluate": evaluated, "sample": evaluated, "end": -1}
        kept = [r for r in read_metrics(folder) if r["step"] <= last.get(r["event"], step) or (over and _finished(r, step))]
        self.finished = any(_finished(r, step) for r in kept)
        if not self.finished:
            (folder / "report.md").unlink(missing_ok=True)  # it reports an end that the run now goes beyond
        write_text(self.path, "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in kept))
        self._file = open(self.path, "a", encoding="utf-8", newline="\n")

    def add(self, event: str, step: int, seconds: float, **numbers: Any) -> None:
        """Write one record. Numbers that are not finite become null, because JSON has no name for them."""
        record = {"event": event, "step": step, "seconds": round(seconds, 3)} | {k: finite(v) for k, v in numbers.items()}
        self._file.write(json.dumps(record, ensure_ascii=False) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _finished(record: dict[str, Any], step: int) -> bool:
    """Whether the record is that of a finished run's end at this step."""
    return record["event"] == "end" and record["step"] == step and record.get("ended") == "finished"


REDRAWN_AFTER = 10.0  # seconds between two drawings of the curves, which take half a second


class Journal:
    """The records of a run. The main process writes; every process may call.

    Args:
        step: step of the checkpoint that the run goes on from; later records are dropped.
        evaluated: the last step whose evaluation is in that checkpoint.
        done: share of the run that is done, 0 to 1.
    """

    def __init__(self, config: Config, accelerator: Accelerator, processes: Processes, step: int, evaluated: int, done: float):
        self.config, self.dir, self.accelerator, self.processes = config, Path(config.run_dir), accelerator, processes
        self.metrics: Metrics | None = None
        self.words = phrases("training", spoken(config.log.language))
        over = step > 0 and done >= 1
        if processes.main:
            with as_config_error(f"run_dir: cannot write in {self.dir}"):
                self.metrics = Metrics(self.dir, step, evaluated, over)
                if not over:  # a launch that trains nothing must not replace the config of the run
                    write_text(self.dir / "config.yaml", dump_config(replace(config, resume=False)))
        if over:
            processes.say(self.words["already_finished"].format(step=step))
        if config.log.log_with:
            accelerator.init_trackers("stray-bird", config={"run_dir": config.run_dir, "model": str(config.model)})
        self.drawn, self.note = time.monotonic(), self.words["no_loss"]
        self.bar = Progress(self.words["training"], total=1.0, done=min(1.0, done), shown=processes.main, delay=0, left=self.words["left"])

    def train(self, step: int, seconds: float, numbers: dict[str, Any]) -> None:
        """Write a `train` record: loss, learning_rate, grad_norm, tokens, epoch and tokens_per_second."""
        if self.metrics:
            self.metrics.add("train", step, seconds, **numbers)
        if self.config.log.log_with:
            self.accelerator.log({k: v for k, v in numbers.items() if k != "tokens"}, step=step)
        self.note = self.words["loss"].format(loss=numbers["loss"], rate=numbers["tokens_per_second"])

    def progress(self, step: int, share: float) -> None:
        """Move the progress bar, after each step."""
        max_steps = self.config.train.max_steps
        position = self.words["step_of" if max_steps else "step"].format(step=step, most=max_steps)
        self.bar.to(min(1.0, share), f"{position}{self.words['comma']}{self.note}")

    def evaluation(self, step: int, seconds: float, numbers: dict[str, Any], samples: list[dict[str, Any]]) -> None:
        """Write an `evaluate` and a `sample` record, and the pages made from them; print the evaluation."""
        if self.metrics:
            self.metrics.add("evaluate", step, seconds, **numbers)
            if samples:
                self.metrics.add("sample", step, seconds, samples=samples)
            write_samples(self.dir)
            if time.monotonic() - self.drawn > REDRAWN_AFTER:
                draw_curves(self.dir, self.dir.name)
                self.drawn = time.monotonic()
        self.processes.say(evaluation_line(step, numbers, samples, self.words))
        if self.config.log.log_with:
            self.accelerator.log({k: v for k, v in numbers.items() if isinstance(v, int | float)}, step=step)

    def end(self, step: int, seconds: float, ended: str, peak_memory: int) -> None:
        """Write the `end` record: how the run ended and its peak memory in bytes. A finished run that is resumed gets no second one."""
        if self.metrics and not (self.metrics.finished and ended == "finished"):
            self.metrics.add("end", step, seconds, ended=ended, peak_memory_bytes=peak_memory)

    def close(self) -> None:
        """Close the bar, the records and the tracker."""
        self.bar.close()
        if self.metrics:
            self.metrics.close()
        if self.config.log.log_with:
            self.accelerator.end_training()

"""One run: everything that the loop of train.py works on, set up from a config or from a checkpoint.

`Run` has one method for each thing that the loop does, in its order; what it counts is in state.py.
"""

from __future__ import annotations

import math
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedType, parse_flag_from_env, set_seed
from accelerate.utils.memory import should_reduce_batch_size
from transformers import PreTrainedModel

from training.base.console import printed
from training.base.errors import NotFinite, OutOfMemory, TrainResult
from training.base.files import complaints, write_text
from training.base.words import phrases, spoken
from training.corpus.batches import MicroBatches
from training.estimate import gather, numbers, page
from training.loop import snapshot
from training.loop.evaluation import Evaluation
from training.loop.journal import Journal
from training.loop.pages import draw_curves, write_report
from training.loop.snapshot import State, restored
from training.model import optim
from training.model.build import count_parameters, parameters_by_part, quiet_transformers
from training.model.hardware import peak_memory, return_memory, set_random_state, share_threads
from training.model.optim import Average, make_optimizers, rate
from training.model.tokenizer import tokenizer_summary
from training.settings.config import Config
from training.setup import checkpoint
from training.setup.data import build_model, check_before_reading, choose_precision, look_at_vocabulary, open_data, open_folder
from training.setup.processes import Processes
from training.tasks.base import Memory


class Run:
    """A run, ready for its first step."""

    accelerator: Accelerator
    journal: Journal

    def __init__(self, config: Config, memory: Memory | None = None, workers: int = 1):
        share_threads(workers)
        quiet_transformers()
        self.config, self.dir = config, Path(config.run_dir)
        self.interrupted, self.handlers = "", dict[int, Any]()
        self.words = phrases("training", spoken(config.log.language))
        self.processes = Processes()
        self.main, self.resident_at_first = self.processes.main, numbers.resident_at_first()
        check_before_reading(config, self.processes)
        self.lock, self.resumed_from = open_folder(config, self.processes)
        try:
            self.data = open_data(config, self.processes, memory)
            self.held = numbers.resident() - self.resident_at_first  # by the data
            self._build()
            self._begin()
        except BaseException:
            self.close()
            raise

    def _build(self) -> None:
        """Model, optimizers, average and counters; from the checkpoint, if there is one."""
        net = build_model(self.config, self.data)
        if self.processes.device.type == "cpu":
            return_memory(self.config.train.gradient_checkpointing)
        self.parameters, self.state = count_parameters(net), State()
        self.vocabulary = look_at_vocabulary(self.data, parameters_by_part(net, len(self.data.tokenizer))[1])
        saved: dict[str, Any] = {}
        tensors: checkpoint.Tensors = {}
        averaged = None
        if self.resumed_from:
            saved, tensors, averaged = checkpoint.load(self.resumed_from, net)
            self.state = restored(saved, self.resumed_from, self.data, self.processes)
        net.train()
        net.to(self.processes.device)
        self.config, self.measured, seconds = choose_precision(self.config, self.data, net, self.processes, bool(saved))
        c = self.config
        if c.log.preflight and self.main and not saved:
            self._preflight(net, seconds)
        self.accelerator = Accelerator(
            cpu=self.processes.device.type == "cpu", mixed_precision=c.train.mixed_precision, log_with=c.log.log_with,
            project_dir=str(self.dir), gradient_accumulation_steps=c.train.gradient_accumulation_steps,
            step_scheduler_with_optimizer=False,
        )  # fmt: skip
        self.sharded = self.accelerator.distributed_type == DistributedType.FSDP
        self.network = net  # without what accelerate wraps around it
        self.model, *wrapped = self.accelerator.prepare(net, *make_optimizers(net, c.optim, self.processes.device, c.train.mixed_precision))
        self.optimizers = [o.optimizer for o in wrapped]
        if self.resumed_from:
            checkpoint.unpack_optimizers(self.optimizers, tensors, self.resumed_from)
        self.average = None
        if c.train.averaging != "none":
            self.average = Average(net, c.train, self.state.average_updates, averaged)
        self.evaluation = Evaluation(c, self.data, self.accelerator, self.processes)
        self.batches = MicroBatches(
            self.data.corpus, self.data.task.make_batches, self.processes.rank, self.processes.world, c.corpus.workers, saved.get("cursor")
        )
        set_seed(c.seed + self.processes.rank)
        if saved:
            set_random_state(tensors[f"random.{self.processes.rank}"], self.processes.device)
            if self.accelerator.scaler is not None and saved.get("scaler"):
                self.accelerator.scaler.load_state_dict(saved["scaler"])

    def _preflight(self, net: PreTrainedModel, seconds: dict[str, float] | None) -> None:
        """Say what the run will take and what is wrong with it; preflight.json keeps it for the report."""
        language = spoken(self.config.log.language)
        sharded = self.processes.world > 1 and parse_flag_from_env("ACCELERATE_USE_FSDP")  # there is no Accelerator to ask yet
        found = gather.before_run(self.config, self.data, net, seconds, self.held, self.processes.world, sharded)
        with complaints(f"run_dir: cannot write in {self.dir}"):
            write_text(self.dir / "preflight.json", gather.as_json(found, language) + "\n")
        for line in page.short(found, language):
            self.processes.say(line)

    def _begin(self) -> None:
        """Open the records, tell what will be trained, and start the clock."""
        c, s, world = self.config, self.state, self.processes.world
        self.saved = (s.step, s.evaluated)  # of the last checkpoint
        self.improved, self.grad_norm, self.latest = False, 0.0, dict[str, Any]()
        if threading.current_thread() is threading.main_thread():
            self.handlers = {n: signal.signal(n, self._interrupt) for n in (signal.SIGINT, signal.SIGTERM)}
        words = phrases("report", spoken(c.log.language))
        say = self.processes.say
        say(words["tokenizer"].format(line=tokenizer_summary(self.vocabulary, words)))
        where = {"device": self.processes.device.type, "threads": torch.get_num_threads()}
        what = {"type": c.model["type"], "parameters": self.parameters, "precision": f"{c.train.mixed_precision}{self.measured}"}
        say(self.words["begins" if world == 1 else "begin"].format(world=world, **where, **what))
        if self.resumed_from:
            say(self.words["resuming"].format(place=self.resumed_from, step=s.step))
        self.launched, self.seconds_before = time.monotonic(), s.seconds
        self.logged_at = self.seconds
        self.journal = Journal(c, self.accelerator, self.processes, s.step, s.evaluated, self.share())
        if self.main and self.resumed_from:
            snapshot.point(self, self.resumed_from)

    def _interrupt(self, number: int, frame: Any) -> None:
        if self.interrupted and number == signal.SIGINT:  # asked twice: at once
            os.write(2, f"\n{self.words['at_once_kept' if self.saved[0] else 'at_once']}\n".encode())
            os._exit(130)
        self.interrupted = signal.Signals(number).name
        if self.main:
            os.write(2, f"\n{self.words['finishing'].format(signal=self.interrupted)}\n".encode())  # print is not safe in a handler

    # ---- what the loop asks for, in its order

    @property
    def seconds(self) -> float:
        """Seconds of training, with evaluation and saving, over all launches."""
        return self.seconds_before + time.monotonic() - self.launched

    def share(self) -> float:
        """Share of the nearest horizon that is done; 1 and more: the run is finished. The same in every process."""
        s, t = self.state, self.config.train
        horizons = [(s.step, t.max_steps), (s.tokens, t.max_tokens), (s.seconds, t.max_minutes and 60 * t.max_minutes)]
        return max(done / whole for done, whole in horizons if whole)

    def finished(self) -> str | None:
        """Whether a horizon is reached, or the run was interrupted.

        A signal goes before an evaluation: whoever sent it may not wait (the launcher kills 30 s later). The resumed run
        evaluates instead.
        """
        ended = "finished" if self.share() >= 1 else "interrupted" if self.agreed_interrupted else None
        if self.evaluation_due(ended):
            (interrupted,) = self.processes.sum(bool(self.interrupted))
            ended = "interrupted" if interrupted else ended
        return ended

    agreed_interrupted = False

    def evaluation_due(self, ended: str | None) -> bool:
        """At its steps and at the end, once, but not after a signal."""
        s = self.state
        due = ended is not None or s.step % self.config.evaluation.every_steps == 0
        return ended != "interrupted" and s.step > 0 and s.evaluated != s.step and due

    def save_due(self, ended: str | None) -> bool:
        """At its steps, at the end and at the best evaluation; again if an evaluation came after (`meta.json` has its numbers)."""
        s = self.state
        wanted = ended is not None or self.improved or s.step % self.config.checkpoint.every_steps == 0
        return s.step > 0 and wanted and self.saved != (s.step, s.evaluated)

    def agree(self, tokens: int) -> int:
        """Over all processes: the target tokens of this step (returned), the clock, and whether somebody was interrupted."""
        clock = self.seconds if self.main else 0.0
        total, interrupted, self.state.seconds = self.processes.sum(tokens, bool(self.interrupted), clock)
        self.agreed_interrupted = interrupted > 0
        return int(total)

    def set_rate(self) -> None:
        """The learning rate of the coming step."""
        self.rate = rate(self.config.optim, self.state.step, self.share())
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * self.rate

    def peak_memory(self) -> int:
        """Bytes at the peak: on a CPU less what the interpreter and its libraries had at the start.

        0 where an earlier run of the same process needed more: the system remembers one peak a process.
        """
        return max(0, peak_memory(self.processes.device) - (self.resident_at_first if self.processes.device.type == "cpu" else 0))

    def clip(self, batches: list[dict[str, torch.Tensor]], losses: list[torch.Tensor]) -> None:
        """Scale the gradients down to max_grad_norm.

        Raises:
            NotFinite: if they are not finite; the weights are still those of the step before. With fp16's loss scaling, which
                probes for the largest scale, an overflow only makes the optimizer leave the step out.
        """
        limit = self.config.optim.max_grad_norm or math.inf
        self.grad_norm = float(optim.whole(self.accelerator.clip_grad_norm_(self.network.parameters(), limit)))
        if not math.isfinite(self.grad_norm) and self.accelerator.scaler is None:
            self._not_finite(batches, losses)

    def update(self) -> None:
        """One step of all optimizers; of none if the gradients overflowed fp16's loss scaling.

        accelerate's own step updates the scale once for each optimizer, whereupon the next one's gradients count as scaled
        again. `clip` has unscaled them all; what it found is the same on every process.
        """
        scaler = self.accelerator.scaler
        for optimizer in self.optimizers:
            if scaler is None or math.isfinite(self.grad_norm):
                self._step(optimizer)
            optimizer.zero_grad()
        if scaler is not None:
            scaler.update()

    def _step(self, optimizer: torch.optim.Optimizer) -> None:
        """Its step; one that found no memory cannot be done again, because some weights have moved."""
        try:
            optimizer.step()
        except RuntimeError as error:
            if not should_reduce_batch_size(error):
                raise
            kept = checkpoint.pointed(self.dir, "latest")
            raise OutOfMemory(
                f"out of memory in the optimizer of step {self.state.step + 1:,}, which smaller batches do not change; it needs a smaller "
                f"model or vocabulary. {f'The last checkpoint is whole ({kept.name})' if kept else 'There is no checkpoint yet'}",
                OutOfMemory.OPTIMIZER,
            ) from None

    def count(self, losses: list[torch.Tensor], tokens: int, batches: list[dict[str, torch.Tensor]]) -> None:
        """Book a step: `losses` are summed over the tokens of each of this process's micro-batches."""
        s = self.state
        (loss,) = self.processes.sum(float(torch.stack(losses).double().sum()))
        if not math.isfinite(loss):
            self._not_finite(batches, losses)
        s.step += 1
        s.tokens += tokens
        s.window_loss += loss
        s.window_tokens += tokens
        if self.average and self.average.due(s.step, self.share()):
            self.average.update(self.network)
            s.average_updates = self.average.updates

    def _not_finite(self, batches: list[dict[str, torch.Tensor]], losses: list[torch.Tensor]) -> None:
        bad = [b for b, loss in zip(batches, losses) if not math.isfinite(float(loss))]
        found = [self.data.corpus.where(int(s), int(r)) for b in bad or batches for s, r in b["rows"][:4]][:4]
        everyones = self.processes.gather((bool(bad), found))
        rows = [row for was_bad, rows in everyones for row in rows if was_bad or not any(b for b, _ in everyones)]
        what = "loss" if any(b for b, _ in everyones) else "gradient"
        kept = checkpoint.pointed(self.dir, "latest")
        raise NotFinite(
            f"the {what} of step {self.state.step + 1:,} is not finite; among its rows: {', '.join(rows[:8])}. "
            + (f"The last checkpoint is whole ({kept.name}). " if kept else "There is no checkpoint yet. ")
            + "A lower optim.learning_rate, more optim.warmup_steps, or bf16 in place of fp16 usually helps"
        )

    def log(self) -> None:
        """A `train` record every log.every_steps and at the horizon; the progress bar."""
        c, s = self.config, self.state
        if s.step % c.log.every_steps == 0 or self.share() >= 1:
            since, self.logged_at = self.seconds - self.logged_at, self.seconds
            speed = s.window_tokens / max(since, 1e-9)
            numbers = {
                "loss": s.window_loss / max(1, s.window_tokens), "learning_rate": c.optim.learning_rate * self.rate,
                "grad_norm": self.grad_norm, "tokens": s.tokens, "epoch": round(self.batches.epoch, 4),
                "tokens_per_second": round(speed, 1),
            }  # fmt: skip
            self.journal.train(s.step, self.seconds, numbers)
            s.window_loss, s.window_tokens = 0.0, 0
        self.journal.progress(s.step, self.share())

    def evaluate(self, on_evaluation: Callable[[dict[str, Any]], str | None] | None) -> str | None:
        """Measure, write down, and judge: a reason to end the run, if there is one."""
        s, began = self.state, self.seconds
        if self.average:
            with self.average.inside(self.network):
                numbers, samples = self.evaluation.measure(self.model, self.network)
        else:
            numbers, samples = self.evaluation.measure(self.model, self.network)
        self.latest = {"step": s.step, **numbers}
        s.evaluated = s.step
        self.journal.evaluation(s.step, self.seconds, numbers, samples)
        loss, patience = numbers.get("val_loss"), self.config.train.early_stopping
        if loss is not None and math.isfinite(loss):
            self.improved = s.best is None or loss < s.best["val_loss"]
            s.best = self.latest if self.improved else s.best
            s.evaluations_since_best = 0 if self.improved else s.evaluations_since_best + 1
        verdict = on_evaluation(dict(self.latest)) if on_evaluation and self.main else None
        verdict = self.processes.from_main(verdict)  # one decides: others could have drawn other numbers
        self.logged_at += self.seconds - began  # the training's speed is not the evaluation's
        return verdict or ("stopped early" if patience and s.evaluations_since_best >= patience else None)

    def save(self, cursor: dict[str, int] | None = None) -> None:
        """A checkpoint of this step (saving.py); `cursor` says where to go on in the data, if not after what was dealt last."""
        began = self.seconds
        snapshot.save(self, cursor)
        self.saved, self.improved = (self.state.step, self.state.evaluated), False
        self.logged_at += self.seconds - began

    def finish(self, ended: str) -> TrainResult:
        """The report, and what the caller gets."""
        self.journal.end(self.state.step, self.seconds, ended, self.peak_memory())
        self.journal.bar.close()
        if self.main:
            draw_curves(self.dir, self.dir.name)
        place = checkpoint.pointed(self.dir, "best") or checkpoint.pointed(self.dir, "latest")
        if ended == "interrupted":
            step = self.processes.gather(self.interrupted)
            name = next((n for n in step if n), "signal")
            self.processes.say(self.words["interrupted"].format(signal=name, step=self.state.step, dir=self.dir))
        elif self.main:
            scan, left_out = self.data.corpus.report, self.batches.left_out
            printed(write_report(self.dir, self.config, self.parameters, scan, left_out, self.vocabulary, ended))
            printed(self.words["model"].format(place=place))
        best = {k: v for k, v in (self.state.best or {}).items() if k != "step"}
        return TrainResult(self.dir, self.state.step, ended, best, self.parameters, place)

    def close(self) -> None:
        """Let go of files, trackers, signals and the folder, so that another run can follow in this process."""
        for number, handler in self.handlers.items():
            signal.signal(number, handler)
        if hasattr(self, "journal"):
            self.journal.close()
        if hasattr(self, "batches"):
            self.batches.close()
        if hasattr(self, "accelerator"):
            self.accelerator.free_memory()
            AcceleratorState._reset_state()
        if self.lock:
            self.lock.release()

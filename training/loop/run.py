"""One run: everything that the loop of train.py works on. `open_run` makes it from a config, and from a checkpoint if there is one."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedType, parse_flag_from_env, set_seed
from transformers import PreTrainedModel

from training.base.console import print_result
from training.base.errors import NotFinite, TrainResult
from training.base.files import as_config_error, write_text
from training.base.words import phrases, spoken
from training.corpus.batches import MicroBatches
from training.estimate import gather, numbers, page
from training.loop import snapshot
from training.loop.evaluation import Evaluation
from training.loop.journal import Journal
from training.loop.pages import draw_curves, write_report
from training.loop.signals import Signals
from training.loop.snapshot import Snapshots, State
from training.model.build import count_parameters, parameters_by_part, quiet_transformers
from training.model.hardware import peak_memory, return_memory, share_threads
from training.model.optim import Average, make_optimizers
from training.model.tokenizer import tokenizer_summary
from training.settings.config import Config
from training.setup import checkpoint
from training.setup.checkpoint import Tensors
from training.setup.data import Data, build_model, check_before_reading, choose_precision, look_at_vocabulary, open_data
from training.setup.processes import Processes
from training.setup.run_folder import open_folder
from training.tasks.base import TokenCache


@dataclass
class Run:
    """A run, ready for its first step.

    Attributes:
        config: the run's config, with the chosen precision in place of `auto`.
        network: the model as it was before accelerate wrapped it.
        model: `network` as accelerate wrapped it, for the loss.
        parameters: number of parameters of the model.
        vocabulary: the report on the tokenizer (`tokenizer.vocabulary_report`).
        resident_at_first: resident bytes of this process before the run, on a CPU.
        opened: everything that has to be closed when the run is over.
        began: time.monotonic() at which the run would have begun if all its launches were one.
        logged_at: seconds of training at the last `train` record, plus what evaluations and checkpoints took since.
        saved: step of the last checkpoint, and step of the last evaluation in it.
        improved: whether the last evaluation was the best and is not saved yet.
        latest: the record of this launch's last evaluation.
    """

    config: Config
    data: Data
    processes: Processes
    accelerator: Accelerator
    network: PreTrainedModel
    model: torch.nn.Module
    optimizers: list[torch.optim.Optimizer]
    average: Average | None
    batches: MicroBatches
    state: State
    evaluation: Evaluation
    snapshots: Snapshots
    journal: Journal
    signals: Signals
    parameters: int
    vocabulary: dict[str, Any]
    resident_at_first: int
    opened: ExitStack
    began: float
    logged_at: float
    saved: tuple[int, int]
    improved: bool = False
    latest: dict[str, Any] = field(default_factory=dict)

    @property
    def dir(self) -> Path:
        """The run folder."""
        return Path(self.config.run_dir)

    @property
    def seconds(self) -> float:
        """Seconds of training over all launches, evaluation and saving included."""
        return time.monotonic() - self.began

    def progress(self) -> float:
        """Share of the nearest horizon that is done, the same in every process. At 1 or more the run is finished."""
        return self.state.progress(self.config.train)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """The parameter groups of all optimizers."""
        return [group for optimizer in self.optimizers for group in optimizer.param_groups]

    def clear_gradients(self) -> None:
        """Clear the gradients accumulated so far."""
        for optimizer in self.optimizers:
            optimizer.zero_grad()

    def evaluation_due(self, ended: str | None) -> bool:
        """Whether to evaluate now: every `evaluation.every_steps` and at the end, once a step, but not after a signal."""
        s = self.state
        due = ended is not None or s.step % self.config.evaluation.every_steps == 0
        return ended != "interrupted" and s.step > 0 and s.evaluated != s.step and due

    def evaluate(self, on_evaluation: Callable[[dict[str, Any]], str | None] | None) -> str | None:
        """Measure the model and record the numbers and samples. Returns why the run should end here, or None."""
        s, began = self.state, self.seconds
        with self.average.inside(self.network) if self.average else nullcontext():
            measured, samples = self.evaluation.measure(self.model, self.network)
        self.latest = {"step": s.step, **measured}
        s.evaluated = s.step
        self.journal.evaluation(s.step, self.seconds, measured, samples)
        loss, patience = measured.get("val_loss"), self.config.train.early_stopping
        if loss is not None and math.isfinite(loss):
            self.improved = s.best is None or loss < s.best["val_loss"]
            s.best = self.latest if self.improved else s.best
            s.evaluations_since_best = 0 if self.improved else s.evaluations_since_best + 1
        answer = on_evaluation(dict(self.latest)) if on_evaluation and self.processes.main else None
        verdict = self.processes.from_main(answer)  # the main process decides for all, since others could decide differently
        self.logged_at += self.seconds - began  # tokens_per_second does not count the time of evaluations
        return verdict or ("stopped early" if patience and s.evaluations_since_best >= patience else None)

    def save_due(self, ended: str | None) -> bool:
        """Whether to save now: on schedule, at the end, at the best evaluation, or again because this step was evaluated since."""
        s = self.state
        due = ended is not None or self.improved or s.step % self.config.checkpoint.every_steps == 0
        return s.step > 0 and due and self.saved != (s.step, s.evaluated)

    def save(self, cursor: dict[str, int] | None = None) -> None:
        """Write a checkpoint of this step. `cursor`: where a resumed run goes on in the data; None means after the last batch."""
        s, began = self.state, self.seconds
        measured = {k: v for k, v in self.latest.items() if k != "step"} if self.latest.get("step") == s.step else {}
        self.snapshots.save(replace(s, seconds=began), cursor or self.batches.state(), measured)
        self.saved, self.improved = (s.step, s.evaluated), False
        self.logged_at += self.seconds - began

    def log(self, learning_rate: float, grad_norm: float) -> None:
        """Write a `train` record of the steps since the last record. `grad_norm`: that of the last step, before clipping."""
        s = self.state
        seconds, self.logged_at = self.seconds - self.logged_at, self.seconds
        numbers = {
            "loss": s.window_loss / max(1, s.window_tokens), "learning_rate": learning_rate, "grad_norm": grad_norm, "tokens": s.tokens,
            "epoch": round(self.batches.epoch, 4), "tokens_per_second": round(s.window_tokens / max(seconds, 1e-9), 1),
        }  # fmt: skip
        self.journal.train(s.step, self.seconds, numbers)
        s.window_loss, s.window_tokens = 0.0, 0

    def not_finite(self, micro_batches: list[Tensors], losses: list[torch.Tensor]) -> NotFinite:
        """The exception for a step whose loss or gradient is not finite, which names some of its rows. Every process has to call.

        Args:
            losses: one for each micro-batch of this process.
        """
        bad = [batch for batch, loss in zip(micro_batches, losses) if not math.isfinite(float(loss))]
        rows = [self.data.corpus.where(int(s), int(r)) for batch in bad or micro_batches for s, r in batch["rows"][:4]][:4]
        everyones = self.processes.gather((bool(bad), rows))
        what = "loss" if any(is_bad for is_bad, _ in everyones) else "gradient"
        rows = [row for is_bad, rows in everyones for row in rows if is_bad or what == "gradient"]
        return NotFinite(
            f"the {what} of step {self.state.step + 1:,} is not finite; among its rows: {', '.join(rows[:8])}. "
            f"{checkpoint.last_in_words(self.dir)}. "
            "A lower optim.learning_rate, more optim.warmup_steps, or bf16 in place of fp16 usually helps"
        )

    def peak_memory(self) -> int:
        """Peak memory in bytes; on a CPU without what the interpreter and its libraries had at the start.

        0 if an earlier run in the same process needed more, because the system keeps only one peak for each process.
        """
        device = self.processes.device
        return max(0, peak_memory(device) - (self.resident_at_first if device.type == "cpu" else 0))

    def finish(self, ended: str) -> TrainResult:
        """Write the report and return the result of the run."""
        s, processes, words = self.state, self.processes, phrases("training", spoken(self.config.log.language))
        self.journal.end(s.step, self.seconds, ended, self.peak_memory())
        self.journal.bar.close()
        if processes.main:
            draw_curves(self.dir, self.dir.name)
        place = checkpoint.pointed(self.dir, "best") or checkpoint.pointed(self.dir, "latest")
        if ended == "interrupted":
            name = next((name for name in processes.gather(self.signals.received) if name), "signal")
            processes.say(words["interrupted"].format(signal=name, step=s.step, dir=self.dir))
        elif processes.main:
            scan, left_out = self.data.corpus.report, self.batches.left_out
            print_result(write_report(self.dir, self.config, self.parameters, scan, left_out, self.vocabulary, ended))
            print_result(words["model"].format(place=place))
        return TrainResult(self.dir, s.step, ended, {k: v for k, v in (s.best or {}).items() if k != "step"}, self.parameters, place)

    def close(self) -> None:
        """Close files and trackers, restore signal handlers and unlock the folder, so that another run can follow in this process."""
        self.opened.close()


def open_run(config: Config, token_cache: TokenCache | None = None, workers: int = 1, signals: Signals | None = None) -> Run:
    """Make everything that a run needs before its first step. The arguments are those of `train`.

    Raises:
        ConfigError: if the config or its files cannot work; nothing stays open then.
    """
    share_threads(workers)
    quiet_transformers()
    processes, signals = Processes(), signals or Signals()
    resident_at_first = numbers.resident_at_first()
    check_before_reading(config, processes)
    with ExitStack() as opened:  # if something below fails, it closes what is open, the last first
        lock, place = open_folder(config, processes)
        if lock:
            opened.callback(lock.release)
        if config.resume and not place:
            processes.say(phrases("training", spoken(config.log.language))["nothing_to_resume"].format(dir=config.run_dir))
        data = open_data(config, processes, token_cache, fresh=place is None, resumed=place)
        data_bytes = numbers.resident() - resident_at_first
        network = build_model(config, data)
        if processes.device.type == "cpu":
            return_memory(config.train.gradient_checkpointing)
        parameters = count_parameters(network)
        vocabulary = look_at_vocabulary(data, parameters_by_part(network, len(data.tokenizer))[1])
        resumed = snapshot.load(place, network, data, processes) if place else None
        state = resumed.state if resumed else State()
        network.train()
        network.to(processes.device)
        config, measured, seconds = choose_precision(config, data, network, processes, resumed is not None)
        if config.log.preflight and processes.main and not resumed:
            _predict(config, data, network, processes, seconds, data_bytes)

        accelerator = Accelerator(
            cpu=processes.device.type == "cpu", mixed_precision=config.train.mixed_precision, log_with=config.log.log_with,
            project_dir=config.run_dir, gradient_accumulation_steps=config.train.gradient_accumulation_steps,
            step_scheduler_with_optimizer=False,
        )  # fmt: skip
        opened.callback(AcceleratorState._reset_state)
        opened.callback(accelerator.free_memory)
        model, *wrapped = accelerator.prepare(
            network, *make_optimizers(network, config.optim, processes.device, config.train.mixed_precision)
        )  # fmt: skip
        optimizers = [optimizer.optimizer for optimizer in wrapped]
        average = None
        if config.train.averaging != "none":
            average = Average(network, config.train, state.average_updates, resumed.averaged if resumed else None)
        evaluation = Evaluation(config, data, accelerator, processes)
        batches = MicroBatches(
            data.corpus, data.task.make_batches, processes.rank, processes.world, config.corpus.workers, resumed.cursor if resumed else None
        )
        opened.callback(batches.close)
        set_seed(config.seed + processes.rank)
        if resumed:
            resumed.put_back(optimizers, accelerator.scaler, processes)
        sharded = accelerator.distributed_type == DistributedType.FSDP
        snapshots = Snapshots(config, data, processes, network, parameters, optimizers, average, accelerator.scaler, sharded)

        words, run_dir = phrases("training", spoken(config.log.language)), Path(config.run_dir)
        opened.enter_context(signals.remembered(words, processes.main, lambda: checkpoint.pointed(run_dir, "latest") is not None))
        _say_what_begins(config, processes, parameters, vocabulary, measured)
        if resumed:
            processes.say(words["resuming"].format(place=place, step=state.step))
        began = time.monotonic() - state.seconds
        journal = Journal(config, accelerator, processes, state.step, state.evaluated, state.progress(config.train))
        opened.callback(journal.close)
        if resumed and processes.main:
            snapshot.point(resumed.place, state)
        return Run(
            config=config, data=data, processes=processes, accelerator=accelerator, network=network, model=model, optimizers=optimizers,
            average=average, batches=batches, state=state, evaluation=evaluation, snapshots=snapshots, journal=journal, signals=signals,
            parameters=parameters, vocabulary=vocabulary, resident_at_first=resident_at_first, opened=opened.pop_all(), began=began,
            logged_at=state.seconds, saved=(state.step, state.evaluated),
        )  # fmt: skip


def _predict(
    config: Config, data: Data, network: PreTrainedModel, processes: Processes, seconds: dict[str, float] | None, data_bytes: int
) -> None:
    """Print what the run will take and what is wrong with it, and keep it in preflight.json for the report."""
    language, run_dir = spoken(config.log.language), Path(config.run_dir)
    sharded = processes.world > 1 and parse_flag_from_env("ACCELERATE_USE_FSDP")  # there is no Accelerator to ask yet
    estimate = gather.before_run(config, data, network, seconds, data_bytes, processes.world, sharded)
    with as_config_error(f"run_dir: cannot write in {run_dir}"):
        write_text(run_dir / "preflight.json", gather.as_json(estimate, language) + "\n")
    for line in page.short(estimate, language):
        processes.say(line)


def _say_what_begins(config: Config, processes: Processes, parameters: int, vocabulary: dict[str, Any], measured: str) -> None:
    """Print a line about the tokenizer and a line about the model. `measured`: how the precision was chosen, in words."""
    language, world = spoken(config.log.language), processes.world
    words = phrases("report", language)
    processes.say(words["tokenizer"].format(line=tokenizer_summary(vocabulary, words)))
    where = {"world": world, "device": processes.device.type, "threads": torch.get_num_threads()}
    what = {"type": config.model["type"], "parameters": parameters, "precision": f"{config.train.mixed_precision}{measured}"}
    processes.say(phrases("training", language)["begins" if world == 1 else "begin"].format(**where, **what))

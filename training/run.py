"""One run: everything that the loop of train.py works on, set up from a config or from a checkpoint.

`Run` opens the corpus, trains or loads the tokenizer, builds model and optimizers, and has one method for each thing
that the loop does. Reading order: __init__, then the methods as the loop calls them.
"""

from __future__ import annotations

import math
import platform
import shutil
import signal
import sys
import time
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, PartialState
from accelerate.utils import DistributedType, broadcast_object_list, gather_object, set_seed
from tqdm import tqdm
from transformers.utils import logging as transformers_logging

from training import checkpoint, config as configs, corpus as corpora, model as models, report, run_folder
from training import tokenizer as tokenizers_
from training.config import Config, ConfigError
from training.device import pick_precision, share_threads
from training.loader import MicroBatches, to_tensors
from training.optim import Average, make_optimizers, rate
from training.tasks.gpt import Gpt
from training.tasks.translation import Translation
from training.train import NotFinite, TrainResult

SAME = ("task", "seed", "tokenizer", "model", "batch")  # a run cannot go on with other values of these


class Run:
    """The state of a run. `step`, `tokens` and `seconds` count since its first launch."""

    def __init__(self, config: Config):
        self.launched = time.monotonic()
        self.step, self.tokens, self.seconds_before, self.resumed_at = 0, 0, 0.0, 0
        self.grad_norm, self.window_loss, self.window_tokens = 0.0, 0.0, 0
        self.best: dict[str, Any] | None = None
        self.evaluations_since_best, self.improved = 0, False
        self.metrics_latest: dict[str, Any] = {}
        self.interrupted, self.elapsed_agreed, self.logged_at = "", 0.0, 0.0
        self.dir = Path(config.run_dir)
        share_threads()
        transformers_logging.disable_progress_bar()  # one bar is enough
        self.config, self.timings = config, ""
        self.processes = PartialState()
        self.main, self.device = self.processes.is_main_process, self.processes.device
        self._open_folder()
        self._open_corpus()
        self._build()
        self._start()

    # ---- setting up

    def _say(self, line: str) -> None:
        if self.main:
            tqdm.write(line, file=sys.stderr)

    def _open_folder(self) -> None:
        """Lock the run folder; find the checkpoint to resume from, or refuse to write over a run."""
        problem = ""
        if self.main:
            try:
                self.lock = run_folder.lock(self.dir)
                here = checkpoint.newest(self.dir)
                if here and not self.config.resume:
                    problem = (
                        f"run_dir: {self.dir} already holds a run (at {here.name}); "
                        "go on with --resume true, or choose another --run_dir"
                    )  # fmt: skip
                elif here:
                    problem = _differences(self._before(), self.config)
                if here is None:  # nothing to go on from: what an earlier try left would only mislead
                    for name in ("metrics.jsonl", "tokenizer", "best", "latest"):
                        path = self.dir / name
                        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
            except ConfigError as error:
                problem = str(error)
        self._all_stop_if(problem)
        self.resume_from = checkpoint.newest(self.dir) if self.config.resume else None

    def _before(self) -> Config:
        """The config that the run began with."""
        return configs.load(self.dir / "config.yaml")

    def _all_stop_if(self, problem: str) -> None:
        """What the main process found wrong ends every process, instead of leaving the others waiting."""
        told = broadcast_object_list([problem])
        if told[0]:
            raise ConfigError(told[0])

    def _open_corpus(self) -> None:
        """Scan the corpus and train the tokenizer on the main process; the others read what it left."""
        c = self.config
        problem = ""
        for turn in (self.main, not self.main):
            if turn and not problem:
                try:
                    self._read_corpus()
                except ConfigError as error:
                    problem = str(error)
            self._all_stop_if(problem)
        self.validation_rows = list(self.validation.held_out(c.evaluation.max_rows))
        sample = list(islice(self.corpus.stream(), 2000))
        self.task = {"gpt": Gpt, "translation": Translation}[c.task](c, self.tokenizer, sample)
        self.validation_batches, _ = self.task.make_batches(self.validation_rows, None) if self.validation_rows else ([], 0)
        self._sample = sample

    def _read_corpus(self) -> None:
        c, folder = self.config, self.dir / "corpus"
        bar = tqdm(desc="reading the corpus", unit=" rows", unit_scale=True, disable=not self.main, delay=2, leave=False)
        self.corpus, self.validation = corpora.open_corpus(
            c.corpus, c.task, folder, c.seed, c.evaluation.max_rows, lambda n: bar.update(n - bar.n) and None
        )
        bar.close()
        self._say(f"corpus: {corpora.summary(self.corpus.report)}")
        if self.validation is not self.corpus:
            self._say(f"validation: {corpora.summary(self.validation.report)}")
        saved = self.dir / "tokenizer"
        if not (saved / "tokenizer.json").is_file():
            if c.tokenizer.path:
                tokenizer = tokenizers_.load(c.tokenizer.path, c.task)
            else:
                rows = islice(self.corpus.stream(), c.tokenizer.sample_rows)
                texts = (row[k] for row in rows for k in corpora.COLUMNS[c.task])
                bar = tqdm(texts, desc="training the tokenizer", unit=" texts", unit_scale=True, delay=2, leave=False)
                tokenizer = tokenizers_.train(c.tokenizer, bar, c.task)
            beside = self.dir / "tokenizer.tmp"
            tokenizer.save_pretrained(beside)
            beside.replace(saved)
        self.tokenizer = tokenizers_.load(saved, c.task)

    def _build(self) -> None:
        """Model, optimizers and average; from the checkpoint, if there is one."""
        c = self.config
        found = models.model_config(c.task, c.model, self.tokenizer, self.task.context)
        net = models.build(c.task, found, min(c.evaluation.max_new_tokens, self.task.context), c.seed)
        self.parameters = models.count(net)
        columns = {k: [r[k] for r in self._sample] for k in corpora.COLUMNS[c.task]}
        head = net.get_output_embeddings()
        copies = 1 if head is None or head.weight is net.get_input_embeddings().weight else 2
        self.vocabulary = tokenizers_.report(self.tokenizer, columns, found.hidden_size, copies)
        if c.train.gradient_checkpointing:
            net.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        self.average = Average(net, c.train) if c.train.averaging != "none" else None
        self.state: dict[str, Any] = {}
        self.tensors: dict[str, torch.Tensor] = {}
        if self.resume_from:
            self.state, self.tensors = checkpoint.load(self.resume_from, net, self.average.model if self.average else None)
        net.train()
        net.to(self.device)
        self._choose_precision(net)
        self.accelerator = Accelerator(
            mixed_precision=self.config.train.mixed_precision, log_with=c.log.log_with, project_dir=str(self.dir),
            gradient_accumulation_steps=c.train.gradient_accumulation_steps, step_scheduler_with_optimizer=False,
        )  # fmt: skip
        if self.average:
            self.average.model.to(self.device)
        made = make_optimizers(net, c.optim, self.device)
        if self.tensors:
            checkpoint.unpack_optimizers(made, self.tensors)
        self.network = net  # without what accelerate wraps around it
        self.model, *self.optimizers = self.accelerator.prepare(net, *made)

    def _choose_precision(self, net: torch.nn.Module) -> None:
        """Resolve `auto`: as the run began, or by trying a step of it; the main process decides."""
        precision = self.config.train.mixed_precision
        if precision == "auto" and self.resume_from:
            precision = self._before().train.mixed_precision
        if precision == "auto":
            dealt, _ = self.task.make_batches(self._sample[:512], None)
            batch = {k: v.to(self.device) for k, v in to_tensors(dealt[len(dealt) // 2]).items()}

            def step(dtype: torch.dtype | None) -> None:
                with torch.autocast(self.device.type, dtype=dtype or torch.bfloat16, enabled=dtype is not None):
                    loss, _ = self.task.loss(net, batch)
                loss.backward()
                net.zero_grad()

            precision, self.timings = broadcast_object_list(list(pick_precision(step) if self.main else ("", "")))
        self.config = replace(self.config, train=replace(self.config.train, mixed_precision=precision))

    def _start(self) -> None:
        """Counters, loader and records, where the checkpoint left them."""
        c, s = self.config, self.state
        world, rank = self.processes.num_processes, self.processes.process_index
        if s:
            if s["world"] != world:
                raise ConfigError(f"resume: this run has {s['world']} process(es), now there are {world}; its order of rows would change")
            self.step, self.tokens, self.seconds_before = s["step"], s["tokens"], s["seconds"]
            self.window_loss, self.window_tokens = s["window_loss"], s["window_tokens"]
            self.best, self.evaluations_since_best = s["best"], s["evaluations_since_best"]
            self.resumed_at = self.step
            if self.average:
                self.average.updates = s["average_updates"]
        self.batches = MicroBatches(self.corpus, self.task.make_batches, rank, world, c.corpus.workers, s.get("cursor"))
        set_seed(c.seed + rank)
        if s:
            checkpoint.set_random_state(self.tensors[f"random.{rank}"], self.accelerator.device)
            if self.accelerator.scaler is not None and "scaler" in s:
                self.accelerator.scaler.load_state_dict(s["scaler"])
        del self.state, self.tensors
        self.index = None
        if self.main:
            from training import metrics

            if c.task == "gpt":
                texts = (row["text"] for row in islice(self.corpus.stream(), 200_000))
                self.index = metrics.NgramIndex().add(texts)
            self.metrics = run_folder.Metrics(self.dir, self.step)
            run_folder.write(self.dir / "config.yaml", configs.dump(replace(c, resume=False)))
        if c.log.log_with:
            self.accelerator.init_trackers("stray-bird", config={"run_dir": c.run_dir, "model": str(c.model)})
        if self.main:
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, self._interrupt)
        else:  # the main process decides; Ctrl-C reaches all of them
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        self.vocabulary_line = tokenizers_.summary(self.vocabulary)
        self._say(f"tokenizer: {self.vocabulary_line}")
        for warning in self.vocabulary["warnings"]:
            self._say(f"  note: {warning}")
        self._say(
            f"model: {c.model['type']}, {self.parameters:,} parameters; {world} process(es) on {self.accelerator.device.type}, "
            f"{torch.get_num_threads()} thread(s), precision {c.train.mixed_precision}{self.timings}"
        )
        if self.resumed_at:
            self._say(f"resuming from {self.resume_from} (step {self.step:,})")
        self.logged_at = self.seconds
        self.bar = tqdm(
            total=c.train.max_steps or 100, initial=self.step if c.train.max_steps else 0, disable=not self.main, unit=" steps" if c.train.max_steps else "%",
            mininterval=0.5 if sys.stderr.isatty() else 20, dynamic_ncols=True,
        )  # fmt: skip

    def _interrupt(self, number: int, frame: Any) -> None:
        self.interrupted = signal.Signals(number).name

    # ---- what the loop asks for, in its order

    @property
    def seconds(self) -> float:
        """Seconds of this run over all its launches."""
        return self.seconds_before + time.monotonic() - self.launched

    def progress(self, seconds: float) -> float:
        """Share of the nearest horizon that is done."""
        t = self.config.train
        shares = [self.step / t.max_steps if t.max_steps else 0, self.tokens / t.max_tokens if t.max_tokens else 0]
        return max(*shares, seconds / (60 * t.max_minutes) if t.max_minutes else 0)

    def finished(self) -> str | None:
        """Whether a horizon is reached; a clock is the main process's."""
        t = self.config.train
        if (t.max_steps and self.step >= t.max_steps) or (t.max_tokens and self.tokens >= t.max_tokens):
            return "finished"
        return "finished" if t.max_minutes and self.elapsed_agreed >= 60 * t.max_minutes else None

    def agree(self, tokens: int) -> tuple[int, str | None, float]:
        """Over all processes: target tokens of this step, whether the main process was interrupted, and its clock."""
        elapsed, stop = self.seconds, bool(self.interrupted)
        if self.accelerator.num_processes > 1:
            mine = torch.tensor([tokens, stop and self.main, elapsed if self.main else 0.0], dtype=torch.float64, device=self.accelerator.device)
            total = self.accelerator.reduce(mine, "sum").tolist()
            tokens, stop, elapsed = int(total[0]), total[1] > 0, total[2]
        self.elapsed_agreed = elapsed
        return tokens, "interrupted" if stop else None, elapsed

    def set_rate(self, elapsed: float) -> None:
        """The learning rate of the coming step."""
        self.rate = rate(self.config.optim, self.step, self.progress(elapsed))
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * self.rate

    def count(self, loss: float, tokens: int, batches: list[dict[str, torch.Tensor]]) -> None:
        """Book a step: `loss` is summed over this process's tokens."""
        if self.accelerator.num_processes > 1:
            mine = torch.tensor([loss], dtype=torch.float64, device=self.accelerator.device)
            loss = float(self.accelerator.reduce(mine, "sum")[0])
        self.step += 1
        self.tokens += tokens
        if not math.isfinite(loss):
            rows = [self.corpus.where(int(s), int(r)) for b in batches for s, r in b["rows"][:3]][:6]
            raise NotFinite(
                f"the loss of step {self.step} is {loss}; among its rows: {', '.join(rows)}. The last checkpoint is whole. "
                "A lower learning rate, more warmup or mixed_precision bf16 instead of fp16 usually helps"
            )
        self.window_loss += loss
        self.window_tokens += tokens
        if self.average and self.average.due(self.step, self.progress(self.elapsed_agreed)):
            self.average.update(self.network)

    def log(self) -> None:
        """A `train` record every log.every_steps, and the progress bar."""
        c = self.config
        if self.step % c.log.every_steps and self.step != c.train.max_steps:
            return
        loss = self.window_loss / max(1, self.window_tokens)
        since, self.logged_at = self.seconds - self.logged_at, self.seconds
        numbers = {
            "loss": loss, "learning_rate": c.optim.learning_rate * self.rate, "grad_norm": self.grad_norm, "tokens": self.tokens,
            "epoch": round(self.batches.epoch, 4), "tokens_per_second": round(self.window_tokens / max(since, 1e-9), 1),
        }  # fmt: skip
        if self.main:
            self.metrics.add("train", self.step, self.seconds, **numbers)
            self.bar.set_postfix_str(f"loss {loss:.4f}, {numbers['tokens_per_second']:,.0f} tokens/s", refresh=False)
            done = self.step if c.train.max_steps else int(100 * self.progress(self.elapsed_agreed))
            self.bar.update(done - self.bar.n)
        if c.log.log_with:
            self.accelerator.log({k: v for k, v in numbers.items() if k != "tokens"}, step=self.step)
        self.window_loss, self.window_tokens = 0.0, 0

    def evaluate(self) -> dict[str, Any]:
        """Validation loss over all processes; samples and their scores on the main one."""
        from training import metrics

        began = self.seconds
        network = self.average.model if self.average and self.average.updates else self.network
        model = self.model if self.accelerator.distributed_type == DistributedType.FSDP else network
        result: dict[str, Any] = {}
        model.eval()
        if self.validation_batches:
            world, rank = self.accelerator.num_processes, self.accelerator.process_index
            sums = torch.zeros(2, dtype=torch.float64, device=self.accelerator.device)
            turns = -(-len(self.validation_batches) // world)  # every process takes as many turns, as FSDP must
            with torch.no_grad(), self.accelerator.autocast():
                for turn in range(turns):
                    k = turn * world + rank
                    batch = {n: v.to(self.accelerator.device) for n, v in to_tensors(self.validation_batches[k % len(self.validation_batches)]).items()}
                    loss, tokens = self.task.loss(model, batch)
                    if k < len(self.validation_batches):
                        sums += torch.stack([loss.double(), tokens.double()])
            loss, tokens = self.accelerator.reduce(sums, "sum").tolist()
            result |= metrics.Perplexity().compute(
                loss_sum=[loss], tokens=[int(tokens)], characters=[max(1, self.task.characters(self.validation_rows))]
            )
        samples: list[dict[str, Any]] = []
        if self.main and self.accelerator.distributed_type != DistributedType.FSDP:  # generation needs whole weights
            with self.accelerator.autocast():
                samples = self.task.samples(network, self.validation_rows, self.config.seed)
            if self.config.task == "gpt" and samples:
                texts = [s["text"] for s in samples]
                result["stopped"] = sum(s["stopped"] for s in samples) / len(samples)
                result |= metrics.text_metrics(self.index).compute(predictions=texts)
            elif any(s.get("reference") for s in samples):
                pairs = [(s["text"], s["reference"]) for s in samples if s["reference"]]
                result |= metrics.translation_metrics().compute(predictions=[p for p, _ in pairs], references=[r for _, r in pairs])
        model.train()
        network.train()
        result = broadcast_object_list([result])[0]
        record = {"step": self.step, **result}
        if self.main:
            self.metrics.add("evaluate", self.step, self.seconds, **result)
            if samples:
                self.metrics.add("sample", self.step, self.seconds, samples=samples)
            run_folder.write_samples(self.dir)
            run_folder.draw(self.dir, self.dir.name)
            shown = {"val_loss": "validation loss {:.4f}", "perplexity": "perplexity {:.2f}", "bleu": "BLEU {:.2f}", "chrf": "chrF2 {:.2f}"}
            line = ", ".join(text.format(result[k]) for k, text in shown.items() if result.get(k) is not None)
            first = f": {samples[0]['text'][:60]!r}" if samples else ""
            self._say(f"step {self.step:,}: {line}{first}")
        if self.config.log.log_with:
            self.accelerator.log({k: v for k, v in result.items() if isinstance(v, int | float)}, step=self.step)
        self.metrics_latest = result
        self.logged_at += self.seconds - began  # the training's speed is not the evaluation's
        return record

    def judge(self, record: dict[str, Any]) -> str | None:
        """Whether this is the best evaluation so far, and whether to stop early."""
        loss = record.get("val_loss")
        if loss is None or not math.isfinite(loss):
            return None
        self.improved = self.best is None or loss < self.best["val_loss"]
        if self.improved:
            self.best, self.evaluations_since_best = record, 0
        else:
            self.evaluations_since_best += 1
        patience = self.config.train.early_stopping
        return "stopped early" if patience and self.evaluations_since_best >= patience else None

    def save(self) -> None:
        """A checkpoint of this step; `latest` and perhaps `best` point to it."""
        accelerator, began = self.accelerator, self.seconds
        average = self.average.model if self.average else None
        weights = average.state_dict() if average is not None else accelerator.get_state_dict(self.model)
        states = gather_object([checkpoint.random_state(accelerator.device)])
        if self.main:
            tensors = checkpoint.pack_optimizers([getattr(o, "optimizer", o) for o in self.optimizers])
            tensors |= {f"random.{i}": state for i, state in enumerate(states)}
            state = {
                "step": self.step, "tokens": self.tokens, "seconds": self.seconds, "world": accelerator.num_processes,
                "cursor": self.batches.state(), "window_loss": self.window_loss, "window_tokens": self.window_tokens,
                "best": self.best, "evaluations_since_best": self.evaluations_since_best,
                "average_updates": self.average.updates if self.average else 0,
            }  # fmt: skip
            if accelerator.scaler is not None:
                state["scaler"] = accelerator.scaler.state_dict()
            meta = report.meta(self.config, self.step, self.parameters, self.metrics_latest, self.corpus.count(), versions())
            try:
                place = checkpoint.save(
                    self.dir, self.step, self.network, weights, self.tokenizer, meta, report.card(self.config, meta), state, tensors,
                    self.network if average is not None else None,
                )  # fmt: skip
            except OSError as error:
                raise ConfigError(f"{self.dir}: the checkpoint of step {self.step} cannot be written ({error.strerror or error})") from None
            checkpoint.point(self.dir, "latest", place)
            if self.improved or (self.best is None):
                checkpoint.point(self.dir, "best", place)
            checkpoint.prune(self.dir, self.config.checkpoint.keep)
        self.improved = False
        accelerator.wait_for_everyone()
        self.logged_at += self.seconds - began

    def finish(self, ended: str) -> TrainResult:
        """The report, and what the caller gets."""
        if self.main:
            self.bar.close()
            if ended == "interrupted":
                self._say(f"{self.interrupted}: saved at step {self.step:,}; go on with --resume true --run_dir {self.dir}")
            else:
                line = corpora.summary(self.corpus.report)
                if left := self.batches.left_out:
                    line += f"; {left:,} pairs longer than the batch section allows were left out"
                print(report.report(self.dir, self.config, self.parameters, line, self.vocabulary_line, ended.capitalize() + "."))
                print(f"model: {checkpoint.pointed(self.dir, 'best') or checkpoint.pointed(self.dir, 'latest')}")
        best = {k: v for k, v in (self.best or {}).items() if k != "step"}
        place = checkpoint.pointed(self.dir, "best") or checkpoint.pointed(self.dir, "latest")
        return TrainResult(self.dir, self.step, ended, best, place)

    def close(self) -> None:
        """Let go of files, trackers and the folder."""
        if self.main:
            self.bar.close()
            self.metrics.close()
            self.lock.release()
        if self.config.log.log_with:
            self.accelerator.end_training()


def _differences(before: Config, now: Config) -> str:
    """The first setting that a resumed run must not change, told; empty if there is none."""
    for name in SAME:
        if getattr(before, name) != getattr(now, name):
            return f"resume: {name} was {getattr(before, name)} when the run began and is {getattr(now, name)} now; use the run's own config.yaml"
    return ""


def versions() -> dict[str, str]:
    """Of what a checkpoint was made with."""
    import accelerate
    import datasets
    import tokenizers
    import transformers

    packages = {m.__name__: m.__version__ for m in (torch, transformers, tokenizers, datasets, accelerate)}
    return {"python": platform.python_version(), **packages}

"""A worker of a study: it takes a trial, trains it and records the result, until the budget is spent."""

from __future__ import annotations

import gc
import itertools
import os
import time
from contextlib import nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from training.base.console import print_result
from training.base.errors import DISK, ConfigError, Stopped, Train
from training.base.words import phrases, spoken
from training.settings.config import Config
from training.sweeps import space
from training.sweeps.knob import short
from training.sweeps.records import ended_in_words
from training.sweeps.space import SweepConfig
from training.sweeps.values import short_text

if TYPE_CHECKING:
    from training.base.console import Progress
    from training.setup.processes import Processes
    from training.sweeps.study import Claim, Study
    from training.sweeps.trial import Outcome


def work(sweep: SweepConfig, train: Train) -> None:
    """Run trials until the budget is spent, then the repeats, then write the report.

    Raises:
        ConfigError: if something in the configs or their files cannot work.
        Stopped: if no trial can go on, as on a full disk.
        KeyboardInterrupt: after Ctrl-C or SIGTERM. The interrupted trial is resumed when the study goes on.
    """
    from training.model.build import quiet_transformers
    from training.setup.processes import Processes
    from training.sweeps.study import Study

    base = space.base_config(sweep)
    quiet_transformers()
    processes = Processes()
    study = problem = None
    try:
        study = Study(sweep, base) if processes.main else None
    except ConfigError as error:
        problem = str(error)
    processes.stop_if(problem or "")
    try:
        if not sweep.report:
            _search(Worker(sweep, base, study, processes, train), study)
        if study:
            from training.sweeps import report

            study.write()
            with study.turn:  # two workers may end at the same time
                print_result("\n".join(report.write(study.dir, sweep.language)))
    except OSError as error:
        if error.errno not in DISK:
            raise ConfigError(f"run_dir: {error.filename or sweep.run_dir}: {error.strerror or error}") from error
        raise Stopped(f"{error.filename or sweep.run_dir}: {error.strerror}") from None


def _search(worker: Worker, study: Study | None) -> None:
    """Run trials until the budget is spent, then the repeats."""
    try:
        worker.prepare()
        for repeats in (False, True):
            while worker.trial(repeats):
                pass
            if study and not repeats and study.hopeless(study.trials()):
                worker.processes.say(worker.words["hopeless"])
    finally:
        worker.bar.close()
        if study:
            study.write()


class Worker:
    """A worker, in each of its processes. `study` is None except in the main process."""

    def __init__(self, sweep: SweepConfig, base: Config, study: Study | None, processes: Processes, train: Train):
        from training.tasks.base import TokenCache

        self.sweep, self.base, self.study, self.processes, self.train = sweep, base, study, processes, train
        self.tokenizer: str | None = None
        self.token_cache = TokenCache()
        self.entries = base.tokenizer.vocab_size
        self.shelf: Any = study.dir / "shared" if study else None
        language = spoken(sweep.language)
        self.words = {**phrases("training", language), **phrases("sweep", language)}
        self.best, self.repeats, self.searched, self.first, self.now = list[str](), False, False, True, ""
        self.bar = self._bar()

    def _bar(self) -> Progress:
        """The progress bar of the search, or of the repeats after it. Other workers or earlier sessions may have done a part."""
        from training.base.console import Progress

        name = self.words["bar"].format(dir=self.sweep.run_dir)
        return Progress(name, total=1.0, done=self._share(), shown=self.processes.main, delay=0, left=self.words["left"])

    def _share(self) -> float:
        """The share of the search, or of the repeats, that is done."""
        if not self.study or not self.searched:
            return self.study.spent() if self.study else 0.0
        repeats = self.study.repeats()
        return repeats["over"] / max(1, repeats["all"])

    def prepare(self) -> None:
        """Read the base's corpus and train its tokenizer once, for all trials and all workers.

        Raises:
            ConfigError: if that fails, or if the corpus is not the one that the study began with.
        """
        import filelock

        from training.setup.data import check_before_reading, open_data
        from training.sweeps import trial

        axes = space.knobs(self.sweep)
        turned = {key for knob in axes for value in knob.extremes() for key in knob.settings(value)}
        if "model.type" not in turned:  # else a key may belong to another model class
            for knob in axes:
                refusals = [
                    trial.refusal(space.with_values(self.base, knob.settings(v)), self.entries, self.processes) for v in knob.extremes()
                ]
                if all("has no such key" in why for why in refusals):
                    raise ConfigError(f"space.{knob.key}: {refusals[0]}")
        self._same_corpus()
        if any(key.startswith("tokenizer.") for key in turned):
            return
        shelf = self.processes.from_main(str(self.shelf))
        base = replace(self.base, run_dir=f"{shelf}/base", log=replace(self.base.log, language=self.sweep.language))
        os.makedirs(base.run_dir, exist_ok=True)
        with filelock.FileLock(f"{shelf}/.lock") if self.processes.main else nullcontext():
            check_before_reading(base, self.processes)
            data = open_data(base, self.processes, self.token_cache)
            if self.study:
                trial.lend(base, self.shelf)
        self.tokenizer, self.entries = f"{shelf}/base/tokenizer", len(data.tokenizer)

    def _same_corpus(self) -> None:
        """Raise ConfigError in all processes if the corpus is not the one that the study began with."""
        import filelock

        from training.corpus.prepare import shards_of
        from training.setup.data import contents_of

        problem = ""
        if self.study:
            try:
                shards = itertools.chain(*shards_of(self.base.corpus, self.base.task))
                with filelock.FileLock(self.shelf / ".lock"):
                    contents = contents_of(list(shards), self.shelf / "contents.json")
                self.study.same_corpus(contents)
            except ConfigError as error:
                problem = str(error)
        self.processes.stop_if(problem)

    def trial(self, repeats: bool) -> bool:
        """Take a trial, train it and record it; False if none is left.

        Raises:
            KeyboardInterrupt: after a signal. If it came too late to interrupt the trial, the trial is recorded first.
        """
        from training.sweeps import trial

        began = time.monotonic()
        claim: Claim | None = self.processes.from_main(self.study.claim(repeats) if self.study else None)
        if claim is None:
            return False
        if repeats and not self.searched:
            self.searched = True
            self.bar.close()
            self.bar = self._bar()
        self.repeats = claim.repeat_of is not None  # also for a repeat of a dead worker, which the search resumes
        self.now = self.words["trial_number"].format(number=claim.number)
        if self.repeats and self.study:
            self.now = self.words["repeat_number"].format(of=claim.repeat_of, seed=claim.seed, **self.study.repeats())
        self._show([])
        config = trial.config_of(self.base, claim, self.tokenizer)
        reason = self.processes.from_main(trial.refusal(config, self._entries(config), self.processes) if self.study else "")
        outcome, earlier = trial.Outcome("refused", reason), 0.0
        if not reason:
            if self.study:
                trial.borrow(config, self.shelf)
            earlier = trial.seconds_so_far(config)
            try:
                with self.bar.alive():
                    outcome = trial.run(self.train, config, self._judge, self.token_cache, claim.workers)
            except trial.Interrupted:
                raise KeyboardInterrupt from None
        if self.study:
            self._tell(claim, config, outcome, earlier + time.monotonic() - began)
            if not gc.get_freeze_count():
                gc.collect()
                gc.freeze()  # so that later collections skip the libraries' million objects
        if self.processes.any(bool(outcome.signal)):
            raise KeyboardInterrupt
        return True

    def _entries(self, config: Config) -> int:
        """The size of the vocabulary in a trial."""
        return self.entries if self.tokenizer else config.tokenizer.vocab_size

    def _judge(self, evaluation: dict[str, Any]) -> str | None:
        """Decide after an evaluation whether the trial ends early: returns "pruned", or None to go on."""
        from training.model.hardware import share_threads

        assert self.study is not None, "only the main process judges"
        share_threads(self.study.place.workers_here())  # workers may have started or ended
        value = evaluation.get(self.sweep.metric)
        if value is not None:
            self._show([self.words["step"].format(step=evaluation["step"]), f"{self.sweep.metric} {value:.4f}"])
        if value is None or self.repeats:  # a mean over only the good repeats would be biased
            return None
        return "pruned" if self.study.worse(float(value), int(evaluation["step"])) else None

    def _tell(self, claim: Claim, config: Config, outcome: Outcome, wall: float) -> None:
        """Record a trial in the study, print its line, and remove checkpoints that are no longer among the best."""
        from optuna.trial import TrialState

        from training.sweeps import trial

        assert self.study is not None, "only the main process tells"
        ended, reason, parameters = outcome.ended, outcome.reason, outcome.parameters
        record = trial.record(config, self.sweep.metric) if ended != "refused" else {}
        if not reason and "value" not in record:
            reason = f"no evaluation has {self.sweep.metric}; the base needs a validation set"
        if not reason:
            trial.lend(config, self.shelf)
        state = TrialState.FAIL if reason else TrialState.PRUNED if ended == "pruned" else TrialState.COMPLETE
        aims = {"seconds": record.get("training_seconds"), "parameters": parameters}
        values = [record["value"], *([aims[self.sweep.against]] if self.sweep.against != "none" else [])] if not reason else None
        record |= {"ended": ended, "reason": reason or None, "parameters": parameters, "wall_seconds": round(wall, 3)}
        if ended != "refused":  # a worker's first training also pays for one-time costs
            record |= {"first": self.first}
            self.first = False
        self.study.tell(claim, values if state == TrialState.COMPLETE else None, state, record)
        self.processes.say(self._line(claim, record))
        if best := self.study.best(self.study.trials(), 1):
            self.best = [self.words["best_yet"].format(value=best[0].values[0], number=best[0].number)]
        self._show([])
        for folder in self.study.to_forget(self.sweep.keep):
            trial.forget(folder)

    def _show(self, what: list[str]) -> None:
        """Show how far the study is, on a bar or in a line every half minute."""
        if self.study:
            self.bar.to(self._share(), self.words["comma"].join([self.now, *what, *self.best]))

    def _line(self, claim: Claim, record: dict[str, Any]) -> str:
        """The line that is printed about a trial."""
        params = ", ".join(
            f"{short(k)} {v:.3g}" if isinstance(v, float) else f"{short(k)} {short_text(v)}" for k, v in claim.params.items()
        )
        words = self.words
        name = words["trial_number"].format(number=claim.number) + (
            words["again"].format(seed=claim.seed) if claim.repeat_of is not None else ""
        )
        ended = ended_in_words(record["ended"], words)
        if record["reason"]:
            return f"{name}{words['colon']}{ended}{words['colon']}{record['reason']}  [{params}]"
        came_to = words["came_to"].format(metric=self.sweep.metric, value=record["value"], step=record["best_step"])
        parts = [came_to, words["took"].format(seconds=record["training_seconds"]), *([ended] if record["ended"] == "pruned" else [])]
        return f"{name}{words['colon']}{words['comma'].join(parts)}  [{params}]"

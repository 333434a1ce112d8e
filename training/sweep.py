"""Which knob does what: `python training/sweep.py --config configs/sweep/sentence.yaml`.

Trains the base config again and again with other values of some of its keys, as Optuna proposes them, and reports what each
knob does. Stop it at any point and start it again: it goes on. Start it twice, here or on another machine that sees the
folder: both work on the same study. Under `accelerate launch` all processes train the same trial.
Exit code 0: done, or stopped by Ctrl-C (130: twice, at once); 1: the study cannot go on (a full disk); 2: a mistake in the config.
"""

from __future__ import annotations

import os
import sys

if __name__ == "__main__":  # see train.py
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

import gc
import itertools
import signal
import threading
import time
from contextlib import nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from training import findings, space, study_records
from training.config import Config, ConfigError
from training.knob import short
from training.outcome import Stopped
from training.space import SweepConfig
from training.speaking import loading, printed
from training.train import DISK, die_with_the_launcher

if TYPE_CHECKING:
    from training.processes import Processes, Progress
    from training.study import Claim, Study
    from training.trial import Outcome


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    die_with_the_launcher()
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _interrupted)  # a run has its own while it trains
    sweep = None
    try:
        sweep = space.parse_args(argv, __doc__ or "")
        loading(findings.spoken(sweep.language))
        work(sweep)
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except Stopped as error:
        print(f"stopped: {error}; the same command goes on", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        words = findings.phrases("sweep", findings.spoken(sweep.language if sweep else None))
        begun = sweep and os.path.exists(os.path.join(sweep.run_dir, "sweep.yaml"))
        print(words["stopped" if begun else "stopped_before"], file=sys.stderr)
        return 0
    return 0


def _interrupted(number: int, frame: Any) -> None:
    raise KeyboardInterrupt


def work(sweep: SweepConfig) -> None:
    """Make trials until the budget is spent, then repeats, then the report.

    Raises:
        ConfigError: for anything in the configs or their files that cannot work.
        Stopped: when no trial can go on, such as on a full disk.
        KeyboardInterrupt: after Ctrl-C or SIGTERM; the trial that was interrupted goes on with the study.
    """
    from training import preflight
    from training.processes import Processes
    from training.study import Study

    base = space.base_config(sweep)
    preflight.quiet()
    processes = Processes()
    study = problem = None
    try:
        study = Study(sweep, base) if processes.main else None
    except ConfigError as error:
        problem = str(error)
    processes.stop_if(problem or "")
    try:
        if not sweep.report:
            _search(Worker(sweep, base, study, processes), study)
        if study:
            from training import sweep_report

            study.write()
            with study.turn:  # two workers may end together
                printed("\n".join(sweep_report.write(study.dir, sweep.language)))
    except OSError as error:
        if error.errno not in DISK:
            raise ConfigError(f"run_dir: {error.filename or sweep.run_dir}: {error.strerror or error}") from error
        raise Stopped(f"{error.filename or sweep.run_dir}: {error.strerror}") from None


def _search(worker: Worker, study: Study | None) -> None:
    """Trials until the budget is spent, then repeats."""
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
    """One worker of a study: takes a trial, trains it, tells how it went. `study` is None but in the main process."""

    def __init__(self, sweep: SweepConfig, base: Config, study: Study | None, processes: Processes):
        from training.tasks.common import Memory

        self.sweep, self.base, self.study, self.processes = sweep, base, study, processes
        self.tokenizer: str | None = None
        self.memory = Memory()
        self.entries = base.tokenizer.vocab_size
        self.shelf: Any = study.dir / "shared" if study else None
        language = findings.spoken(sweep.language)
        self.words = {**findings.phrases("training", language), **findings.phrases("sweep", language)}
        self.best, self.repeats, self.searched, self.first, self.now = list[str](), False, False, True, ""
        self.bar = self._bar()

    def _bar(self) -> Progress:
        """Of the search, or of the repeats that follow it; others, or an earlier session, may have done a part."""
        from training.processes import Progress

        name = self.words["bar"].format(dir=self.sweep.run_dir)
        return Progress(name, total=1.0, done=self._share(), shown=self.processes.main, delay=0, left=self.words["left"])

    def _share(self) -> float:
        if not self.study or not self.searched:
            return self.study.spent() if self.study else 0.0
        repeats = self.study.repeats()
        return repeats["over"] / max(1, repeats["all"])

    def prepare(self) -> None:
        """Read the base's corpus and train its tokenizer once, for all trials and all workers.

        Raises:
            ConfigError: also if the corpus is not what the study began with.
        """
        import filelock

        from training import prepare
        from training import trial as trials

        axes = space.knobs(self.sweep)
        turned = {key for knob in axes for value in knob.extremes() for key in knob.settings(value)}
        if "model.type" not in turned:  # else a key may be another class's
            for knob in axes:
                said = [
                    trials.refusal(space.with_values(self.base, knob.settings(v)), self.entries, self.processes) for v in knob.extremes()
                ]
                if all("has no such key" in why for why in said):
                    raise ConfigError(f"space.{knob.key}: {said[0]}")
        self._same_corpus()
        if any(key.startswith("tokenizer.") for key in turned):
            return
        shelf = self.processes.from_main(str(self.shelf))
        base = replace(self.base, run_dir=f"{shelf}/base", log=replace(self.base.log, language=self.sweep.language))
        os.makedirs(base.run_dir, exist_ok=True)
        with filelock.FileLock(f"{shelf}/.lock") if self.processes.main else nullcontext():
            prepare.check(base, self.processes)
            data = prepare.open_data(base, self.processes, self.memory)
            if self.study:
                trials.lend(base, self.shelf)
        self.tokenizer, self.entries = f"{shelf}/base/tokenizer", len(data.tokenizer)

    def _same_corpus(self) -> None:
        import filelock

        from training import corpus, prepare

        problem = ""
        if self.study:
            try:
                shards = itertools.chain(*corpus.shards_of(self.base.corpus, self.base.task))
                with filelock.FileLock(self.shelf / ".lock"):
                    contents = prepare.contents_of(list(shards), self.shelf / "contents.json")
                self.study.same_corpus(contents)
            except ConfigError as error:
                problem = str(error)
        self.processes.stop_if(problem)

    def trial(self, repeats: bool) -> bool:
        """Take a trial and see it to its end; False if none is left.

        Raises:
            KeyboardInterrupt: after a signal; it may have come too late to interrupt the trial, which is recorded then.
        """
        from training import trial as trials

        began = time.monotonic()
        claim: Claim | None = self.processes.from_main(self.study.claim(repeats) if self.study else None)
        if claim is None:
            return False
        if repeats and not self.searched:
            self.searched = True
            self.bar.close()
            self.bar = self._bar()
        self.repeats = claim.repeat_of is not None  # also one that a dead worker left, which the search takes up
        self.now = self.words["trial_number"].format(number=claim.number)
        if self.repeats and self.study:
            self.now = self.words["repeat_number"].format(of=claim.repeat_of, seed=claim.seed, **self.study.repeats())
        self._show([])
        config = trials.config_of(self.base, claim, self.tokenizer)
        reason = self.processes.from_main(trials.refusal(config, self._entries(config), self.processes) if self.study else "")
        outcome, earlier = trials.Outcome("refused", reason), 0.0
        if not reason:
            if self.study:
                trials.borrow(config, self.shelf)
            earlier = trials.seconds_so_far(config)
            try:
                with self.bar.alive():
                    outcome = trials.run(config, self._judge, self.memory, claim.workers)
            except trials.Interrupted:
                raise KeyboardInterrupt from None
        if self.study:
            self._tell(claim, config, outcome, earlier + time.monotonic() - began)
            if not gc.get_freeze_count():
                gc.collect()
                gc.freeze()  # the libraries' million objects need not be looked through after every trial
        (signalled,) = self.processes.sum(bool(outcome.signal))
        if signalled:
            raise KeyboardInterrupt
        return True

    def _entries(self, config: Config) -> int:
        return self.entries if self.tokenizer else config.tokenizer.vocab_size

    def _judge(self, evaluation: dict[str, Any]) -> str | None:
        from training.device import share_threads

        assert self.study is not None, "only the main process judges"
        share_threads(self.study.place.workers_here())  # some may have come, or gone
        value = evaluation.get(self.sweep.metric)
        if value is not None:
            self._show([self.words["step"].format(step=evaluation["step"]), f"{self.sweep.metric} {value:.4f}"])
        if value is None or self.repeats:  # a mean of those repeats only that went well would flatter
            return None
        return "pruned" if self.study.worse(float(value), int(evaluation["step"])) else None

    def _tell(self, claim: Claim, config: Config, outcome: Outcome, wall: float) -> None:
        from optuna.trial import TrialState

        from training import trial as trials

        assert self.study is not None, "only the main process tells"
        ended, reason, parameters = outcome.ended, outcome.reason, outcome.parameters
        record = trials.record(config, self.sweep.metric) if ended != "refused" else {}
        if not reason and "value" not in record:
            reason = f"no evaluation has {self.sweep.metric}; the base needs a validation set"
        if not reason:
            trials.lend(config, self.shelf)
        state = TrialState.FAIL if reason else TrialState.PRUNED if ended == "pruned" else TrialState.COMPLETE
        aims = {"seconds": record.get("training_seconds"), "parameters": parameters}
        values = [record["value"], *([aims[self.sweep.against]] if self.sweep.against != "none" else [])] if not reason else None
        record |= {"ended": ended, "reason": reason or None, "parameters": parameters, "wall_seconds": round(wall, 3)}
        if ended != "refused":  # the first that trains pays for what later ones find ready
            record |= {"first": self.first}
            self.first = False
        self.study.tell(claim, values if state == TrialState.COMPLETE else None, state, record)
        self.processes.say(self._line(claim, record))
        if best := self.study.best(self.study.trials(), 1):
            self.best = [self.words["best_yet"].format(value=best[0].values[0], number=best[0].number)]
        self._show([])
        for folder in self.study.to_forget(self.sweep.keep):
            trials.forget(folder)

    def _show(self, what: list[str]) -> None:
        """How far the study is, on a bar or a line every half minute."""
        if self.study:
            self.bar.to(self._share(), self.words["comma"].join([self.now, *what, *self.best]))

    def _line(self, claim: Claim, record: dict[str, Any]) -> str:
        """A trial in one line."""
        from training import effects

        said = ", ".join(
            f"{short(k)} {v:.3g}" if isinstance(v, float) else f"{short(k)} {effects.label(v)}" for k, v in claim.params.items()
        )
        words = self.words
        told = words["trial_number"].format(number=claim.number) + (
            words["again"].format(seed=claim.seed) if claim.repeat_of is not None else ""
        )
        ended = study_records.ended(record["ended"], words)
        if record["reason"]:
            return f"{told}{words['colon']}{ended}{words['colon']}{record['reason']}  [{said}]"
        came_to = words["came_to"].format(metric=self.sweep.metric, value=record["value"], step=record["best_step"])
        parts = [came_to, words["took"].format(seconds=record["training_seconds"]), *([ended] if record["ended"] == "pruned" else [])]
        return f"{told}{words['colon']}{words['comma'].join(parts)}  [{said}]"


if __name__ == "__main__":
    code = main()
    gc.freeze()  # else the interpreter looks through the libraries' million objects on its way out, for seconds
    raise SystemExit(code)

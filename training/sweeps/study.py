"""A study on disk: its trials, who works on which, and their results. Optuna stores it; several workers may share it.

`study.journal` (Optuna's journal, a line per event) is the only record; study.json is made from it, for the report and the page.
A trial belongs to the worker that holds its lock. When that worker dies, for whatever reason, the system frees the lock, and
the next worker that looks for a trial resumes it from its run folder.
"""

from __future__ import annotations

import itertools
import json
import math
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import filelock
import numpy as np
import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from training.base.errors import ConfigError
from training.base.files import as_config_error, write_text
from training.settings.config import Config
from training.settings.task_specs import HIGHER_IS_BETTER
from training.sweeps import identity, sampling, space
from training.sweeps.knob import label, number_of
from training.sweeps.locks import Lock, WorkerPlace, take
from training.sweeps.space import SweepConfig

NAME = "study"  # a journal may hold several studies; ours holds one

HOPELESS = 100  # a search ends after this many trials in a row without a single step

REWRITTEN_AFTER = 10.0  # seconds between two versions of study.json, which the page reads while the study goes on

STATES = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed", TrialState.RUNNING: "running"}


@dataclass(frozen=True)
class Claim:
    """A trial that this worker has taken.

    Attributes:
        params: the knobs' values.
        settings: the keys of the run's config that these set.
        seed: the seed of the run.
        repeat_of: for a repeat, the number of the trial that it repeats.
        workers: the number of the study's workers on this machine, which share its cores.
    """

    number: int
    folder: Path
    params: dict[str, Any]
    settings: dict[str, Any]
    seed: int
    repeat_of: int | None
    workers: int = 1


class Study:
    """The study in `sweep.run_dir`, created or opened.

    Raises:
        ConfigError: if the folder holds another study, or something else.
    """

    def __init__(self, sweep: SweepConfig, base: Config):
        self.sweep, self.base, self.axes = sweep, base, space.knobs(sweep)
        self.dir = Path(sweep.run_dir)
        best: list[Literal["minimize", "maximize"]] = ["maximize" if sweep.metric in HIGHER_IS_BETTER else "minimize"]
        if sweep.against != "none":
            best.append("minimize")
        self.directions = best
        self._open_folder()
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        warnings.filterwarnings("ignore", category=ExperimentalWarning)  # TPESampler's `group` has been experimental since 2021
        with self.turn:
            self.optuna = self._journal(self.dir / "study.journal")
            if not sweep.report:  # a report needs no cores, so it must not count as a worker
                self.place = WorkerPlace(self.dir / ".locks")
                self.optuna.sampler = self._sampler(len(self.trials()))
        self.points = self._grid()
        self.written = 0.0

    def _open_folder(self) -> None:
        """Create the folder, or check that it holds this study. Raises ConfigError if it does not."""
        now = identity.of(self.sweep, self.base)
        with as_config_error(f"run_dir: cannot write in {self.dir}"):
            if (
                self.dir.exists()
                and any(not p.name.startswith(".") for p in self.dir.iterdir())
                and not (self.dir / ".locks").is_dir()  # it is made first: another worker may be about to write sweep.yaml
                and not (self.dir / "sweep.yaml").is_file()
            ):
                raise ConfigError(f"run_dir: {self.dir} holds files that no sweep wrote; choose a new folder")
            (self.dir / ".locks").mkdir(parents=True, exist_ok=True)
            self.turn = filelock.FileLock(self.dir / ".locks" / "turn")  # held by the worker that chooses its next trial
            with self.turn:
                before = identity.read(self.dir / "sweep.yaml")
                if before is None and (self.dir / "study.journal").is_file():
                    raise ConfigError(
                        f"run_dir: {self.dir / 'sweep.yaml'} is gone, which says what the study began with; put it back, or choose "
                        "another --run_dir"
                    )
                if before is None:
                    write_text(self.dir / "sweep.yaml", identity.dump(now))
                for name in ("trials", "shared"):
                    (self.dir / name).mkdir(exist_ok=True)
        if before is not None:
            identity.refuse_other(self.dir, now, before)

    def same_corpus(self, now: list[list[str]]) -> None:
        """Record the contents of the base's files (`contents_of` in setup/data.py), or compare them with the recorded ones.

        A study from before contents were recorded records those of now.

        Raises:
            ConfigError: if they differ.
        """
        from training.setup.data import changed_contents

        with self.turn, as_config_error(f"run_dir: cannot write in {self.dir}"):
            identified = identity.read(self.dir / "sweep.yaml") or {}
            if "contents" not in identified:
                write_text(self.dir / "sweep.yaml", identity.dump({**identified, "contents": now}))
        try:
            changed = changed_contents(identified["contents"], now) if "contents" in identified else ""
        except (TypeError, ValueError):
            raise identity.damaged(self.dir) from None
        if changed:
            raise ConfigError(
                f"run_dir: {changed} is not what the study in {self.dir} began with; its trials would not compare. Put back what it was "
                "(a copy with the same bytes will do), or choose another --run_dir"
            )

    def _journal(self, path: Path) -> optuna.Study:
        """The study in the journal. Raises ConfigError if it cannot be read, or has fewer trials than there are folders."""
        last = max(((n, p.name) for p in (self.dir / "trials").iterdir() if (n := number_of(p.name)) is not None), default=(-1, ""))
        with as_config_error(f"run_dir: {path} cannot be used"):
            try:
                storage = JournalStorage(JournalFileBackend(str(path), lock_obj=Lock(path)))
                study = optuna.create_study(
                    storage=storage,
                    study_name=NAME,
                    directions=self.directions,
                    pruner=sampling.pruner(self.sweep, self.base.evaluation.every_steps),
                    load_if_exists=True,
                )
                count = len(study.get_trials(deepcopy=False))
            except (ValueError, KeyError, TypeError, AssertionError, RecursionError) as error:  # by what is damaged in a line
                raise ConfigError(f"run_dir: {path} is damaged ({' '.join(repr(error).split())[:120]}); choose another --run_dir") from None
        if last[0] >= count:
            raise ConfigError(
                f"run_dir: {path} has {count} trials, but there is {self.dir / 'trials' / last[1]}: the journal is incomplete. Put it "
                "back, or choose another --run_dir (a folder of your own has no place there)"
            )
        return study

    def _sampler(self, trials: int) -> BaseSampler:
        """The sampler. Its random numbers differ between workers and after a restart, and are the same on every machine."""
        seed = np.random.SeedSequence([self.sweep.seed, self.place.number, trials]).generate_state(1)[0]
        return sampling.sampler(self.sweep, int(seed))

    def _grid(self) -> list[dict[str, Any]]:
        """The points of a grid in the order in which they are tried, the same for every worker; [] if there is no grid."""
        if self.sweep.search != "grid":
            return []
        points = space.grid(self.axes, self.base)
        return [points[k] for k in np.random.default_rng(self.sweep.seed).permutation(len(points))]

    def trials(self) -> list[FrozenTrial]:
        """All trials by number, repeats included. They must not be changed."""
        return self.optuna.get_trials(deepcopy=False)

    # ---- the work

    def claim(self, repeats: bool = False) -> Claim | None:
        """The next trial for this worker; None if the budget is spent or, with `repeats`, if every repeat is done or taken."""
        with self.turn:
            trials = self.trials()
            for t in trials:
                if t.state == TrialState.RUNNING and (lock := take(self._lock_of(t))):
                    if self.trials()[t.number].state == TrialState.RUNNING:
                        return self._claimed(Trial(self.optuna, t._trial_id), lock)  # its worker has died
                    lock.release()  # it ended after the list of trials was read
            if repeats:
                due = self._repeat_due(trials)
                trial = self._add(trials[due[0]].params, {"repeat_of": due[0], "seed": due[1]}) if due else None
            elif self.share(trials) >= 1:
                trial = None
            elif self.points:
                trial = self._add(self.points[len(_searched(trials))], {})
            else:
                trial = self.optuna.ask()
            if trial is None:
                return None
            lock = take(self._lock_of(trial))
            assert lock is not None, f"trial {trial.number} is locked by somebody before it was there"
            return self._claimed(trial, lock)

    def _add(self, params: dict[str, Any], attributes: dict[str, Any]) -> Trial:
        """Add a running trial with these parameters to the study."""
        axes = {k.key: sampling.distribution(k) for k in self.axes if k.key in params}
        self.optuna.add_trial(create_trial(state=TrialState.RUNNING, params=params, distributions=axes, user_attrs={"begun": attributes}))
        return Trial(self.optuna, self.trials()[-1]._trial_id)  # this one is the last, because this worker holds `turn`

    def _lock_of(self, trial: FrozenTrial | Trial) -> Path:
        """The lock file of a trial."""
        return self.dir / ".locks" / f"{trial.number:04d}"

    def _claimed(self, trial: Trial, lock: filelock.BaseFileLock) -> Claim:
        """Make this the worker's present trial, with values for its knobs and a folder."""
        params: dict[str, Any] = {}
        settings: dict[str, Any] = {}
        for knob in self.axes:
            if space.holds(knob, params, self.base, self.axes):
                params[knob.key] = sampling.suggest(trial, knob)
                settings |= knob.settings(params[knob.key])
        about = dict(trial.user_attrs.get("begun", {}))
        if "folder" not in about:
            about = {"seed": self._seed(trial.number, params), "repeat_of": None, **about}
            about["folder"] = f"trials/{label(trial.number, params)}"
            trial.set_user_attr("begun", about)
        self.trial, self.lock = trial, lock
        here = self.place.workers_here()
        return Claim(trial.number, self.dir / about["folder"], params, settings, about["seed"], about["repeat_of"], here)

    def worse(self, value: float, step: int) -> bool:
        """Whether the present trial, which has the metric `value` at this step, should be pruned."""
        if self.sweep.prune == "none":
            return False
        if step not in self.trial.storage.get_trial(self.trial._trial_id).intermediate_values:  # a resumed run may evaluate a step again
            self.trial.report(value, step)
        return self.trial.should_prune()

    def _seed(self, number: int, params: dict[str, Any]) -> int:
        """The base's seed; for a setting that was tried before, the next seed, so that the trial gives new information."""
        same = [t for t in self.trials() if t.number != number and t.params == params]
        return max((_begun(t).get("seed", self.base.seed) for t in same), default=self.base.seed - 1) + 1

    def share(self, trials: list[FrozenTrial] | None = None) -> float:
        """The share of the budget that is spent, of the budget nearest to its end; 1 once the search is hopeless, which costs no tokens."""
        s, searched = self.sweep, _searched(self.trials() if trials is None else trials)
        if self.hopeless(searched):
            return 1.0
        records = [t.user_attrs.get("record", {}) for t in searched]
        wall, tokens = sum(r.get("wall_seconds", 0.0) for r in records), sum(r.get("tokens", 0) for r in records)
        budget = [(len(searched), s.trials), (wall / 60, s.minutes), (tokens, s.tokens), (len(searched), len(self.points) or None)]
        return max(have / most for have, most in budget if most is not None)

    def hopeless(self, trials: list[FrozenTrial]) -> bool:
        """Whether the last HOPELESS trials were refused or failed before their first step. Never for a grid, which ends by itself."""
        last = [t for t in _searched(trials) if t.state.is_finished()][-HOPELESS:]
        return not self.points and len(last) == HOPELESS and not any(t.user_attrs.get("record", {}).get("tokens") for t in last)

    def spent(self) -> float:
        """The share of the budget that ended trials have spent."""
        return min(1.0, self.share([t for t in self.trials() if t.state.is_finished()]))

    def _repeat_due(self, trials: list[FrozenTrial]) -> tuple[int, int] | None:
        """(number of a trial among the best, seed) of a repeat that no worker has begun; None if there is none.

        A setting that the search itself tried again is not a repeat: it did so because that setting had looked good.
        """
        for best in self.best(trials, self.sweep.repeat_best):
            same = [_begun(t) for t in trials if t.params == best.params]
            if sum(b.get("repeat_of") is not None for b in same) < self.sweep.repeat_seeds:
                return best.number, 1 + max(b.get("seed", 0) for b in same)
        return None

    def repeats(self) -> dict[str, int]:
        """The numbers of repeats that have begun (`begun`) and ended (`over`), and the final number (`all`)."""
        trials = self.trials()
        made = [t.state.is_finished() for t in trials if _begun(t).get("repeat_of") is not None]
        whole = len(self.best(trials, self.sweep.repeat_best)) * self.sweep.repeat_seeds
        return {"begun": len(made), "over": sum(made), "all": max(len(made), whole)}

    def best(self, trials: list[FrozenTrial], most: int) -> list[FrozenTrial]:
        """At most `most` complete trials, the best first, one per setting; with two aims, from the Pareto front."""
        done = [t for t in _searched(trials) if t.state == TrialState.COMPLETE]
        sign = -1.0 if self.directions[0] == "maximize" else 1.0
        by_setting: dict[str, FrozenTrial] = {}
        for t in sorted(done, key=lambda t: (sign * t.values[0], *t.values[1:])):
            by_setting.setdefault(json.dumps(t.params, sort_keys=True), t)
        best = list(by_setting.values())
        if self.sweep.against != "none":  # Optuna's own front includes repeats, which would push out the trials that they repeat
            least = list(itertools.accumulate((t.values[1] for t in best), min, initial=math.inf))
            best = [t for t, cheapest in zip(best, least) if t.values[1] < cheapest]
        return best[:most]

    def tell(self, claim: Claim, values: list[float] | None, state: TrialState, record: dict[str, Any]) -> None:
        """Record how the present trial ended; study.json shows `record`."""
        self.trial.set_user_attr("record", record)
        self.optuna.tell(claim.number, values, state)
        self.lock.release()
        if time.monotonic() - self.written > REWRITTEN_AFTER:
            self.write()

    def to_forget(self, keep: int) -> list[Path]:
        """Folders of ended trials that still have checkpoints but are not among the best `keep`."""
        trials = self.trials()
        kept = {t.number for t in self.best(trials, keep)}
        over = [t for t in trials if t.state.is_finished() and t.number not in kept and "folder" in _begun(t)]
        return [folder for t in over if ((folder := self.dir / _begun(t)["folder"]) / "checkpoints").is_dir()]

    def write(self) -> None:
        """Write study.json from the journal."""
        with self.turn:
            trials = self.trials()
            write_text(self.dir / "study.json", json.dumps(self.summary(trials), ensure_ascii=False) + "\n")
        self.written = time.monotonic()

    def summary(self, trials: list[FrozenTrial]) -> dict[str, Any]:
        """The contents of study.json."""
        names = [self.sweep.metric] + [self.sweep.against] * (self.sweep.against != "none")
        return {
            "name": self.dir.name, "task": self.base.task, "base": self.sweep.base, "search": self.sweep.search, "prune": self.sweep.prune,
            "objectives": [{"name": n, "direction": d} for n, d in zip(names, self.directions)],
            "knobs": [k.as_dict() for k in self.axes], "importance": sampling.importance(_searched(trials), self.directions[0]),
            "trials": [_recorded(t) for t in trials if t.state in STATES], "grid_points": len(self.points),
        }  # fmt: skip


def _begun(t: FrozenTrial) -> dict[str, Any]:
    """What was recorded when the trial began: its folder, seed and repeat_of."""
    attributes: dict[str, Any] = t.user_attrs.get("begun", {})
    return attributes


def _searched(trials: list[FrozenTrial]) -> list[FrozenTrial]:
    """The trials without repeats."""
    return [t for t in trials if _begun(t).get("repeat_of") is None]


def _recorded(t: FrozenTrial) -> dict[str, Any]:
    """A trial as study.json has it."""
    return {
        "number": t.number, "state": STATES[t.state], "params": t.params, "values": t.values, **_begun(t), **t.user_attrs.get("record", {})
    }  # fmt: skip

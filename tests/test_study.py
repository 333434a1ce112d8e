"""training.study without any training: who gets which trial, which are the best, when it is over, and what matters how much."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState
from training_runs import gpt_config

from training import config as configs
from training import space, sweep, trial
from training.outcome import Stopped
from training.study import HOPELESS, Study

RATES = {"optim.learning_rate": {"low": 1e-4, "high": 1e-2, "log": True}, "model.n_layer": [1, 2, 3]}


def opened(folder: Path, over: dict[str, Any] = RATES, **keys: Any) -> Study:
    """A study over a tiny run; several of one folder are as several workers."""
    folder.mkdir(exist_ok=True)
    base = gpt_config(folder, evaluation={"every_steps": 3})
    told = {"base": str(base), "run_dir": str(folder / "study"), "space": over, "search": "random", "trials": 1000, **keys}
    return Study(space.SweepConfig(**told), configs.load(base))


def told(study: Study, *values: float, state: TrialState = TrialState.COMPLETE, repeats: bool = False, **record: Any) -> int:
    """Take a trial, end it like this, and give its number."""
    claim = study.claim(repeats)
    assert claim is not None
    study.tell(claim, list(values) or None, state, {"ended": "finished", "wall_seconds": 1.0, **record})
    return claim.number


def test_a_repeat_pushes_no_setting_off_the_front(tmp_path: Path) -> None:
    study = opened(tmp_path, against="parameters", trials=3, repeat_best=3, repeat_seeds=2)
    for loss, parameters in ((3.0, 10), (2.0, 20), (1.0, 30)):
        told(study, loss, parameters)
    assert study.claim() is None
    while (claim := study.claim(True)) is not None:
        first = [3.0, 2.0, 1.0][claim.repeat_of or 0]
        study.tell(claim, [first - 0.1, 10 * (1 + (claim.repeat_of or 0))], TrialState.COMPLETE, {"ended": "finished"})
    trials = study.study.get_trials()
    assert len(trials) == 9 and {t.number for t in study.best(trials, 9)} == {0, 1, 2}
    for t in trials[:3]:
        (tmp_path / "study" / t.user_attrs["begun"]["folder"] / "checkpoints").mkdir(parents=True)
    assert study.to_forget(3) == []


def test_the_front_has_what_nothing_else_beats_in_both(tmp_path: Path) -> None:
    study = opened(tmp_path, against="parameters")
    for loss, parameters in ((3.0, 10), (3.0, 20), (2.0, 20), (2.5, 30), (1.0, 40)):
        told(study, loss, parameters)
    assert [t.number for t in study.best(study.study.get_trials(), 9)] == [4, 2, 0]


def test_a_trial_that_ended_between_the_look_and_the_lock_is_not_taken_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = opened(tmp_path), opened(tmp_path)
    one.written = float("inf")  # study.json is written in the same turn, and here both workers are one thread
    claim = one.claim()
    assert claim is not None
    take = other._try

    def late(what: str) -> Any:
        if what == f"{claim.number:04d}" and one.trial.storage.get_trial(one.trial._trial_id).state == TrialState.RUNNING:
            one.tell(claim, [1.0], TrialState.COMPLETE, {"ended": "finished"})
        return take(what)

    monkeypatch.setattr(other, "_try", late)
    second = other.claim()
    assert second is not None and second.number == claim.number + 1
    assert take(f"{claim.number:04d}") is not None  # its lock is free again


def test_a_search_in_which_everything_is_refused_ends(tmp_path: Path) -> None:
    study = opened(tmp_path, trials=None, tokens=10**6)
    for _ in range(HOPELESS - 1):
        told(study, state=TrialState.FAIL, ended="refused")
    assert study.share() < 1
    told(study, state=TrialState.FAIL, ended="refused")
    assert study.share() == 1 and study.claim() is None


@pytest.mark.parametrize("against", ["none", "parameters"])
@pytest.mark.parametrize(("metric", "sign"), [("val_loss", 1.0), ("bleu", -1.0)])
def test_importance_is_about_the_best_and_repeats_do_not_count(against: str, metric: str, sign: float, tmp_path: Path) -> None:
    study = opened(tmp_path, metric=metric, against=against, search="random", repeat_best=3, repeat_seeds=20)
    for _ in range(60):
        claim = study.claim()
        assert claim is not None
        rate, layers = claim.params["optim.learning_rate"], claim.params["model.n_layer"]
        # the rate decides who is among the best; three layers make the worst of all, which is another matter
        value = sign * (rate * 100 + 100 * (layers == 3))
        study.tell(claim, [value, 5.0][: 1 + (against != "none")], TrialState.COMPLETE, {"ended": "finished"})
    before = study.importance(study.study.get_trials())
    assert before["optim.learning_rate"] > before["model.n_layer"]
    while (claim := study.claim(True)) is not None:
        study.tell(claim, [sign * 50.0, 5.0][: 1 + (against != "none")], TrialState.COMPLETE, {"ended": "finished"})
    assert len(study.study.get_trials()) > 60 and study.importance(study.study.get_trials()) == before


def test_a_full_disk_is_no_trial_s_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    study = opened(tmp_path)
    del study
    config = tmp_path / "sweep.yaml"
    config.write_text(
        json.dumps({"base": str(tmp_path / "config.yaml"), "run_dir": str(tmp_path / "s"), "space": RATES, "search": "random", "trials": 2})
    )
    full = OSError(errno.ENOSPC, "No space left on device", "weights")
    for error in (Stopped("weights: No space left on device"), full):

        def train(*_: Any, error: Exception = error) -> Any:
            raise error

        monkeypatch.setattr(trial, "train", train)
        assert sweep.main(["--config", str(config)]) == 1
        err = capsys.readouterr().err
        assert "No space left on device" in err and "Traceback" not in err
    found = json.loads((tmp_path / "s/study.json").read_text(encoding="utf-8"))
    assert {t["state"] for t in found["trials"]} == {"running"}  # they go on when there is space


def test_names_of_folders_fit_and_say_which_name(tmp_path: Path) -> None:
    name = space.label(7, {"optim.name": "muon", "optim.learning_rate": 1e-3, "corpus.train": "飞" * 300})
    assert name.startswith("0007-optim.name=muon,learning_rate=0.001,train=飞") and len(name.encode()) <= 120
    assert space.Knob("optim.name").name == "optim.name" and space.Knob("model.hidden_size").name == "hidden_size"

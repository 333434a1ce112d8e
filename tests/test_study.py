"""training.study without any training: who gets which trial, which are the best, when it is over, and what matters how much."""

from __future__ import annotations

import errno
import json
import os
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from optuna.pruners import HyperbandPruner, MedianPruner, NopPruner
from optuna.samplers import NSGAIISampler, RandomSampler, TPESampler
from optuna.trial import TrialState
from training_runs import gpt_config

from training import sweep
from training.base.errors import ConfigError, Stopped
from training.base.files import write_text
from training.settings.config import Config, SourceConfig
from training.settings.load import load_config
from training.setup.processes import Processes
from training.sweeps import locks, space, study, trial, worker
from training.sweeps.knob import Knob, label, number_of
from training.sweeps.study import HOPELESS, Claim, Study
from training.train import train

RATES = {"optim.learning_rate": {"low": 1e-4, "high": 1e-2, "log": True}, "model.n_layer": [1, 2, 3]}


def opened(folder: Path, over: dict[str, Any] = RATES, **keys: Any) -> Study:
    """A study over a tiny run; several of one folder are as several workers."""
    folder.mkdir(exist_ok=True)
    base = gpt_config(folder, evaluation={"every_steps": 3})
    told = {"base": str(base), "run_dir": str(folder / "study"), "space": over, "search": "random", "trials": 1000, **keys}
    return Study(space.SweepConfig(**told), load_config(base))


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
    trials = study.trials()
    assert len(trials) == 9 and {t.number for t in study.best(trials, 9)} == {0, 1, 2}
    for t in trials[:3]:
        (tmp_path / "study" / t.user_attrs["begun"]["folder"] / "checkpoints").mkdir(parents=True)
    assert study.to_forget(3) == []


def test_the_checkpoints_of_a_trial_that_another_worker_trains_just_now_stay(tmp_path: Path) -> None:
    study, other = opened(tmp_path), opened(tmp_path)
    told(study, 1.0)
    assert other.claim() is not None
    for t in study.trials():
        (tmp_path / "study" / t.user_attrs["begun"]["folder"] / "checkpoints").mkdir(parents=True)
    assert [number_of(folder.name) for folder in study.to_forget(0)] == [0]


def test_the_front_has_what_nothing_else_beats_in_both(tmp_path: Path) -> None:
    study = opened(tmp_path, against="parameters")
    for loss, parameters in ((3.0, 10), (3.0, 20), (2.0, 20), (2.5, 30), (1.0, 40)):
        told(study, loss, parameters)
    assert [t.number for t in study.best(study.trials(), 9)] == [4, 2, 0]


def test_a_trial_that_ended_between_the_look_and_the_lock_is_not_taken_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = opened(tmp_path), opened(tmp_path)
    one.written = float("inf")  # study.json is written in the same turn, and here both workers are one thread
    claim = one.claim()
    assert claim is not None
    take = locks.take

    def late(path: Path) -> Any:
        if path.name == f"{claim.number:04d}" and one.trial.storage.get_trial(one.trial._trial_id).state == TrialState.RUNNING:
            one.tell(claim, [1.0], TrialState.COMPLETE, {"ended": "finished"})
        return take(path)

    monkeypatch.setattr(study, "take", late)
    second = other.claim()
    assert second is not None and second.number == claim.number + 1
    assert take(one.dir / f".locks/{claim.number:04d}") is not None  # its lock is free again


@pytest.mark.parametrize("ended", ["refused", "failed"])
def test_a_search_in_which_no_trial_makes_a_step_ends(ended: str, tmp_path: Path) -> None:
    study = opened(tmp_path, trials=None, tokens=10**6)
    for _ in range(HOPELESS - 1):
        told(study, state=TrialState.FAIL, ended=ended)
    assert study.share() < 1
    claim = study.claim()
    assert claim and study.share() < 1  # it may still make one
    study.tell(claim, None, TrialState.FAIL, {"ended": ended})
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
    before = study.summary(study.trials())["importance"]
    assert before["optim.learning_rate"] > before["model.n_layer"]
    while (claim := study.claim(True)) is not None:
        study.tell(claim, [sign * 50.0, 5.0][: 1 + (against != "none")], TrialState.COMPLETE, {"ended": "finished"})
    assert len(study.trials()) > 60 and study.summary(study.trials())["importance"] == before


def test_importance_takes_ten_trials_that_differ(tmp_path: Path) -> None:
    study = opened(tmp_path)
    for n in range(9):
        told(study, 1.0 + n)
    assert study.summary(study.trials())["importance"] == {}
    told(study, 10.0)
    assert study.summary(study.trials())["importance"]
    study = opened(tmp_path / "alike")
    for _ in range(10):
        told(study, 1.0)
    assert study.summary(study.trials())["importance"] == {}


def test_a_full_disk_is_no_trial_s_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    study = opened(tmp_path)
    del study
    config = tmp_path / "sweep.yaml"
    config.write_text(
        json.dumps({"base": str(tmp_path / "config.yaml"), "run_dir": str(tmp_path / "s"), "space": RATES, "search": "random", "trials": 2})
    )
    full = OSError(errno.ENOSPC, "No space left on device", "weights")
    for error in (Stopped("weights: No space left on device"), full):

        def failing(*_: Any, error: Exception = error) -> Any:
            raise error

        monkeypatch.setattr(sweep, "train", failing)
        assert sweep.main(["--config", str(config)]) == 1
        err = capsys.readouterr().err
        assert "No space left on device" in err and "Traceback" not in err
    found = json.loads((tmp_path / "s/study.json").read_text(encoding="utf-8"))
    assert {t["state"] for t in found["trials"]} == {"running"}  # they go on when there is space


def test_names_of_folders_fit_and_say_which_name(tmp_path: Path) -> None:
    name = label(7, {"optim.name": "muon", "optim.learning_rate": 1e-3, "corpus.train": "飞" * 300})
    assert name == "0007-optim.name=muon,learning_rate=0.001"
    name = label(8, {"corpus.train": "飞" * 300})
    assert name.startswith("0008-train=飞") and len(name.encode()) <= 120
    assert [number_of(label(n, p)) for n, p in ((7, {}), (12345, {"a": "飞=" * 300}), (8, {"b": 1.0}))] == [7, 12345, 8]
    assert Knob("optim.name").name == "optim.name" and Knob("model.hidden_size").name == "hidden_size"


def test_a_folder_of_the_user_s_among_the_trials_is_no_trial(tmp_path: Path) -> None:
    told(opened(tmp_path), 1.0)
    for name in ("2024-notes", "2024", "2024-01-02", "12345678"):
        (tmp_path / "study/trials" / name).mkdir()
    assert opened(tmp_path).claim() is not None
    (tmp_path / "study/trials/12345-n_layer=1").mkdir()  # of a trial that the journal does not know
    with pytest.raises(ConfigError, match="12345-n_layer=1"):
        opened(tmp_path)


def test_a_repeat_costs_nothing_of_the_budget(tmp_path: Path) -> None:
    study = opened(tmp_path, trials=2, repeat_best=1, repeat_seeds=2)
    for value in (1.0, 2.0):
        told(study, value)
    for _ in range(2):
        told(study, 1.0, repeats=True, wall_seconds=1000.0, tokens=10**6)
    assert study.claim(True) is None
    more = opened(tmp_path, trials=3, minutes=1.0, tokens=10**5)
    assert more.share() == pytest.approx(2 / 3) and more.claim() is not None


def test_the_seconds_before_a_kill_count_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = opened(tmp_path)
    claim = study.claim()
    assert claim is not None
    claim.folder.mkdir(parents=True)
    (claim.folder / "metrics.jsonl").write_text('{"event": "train", "step": 3, "seconds": 100.0, "loss": 1.0, "tokens": 5}\n')
    study.lock.release()  # its worker is dead
    monkeypatch.setattr(trial, "run", lambda *_: trial.Outcome("finished", "", 10))
    monkeypatch.setattr(trial, "record", lambda *_: {"value": 1.0, "best_step": 3, "training_seconds": 101.0})
    assert worker.Worker(study.sweep, study.base, study, Processes(), train).trial(False)
    (ended,) = study.trials()
    assert ended.user_attrs["record"]["wall_seconds"] > 100


def test_a_setting_that_is_drawn_again_is_trained_with_the_next_seed(tmp_path: Path) -> None:
    study = opened(tmp_path, {"model.n_layer": [1]})
    for _ in range(3):
        told(study, 1.0)
    seeds = [t.user_attrs["begun"]["seed"] for t in study.trials()]
    assert seeds == [study.base.seed, study.base.seed + 1, study.base.seed + 2]


def test_the_best_are_repeated_though_the_search_drew_them_again_itself(tmp_path: Path) -> None:
    study = opened(tmp_path, {"model.n_layer": [1, 2]}, trials=8, repeat_best=2, repeat_seeds=2)
    while (claim := study.claim()) is not None:
        layers = claim.params["model.n_layer"]
        study.tell(claim, [layers + claim.number / 100], TrialState.COMPLETE, {"ended": "finished", "wall_seconds": 1.0})
    drawn = [(t.params["model.n_layer"], t.user_attrs["begun"]["seed"]) for t in study.trials()]
    while (claim := study.claim(repeats=True)) is not None:
        assert claim.repeat_of is not None
        drawn.append((claim.params["model.n_layer"], claim.seed))
        study.tell(claim, None, TrialState.FAIL, {"ended": "failed"})  # it is not tried for ever
    assert [layers for layers, _ in drawn[8:]] == [1, 1, 2, 2] and len(set(drawn)) == len(drawn)  # each seed once
    assert study.repeats() == {"begun": 4, "over": 4, "all": 4}


def test_who_only_reads_a_study_takes_nobody_s_cores(tmp_path: Path) -> None:
    worker = opened(tmp_path)
    assert "place" not in vars(opened(tmp_path, report=True)) and worker.place.workers_here() == 1


def test_a_worker_that_begins_while_another_counts_is_counted(tmp_path: Path) -> None:
    one = opened(tmp_path)
    counting = locks.take(Path(f"{one.place.here}1"))
    assert counting is not None
    with ThreadPoolExecutor() as pool:
        begins = pool.submit(opened, tmp_path)
        wait([begins], 1.0)
        assert not begins.done()
        counting.release()
        assert begins.result().place.workers_here() == one.place.workers_here() == 2


def test_a_worker_knows_how_many_live_on_its_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = opened(tmp_path), opened(tmp_path)
    monkeypatch.setattr("platform.node", lambda: "elsewhere")
    elsewhere = opened(tmp_path)
    assert [s.place.workers_here() for s in (one, other, elsewhere)] == [2, 2, 1]
    claim = one.claim()
    assert claim and claim.workers == 2
    for lock in other.place.held:  # as its process ends
        lock.release()
    assert one.place.workers_here() == 1 and opened(tmp_path).place.number == 1


def test_another_worker_and_a_restarted_one_draw_other_settings(tmp_path: Path) -> None:
    one, other = opened(tmp_path), opened(tmp_path)
    first, second = one.claim(), other.claim()
    assert first and second and first.params != second.params
    one.tell(first, [1.0], TrialState.COMPLETE, {"ended": "finished"})
    for lock in one.place.held:
        lock.release()
    again = opened(tmp_path).claim()  # the same worker's number, after a restart
    assert again and again.params not in (first.params, second.params)


@pytest.mark.parametrize(
    ("search", "against", "sampler"),
    [("tpe", "none", TPESampler), ("nsga2", "parameters", NSGAIISampler), ("random", "none", RandomSampler)],
)
def test_each_search_is_the_one_that_its_name_says(search: str, against: str, sampler: type, tmp_path: Path) -> None:
    assert type(opened(tmp_path, search=search, against=against).optuna.sampler) is sampler


@pytest.mark.parametrize(("prune", "pruner"), [("median", MedianPruner), ("hyperband", HyperbandPruner), ("none", NopPruner)])
def test_each_pruning_is_the_one_that_its_name_says(prune: str, pruner: type, tmp_path: Path) -> None:
    assert type(opened(tmp_path, prune=prune).optuna.pruner) is pruner


def test_the_best_by_bleu_has_the_most(tmp_path: Path) -> None:
    study = opened(tmp_path, metric="bleu")
    for value in (10.0, 30.0, 20.0):
        told(study, value)
    assert [t.number for t in study.best(study.trials(), 2)] == [1, 2]


def test_a_trial_is_judged_by_what_the_others_had_at_the_same_step(tmp_path: Path) -> None:
    study = opened(tmp_path, prune="median")
    for _ in range(5):
        claim = study.claim()
        assert claim is not None
        assert [study.worse(value, step) for value, step in ((5.0, 3), (1.0, 6))] == [False, False]
        study.tell(claim, [1.0], TrialState.COMPLETE, {"ended": "finished"})
    assert study.claim() is not None
    assert not study.worse(4.0, 3) and study.worse(4.0, 6)


def test_two_workers_that_ask_at_once_get_different_points(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = (opened(tmp_path, {"model.n_layer": [1, 2, 3]}, search="grid", trials=None) for _ in range(2))
    add, asked = one._add, list[Future[Claim | None]]()

    with ThreadPoolExecutor() as pool:

        def late(params: dict[str, Any], attributes: dict[str, Any]) -> Any:
            asked.append(pool.submit(other.claim))
            wait(asked, 0.5)
            return add(params, attributes)

        monkeypatch.setattr(one, "_add", late)
        first, second = one.claim(), asked[0].result()
    assert first and second and first.params != second.params


def test_two_workers_may_begin_a_study_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write, begun = write_text, list[Future[Study]]()

    with ThreadPoolExecutor() as pool:

        def late(path: Path, text: str) -> None:
            if not begun:
                path.with_name(f".tmp-1-{path.name}").touch()  # as `replacing` does
                begun.append(pool.submit(opened, tmp_path))
                wait(begun, 1.0)
            write(path, text)

        monkeypatch.setattr(study, "write_text", late)
        opened(tmp_path)
        begun[0].result()


def test_a_worker_that_was_killed_before_sweep_yaml_was_written_leaves_a_folder_that_can_be_used(tmp_path: Path) -> None:
    (tmp_path / "study" / ".locks").mkdir(parents=True)
    (tmp_path / "study" / ".tmp-1-sweep.yaml").touch()
    assert opened(tmp_path).claim() is not None


@pytest.mark.parametrize(
    ("key", "value"), [("metric", "perplexity"), ("search", "tpe"), ("prune", "median"), ("seed", 2), ("against", "parameters")]
)
def test_trials_that_would_not_compare_are_not_put_into_one_study(key: str, value: Any, tmp_path: Path) -> None:
    opened(tmp_path)
    with pytest.raises(ConfigError, match=f"another {key}"):
        opened(tmp_path, **{key: value})


def test_a_kill_leaves_no_half_study_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = opened(tmp_path)
    study.write()
    before = (tmp_path / "study/study.json").read_text(encoding="utf-8")
    study.written = float("inf")  # not while it is told
    told(study, 1.0)

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        study.write()
    assert (tmp_path / "study/study.json").read_text(encoding="utf-8") == before


def test_a_study_goes_on_under_a_licence_or_from_before_a_setting_was_there(tmp_path: Path) -> None:
    base = load_config(gpt_config(tmp_path))
    sweep = space.SweepConfig(base="x", run_dir=str(tmp_path / "study"), space={"model.n_embd": [8, 16]}, search="grid")
    source = SourceConfig(path=str(tmp_path / "verses.jsonl"))

    def of(train: Any) -> Config:
        return replace(base, corpus=replace(base.corpus, train=train))

    Study(sweep, of([source]))
    Study(sweep, of([replace(source, license="CC0")]))
    path = tmp_path / "study/sweep.yaml"
    said = yaml.safe_load(path.read_text(encoding="utf-8"))
    del said["base"]["corpus"]["train"][0]["tag"], said["base"]["corpus"]["train"][0]["license"], said["base"]["optim"]["eps"]
    path.write_text(yaml.safe_dump(said), encoding="utf-8")
    Study(sweep, of([source]))
    with pytest.raises(ConfigError, match="tag"):
        Study(sweep, of([replace(source, tag="<a> ")]))

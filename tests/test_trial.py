"""One trial of a study, and the worker that makes it: how it ends, what is recorded, what is refused. `pytest tests/test_trial.py`"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import filelock
import pytest
from sweep_runs import run, sweep_config
from test_study import opened, told
from training_runs import gpt_config

from training import sweep
from training.base.errors import OutOfMemory, Train
from training.corpus import prepare, scan
from training.corpus.prepare import open_corpus
from training.estimate import numbers
from training.settings.config import Config
from training.settings.load import load_config
from training.setup import data
from training.setup.data import open_data
from training.setup.processes import Processes
from training.sweeps import space, trial, worker
from training.sweeps.study import Study
from training.train import train


@pytest.mark.parametrize(("metric", "value", "step"), [("val_loss", 1.0, 6), ("bleu", 30.0, 9)])
def test_the_record_is_of_the_best_evaluation_and_so_are_its_samples(metric: str, value: float, step: int, tmp_path: Path) -> None:
    lines: list[dict[str, Any]] = []
    for at, loss, bleu in ((3, 2.0, 10.0), (6, 1.0, 20.0), (9, 1.5, 30.0)):
        lines += [{"event": "evaluate", "step": at, "seconds": 1.0 * at, "val_loss": loss, "bleu": bleu}]
        lines += [{"event": "sample", "step": at, "seconds": 1.0 * at, "samples": [{"prompt": "", "text": f"at {at}"}]}]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    found = trial.record(replace(load_config(gpt_config(tmp_path)), run_dir=str(tmp_path)), metric)
    assert (found["value"], found["best_step"], found["samples"][0]["text"]) == (value, step, f"at {step}")
    assert (found["step"], found["training_seconds"]) == (9, 9.0)  # of the whole run


def test_a_run_that_ended_before_its_first_evaluation_is_recorded_with_its_tokens(tmp_path: Path) -> None:
    lines = [{"event": "train", "step": at, "seconds": 1.0 * at, "loss": 3.0, "tokens": 100 * at} for at in (1, 2)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    assert trial.record(replace(load_config(gpt_config(tmp_path)), run_dir=str(tmp_path)), "val_loss") == {"tokens": 200}


@pytest.mark.parametrize("count", [trial.POINTS + 1, trial.POINTS + 2])
def test_a_curve_that_is_thinned_keeps_its_end(count: int, tmp_path: Path) -> None:
    lines = [{"event": "evaluate", "step": at, "seconds": 1.0 * at, "val_loss": 1.0} for at in range(1, count + 1)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    curve = trial.record(replace(load_config(gpt_config(tmp_path)), run_dir=str(tmp_path)), "val_loss")["curve"]
    assert len(curve) <= trial.POINTS and curve[-1][0] == count


def test_a_scan_is_borrowed_by_trials_of_the_same_corpus_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scans, real = [], scan.scan
    monkeypatch.setattr(prepare, "scan", lambda *a, **k: (scans.append(1), real(*a, **k))[1])
    base, rows = load_config(gpt_config(tmp_path)), []
    for n, most in enumerate((20, 40, 20, 40)):
        config = replace(space.with_values(base, {"corpus.max_rows": most}), run_dir=str(tmp_path / f"{n}"))
        (tmp_path / f"{n}").mkdir()
        trial.borrow(config, tmp_path)
        found, _ = open_corpus(config.corpus, config.task, tmp_path / f"{n}/corpus", config.seed, config.evaluation.max_rows)
        trial.lend(config, tmp_path)
        rows.append(found.report["rows_kept"])
    assert rows == [20, 40, 20, 40] and len(scans) == 2


def test_an_out_of_memory_trial_does_not_end_the_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def short_of_memory(*_: Any) -> Any:
        raise OutOfMemory("out of memory in step 1", OutOfMemory.SINGLE_ROW)

    monkeypatch.setattr(sweep, "train", short_of_memory)
    found = run(sweep_config(tmp_path, {"model.n_embd": [8, 16]}, search="grid"))
    ended = [(t["state"], t["ended"], t["reason"]) for t in found["trials"]]
    assert ended == [("failed", "out of memory with a single row", "out of memory in step 1")] * 2


def test_a_micro_batch_that_does_not_fit_is_refused_though_its_model_would(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numbers, "memory_here", lambda device: 200_000_000)
    base = load_config(gpt_config(tmp_path))
    small, large = (space.with_values(base, {"batch.micro_batch_size": rows}) for rows in (8, 20_000))
    assert trial.refusal(small, 500, Processes()) == ""
    assert "a full micro-batch takes" in trial.refusal(large, 500, Processes())


def all_judged_worse(study: Study, monkeypatch: pytest.MonkeyPatch) -> list[str | None]:
    """What each trial is told at its evaluation, where whatever is judged is pruned; nothing is trained."""
    verdicts: list[str | None] = []

    def judged(train: Train, config: Config, judge: Callable[[dict[str, Any]], str | None], *_: Any) -> trial.Outcome:
        verdicts.append(judge({"val_loss": 9.0, "step": 3}))
        return trial.Outcome("finished", "", 10)

    monkeypatch.setattr(trial, "run", judged)
    monkeypatch.setattr(trial, "record", lambda *_: {"value": 9.0, "best_step": 3, "training_seconds": 1.0})
    monkeypatch.setattr(study, "worse", lambda value, step: True)
    return verdicts


def test_a_repeat_is_never_pruned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = opened(tmp_path, trials=1, repeat_best=1, repeat_seeds=1)
    verdicts = all_judged_worse(study, monkeypatch)
    working = worker.Worker(study.sweep, study.base, study, Processes(), train)
    assert [working.trial(repeats) for repeats in (False, True)] == [True, True]
    assert verdicts == ["pruned", None]


def test_a_repeat_that_was_killed_is_not_pruned_when_the_search_takes_it_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = opened(tmp_path, trials=1, repeat_best=1, repeat_seeds=1)
    assert told(study, 1.0) == 0 and study.claim(True) is not None
    study.lock.release()  # its worker is dead
    verdicts = all_judged_worse(study, monkeypatch)
    assert worker.Worker(study.sweep, study.base, study, Processes(), train).trial(False)
    assert verdicts == [None]


def test_against_seconds_the_second_aim_is_the_time_that_the_run_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = opened(tmp_path, against="seconds")
    all_judged_worse(study, monkeypatch)
    assert worker.Worker(study.sweep, study.base, study, Processes(), train).trial(False)
    assert [t.values for t in study.trials()] == [[9.0, 1.0]]


def test_one_worker_at_a_time_trains_the_shared_tokenizer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = opened(tmp_path)
    other = filelock.FileLock(study.dir / "shared" / ".lock")
    locked_out: list[bool] = []

    def watched(*args: Any) -> Any:
        try:
            other.acquire(timeout=0)
        except filelock.Timeout:
            locked_out.append(True)
        return open_data(*args)

    monkeypatch.setattr(data, "open_data", watched)
    worker.Worker(study.sweep, study.base, study, Processes(), train).prepare()
    assert locked_out == [True] and (study.dir / "shared/base/tokenizer").is_dir()
    with other.acquire(timeout=0):  # and the next one may
        pass


def test_where_the_tokenizer_is_a_knob_every_trial_has_its_own(tmp_path: Path) -> None:
    found = run(sweep_config(tmp_path, {"tokenizer.min_frequency": [1, 20]}, search="grid", metric="bits_per_character"))
    assert len({t["parameters"] for t in found["trials"]}) == 2

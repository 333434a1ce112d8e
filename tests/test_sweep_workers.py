"""Several workers of a study, killed and stopped: every trial once, whatever happens."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
import training_runs
from sweep_runs import WIDTHS, kill, points, run, start, study, sweep_config, until_it_trains, whole
from training_runs import records

from training.sweeps import worker
from training.sweeps.locks import WorkerPlace


def test_two_workers_one_killed_one_stopped_and_the_study_goes_on(tmp_path: Path) -> None:
    over = {"optim.learning_rate": [1e-3, 2e-3, 3e-3], "model.n_embd": [8, 16]}
    config = sweep_config(tmp_path, over, {"train": {"max_steps": 12, "mixed_precision": "no"}}, search="grid", repeat_best=1)
    folder, dice = tmp_path / "study", random.Random(7)
    killed, stopped = start(config, "killed"), start(config, "stopped")
    until_it_trains(killed, folder, 2)
    time.sleep(dice.random())
    kill(killed)
    until_it_trains(stopped, folder, 4)  # goes on by itself
    os.kill(stopped.pid, signal.SIGINT)
    done = training_runs.end([stopped], config, tmp_path / "stopped")
    said = done.stdout + done.stderr
    assert done.returncode == 0 and "the same command goes on" in said and "Traceback" not in said
    assert "trial" in said
    with open(folder / "study.journal", "a", encoding="utf-8") as f:
        f.write('{"op_code": 8, "trial')  # as a full disk cuts a line off
    found = run(config)
    whole(found, 6)
    assert Counter(t["seed"] for t in found["trials"] if t["repeat_of"] is not None) == {2: 1, 3: 1}
    for t in found["trials"]:
        steps = [r["step"] for r in records(folder / t["folder"]) if r["event"] == "evaluate"]
        assert steps == list(range(3, 13, 3))


def test_two_workers_on_one_machine_share_its_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads of two workers on the same cores wait for each other: a trial takes many times as long."""
    config = sweep_config(tmp_path, {"model.n_embd": [8, 16]}, search="grid")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    judge, came = worker.Worker._judge, list[WorkerPlace]()

    def another_comes(self: worker.Worker, evaluation: dict[str, Any]) -> str | None:
        if not came and evaluation["step"] == 3:
            came.append(WorkerPlace(tmp_path / "study/.locks"))
        said = judge(self, evaluation)
        seen.append(torch.get_num_threads())
        return said

    seen: list[int] = []
    monkeypatch.setattr(worker.Worker, "_judge", another_comes)
    found = run(config)
    logs = [(tmp_path / "study" / t["folder"] / "log.txt").read_text() for t in found["trials"]]
    torch.set_num_threads(before)
    assert came[0].number == 1 and seen == [2] * 4  # from the first evaluation on
    assert "4 thread(s)" in logs[0] and "2 thread(s)" in logs[1]


def interrupted_at_the_end() -> None:
    """A Ctrl-C between a run's report and its result, when nothing is left to be cut short."""
    from training.loop.run import Run

    finish = Run.finish

    def late(self: Run, ended: str) -> Any:
        result = finish(self, ended)
        os.kill(os.getpid(), signal.SIGINT)
        return result

    Run.finish = late  # type: ignore[method-assign]


def test_a_signal_that_comes_too_late_for_a_trial_stops_the_sweep_after_it(tmp_path: Path) -> None:
    config = sweep_config(tmp_path, {"model.n_embd": [8, 16]}, search="grid")
    done = training_runs.run_to_end(config, command="sweep", before=interrupted_at_the_end)
    assert done.returncode == 0 and "the same command goes on" in done.stderr and "Traceback" not in done.stderr
    assert [t["state"] for t in study(tmp_path / "study")["trials"]] == ["complete"]


def test_sigterm_before_the_first_trial_stops_the_sweep_as_ctrl_c_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(worker.Worker, "prepare", lambda _: os.kill(os.getpid(), signal.SIGTERM))
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)  # else a sweep that does not look after it would end the tests
    try:
        assert run(sweep_config(tmp_path, {"model.n_embd": [8]}, search="grid"))["trials"] == []
    finally:
        signal.signal(signal.SIGTERM, before)
    assert "the same command goes on" in capsys.readouterr().err


@pytest.mark.parametrize("ended", ["not finite", "failed"])
def test_a_signal_in_the_step_that_breaks_a_trial_stops_the_sweep_too(
    ended: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from training.tasks.gpt import GptTask

    loss, sent = GptTask.loss, list[int]()

    def breaking(*args: Any) -> Any:
        if not sent:  # the second one would end the process
            sent.append(1)
            os.kill(os.getpid(), signal.SIGINT)
        if ended == "failed":
            raise RuntimeError("something else")
        total, tokens = loss(*args)
        return total * float("nan"), tokens

    monkeypatch.setattr(GptTask, "loss", breaking)
    found = run(sweep_config(tmp_path, {"model.n_embd": [8, 16]}, search="grid"))
    assert [t["ended"] for t in found["trials"]] == [ended] and "the same command goes on" in capsys.readouterr().err


@pytest.mark.soak
def test_killed_ten_times_no_trial_is_lost_or_counted_twice(tmp_path: Path) -> None:
    over = {"optim.learning_rate": [1e-3, 2e-3, 3e-3, 4e-3], "model.n_embd": WIDTHS, "optim.weight_decay": [0.0, 0.1]}
    config = sweep_config(tmp_path, over, search="grid", repeat_best=1)
    dice = random.Random(11)
    for _ in range(10):
        workers = [start(config, name) for name in ("one", "two")]
        until_it_trains(workers[0], tmp_path / "study")
        time.sleep(1 + dice.random() * 3)  # they take a moment to begin
        for process in workers:
            kill(process)
    whole(run(config), 24)


def test_several_processes_train_the_same_trial(tmp_path: Path) -> None:
    config = sweep_config(tmp_path, {"train.gradient_accumulation_steps": [1, 0]}, search="grid")
    done = training_runs.end(training_runs.start(config, command="sweep", world=2), config)
    assert done.returncode == 0, done.stderr[-2000:]
    found = study(tmp_path / "study")
    assert sorted(t["state"] for t in found["trials"]) == ["complete", "failed"]
    assert sorted(points(found).values()) == [1] * 2
    for t in found["trials"]:
        if t["state"] == "complete":
            assert "2 processes on cpu" in (tmp_path / "study" / t["folder"] / "log.txt").read_text(encoding="utf-8")

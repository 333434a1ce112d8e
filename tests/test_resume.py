"""A run that was killed and resumed ends as the one that never stopped: the same bits, the same metrics."""

from __future__ import annotations

import itertools
import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from accelerate import Accelerator
from training_runs import end, gpt_config, kill_at, numbers, records, run_to_end, start, translation_config


def same_end(a: Path, b: Path) -> None:
    """Weights of every step both kept, and all metrics, are identical."""
    assert numbers(a) == numbers(b)
    kept = sorted(p.name for p in (a / "checkpoints").iterdir())
    assert kept == sorted(p.name for p in (b / "checkpoints").iterdir())
    assert (a / "best").read_text() == (b / "best").read_text()
    for name in kept:
        for file in ("model.safetensors", "trainer_state/tensors.safetensors"):
            assert (a / "checkpoints" / name / file).read_bytes() == (b / "checkpoints" / name / file).read_bytes(), (name, file)


@pytest.mark.parametrize(
    ("make", "sections"),
    [
        (gpt_config, {"train": {"max_steps": 24, "mixed_precision": "no", "averaging": "ema"}}),
        (translation_config, {"optim": {"name": "muon", "warmup_steps": 5}}),
    ],
    ids=["gpt", "translation"],
)
def test_killed_twice_ends_in_the_same_bits(tmp_path: Path, make, sections) -> None:
    config = make(tmp_path, **sections)
    workers = ("--corpus.workers", "2")
    whole = run_to_end(config, "--run_dir", str(tmp_path / "whole"), *workers)
    assert whole.returncode == 0, whole.stderr[-2000:]
    cut = tmp_path / "cut"
    kill_at(config, cut, 9, *workers)
    kill_at(config, cut, 18, *workers, "--resume", "true")
    end = run_to_end(config, "--run_dir", str(cut), *workers, "--resume", "true")
    assert end.returncode == 0, end.stderr[-2000:]
    assert "resuming from" in end.stderr
    same_end(tmp_path / "whole", cut)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_polite_signal_saves_and_says_how_to_go_on(tmp_path: Path, number: int) -> None:
    config = gpt_config(tmp_path, train={"max_steps": 5000, "mixed_precision": "no"})
    run = kill_at(config, tmp_path / "run", 9, "--corpus.workers", "2", number=number)
    assert run.returncode == 0
    assert "Traceback" not in run.stderr and "\r" not in run.stderr and len(run.stderr.splitlines()) < 40  # readable in a file
    assert f"{signal.Signals(number).name}: saved at step" in run.stderr and "--resume true" in run.stderr
    saved = int((tmp_path / "run/latest").read_text().strip().removeprefix("step-"))
    assert saved >= records(tmp_path / "run")[-1]["step"]


def test_loader_workers_end_with_a_run_that_is_killed_alone(tmp_path: Path) -> None:
    (process,) = started = start(gpt_config(tmp_path, train={"max_steps": 50_000}), "--corpus.workers", "2")
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline and not any(r["step"] >= 3 for r in records(tmp_path / "run")):
        time.sleep(0.05)
    workers = psutil.Process(process.pid).children()
    assert len(workers) >= 2
    os.kill(process.pid, signal.SIGKILL)  # as by a system that is out of memory
    assert not psutil.wait_procs(workers, timeout=10)[1]
    assert end(started, tmp_path / "config.yaml").returncode == -signal.SIGKILL


def interrupted_twice() -> None:
    """In the process of the run: both signals come in the middle of step 9."""
    clip, clipped = Accelerator.clip_grad_norm_, itertools.count(1)

    def twice(self: Accelerator, *args: Any) -> Any:
        if next(clipped) == 9:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
        return clip(self, *args)

    Accelerator.clip_grad_norm_ = twice  # type: ignore[method-assign]


def test_a_second_ctrl_c_stops_at_once(tmp_path: Path) -> None:
    run = run_to_end(gpt_config(tmp_path), before=interrupted_twice)
    assert run.returncode == 130
    assert "finishing this step" in run.stderr and "stopped at once; the last checkpoint is intact" in run.stderr
    assert max(r["step"] for r in records(tmp_path / "run")) < 9  # the step was not finished, nor anything saved
    assert (tmp_path / "run/latest").read_text() == "step-00000008\n"


@pytest.mark.soak
@pytest.mark.parametrize("make", [gpt_config, translation_config], ids=["gpt", "translation"])
def test_twenty_random_kills(tmp_path: Path, make) -> None:
    config = make(tmp_path, train={"max_steps": 400, "mixed_precision": "no"})
    assert run_to_end(config, "--run_dir", str(tmp_path / "whole"), "--corpus.workers", "2").returncode == 0
    rng, cut = random.Random(7), tmp_path / "cut"
    for _ in range(20):
        done = max((r["step"] for r in records(cut)), default=0)
        kill_at(config, cut, done + rng.randrange(1, 15), "--corpus.workers", "2", "--resume", "true")
    assert run_to_end(config, "--run_dir", str(cut), "--corpus.workers", "2", "--resume", "true").returncode == 0
    same_end(tmp_path / "whole", cut)

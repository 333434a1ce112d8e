"""How a run ends: finished, killed, interrupted, stopped by its loss or by the disk; and what is whole afterwards."""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from training_runs import fail_at, gpt_config, launch, names, numbers, records, run_here

from training.base.errors import ConfigError, NotFinite, Stopped, TrainResult
from training.base.files import write_text
from training.loop import run
from training.loop.journal import Journal
from training.loop.signals import Signals
from training.settings.load import parse_args
from training.setup import checkpoint
from training.tasks.gpt import GptTask
from training.train import main


def last_words(run_dir: Path) -> tuple[int, str]:
    """Step and `ended` of the `end` record in metrics.jsonl, which must be the only one and the last record."""
    *before, last = records(run_dir)
    assert last["event"] == "end" and not [r for r in before if r["event"] == "end"]
    assert last["peak_memory_bytes"] >= 0 and last["seconds"] >= max((r["seconds"] for r in before), default=0)
    return last["step"], last["ended"]


def test_a_kill_between_evaluation_and_checkpoint_changes_nothing(plain: TrainResult, tmp_path: Path) -> None:
    config = gpt_config(tmp_path)
    for step in (8, 16):
        with pytest.raises(RuntimeError):
            run_here(config, "--resume", "true", on_evaluation=fail_at(step))
    result = run_here(config, "--resume", "true")
    assert numbers(result.run_dir) == numbers(plain.run_dir)
    assert (result.model_dir / "model.safetensors").read_bytes() == (plain.model_dir / "model.safetensors").read_bytes()
    over = run_here(config, "--resume", "true")  # over already: no step, no second evaluation
    assert over.metrics == result.metrics and numbers(result.run_dir) == numbers(plain.run_dir)


@pytest.mark.parametrize("at", [8, 16])
def test_a_signal_at_an_evaluation_changes_nothing(at: int, plain: TrainResult, tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    def signal_at(record: dict[str, Any]) -> None:
        if record["step"] == at:
            os.kill(os.getpid(), signal.SIGINT)

    config = gpt_config(tmp_path, checkpoint={"every_steps": 5, "keep": 2})
    before = signal.getsignal(signal.SIGINT)
    cut = run_here(config, on_evaluation=signal_at)
    assert (cut.ended, cut.step) == ("interrupted", at + 1)
    assert signal.getsignal(signal.SIGINT) == before
    assert f"SIGINT: saved at step {at + 1}; go on with --resume true" in capfd.readouterr().err
    result = run_here(config, "--resume", "true")
    assert numbers(result.run_dir) == numbers(plain.run_dir)


@pytest.mark.parametrize("at", [8, 16, 24])
def test_after_a_signal_the_run_saves_and_the_resumed_one_evaluates(
    at: int, plain: TrainResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    progress = Journal.progress

    def signal_in_the_step(self: Journal, step: int, share: float) -> None:
        progress(self, step, share)
        if step == at:
            os.kill(os.getpid(), signal.SIGTERM)

    config = gpt_config(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(Journal, "progress", signal_in_the_step)
        cut = run_here(config)
    assert (cut.ended, cut.step) == ("interrupted", at) and last_words(cut.run_dir) == (at, "interrupted")
    assert at not in [r["step"] for r in records(cut.run_dir) if r["event"] == "evaluate"]
    result = run_here(config, "--resume", "true")
    assert (result.ended, numbers(result.run_dir)) == ("finished", numbers(plain.run_dir))
    assert last_words(result.run_dir) == (24, "finished")  # and not a word of the interruption
    for folder in sorted((plain.run_dir / "checkpoints").iterdir()):
        metas = [json.loads((run / "checkpoints" / folder.name / "meta.json").read_text()) for run in (plain.run_dir, result.run_dir)]
        assert metas[0]["metrics"] == metas[1]["metrics"]


def test_a_caller_sees_the_signal_of_a_run_that_broke(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaking(*_: Any) -> Any:
        os.kill(os.getpid(), signal.SIGTERM)
        raise LookupError("something else")

    monkeypatch.setattr(GptTask, "loss", breaking)
    signals, before = Signals(), signal.getsignal(signal.SIGTERM)
    with pytest.raises(LookupError):
        run_here(gpt_config(tmp_path), signals=signals)
    assert signals.received == "SIGTERM" and signal.getsignal(signal.SIGTERM) == before


def test_a_run_that_cannot_begin_leaves_nothing_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the last part of a run cannot be opened, the folder is unlocked and the signal handlers are restored."""
    config, before = gpt_config(tmp_path), signal.getsignal(signal.SIGINT)

    def refuse(*_: Any) -> Any:
        raise ConfigError("run_dir: cannot write")

    with monkeypatch.context() as patch, pytest.raises(ConfigError):
        patch.setattr(run, "Journal", refuse)
        run_here(config)
    assert signal.getsignal(signal.SIGINT) == before
    assert run_here(config).ended == "finished"


def test_early_stopping(tmp_path: Path) -> None:
    keys = {"max_steps": 1000, "early_stopping": 2}
    still = {"optim": {"learning_rate": 1e-15}, "evaluation": {"every_steps": 2, "samples": 1}}
    result = run_here(gpt_config(tmp_path, train=keys, **still))
    assert (result.ended, result.step) == ("stopped early", 6)  # best at 2, none better at 4 and 6
    assert (result.run_dir / "latest").read_text() == "step-00000006\n" and "Stopped early" in (result.run_dir / "report.md").read_text()
    assert last_words(result.run_dir) == (6, "stopped early")


def test_on_evaluation_sees_every_record_and_a_string_from_it_ends_the_run(plain: TrainResult, tmp_path: Path) -> None:
    seen: list[dict[str, Any]] = []

    def on_evaluation(record: dict[str, Any]) -> str | None:
        seen.append(record)
        return "pruned" if len(seen) == 2 else None

    result = run_here(gpt_config(tmp_path, evaluation={"every_steps": 8, "samples": 5}), on_evaluation=on_evaluation)
    assert (result.ended, result.step, [r["step"] for r in seen]) == ("pruned", 16, [8, 16])
    assert result.metrics == {k: v for k, v in min(seen, key=lambda r: r["val_loss"]).items() if k != "step"}
    assert last_words(result.run_dir) == (16, "pruned")
    losses = [[r["loss"] for r in records(d) if r["event"] == "train"] for d in (result.run_dir, plain.run_dir)]
    assert losses[0] == losses[1][: len(losses[0])]  # more samples drew more random numbers, but not from the training's generator


def test_a_loss_that_is_not_finite_stops_with_the_last_checkpoint_whole(tmp_path: Path) -> None:
    """It runs as a script, whose exception classes differ from those of the module of the same file."""
    config = gpt_config(tmp_path, optim={"learning_rate": 1e20, "warmup_steps": 0}, checkpoint={"every_steps": 1, "keep": 1})
    run = launch(config)
    assert run.returncode == 1, run.stderr
    message = run.stderr.strip().splitlines()[-1]
    assert message.startswith("stopped: the loss of step") and "verses.jsonl:" in message and "learning_rate" in message
    assert "Traceback" not in run.stderr and "\r" not in run.stderr
    assert last_words(tmp_path / "run")[1] == "not finite"
    weights = load_file(checkpoint.pointed(tmp_path / "run", "latest") / "model.safetensors")
    assert all(v.isfinite().all() for v in weights.values())


def test_a_gradient_that_is_not_finite_stops_before_it_reaches_the_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loss_of, calls = GptTask.loss, []

    def loss(self: GptTask, model: Any, batch: Any, smoothing: float = 0.0) -> Any:
        total, tokens = loss_of(self, model, batch, smoothing)
        calls.append(model.training)
        bad = sum(calls) == 10
        return total + (0 * next(model.parameters()).sum()).abs().sqrt() if bad else total, tokens  # finite, its gradient is not

    monkeypatch.setattr(GptTask, "loss", loss)
    with pytest.raises(NotFinite, match=r"the gradient of step 10 is not finite.*verses.jsonl:\d+.*step-00000008"):
        run_here(gpt_config(tmp_path))


def test_a_full_disk_is_one_line_and_the_checkpoint_before_stays(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    config = gpt_config(tmp_path, train={"max_steps": 6}, evaluation={"every_steps": 6})
    first = run_here(config)
    files = {n: (first.model_dir / n).read_bytes() for n in names(first.model_dir)}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    capsys.readouterr()
    resource.setrlimit(resource.RLIMIT_FSIZE, (120_000, limits[1]))  # what a full disk looks like from here
    try:
        code = main(["--config", str(config), "--resume", "true", "--train.max_steps", "12", "--evaluation.every_steps", "100"])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert code == 1 and message.startswith("stopped: the checkpoint of step 12 cannot be written")
    assert [p.name for p in (first.run_dir / "checkpoints").iterdir()] == ["step-00000006"]
    assert files == {n: (first.model_dir / n).read_bytes() for n in names(first.model_dir)}
    assert run_here(config, "--resume", "true", "--train.max_steps", "12").step == 12


# ---- a checkpoint is whole or not there


class Killed(BaseException):
    """Stands for a kill, after which nothing is cleaned up."""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """The one checkpoint of a run of two steps."""
    once = {"every_steps": 2, "samples": 1, "max_new_tokens": 1}
    run = run_here(gpt_config(tmp_path, train={"max_steps": 2}, evaluation=once))
    assert run.model_dir
    return run.model_dir


def saved_again(place: Path) -> None:
    """Let the run replace its checkpoint by one of the same step."""
    again = run.open_run(parse_args(["--config", str(place.parents[2] / "config.yaml"), "--resume", "true"]))
    try:
        again.save()
    finally:
        again.close()


@pytest.mark.parametrize(("error", "raised"), [(OSError(errno.ENOSPC, "No space left on device"), Stopped), (Killed(), Killed)])
def test_a_checkpoint_that_cannot_be_replaced_stays_as_it_was(
    error: BaseException, raised: type[BaseException], place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {n: (place / n).read_bytes() for n in names(place)}
    write = write_text

    def fail(path: Path, text: str) -> None:
        if path.name == "meta.json":  # all the rest is written by then
            raise error
        write(path, text)

    with monkeypatch.context() as patch, pytest.raises(raised):
        patch.setattr(checkpoint, "write_text", fail)
        saved_again(place)
    assert {n: (place / n).read_bytes() for n in names(place)} == before
    saved_again(place)
    assert [p.name for p in place.parent.iterdir()] == [place.name]  # nothing half written is left
    assert {n: (place / n).read_bytes() for n in names(place)}.keys() == before.keys()


def test_a_checkpoint_that_a_kill_caught_between_two_renames_is_put_back(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written, replace = (place / "model.safetensors").stat().st_mtime_ns, os.replace

    def die(source: Any, target: Any) -> None:
        if Path(target) == place:
            raise Killed
        replace(source, target)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(checkpoint.os, "replace", die)
        saved_again(place)
    assert not place.exists()
    assert run_here(place.parents[2] / "config.yaml", "--resume", "true").step == 2
    assert (place / "model.safetensors").stat().st_mtime_ns == written  # put back, not trained anew

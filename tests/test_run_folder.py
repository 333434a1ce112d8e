"""What a run leaves in its folder, and the message for a user who cannot use a folder."""

from __future__ import annotations

import errno
import json
import warnings
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from training_runs import gpt_config, names, numbers, records, run_here, val_loss

from training import train
from training.base import __version__
from training.base.errors import ConfigError, NotFinite, Stopped, TrainResult
from training.loop import pages
from training.loop.journal import Metrics
from training.loop.pages import _fonts, draw_curves
from training.settings.config import Config
from training.settings.load import load_config
from training.setup import checkpoint
from training.setup.run_folder import lock_folder
from training.train import main


def test_the_run_folder_holds_exactly_what_the_contract_says(plain: TrainResult) -> None:
    seen = sorted(p.name for p in plain.run_dir.iterdir() if not p.name.startswith("."))
    assert seen == [
        "best", "checkpoints", "config.yaml", "corpus", "curves.png", "latest", "metrics.jsonl", "report.md", "samples.md",
        "stray-bird", "tokenizer",
    ]  # fmt: skip
    assert sorted(p.name for p in (plain.run_dir / "checkpoints").iterdir()) == ["step-00000018", "step-00000024"]
    for place in (plain.run_dir / "checkpoints").iterdir():
        assert names(place) == sorted([*checkpoint.FILES, "trainer_state/state.json", "trainer_state/tensors.safetensors"])
        assert len({path.stat().st_mode for path in place.rglob("*") if path.is_file()}) == 1  # who reads the card can load the model
        last = (place / "meta.json").stat().st_mtime_ns
        assert all((place / name).stat().st_mtime_ns <= last for name in names(place))


def test_meta_and_pointers(plain: TrainResult) -> None:
    assert (plain.run_dir / "latest").read_text() == "step-00000024\n"
    best = min((r for r in records(plain.run_dir) if r["event"] == "evaluate"), key=lambda r: r["val_loss"])
    assert (plain.run_dir / "best").read_text() == f"step-{best['step']:08d}\n"
    assert plain.model_dir == plain.run_dir / "checkpoints" / f"step-{best['step']:08d}"
    meta = json.loads((plain.model_dir / "meta.json").read_text())
    assert (meta["task"], meta["step"]) == ("gpt", best["step"])
    assert meta["metrics"]["val_loss"] == best["val_loss"] == plain.metrics["val_loss"]
    assert {"stray-bird", "torch", "transformers", "tokenizers", "datasets", "accelerate", "python"} == set(meta["versions"])
    assert meta["versions"]["stray-bird"] == __version__
    assert meta["corpus"]["rows"] == 108
    unmeasured = json.loads((plain.run_dir / "checkpoints/step-00000018/meta.json").read_text())
    assert unmeasured["metrics"] == {}  # nothing was measured there; an older number would be a lie


def test_every_record_has_event_step_and_seconds(plain: TrainResult) -> None:
    events = records(plain.run_dir)
    assert {r["event"] for r in events} == {"train", "evaluate", "sample", "end"}
    assert all({"event", "step", "seconds"} <= set(r) for r in events)
    assert [r["step"] for r in events if r["event"] == "train"] == list(range(3, 25, 3))
    assert [r["step"] for r in events if r["event"] == "evaluate"] == [8, 16, 24]
    seconds = [r["seconds"] for r in events]
    assert seconds == sorted(seconds)
    names = {"loss", "learning_rate", "grad_norm", "tokens", "epoch", "tokens_per_second"}
    assert all(names <= set(r) for r in events if r["event"] == "train")
    assert all({"val_loss", "perplexity", "bits_per_character", "stopped"} <= set(r) for r in events if r["event"] == "evaluate")


def test_config_yaml_launched_again_is_the_same_run(plain: TrainResult, tmp_path: Path) -> None:
    assert yaml.safe_load((plain.run_dir / "config.yaml").read_text())["train"]["mixed_precision"] == "no"
    again = run_here(plain.run_dir / "config.yaml", "--run_dir", str(tmp_path / "again"), "--log.log_with", "null")
    assert numbers(again.run_dir) == numbers(plain.run_dir)
    assert (again.model_dir / "model.safetensors").read_bytes() == (plain.model_dir / "model.safetensors").read_bytes()


def test_tensorboard_has_the_numbers(plain: TrainResult) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = EventAccumulator(str(plain.run_dir / "stray-bird")).Reload()
    logged = {r["step"]: r["val_loss"] for r in records(plain.run_dir) if r["event"] == "evaluate"}
    assert {s.step: pytest.approx(s.value, rel=1e-6) for s in board.Scalars("val_loss")} == logged
    assert {"loss", "learning_rate", "tokens_per_second"} <= set(board.Tags()["scalars"])


def test_the_best_checkpoint_stays_when_the_run_overfits(tmp_path: Path) -> None:
    config = gpt_config(
        tmp_path, train={"max_steps": 60}, optim={"learning_rate": 2e-2}, checkpoint={"every_steps": 10, "keep": 1},
        evaluation={"every_steps": 5, "samples": 1}, corpus={"max_rows": 30},
    )  # fmt: skip
    result = run_here(config)
    losses = {r["step"]: r["val_loss"] for r in records(result.run_dir) if r["event"] == "evaluate"}
    best = min(losses, key=lambda step: losses[step])
    assert best < 60 and result.metrics["val_loss"] == losses[best]
    assert [p.name for p in sorted((result.run_dir / "checkpoints").iterdir())] == [f"step-{best:08d}", "step-00000060"]
    assert result.model_dir.name == f"step-{best:08d}"
    assert f"overfitting begins about step {best}" in (result.run_dir / "report.md").read_text()
    assert val_loss(result.model_dir, load_config(config)) == pytest.approx(losses[best], rel=1e-5)


@pytest.mark.parametrize("fonts", [(), ("DejaVu Sans",)])  # as if there was no font with Chinese, and as if this was one
def test_a_run_with_a_chinese_name_is_drawn_without_a_word(
    fonts: tuple[str, ...], plain: TrainResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "CHINESE_FONTS", fonts)
    (tmp_path / "metrics.jsonl").write_bytes((plain.run_dir / "metrics.jsonl").read_bytes())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        draw_curves(tmp_path, "飞鸟 $b$_1$")
    assert (tmp_path / "curves.png").stat().st_size > 5000
    assert _fonts("飞鸟 b")[1] == ("飞鸟 b" if fonts else "b")


# ---- messages for the user


def refused(capsys: pytest.CaptureFixture, *argv: str) -> str:
    capsys.readouterr()
    assert main(list(argv)) == 2
    stderr = capsys.readouterr().err
    assert stderr.startswith("error: ") and "Traceback" not in stderr
    return stderr


def test_a_second_run_in_one_folder_is_refused(plain: TrainResult, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    config = gpt_config(tmp_path)
    before = names(plain.run_dir)
    stderr = refused(capsys, "--config", str(config), "--run_dir", str(plain.run_dir))
    assert stderr.count("\n") == 1 and "already holds a run (at step-00000024)" in stderr
    assert "--resume true" in stderr and "--run_dir" in stderr
    held = lock_folder(tmp_path / "run")
    stderr = refused(capsys, "--config", str(config))
    assert stderr.count("\n") == 1 and "another run is writing in" in stderr
    held.release()
    assert names(plain.run_dir) == before


def test_a_published_folder_is_not_written_over(plain: TrainResult, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    config = gpt_config(tmp_path, train={"max_steps": 6}, evaluation={"every_steps": 100})
    place = run_here(config).model_dir
    for path in (place / "trainer_state").iterdir():
        path.unlink()
    (place / "trainer_state").rmdir()
    assert "already holds a run" in refused(capsys, "--config", str(config))
    assert "no trainer_state" in refused(capsys, "--config", str(config), "--resume", "true")
    assert (place / "model.safetensors").is_file() and (tmp_path / "run/best").is_file()


def test_a_resume_that_would_be_another_run_is_refused(plain: TrainResult, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    resume = ["--config", str(plain.run_dir / "config.yaml"), "--resume", "true"]
    before = numbers(plain.run_dir)
    changes = {
        "--seed": ("2", "seed was 1"), "--model.n_layer": ("3", "model.n_layer was 2"),
        "--tokenizer.vocab_size": ("999", "tokenizer.vocab_size was"),
        "--batch.micro_batch_size": ("4", "batch.micro_batch_size was 8"), "--optim.name": ("muon", "optim.name was adamw"),
        "--corpus.max_rows": ("50", "corpus.max_rows was"),
    }  # fmt: skip
    for option, (value, message) in changes.items():
        assert message in refused(capsys, *resume, option, value)
    stderr = refused(capsys, *resume, "--seed", "2", "--optim.name", "muon")
    assert "seed was 1" in stderr and "optim.name was" in stderr and "config.yaml" in stderr
    assert numbers(plain.run_dir) == before
    assert (plain.run_dir / "best").is_file()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--optim.lerning_rate", "1"], "optim.learning_rate"),
        (["--model.n_hed", "4"], "model.n_hed: gpt2 has no such key; did you mean n_head?"),
        (["--model.n_head", "5"], "5 heads do not divide the width 32; heads that do: 1, 2, 4, 8"),
        (["--corpus.train", "nowhere.jsonl"], "nowhere.jsonl"),
        (["--train.mixed_precision", "fp16"], "fp16 needs a GPU"),
        (["--log.log_with", "wandbb"], "wandbb"),
        (["--tokenizer.path", "nowhere"], "nowhere has no tokenizer.json"),
        (["--run_dir", "{file}/run"], "cannot be listed (Not a directory)"),
    ],
)
def test_a_mistake_is_one_clear_line(options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    config = gpt_config(tmp_path)
    (tmp_path / "a file").write_text("")
    stderr = refused(capsys, "--config", str(config), *[o.replace("{file}", str(tmp_path / "a file")) for o in options])
    assert message in stderr and stderr.count("\n") == 1, stderr


def test_a_run_that_cannot_start_leaves_the_folder_free(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    config = gpt_config(tmp_path, train={"max_steps": 1}, evaluation={"every_steps": 1, "samples": 1})
    refused(capsys, "--config", str(config), "--model.n_head", "5")
    assert run_here(config).step == 1


@pytest.mark.parametrize("rank", ["0", "1"])
def test_a_disk_that_fails_is_told_by_the_process_that_met_it(
    rank: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def full(config: Config) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "corpus")

    monkeypatch.setattr(train, "train", full)
    monkeypatch.setenv("RANK", rank)
    assert main(["--config", str(gpt_config(tmp_path))]) == 1
    assert capsys.readouterr().err == "stopped: corpus: No space left on device; there is no checkpoint yet\n"


def test_stopped_is_not_a_mistake_of_the_user() -> None:
    assert issubclass(NotFinite, Stopped) and not issubclass(Stopped, ConfigError)
    assert replace(TrainResult(Path("."), 1, "finished", {}, 10, None), step=2).step == 2


def test_a_run_that_goes_on_has_no_report_of_an_end(tmp_path: Path) -> None:
    """Killed after that, it would be taken for finished. And no samples are no mistake."""
    path = gpt_config(tmp_path, train={"max_steps": 4}, evaluation={"every_steps": 4, "samples": 0})
    folder = run_here(path).run_dir
    assert (folder / "report.md").is_file()
    Metrics(folder, 4, 4, over=True).close()
    assert (folder / "report.md").is_file(), "it is at its end"
    Metrics(folder, 4, 4).close()
    assert not (folder / "report.md").exists()

"""Run folders that are not as a run expects them: somebody else's, unreadable, damaged, finished, or over another corpus."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from training_runs import gpt_config, records, run_here

from training.base.errors import ConfigError, TrainResult
from training.corpus.prepare import open_corpus
from training.diagnosis.run_records import read_metrics
from training.loop.journal import Metrics
from training.loop.pages import draw_curves, write_samples
from training.settings.config import Config, CorpusConfig, SourceConfig, TokenizerConfig
from training.setup import checkpoint
from training.setup.run_folder import config_of_run, differences, refuse_foreign
from training.train import main

SHORT: dict[str, Any] = {
    "train": {"max_steps": 2}, "evaluation": {"every_steps": 2, "samples": 1, "max_new_tokens": 2}, "checkpoint": {"every_steps": 1},
    "model": {"n_layer": 1, "n_embd": 16}, "log": {"every_steps": 1},
}  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TrainResult]:
    """The config and the folder of a finished run of two steps; copied by `folder`."""
    config = gpt_config(tmp_path_factory.mktemp("made"), **SHORT)
    return config, run_here(config)


@pytest.fixture
def folder(made: tuple[Path, TrainResult], tmp_path: Path) -> tuple[Path, Path]:
    """The config and a copy of the run that may be spoilt."""
    return made[0], Path(shutil.copytree(made[1].run_dir, tmp_path / "run"))


def refused(config: Path, run_dir: Path, *options: str) -> str:
    with pytest.raises(ConfigError) as caught:
        run_here(config, "--run_dir", str(run_dir), *options)
    return str(caught.value)


def resume(config: Path, run_dir: Path, *options: str) -> TrainResult:
    return run_here(config, "--run_dir", str(run_dir), "--resume", "true", "--train.max_steps", "3", *options)


# ---- somebody else's folder


def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    config = gpt_config(tmp_path, **SHORT)
    folder_of_user = tmp_path / "theirs"
    for name in ("tokenizer/tokenizer.json", "report.md", "latest", "metrics.jsonl"):
        (folder_of_user / name).parent.mkdir(parents=True, exist_ok=True)
        (folder_of_user / name).write_text("mine")
    shutil.copy(config, folder_of_user / "config.yaml")  # a config of a user's own hand
    before = sorted(p for p in folder_of_user.rglob("*"))
    for options in ((), ("--resume", "true")):  # the first try leaves nothing by which the second would take it for its own
        message = refused(config, folder_of_user, *options)
        assert "holds files that no run wrote (config.yaml, latest, " in message and "\n" not in message
    assert sorted(p for p in folder_of_user.rglob("*")) == before and (folder_of_user / "tokenizer/tokenizer.json").read_text() == "mine"


def test_an_empty_folder_and_what_an_earlier_try_left_are_used(folder: tuple[Path, Path], tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / ".gitkeep").touch()
    refuse_foreign(empty)
    _, run_dir = folder
    shutil.rmtree(run_dir / "checkpoints")
    for name in ("best", "latest", "config.yaml"):  # as a try leaves it that broke off before the first step
        (run_dir / name).unlink()
    refuse_foreign(run_dir)
    (run_dir / ".lock").unlink()
    (run_dir / "config.yaml").write_text("task: gpt\n")
    with pytest.raises(ConfigError):
        refuse_foreign(run_dir)


def test_a_copy_without_hidden_files_goes_on(folder: tuple[Path, Path]) -> None:
    config, run_dir = folder
    (run_dir / ".lock").unlink()
    assert resume(config, run_dir).step == 3


@pytest.mark.parametrize("how", ["a file", "closed"])
@pytest.mark.parametrize("options", [(), ("--resume", "true")])
def test_checkpoints_that_cannot_be_listed_are_not_none(
    how: str, options: tuple[str, ...], folder: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    config, run_dir = folder
    kept = (run_dir / "metrics.jsonl").read_bytes()
    if how == "a file":
        shutil.rmtree(run_dir / "checkpoints")
        (run_dir / "checkpoints").touch()
    else:
        listed = os.listdir

        def listdir(path: Any = ".") -> list[str]:
            if Path(path).name == "checkpoints":
                raise PermissionError(13, "Permission denied")
            return listed(path)

        monkeypatch.setattr(os, "listdir", listdir)
    assert "cannot be listed (" in refused(config, run_dir, *options)
    assert (run_dir / "metrics.jsonl").read_bytes() == kept and (run_dir / "tokenizer/tokenizer.json").is_file()


# ---- going on


def test_a_finished_run_says_so_and_keeps_its_files(folder: tuple[Path, Path], capfd: pytest.CaptureFixture[str]) -> None:
    config, run_dir = folder
    assert resume(config, run_dir).step == 3
    kept = {name: (run_dir / name).read_bytes() for name in ("config.yaml", "metrics.jsonl", "latest", "best")}
    result = run_here(config, "--run_dir", str(run_dir), "--resume", "true", "--train.max_steps", "2")
    assert (result.step, result.ended) == (3, "finished")
    assert "already finished at step 3" in capfd.readouterr().err
    assert {name: (run_dir / name).read_bytes() for name in kept} == kept


def test_another_config_is_told_key_by_key(folder: tuple[Path, Path], tmp_path: Path) -> None:
    config, run_dir = folder
    message = refused(
        config, run_dir, "--resume", "true", "--batch.micro_batch_size", "32", "--model.n_layer", "4", "--corpus.workers", "1"
    )
    first, second, last = message.splitlines()
    assert first == "resume: model.n_layer was 1 when the run began and is 4 now"
    assert second == "resume: batch.micro_batch_size was 8 when the run began and is 32 now"
    assert "or choose another --run_dir" in last
    before = Config("gpt", corpus=config_of_run(run_dir).corpus, model={"type": "gpt2"})
    now = Config("gpt", corpus=before.corpus, model={"type": "gpt2", "n_head": 2}, tokenizer=TokenizerConfig(path="x"))
    assert differences(before, now).splitlines()[:2] == [
        "resume: tokenizer.path was not set when the run began and is x now",
        "resume: model.n_head was not set when the run began and is 2 now",
    ]


def test_files_may_move_and_hub_datasets_may_not_change() -> None:
    """The contents of files are compared instead of their paths; a dataset of the hub and an address have only their names."""

    def over(path: str, **more: Any) -> Config:
        return Config("gpt", corpus=CorpusConfig(train=SourceConfig(path, **more)), model={"type": "gpt2"})

    assert not differences(over("a.txt"), over("b.txt", license="MIT"))
    assert not differences(over("a.zh", target_path="a.en"), over("b.zh", target_path="b.en"))
    assert "target_path" in differences(over("a.zh", target_path="a.en"), over("b.zh"))
    for start in ("hub:", "https://a.example/", "http://a.example/"):
        assert f"was {start}one" in differences(over(f"{start}one"), over(f"{start}two"))


def test_a_changed_corpus_is_refused_and_a_copy_of_it_is_not(tmp_path: Path) -> None:
    config = gpt_config(tmp_path, **{**SHORT, "train": {"max_steps": 1}})
    run_dir, corpus = run_here(config).run_dir, tmp_path / "verses.jsonl"
    lines = corpus.read_text(encoding="utf-8").splitlines(keepends=True)
    corpus.write_text("".join(reversed(lines)), encoding="utf-8")  # as many rows, as many bytes
    message = refused(config, run_dir, "--resume", "true", "--train.max_steps", "3")
    assert f"the content of {corpus} is not what this run began with" in message
    corpus.unlink()
    corpus.write_text("".join(lines), encoding="utf-8")  # another file with another time
    assert resume(config, run_dir).step == 3


# ---- damaged files


@pytest.mark.parametrize("damage", ["[]", '{"parts": []}', '{"parts": [{}]}', '{"parts": [{"characters": 5}]}', "{"])
def test_a_damaged_scan_is_made_again(damage: str, made: tuple[Path, TrainResult], tmp_path: Path) -> None:
    config = config_of_run(made[1].run_dir)

    def opened() -> Any:
        return open_corpus(config.corpus, "gpt", tmp_path / "corpus", config.seed, config.evaluation.max_rows)[0]

    whole = opened()
    report = tmp_path / "corpus/report.json"
    content = json.loads(report.read_text())
    report.write_text(json.dumps({**content, **json.loads(damage)}) if damage.startswith('{"') else damage)
    again = opened()
    assert again.report == whole.report and np.array_equal(again.states[0], whole.states[0])
    assert json.loads(report.read_text()) == content


def test_what_is_no_record_is_left_out(folder: tuple[Path, Path]) -> None:
    _, run_dir = folder
    path = run_dir / "metrics.jsonl"
    whole = records(run_dir)
    odd = '5\n[]\nnull\n{"event": "train", "step": "1", "seconds": 0}\n{"step": 1}\n{"event": "train", "step": 1, "loss": "x"}\n'
    sample = {"event": "sample", "step": 2, "seconds": 1, "samples": [{"prompt": "", "text": "a\u2028b", "stopped": True}]}
    path.write_text(path.read_text() + odd + '{"event": "sample", "step": 1}\n' + json.dumps(sample, ensure_ascii=False) + "\n{")
    assert read_metrics(run_dir) == [*whole, sample]  # U+2028 ends no line
    Metrics(run_dir, 2, 2).close()
    assert read_metrics(run_dir) == [*(r for r in whole if r["event"] != "end"), sample]
    write_samples(run_dir)
    draw_curves(run_dir, "odd")


STATE = {
    "cursor": "x", "cursor ": [1], "world": "x", "state": {"step": "x"}, "state ": {"best": []}, "contents": 5,
}  # fmt: skip


@pytest.mark.parametrize("key", STATE)
def test_a_damaged_state_cannot_be_resumed_from(key: str, folder: tuple[Path, Path]) -> None:
    config, run_dir = folder
    newest = sorted((run_dir / "checkpoints").iterdir())[-1]
    path = newest / "trainer_state/state.json"
    state, damage = json.loads(path.read_text()), STATE[key]
    name = key.strip()
    state[name] = {**state[name], **damage} if name == "state" and isinstance(damage, dict) else damage
    path.write_text(json.dumps(state))
    without_checksums(newest)
    message = refused(config, run_dir, "--resume", "true", "--train.max_steps", "3")
    assert message.startswith(f"{newest}: cannot be resumed from: trainer_state/state.json")


def without_checksums(checkpoint: Path) -> None:
    """As the checkpoints of before there were any."""
    meta = json.loads((checkpoint / "meta.json").read_text(encoding="utf-8"))
    del meta["sha256"]
    (checkpoint / "meta.json").write_text(json.dumps(meta), encoding="utf-8")


@pytest.mark.parametrize("damage", ["empty", "another model"])
def test_a_checkpoint_of_another_model_names_the_older_one(damage: str, folder: tuple[Path, Path]) -> None:
    config, run_dir = folder
    older, newest = sorted((run_dir / "checkpoints").iterdir())
    tensors = newest / "trainer_state/tensors.safetensors"
    save_file({} if damage == "empty" else {**load_file(tensors), "optimizer.0.999.exp_avg": torch.zeros(3)}, tensors)
    without_checksums(newest)
    message = refused(config, run_dir, "--resume", "true", "--train.max_steps", "3")
    assert message.startswith(f"{newest}: cannot be resumed from") and "\n" not in message
    assert f"delete {newest}, and --resume true goes on from {older.name}" in message
    if damage == "empty":
        shutil.rmtree(newest)
        assert resume(config, run_dir).step == 3


def flipped(data: bytes) -> bytes:
    """One bit in the middle is another."""
    return data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 1]) + data[len(data) // 2 + 1 :]


DAMAGE: dict[str, Callable[[bytes], bytes | None]] = {
    "emptied": lambda data: b"", "zeroed": lambda data: bytes(len(data)), "halved": lambda data: data[: len(data) // 2],
    "missing": lambda data: None, "a bit flipped": flipped, "longer": lambda data: data + b"x",
}  # fmt: skip
DAMAGED = [
    ("model.safetensors", "a bit flipped"), ("model.safetensors", "halved"), ("trainer_state/tensors.safetensors", "zeroed"),
    ("trainer_state/tensors.safetensors", "missing"), ("trainer_state/state.json", "emptied"), ("meta.json", "emptied"),
    ("meta.json", "halved"), ("tokenizer.json", "a bit flipped"), ("config.json", "longer"), ("config.json", "missing"),
]  # fmt: skip


@pytest.mark.parametrize(("file", "how"), DAMAGED)
def test_a_damaged_newest_checkpoint_is_left_out_and_kept(
    file: str, how: str, folder: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    config, run_dir = folder
    older, newest = sorted((run_dir / "checkpoints").iterdir())
    damaged = DAMAGE[how]((newest / file).read_bytes())
    (newest / file).unlink()
    if damaged is not None:
        (newest / file).write_bytes(damaged)
    result = resume(config, run_dir)
    lines = capsys.readouterr().err
    assert result.step == 3 and f"resuming from {older} " in lines
    assert f"{newest.name} is damaged (" in lines and (newest.with_name(f"damaged-{newest.name}") / "README.md").is_file()
    assert newest.is_dir() == (newest.name == "step-00000002" and newest.exists())


def test_a_folder_that_was_published_does_not_take_later_checkpoints_along(folder: tuple[Path, Path]) -> None:
    """The README invites people to delete trainer_state: what is saved after that must stay, however few are kept."""
    config, run_dir = folder
    _, newest = sorted((run_dir / "checkpoints").iterdir())
    shutil.rmtree(newest / "trainer_state")
    newest.rename(newest.with_name("step-00000099"))  # of a longer run, say, or copied here
    result = resume(config, run_dir, "--checkpoint.keep", "1")
    assert result.step == 3 and (run_dir / "checkpoints/step-00000003/trainer_state").is_dir()
    assert (run_dir / "checkpoints/step-00000099").is_dir() and checkpoint.newest(run_dir) == run_dir / "checkpoints/step-00000003"


def test_records_of_a_run_whose_checkpoints_are_gone_are_moved_aside(folder: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    config, run_dir = folder
    shutil.rmtree(run_dir / "checkpoints")  # for want of space, say
    before = {name: (run_dir / name).read_bytes() for name in ("metrics.jsonl", "report.md", "curves.png", "tokenizer/tokenizer.json")}
    message = refused(config, run_dir, "--corpus.train", "nowhere.txt")
    assert "nowhere.txt" in message
    assert {name: (run_dir / name).read_bytes() for name in before} == before, "nothing is touched by a launch that is refused"
    run_here(config, "--run_dir", str(run_dir))
    assert {name: (run_dir / "earlier-1" / name).read_bytes() for name in before} == before
    assert str(run_dir / "earlier-1") in capsys.readouterr().err


def test_the_config_of_a_run_that_moved_names_both_places(folder: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    _, run_dir = folder
    old = Path(config_of_run(run_dir).run_dir)
    before = sorted(old.rglob("*"))
    assert main(["--config", str(run_dir / "config.yaml"), "--resume", "true", "--train.max_steps", "8"]) == 2
    told = capsys.readouterr().err
    assert f"the run in {run_dir}" in told and f"run_dir: {old}" in told and f"--run_dir {run_dir}" in told
    assert sorted(old.rglob("*")) == before


def test_a_model_folder_is_no_run_folder(folder: tuple[Path, Path], tmp_path: Path) -> None:
    config, run_dir = folder
    model = Path(shutil.copytree(sorted((run_dir / "checkpoints").iterdir())[-1], tmp_path / "model"))
    shutil.rmtree(model / "trainer_state")
    shutil.copy(run_dir / "config.yaml", model)
    shutil.copy(run_dir / "curves.png", model)
    before = {path.name: path.read_bytes() for path in model.iterdir()}
    assert "is a model folder" in refused(config, model)
    assert {path.name: path.read_bytes() for path in model.iterdir() if path.name != ".lock"} == before


def test_resume_goes_on_from_the_same_bytes_under_another_name(folder: tuple[Path, Path], tmp_path: Path) -> None:
    config, run_dir = folder
    corpus = Path(config_of_run(run_dir).corpus.train if isinstance(config_of_run(run_dir).corpus.train, str) else "")
    moved = shutil.copy(corpus, tmp_path / f"moved{corpus.suffix}")
    assert resume(config, run_dir, "--corpus.train", str(moved)).step == 3
    with open(moved, "a", encoding="utf-8") as f:
        f.write("\n")
    assert "is not what this run began with" in refused(
        config, run_dir, "--resume", "true", "--corpus.train", str(moved), "--train.max_steps", "4"
    )


def test_where_every_checkpoint_is_damaged_nothing_begins_anew(folder: tuple[Path, Path]) -> None:
    config, run_dir = folder
    for place in (run_dir / "checkpoints").iterdir():
        os.truncate(place / "model.safetensors", 100)
    message = refused(config, run_dir, "--resume", "true", "--train.max_steps", "3")
    assert "No other checkpoint" in message and message.count("is damaged") == 2
    assert len(list((run_dir / "checkpoints").glob("damaged-*"))) == 2 and read_metrics(run_dir)

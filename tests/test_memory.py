"""Out of memory: smaller parts with the same result, or a checkpoint to go on from and advice."""

from __future__ import annotations

import json
import resource
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import torch
from safetensors.torch import load_file
from training_runs import gpt_config, numbers, records, run_here

from training.base.errors import OutOfMemory, Stopped, TrainResult
from training.diagnosis.diagnose import diagnose
from training.loop import out_of_memory
from training.loop.snapshot import State
from training.model.optim import Muon
from training.settings.config import Config
from training.setup.checkpoint import Tensors
from training.tasks.gpt import GptTask
from training.train import main

STILL = {"type": "gpt2", "n_embd": 32, "n_layer": 2, "n_head": 2, "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
LAST = "checkpoints/step-00000006"


def config_of(folder: Path, **sections: dict[str, Any]) -> Path:
    """Six steps of two micro-batches each, without dropout: which rows share a forward pass makes no difference."""
    evaluation = {"every_steps": 100, "samples": 1, "max_new_tokens": 1}
    train = {"max_steps": 6, "gradient_accumulation_steps": 2}
    kept = {"every_steps": 100, "keep": 2}
    sections = {"model": STILL, "train": train, "evaluation": evaluation, "checkpoint": kept, "log": {"every_steps": 1}, **sections}
    return gpt_config(folder, **sections)


@pytest.fixture(scope="module")
def ample(tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    """A run that has enough memory."""
    return run_here(config_of(tmp_path_factory.mktemp("ample")))


Shortage = Callable[[int, int], BaseException | None]  # arguments: number of rows, and number of calls of the loss while training


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> Callable[[Shortage], list[list[tuple[int, ...]]]]:
    """Let the loss fail while training as a Shortage says. The result collects the rows of each forward pass that succeeded."""

    def begin(fails: Shortage) -> list[list[tuple[int, ...]]]:
        seen: list[list[tuple[int, ...]]] = []
        calls, loss = [0], GptTask.loss

        def limited(self: GptTask, model: Any, batch: Any, smoothing: float = 0.0) -> Any:
            if model.training:
                calls[0] += 1
                if error := fails(len(batch["labels"]), calls[0]):
                    raise error
                seen.append([tuple(r) for r in batch["rows"].tolist()])
            return loss(self, model, batch, smoothing)

        monkeypatch.setattr(GptTask, "loss", limited)
        return seen

    return begin


def no_memory() -> RuntimeError:
    return RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")


def same_training(a: Path, b: Path) -> None:
    """Tokens and rates to the bit, losses and weights but for the order of sums."""
    pairs = list(zip(*([r for r in records(d) if r["event"] == "train"] for d in (a, b))))
    assert len(pairs) == 6 and [r["step"] for r, _ in pairs] == [1, 2, 3, 4, 5, 6]
    for record, expected in pairs:
        exact = ("step", "tokens", "epoch", "learning_rate")
        assert [record[k] for k in exact] == [expected[k] for k in exact]
        assert [record["loss"], record["grad_norm"]] == pytest.approx([expected["loss"], expected["grad_norm"]], rel=1e-4)
    one, other = (load_file(d / LAST / "model.safetensors") for d in (a, b))
    assert all(torch.allclose(one[k], other[k], atol=1e-4) for k in one)


def parts(run_dir: Path) -> int:
    state = json.loads((sorted((run_dir / "checkpoints").iterdir())[-1] / "trainer_state/state.json").read_text())
    return int(state["state"]["parts"])


def test_in_the_first_steps_parts_become_smaller_and_the_result_stays(
    ample: TrainResult, short: Any, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    short(lambda rows, call: no_memory() if rows > 3 else None)
    run = run_here(config_of(tmp_path))
    stderr = capsys.readouterr().err
    assert "from here on each micro-batch is computed in 2 parts (accumulation 2 → 4)" in stderr
    assert "from here on each micro-batch is computed in 4 parts (accumulation 4 → 8); a step has the same tokens as before" in stderr
    assert parts(run.run_dir) == 4 and parts(ample.run_dir) == 1
    same_training(run.run_dir, ample.run_dir)
    assert records(run.run_dir)[-1]["ended"] == "finished"


def test_in_the_middle_of_a_step_what_was_accumulated_does_not_count_twice(ample: TrainResult, short: Any, tmp_path: Path) -> None:
    short(lambda rows, call: no_memory() if call == 6 else None)  # the second micro-batch of step 3
    run = run_here(config_of(tmp_path))
    assert parts(run.run_dir) == 2
    same_training(run.run_dir, ample.run_dir)


def test_later_it_saves_stops_and_the_resumed_run_goes_on_in_parts(
    ample: TrainResult, short: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(out_of_memory, "FIRST_STEPS", 4)
    config = config_of(tmp_path)
    seen = short(lambda rows, call: no_memory() if call == 10 else None)  # the second micro-batch of step 5
    assert main(["--config", str(config)]) == 1
    message = capsys.readouterr().err.splitlines()[-1]
    assert message.startswith("stopped: out of memory in step 5; saved at step 4. Go on with --resume true --run_dir")
    assert "2 parts" in message and "gradient_checkpointing" in message
    end = records(tmp_path / "run")[-1]
    assert (end["event"], end["step"], end["ended"]) == ("end", 4, "out of memory, saved")
    assert "out_of_memory_saved" in {v.id for v in diagnose(tmp_path / "run")}
    assert (tmp_path / "run/latest").read_text() == "step-00000004\n" and parts(tmp_path / "run") == 2
    del seen[8:]  # of step 5, which left no trace
    assert run_here(config, "--resume", "true").ended == "finished"
    assert len(seen[8:]) == 8 and parts(tmp_path / "run") == 2  # two steps of two micro-batches in two parts
    assert [r["ended"] for r in records(tmp_path / "run") if r["event"] == "end"] == ["finished"]
    same_training(tmp_path / "run", ample.run_dir)
    taken = [r for part in seen for r in part]
    again = short(lambda rows, call: None)
    run_here(config, "--run_dir", str(tmp_path / "whole"))
    assert taken == [r for batch in again for r in batch]  # every row once, in the same order


@pytest.mark.parametrize(
    ("step", "world", "ends"), [(out_of_memory.FIRST_STEPS - 1, 1, False), (out_of_memory.FIRST_STEPS, 1, True), (3, 2, True)]
)
def test_only_the_first_steps_of_a_single_process_go_on_in_parts(
    step: int, world: int, ends: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(out_of_memory, "clear_device_cache", lambda **_: None)
    assert 20 <= out_of_memory.FIRST_STEPS <= 200, "later something else grew"
    done: list[str] = []
    state, processes = State(step=step), SimpleNamespace(world=world, say=lambda line: None)
    batch = {"labels": torch.arange(16).reshape(8, 2)}

    def limited(parts: list[Tensors]) -> list[torch.Tensor]:
        done.append("tried")
        if len(parts[0]["labels"]) > 4:
            raise no_memory()
        return [part["labels"].sum() for part in parts]

    def within() -> tuple[list[Tensors], list[torch.Tensor]]:
        return out_of_memory.within_memory(
            limited, [batch], state, processes, Config(task="gpt"), clear=lambda: done.append("cleared"), save=lambda: done.append("saved")
        )  # type: ignore[arg-type]

    if not ends:
        parts, sums = within()
        assert torch.equal(torch.cat([part["labels"] for part in parts]), batch["labels"]) and sum(map(int, sums)) == 120
        assert state.parts == 2 and done == ["tried", "cleared", "tried"]
        return
    with pytest.raises(OutOfMemory, match="several processes" if world > 1 else "--resume true"):
        within()
    alone = ["saved"] if world == 1 else []  # one of several cannot save without the others
    assert (done, state.parts) == (["tried", "cleared", *alone], 2 if alone else 1)


def test_a_single_row_that_does_not_fit_is_told_with_advice(short: Any, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    config = config_of(tmp_path)
    short(lambda rows, call: no_memory() if call < 20 else AssertionError("it tries for ever"))
    assert main(["--config", str(config)]) == 1
    stderr = capsys.readouterr().err
    assert "in 8 parts" in stderr and "in 16 parts" not in stderr
    assert stderr.splitlines()[-1].startswith("stopped: out of memory in step 1 even with a single row at a time; it needs a smaller batch")
    end = records(tmp_path / "run")[-1]
    assert (end["event"], end["step"], end["ended"]) == ("end", 0, "out of memory with a single row")
    assert "out_of_memory_row" in {v.id for v in diagnose(tmp_path / "run")}
    assert issubclass(OutOfMemory, Stopped)


def test_another_error_is_passed_on_and_the_folder_is_free(short: Any, tmp_path: Path) -> None:
    config = config_of(tmp_path)
    short(lambda rows, call: RuntimeError("mat1 and mat2 shapes cannot be multiplied") if call == 3 else None)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="shapes cannot"):
            run_here(config)
        short(lambda rows, call: RuntimeError("shapes cannot") if call == 1 else None)


@pytest.mark.parametrize("call", [1, 2])
def test_a_step_of_the_optimizers_is_never_done_twice(
    call: int, ample: TrainResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AdamW has moved its weights when Muon finds no memory: a second try would move them again."""
    calls, step = [0], Muon.step

    def limited(self: Muon, *args: Any) -> Any:
        calls[0] += 1
        if calls[0] == call:
            raise no_memory()
        return step(self, *args)

    monkeypatch.setattr(Muon, "step", limited)
    config = config_of(tmp_path, optim={"name": "muon"}, checkpoint={"every_steps": 1, "keep": 9})
    with pytest.raises(OutOfMemory, match="optimizer"):
        run_here(config)
    assert records(tmp_path / "run")[-1]["ended"] == "out of memory in the optimizer"
    kept = sorted(p.name for p in (tmp_path / "run/checkpoints").glob("step-*"))
    assert kept == ["step-00000001"][: call - 1]  # nothing half moved was saved


def test_a_real_shortage(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """All 108 rows in one micro-batch, through a layer so wide that each of its activations has 80 MB."""
    wide = {"model": {**STILL, "n_layer": 1, "n_inner": 4000}, "batch": {"micro_batch_size": 108, "packing": "never"}}
    config = config_of(tmp_path, **wide, train={"max_steps": 1})
    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (psutil.Process().memory_info().vms + 250_000_000, limits[1]))
    try:
        little = run_here(config, "--run_dir", str(tmp_path / "little"))
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)
    assert "step 1: from here on each micro-batch is computed in 2 parts" in capsys.readouterr().err and parts(little.run_dir) >= 2
    ample = run_here(config)
    assert parts(ample.run_dir) == 1 and len(numbers(ample.run_dir)) == len(numbers(little.run_dir))
    for record, expected in zip(numbers(little.run_dir), numbers(ample.run_dir)):
        for key in {"loss", "val_loss", "grad_norm", "tokens"} & set(record):
            assert record[key] == pytest.approx(expected[key], rel=1e-4), key

"""Accumulation and several processes: the same gradients, the same weights, every row once, and one voice."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from training_runs import ROOT, end, environment, gpt_config, numbers, records, run_here, run_to_end, start, translation_config

from training.base.errors import ConfigError
from training.corpus.batches import MicroBatches
from training.loop.run import open_run
from training.settings.load import load_config, parse_args
from training.setup.data import open_data
from training.setup.processes import Processes
from training.train import _loop as loop

ACCELERATE = [sys.executable, "-m", "accelerate.commands.launch"]


class Done(Exception):
    pass


def gradients(config: Path, run_dir: Path, accumulation: int) -> dict[str, torch.Tensor]:
    """What the loop has before its first optimizer step, unclipped, from 32 rows in `accumulation` micro-batches."""
    options = ["--train.gradient_accumulation_steps", str(accumulation), "--run_dir", str(run_dir), "--optim.max_grad_norm", "0"]
    run = open_run(parse_args(["--config", str(config), *options]))
    rows = list(run.data.corpus.rows(0, [0]))[:32]
    run.data.task.rows_per_batch = len(rows) // accumulation  # gpt
    lone: list[Any] = [run.data.task.make_batches([row], None)[0][0] for row in rows]
    batches = lone if accumulation == 32 else run.data.task.make_batches(rows, None)[0]
    assert len(batches) == accumulation and sum(len(b["input_ids"]) for b in batches) == 32
    if accumulation == 1:
        assert len({int((row >= 0).sum()) for row in batches[0]["labels"]}) > 5  # of different lengths
    run.batches.step = lambda n: [{k: torch.from_numpy(v.astype(np.int64)) for k, v in b.items()} for b in batches]  # type: ignore
    gradients: dict[str, torch.Tensor] = {}

    def stop(*_: Any) -> None:
        gradients.update({n: p.grad.clone() for n, p in run.network.named_parameters() if p.grad is not None})
        raise Done

    run.optimizers[0].step = stop  # type: ignore[method-assign]
    try:
        with pytest.raises(Done):
            loop(run, None)
    finally:
        run.close()
    return gradients


@pytest.mark.parametrize("make", [gpt_config, translation_config], ids=["gpt", "translation"])
def test_one_times_32_and_32_times_one_accumulate_to_the_same_gradients(make: Any, tmp_path: Path) -> None:
    sections: dict[str, Any] = {"batch": {"block_size": 48, "packing": "never"}}
    model = {"type": "gpt2", "n_embd": 32, "n_layer": 2, "n_head": 2, "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
    if make is translation_config:
        sections = {"batch": {"tokens_per_batch": 100_000, "max_source_length": 80, "max_target_length": 200}}
        model = {"dropout": 0.0, "attention_dropout": 0.0, "activation_dropout": 0.0}
    config = make(tmp_path, model=model, **sections)
    large, small = gradients(config, tmp_path / "1", 1), gradients(config, tmp_path / "32", 32)
    assert set(large) == set(small)
    norm = torch.stack([g.norm() for g in large.values()]).norm()
    assert norm > 0.1
    for name in large:
        assert (large[name] - small[name]).norm() < 1e-5 * norm, name


# ---- two processes

LAST = "checkpoints/step-00000014"
STEPS = {"max_steps": 14, "mixed_precision": "no"}
STILL = {"type": "gpt2", "n_embd": 32, "n_layer": 2, "n_head": 2, "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    config = gpt_config(tmp_path_factory.mktemp("two"), train=STEPS, model=STILL, checkpoint={"every_steps": 7, "keep": 9})
    return config, run_to_end(config, world=2)


def test_two_processes_end_where_one_with_accumulation_two_does(two: Any, tmp_path: Path) -> None:
    config, done = two
    assert done.returncode == 0, done.stderr[-3000:]
    assert "2 processes on cpu, 1 thread(s)" in done.stderr
    assert done.stderr.count("model: gpt2") == 1 and done.stdout.count("# run") == 1  # one voice
    one = run_here(config, "--run_dir", str(tmp_path / "one"), "--train.gradient_accumulation_steps", "2")
    both = config.parent / "run"
    for record, expected in zip(records(both), records(one.run_dir)):
        assert (record["event"], record["step"]) == (expected["event"], expected["step"])
        for key in {"loss", "val_loss", "grad_norm", "tokens", "learning_rate", "epoch"} & set(record):
            assert record[key] == pytest.approx(expected[key], rel=1e-4), key
    a, b = (load_file(d / LAST / "model.safetensors") for d in (both, one.run_dir))
    assert all(torch.allclose(a[k], b[k], atol=1e-4) for k in a)
    dice = load_file(both / LAST / "trainer_state/tensors.safetensors")
    assert not torch.equal(dice["random.0"], dice["random.1"])  # other units drop out in each process


def test_two_processes_see_every_row_of_an_epoch_once(tmp_path: Path) -> None:
    config = load_config(translation_config(tmp_path))
    data = open_data(config, Processes())
    for accumulation in (1, 3):
        shares = [MicroBatches(data.corpus, data.task.make_batches, rank, 2, workers=0) for rank in (0, 1)]
        dealt = [[], []]
        while shares[0].epoch < 2:
            for rank in (0, 1):
                dealt[rank] += shares[rank].step(accumulation)
        assert shares[0].state() == shares[1].state()
        merged = [b for pair in zip(*dealt) for b in pair]
        seen = Counter(tuple(row) for b in merged for row in b["rows"].tolist())
        assert len(seen) == data.corpus.count() == 270
        assert set(seen.values()) <= {2, 3} and sum(seen.values()) >= 540  # twice each, and the begin of the next epoch


def test_two_processes_resume_to_the_same_bits(two: Any, tmp_path: Path) -> None:
    config, _ = two
    cut, whole = tmp_path / "cut", config.parent / "run"
    shutil.copytree(whole, cut)
    for place in (cut / "checkpoints").iterdir():  # as if it had been killed in step 13
        if place.name > "step-00000007":
            shutil.rmtree(place)
    done = run_to_end(config, "--run_dir", str(cut), "--resume", "true", world=2)
    assert done.returncode == 0 and "resuming from" in done.stderr, done.stderr[-2000:]
    for name in ("model.safetensors", "trainer_state/tensors.safetensors"):
        assert (cut / LAST / name).read_bytes() == (whole / LAST / name).read_bytes()
    assert numbers(cut) == numbers(whole)
    with pytest.raises(ConfigError, match="began with 2 processes, now there are 1"):
        run_here(config, "--run_dir", str(cut), "--resume", "true")


def sharded() -> None:
    """FSDP2 on CPUs, which accelerate offers on GPUs only: at the moment when it decides it is made to see GPUs."""
    from accelerate.state import PartialState
    from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin

    from training.loop import run

    class Sharded(run.Accelerator):
        def __init__(self, cpu: bool, **kwargs: Any):
            PartialState._shared_state["distributed_type"] = DistributedType.MULTI_GPU
            plugin = FullyShardedDataParallelPlugin(
                fsdp_version=2, auto_wrap_policy="transformer_based_wrap", reshard_after_forward=True, cpu_ram_efficient_loading=False
            )
            super().__init__(fsdp_plugin=plugin, **kwargs)
            assert self.is_fsdp2

    run.Accelerator = Sharded  # type: ignore[misc]


def test_sharded_weights_train_save_and_resume_as_whole_ones(tmp_path: Path) -> None:
    """With Muon and an average, which both look at whole matrices."""
    config = gpt_config(
        tmp_path, model=STILL, train={**STEPS, "max_steps": 8, "averaging": "ema"}, evaluation={"every_steps": 4, "samples": 2},
        optim={"name": "muon", "warmup_steps": 2}, checkpoint={"every_steps": 4, "keep": 2}, log={"every_steps": 1},
    )  # fmt: skip
    done = run_to_end(config, world=2, before=sharded)
    assert done.returncode == 0, done.stderr[-3000:]
    whole, one = tmp_path / "run", run_here(config, "--run_dir", str(tmp_path / "one"), "--train.gradient_accumulation_steps", "2")
    last = "checkpoints/step-00000008"
    for name in ("model.safetensors", "trainer_state/weights.safetensors", "trainer_state/tensors.safetensors"):
        files = load_file(whole / last / name), load_file(one.run_dir / last / name)
        shapes = [{key: tensor.shape for key, tensor in tensors.items() if "random" not in key} for tensors in files]
        assert shapes[0] == shapes[1]
    for record, expected in zip(records(whole), records(one.run_dir)):
        for key in {"loss", "val_loss", "grad_norm"} & set(record):
            assert record[key] == pytest.approx(expected[key], rel=1e-3), key
    cut = tmp_path / "cut"
    shutil.copytree(whole, cut)
    shutil.rmtree(cut / last)
    assert run_to_end(config, "--run_dir", str(cut), "--resume", "true", world=2, before=sharded).returncode == 0
    for name in ("model.safetensors", "trainer_state/weights.safetensors", "trainer_state/tensors.safetensors"):
        assert (cut / last / name).read_bytes() == (whole / last / name).read_bytes(), name
    assert numbers(cut) == numbers(whole)


def test_a_mistake_ends_both_processes_promptly_and_is_told_once(tmp_path: Path) -> None:
    config = gpt_config(tmp_path, corpus={"train": str(tmp_path / "nowhere.jsonl")})
    processes = start(config, world=2)
    done = end(processes, config)
    assert [p.exitcode for p in processes] == [2, 2]
    assert done.stderr.count("error: ") == 1 and "nowhere.jsonl" in done.stderr


@pytest.mark.parametrize("file", [pytest.param("cpu.yaml", marks=pytest.mark.soak), "cpu_processes.yaml"])  # several are the harder case
def test_a_sigterm_to_the_launcher_reaches_the_run_which_saves(file: str, tmp_path: Path) -> None:
    config = gpt_config(tmp_path, train={"max_steps": 100_000, "mixed_precision": "no"}, evaluation={"every_steps": 10**6})
    log = open(tmp_path / "log", "w")
    command = [*ACCELERATE, "--config_file", f"configs/accelerate/{file}", "training/train.py", "--config", str(config)]
    process = subprocess.Popen([*command, "--checkpoint.every_steps", "1000000"], cwd=ROOT, env=environment(), stdout=log, stderr=log)
    deadline = time.monotonic() + 180
    while not records(tmp_path / "run") and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    process.wait(60)
    while "saved at step" not in (tmp_path / "log").read_text() and time.monotonic() < deadline:
        time.sleep(0.1)  # a single process outlives its launcher by a moment
    assert re.search(r"SIGTERM: saved at step \d+", (tmp_path / "log").read_text()), (tmp_path / "log").read_text()[-2000:]
    assert (tmp_path / "run/latest").is_file()


# ---- threads


@pytest.mark.parametrize("asked", [None, pytest.param("1", marks=pytest.mark.soak)])
def test_plain_accelerate_launch_takes_all_cores_unless_told_otherwise(asked: str | None, tmp_path: Path) -> None:
    """accelerate sets OMP_NUM_THREADS=1 when nobody asked for anything."""
    probe = tmp_path / "probe.py"
    probe.write_text(
        f"import sys; sys.path[0] = {str(ROOT)!r}\n"
        "from training.model import hardware; import torch;"
        " hardware.share_threads(); print('threads', torch.get_num_threads(), hardware.cores())"
    )
    env = {k: v for k, v in environment().items() if k != "OMP_NUM_THREADS"} | ({"OMP_NUM_THREADS": asked} if asked else {})
    done = subprocess.run([*ACCELERATE, str(probe)], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120)
    threads, cores = map(int, re.search(r"threads (\d+) (\d+)", done.stdout).groups())
    assert threads == (1 if asked else cores), done.stderr
    assert 1 <= cores <= (os.cpu_count() or 1)

"""Which precision `auto` takes, and what is set before the first tensor."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from training_runs import gpt_config, run_here

from training.estimate import probe
from training.model import hardware
from training.model.hardware import pick_precision, random_state, set_random_state, share_threads, watch_others
from training.settings.load import load_config
from training.setup import data

CPU = torch.device("cpu")


def measured(monkeypatch: pytest.MonkeyPatch, *seconds: float) -> Iterator[float]:
    """As if the clock had said so: of a product in float32 and bf16, then of a step in float32, bf16 and both once more."""
    left = iter(seconds)
    monkeypatch.setattr(hardware, "_best", lambda *_: next(left))
    return left


@pytest.mark.parametrize(
    ("product", "step", "chosen"),
    [
        ((1e-3, 5e-2), (), "no"),  # emulated: the step is not even tried
        ((1e-3, 0.9e-3), (), "no"),
        ((1e-3, 5e-4), (0.10, 0.05, 0.11, 0.06), "bf16"),
        ((1e-3, 5e-4), (0.10, 0.095, 0.10, 0.095), "no"),  # casts eat what the products save
        ((1e-3, 5e-4), (0.30, 0.09, 0.10, 0.20), "no"),  # the best of each counts
    ],
)
def test_auto_is_bf16_only_where_a_step_is_faster(
    product: tuple[float, ...], step: tuple[float, ...], chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = measured(monkeypatch, *product, *step)
    threads = torch.get_num_threads()
    found, told, seconds = pick_precision(CPU, lambda _: None)
    assert found == chosen and "auto" in told and list(left) == []
    assert seconds == ({"no": min(step[::2]), "bf16": min(step[1::2])} if step else {})
    assert torch.get_num_threads() == threads


def test_what_auto_took_is_what_the_run_has_and_a_resumed_one_keeps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[torch.dtype | None] = []

    def pick(_: torch.device, step: object) -> tuple[str, str, dict[str, float]]:
        for dtype in (None, torch.bfloat16):
            step(dtype)  # type: ignore[operator]
            tried.append(dtype)
        return "bf16", " (auto: as told)", {"no": 0.2, "bf16": 0.1}

    monkeypatch.setattr(data, "pick_precision", pick)
    config = gpt_config(tmp_path, train={"max_steps": 1, "mixed_precision": "auto"}, evaluation={"every_steps": 100, "samples": 1})
    run = run_here(config)
    assert load_config(run.run_dir / "config.yaml").train.mixed_precision == "bf16" and tried == [None, torch.bfloat16]
    assert run_here(config, "--resume", "true", "--train.max_steps", "2").step == 2
    assert load_config(run.run_dir / "config.yaml").train.mixed_precision == "bf16" and len(tried) == 2  # not measured anew


def test_workers_side_by_side_share_the_threads_and_what_the_caller_chose_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    before, found = torch.get_num_threads(), list[int]()
    for chosen, workers in ((8, 1), (None, 2), (None, 3), (None, 20), (None, 1), (6, 2), (None, 1)):
        if chosen:
            torch.set_num_threads(chosen)
        share_threads(workers)
        found.append(torch.get_num_threads())
    assert found == [8, 4, 2, 1, 8, 3, 6]
    monkeypatch.setenv("OMP_NUM_THREADS", "6")  # the user's word
    share_threads(2)
    assert torch.get_num_threads() == 6
    torch.set_num_threads(before)


def test_what_other_programs_do_on_our_cores_is_seen_and_our_own_work_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, own = iter([100.0, 110.0, 110.0]), iter([3.0, 4.0])
    by_core = iter([[50.0, 0.0, 7.0], [60.0, 9.0, 12.0]])  # busy seconds; the one in the middle is not ours
    monkeypatch.setattr(hardware.os, "sched_getaffinity", lambda _: {0, 2}, raising=False)
    monkeypatch.setattr(hardware.sys, "platform", "linux")
    monkeypatch.setattr(hardware, "cores", lambda: 2)
    monkeypatch.setattr(hardware.psutil, "cpu_times", lambda percpu: [SimpleNamespace(user=s) for s in next(by_core)])
    monkeypatch.setattr(hardware.psutil, "Process", lambda: SimpleNamespace(cpu_times=lambda: SimpleNamespace(user=next(own), system=0.0)))
    monkeypatch.setattr(hardware.time, "monotonic", lambda: next(clock))
    since = watch_others()
    assert since() == pytest.approx((10 + 5 - 1) / 10)
    monkeypatch.setattr(hardware, "cores", lambda: 1)  # a quota: whose the rest is cannot be told
    assert since() is None


def test_numbers_too_small_to_matter_are_zero() -> None:
    torch.set_flush_denormal(False)
    small = torch.full((64,), 1e-20)
    assert (small * 1e-20).all()
    share_threads()
    assert not (small * 1e-20).any()  # on a CPU they cost a hundred times as much


class Generator:
    """What `torch.xpu` or `torch.mps` has for its random numbers."""

    def __init__(self) -> None:
        self.state = torch.arange(8, dtype=torch.uint8)

    def get_rng_state(self, device: torch.device) -> torch.Tensor:
        return self.state.clone()

    def set_rng_state(self, state: torch.Tensor, device: torch.device) -> None:
        self.state = state.clone()


@pytest.mark.parametrize("kind", ["cuda", "mps", "xpu"])
def test_the_random_state_of_any_accelerator_is_saved_and_put_back(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    there, device = Generator(), torch.device(kind)
    monkeypatch.setattr(torch, "get_device_module", lambda device: there)
    saved = random_state(device)
    assert len(saved) == len(random_state(CPU)) + 8
    cpu, there.state = torch.rand(3), there.state.flip(0)
    set_random_state(saved, device)
    assert torch.equal(torch.rand(3), cpu) and torch.equal(there.state, torch.arange(8, dtype=torch.uint8))
    there.state = there.state.flip(0)
    set_random_state(random_state(CPU), device)  # of a checkpoint from a machine without it
    assert torch.equal(there.state, torch.arange(8, dtype=torch.uint8).flip(0))


@pytest.mark.parametrize(("kind", "waits"), [("cpu", 0), ("cuda", 2), ("mps", 2), ("xpu", 2)])
def test_the_probe_waits_for_any_accelerator(kind: str, waits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[torch.device] = []
    monkeypatch.setattr(torch.accelerator, "synchronize", waited.append)
    assert probe._Clock(torch.device(kind))(lambda: None) >= 0
    assert waited == [torch.device(kind)] * waits  # before the work and after it

"""The machine: threads for each process, precision and speed of a device, its memory, and its random number generators."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import torch

from training.base.device_sheets import SHEETS

LAUNCHERS = ("accelerate", "torchrun", "torch.distributed")


def share_threads(workers: int = 1) -> None:
    """Give this process its share of the cores, and flush denormal floats to zero.

    Without a GPU, `accelerate launch` sets OMP_NUM_THREADS=1 by itself, so that a process would use a single core. The user's own
    choice is recognised by another value, or by the launcher's environment and command line, and is left as it is.

    Args:
        workers: how many launches train side by side on this machine. Threads that share a core wait for each other: with two
            workers of two threads each on two cores, a trial took twenty times as long (docs/log.md).
    """
    torch.set_flush_denormal(True)  # otherwise the tiny gradients of a converged model make a step up to a hundred times slower
    if "LOCAL_RANK" not in os.environ and "ACCELERATE_MIXED_PRECISION" not in os.environ:
        if "OMP_NUM_THREADS" not in os.environ:
            _divide_threads(workers)
        return  # accelerate did not launch this process
    if os.environ.get("OMP_NUM_THREADS", "1") != "1" or _user_asked():
        return
    torch.set_num_threads(max(1, cores() // (workers * int(os.environ.get("LOCAL_WORLD_SIZE", 1)))))


_whole_threads = _divided_threads = 0  # torch's or the caller's number of threads, and the one that _divide_threads made of it


def _divide_threads(workers: int) -> None:
    """Divide torch's threads by `workers`. A second call divides the first number again, unless a caller has set another since."""
    global _whole_threads, _divided_threads
    if torch.get_num_threads() != _divided_threads:
        _whole_threads = torch.get_num_threads()
    _divided_threads = max(1, _whole_threads // workers)
    torch.set_num_threads(_divided_threads)


# Bytes that oneDNN and transformers allocate at first use on a CPU, by precision (docs/log.md).
KERNELS = {"float32": 60_000_000, "bf16": 110_000_000}

KEPT = 0.37  # bytes that a CPU's allocator keeps, as a share of the bytes in live tensors (benchmarks/preflight_accuracy.py)

_returns_memory = False  # what the last call of return_memory chose


def return_memory(on: bool) -> None:
    """Choose whether the memory of freed large tensors goes back to the system or stays with the allocator (Linux with glibc only).

    By default glibc keeps it, in pieces that do not fit the next tensor: a step with gradient checkpointing had twice as many bytes
    resident as alive. When it goes back, every tensor needs new pages, which can add half the time of a step (docs/log.md); so this is
    for runs that prefer less memory to speed. The choice holds for the process, and the next trial of a sweep may make another.
    """
    global _returns_memory
    if sys.platform == "linux" and on != _returns_memory:
        import ctypes

        try:
            mallopt = ctypes.CDLL(None).mallopt
        except (OSError, AttributeError):  # another C library
            return
        _returns_memory = on
        # M_MMAP_THRESHOLD: larger tensors get pages of their own. Setting it stops its growth, so `off` sets 32 MB, its largest value.
        mallopt(-3, 1 << 20 if on else 32 << 20)
        mallopt(-1, 64 << 20)  # M_TRIM_THRESHOLD: smaller pieces are kept, for speed


def cores() -> int:
    """The number of cores that this process may use: those of its affinity, limited by a container's quota."""
    allowed = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return min(allowed, max(1, math.ceil(int(quota) / int(period))))
    except (OSError, ValueError):  # no cgroup v2, or the quota is "max"
        return allowed


def watch_others() -> Callable[[], float | None]:
    """Start measuring the load by other programs.

    Returns:
        A function that gives the number of this process's cores that others have kept busy since, on average. It waits until at least
        half a second has passed. It gives None under a container's quota of cores, where this cannot be measured.
    """
    allowed = sorted(os.sched_getaffinity(0)) if sys.platform == "linux" else list(range(os.cpu_count() or 1))

    def now() -> tuple[float, float]:
        all_cores = psutil.cpu_times(percpu=True)
        kinds = ("user", "nice", "system", "irq", "softirq", "steal")  # "user" includes a guest's time
        busy = sum(getattr(all_cores[k], kind, 0.0) for k in allowed if k < len(all_cores) for kind in kinds)
        own = psutil.Process().cpu_times()
        return time.monotonic(), busy - own.user - own.system

    began, before = now()

    def since() -> float | None:
        if cores() < len(allowed):
            return None
        time.sleep(max(0.0, began + 0.5 - time.monotonic()))
        ended, after = now()
        return max(0.0, (after - before) / (ended - began))

    return since


def _user_asked() -> bool:
    """Whether the user gave the launcher a number of threads, by its environment or its command line."""
    try:
        parents = psutil.Process().parents()[:3]
    except psutil.Error:
        return False
    for parent in parents:
        try:
            words = parent.cmdline()
            if not any(name in word for word in words[:4] for name in LAUNCHERS):
                continue
            if "OMP_NUM_THREADS" in parent.environ() or any("num_cpu_threads_per_process" in w.replace("-", "_") for w in words):
                return True
        except (psutil.Error, OSError):
            continue
    return False


def peak_flops(device: torch.device, precision: str) -> float | None:
    """The most FLOP/s of a device: from the data sheet for a GPU, measured for a CPU, None for any other or unknown device."""
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device).lower().replace(" ", "")
        return next((sheet.flops(precision) for key, sheet in SHEETS.items() if key in name), None)
    if device.type != "cpu":
        return None
    a, b = torch.randn(2, 1024, 1024).to(torch.bfloat16 if precision == "bf16" else torch.float32)
    return 2 * 1024**3 / _best(lambda: a @ b, 10, 0.5)


def peak_memory(device: torch.device) -> int:
    """The most bytes that this process has had: allocated on the device if that has memory of its own, otherwise resident in RAM."""
    if device.type not in ("cpu", "mps"):
        return torch.accelerator.max_memory_allocated(device)
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def gpu_precision(device: torch.device) -> str:
    """The fastest safe precision of a device other than a CPU, known without measuring: no, bf16 or fp16."""
    if device.type != "cuda":
        return "no"
    return "bf16" if torch.cuda.get_device_capability(device)[0] >= 8 else "fp16"


def pick_precision(device: torch.device, step: Callable[[torch.dtype | None], None]) -> tuple[str, str, dict[str, float]]:
    """Choose the fastest safe precision for a run.

    A GPU either has bf16 or does not. A CPU is measured: first by a matrix product, because many CPUs emulate bf16 hundreds of times
    slower; if that is fast, by the run's own training step, because casts can cost more than the products save.

    Args:
        step: does one forward and backward pass under autocast to that dtype (None: float32).

    Returns:
        The precision (no, bf16 or fp16), what was measured in words, and seconds of a step by precision (empty if not measured).
    """
    if device.type == "cuda":
        precision = gpu_precision(device)
        return precision, " (auto)" if precision == "bf16" else " (auto: no bf16)", {}
    if device.type != "cpu":
        return gpu_precision(device), " (auto)", {}
    speed, threads = {}, torch.get_num_threads()
    torch.set_num_threads(1)  # on busy cores, threads wait for each other far longer than such a product takes
    for dtype in (torch.float32, torch.bfloat16):
        a, b = torch.randn(2, 192, 192).to(dtype)  # with smaller matrices, fast bf16 is not visibly faster
        speed[dtype] = 2 * 192**3 / _best(lambda: a @ b, 50, 0.01) / 1e9  # noqa: B023
    torch.set_num_threads(threads)
    measured = f"float32 {speed[torch.float32]:.0f}, bf16 {speed[torch.bfloat16]:.1f} GFLOP/s"
    if speed[torch.bfloat16] < 1.2 * speed[torch.float32]:
        return "no", f" (auto: {measured})", {}
    seconds: dict[torch.dtype | None, float] = {}
    for dtype in (None, torch.bfloat16, None, torch.bfloat16):  # alternating, in case the machine's load changes
        seconds[dtype] = min(seconds.get(dtype, 1e9), _best(lambda: step(dtype), 3, 2.0))  # noqa: B023
    chosen = "bf16" if seconds[torch.bfloat16] < 0.85 * seconds[None] else "no"
    measured = f"float32 {1e3 * seconds[None]:.0f} ms, bf16 {1e3 * seconds[torch.bfloat16]:.0f} ms"  # a step
    return chosen, f" (auto: {measured})", {"no": seconds[None], "bf16": seconds[torch.bfloat16]}


def _best(work: Callable[[], object], times: int, enough: float) -> float:
    """Seconds of the fastest of at most `times` calls, after one that is not timed; no further call after `enough` seconds in all."""
    work()
    best, spent = float("inf"), 0.0
    while times and spent < enough:
        begin = time.perf_counter()
        work()
        took = time.perf_counter() - begin
        best, spent, times = min(best, took), spent + took, times - 1
    return best


def random_state(device: torch.device) -> torch.Tensor:
    """The states of this process's random number generators as one uint8 tensor: torch's on the CPU, then the device's."""
    return torch.cat([torch.get_rng_state(), _device_state(device)])


def _device_state(device: torch.device) -> torch.Tensor:
    """The state of an accelerator's generator (CUDA, MPS, XPU); empty for a CPU, which uses torch's own generator."""
    if device.type == "cpu":
        return torch.empty(0, dtype=torch.uint8)
    state: torch.Tensor = torch.get_device_module(device).get_rng_state(device)
    return state


def set_random_state(state: torch.Tensor, device: torch.device) -> None:
    """Restore what `random_state` returned; if that was on another kind of device, restore the CPU's part only."""
    size = len(torch.get_rng_state())
    torch.set_rng_state(state[:size])
    if device.type != "cpu" and len(state) - size == len(_device_state(device)):
        torch.get_device_module(device).set_rng_state(state[size:], device)

"""What this machine does fast: threads for each process, and the precision that pays."""

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
    """Give this process its share of the cores, and let numbers too small for float32's normal range be zero.

    `accelerate launch` sets OMP_NUM_THREADS=1 where there is no GPU and nobody asked for it, so one process would use one
    core. Whether the user asked shows in the value, and in the launcher's own environment and command line.

    Args:
        workers: launches that train side by side on this machine. Threads that have to share a core wait for each other: with
            two workers of two threads each on two cores a trial took twenty times as long (docs/log.md).
    """
    torch.set_flush_denormal(True)  # the small gradients of a converged model cost up to a hundred times as much otherwise
    if "LOCAL_RANK" not in os.environ and "ACCELERATE_MIXED_PRECISION" not in os.environ:
        if "OMP_NUM_THREADS" not in os.environ:
            _share_of_own_choice(workers)
        return  # not launched by accelerate
    if os.environ.get("OMP_NUM_THREADS", "1") != "1" or _user_asked():
        return
    torch.set_num_threads(max(1, cores() // (workers * int(os.environ.get("LOCAL_WORLD_SIZE", 1)))))


_chosen = _given = 0  # threads: by torch or the caller of this code, and by share_threads


def _share_of_own_choice(workers: int) -> None:
    global _chosen, _given
    if torch.get_num_threads() != _given:
        _chosen = torch.get_num_threads()
    _given = max(1, _chosen // workers)
    torch.set_num_threads(_given)


KERNELS = {
    "float32": 60_000_000,
    "bf16": 110_000_000,
}  # bytes on a CPU: what oneDNN and transformers set up at first use; by precision (docs/log.md)

KEPT = 0.37  # of what is alive: on a CPU so much more is resident (benchmarks/preflight_accuracy.py)

_returned = False  # whether large tensors go back to the system


def return_memory(wanted: bool) -> None:
    """Let large tensors go back to the system when they are freed, or stay with the allocator (Linux, glibc).

    Its allocator would learn to keep them instead, in pieces that do not fit the next one: a step with gradient checkpointing had
    twice as much resident as alive. Every tensor then has to be given new pages, which can take half as long again as the step
    itself (docs/log.md), so it is for those who chose memory over time. It holds for the process, and a sweep's next trial may want
    the other.
    """
    global _returned
    if sys.platform == "linux" and wanted != _returned:
        import ctypes

        try:
            mallopt = ctypes.CDLL(None).mallopt
        except (OSError, AttributeError):  # another C library
            return
        _returned = wanted
        # M_MMAP_THRESHOLD: from 1 MB on, memory of its own. Once given, it no longer grows by itself, so 32 MB is where it would end.
        mallopt(-3, 1 << 20 if wanted else 32 << 20)
        mallopt(-1, 64 << 20)  # M_TRIM_THRESHOLD: the rest is kept, for speed


def cores() -> int:
    """Cores that this process may use: those it is bound to, and no more than a container's quota."""
    allowed = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return min(allowed, max(1, math.ceil(int(quota) / int(period))))
    except (OSError, ValueError):  # no cgroup v2, or the quota is "max"
        return allowed


def watch_others() -> Callable[[], float | None]:
    """Begin to look at what other programs do; what is returned tells how many of this process's cores they have kept busy since.

    It waits until half a second is over. None where that cannot be told, under a container's quota of cores.
    """
    allowed = sorted(os.sched_getaffinity(0)) if sys.platform == "linux" else list(range(os.cpu_count() or 1))

    def now() -> tuple[float, float]:
        all_cores = psutil.cpu_times(percpu=True)
        kinds = ("user", "nice", "system", "irq", "softirq", "steal")  # a guest's time is in user
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
    """Whether the launcher was started with a number of threads."""
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
    """FLOP/s that a device can do at best: a GPU's by its data sheet (None if it is not known), a CPU's as measured."""
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device).lower().replace(" ", "")
        return next((sheet.flops(precision) for key, sheet in SHEETS.items() if key in name), None)
    if device.type != "cpu":
        return None
    a, b = torch.randn(2, 1024, 1024).to(torch.bfloat16 if precision == "bf16" else torch.float32)
    return 2 * 1024**3 / _best(lambda: a @ b, 10, 0.5)


def peak_memory(device: torch.device) -> int:
    """Most bytes that this process has had: allocated on an accelerator with memory of its own, else resident."""
    if device.type not in ("cpu", "mps"):
        return torch.accelerator.max_memory_allocated(device)
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def of_gpu(device: torch.device) -> str:
    """The precision that pays on a device that is no CPU: it need not be measured."""
    if device.type != "cuda":
        return "no"
    return "bf16" if torch.cuda.get_device_capability(device)[0] >= 8 else "fp16"


def pick_precision(device: torch.device, step: Callable[[torch.dtype | None], None]) -> tuple[str, str, dict[str, float]]:
    """The fastest safe precision of the run's device, in words what was measured, and seconds of a step by precision.

    A GPU has bf16 or it has not. A CPU is asked: first a matrix product, because many CPUs emulate bf16 hundreds of times
    slower, then, where that is fast, the run's own training step, because casts can eat what the products save.

    Args:
        step: does one forward and backward pass under autocast to that dtype (None: float32).
    """
    if device.type == "cuda":
        precision = of_gpu(device)
        return precision, " (auto)" if precision == "bf16" else " (auto: no bf16)", {}
    if device.type != "cpu":
        return of_gpu(device), " (auto)", {}
    speed, threads = {}, torch.get_num_threads()
    torch.set_num_threads(1)  # on cores that others use, threads wait for each other far longer than such a product takes
    for dtype in (torch.float32, torch.bfloat16):
        a, b = torch.randn(2, 192, 192).to(dtype)  # in smaller ones, bf16 that is fast does not show it
        speed[dtype] = 2 * 192**3 / _best(lambda: a @ b, 50, 0.01) / 1e9  # noqa: B023
    torch.set_num_threads(threads)
    measured = f"float32 {speed[torch.float32]:.0f}, bf16 {speed[torch.bfloat16]:.1f} GFLOP/s"
    if speed[torch.bfloat16] < 1.2 * speed[torch.float32]:
        return "no", f" (auto: {measured})", {}
    seconds: dict[torch.dtype | None, float] = {}
    for dtype in (None, torch.bfloat16, None, torch.bfloat16):  # in turn, for a noisy machine
        seconds[dtype] = min(seconds.get(dtype, 1e9), _best(lambda: step(dtype), 3, 2.0))  # noqa: B023
    chosen = "bf16" if seconds[torch.bfloat16] < 0.85 * seconds[None] else "no"
    told = f" (auto: float32 {1e3 * seconds[None]:.0f} ms, bf16 {1e3 * seconds[torch.bfloat16]:.0f} ms)"  # a step
    return chosen, told, {"no": seconds[None], "bf16": seconds[torch.bfloat16]}


def _best(work: Callable[[], object], times: int, enough: float) -> float:
    """Seconds of the fastest of some runs after a first one; stops early when all took longer than `enough`."""
    work()
    best, spent = float("inf"), 0.0
    while times and spent < enough:
        begin = time.perf_counter()
        work()
        took = time.perf_counter() - begin
        best, spent, times = min(best, took), spent + took, times - 1
    return best


def random_state(device: torch.device) -> torch.Tensor:
    """This process's random number generators as bytes: torch's on the CPU, then the device's."""
    return torch.cat([torch.get_rng_state(), _device_state(device)])


def _device_state(device: torch.device) -> torch.Tensor:
    """The state of an accelerator's generator (CUDA, MPS, XPU); empty for a CPU, whose generator is torch's own."""
    if device.type == "cpu":
        return torch.empty(0, dtype=torch.uint8)
    state: torch.Tensor = torch.get_device_module(device).get_rng_state(device)
    return state


def set_random_state(state: torch.Tensor, device: torch.device) -> None:
    """Put back what `random_state` gave; if it came from another kind of device, the CPU's part alone."""
    size = len(torch.get_rng_state())
    torch.set_rng_state(state[:size])
    if device.type != "cpu" and len(state) - size == len(_device_state(device)):
        torch.get_device_module(device).set_rng_state(state[size:], device)

"""Preflight's prediction of memory on each device under FSDP against torch's own tracker; no GPUs are needed.

python benchmarks/fsdp_memory.py [DEVICES ...]

torch's `FSDPMemTracker` (torch.distributed._tools) follows two steps of the model, sharded by `fully_shard` as accelerate does it,
over a fake process group. Tensors are fake too, so nothing is allocated. Exit code 1 if a row is off by more than 15%.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import yaml
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed._tools.fsdp2_mem_tracker import FSDPMemTracker
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.testing._internal.distributed.fake_pg import FakeStore

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from preflight_accuracy import MEMORY_OFF, gpt, m2m, pairs, qwen3  # noqa: E402

from training.estimate import fake_step, footprint  # noqa: E402
from training.model import build  # noqa: E402
from training.model.tokenizer import StandIn  # noqa: E402
from training.settings.config import Config  # noqa: E402
from training.settings.load import load_config  # noqa: E402
from training.tasks.base import task_class  # noqa: E402

VOCABULARY = 8000
CONFIGS = {
    "gpt qwen3 512x8, 4x256": gpt(qwen3(512, 8), 4, 256, "no"),
    "gpt qwen3 768x12, 2x256, checkpointing": gpt(qwen3(768, 12), 2, 256, "no", True),
    "gpt qwen3 1024x8, 16x256": gpt(qwen3(1024, 8), 16, 256, "no"),
    "translation m2m_100 512 6+6, 1500": pairs(m2m(512, 6, 6), 1500, "no"),
}


def main() -> int:
    """Print a table over configs and numbers of devices; 1 if a row is too far off, 2 if an argument is not a number."""
    arguments = sys.argv[1:] or ["2", "8"]
    if not all(word.isdecimal() and int(word) > 0 for word in arguments):
        print(__doc__, file=sys.stderr)
        return 2
    failed = False
    print("| config | devices | predicted MB | torch's tracker MB | off by |\n|---|---:|---:|---:|---:|", flush=True)
    for devices in map(int, arguments):
        for name, sections in CONFIGS.items():
            predicted, torch_peak = compare(sections, devices)
            off = predicted / torch_peak - 1
            print(f"| {name} | {devices} | {predicted / 1e6:,.0f} | {torch_peak / 1e6:,.0f} | {off:+.0%} |", flush=True)
            failed |= abs(off) > MEMORY_OFF
    return int(failed)


def compare(sections: dict[str, Any], devices: int) -> tuple[int, int]:
    """Peak in bytes of each device, by preflight and by torch."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.yaml"
        path.write_text(yaml.safe_dump({**sections, "run_dir": folder}))
        config = load_config(path)
    shapes = config.spec.full_batch(config.batch)
    predicted = footprint.measure(config, VOCABULARY, shapes, False).on_each(devices, True)
    return sum(predicted.values()), tracked(config, shapes, devices)


def tracked(config: Config, shapes: fake_step.Shapes, devices: int) -> int:
    """Bytes that torch's tracker counts at the peak of the second of two steps with AdamW."""
    tokenizer: Any = StandIn(VOCABULARY)
    packed = replace(config, batch=replace(config.batch, packing="always"))
    task = task_class(config.task)(packed, tokenizer, [])
    hf_config = build.model_config(config.task, config.model, tokenizer, task.context)
    dist.init_process_group("fake", rank=0, world_size=devices, store=FakeStore())
    try:
        mesh = init_device_mesh("cpu", (devices,))
        with FakeTensorMode(), fake_step.without_value_checks():
            net = build.fresh(config.task, hf_config).train()
            if config.train.gradient_checkpointing:
                build.checkpoint_activations(net)
            for layer in fake_step.repeated_layers(net):
                fully_shard(layer, mesh=mesh)
            fully_shard(net, mesh=mesh)
            optimizer = torch.optim.AdamW(net.parameters())
            tracker = FSDPMemTracker(net, optimizer)
            batch = {k: torch.zeros(size, dtype=torch.long) for k, size in shapes.items()}
            with tracker:
                for step in range(2):
                    loss, _ = task.loss(net, batch, config.train.label_smoothing)
                    loss.backward()
                    optimizer.step()
                    optimizer.zero_grad()
                    if step == 0:
                        tracker.reset_mod_stats()
            return int(next(iter(tracker.get_tracker_snapshot("peak").values()))["Total"])
    finally:
        dist.destroy_process_group()


if __name__ == "__main__":
    raise SystemExit(main())

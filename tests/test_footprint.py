"""training.footprint: parameters exactly, memory as torch itself counts it, on every shipped config."""

from __future__ import annotations

import subprocess
import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed._tools.mem_tracker import MemTracker

from training.estimate import fake_step, footprint
from training.estimate.footprint import measure
from training.estimate.live_memory import LiveMemory
from training.model.build import checkpoint_activations, count_parameters, fresh, model_config, parameters_by_part
from training.model.tokenizer import StandIn
from training.settings.config import Config
from training.settings.load import load_config
from training.tasks.base import task_class

ROOT = Path(__file__).resolve().parent.parent
SHIPPED = sorted((ROOT / "configs").glob("gpt/*.yaml")) + sorted((ROOT / "configs").glob("translation/*.yaml"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_parameters_of_every_shipped_config_are_exact(path: Path) -> None:
    config = load_config(path)
    vocabulary = min(config.tokenizer.vocab_size, 40_000)
    found = model_config(config.task, config.model, StandIn(vocabulary), 128)
    with torch.device("meta"):
        real = fresh(config.task, found)
    parts, of_vocabulary = parameters_by_part(real, vocabulary)
    assert parts["total"] == count_parameters(real) == sum(p.numel() for p in real.parameters())
    assert sum(v for k, v in parts.items() if k != "total") == parts["total"]
    assert parts["attention"] > 0 and parts["feed_forward"] > 0 and of_vocabulary >= vocabulary
    width = real.get_input_embeddings().weight.shape[1]
    tied = real.get_output_embeddings().weight is real.get_input_embeddings().weight
    assert of_vocabulary == vocabulary * width * (1 if tied else 2) and (parts["head"] == 0) == tied


def small(task: str = "gpt", **train: object) -> Config:
    """A config of a tiny model."""
    sizes = {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "head_dim": 32,
    }
    sides = {"encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 2, "decoder_attention_heads": 2, "d_model": 64}
    keys = {"type": "qwen3", **sizes} if task == "gpt" else {"type": "m2m_100", **sides, "encoder_ffn_dim": 128, "decoder_ffn_dim": 128}
    config = Config(task="gpt" if task == "gpt" else "translation", model=keys)
    return replace(config, train=replace(config.train, max_steps=10, mixed_precision="no", **train))


@pytest.mark.parametrize("task", ["gpt", "translation"])
def test_the_peak_is_what_a_real_step_has_alive(task: str) -> None:
    """The same counting on a real step: fake tensors and real ones must agree."""
    config = small(task)
    predicted = measure(config, 600, config.spec.full_batch(config.batch), bf16=False)
    footprint.CACHE.clear()
    fake = fake_step.FakeTensorMode
    fake_step.FakeTensorMode = nullcontext  # type: ignore[misc, assignment]
    try:
        real = measure(config, 600, config.spec.full_batch(config.batch), bf16=False)
    finally:
        fake_step.FakeTensorMode = fake  # type: ignore[misc]
        footprint.CACHE.clear()
    assert predicted.parameters == real.parameters and predicted.flops == real.flops
    assert predicted.operations == pytest.approx(real.operations, rel=0.02) and predicted.update_operations == real.update_operations > 0
    assert predicted.peak == pytest.approx(real.peak, rel=0.03)


def test_each_part_follows_its_cause() -> None:
    config = small()
    plain = measure(config, 600, config.spec.full_batch(config.batch), bf16=False)
    total = plain.parameters["total"]
    assert 4 * total <= plain.memory["weights"] <= 4 * total + 100_000  # buffers of the positions
    assert plain.memory["optimizer"] == pytest.approx(8 * total, rel=0.01)

    larger = measure(config, 6000, config.spec.full_batch(config.batch), bf16=False)
    assert larger.memory["logits"] == pytest.approx(10 * plain.memory["logits"], rel=0.05)
    assert larger.vocabulary_bytes > 8 * plain.vocabulary_bytes and larger.vocabulary_bytes > larger.memory["logits"] > 0

    checkpointed = measure(small(gradient_checkpointing=True), 600, config.spec.full_batch(config.batch), bf16=False)
    assert checkpointed.memory["activations"] < 0.5 * plain.memory["activations"] and checkpointed.flops > 1.2 * plain.flops
    assert 1.2 * plain.operations < checkpointed.operations and larger.operations == plain.operations, "of larger tensors no more"

    mixed = measure(config, 600, config.spec.full_batch(config.batch), bf16=True)
    assert mixed.memory["activations"] < 0.9 * plain.memory["activations"]

    averaged = measure(small(averaging="ema"), 600, config.spec.full_batch(config.batch), bf16=False)
    assert averaged.memory["average"] == 4 * total

    accumulated = measure(small(gradient_accumulation_steps=4), 600, config.spec.full_batch(config.batch), bf16=False)
    assert accumulated.memory["gradients"] == pytest.approx(4 * total, rel=0.01) and accumulated.flops == plain.flops
    assert accumulated.operations == pytest.approx(plain.operations, rel=0.05), "of one micro-batch"

    muon = measure(replace(config, optim=replace(config.optim, name="muon")), 600, config.spec.full_batch(config.batch), bf16=False)
    assert muon.memory["optimizer"] < plain.memory["optimizer"]


def test_the_vocabulary_is_blamed_for_its_share_of_whatever_goes_with_the_weights() -> None:
    memory = {"weights": 4000, "gradients": 3000, "optimizer": 8000, "average": 5000, "activations": 999, "logits": 600}
    found = measure(small(), 600, small().spec.full_batch(small().batch), bf16=False)
    found = replace(found, parameters={"total": 1000}, vocabulary=250, memory=memory)
    assert found.vocabulary_bytes == 20_000 / 4 + 600


def test_a_full_batch_of_pairs_has_as_many_as_the_longer_side_allows() -> None:
    config = small("translation")
    config = replace(config, batch=replace(config.batch, tokens_per_batch=4000, max_source_length=200, max_target_length=100))
    assert config.spec.full_batch(config.batch) == {"input_ids": (20, 200), "attention_mask": (20, 200), "labels": (20, 100)}


def test_what_writes_is_an_operation_and_views_and_empty_tensors_are_not() -> None:
    with LiveMemory(99) as alive:
        a, b = torch.ones(4, 4), torch.empty(4, 4)
        a.view(16)[2:].detach().t()
        torch.relu(a @ b).add_(1)
    assert alive.operations == 4, "ones, mm, relu, add_"


def test_flops_are_six_for_each_parameter_and_token_and_attention_on_top() -> None:
    config = small()
    found = measure(config, 600, config.spec.full_batch(config.batch), bf16=False)
    without_embeddings = found.parameters["total"] - 600 * 64
    tokens = config.batch.micro_batch_size * config.batch.block_size
    assert 1.0 < found.flops / (6 * without_embeddings * tokens) < 2


def test_the_largest_batch_fits_and_the_next_ones_do_not() -> None:
    config = small()

    def of(rows: int) -> int:
        return measure(config, 600, {"input_ids": (rows, 64), "labels": (rows, 64)}, bf16=False).peak

    available = of(40)
    assert 37 <= footprint.largest_batch(of, 8, available) <= 40
    assert footprint.largest_batch(of, 8, 1000) == 0


def test_several_devices() -> None:
    config = small()
    found = measure(config, 600, config.spec.full_batch(config.batch), bf16=False)
    ddp, fsdp = found.on_each(4, sharded=False), found.on_each(4, sharded=True)
    assert ddp["weights"] == found.memory["weights"] and ddp["gradients"] == found.memory["gradients"] + 4 * found.parameters["total"]
    assert fsdp["weights"] == pytest.approx(found.memory["weights"] / 4, abs=4) and sum(fsdp.values()) < sum(ddp.values())
    rest = found.parameters["total"] - found.layers  # whole on each while a layer computes, as that layer is
    together = 4 * (rest + found.largest_layer + max(rest, found.largest_layer))
    most = max(m["activations"] + m["logits"] for m in found.moments)
    many = found.on_each(1000, sharded=True)  # what is divided is then next to nothing
    assert many["activations"] + many["logits"] == most + together
    begins, ends = ({**found.memory, "gradients": g, "activations": a, "logits": 0} for g, a in ((0, 10**8), (10**9, 0)))
    moved = replace(found, memory=ends, moments=(begins, ends))  # of the backward pass
    assert moved.on_each(2, sharded=True)["activations"] == together and moved.on_each(2, sharded=True)["gradients"] == 5 * 10**8
    assert moved.on_each(1000, sharded=True)["activations"] == 10**8 + together
    assert found.on_each(1, sharded=True) == found.memory
    assert found.layers == found.parameters["total"] - 2 * 600 * 64 - 64 and found.layers == 3 * found.largest_layer


def test_the_memory_of_each_of_several_devices_is_what_torch_tracks() -> None:
    """One model of those in benchmarks/fsdp_memory.py; in a process of its own, because the tracker needs a process group."""
    asked = (
        "import sys; sys.path.insert(0, 'benchmarks')\n"
        "from fsdp_memory import CONFIGS, compare\n"
        "print(*compare(next(iter(CONFIGS.values())), 8))"
    )
    done = subprocess.run([sys.executable, "-c", asked], cwd=ROOT, capture_output=True, text=True)
    rows = [[int(n) for n in line.split()] for line in done.stdout.splitlines()]
    assert len(rows) == 1 and all(0.85 < predicted / tracked < 1.15 for predicted, tracked in rows), done.stderr


@pytest.mark.parametrize(("kind", "checkpointing"), [("gpt", True), pytest.param("translation", False, marks=pytest.mark.soak)])
def test_a_deep_model_is_measured_by_a_few_of_its_layers(kind: str, checkpointing: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exactly, which the whole one shows; one whose layers differ is measured whole."""
    config = small(kind, gradient_checkpointing=checkpointing)
    deep = {k: 13 if "layers" in k else v for k, v in config.model.items()}
    config = replace(config, model=deep, batch=replace(config.batch, block_size=32, max_source_length=32, max_target_length=32))
    shapes = {k: (2, *s[1:]) for k, s in config.spec.full_batch(config.batch).items()}
    asked: list[int] = []
    step = footprint.take_step
    monkeypatch.setattr(
        footprint, "take_step", lambda c, t, found, *rest: asked.append(found.num_hidden_layers) or step(c, t, found, *rest)
    )
    found = measure(config, 600, shapes, bf16=False)
    assert asked == [2, 4] and measure(config, 600, shapes, bf16=False) is found and asked == [2, 4], "what is known is not measured again"
    footprint.CACHE.clear()
    monkeypatch.setattr(footprint, "DEEP", 99)
    whole = measure(config, 600, shapes, bf16=False)
    assert asked == [2, 4, 13] and found.parameters == whole.parameters and found.flops == whole.flops
    assert found.operations == whole.operations and found.update_operations == whole.update_operations
    for devices in (1, 8):
        one, other = (sum(f.on_each(devices, sharded=True).values()) for f in (found, whole))
        assert one == pytest.approx(other, rel=0.002)


def test_layers_that_differ_are_all_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = {"hidden_size": 32, "moe_intermediate_size": 16, "intermediate_size": 64, "num_attention_heads": 2, "num_key_value_heads": 2}
    keys = {"type": "qwen3_moe", "num_experts": 2, "num_experts_per_tok": 1, "num_hidden_layers": 13, **sizes}
    found = model_config("gpt", {**keys, "mlp_only_layers": [0, 1, 2]}, StandIn(50), 64)
    assert footprint._extrapolated(lambda kind: counted(kind), "gpt", found, 50) is None
    alike = model_config("gpt", keys, StandIn(50), 64)
    assert footprint._extrapolated(lambda kind: counted(kind), "gpt", alike, 50) is not None


def counted(kind: object) -> fake_step.StepCost:
    """A step of which only the parameters are known."""
    with torch.device("meta"):
        return fake_step.StepCost(fake_step.sizes_of(fresh("gpt", kind), 50), {}, {})


def test_the_heaviest_batch_is_the_one_with_the_most_targets() -> None:
    import numpy as np

    batches = [
        {"input_ids": np.zeros((b, s)), "labels": np.zeros((b, t)), "rows": np.zeros((b, 2))} for b, s, t in ((8, 10, 9), (2, 40, 40))
    ]
    assert footprint.heaviest(batches) == {"input_ids": (2, 40), "labels": (2, 40)}


@pytest.mark.parametrize(("kind", "checkpointing"), [("gpt", False), ("gpt", True), ("translation", False)])
def test_the_peak_of_a_step_is_the_one_that_torch_tracks(kind: str, checkpointing: bool) -> None:
    """MemTracker goes through all that it tracks at every operation, which is too slow for a preflight; the bytes are the same."""
    config = small(kind, gradient_checkpointing=checkpointing)

    def step(tracker: LiveMemory | MemTracker) -> None:
        """The model is built, and takes a step with AdamW."""
        tokenizer: Any = StandIn(600)
        task = task_class(kind)(replace(config, batch=replace(config.batch, packing="always")), tokenizer, [])
        with FakeTensorMode(), fake_step.without_value_checks(), tracker:
            net = fresh(kind, model_config(kind, config.model, tokenizer, task.context)).train()
            if checkpointing:
                checkpoint_activations(net)
            optimizer = torch.optim.AdamW(net.parameters())
            batch = {k: torch.zeros(size, dtype=torch.long) for k, size in config.spec.full_batch(config.batch).items()}
            task.loss(net, batch, 0.0)[0].backward()
            optimizer.step()

    alive, tracker = LiveMemory(600), MemTracker()
    step(alive)
    step(tracker)
    total = next(iter(tracker.get_tracker_snapshot("peak").values()))["Total"]
    assert total > 10_000_000 and abs(alive.at_peak.total() - total) <= 16_000


def test_what_is_freed_is_not_counted() -> None:
    with LiveMemory(50) as alive:
        kept = torch.zeros(1000)
        for _ in range(10):
            kept + 1
    assert alive.now.total() == 4000 and alive.at_peak.total() == 8000

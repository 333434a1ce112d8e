"""training.assess: what it counts, on cases small enough to be worked out by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from training_runs import translation_config

from training.estimate import footprint, numbers
from training.estimate.probe import Probe
from training.model.hardware import KEPT, KERNELS
from training.model.tokenizer import vocabulary_report
from training.settings.config import Config, TrainConfig
from training.settings.load import load_config
from training.setup.data import open_data
from training.setup.processes import Processes


def pairs(path: Path, forward: int, backward: int) -> str:
    """A file of pairs of four characters a side, as the columns say or the other way round."""
    sides = [("".join(chr(0x4E00 + 7 * k + i) for i in range(4)), "".join(chr(97 + (k + 5 * i) % 26) for i in range(4)))
             for k in range(forward + backward)]  # fmt: skip
    rows = [{"chinese": zh, "english": en} if k < forward else {"chinese": en, "english": zh} for k, (zh, en) in enumerate(sides)]
    path.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize(("forward", "backward"), [(15, 5), (5, 15)])
def test_what_is_counted_of_the_pairs(forward: int, backward: int, tmp_path: Path) -> None:
    """A token a character and one for the end; five are padded to eight, so 40 tokens of a micro-batch are five pairs."""
    corpus = {"train": pairs(tmp_path / "train.jsonl", forward, backward), "validation": pairs(tmp_path / "valid.jsonl", 3, 0)}
    path = translation_config(tmp_path, corpus=corpus, tokenizer={"type": "char", "min_frequency": 1}, batch={"tokens_per_batch": 40},
                              train={"gradient_accumulation_steps": 3})  # fmt: skip
    config = load_config(path)
    data = open_data(config, Processes())
    columns = {k: [r[k] for r in data.sample] for k in ("source", "target")}
    found = numbers.of_data(config, data, vocabulary_report(data.tokenizer, columns, 0), world=2)
    assert (found["rows"], found["tokens_per_row"], found["tokens"]) == (20, 5.0, 100)
    assert (found["micro_batches"], found["tokens_per_step"]) == (4, 5 * 5 * 3 * 2)
    assert (found["chinese_sources"], found["chinese_targets"], found["swapped_share"]) == (forward / 20, backward / 20, 0.25)


def test_what_fits_is_what_each_device_holds() -> None:
    for each, there in ((3, False), (2, True), (1, True)):
        assert numbers.fits({"memory": {"peak_bytes": 3 - each, "each_device_bytes": each, "available_bytes": 2}}) == there


def test_a_micro_batch_that_cannot_hold_the_longest_pair_is_none(tmp_path: Path) -> None:
    """Of a corpus of short pairs a few would fit, but one of 512 tokens may come: 32 rows of 16."""
    config = load_config(translation_config(tmp_path, batch={"tokens_per_batch": 1024, "max_source_length": 512, "max_target_length": 300}))

    def shapes(rows: int) -> dict[str, tuple[int, ...]]:
        return dict.fromkeys(("input_ids", "attention_mask", "labels"), (rows, 16))

    several = replace(config, train=replace(config.train, gradient_accumulation_steps=2))  # a smaller micro-batch means more of them
    takes = {rows: numbers.of_model(several, 2000, shapes(rows))[0]["memory"]["each_device_bytes"] for rows in (24, 40)}
    found = {rows: numbers.largest(config, 2000, shapes(64), numbers.Place(available=n)) for rows, n in takes.items()}
    assert found[24] == 0 and 512 <= found[40] <= 40 * 16 + 15


def test_what_the_allocator_keeps_is_counted_where_it_is_let(tmp_path: Path) -> None:
    config = Config(task="gpt", model={"type": "gpt2", "n_embd": 32, "n_layer": 2, "n_head": 2})
    for checkpointing in (False, True):
        changed = replace(config, train=replace(config.train, gradient_checkpointing=checkpointing))
        for bf16, kernels in ((False, KERNELS["float32"]), (True, KERNELS["bf16"])):
            found = footprint.measure(changed, 200, config.spec.full_batch(config.batch), bf16)
            assert numbers.Place(cpu=True).kept(found) == kernels + (0 if checkpointing else round(KEPT * found.peak))
            assert numbers.Place(cpu=False).kept(found) == 0
    words = replace(found, memory=found.memory | {"logits": 60 * 10**9}, checkpointing=False)
    assert numbers.Place(cpu=True).kept(words) < 10**9, "what is so large is never kept"


def test_the_flops_of_a_step_are_those_of_all_devices() -> None:
    timed = Probe(micro_batch=0.5, optimizer=0.25, deal=0.0, evaluate_loss=1.0, evaluate_texts=0.0, save=0.0)
    config = Config(task="gpt", train=TrainConfig(gradient_accumulation_steps=3))
    one, two = (numbers.of_time(config, timed, {"steps": 10, "tokens": 1000}, 7_000, 1e6, world) for world in (1, 2))
    assert (one["flops_per_step"], two["flops_per_step"]) == (21_000, 42_000)
    assert one["achieved_flops"] == two["achieved_flops"] == pytest.approx(21_000 / 1.75)

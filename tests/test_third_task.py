"""A third task needs a class and a spec that names it, and nothing else. The one here learns to write texts backwards."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from training_runs import ROOT, environment, records, translation_config
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer, PreTrainedModel

from training.base.device_sheets import SHEETS
from training.base.errors import ConfigError
from training.corpus.batches import Batch
from training.diagnosis.diagnose import diagnose
from training.estimate.gather import sketch
from training.model.tokenizer import StandIn
from training.settings.config import Config
from training.settings.load import check_config, parse_args
from training.settings.task_specs import TASKS, TRANSLATION
from training.setup.checkpoint import FILES
from training.tasks.base import TypicalGeneration, task_class
from training.tasks.translation import TranslationTask
from training.train import train

SPEC = replace(
    TRANSLATION, name="reversal", task_class="test_third_task:Reversal", columns={"text": "text"}, two_languages=False,
    drops_duplicates=False, blank_lines_harmless=True, small_batch=300, does=("it reverses text", "it reverses {} text"),
)  # fmt: skip


class Reversal(TranslationTask):
    """Learns to write a text backwards."""

    spec = SPEC

    def make_batches(self, rows: list[dict[str, Any]], rng: np.random.Generator | None) -> tuple[list[Batch], int]:
        return super().make_batches([reversed_pair(row) for row in rows], rng)

    def samples(self, model: PreTrainedModel, rows: list[dict[str, Any]], seed: int) -> list[dict[str, Any]]:
        return super().samples(model, [reversed_pair(row) for row in rows], seed)

    def typical_generation(self, sample: list[dict[str, Any]], held_out: list[dict[str, Any]]) -> TypicalGeneration | None:
        return super().typical_generation([reversed_pair(row) for row in sample], [reversed_pair(row) for row in held_out])


def reversed_pair(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "source": row["text"], "target": row["text"][::-1]}


def reversal_config(folder: Path) -> Config:
    """The tests' translation run on the Chinese column of its file."""
    config = parse_args(["--config", str(translation_config(folder)), "--log.preflight", "true"])
    config = replace(config, task="reversal", tokenizer=replace(config.tokenizer, type="char", min_frequency=1))
    return replace(config, corpus=replace(config.corpus, columns={"text": "chinese"}), train=replace(config.train, max_steps=8))


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TASKS, "reversal", SPEC)


def test_a_class_and_a_spec_make_a_task_that_trains(tmp_path: Path) -> None:
    config = reversal_config(tmp_path)
    result = train(config)
    assert result.ended == "finished"
    run = Path(config.run_dir)
    assert {"config.yaml", "preflight.json", "metrics.jsonl", "curves.png", "samples.md", "report.md", "best", "latest"} <= {
        path.name for path in run.iterdir()
    }
    losses = [r["loss"] for r in records(run) if r["event"] == "train"]
    assert losses[-1] < losses[0]
    evaluated = [r for r in records(run) if r["event"] == "evaluate"]
    assert all(r["val_loss"] > 0 and "bleu" in r for r in evaluated)
    (sample, *_) = next(r["samples"] for r in records(run) if r["event"] == "sample")
    assert sample["reference"] == sample["prompt"][::-1]

    estimate = json.loads((run / "preflight.json").read_text("utf-8"))
    assert estimate["config"]["task"] == "reversal"
    assert estimate["data"]["tokens_per_step"] > 0 and "swapped_share" not in estimate["data"]
    assert estimate["time"]["seconds"] > 0 and estimate["memory"]["peak_bytes"] > 0

    checkpoint = Path(result.model_dir)
    assert set(FILES) <= {path.name for path in checkpoint.iterdir()}
    meta = json.loads((checkpoint / "meta.json").read_text("utf-8"))
    assert (meta["task"], meta["step"]) == ("reversal", 8)
    card = (checkpoint / "README.md").read_text("utf-8")
    assert "it reverses text" in card and "AutoModelForSeq2SeqLM" in card
    model, tokenizer = AutoModelForSeq2SeqLM.from_pretrained(checkpoint), AutoTokenizer.from_pretrained(checkpoint)
    assert model.generate(**tokenizer("明月", return_tensors="pt"), max_new_tokens=3).shape[0] == 1
    assert not {"sides_swapped", "sides_mixed"} & {finding.id for finding in diagnose(run, config)}


@pytest.mark.parametrize("name", ["gpt", "translation", "reversal"])
def test_a_spec_and_its_class_agree(name: str) -> None:
    """The shapes that preflight assumes are those that the class makes, and their numbers of predicted tokens agree."""
    spec, config = TASKS[name], Config(task=name)
    config.batch.packing = "always"
    assert task_class(name).spec is spec and spec.name == name
    task = task_class(name)(config, cast(Any, StandIn(50)), [])
    batch = {tensor: torch.zeros(shape, dtype=torch.long) for tensor, shape in spec.full_batch(config.batch).items()}
    assert int(task.targets(batch)) == spec.count_targets(tuple(batch["labels"].shape))
    logits = torch.zeros(*batch["labels"].shape, 50)
    loss, targets = task.loss(cast(Any, lambda **inputs: SimpleNamespace(logits=logits)), batch)
    assert float(loss) == pytest.approx(int(targets) * math.log(50), rel=1e-4)  # each of them is guessed among 50


def test_nothing_outside_the_tasks_asks_which_task_it_is() -> None:
    files = [path for path in (ROOT / "training").rglob("*.py") if path.parent.name != "tasks"]
    assert not [path.name for path in files if re.search(r"\btask (==|!=) ", path.read_text("utf-8"))]


def test_preflight_works_it_out_on_paper(tmp_path: Path) -> None:
    config = reversal_config(tmp_path)
    estimate = sketch(config, 500, next(iter(SHEETS)))
    rows = config.batch.tokens_per_batch // config.batch.max_target_length
    assert estimate["data"]["tokens_per_step"] == rows * config.batch.max_target_length


def test_its_class_is_found_by_its_name_and_an_unknown_one_is_refused(tmp_path: Path) -> None:
    assert task_class("reversal").__name__ == "Reversal"
    with pytest.raises(ConfigError, match="task: 'reversl' is not valid here; wanted one of gpt, translation, reversal"):
        check_config(replace(reversal_config(tmp_path), task="reversl"))


def test_the_command_line_knows_it_as_it_knows_the_others(tmp_path: Path) -> None:
    """In a process of its own, because the choices of `--task` are read from TASKS when the config is imported."""
    reversal_config(tmp_path)
    script = """
import sys
from dataclasses import replace
from training.settings.task_specs import TASKS, TRANSLATION
TASKS["reversal"] = replace(TRANSLATION, name="reversal", task_class="test_third_task:Reversal", columns={"text": "text"})
from training.settings.load import parse_args
print(parse_args(sys.argv[1:]).spec.name)
"""

    def command(*options: str) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-c", script, "--config", str(tmp_path / "config.yaml"), *options]
        return subprocess.run(argv, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=120)

    assert command("--task", "reversal").stdout == "reversal\n"
    assert "{gpt,translation,reversal}" in command("--help").stdout
    assert "wanted one of gpt, translation, reversal" in command("--task", "reversl").stderr
    assert "no column is called 'chinese' here; valid: text" in command("--task", "reversal", "--corpus.columns", "{chinese: x}").stderr

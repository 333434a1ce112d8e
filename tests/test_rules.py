"""Preflight's rules on given numbers: each speaks where it should and is silent elsewhere."""

# ruff: noqa: E501 - the table of cases reads best with one a line

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from training.base.device_sheets import SHEETS
from training.base.words import LANGUAGES, sizes
from training.diagnosis.finding import Finding, finding_lines
from training.estimate import footprint, rules, rules_data, rules_memory, rules_settings
from training.estimate.facts import Facts
from training.settings.config import Config, SourceConfig
from training.settings.load import load_config

ROOT = Path(__file__).resolve().parent.parent


# ---- the rules, each with a case in which it speaks and one in which it is silent


def facts(task: str = "translation", model: dict[str, Any] | None = None, **sections: dict[str, Any]) -> Facts:
    """Facts of a healthy run; sections are merged in, `config` into the config by dotted keys."""
    config = Config(task="gpt" if task == "gpt" else "translation", model=model or {"type": "m2m_100", "d_model": 512, "encoder_layers": 6})
    config.optim.learning_rate, config.optim.warmup_steps, config.train.max_steps = 7e-4, 1000, 20_000
    for key, value in sections.pop("config", {}).items():
        section, _, name = key.partition(".")
        setattr(getattr(config, section), name, value)
    healthy: dict[str, dict[str, Any]] = {
        "parameters": {"total": 20_000_000}, "shape": {"width": 512, "layers": 6},
        "memory": {"peak_bytes": 4e9, "each_device_bytes": 4e9, "available_bytes": 24e9, "vocabulary_share": 0.3, "vocabulary_bytes": 1.2e9,
                   "weights": 1, "gradients": 1, "optimizer": 1, "average": 0, "activations": 2, "logits": 1},
        "vocabulary": {"size": 16_000, "han": 4000, "seen_once": 0.05, "unknown": 0.0, "texts": 30_000,
                       "columns": {"target": {"tokens_per_text": 20, "tokens_per_character": 0.25}}, "frequencies": {"at_least": {}}},
        "data": {"rows": 2_000_000, "held_out": 1000, "tokens": 50_000_000, "tokens_per_row": 25.0, "tokens_per_step": 8000, "words_per_target": 20.0,
                 "rejected_share": 0.01, "rejected": {"empty": 3}, "left_out_share": 0.0, "longest_tokens": 128, "swapped_share": 0.0,
                 "chinese_targets": 0.0, "packed": True},
        "horizon": {"steps": 20_000, "tokens": 160_000_000, "epochs": 3.2, "steps_per_epoch": 6250},
        "time": {"step_seconds": 0.2, "seconds": 4400, "training_seconds": 4000, "evaluation_seconds": 300},
        "forecast": {"overfit_step": None, "overfit_epoch": None},
    }  # fmt: skip
    for name, values in sections.items():
        healthy[name] = {**healthy[name], **values}
    return Facts(config, **healthy)


CASES: list[tuple[str, str, dict[str, Any]]] = [
    ("vocabulary_dominates", "translation", {"vocabulary": {"size": 2_700_000, "seen_once": 0.8, "frequencies": {"at_least": {
        "5": {"size": 90_000, "coverage": 0.9}, "10": {"size": 50_000, "coverage": 0.88}}}}, "memory": {"vocabulary_share": 0.9, "vocabulary_bytes": 3.6e9}, "config": {"tokenizer.type": "word"}}),
    ("vocabulary_large", "gpt", {"vocabulary": {"size": 256_000}, "memory": {"vocabulary_share": 0.6, "vocabulary_bytes": 2.4e9}}),
    ("evaluation_costly_short", "gpt", {"time": {"evaluation_seconds": 40_000}}),
    ("weight_decay_high", "gpt", {"config": {"optim.weight_decay": 1e300}}),
    ("memory_short", "translation", {"memory": {"each_device_bytes": 30e9, "largest_batch": 3000}}),
    ("memory_never_fits", "translation", {"memory": {"each_device_bytes": 30e9, "largest_batch": 0}}),
    ("checkpointing_needless", "translation", {"memory": {"variants": {"float32": 5e9, "bf16": 4e9}}, "config": {"train.gradient_checkpointing": True}}),
    ("vocabulary_for_data", "translation", {"data": {"rows": 30_000}, "vocabulary": {"size": 32_000, "han": 2000}}),
    ("english_cut_small", "translation", {"vocabulary": {"size": 4000, "han": 3000, "columns": {"target": {"tokens_per_text": 25, "tokens_per_character": 0.7}}}}),
    ("unknown_tokens", "gpt", {"vocabulary": {"unknown": 0.02}}),
    ("entries_unused", "gpt", {"vocabulary": {"seen_once": 0.6}}),
    ("too_few_pairs", "translation", {"data": {"rows": 10_000, "words_per_target": 25.0}}),
    ("few_pairs", "translation", {"data": {"rows": 40_000, "words_per_target": 25.0}}),
    ("overfit_forecast", "gpt", {"forecast": {"overfit_step": 900, "overfit_epoch": 4.1}}),
    ("many_epochs", "gpt", {"horizon": {"epochs": 40.0}}),
    ("model_large_for_tokens", "gpt", {"parameters": {"total": 500_000_000}, "data": {"tokens": 2_000_000_000}, "horizon": {"epochs": 0.08}}),
    ("sides_swapped", "translation", {"data": {"chinese_targets": 0.98}}),
    ("sides_mixed", "translation", {"data": {"swapped_share": 0.2}}),
    ("rows_lost", "gpt", {"data": {"rejected_share": 0.5, "rejected": {"not_utf8": 500, "empty": 2}}}),
    ("pairs_too_long", "translation", {"data": {"left_out_share": 0.3}}),
    ("nothing_held_out", "gpt", {"data": {"held_out": 0}}),
    ("validation_trained", "gpt", {"data": {"validation_trained": [60, 100]}}),
    ("validation_is_training", "gpt", {"data": {"validation_trained": [60, 60]}, "config": {"corpus.train": "a.txt", "corpus.validation": "a.txt"}}),
    ("text_undivided", "gpt", {"data": {"undivided": [["novel.txt", 900]]}}),
    ("order_of_file", "gpt", {"data": {"front_to_back_rows": 223_000, "mixed_rows": 16_384}}),
    ("block_longer_than_text", "gpt", {"data": {"packed": False, "longest_tokens": 30}}),
    ("warmup_short_post_norm", "translation", {"config": {"optim.warmup_steps": 50}, "model": {"type": "marian", "encoder_layers": 12, "d_model": 512}}),
    ("warmup_missing", "translation", {"config": {"optim.warmup_steps": 0}}),
    ("warmup_too_long", "gpt", {"config": {"optim.warmup_steps": 30_000}}),
    ("learning_rate_high", "translation", {"config": {"optim.learning_rate": 0.1}}),
    ("learning_rate_low", "translation", {"config": {"optim.learning_rate": 1e-6}}),
    ("muon_rate_high", "translation", {"config": {"optim.name": "muon", "optim.muon_learning_rate": 2.0}}),
    ("muon_rate_low", "translation", {"config": {"optim.name": "muon", "optim.muon_learning_rate": 1e-5}}),
    ("batch_small", "gpt", {"data": {"tokens_per_step": 60}}),
    ("evaluation_never", "gpt", {"config": {"evaluation.every_steps": 50_000}}),
    ("evaluation_costly", "gpt", {"time": {"evaluation_seconds": 9000}}),
    ("precision_slower", "gpt", {"time": {"step_seconds_by_precision": {"no": 0.1, "bf16": 4.0}}, "config": {"train.mixed_precision": "bf16"}}),
    ("cores_busy", "gpt", {"time": {"threads": 8, "cores": 8, "busy_cores": 4.0}}),
    ("gpu_idle", "translation", {"time": {"gpu": True, "utilisation": 0.0153}}),
    ("gpu_idle_accumulation", "translation", {"time": {"gpu": True, "utilisation": 0.0153}, "config": {"train.gradient_accumulation_steps": 6}}),
    ("checkpoints_rare", "gpt", {"time": {"step_seconds": 30.0, "seconds": 600_000}}),
]  # fmt: skip


def test_a_healthy_run_hears_nothing() -> None:
    for task in ("gpt", "translation"):
        assert [f.id for f in rules.judge(facts(task))] == []


@pytest.mark.parametrize(("rule", "task", "sections"), CASES, ids=[c[0] for c in CASES])
def test_each_rule_speaks_when_it_should_in_both_languages(rule: str, task: str, sections: dict[str, Any]) -> None:
    found = {f.id: f for f in rules.judge(facts(task, **sections))}
    assert rule in found, set(found)
    for language in LANGUAGES:
        text, advice = found[rule].text(language), found[rule].advice(language)
        assert text and advice and not re.search(r"[{}]", text)
    assert json.dumps(found[rule].as_dict("zh"))


WORDS: dict[str, dict[str, Any]] = {
    "vocabulary": {"size": 70_000, "frequencies": {"at_least": {"5": {"size": 30_000}, "10": {"size": 20_000}}}},
    "config": {"tokenizer.type": "word", "tokenizer.min_frequency": 1},
}
EDGES: list[tuple[str, str, dict[str, Any], dict[str, Any]]] = [  # what is silent and what speaks, a little on either side of the threshold
    ("vocabulary_dominates", "translation", {**WORDS, "memory": {"vocabulary_share": 0.35}}, {**WORDS, "memory": {"vocabulary_share": 0.45}}),
    ("vocabulary_large", "translation", {**WORDS, "memory": {"vocabulary_share": 0.45}}, {**WORDS, "memory": {"vocabulary_share": 0.45}, "config": {"tokenizer.type": "word", "tokenizer.min_frequency": 10}}),
    ("entries_unused", "translation", {**WORDS, "vocabulary": {**WORDS["vocabulary"], "seen_once": 0.9}, "memory": {"vocabulary_share": 0.9}}, {**WORDS, "vocabulary": {**WORDS["vocabulary"], "seen_once": 0.9}, "memory": {"vocabulary_share": 0.3}}),
    ("sides_swapped", "translation", {"data": {"chinese_targets": 0.98}, "config": {"corpus.train": [SourceConfig("a.csv", columns={"source": "english", "target": "chinese"})]}}, {"data": {"chinese_targets": 0.98}, "config": {"corpus.train": [SourceConfig("a.csv")]}}),
    ("sides_swapped", "translation", {"data": {"chinese_targets": 0.98}, "config": {"corpus.train": [SourceConfig("a.en", target_path="a.zh")]}}, {"data": {"chinese_targets": 0.98}}),
    ("weight_decay_high", "gpt", {"config": {"optim.weight_decay": 140.0}}, {"config": {"optim.weight_decay": 145.0}}),
    ("weight_decay_high", "gpt", {"config": {"optim.weight_decay": 3.0}}, {"config": {"optim.weight_decay": 10.0, "optim.name": "muon"}}),
    ("evaluation_costly_short", "gpt", {"time": {"evaluation_seconds": 9000}}, {"time": {"evaluation_seconds": 9000}, "horizon": {"steps": 6000}}),
    ("memory_short", "gpt", {"memory": {"each_device_bytes": 23.9e9, "largest_batch": 8}}, {"memory": {"each_device_bytes": 24.1e9, "largest_batch": 8}}),
    ("checkpointing_needless", "gpt", {"memory": {"variants": {"float32": 13e9, "bf16": 1e9}}, "config": {"train.gradient_checkpointing": True, "train.mixed_precision": "no"}}, {"memory": {"variants": {"float32": 11e9, "bf16": 30e9}}, "config": {"train.gradient_checkpointing": True, "train.mixed_precision": "no"}}),
    ("unknown_tokens", "gpt", {"vocabulary": {"unknown": 0.0005}}, {"vocabulary": {"unknown": 0.002}}),
    ("entries_unused", "gpt", {"vocabulary": {"seen_once": 0.25}}, {"vocabulary": {"seen_once": 0.35}}),
    ("too_few_pairs", "translation", {"data": {"rows": 17_000, "words_per_target": 25.0}}, {"data": {"rows": 15_000, "words_per_target": 25.0}}),
    ("few_pairs", "translation", {"data": {"rows": 61_000, "words_per_target": 25.0}}, {"data": {"rows": 59_000, "words_per_target": 25.0}}),
    ("overfit_forecast", "gpt", {"forecast": {"overfit_step": 15_000, "overfit_epoch": 4.1}}, {"forecast": {"overfit_step": 12_000, "overfit_epoch": 4.1}}),
    ("many_epochs", "gpt", {"horizon": {"epochs": 15.0}}, {"horizon": {"epochs": 18.0}}),
    ("model_large_for_tokens", "gpt", {"parameters": {"total": 300_000_000}, "data": {"tokens": 10**10}, "horizon": {"tokens": 1_600_000_000}}, {"parameters": {"total": 400_000_000}, "data": {"tokens": 10**10}, "horizon": {"tokens": 1_600_000_000}}),
    ("vocabulary_for_data", "translation", {"data": {"rows": 30_000}, "vocabulary": {"size": 11_900, "han": 2000}}, {"data": {"rows": 30_000}, "vocabulary": {"size": 12_100, "han": 2000}}),
    ("english_cut_small", "translation", {"vocabulary": {"size": 4000, "han": 3000, "columns": {"target": {"tokens_per_text": 25, "tokens_per_character": 0.30}}}}, {"vocabulary": {"size": 4000, "han": 3000, "columns": {"target": {"tokens_per_text": 25, "tokens_per_character": 0.36}}}}),
    ("few_pairs", "translation", {"data": {"rows": 40_000, "words_per_target": 11.0}}, {"data": {"rows": 40_000, "words_per_target": 13.0}}),
    ("many_epochs", "gpt", {"horizon": {"epochs": 40.0}, "forecast": {"overfit_step": 30_000, "overfit_epoch": 60.0}}, {"horizon": {"epochs": 40.0}}),
    ("model_large_for_tokens", "gpt", {"parameters": {"total": 500_000_000}, "data": {"tokens": 310_000_000}}, {"parameters": {"total": 500_000_000}, "data": {"tokens": 320_000_000}}),
    ("validation_trained", "gpt", {"data": {"validation_trained": [9, 1000]}}, {"data": {"validation_trained": [11, 1000]}}),
    ("order_of_file", "gpt", {"data": {"front_to_back_rows": 32_000, "mixed_rows": 16_384}}, {"data": {"front_to_back_rows": 33_000, "mixed_rows": 16_384}}),
    ("warmup_short_post_norm", "translation", {"model": {"type": "marian"}, "shape": {"layers": 5}, "config": {"optim.warmup_steps": 50}}, {"model": {"type": "marian"}, "shape": {"layers": 6}, "config": {"optim.warmup_steps": 50}}),
    ("warmup_missing", "translation", {"shape": {"layers": 5}, "config": {"optim.warmup_steps": 0}}, {"shape": {"layers": 6}, "config": {"optim.warmup_steps": 0}}),
    ("sides_mixed", "translation", {"data": {"swapped_share": 0.015}}, {"data": {"swapped_share": 0.03}}),
    ("rows_lost", "gpt", {"data": {"rejected_share": 0.15, "rejected": {"not_utf8": 5}}}, {"data": {"rejected_share": 0.25, "rejected": {"not_utf8": 5}}}),
    ("pairs_too_long", "translation", {"data": {"left_out_share": 0.04}}, {"data": {"left_out_share": 0.06}}),
    ("warmup_too_long", "gpt", {"config": {"optim.warmup_steps": 9000}}, {"config": {"optim.warmup_steps": 11_000}}),
    ("learning_rate_high", "translation", {"config": {"optim.learning_rate": 2.5e-3}}, {"config": {"optim.learning_rate": 2.8e-3}}),
    ("learning_rate_low", "translation", {"config": {"optim.learning_rate": 1.6e-5}}, {"config": {"optim.learning_rate": 1.3e-5}}),
    ("batch_small", "gpt", {"data": {"tokens_per_step": 300}}, {"data": {"tokens_per_step": 200}}),
    ("batch_small", "translation", {"data": {"tokens_per_step": 600}}, {"data": {"tokens_per_step": 400}}),
    ("evaluation_costly", "gpt", {"time": {"evaluation_seconds": 1600}}, {"time": {"evaluation_seconds": 2400}}),
    ("precision_slower", "gpt", {"time": {"step_seconds_by_precision": {"no": 0.1, "bf16": 0.101}}, "config": {"train.mixed_precision": "bf16"}}, {"time": {"step_seconds_by_precision": {"no": 0.1, "bf16": 0.12}}, "config": {"train.mixed_precision": "bf16"}}),
    ("cores_busy", "gpt", {"time": {"threads": 4, "cores": 8, "busy_cores": 4.4}}, {"time": {"threads": 4, "cores": 8, "busy_cores": 4.6}}),
    ("cores_busy", "gpt", {"time": {"threads": 1, "cores": 2, "busy_cores": 2.0}}, {"time": {"threads": 2, "cores": 2, "busy_cores": 2.0}}),
    ("gpu_idle", "gpt", {"time": {"gpu": True, "utilisation": 0.12}}, {"time": {"gpu": True, "utilisation": 0.09}}),
    ("gpu_idle", "gpt", {"time": {"gpu": False, "utilisation": 0.01}}, {"time": {"gpu": True, "utilisation": 0.01}}),
    ("gpu_idle", "gpt", {"time": {"gpu": True, "utilisation": 0.01}, "memory": {"each_device_bytes": 9e9}}, {"time": {"gpu": True, "utilisation": 0.01}, "memory": {"each_device_bytes": 8e9}}),
    ("gpu_idle", "gpt", {"time": {"gpu": True, "utilisation": 0.01}, "data": {"tokens_per_step": 60_000}}, {"time": {"gpu": True, "utilisation": 0.01}, "data": {"tokens_per_step": 40_000}}),
    ("gpu_idle", "gpt", {"time": {"gpu": True, "utilisation": 0.01}, "data": {"tokens": 1_500_000}}, {"time": {"gpu": True, "utilisation": 0.01}, "data": {"tokens": 1_700_000}}),
    ("checkpoints_rare", "gpt", {"time": {"step_seconds": 3.0, "seconds": 60_000}, "config": {"checkpoint.every_steps": 1000}}, {"time": {"step_seconds": 4.0, "seconds": 80_000}, "config": {"checkpoint.every_steps": 1000}}),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "task", "silent", "speaks"), EDGES, ids=[f"{k}-{e[0]}-{e[1]}" for k, e in enumerate(EDGES)])
def test_thresholds_stand_where_they_are_said_to(rule: str, task: str, silent: dict[str, Any], speaks: dict[str, Any]) -> None:
    ids = [{f.id for f in rules.judge(facts(task, **dict(sections)))} for sections in (silent, speaks)]
    assert rule not in ids[0] and rule in ids[1]


def evidence_of(rule: str, task: str = "gpt", **sections: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Severity and evidence of one finding."""
    (found,) = [f for f in rules.judge(facts(task, **sections)) if f.id == rule]
    return found.severity, dict(found.evidence)


def test_how_bad_it_is_depends_on_the_numbers() -> None:
    turning = [{"forecast": {"overfit_step": step, "overfit_epoch": 4.1}} for step in (4000, 6000)]
    assert [evidence_of("overfit_forecast", **t)[0] for t in turning] == ["problem", "warning"]
    assert evidence_of("overfit_forecast", **turning[0], config={"train.early_stopping": 5})[0] == "warning"
    assert [evidence_of("warmup_too_long", config={"optim.warmup_steps": n})[0] for n in (12_000, 20_000)] == ["warning", "problem"]
    assert [evidence_of("learning_rate_high", config={"optim.learning_rate": r})[0] for r in (0.005, 0.03)] == ["warning", "problem"]
    assert [evidence_of("evaluation_costly", time={"evaluation_seconds": s})[0] for s in (3000, 5000)] == ["warning", "problem"]


def test_the_advice_has_the_right_numbers() -> None:
    table = {"5": {"size": 90_000}, "10": {"size": 50_000}, "20": {"size": 30_000}}
    _, words = evidence_of("vocabulary_dominates", "translation", vocabulary={"size": 500_000, "frequencies": {"at_least": table}}, config={"tokenizer.type": "word"},
                           memory={"peak_bytes": 10e9, "vocabulary_bytes": 9e9, "vocabulary_share": 0.9})  # fmt: skip
    assert (words["min_frequency"], words["size_then"]) == (10, 50_000), "the lowest that leaves a usual vocabulary"
    assert words["gigabytes_then"] == pytest.approx(0.9) and words["share_then"] == pytest.approx(0.9 / 1.9)
    parts = {"weights": 2e9, "gradients": 1e9, "optimizer": 3e9, "activations": 20e9, "logits": 4e9}
    assert evidence_of("memory_never_fits", memory={"each_device_bytes": 30e9, "largest_batch": 0, **parts})[1]["part"] == "activations"
    costly = evidence_of("evaluation_costly", time={"evaluation_seconds": 8000})[1]
    every = Config(task="gpt").evaluation.every_steps
    assert costly["better"] == 8 * every and costly["share"] == pytest.approx(2 / 3)
    assert evidence_of("too_few_pairs", "translation", data={"rows": 500, "words_per_target": 320.0})[1]["some_rows"] == 4700
    large = evidence_of("model_large_for_tokens", parameters={"total": 160_000_000}, data={"tokens": 10**9})[1]
    assert large["wanted"] == round(160e6 / math.sqrt(20)) and large["ratio"] == pytest.approx(1.0)
    idle = evidence_of(
        "gpu_idle", "translation", time={"gpu": True, "utilisation": 0.0153}, memory={"available_bytes": 150e9, "each_device_bytes": 8.4e9}
    )[1]
    assert (idle["times"], idle["better"]) == (8, 8 * 2000), "memory for 12 times, and at 12 times a step is of 96,000 tokens"
    parts = evidence_of(
        "gpu_idle_accumulation", "translation", time={"gpu": True, "utilisation": 0.01}, config={"train.gradient_accumulation_steps": 6}
    )[1]
    assert (parts["better"], parts["accumulation"]) == (6000, 2), "memory for five times as much, and six parts become two of the same step"
    turning = evidence_of("overfit_forecast", forecast={"overfit_step": 4000, "overfit_epoch": 4.1})[1]
    assert (turning["low"], turning["high"]) == (2000, 8000)
    # 500 steps of 8000 tokens see a million tokens four times; that is a hundredth of the parameters, and of 25 a row 40,000 rows.
    short = {"parameters": {"total": 100_000_000}, "horizon": {"steps": 500}, "forecast": {"overfit_step": 100, "overfit_epoch": 1.0}}
    evidence = evidence_of("overfit_forecast", **short)[1]
    assert (evidence["wanted_tokens"], evidence["wanted_rows"]) == (1_000_000, 40_000)
    few = evidence_of("few_pairs", "translation", data={"rows": 40_000, "words_per_target": 25.0})[1]
    assert (few["words"], few["wanted_rows"], few["some_rows"]) == (1_000_000, 600_000, 60_000), "15 and 1.5 million words"


def test_lines_name_the_source() -> None:
    lines = finding_lines(rules.judge(facts(horizon={"epochs": 40.0})), "en")
    assert rules_data.REPEATED in lines[1]


def test_every_rule_is_tried_here() -> None:
    words = yaml.safe_load((ROOT / "training/base/wording/preflight.en.yaml").read_text(encoding="utf-8"))
    assert set(words) == {rule for rule, _, _ in CASES}


def findings_of(task: str, **sections: dict[str, Any]) -> dict[str, Finding]:
    """The findings by id."""
    return {f.id: f for f in rules.judge(facts(task, **sections))}


def test_a_batch_that_does_not_fit_and_was_not_worked_out_is_no_batch_of_nothing() -> None:
    with pytest.raises(KeyError, match="largest_batch"):
        findings_of("gpt", memory={"each_device_bytes": 30e9})


def test_parts_of_the_memory_are_named_in_the_readers_language() -> None:
    found = findings_of("gpt", memory={"each_device_bytes": 30e9, "largest_batch": 0})["memory_never_fits"]
    assert found.text("zh").endswith("占用最多的是激活值。") and found.text("en").endswith("The largest part is activations.")
    assert found.as_dict("zh")["evidence"]["part"] == "activations"


def test_the_advice_of_a_smaller_model_is_as_much_computing_and_no_tiny_model() -> None:
    case: dict[str, Any] = {"parameters": {"total": 500_000_000}, "data": {"tokens": 2_000_000_000}, "horizon": {"epochs": 0.08}}
    evidence = findings_of("gpt", **case)["model_large_for_tokens"].evidence
    assert evidence["wanted"] * evidence["wanted_tokens"] == pytest.approx(500e6 * 160e6, rel=1e-6)
    assert evidence["wanted_tokens"] == 20 * evidence["wanted"]
    short = {**case, "horizon": {"epochs": 0.001, "tokens": 1_000_000}}
    assert "model_large_for_tokens" not in findings_of("gpt", **short), "a million parameters"
    assert "model_large_for_tokens" not in findings_of("gpt", **{**case, "data": {"tokens": 50_000_000}}), "there is not so much text"
    assert "0.32 tokens a parameter" in findings_of("gpt", **case)["model_large_for_tokens"].text("en")


def test_few_words_are_told_with_the_bleu_that_others_had() -> None:
    assert [rules_data.expected_bleu(n) for n in (0.4e6, 0.75e6, 1.5e6)] == [1.6, 7.2, 11.9]
    few = findings_of("translation", data={"rows": 40_000, "words_per_target": 25.0})["few_pairs"]
    assert few.severity == "warning" and "BLEU of about 9 " in few.text("en")
    assert findings_of("translation", data={"rows": 10_000, "words_per_target": 25.0})["too_few_pairs"].severity == "problem"


def test_the_reason_told_for_lost_rows_is_one_that_is_a_loss() -> None:
    data = {"rejected_share": 0.5, "rejected": {"duplicate": 900, "empty": 600, "not_utf8": 500}}
    assert [findings_of(task, data=data)["rows_lost"].evidence["reason"] for task in ("gpt", "translation")] == ["not_utf8", "empty"]


def test_a_class_left_to_its_defaults_is_judged_by_them() -> None:
    config = Config(task="translation", model={"type": "marian", "decoder_layers": 2, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64})
    shape = footprint.measure(config, 600, {"input_ids": (1, 8), "attention_mask": (1, 8), "labels": (1, 8)}, False).shape
    assert shape == {"width": 1024, "layers": 12}
    found = findings_of("translation", model=config.model, shape=shape, config={"optim.warmup_steps": 0, "optim.learning_rate": 1.0})
    assert {"warmup_short_post_norm", "learning_rate_high"} <= set(found)


@pytest.mark.parametrize("kind", ["led", "plbart", "mvp", "blenderbot-small"])
def test_every_post_norm_class_is_known(kind: str) -> None:
    assert "warmup_short_post_norm" in findings_of("translation", model={"type": kind}, config={"optim.warmup_steps": 10})


def test_advice_on_warmup_is_silent_when_it_is_followed() -> None:
    short: dict[str, Any] = {"horizon": {"steps": 2500}, "model": {"type": "marian"}}
    suggested = findings_of("translation", **short, config={"optim.warmup_steps": 10})["warmup_short_post_norm"].evidence["wanted"]
    assert suggested == 250 and not {"warmup_short_post_norm", "warmup_too_long"} & set(
        findings_of("translation", **short, config={"optim.warmup_steps": suggested})
    )
    evidence = findings_of("translation", model={"type": "marian"}, config={"optim.warmup_steps": 10}, horizon={"steps": 100_000})
    assert evidence["warmup_short_post_norm"].evidence["wanted"] == 4000


def test_the_usual_rate_goes_with_the_width_and_the_batch_and_no_rate_beyond_the_doctors_is_let_pass() -> None:
    assert rules_settings.usual_rate(512, 16_000) == pytest.approx(0.45 / 512 / math.sqrt(2))
    assert rules_settings.usual_rate(512, 64) == 0.45 / 512 / 2 and rules_settings.usual_rate(512, 10**7) == 2 * 0.45 / 512
    narrow = {"shape": {"width": 32, "layers": 2}}
    assert findings_of("gpt", **narrow, config={"optim.learning_rate": 0.03})["learning_rate_high"].severity == "problem"
    assert "learning_rate_high" not in findings_of("gpt", **narrow, config={"optim.learning_rate": 0.015})


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("[gt]*/*.yaml")), ids=lambda p: p.stem)
def test_no_shipped_config_has_an_odd_rate(path: Path) -> None:
    config = load_config(path)
    per_step = config.spec.micro_batch(config.batch)[1] * (config.batch.block_size if config.task == "gpt" else 1)
    width = next(config.model[key] for key in ("hidden_size", "d_model", "n_embd") if key in config.model)
    there = replace(facts(config.task, shape={"width": width}, data={"tokens_per_step": per_step}), config=config)
    assert rules_settings.learning_rate_odd(there) is None


def test_a_vocabulary_for_few_pairs_is_told_of_however_large_it_is() -> None:
    assert "vocabulary_for_data" in findings_of("translation", data={"rows": 30_000}, vocabulary={"size": 100_000})


def test_the_sheets_know_what_auto_means_there() -> None:
    assert SHEETS["h100"].precision == "bf16" and SHEETS["t4"].precision == SHEETS["v100"].precision == "fp16"
    assert all(s.flops("no") < s.flops("fp16") for s in SHEETS.values())


def test_a_suggested_vocabulary_grows_with_the_pairs() -> None:
    assert [rules_memory.suggested_vocabulary(n) for n in (1_000, 30_000, 1_000_000, 4_500_000, 50_000_000)] == [
        1000,
        1000,
        8000,
        32_000,
        32_000,
    ]
    assert 1000 < rules_memory.suggested_vocabulary(200_000) < 8000


def test_memory_that_is_short_by_little_is_told_with_enough_digits() -> None:
    short = {"largest_batch": 4, "each_device_bytes": 204_000_000, "available_bytes": 198_000_000}
    assert "about 204 MB, but only 198 MB are available" in findings_of("gpt", memory=short)["memory_short"].text("en")
    assert sizes(24.004e9, 24.001e9) == ("24.004 GB", "24.001 GB")

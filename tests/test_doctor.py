"""training.doctor: what it says of recorded runs (a table of hits and false alarms), on which evidence, and in the report."""

from __future__ import annotations

import json
import random
import shutil
from dataclasses import replace

import pytest
from doctor_recordings import (
    BROKEN,
    CHANGED,
    CONTRARY,
    HEALTHY,
    RUNS,
    SIDE,
    changed,
    config_of,
    one,
)

from training.base.words import phrases
from training.diagnosis import verdicts_outcome, verdicts_training
from training.diagnosis.corpus_report import count_lost_rows
from training.diagnosis.diagnose import diagnose, judge
from training.diagnosis.run_records import RunRecords, read_run
from training.estimate.overfitting import FACTOR
from training.settings.config import SourceConfig
from training.settings.load import load_config
from training.settings.task_specs import TASKS

# ---- the table


def test_every_broken_run_is_called_right_and_no_healthy_one_is_accused(tmp_path):
    """The table of the issue; `pytest -s` prints it."""
    rows, wrong = ["| run | should be | the doctor says |", "|---|---|---|"], []
    hits = alarms = 0
    folders = {name: (RUNS / name, verdict) for name, verdict in BROKEN.items()}
    folders |= {name: (changed(name, tmp_path / name), name) for name in CHANGED}
    for name, (folder, verdict) in folders.items():
        severities = {v.id: v.severity for v in diagnose(folder, config_of(name))}
        hit = verdict in severities and not CONTRARY.get(verdict, set()) & set(severities)
        hits += hit
        wrong += [] if hit else [name]
        rows.append(f"| {name} | {verdict} | {', '.join(severities)} |")
    for name in HEALTHY:
        severities = {v.id: v.severity for v in diagnose(RUNS / name, config_of(name))}
        alarms += (alarm := bool(set(severities.values()) - {"note"}))
        wrong += [name] if alarm else []
        rows.append(f"| {name} | – | {', '.join(severities) or '–'} |")
    rows.append(f"\nhits {hits} of {len(folders)}, false alarms {alarms} of {len(HEALTHY)}")
    print("\n" + "\n".join(rows))
    assert not wrong, "\n".join(rows)
    assert len(folders) >= 20 and len(HEALTHY) >= 10


def test_every_verdict_has_a_run_that_gets_it():
    ids = set(phrases("doctor", "en")) - {"nothing_found"}
    assert ids - set(BROKEN.values()) - set(CHANGED) == SIDE
    assert {v.id for v in diagnose(RUNS / "overfitting", config_of("overfitting"))} >= SIDE


def test_the_healthy_runs_are_different_and_of_both_tasks():
    all_of_them = [config_of(name) for name in HEALTHY]
    kinds = {(c.task, c.model["type"], c.optim.name, str(c.corpus.train), str(c.corpus.columns), c.train.max_steps) for c in all_of_them}
    assert len(kinds) >= 10 and {c.task for c in all_of_them} == {"gpt", "translation"}


def test_recorded_runs_are_of_our_own_text_and_small():
    for folder in RUNS.iterdir():
        config = config_of(folder.name)
        assert str(config.corpus.train).startswith(("data/", "runs/doctor/")), folder  # the latter are made from the former
        assert (folder / "metrics.jsonl").stat().st_size < 30_000, folder


# ---- evidence


def test_overfitting_says_where_it_began():
    records = read_run(RUNS / "overfitting", config_of("overfitting"))
    best = min(records.validation, key=lambda p: p.value)
    found = one(diagnose(RUNS / "overfitting", config_of("overfitting")), "overfitting")
    assert (found["step"], found["best_val_loss"]) == (best.step, round(best.value, 4))
    assert found["final_val_loss"] > found["best_val_loss"] and found["train_loss_final"] < found["train_loss_then"]
    assert found["epoch"] == pytest.approx(records.epoch(best.step), abs=0.01)


def test_a_run_that_stopped_early_is_not_blamed_for_it(tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(RUNS / "overfitting", folder)
    text = (folder / "metrics.jsonl").read_text(encoding="utf-8").replace('"ended": "finished"', '"ended": "stopped early"')
    (folder / "metrics.jsonl").write_text(text, encoding="utf-8")
    (found,) = [v for v in diagnose(folder) if v.id == "overfitting"]
    assert found.severity == "note"


def test_memorised_text_has_share_and_span():
    found = one(diagnose(RUNS / "memorised_text", config_of("memorised_text")), "memorised_text")
    assert found["copied_share"] >= 0.1 and found["longest_copied"] >= 15


def test_of_rows_the_reason_and_a_place():
    found = one(diagnose(RUNS / "rows_quarantined", config_of("rows_quarantined")), "rows_quarantined")
    assert found["reason"] == "not_utf8" and 0.3 < found["share"] < 0.5 and "gbk.txt:" in found["example"]
    found = one(diagnose(RUNS / "rows_duplicate", config_of("rows_duplicate")), "rows_duplicate")
    assert found["duplicates"] == 20_000 and found["left"] == 10_000


def test_filters_that_leave_out_little_are_nobodys_fault():
    records = read_run(RUNS / "healthy_phrasebook", config_of("healthy_phrasebook"))
    for rejected, expected in (({"ratio": 8000}, False), ({"ratio": 30000}, True), ({"not_utf8": 3}, False), ({"missing": 600}, True)):
        corpus = records.corpus | {"rejected": rejected, "rows_read": 41_845}
        found = judge(RunRecords(records.config, corpus=corpus, end={"ended": "finished", "step": 100}))
        assert (found != []) == expected, rejected
    records = replace(records, corpus={"rejected": {"ratio": 8000, "not_utf8": 600}, "rows_read": 41_845}, train=[])
    evidence = one(judge(replace(records, evaluations=[], samples=[])), "rows_quarantined")
    assert (evidence["quarantined"], evidence["reason"], evidence["of_reason"]) == (600, "not_utf8", 600), (
        "the faults, not what was to be filtered"
    )


def test_memory_is_compared_with_that_of_a_device():
    config = config_of("healthy_phrasebook")
    records = read_run(RUNS / "healthy_phrasebook", config)
    sharded = {"memory": {"peak_bytes": 40e9, "each_device_bytes": 6.1e9}}
    for measured, expected in ((6.0e9, False), (12e9, True)):
        found = judge(RunRecords(records.config, end=records.end | {"peak_memory_bytes": measured}, preflight=sharded))
        assert ("prediction_memory" in {v.id for v in found}) == expected


def test_the_forecast_may_be_off_by_a_factor_of_two(tmp_path):
    step = one(diagnose(RUNS / "overfitting", config_of("overfitting")), "overfitting")["step"]
    for forecast, missed in ((step // 2 + 1, False), (2 * step - 1, False), (step // 3, True), (3 * step, True)):
        folder = changed("prediction_overfit", tmp_path / str(forecast))
        (folder / "preflight.json").write_text(json.dumps({"forecast": {"overfit_step": forecast}}), encoding="utf-8")
        assert ("prediction_overfit" in {v.id for v in diagnose(folder, config_of("overfitting"))}) == missed, forecast


@pytest.mark.parametrize(
    ("values", "falls", "expected"),
    [
        ([5.0, 4.6, 4.55, 4.56, 4.57, 4.59, 4.57], True, True),  # four without a new best, though it is not yet 1%
        ([5.0, 4.6, 4.55, 4.56, 4.57, 4.59], True, False),
        ([5.0, 4.6, 4.55, 4.56, 4.57, 4.59, 4.57], False, False),
        ([5.0, 4.6, 4.55, 4.56, 4.57, 4.59, 4.54], True, False),
        ([5.0, 4.6, 4.55, 4.56, 4.65], True, True),
        ([5.0, 5.2], True, False),  # two are no course
        ([5.0, 5.1, 5.2], True, True),
        ([1.0, 0.5, 0.53], True, False),  # 6%, but of next to nothing
        ([1.0, 0.5, 0.56], True, True),
    ],
)
def test_a_validation_loss_that_stands_still_while_the_training_goes_on_is_overfitting_too(values, falls, expected):
    """The course of a base-size model on 10,000 pairs, which rose by half a percent only."""
    train = [
        {"event": "train", "step": s, "loss": 6 - s / 300 * falls, "tokens": 1900 * s, "epoch": s / 208}
        for s in range(10, 100 * len(values) + 1, 10)
    ]
    evaluations = [{"event": "evaluate", "step": 100 * k, "val_loss": v} for k, v in enumerate(values, 1)]
    r = RunRecords(
        config_of("healthy_phrasebook"), train=train, evaluations=evaluations, end={"ended": "interrupted", "step": 100 * len(values)}
    )
    assert (verdicts_training.overfitting(r) is not None) == expected


def test_a_forecast_is_compared_with_the_step_where_the_loss_turned():
    """The course of a large model on a small corpus: the overfit is found, and the forecast said to have held or not."""
    assert verdicts_outcome.STEP_FACTOR == FACTOR
    config = read_run(RUNS / "healthy_phrasebook", config_of("healthy_phrasebook")).config
    train = [{"event": "train", "step": s, "loss": 9 - s / 250, "tokens": 1900 * s, "epoch": s / 208} for s in range(10, 1201, 10)]
    evaluations = [{"event": "evaluate", "step": s, "val_loss": 5.0 + abs(s - 700) / 500} for s in range(100, 1201, 100)]
    for how, severity in (("stopped early", "note"), ("", "warning")):
        end = {"ended": how, "step": 1200} if how else {}
        for forecast, verdict in (
            (932, "prediction_overfit_right"),
            (351, "prediction_overfit_right"),
            (349, "prediction_overfit"),
            (1500, "prediction_overfit"),
        ):
            r = RunRecords(config, train=train, evaluations=evaluations, end=end, preflight={"forecast": {"overfit_step": forecast}})
            verdicts = {v.id: v for v in judge(r)}
            assert verdicts["overfitting"].evidence["step"] == 700 and verdicts["overfitting"].severity == severity
            assert [name for name in verdicts if name.startswith("prediction")] == [verdict]
            assert (verdicts[verdict].evidence["predicted"], verdicts[verdict].evidence["measured"]) == (forecast, 700)


@pytest.mark.parametrize(
    ("against", "mixed", "columns", "expected"),
    [
        (1.0, 0.0, {}, {"sides_swapped"}),
        (1.0, 0.0, {"source": "zh", "target": "en"}, {"sides_swapped"}),
        (1.0, 0.0, {"source": "english", "target": "chinese"}, set()),  # as the columns say
        (1.0, 0.0, {"source": "a", "target": "b"}, set()),  # nothing says what they should be
        (0.3, 0.3, {}, {"sides_mixed"}),
        (0.9, 0.1, {}, {"sides_swapped", "sides_mixed"}),
        (0.0, 0.0, {}, set()),
    ],
)
def test_sides_that_are_all_swapped_and_sides_that_are_mixed(against, mixed, columns, expected):
    r = read_run(RUNS / "healthy_phrasebook", config_of("healthy_phrasebook"))
    r = replace(r, config=replace(r.config, corpus=replace(r.config.corpus, columns=columns)))
    r = replace(r, preflight={"data": {"chinese_sources": 1 - against, "chinese_targets": against, "swapped_share": mixed}})
    assert {v.id for v in judge(r)} == expected


def test_the_names_of_a_sources_own_columns_count(tmp_path):
    text = (RUNS / "healthy_phrasebook/config.yaml").read_text(encoding="utf-8")
    own = "train:\n    path: data/phrasebook/train.jsonl\n    columns: {source: english, target: chinese}\n"
    (tmp_path / "config.yaml").write_text(text.replace("train: data/phrasebook/train.jsonl\n", own, 1), encoding="utf-8")
    config = load_config(tmp_path / "config.yaml")
    records = RunRecords(config, end={"ended": "finished", "step": 100}, preflight={"data": {"chinese_targets": 1.0}})
    assert judge(records) == []
    aligned = replace(config.corpus, train=[SourceConfig("a.en", target_path="a.zh")])  # which have no columns' names
    assert judge(replace(records, config=replace(config, corpus=aligned))) == []


def test_rows_that_nobody_misses_are_not_lost():
    report = {"rows_read": 1000, "not_selected": 400, "rejected": {"empty": 200, "duplicate": 100, "not_utf8": 3, "ratio": None}}
    assert count_lost_rows(report, "gpt") == ({"not_utf8": 3}, 600)
    assert count_lost_rows(report, "translation") == ({"empty": 200, "not_utf8": 3}, 600)
    assert count_lost_rows({}, "gpt") == count_lost_rows({"rejected": [], "rows_read": "x"}, "gpt") == ({}, 0)


@pytest.mark.parametrize("task", ["gpt", "translation"])
def test_before_and_after_a_run_a_batch_is_small_below_the_same_number(task):
    name = {"gpt": "healthy_speech", "translation": "healthy_phrasebook"}[task]
    config, rng = read_run(RUNS / name, config_of(name)).config, random.Random(3)
    for tokens, expected in ((TASKS[task].small_batch - 6, True), (TASKS[task].small_batch + 6, False)):
        noisy = [{"event": "train", "step": 10 * i, "loss": rng.gauss(4.0, 0.3), "tokens": 10 * tokens * i} for i in range(1, 41)]
        found = [v for v in judge(RunRecords(config, train=noisy)) if v.id == "batch_too_small"]
        assert [v.source for v in found] == [verdicts_training.BATCHES] * expected


@pytest.mark.parametrize("name", [n for n in CHANGED if n.startswith("out_of_memory")])
def test_how_memory_ran_out_decides_what_is_promised(name, tmp_path):
    """Only after a save do micro-batches go in more parts; a batch section or model cannot be changed in a run that goes on."""
    (found,) = [v for v in diagnose(changed(name, tmp_path), config_of(name)) if v.id.startswith("out_of_memory")]
    saved = name == "out_of_memory_saved"
    assert found.id == name and found.severity == "problem"
    for language, parts, new, kept in (("en", "in more parts", "new folder", "saved there"), ("zh", "更多份", "换个文件夹", "已存")):
        assert (parts in found.advice(language)) == (kept in found.text(language)) == saved
        assert (new in found.advice(language)) == (not saved)

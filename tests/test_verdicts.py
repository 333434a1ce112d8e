"""Thresholds and evidence of the doctor's verdicts, most without a run. `pytest tests/test_verdicts.py`"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from doctor_recordings import (
    BROKEN,
    FALLING,
    RUNS,
    config_of,
    ended,
    losses,
    one,
    predicted,
)

from training.diagnosis import verdicts_training
from training.diagnosis.diagnose import diagnose, judge
from training.diagnosis.run_records import RunRecords, read_run


def memory(foretold: float, measured: float) -> dict[str, Any]:
    return predicted("memory", "peak_bytes", foretold, peak_memory_bytes=measured)


def last(key: str, value: float) -> dict[str, Any]:
    return {"evaluations": [{"step": 9, key: value}]}


def speed(value: float) -> dict[str, Any]:
    return predicted("time", "tokens_per_second", 1000.0) | {"train": [{"step": k, "tokens_per_second": value} for k in range(1, 6)]}


def rows(reason: str, n: int) -> dict[str, Any]:
    return {"corpus": {"rows_read": 1000, "rejected": {reason: n}}}


EDGES: list[tuple[str, dict[str, Any], dict[str, Any]]] = [  # what is silent and what speaks, a little on either side of the threshold
    ("prediction_time", predicted("time", "seconds", 100, seconds=145), predicted("time", "seconds", 100, seconds=155)),
    ("prediction_time", predicted("time", "seconds", 4, seconds=33), predicted("time", "seconds", 4, seconds=35)),
    ("prediction_memory", memory(10e9, 12.3e9), memory(10e9, 12.7e9)),
    ("prediction_memory", memory(0.5e9, 0.75e9), memory(0.5e9, 0.8e9)),
    ("throughput_low", speed(550.0), speed(450.0)),
    ("repetition_loops", last("repetition", 0.25), last("repetition", 0.35)),
    ("empty_output", last("empty_share", 0.2), last("empty_share", 0.3)),
    ("untranslated_output", last("untranslated_share", 0.07), last("untranslated_share", 0.13)),
    ("tokenizer_unknowns", predicted("vocabulary", "unknown", 0.007), predicted("vocabulary", "unknown", 0.013)),
    ("sides_swapped", predicted("data", "chinese_targets", 0.45), predicted("data", "chinese_targets", 0.55)),
    ("sides_mixed", predicted("data", "swapped_share", 0.015), predicted("data", "swapped_share", 0.025)),
    ("rows_duplicate", rows("duplicate", 40), rows("duplicate", 60)),
    ("validation_trained", {"corpus": {"validation_trained": [9, 1000]}}, {"corpus": {"validation_trained": [11, 1000]}}),
    ("rows_quarantined", rows("not_utf8", 8), rows("not_utf8", 12)),
]  # fmt: skip


@pytest.mark.parametrize(("verdict", "silent", "speaks"), EDGES, ids=[f"{k}-{e[0]}" for k, e in enumerate(EDGES)])
def test_thresholds_stand_where_they_are_said_to(verdict, silent, speaks):
    assert [{v.id for v in judge(ended(**records))} for records in (silent, speaks)] == [set(), {verdict}]


def test_the_evidence_is_what_was_measured():
    def evidence(name: str, **records: Any) -> dict[str, Any]:
        return one(judge(ended(**records)), name)

    missed = evidence("prediction_time", **predicted("time", "seconds", 100, seconds=250))
    assert missed == {"predicted": 100, "measured": 250, "times": 2.5, "factor": 1.5}
    assert evidence("throughput_low", **speed(250.0)) == {"measured": 250, "probe": 1000, "share": 0.25}
    looks = [{"step": 5, "repetition": 0.9, "empty_share": 0.0}, {"step": 9, "repetition": 0.5, "empty_share": 0.4}]  # the last one counts
    assert evidence("repetition_loops", evaluations=looks)["repetition"] == 0.5
    assert evidence("empty_output", evaluations=looks) == {"step": 9, "share": 0.4}
    assert evidence("sides_mixed", **predicted("data", "swapped_share", 0.3)) == {"share": 0.3}


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("gradients_clipped", {"median_norm": "grad_norm"}),
        ("learning_rate_too_low", {"first_loss": "loss"}),
        ("underfitting", {"loss": "val_loss"}),
    ],
)
def test_the_evidence_of_a_recorded_run_is_in_its_records(name, keys):
    records = read_run(RUNS / name, config_of(name))
    found = one(judge(records), name)
    for ours, theirs in keys.items():
        values = [r[theirs] for r in [*records.train, *records.evaluations] if theirs in r]
        assert min(values) <= found[ours] <= max(values) and found[ours] > 0
    if name == "gradients_clipped":
        assert found["median_norm"] < found["suggested"] < 4 * found["median_norm"]
    elif name == "learning_rate_too_low":
        assert found["first_loss"] == round(records.losses[0].value, 4) and 3 * found["learning_rate"] < found["higher"] <= 0.01
        assert found["step"] == records.steps
    else:
        assert 0 < found["drop"] < records.validation[0].value and found["loss"] == round(records.validation[-1].value, 4)


@pytest.mark.parametrize("name", [n for n, v in BROKEN.items() if v == "learning_rate_too_high"])
def test_a_rate_too_high_is_answered_with_a_lower_one(name):
    found = one(diagnose(RUNS / name, config_of(name)), "learning_rate_too_high")
    assert 0 < found["lower"] <= found["learning_rate"] / 2


def test_the_worst_comes_first():
    records = predicted("data", "swapped_share", 0.3) | last("repetition", 0.5)
    assert [v.severity for v in judge(ended(**records))] == ["problem", "warning"]


@pytest.mark.parametrize(
    ("how", "step", "warmup", "expected"),
    [("finished", 20, 100, True), ("stopped early", 100, 100, True), ("finished", 101, 100, False), ("interrupted", 20, 100, False),
     ("", 20, 100, False), ("finished", 20, 0, False), ("finished", 0, 100, False)],
)  # fmt: skip
def test_a_warmup_that_never_ended_is_told_from_the_last_step_alone(how, step, warmup, expected):
    c = config_of("healthy_phrasebook")
    r = RunRecords(replace(c, optim=replace(c.optim, warmup_steps=warmup)), end={"ended": how, "step": step})
    found = [v.evidence["share"] for v in judge(r) if v.id == "warmup_unended"]
    assert found == ([step / warmup] if expected else [])


@pytest.mark.parametrize(
    ("values", "sign", "step"),
    [
        (FALLING, None, 0),
        ([*FALLING[:6], 6.9, *FALLING[6:]], None, 0),  # one jump that heals
        ([*FALLING[:6], 6.9, *FALLING[6:9], 6.0, *FALLING[9:]], "spikes", 70),
        ([*FALLING[:8], 6.2, 6.3, 6.3, 6.4, 6.3, 6.3], "climb", 90),
        ([*FALLING[:8], 5.0, 5.3, 5.3, 5.4, 5.6, 5.8, 5.9, 6.0], "climb", 160),
        ([7.5, 9.5, 11.0, 8.0, 7.0, 6.5, 6.4, 6.4], "climb", 30),  # worse than knowing nothing
        ([7.5, 6.0, 5.0, 4.9, 5.1, 4.8, 5.0, 4.7, 4.9, 4.6, 4.8, 4.5], None, 0),  # noise
        ([7.5, 6.0, 4.0, 5.0, 4.0, 5.0, 4.0, 6.0, 4.0, 5.0, 4.0, 6.0, 4.0, 5.0], None, 0),  # 1.0 beyond its neighbours, as noise may be
    ],
)
def test_jumps_of_the_loss_are_a_rate_too_high_and_noise_is_not(values, sign, step):
    config = read_run(RUNS / "healthy_phrasebook", config_of("healthy_phrasebook")).config
    found = judge(RunRecords(config, train=losses(*values), end={"ended": "interrupted", "step": 999}))
    evidences = [dict(v.evidence) for v in found if v.id == "learning_rate_too_high"]
    assert [(s["sign"], s["step"]) for s in evidences] == ([(sign, step)] if sign else [])


def test_a_loss_that_is_no_number_is_told_with_the_rate():
    found = {v.id: v for v in diagnose(RUNS / "not_finite", config_of("not_finite"))}
    assert {"not_finite", "learning_rate_too_high"} <= set(found)
    assert found["learning_rate_too_high"].evidence["after"] == "NaN"


def test_the_end_of_long_texts_is_not_waited_for():
    """A text that is longer than what is generated does not end in it, and one of many windows hardly ever does."""
    name = "learning_rate_too_low"  # its samples never end, and the verses would
    records = read_run(RUNS / name, config_of(name))
    for length, expected in ((20, True), (60, False), (2000, False)):
        r = replace(records, preflight={"vocabulary": {"columns": {"text": {"tokens_per_text": length}}}})
        assert ("truncated_output" in {v.id for v in judge(r)}) == expected, length


@pytest.mark.parametrize(
    ("name", "rate", "steps", "expected"),
    [
        ("muon", 4e-4, 100, True),
        ("muon", 4e-4, 200, False),
        ("adamw", 4e-4, 100, False),
        ("muon", 0.02, 2, False),
        ("muon", 4e-4, 0, False),
    ],
)
def test_muon_is_idle_where_its_rate_cannot_have_moved_a_matrix(name: str, rate: float, steps: int, expected: bool) -> None:
    config = config_of("muon_idle")
    config = replace(config, optim=replace(config.optim, name=name, muon_learning_rate=rate))
    train = [{"event": "train", "step": s, "loss": 6.0, "tokens": 100 * s, "epoch": s / 10} for s in range(1, steps + 1)]
    r = RunRecords(config, train=train, evaluations=[], end={"ended": "finished", "step": steps})
    assert (verdicts_training.muon_idle(r) is not None) == expected

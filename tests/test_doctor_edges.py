"""More thresholds of the doctor: records on either side of each, beside what else such records may be told."""

from __future__ import annotations

import math
from typing import Any

import pytest
from doctor_recordings import ended, predicted

from training.diagnosis.curves import Point, noise
from training.diagnosis.diagnose import judge


def speeds(count: int) -> dict[str, Any]:
    """So many records of a tenth of the probe's speed; the first of them has the warming up in it."""
    train = [{"step": k, "tokens_per_second": 100.0} for k in range(1, count + 1)]
    return predicted("time", "tokens_per_second", 1000.0) | {"train": train}


def norms(in_warmup: float, clipped: int, rest: int) -> dict[str, Any]:
    """Gradient norms of the 20 steps of the warmup, then so many of 20 and of 0.5; they are clipped to 1."""
    after = [in_warmup] * 20 + [20.0] * clipped + [0.5] * rest
    return {"train": [{"step": k, "grad_norm": n} for k, n in enumerate(after, 1)]}


def known_by_heart(loss: float, validation: float) -> dict[str, Any]:
    """A fifth of what is written stands in the training text."""
    looks = [{"step": 100, "val_loss": validation, "copied_share": 0.2, "longest_copied": 20}]
    return {"train": [{"step": 100, "loss": loss}], "evaluations": looks}


def falling(how: str) -> dict[str, Any]:
    """A validation loss that falls by a nat in every quarter of the run."""
    looks = [{"step": 25 * k, "val_loss": 7.0 - k} for k in range(1, 5)]
    return {"evaluations": looks, "end": {"ended": how}, "preflight": {"vocabulary": {"size": 1000}}}


EDGES: list[tuple[str, dict[str, Any], dict[str, Any]]] = [  # what is silent and what speaks
    ("throughput_low", speeds(3), speeds(4)),
    ("gradients_clipped", norms(20.0, 0, 20), norms(0.5, 20, 0)),
    ("gradients_clipped", norms(20.0, 37, 3), norms(20.0, 39, 1)),
    ("memorised_text", known_by_heart(3.1, 4.0), known_by_heart(2.9, 4.0)),
    ("truncated_output", {"evaluations": [{"step": 9, "truncated_share": 0.25}]}, {"evaluations": [{"step": 9, "truncated_share": 0.35}]}),
    ("underfitting", falling("interrupted"), falling("finished")),
    ("prediction_time", predicted("time", "seconds", 100, seconds=250) | {"end": {"seconds": 250, "ended": "interrupted"}},
     predicted("time", "seconds", 100, seconds=250)),
    ("prediction_memory", {"preflight": {"memory": {"peak_bytes": 10e9}}, "end": {"peak_memory_bytes": 20e9, "ended": "interrupted"}},
     predicted("memory", "peak_bytes", 10e9, peak_memory_bytes=20e9)),
]  # fmt: skip


@pytest.mark.parametrize(("verdict", "silent", "speaks"), EDGES, ids=[f"{k}-{e[0]}" for k, e in enumerate(EDGES)])
def test_thresholds_stand_where_they_are_said_to(verdict: str, silent: dict[str, Any], speaks: dict[str, Any]) -> None:
    assert [verdict in {v.id for v in judge(ended(**records))} for records in (silent, speaks)] == [False, True]


def test_duplicates_are_worth_a_word_and_a_fifth_of_them_a_warning() -> None:
    for rows, severity in ((150, "note"), (250, "warning")):
        (found,) = judge(ended(corpus={"rows_read": 1000, "rejected": {"duplicate": rows}}))
        assert (found.id, found.severity) == ("rows_duplicate", severity)


def test_the_noise_of_a_curve_is_that_of_one_value() -> None:
    """Neighbours of the second half are three nats apart, up and down in turn; a difference scatters √2 times as much as a value."""
    points = [Point(k, float(v)) for k, v in enumerate([9, 8, 7, 6, 5, 5, 2, 5, 2, 5, 2], 0)]
    assert noise(points) == pytest.approx(1.4826 * 3 / math.sqrt(2))

"""How a run came out: the doctor's verdicts on its speed, on what preflight predicted, on its records and its end.

Each is a function of the records to a Finding, or None.
"""

from __future__ import annotations

import statistics

from training.base.errors import OutOfMemory
from training.diagnosis.curves import missing, number, plausible
from training.diagnosis.finding import Finding, Severity
from training.diagnosis.run_records import RunRecords
from training.diagnosis.verdicts_training import finding, overfitting

SLOW = 0.5  # share of the tokens a second that the probe measured

TIME_FACTOR, MEMORY_FACTOR, STEP_FACTOR = 1.5, 1.25, 2.0  # a prediction that is off by at most this factor is right

# Bytes by which a prediction may be off in any case. After a thousand steps, models of a few million parameters in bf16 had up to 70 MB
# more resident than predicted (docs/log.md, "Small models have more resident"): a large share of little, and no machine is short of it.
NOTICED = 256 << 20

WAITED = 30.0  # seconds by which a prediction may be off in any case


def throughput_low(r: RunRecords) -> Finding | None:
    """The run was far slower than the probe before it. The median is compared, so that a pause does not count."""
    probe = r.predicted("time", "tokens_per_second")
    speeds = [v for t in r.train if (v := number(t.get("tokens_per_second"))) is not None]
    del speeds[:1]  # the first includes the warming up of caches
    if not probe or len(speeds) < 3:
        return None
    measured = statistics.median(speeds)
    if measured > SLOW * probe:
        return None
    return finding("throughput_low", "warning", {"measured": round(measured), "probe": round(probe), "share": round(measured / probe, 3)})


def prediction_time(r: RunRecords) -> Finding | None:
    """The run took much longer or shorter than predicted; a difference of a few seconds does not matter."""
    if abs((r.predicted("time", "seconds") or 0) - (plausible("seconds", r.end.get("seconds")) or 0)) < WAITED:
        return None
    return _missed(r, "prediction_time", r.predicted("time", "seconds"), plausible("seconds", r.end.get("seconds")), TIME_FACTOR)


def prediction_memory(r: RunRecords) -> Finding | None:
    """The measured peak of memory was far from the prediction; a small difference in bytes does not matter."""
    predicted, measured = r.predicted_peak, plausible("bytes", r.end.get("peak_memory_bytes"))
    if abs((predicted or 0) - (measured or 0)) < NOTICED:
        return None
    return _missed(r, "prediction_memory", predicted, measured, MEMORY_FACTOR)


def prediction_overfit(r: RunRecords) -> Finding | None:
    """Where the validation loss turned, or how far it came without turning, compared with the forecast."""
    forecast = r.predicted("forecast", "overfit_step")
    if not forecast or len(r.validation) < 3:
        return None
    best, final = min(r.validation, key=lambda p: p.value), r.validation[-1]
    turned = overfitting(r) is not None
    if not turned and final.step < STEP_FACTOR * forecast:
        return None  # it may still turn
    missed = _missed(r, "prediction_overfit", forecast, float(best.step), STEP_FACTOR, any_end=True)
    if missed or not turned:
        return missed
    evidence = {"predicted": round(forecast), "measured": best.step, "times": round(best.step / forecast, 2), "factor": STEP_FACTOR}
    return finding("prediction_overfit_right", "note", evidence)


def _missed(
    r: RunRecords, name: str, predicted: float | None, measured: float | None, factor: float, any_end: bool = False
) -> Finding | None:
    if not predicted or not measured or not (any_end or r.ended == "finished"):
        return None
    times = measured / predicted
    if 1 / factor <= times <= factor:
        return None
    evidence = {"predicted": round(predicted), "measured": round(measured), "times": round(times, 2), "factor": factor}
    if name == "prediction_memory":
        evidence |= {"predicted_mb": round(predicted / 1e6), "measured_mb": round(measured / 1e6)}
    return finding(name, "note", evidence)


ENDS: dict[str, tuple[str, Severity]] = {
    "interrupted": ("interrupted", "note"), "not finite": ("not_finite", "problem"), "stopped": ("stopped", "warning"),
    OutOfMemory.ended: ("out_of_memory", "problem"), OutOfMemory.ended + OutOfMemory.SAVED: ("out_of_memory_saved", "problem"),
    OutOfMemory.ended + OutOfMemory.SINGLE_ROW: ("out_of_memory_row", "problem"),
    OutOfMemory.ended + OutOfMemory.OPTIMIZER: ("out_of_memory_optimizer", "problem"), "": ("unfinished", "note"),
}  # fmt: skip


def records_unreadable(r: RunRecords) -> Finding | None:
    """Some lines of the metrics are not records of ours and were left out."""
    if not r.unreadable:
        return None
    evidence = {"unreadable": r.unreadable, "readable": len(r.train) + len(r.evaluations)}
    return finding("records_unreadable", "warning" if r.train else "problem", evidence)


def records_empty(r: RunRecords) -> Finding | None:
    """A run has its report, which is written at the end, but no records: without a verdict it would look healthy."""
    if r.unreadable or r.train or r.evaluations or r.end or not r.reported:
        return None
    return finding("records_empty", "problem", {})


def losses_missing(r: RunRecords) -> Finding | None:
    """Losses were infinite or NaN in a run that did not stop because of them."""
    train, validation = missing(r.train, "loss"), missing(r.evaluations, "val_loss")
    if r.ended == "not finite" or not (train or validation):
        return None
    evidence = {
        "train": len(train), "of_train": len(r.train), "validation": len(validation), "of_validation": len(r.evaluations),
        "step": min(train + validation),
    }  # fmt: skip
    return finding("losses_missing", "problem", evidence)


def ending(r: RunRecords) -> Finding | None:
    """How the run ended, if not at its horizon; without a record of its end it is still running or was killed."""
    if r.ended not in ENDS or (r.unreadable and not r.steps):  # nothing could be read
        return None
    name, severity = ENDS[r.ended]
    return finding(name, severity, {"step": r.steps})


OUTCOME = (
    throughput_low, prediction_time, prediction_memory, prediction_overfit, records_unreadable, records_empty, losses_missing, ending,
)  # fmt: skip

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

SLOW = 0.5  # of the probe's tokens a second

TIME_FACTOR, MEMORY_FACTOR, STEP_FACTOR = 1.5, 1.25, 2.0  # a prediction within these is called right

# Bytes. Models of a few million parameters in bf16 had up to 70 MB more resident than foretold after a thousand steps (docs/log.md,
# "Small models have more resident"): a large share of little. No machine is short of that much, so it is not told.
NOTICED = 256 << 20

WAITED = 30.0  # seconds


def throughput_low(r: RunRecords) -> Finding | None:
    """Far slower than the probe before the run; the median, so that a pause does not count."""
    probe = r.predicted("time", "tokens_per_second")
    speeds = [v for t in r.train if (v := number(t.get("tokens_per_second"))) is not None]
    del speeds[:1]  # it has the warming up of caches in it
    if not probe or len(speeds) < 3:
        return None
    measured = statistics.median(speeds)
    if measured > SLOW * probe:
        return None
    return finding("throughput_low", "warning", {"measured": round(measured), "probe": round(probe), "share": round(measured / probe, 3)})


def prediction_time(r: RunRecords) -> Finding | None:
    """The whole run against its forecast; of a few seconds nobody minds how many."""
    if abs((r.predicted("time", "seconds") or 0) - (plausible("seconds", r.end.get("seconds")) or 0)) < WAITED:
        return None
    return _missed(r, "prediction_time", r.predicted("time", "seconds"), plausible("seconds", r.end.get("seconds")), TIME_FACTOR)


def prediction_memory(r: RunRecords) -> Finding | None:
    """The measured peak against its forecast; a miss that no machine would notice is none."""
    predicted, measured = r.predicted_peak, plausible("bytes", r.end.get("peak_memory_bytes"))
    if abs((predicted or 0) - (measured or 0)) < NOTICED:
        return None
    return _missed(r, "prediction_memory", predicted, measured, MEMORY_FACTOR)


def prediction_overfit(r: RunRecords) -> Finding | None:
    """Where the validation loss turned, or how far it came without turning, against the forecast."""
    forecast = r.predicted("forecast", "overfit_step")
    if not forecast or len(r.validation) < 3:
        return None
    best, final = min(r.validation, key=lambda p: p.value), r.validation[-1]
    turned = overfitting(r) is not None
    if not turned and final.step < STEP_FACTOR * forecast:
        return None  # it may still come
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
    """Lines of the metrics that are no record of ours: nothing that they say was looked at."""
    if not r.unreadable:
        return None
    evidence = {"unreadable": r.unreadable, "readable": len(r.train) + len(r.evaluations)}
    return finding("records_unreadable", "warning" if r.train else "problem", evidence)


def records_empty(r: RunRecords) -> Finding | None:
    """A run that has its report, which is written at the end, and no records: silence would be a clean bill."""
    if r.unreadable or r.train or r.evaluations or r.end or not r.reported:
        return None
    return finding("records_empty", "problem", {})


def losses_missing(r: RunRecords) -> Finding | None:
    """Losses that are no numbers, in a run that did not stop because of them."""
    train, validation = missing(r.train, "loss"), missing(r.evaluations, "val_loss")
    if r.ended == "not finite" or not (train or validation):
        return None
    evidence = {
        "train": len(train), "of_train": len(r.train), "validation": len(validation), "of_validation": len(r.evaluations),
        "step": min(train + validation),
    }  # fmt: skip
    return finding("losses_missing", "problem", evidence)


def ending(r: RunRecords) -> Finding | None:
    """How the run ended, if not at its horizon; without a record of it, it is still running or was killed."""
    if r.ended not in ENDS or (r.unreadable and not r.steps):  # with nothing that can be read, there is nothing to go by
        return None
    name, severity = ENDS[r.ended]
    return finding(name, severity, {"step": r.steps})


OUTCOME = (
    throughput_low, prediction_time, prediction_memory, prediction_overfit, records_unreadable, records_empty, losses_missing, ending,
)  # fmt: skip

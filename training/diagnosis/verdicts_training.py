"""How training went: the doctor's verdicts from the curves. Each is a function of the records to a Finding, or None.

Losses are in nats a token. Thresholds without a paper were set on recorded runs (tests/doctor_runs), between the broken run and the
worst of the healthy ones.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

from training.diagnosis.curves import at, curve, level, noise, number
from training.diagnosis.finding import Finding, Severity
from training.diagnosis.run_records import RunRecords

Verdict = Callable[[RunRecords], Finding | None]

# A rise above the minimum by this share is overfitting, but never by less than these nats, which matter for losses near zero.
OVERFIT_RISE, OVERFIT_NATS = 0.02, 0.05

# A smaller rise is overfitting after this many evaluations without a new best, while the training loss fell by this share.
STALLED, STALLED_FALL = 4, 0.05

TRAIN_FALL = 0.02  # share by which the training loss must have fallen meanwhile; otherwise something else is wrong with both

BLEU_GAP = 1.0  # points of BLEU from the checkpoint that is best by loss to the one that is best by BLEU

UNDERFIT_DROP = 0.06  # fall over the last quarter of the steps, as a share of the loss at the start (healthy runs: 0.005 to 0.05)

FRESH_EPOCHS = 4.0  # up to here text read again is as good as new text (Muennighoff et al. 2023, arXiv:2305.16264)

# A jump between neighbouring records, each the mean of several batches, is a spike if it exceeds this share of the loss at the start
# (0.7 to 0.9 nats) and this many times the scatter of the batches.
SPIKE, SPIKE_NOISES = 0.10, 6.0

SPIKES = 2  # a single spike from which the loss recovers is normal

ABOVE_START = 1.10  # a loss of this many times that at the start is worse than knowing nothing

# Peak learning rates, for preflight's rules too, which also look at the width. None of our models has learnt at HIGH: from there on, that
# nothing was learnt is enough of a sign that the rate is too high. Below LOW a slow curve is blamed on the rate. Usual peaks: 1e-4 to 5e-3
# for AdamW, 0.02 for Muon (whose updates have unit spectral norm).
ADAMW_HIGH, MUON_HIGH = 0.02, 0.3

ADAMW_LOW, MUON_LOW = 1e-4, 1e-3

MUON_IDLE = 0.05  # in spectral norm: about a tenth of an initial matrix of our models (0.4 to 0.9 for 96 to 512 rows and columns)

SLOW_PROGRESS = 0.25  # share of the loss at the start that a model gains by learning how frequent each token is

NO_PROGRESS = 0.02  # share of the loss at the start; a curve that falls by less has no shape to judge

STEADY = 0.35  # share of the progress that comes in the second half; less in a curve that bends

STUCK_LEVEL = 0.6  # share of the loss at the start: token frequencies alone lead to 0.65 to 0.8 of ln(vocabulary) in our corpora

STUCK_DROP = 0.015  # fall in the second half of the steps, as a share of the loss at the start (a healthy run at that level: 0.03)

NO_WARMUP = 10  # steps; a shorter warmup is as good as none

# Share of the steps that are clipped, and how many times the limit the median norm is (2 to 4 in a healthy small model with limit 1).
CLIPPED_SHARE, CLIPPED_RATIO = 0.95, 10.0

BATCHES = "Popel & Bojar 2018, arXiv:1804.00247"

NOISY, NOISY_NATS = 0.025, 0.05  # scatter of the records: as a share of the loss, and at least in nats

PROGRESS_NOISES = 4.0  # noise hides what the second half gained if that is less than this many times the scatter

FEWEST = 8  # records of the training loss that a curve must have to be judged


def finding(name: str, severity: Severity, evidence: dict[str, Any], source: str = "") -> Finding:
    """A finding with its sentences in the doctor's book."""
    return Finding(name, severity, evidence, source, "doctor")


def overfitting(r: RunRecords) -> Finding | None:
    """The validation loss turned while the training loss went on falling.

    It turned (Prechelt 1998) if it ends well above its minimum (criterion GL), or finds no new minimum for several evaluations while the
    training loss makes good progress (after criterion PQ, which compares the two).
    """
    if len(r.validation) < 3:
        return None
    best, final = min(r.validation, key=lambda p: p.value), r.validation[-1]
    then, now = at(r.losses, best.step), level(r.losses, 0.95, 1.0)
    if then is None or now is None or now > (1 - TRAIN_FALL) * then:
        return None
    risen = final.value - best.value >= max(OVERFIT_RISE * best.value, OVERFIT_NATS)
    stalled = sum(p.step > best.step for p in r.validation) >= STALLED and now <= (1 - STALLED_FALL) * then
    if not (risen or stalled):
        return None
    stopped = r.ended == "stopped early"  # early stopping did its work: the best checkpoint is kept
    evidence = {
        "step": best.step, "epoch": round(r.epoch(best.step), 2), "best_val_loss": round(best.value, 4), "final_step": final.step,
        "final_val_loss": round(final.value, 4), "train_loss_then": round(then, 4), "train_loss_final": round(now, 4),
    }  # fmt: skip
    return finding("overfitting", "note" if stopped else "warning", evidence, "Prechelt 1998, Early Stopping – But When?")


def bleu_elsewhere(r: RunRecords) -> Finding | None:
    """The checkpoint with the lowest loss is not the one that translates best; `best` goes by the loss."""
    bleu = curve(r.evaluations, "bleu")
    if not bleu or not r.validation:
        return None
    by_loss, by_bleu = min(r.validation, key=lambda p: p.value), max(bleu, key=lambda p: p.value)
    there = at(bleu, by_loss.step)
    if there is None or by_bleu.value - there < BLEU_GAP:
        return None
    evidence = {"step": by_loss.step, "bleu": round(there, 2), "bleu_step": by_bleu.step, "best_bleu": round(by_bleu.value, 2)}
    return finding("bleu_elsewhere", "note", evidence)


def underfitting(r: RunRecords) -> Finding | None:
    """The loss was still falling fast when the run reached its horizon.

    Without a validation loss the training loss is used, but only while the text is not read so often that it is learnt by heart.
    """
    points = r.validation if len(r.validation) >= 3 else r.losses if r.epoch(r.steps) <= FRESH_EPOCHS else []
    if r.ended != "finished" or not r.start or len(points) < 3:
        return None
    then, final = at(points, 0.75 * points[-1].step), points[-1]
    if then is None or final.value > min(p.value for p in points) or then - final.value < UNDERFIT_DROP * r.start:
        return None
    evidence = {
        "step": final.step,
        "epoch": round(r.epoch(final.step), 2),
        "loss": round(final.value, 4),
        "drop": round(then - final.value, 4),
    }
    return finding("underfitting", "warning", evidence)


# ---- the learning rate


def learning_rate_too_high(r: RunRecords) -> Finding | None:
    """The loss jumps, climbs or is no longer a number, or a model learnt nothing at a rate at which no model learns."""
    if _no_warmup(r) and _excess(r) < 1:
        return None
    trouble = _jumps(r) or (_still(r, drop=1.0) if _excess(r) >= 1 else None)
    if trouble is None:
        return None
    key, rate = _rate(r)
    lower = rate / 3 if _excess(r) < 1 else 0.1 * rate / _excess(r)  # a third, or a tenth of the rate at which no model learns
    evidence = trouble | {"key": key, "learning_rate": rate, "lower": float(f"{lower:.1g}")}
    return finding("learning_rate_too_high", "problem", evidence, "Wortsman et al. 2023, arXiv:2309.14322")


def warmup_missing(r: RunRecords) -> Finding | None:
    """The loss jumps or stands still at an ordinary rate, in a run without warmup (deep post-norm models need it most)."""
    trouble = None if not _no_warmup(r) or _excess(r) >= 1 else _jumps(r) or _still(r)
    if trouble is None:
        return None
    key, rate = _rate(r)
    evidence = trouble | {
        "key": key, "learning_rate": rate, "warmup_steps": r.config.optim.warmup_steps, "suggested": max(100, round(0.05 * r.steps, -1)),
    }  # fmt: skip
    return finding("warmup_missing", "problem", evidence, "Xiong et al. 2020, arXiv:2002.04745; Goyal et al. 2017, arXiv:1706.02677")


def warmup_unended(r: RunRecords) -> Finding | None:
    """The rate was still rising when the run reached its horizon; the config and the last step are enough to see it."""
    warmup = r.config.optim.warmup_steps
    if r.ended not in ("finished", "stopped early") or not 0 < r.steps <= warmup:
        return None
    evidence = {"step": r.steps, "warmup_steps": warmup, "share": round(r.steps / warmup, 3), "suggested": max(1, r.steps // 10)}
    return finding("warmup_unended", "problem", evidence)


def learning_rate_too_low(r: RunRecords) -> Finding | None:
    """Slow, steady progress on a curve that never bends, at a small rate (the left end of a range test, Smith 2017)."""
    key, rate = _rate(r)
    low = MUON_LOW if key == "optim.muon_learning_rate" else ADAMW_LOW
    if rate >= low or not r.start or len(r.losses) < FEWEST:
        return None
    first, middle, final = r.losses[0].value, level(r.losses, 0.45, 0.55), level(r.losses, 0.9, 1.0)
    if middle is None or final is None or final < (1 - SLOW_PROGRESS) * r.start:
        return None
    if first - final > NO_PROGRESS * r.start and middle - final < STEADY * (first - final):
        return None
    evidence = {
        "key": key, "learning_rate": rate, "step": r.steps, "first_loss": round(first, 4), "loss": round(final, 4),
        "higher": float(f"{max(10 * rate, low):.1g}"),
    }  # fmt: skip
    return finding("learning_rate_too_low", "problem", evidence, "Smith 2017, arXiv:1506.01186")


def muon_idle(r: RunRecords) -> Finding | None:
    """A Muon rate so low that the hidden matrices hardly moved; only the embeddings, which AdamW trains, have learnt.

    An update has unit spectral norm, so the steps together move a matrix by at most rate times steps.
    """
    rate, moved = r.config.optim.muon_learning_rate, r.config.optim.muon_learning_rate * r.steps
    if r.config.optim.name != "muon" or rate >= MUON_LOW or not r.steps or moved >= MUON_IDLE:
        return None
    evidence = {"learning_rate": rate, "step": r.steps, "moved": float(f"{moved:.2g}")}
    return finding("muon_idle", "problem", evidence, "Jordan et al. 2024, https://kellerjordan.github.io/posts/muon")


def loss_plateau(r: RunRecords) -> Finding | None:
    """The training loss stands still about where token frequencies alone lead: the model learnt nothing of the order of words."""
    still = _still(r)
    if still is None or any(cause(r) for cause in CAUSES):
        return None  # the verdict on the cause is enough
    return finding("loss_plateau", "problem", still | {"key": _rate(r)[0], "learning_rate": _rate(r)[1]})


def _jumps(r: RunRecords) -> dict[str, Any] | None:
    """Where the training loss jumped, climbed for good, or stopped being a number."""
    points = r.losses
    if r.ended == "not finite":
        return _trouble(r, "not_finite", r.steps, points[-1].value if points else r.start, "NaN", "NaN")
    if not r.start or len(points) < 4:
        return None
    values = [p.value for p in points]
    limit = max(SPIKE * r.start, SPIKE_NOISES * noise(points))
    spikes = [i for i in range(2, len(points)) if values[i] - max(values[i - 2 : i]) > limit]
    final = level(points, 0.9, 1.0) or values[-1]
    medians = [sorted(three)[1] for three in zip(values, values[1:], values[2:])]
    lowest = min(range(len(medians)), key=lambda i: medians[i])
    above = max(values[1:]) > ABOVE_START * max(r.start, values[0])
    if len(spikes) < SPIKES and final - medians[lowest] < limit and not above:
        return None
    first = spikes[0] if spikes else max(range(1 if above else lowest + 1, len(values)), key=lambda i: values[i])
    sign = "spikes" if len(spikes) >= SPIKES else "climb"
    return _trouble(r, sign, points[first].step, values[first - 1], values[first], final) | {"jumps": len(spikes)}


def _still(r: RunRecords, drop: float = STUCK_DROP) -> dict[str, Any] | None:
    """Evidence that the training loss stood still: it ends high, and fell in the second half by at most `drop` of the loss at the start.

    The fall is that of the validation loss where there is one, as that has no noise of single batches.
    """
    if not r.start or len(r.losses) < FEWEST:
        return None
    middle, final = level(r.losses, 0.45, 0.6), level(r.losses, 0.9, 1.0)
    if middle is None or final is None or final < STUCK_LEVEL * r.start:
        return None
    then, now = at(r.validation, r.steps / 2), r.last("val_loss")
    fall = then - now if then is not None and now is not None and len(r.validation) >= 3 else middle - final
    if abs(fall) > drop * r.start:
        return None
    return _trouble(r, "plateau", r.steps // 2, r.losses[0].value, middle, final)


def _trouble(r: RunRecords, sign: str, step: int, before: float | None, after: float | str, final: float | str) -> dict[str, Any]:
    """Evidence: the losses before and at `step`, at the end, and of a model that knows nothing."""
    numbers = {"before": before, "after": after, "final": final, "start": r.start}
    return {"sign": sign, "step": step, **{k: round(v, 3) if isinstance(v, float) else v or "?" for k, v in numbers.items()}}


def _rate(r: RunRecords) -> tuple[str, float]:
    """The key of the peak rate that matters, and the rate: with Muon, the one of its two rates that is nearer to its HIGH."""
    o = r.config.optim
    if o.name == "muon" and o.muon_learning_rate / MUON_HIGH >= o.learning_rate / ADAMW_HIGH:
        return "optim.muon_learning_rate", o.muon_learning_rate
    return "optim.learning_rate", o.learning_rate


def _excess(r: RunRecords) -> float:
    """The peak rate divided by the rate at which no model learns."""
    key, rate = _rate(r)
    return rate / (MUON_HIGH if key == "optim.muon_learning_rate" else ADAMW_HIGH)


def _no_warmup(r: RunRecords) -> bool:
    return r.config.optim.warmup_steps < NO_WARMUP


# ---- gradients


def gradients_clipped(r: RunRecords) -> Finding | None:
    """Every gradient is scaled down by a lot, so that max_grad_norm sets its size.

    Adam divides by the running size of the gradient, so a constant factor does little. But large gradients no longer count more than
    small ones, and `eps` is no longer small beside them.
    """
    limit = r.config.optim.max_grad_norm
    norms = [n for t in r.train if t["step"] > r.config.optim.warmup_steps and (n := number(t.get("grad_norm"))) is not None]
    if not limit or len(norms) < FEWEST:
        return None
    share, middle = sum(n > limit for n in norms) / len(norms), statistics.median(norms)
    if share < CLIPPED_SHARE or middle < CLIPPED_RATIO * limit:
        return None
    evidence = {"share": round(share, 3), "median_norm": round(middle, 3), "max_grad_norm": limit, "suggested": float(f"{2 * middle:.1g}")}
    return finding("gradients_clipped", "warning", evidence, "Pascanu et al. 2013, arXiv:1211.5063")


def batch_too_small(r: RunRecords) -> Finding | None:
    """The loss scatters so much between batches that it hides what the second half gained."""
    tokens, final, middle = r.tokens_per_step, level(r.losses, 0.9, 1.0), level(r.losses, 0.5, 0.6)
    enough = r.config.spec.small_batch
    if not tokens or tokens >= enough or len(r.losses) < FEWEST or not final or middle is None:
        return None
    scatter = noise(r.losses)
    if scatter < max(NOISY * final, NOISY_NATS) or middle - final > PROGRESS_NOISES * scatter:
        return None
    evidence = {
        "tokens_per_step": round(tokens), "noise": round(scatter, 4), "progress": round(middle - final, 4), "loss": round(final, 4),
        "suggested": max(8, 2 * round(enough / tokens / 2)),
    }  # fmt: skip
    return finding("batch_too_small", "warning", evidence, BATCHES)


CAUSES: tuple[Verdict, ...] = (learning_rate_too_high, warmup_missing, warmup_unended, learning_rate_too_low, muon_idle, batch_too_small)

TRAINING: tuple[Verdict, ...] = (
    learning_rate_too_high, warmup_missing, warmup_unended, learning_rate_too_low, muon_idle, loss_plateau, overfitting, underfitting,
    bleu_elsewhere, gradients_clipped, batch_too_small,
)  # fmt: skip

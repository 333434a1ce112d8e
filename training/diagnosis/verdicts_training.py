"""How training went: the doctor's verdicts from the curves. Each is a function of the records to a Finding, or None.

Losses are in nats a token. Thresholds are named beside the rule that they belong to; those without a paper were set on recorded
runs (tests/doctor_runs), between the broken one and the worst of the healthy ones.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

from training.diagnosis.curves import at, curve, level, noise, number
from training.diagnosis.finding import Finding, Severity
from training.diagnosis.run_records import RunRecords

Verdict = Callable[[RunRecords], Finding | None]

# The report of a run has called a rise of 2% overfitting from the start; the floor is for losses near zero.
OVERFIT_RISE, OVERFIT_NATS = 0.02, 0.05

STALLED, STALLED_FALL = (
    4,
    0.05,
)  # evaluations without a new best, while the training loss fell by this share, say the same of a smaller rise

TRAIN_FALL = 0.02  # share by which the training loss must have fallen meanwhile: otherwise both go wrong together

BLEU_GAP = 1.0  # points of BLEU between the best checkpoint by loss and the best by BLEU that are worth a word

UNDERFIT_DROP = 0.06  # of the loss at the start, over the last quarter of the steps (healthy runs: 0.005 to 0.05)

FRESH_EPOCHS = 4.0  # up to which a text read again is as good as a new one (Muennighoff et al. 2023, arXiv:2305.16264)

SPIKE = 0.10  # of the loss at the start: a jump of 0.7 to 0.9 nats between neighbouring records, each of several batches

SPIKE_NOISES = 6.0  # and far outside the scatter of the batches

SPIKES = 2  # one that heals is weather

ABOVE_START = 1.10  # a loss this much over the start's is worse than knowing nothing

# Peak rates, for preflight's rules too, which also look at the width. At HIGH no model of ours has learnt; above it a rate is told without
# another sign than that nothing was learnt. Below LOW a slow curve is put down to the rate. Usual peaks: 1e-4 to 5e-3 for AdamW, 0.02 for
# Muon (whose updates have unit spectral norm).
ADAMW_HIGH, MUON_HIGH = 0.02, 0.3

ADAMW_LOW, MUON_LOW = 1e-4, 1e-3

MUON_IDLE = 0.05  # in spectral norm: a tenth of that with which a matrix of our models begins (0.4 to 0.9 for 96 to 512 by as many)

SLOW_PROGRESS = 0.25  # of the loss at the start: to know how frequent each token is takes that much

NO_PROGRESS = 0.02  # the same: with less there is no shape to read

STEADY = 0.35  # share of the progress that came in the second half: a curve that bends has less

STUCK_LEVEL = 0.6  # of the loss at the start: about where token frequencies alone lead (0.65 to 0.8 of ln V in our corpora)

STUCK_DROP = 0.015  # of the loss at the start, over the second half of the steps (a healthy run at that level: 0.03)

NO_WARMUP = 10  # steps; the rate of the first ten is then at most a tenth of the peak a step too high

CLIPPED_SHARE, CLIPPED_RATIO = 0.95, 10.0  # a healthy small model clips every step by 2 to 4 times at max_grad_norm 1

BATCHES = "Popel & Bojar 2018, arXiv:1804.00247"

NOISY, NOISY_NATS = 0.025, 0.05  # scatter of the records as a share of the loss, and at least

PROGRESS_NOISES = 4.0  # progress of the last half, in scatters, below which the noise hides it

FEWEST = 8  # records of the training loss from which a shape can be read


def finding(name: str, severity: Severity, evidence: dict[str, Any], source: str = "") -> Finding:
    """A finding whose words are the doctor's."""
    return Finding(name, severity, evidence, source, "doctor")


def overfitting(r: RunRecords) -> Finding | None:
    """The validation loss turned while the training loss went on falling.

    Turned is (Prechelt 1998): it lies well above its minimum (criterion GL), or it does not get below that for several evaluations while
    the training makes good progress (as criterion PQ, which sets one against the other).
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
    stopped = r.ended == "stopped early"  # what it is for: seen, and the best checkpoint kept
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

    Without validation the training loss tells, but only as long as the text is not read so often that it is being learnt by heart.
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
    """The loss jumps, climbs, or is no longer a number; or nothing was learnt at a rate at which nothing learns."""
    if _no_warmup(r) and _excess(r) < 1:
        return None
    trouble = _jumps(r) or (_still(r, drop=1.0) if _excess(r) >= 1 else None)
    if trouble is None:
        return None
    key, rate = _rate(r)
    lower = rate / 3 if _excess(r) < 1 else 0.1 * rate / _excess(r)  # a third; or a tenth of what nothing learns at
    evidence = trouble | {"key": key, "learning_rate": rate, "lower": float(f"{lower:.1g}")}
    return finding("learning_rate_too_high", "problem", evidence, "Wortsman et al. 2023, arXiv:2309.14322")


def warmup_missing(r: RunRecords) -> Finding | None:
    """Trouble, at a rate that is ordinary, in a run that began at it (deep post-norm models need the warmup most)."""
    trouble = None if not _no_warmup(r) or _excess(r) >= 1 else _jumps(r) or _still(r)
    if trouble is None:
        return None
    key, rate = _rate(r)
    evidence = trouble | {
        "key": key, "learning_rate": rate, "warmup_steps": r.config.optim.warmup_steps, "suggested": max(100, round(0.05 * r.steps, -1)),
    }  # fmt: skip
    return finding("warmup_missing", "problem", evidence, "Xiong et al. 2020, arXiv:2002.04745; Goyal et al. 2017, arXiv:1706.02677")


def warmup_unended(r: RunRecords) -> Finding | None:
    """The rate was still rising when the run reached its horizon; from the config and the last step alone, however few records."""
    warmup = r.config.optim.warmup_steps
    if r.ended not in ("finished", "stopped early") or not 0 < r.steps <= warmup:
        return None
    evidence = {"step": r.steps, "warmup_steps": warmup, "share": round(r.steps / warmup, 3), "suggested": max(1, r.steps // 10)}
    return finding("warmup_unended", "problem", evidence)


def learning_rate_too_low(r: RunRecords) -> Finding | None:
    """Slow, steady progress that never bends, at a small rate (the left end of a range test, Smith 2017)."""
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
    """A Muon rate so low that the hidden matrices are where they began: what was learnt is in the embeddings, which AdamW trains.

    An update has unit spectral norm, so that many steps move a matrix by no more than rate times steps.
    """
    rate, moved = r.config.optim.muon_learning_rate, r.config.optim.muon_learning_rate * r.steps
    if r.config.optim.name != "muon" or rate >= MUON_LOW or not r.steps or moved >= MUON_IDLE:
        return None
    evidence = {"learning_rate": rate, "step": r.steps, "moved": float(f"{moved:.2g}")}
    return finding("muon_idle", "problem", evidence, "Jordan et al. 2024, https://kellerjordan.github.io/posts/muon")


def loss_plateau(r: RunRecords) -> Finding | None:
    """The training loss stands still near where token frequencies alone lead: nothing of the order of words was learnt."""
    still = _still(r)
    if still is None or any(cause(r) for cause in CAUSES):
        return None  # with a cause, that is what is told
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
    """The training loss of the second half, if it ends at a high level and has fallen by no more than `drop` of the start.

    The fall is that of the validation loss where there is one: it has no batch's noise in it.
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
    """Evidence: losses before and at `step` and at the end, beside that of a model that knows nothing."""
    numbers = {"before": before, "after": after, "final": final, "start": r.start}
    return {"sign": sign, "step": step, **{k: round(v, 3) if isinstance(v, float) else v or "?" for k, v in numbers.items()}}


def _rate(r: RunRecords) -> tuple[str, float]:
    """The peak rate that matters and its key: under Muon, that of the two which is further above its usual value."""
    o = r.config.optim
    if o.name == "muon" and o.muon_learning_rate / MUON_HIGH >= o.learning_rate / ADAMW_HIGH:
        return "optim.muon_learning_rate", o.muon_learning_rate
    return "optim.learning_rate", o.learning_rate


def _excess(r: RunRecords) -> float:
    """The peak rate over the one at which nothing learns."""
    key, rate = _rate(r)
    return rate / (MUON_HIGH if key == "optim.muon_learning_rate" else ADAMW_HIGH)


def _no_warmup(r: RunRecords) -> bool:
    return r.config.optim.warmup_steps < NO_WARMUP


# ---- gradients


def gradients_clipped(r: RunRecords) -> Finding | None:
    """Every step is scaled down, and by a lot: max_grad_norm sets the step, not the gradient.

    Adam divides by the gradient's running size, so a constant factor does little; what is lost is that a large gradient counts more
    than a small one, and that `eps` stays small beside them.
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
    """The loss of a few batches scatters so much that what the second half gained is lost in it."""
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

"""Preflight's rules on settings that are known to fail: warmup, learning rate, batch, evaluation, precision, checkpoints."""

from __future__ import annotations

import math

from training.diagnosis.finding import Finding, Severity
from training.diagnosis.verdicts_training import ADAMW_HIGH, BATCHES, MUON_HIGH, MUON_LOW
from training.estimate.facts import Facts

LAYER_NORM = "Xiong et al. 2020, arXiv:2002.04745"

DECOUPLED = "Loshchilov & Hutter 2019, arXiv:1711.05101"

WIDTHS = "Yang et al. 2022, arXiv:2203.03466"

SQUARE_ROOT = "Malladi et al. 2022, arXiv:2205.10287"

# Model types of transformers that normalise after the residual sum, without a switch for it.
POST_NORM = {
    "marian", "bart", "fsmt", "bert", "roberta", "xlm-roberta", "electra", "openai-gpt", "camembert", "xlm", "prophetnet", "led", "plbart",
    "mvp", "blenderbot-small", "bert-generation", "big_bird", "data2vec-text", "ernie", "git", "rembert", "roc_bert", "roformer",
}  # fmt: skip


def warmup_missing(f: Facts) -> Finding | None:
    """A deep model has too little warmup: a post-norm model diverges or stalls without it, others survive at a price."""
    warmup, model = f.config.optim.warmup_steps, str(f.config.model.get("type"))
    tenth = max(1, (f.horizon.get("steps") or 40_000) // 10)  # of a short run no more, or it would be warmup_too_long
    least = min(1000, tenth)
    if model in POST_NORM and f.layers >= 6 and warmup < least:
        severity: Severity = "problem" if warmup < 0.1 * least else "warning"
        evidence = {"model": model, "layers": f.layers, "warmup": warmup, "wanted": min(4000, tenth)}
        return Finding("warmup_short_post_norm", severity, evidence, LAYER_NORM)
    if warmup == 0 and f.layers >= 6:
        return Finding("warmup_missing", "warning", {"layers": f.layers, "wanted": least}, LAYER_NORM)
    return None


def warmup_too_long(f: Facts) -> Finding | None:
    """Warmup takes half of the run or more."""
    steps, warmup = f.horizon.get("steps"), f.config.optim.warmup_steps
    if not steps or warmup < 0.5 * steps:
        return None
    return Finding("warmup_too_long", "problem" if warmup >= steps else "warning", {"warmup": warmup, "steps": steps})


# AdamW's usual peak falls with the width: 6e-4 at 768 (GPT-2, nanoGPT), 7e-4 at 512 (fairseq's base Transformer), 2e-4 at 2048
# (GPT-3 XL), which is about 0.45 over the width. Several times that still works with pre-norm, warmup and clipping (docs/log.md), up to
# the rate at which no model learns (the doctor's ADAMW_HIGH). Adam's rate grows with the square root of the batch (Malladi et al.), but
# these rates differ little for batches from 25,000 to a million tokens, so a batch changes the usual rate at most twofold.
RATE_TIMES_WIDTH, USUAL_TOKENS = 0.45, 32_000


def usual_rate(width: int, tokens: int) -> float:
    """The usual peak rate of AdamW for a width and a number of target tokens a step (0: unknown)."""
    batch = math.sqrt(tokens / USUAL_TOKENS) if tokens else 1.0
    return RATE_TIMES_WIDTH / width * min(2.0, max(0.5, batch))


def learning_rate_odd(f: Facts) -> Finding | None:
    """AdamW's or Muon's rate is far from what models of this width are trained with."""
    o, width, tokens = f.config.optim, f.shape.get("width"), f.data.get("tokens_per_step", 0)
    if o.name == "muon" and not MUON_LOW <= o.muon_learning_rate <= MUON_HIGH:
        evidence = {"rate": o.muon_learning_rate}
        return Finding("muon_rate_high" if o.muon_learning_rate > MUON_HIGH else "muon_rate_low", "warning", evidence)
    if not width:
        return None
    usual = usual_rate(width, tokens)
    evidence = {"rate": o.learning_rate, "usual": usual, "width": width, "tokens": tokens}
    sources = f"{WIDTHS}; {SQUARE_ROOT}"
    if o.learning_rate > min(6 * usual, ADAMW_HIGH):
        return Finding("learning_rate_high", "problem" if o.learning_rate > min(20 * usual, ADAMW_HIGH) else "warning", evidence, sources)
    if o.learning_rate < usual / 30 and o.name == "adamw":
        return Finding("learning_rate_low", "warning", evidence, sources)
    return None


def weight_decay_high(f: Facts) -> Finding | None:
    """Each step takes rate times decay off every weight (decoupled weight decay); from 1 on, that flips the signs."""
    o = f.config.optim
    rate = max(o.learning_rate, o.muon_learning_rate) if o.name == "muon" else o.learning_rate
    share = rate * o.weight_decay
    if share < 0.1:
        return None
    evidence = {"decay": o.weight_decay, "rate": rate, "share": min(share, 1.0), "better": float(f"{0.01 / rate:.1g}")}
    return Finding("weight_decay_high", "problem" if share >= 1 else "warning", evidence, DECOUPLED)


def batch_small(f: Facts) -> Finding | None:
    """A step sees so few tokens that its direction is mostly noise; a corpus of a few batches is exempt."""
    tokens, least = f.data.get("tokens_per_step", 0), f.config.spec.small_batch
    if not tokens or tokens >= least or f.data.get("tokens", 0) < 4 * least:
        return None
    key, _ = f.config.spec.micro_batch(f.config.batch)
    return Finding("batch_small", "warning", {"tokens": tokens, "least": least, "key": key}, BATCHES)


def evaluation_never(f: Facts) -> Finding | None:
    """The only evaluation is at the end, so there is no curve and no best checkpoint."""
    steps, every = f.horizon.get("steps"), f.config.evaluation.every_steps
    if not steps or every < steps:
        return None
    return Finding("evaluation_never", "warning", {"every": every, "steps": steps})


def evaluation_costly(f: Facts) -> Finding | None:
    """Evaluations take more than half as long as training."""
    training, evaluating = f.time.get("training_seconds"), f.time.get("evaluation_seconds")
    if not training or not evaluating or evaluating <= 0.5 * training:
        return None
    every = f.config.evaluation.every_steps
    better = math.ceil(every * 4 * evaluating / training)
    evidence = {"share": evaluating / (evaluating + training), "every": every, "better": better}
    if better > (f.horizon.get("steps") or better) // 2:  # evaluating so seldom would leave no curve
        return Finding("evaluation_costly_short", "problem" if evaluating > training else "warning", evidence)
    return Finding("evaluation_costly", "problem" if evaluating > training else "warning", evidence)


def precision_slower(f: Facts) -> Finding | None:
    """Mixed precision is slower on this device than float32."""
    seconds = f.time.get("step_seconds_by_precision", {})
    chosen = f.config.train.mixed_precision
    if chosen not in seconds or "no" not in seconds or seconds[chosen] <= 1.05 * seconds["no"]:
        return None
    evidence = {"precision": chosen, "milliseconds": 1e3 * seconds[chosen], "plain": 1e3 * seconds["no"]}
    return Finding("precision_slower", "warning", evidence)


def cores_busy(f: Facts) -> Finding | None:
    """There are more threads than free cores, so in each parallel part of a step all threads wait for the last one."""
    t = f.time
    if "busy_cores" not in t or t["threads"] < 2 or t["threads"] - (free := t["cores"] - t["busy_cores"]) < 0.5:
        return None
    evidence = {"busy": t["busy_cores"], "cores": t["cores"], "threads": t["threads"]}
    return Finding("cores_busy", "warning", evidence | {"better": min(t["threads"] - 1, max(1, round(free)))})


# Utilisation below which a GPU is idle, and that of large models. A 52M-parameter Transformer with 16,000 tokens a micro-batch used 2% of
# an H200 (docs/log.md): the card waits for its many small operations to be started.
IDLE, FULL = 0.1, 0.3

LARGE_STEP = 100_000  # target tokens; published recipes for one pair of languages stay below this

STEPS_AN_EPOCH = 100  # a suggested batch leaves at least this many


def gpu_idle(f: Facts) -> Finding | None:
    """Micro-batches are too small to keep a GPU busy, and larger ones would fit."""
    share, step, available = f.time.get("utilisation"), f.data.get("tokens_per_step"), f.memory.get("available_bytes")
    if not f.time.get("gpu") or not share or not step or not available or share >= IDLE:
        return None
    room, accumulation = min(FULL / share, 0.7 * available / f.memory["each_device_bytes"]), f.config.train.gradient_accumulation_steps
    key, value = f.config.spec.micro_batch(f.config.batch)
    if accumulation > 1:  # the same step in fewer parts
        parts = math.ceil(accumulation / max(1.0, room))
        if accumulation < 2 * parts:
            return None
        evidence = {"share": share, "key": key, "better": round(value * accumulation / parts), "accumulation": parts}
        return Finding("gpu_idle_accumulation", "note", evidence)
    room = min(room, LARGE_STEP / step, f.data["tokens"] / STEPS_AN_EPOCH / step)
    if room < 2:
        return None
    times = 2 ** int(math.log2(room))
    return Finding("gpu_idle", "note", {"share": share, "key": key, "times": times, "better": times * value}, SQUARE_ROOT)


def checkpoints_rare(f: Facts) -> Finding | None:
    """Checkpoints are more than an hour apart, so a crash would lose that much."""
    step, every = f.time.get("step_seconds"), f.config.checkpoint.every_steps
    if not step or step * every <= 3600 or (f.time.get("seconds") or 0) <= 3600:
        return None
    return Finding("checkpoints_rare", "warning", {"hours": step * every / 3600, "every": every, "better": max(1, int(1200 / step))})

"""What is wrong with a run before it begins: each rule looks at the config and the numbers of `assess.py`.

A rule is a function from `Facts` to a finding or none. Light: no torch. Thresholds stand beside their rule with the paper
or the reasoning that they are from.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from training import forecast
from training.config import Config
from training.findings import Finding, Severity

CHINCHILLA = "Hoffmann et al. 2022, arXiv:2203.15556"
REPEATED = "Muennighoff et al. 2023, arXiv:2305.16264"
VOCABULARIES = "Gowda & May 2020, arXiv:2004.02334"
CHALLENGES = "Koehn & Knowles 2017, arXiv:1706.03872"
LOW_RESOURCE = "Sennrich & Zhang 2019, arXiv:1905.11901"
LAYER_NORM = "Xiong et al. 2020, arXiv:2002.04745"
WIDTHS = "Yang et al. 2022, arXiv:2203.03466"
BATCHES = "Popel & Bojar 2018, arXiv:1804.00247"

# Models of transformers that normalise after the residual sum, and have no switch for it.
POST_NORM = {"marian", "bart", "fsmt", "bert", "roberta", "xlm-roberta", "electra", "openai-gpt", "camembert", "xlm", "prophetnet"}


@dataclass(frozen=True)
class Facts:
    """A config and its preflight numbers; sections that are not known are empty."""

    config: Config
    parameters: dict[str, Any]
    memory: dict[str, Any]
    vocabulary: dict[str, Any]
    data: dict[str, Any]
    horizon: dict[str, Any]
    time: dict[str, Any]
    forecast: dict[str, Any]

    def model(self, *names: str) -> Any:
        """The first of these keys that the model section has."""
        return next((self.config.model[n] for n in names if n in self.config.model), None)

    @property
    def width(self) -> int | None:
        """The model's width, if the config says it."""
        return self.model("hidden_size", "d_model", "n_embd")

    @property
    def layers(self) -> int:
        """Layers of the deeper side, if the config says it; 0 otherwise."""
        names = ("num_hidden_layers", "n_layer", "num_layers", "encoder_layers", "decoder_layers", "num_decoder_layers")
        return max((int(self.config.model[n]) for n in names if n in self.config.model), default=0)


def judge(facts: Facts) -> list[Finding]:
    """What all rules have to say."""
    return [finding for rule in RULES if (finding := rule(facts)) is not None]


# ---- memory and vocabulary

MANY_ENTRIES = 64_000  # more than any published model for one pair of languages needs
DOMINATES = 0.4  # of the peak


def vocabulary_dominates(f: Facts) -> Finding | None:
    """A vocabulary of words: most entries are seen once, and the memory is theirs."""
    size, share = f.vocabulary.get("size", 0), f.memory.get("vocabulary_share", 0.0)
    if size < MANY_ENTRIES or share < DOMINATES:
        return None
    counted = f.vocabulary.get("frequencies", {}).get("at_least", {})
    better = next((k for k in ("5", "10", "20", "50") if k in counted and counted[k]["size"] < MANY_ENTRIES), "10")
    left = counted.get(better, {"size": 32_000})["size"]
    rest = f.memory["peak_bytes"] - f.memory["vocabulary_bytes"]
    then = f.memory["vocabulary_bytes"] * left / size
    evidence = {
        "size": size, "share": share, "gigabytes": f.memory["vocabulary_bytes"] / 1e9, "peak_gigabytes": f.memory["peak_bytes"] / 1e9,
        "min_frequency": int(better), "size_then": left, "share_then": then / max(1.0, rest + then), "gigabytes_then": then / 1e9,
        "once": f.vocabulary.get("seen_once", 0.0),
    }  # fmt: skip
    return Finding("vocabulary_dominates", "problem", evidence, VOCABULARIES)


def memory_short(f: Facts) -> Finding | None:
    """The peak does not fit into what there is."""
    available, peak = f.memory.get("available_bytes"), f.memory.get("each_device_bytes", 0)
    if not available or peak <= available:
        return None
    largest = f.memory.get("largest_batch")
    key = "batch.micro_batch_size" if f.config.task == "gpt" else "batch.tokens_per_batch"
    evidence = {"gigabytes": peak / 1e9, "available": available / 1e9, "key": key, "largest": largest}
    if largest:
        return Finding("memory_short", "problem", evidence)
    parts = {k: f.memory[k] for k in ("weights", "gradients", "optimizer", "activations", "logits")}
    return Finding("memory_never_fits", "problem", evidence | {"part": max(parts, key=lambda k: parts[k])})


def checkpointing_needless(f: Facts) -> Finding | None:
    """Computing activations again costs a third more time and here buys nothing that is needed."""
    plain = f.memory.get("variants", {}).get("bf16" if f.config.train.mixed_precision in ("bf16", "fp16") else "float32")
    available = f.memory.get("available_bytes")
    if not (f.config.train.gradient_checkpointing and plain and available and plain < 0.5 * available):
        return None
    return Finding("checkpointing_needless", "note", {"gigabytes": plain / 1e9, "available": available / 1e9})


def vocabulary_for_data(f: Facts) -> Finding | None:
    """Far more entries than this many pairs can teach."""
    rows, size = f.data.get("rows", 0), f.vocabulary.get("size", 0)
    if f.config.task != "translation" or not rows or not size or size >= MANY_ENTRIES:
        return None
    wanted = suggested_vocabulary(rows) + f.vocabulary.get("han", 0)
    if size <= 4 * wanted:
        return None
    return Finding("vocabulary_for_data", "warning", {"size": size, "rows": rows, "wanted": round(wanted, -2)}, VOCABULARIES)


def suggested_vocabulary(pairs: int) -> int:
    """Entries of a BPE vocabulary by the number of pairs: 1k for 30k, 8k for 1M, 32k from 4.5M (Gowda & May 2020).

    Between these on a line in both logarithms; Chinese characters come on top.
    """
    points = ((30e3, 1e3), (1e6, 8e3), (4.5e6, 32e3))
    if pairs <= points[0][0]:
        return int(points[0][1])
    for (x0, y0), (x1, y1) in itertools.pairwise(points):
        if pairs <= x1:
            share = math.log(pairs / x0) / math.log(x1 / x0)
            return round(math.exp(math.log(y0) + share * math.log(y1 / y0)))
    return int(points[-1][1])


def english_cut_small(f: Facts) -> Finding | None:
    """Single Chinese characters fill a joint vocabulary, and English is spelt in pieces."""
    columns, size = f.vocabulary.get("columns", {}), f.vocabulary.get("size", 0)
    target = columns.get("target", {})
    if (
        f.config.tokenizer.type != "bpe"
        or not size
        or f.vocabulary.get("han", 0) <= 0.5 * size
        or target.get("tokens_per_character", 0) <= 0.33
    ):
        return None
    evidence = {"han": f.vocabulary["han"], "size": size, "tokens": target["tokens_per_text"]}
    return Finding("english_cut_small", "warning", evidence)


def unknown_tokens(f: Facts) -> Finding | None:
    """Tokens that the vocabulary does not hold; a model writes them as `<unk>`."""
    unknown = f.vocabulary.get("unknown", 0.0)
    if unknown <= 0.001:
        return None
    return Finding("unknown_tokens", "warning", {"share": unknown, "min_frequency": f.config.tokenizer.min_frequency})


def entries_unused(f: Facts) -> Finding | None:
    """A third of the entries were seen at most once: they cost memory and learn nothing."""
    once, size = f.vocabulary.get("seen_once", 0.0), f.vocabulary.get("size", 0)
    if once <= 0.3 or size <= 1000:
        return None
    return Finding("entries_unused", "note", {"share": once, "size": size, "texts": f.vocabulary.get("texts", 0)})


# ---- data against parameters


def overfit_forecast(f: Facts) -> Finding | None:
    """The horizon goes far beyond the step at which the validation loss is expected to turn."""
    steps, turning = f.horizon.get("steps"), f.forecast.get("overfit_step")
    if not turning or not steps or steps < 1.5 * turning:
        return None
    severity: Severity = "problem" if steps > 4 * turning and f.config.train.early_stopping == 0 else "warning"
    evidence = {
        "step": turning, "low": round(turning / forecast.FACTOR), "high": round(turning * forecast.FACTOR), "steps": steps,
        "epoch": f.forecast["overfit_epoch"], "epochs": f.horizon["epochs"], "parameters": f.parameters["total"],
        "tokens": f.data["tokens"],
        "wanted_tokens": forecast.tokens_wanted(f.parameters["total"], steps * f.data["tokens_per_step"]),
    }  # fmt: skip
    evidence["wanted_rows"] = round(evidence["wanted_tokens"] / max(1e-9, f.data["tokens_per_row"]))
    return Finding("overfit_forecast", severity, evidence, forecast.SOURCE)


def too_few_pairs(f: Facts) -> Finding | None:
    """Translation learnt from nothing needs words: few of them in long sentences give a BLEU near zero.

    Koehn & Knowles had BLEU 1.6 from 0.4M English words and 7 from 1.5M (their figure 3, news-like text); Sennrich & Zhang, with
    everything tuned, 8 to 17 from 0.1M to 0.4M. Short, simple sentences (a phrasebook) do with less.
    """
    if f.config.task != "translation" or not f.data.get("rows"):
        return None
    length = f.data["words_per_target"]
    words = f.data["rows"] * length
    if words >= 1.5e6 or length < 12:
        return None
    evidence = {
        "rows": f.data["rows"],
        "words": words,
        "length": length,
        "wanted_rows": round(15e6 / length, -4),
        "some_rows": round(1.5e6 / length, -4),
    }
    return Finding("too_few_pairs", "problem", evidence, f"{CHALLENGES}; {LOW_RESOURCE}")


MANY_EPOCHS = 16  # repeated data is nearly worthless from here on


def many_epochs(f: Facts) -> Finding | None:
    """A large corpus read so often that repeating it teaches little; small ones are overfit_forecast's."""
    epochs = f.horizon.get("epochs") or 0
    if epochs <= MANY_EPOCHS or f.data.get("tokens", 0) < 1e6 or f.forecast.get("overfit_step"):
        return None
    return Finding("many_epochs", "note", {"epochs": epochs, "tokens": f.data["tokens"]}, REPEATED)


SMALL_MODEL = 10_000_000  # parameters; below, nobody counts the cost of computing


def model_large_for_tokens(f: Facts) -> Finding | None:
    """A stream read less than once, by a model that a quarter of its size could equal."""
    tokens, epochs, total = f.horizon.get("tokens"), f.horizon.get("epochs"), f.parameters.get("total", 0)
    if not tokens or total < SMALL_MODEL or (epochs or 0) > 4 or tokens / total >= 5:
        return None
    evidence = {"tokens": tokens, "parameters": total, "ratio": tokens / total, "wanted": round(tokens / 20)}
    return Finding("model_large_for_tokens", "note", evidence, CHINCHILLA)


def sides_swapped(f: Facts) -> Finding | None:
    """Chinese stands where English should, or the other way round."""
    if f.config.task != "translation" or not f.data.get("rows"):
        return None
    swapped, against = f.data.get("swapped_share", 0.0), f.data.get("chinese_targets", 0.0)
    if swapped > 0.02:
        return Finding("sides_mixed", "warning", {"share": swapped})
    names = {**{"source": "chinese", "target": "english"}, **f.config.corpus.columns}
    if against > 0.5 and names["source"] in ("chinese", "zh", "cn") and names["target"] in ("english", "en"):
        return Finding("sides_swapped", "problem", {"share": against, "source": names["source"], "target": names["target"]})
    return None


def rows_lost(f: Facts) -> Finding | None:
    """A fifth of the rows is rejected."""
    share, rejected = f.data.get("rejected_share", 0.0), f.data.get("rejected", {})
    if share <= 0.2:
        return None
    reason = max(rejected, key=lambda k: rejected[k])
    return Finding("rows_lost", "warning", {"share": share, "reason": reason, "count": rejected[reason]})


def pairs_too_long(f: Facts) -> Finding | None:
    """Pairs that `batch` leaves out because a side is too long."""
    share = f.data.get("left_out_share", 0.0)
    if share <= 0.05:
        return None
    b = f.config.batch
    return Finding("pairs_too_long", "warning", {"share": share, "source": b.max_source_length, "target": b.max_target_length})


def nothing_held_out(f: Facts) -> Finding | None:
    """Without validation rows nobody sees overfitting."""
    return Finding("nothing_held_out", "warning") if f.data.get("held_out") == 0 else None


def block_longer_than_text(f: Facts) -> Finding | None:
    """A context that no text ever fills: positions beyond are never trained."""
    block, longest = f.config.batch.block_size, f.data.get("longest_tokens", 0)
    if f.config.task != "gpt" or f.data.get("packed") or not longest or block < 2 * longest:
        return None
    return Finding("block_longer_than_text", "note", {"block": block, "longest": longest})


# ---- settings that are known to fail


def warmup_missing(f: Facts) -> Finding | None:
    """A deep post-norm model diverges or stalls without warmup; others survive, at a price."""
    warmup, model = f.config.optim.warmup_steps, str(f.config.model.get("type"))
    post = model in POST_NORM
    if post and f.layers >= 6 and warmup < 1000:
        severity: Severity = "problem" if warmup < 100 else "warning"
        return Finding("warmup_short_post_norm", severity, {"model": model, "layers": f.layers, "warmup": warmup}, LAYER_NORM)
    if warmup == 0 and f.layers >= 6:
        return Finding("warmup_missing", "warning", {"layers": f.layers}, LAYER_NORM)
    return None


def warmup_too_long(f: Facts) -> Finding | None:
    """Half of the run or more is warmup."""
    steps, warmup = f.horizon.get("steps"), f.config.optim.warmup_steps
    if not steps or warmup < 0.5 * steps:
        return None
    return Finding("warmup_too_long", "problem" if warmup >= steps else "warning", {"warmup": warmup, "steps": steps})


# AdamW's usual peak falls with the width: 6e-4 at 768 (GPT-2, nanoGPT), 7e-4 at 512 (fairseq's base Transformer), 2e-4 at 2048
# (GPT-3 XL): about 0.45 over the width. Several times that still works with pre-norm, warmup and clipping (docs/log.md).
RATE_TIMES_WIDTH = 0.45


def learning_rate_odd(f: Facts) -> Finding | None:
    """AdamW's or Muon's rate is far from what models of this width are trained with."""
    o, width = f.config.optim, f.width
    if o.name == "muon" and not 0.001 <= o.muon_learning_rate <= 0.2:
        evidence = {"rate": o.muon_learning_rate}
        return Finding("muon_rate_high" if o.muon_learning_rate > 0.2 else "muon_rate_low", "warning", evidence)
    if not width:
        return None
    usual = RATE_TIMES_WIDTH / width
    evidence = {"rate": o.learning_rate, "usual": usual, "width": width}
    if o.learning_rate > 6 * usual:
        return Finding("learning_rate_high", "problem" if o.learning_rate > 20 * usual else "warning", evidence, WIDTHS)
    if o.learning_rate < usual / 30 and o.name == "adamw":
        return Finding("learning_rate_low", "warning", evidence, WIDTHS)
    return None


SMALL_BATCH = {"gpt": 256, "translation": 500}  # target tokens a step


def batch_small(f: Facts) -> Finding | None:
    """A step sees so few tokens that its direction is mostly noise; not said of a corpus that is smaller than a batch."""
    tokens, least = f.data.get("tokens_per_step", 0), SMALL_BATCH[f.config.task]
    if not tokens or tokens >= least or f.data.get("tokens", 0) < 4 * least:
        return None
    key = "batch.micro_batch_size" if f.config.task == "gpt" else "batch.tokens_per_batch"
    return Finding("batch_small", "warning", {"tokens": tokens, "least": least, "key": key}, BATCHES)


def evaluation_never(f: Facts) -> Finding | None:
    """One evaluation at the end draws no curve and finds no best checkpoint."""
    steps, every = f.horizon.get("steps"), f.config.evaluation.every_steps
    if not steps or every < steps:
        return None
    return Finding("evaluation_never", "warning", {"every": every, "steps": steps})


def evaluation_costly(f: Facts) -> Finding | None:
    """More time goes into looking than into training."""
    training, evaluating = f.time.get("training_seconds"), f.time.get("evaluation_seconds")
    if not training or not evaluating or evaluating <= 0.5 * training:
        return None
    every = f.config.evaluation.every_steps
    evidence = {"share": evaluating / (evaluating + training), "every": every, "better": math.ceil(every * 4 * evaluating / training)}
    return Finding("evaluation_costly", "problem" if evaluating > training else "warning", evidence)


def precision_slower(f: Facts) -> Finding | None:
    """Mixed precision that this device does slower than float32."""
    seconds = f.time.get("step_seconds_by_precision", {})
    chosen = f.config.train.mixed_precision
    if chosen not in seconds or "no" not in seconds or seconds[chosen] <= 1.05 * seconds["no"]:
        return None
    evidence = {"precision": chosen, "milliseconds": 1e3 * seconds[chosen], "plain": 1e3 * seconds["no"]}
    return Finding("precision_slower", "warning", evidence)


def checkpoints_rare(f: Facts) -> Finding | None:
    """More than an hour would be lost with the machine."""
    step, every = f.time.get("step_seconds"), f.config.checkpoint.every_steps
    if not step or step * every <= 3600 or (f.time.get("seconds") or 0) <= 3600:
        return None
    return Finding("checkpoints_rare", "warning", {"hours": step * every / 3600, "every": every, "better": max(1, int(1200 / step))})


RULES: tuple[Callable[[Facts], Finding | None], ...] = (
    vocabulary_dominates, memory_short, checkpointing_needless, vocabulary_for_data, english_cut_small, unknown_tokens, entries_unused,
    too_few_pairs, overfit_forecast, many_epochs, model_large_for_tokens, sides_swapped, rows_lost, pairs_too_long, nothing_held_out,
    block_longer_than_text, warmup_missing, warmup_too_long, learning_rate_odd, batch_small, evaluation_never, evaluation_costly,
    precision_slower, checkpoints_rare,
)  # fmt: skip

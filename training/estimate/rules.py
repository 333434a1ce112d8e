"""Preflight's judgement of a run before it begins: all rules, in the order in which their findings are shown.

A rule is a function from `Facts` to a finding, or None: rules_memory.py has those on memory and vocabulary, rules_data.py those on the
corpus, rules_settings.py those on settings. Thresholds stand beside their rule, with the paper or the reasoning that they are from.
Light: no torch.
"""

from __future__ import annotations

from training.diagnosis.finding import Finding
from training.estimate.facts import Facts, Rule
from training.estimate.rules_data import (
    block_longer_than_text,
    many_epochs,
    model_large_for_tokens,
    nothing_held_out,
    order_of_file,
    overfit_forecast,
    pairs_too_long,
    rows_lost,
    sides_swapped,
    text_undivided,
    too_few_pairs,
    validation_trained,
)
from training.estimate.rules_memory import (
    checkpointing_needless,
    english_cut_small,
    entries_unused,
    memory_short,
    unknown_tokens,
    vocabulary_dominates,
    vocabulary_for_data,
)
from training.estimate.rules_settings import (
    batch_small,
    checkpoints_rare,
    cores_busy,
    evaluation_costly,
    evaluation_never,
    gpu_idle,
    learning_rate_odd,
    precision_slower,
    warmup_missing,
    warmup_too_long,
    weight_decay_high,
)

RULES: tuple[Rule, ...] = (
    vocabulary_dominates, memory_short, checkpointing_needless, vocabulary_for_data, english_cut_small, unknown_tokens, entries_unused,
    too_few_pairs, overfit_forecast, many_epochs, model_large_for_tokens, sides_swapped, rows_lost, pairs_too_long,
    nothing_held_out, validation_trained, text_undivided, order_of_file, block_longer_than_text, warmup_missing, warmup_too_long,
    learning_rate_odd, weight_decay_high, batch_small, evaluation_never, evaluation_costly, precision_slower, cores_busy, gpu_idle,
    checkpoints_rare,
)  # fmt: skip

# The rules that need nothing but a model.
OF_A_MODEL: tuple[Rule, ...] = (vocabulary_dominates, memory_short)


def judge(facts: Facts, rules: tuple[Rule, ...] | None = None) -> list[Finding]:
    """The findings of these rules, by default of all."""
    return [finding for rule in RULES if rules is None or rule in rules if (finding := rule(facts)) is not None]

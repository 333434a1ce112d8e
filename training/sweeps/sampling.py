"""Translates a sweep's config into Optuna's classes: sampler, pruner, distributions of the knobs, and importance."""

from __future__ import annotations

from typing import Any, Literal

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner
from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from training.sweeps.knob import Knob
from training.sweeps.records import LEAST_WEIGHED
from training.sweeps.space import SweepConfig


def sampler(sweep: SweepConfig, seed: int) -> BaseSampler:
    """The sampler that proposes trials. A grid does not use its proposals, so that any will do."""
    if sweep.search == "tpe":
        return TPESampler(seed=seed, multivariate=True, group=True, constant_liar=True)
    if sweep.search == "nsga2":  # the first population is random, and Optuna's default of 50 is too large for small budgets
        return NSGAIISampler(seed=seed, population_size=max(4, min(50, (sweep.trials or 100) // 5)))
    return RandomSampler(seed=seed)


def pruner(sweep: SweepConfig, every_steps: int) -> BasePruner:
    """The pruner that ends bad trials early; trials are evaluated every `every_steps` steps."""
    if sweep.prune == "hyperband":
        return HyperbandPruner(min_resource=every_steps, reduction_factor=3)
    return MedianPruner(n_startup_trials=5) if sweep.prune == "median" else NopPruner()


def importance(searched: list[FrozenTrial], direction: Literal["minimize", "maximize"]) -> dict[str, float]:
    """How much each knob decides whether a trial is among the best, in shares of 1 (PED-ANOVA, Watanabe et al. 2023).

    Empty if there are too few trials, or if all have the same result.
    """
    done = [t for t in searched if t.state == TrialState.COMPLETE]
    if len(done) < LEAST_WEIGHED or len({t.values[0] for t in done}) == 1:
        return {}
    # A separate study, with the metric as its only aim and without the repeats, which would give the best settings more weight.
    alone = optuna.create_study(direction=direction)
    alone.add_trials([create_trial(params=t.params, distributions=t.distributions, value=t.values[0]) for t in done])
    try:
        shares = optuna.importance.get_param_importances(alone)
    except (ValueError, RuntimeError):  # Optuna cannot rank these numbers
        return {}
    return {k: round(float(v), 4) for k, v in shares.items()}


def suggest(trial: Trial, knob: Knob) -> Any:
    """The knob's value in this trial, chosen by the sampler unless the trial has one already."""
    if knob.values is not None:
        return trial.suggest_categorical(knob.key, knob.values)
    if knob.whole:
        return trial.suggest_int(knob.key, int(knob.low), int(knob.high), step=int(knob.step or 1), log=knob.log)
    return trial.suggest_float(knob.key, knob.low, knob.high, step=knob.step, log=knob.log)


def distribution(knob: Knob) -> BaseDistribution:
    """The knob's distribution in Optuna."""
    if knob.values is not None:
        return CategoricalDistribution(knob.values)
    if knob.whole:
        return IntDistribution(int(knob.low), int(knob.high), log=knob.log, step=int(knob.step or 1))
    return FloatDistribution(knob.low, knob.high, log=knob.log, step=knob.step)

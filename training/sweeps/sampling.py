"""A sweep's words as Optuna has them: how it searches and prunes, what a knob may be, and which knob matters."""

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
    """What proposes the next trial; a grid's points are not proposed, so any will do for it."""
    if sweep.search == "tpe":
        return TPESampler(seed=seed, multivariate=True, group=True, constant_liar=True)
    if sweep.search == "nsga2":  # below one population it draws at random, and Optuna's own is 50
        return NSGAIISampler(seed=seed, population_size=max(4, min(50, (sweep.trials or 100) // 5)))
    return RandomSampler(seed=seed)


def pruner(sweep: SweepConfig, every_steps: int) -> BasePruner:
    """What ends bad trials early; they are evaluated every `every_steps`."""
    if sweep.prune == "hyperband":
        return HyperbandPruner(min_resource=every_steps, reduction_factor=3)
    return MedianPruner(n_startup_trials=5) if sweep.prune == "median" else NopPruner()


def importance(searched: list[FrozenTrial], direction: Literal["minimize", "maximize"]) -> dict[str, float]:
    """How much each knob decides about being among the best (PED-ANOVA, Watanabe et al. 2023): shares of 1; empty for few
    trials, and where all came out alike.
    """
    done = [t for t in searched if t.state == TrialState.COMPLETE]
    if len(done) < LEAST_WEIGHED or len({t.values[0] for t in done}) == 1:
        return {}
    # A study of its own: without the repeats, which would give the best settings more weight, and with the metric as its one aim.
    alone = optuna.create_study(direction=direction)
    alone.add_trials([create_trial(params=t.params, distributions=t.distributions, value=t.values[0]) for t in done])
    try:
        found = optuna.importance.get_param_importances(alone)
    except (ValueError, RuntimeError):  # numbers that it cannot rank
        return {}
    return {k: round(float(v), 4) for k, v in found.items()}


def suggest(trial: Trial, knob: Knob) -> Any:
    """The knob's value in this trial: chosen by the sampler, or what it has already."""
    if knob.values is not None:
        return trial.suggest_categorical(knob.key, knob.values)
    if knob.whole:
        return trial.suggest_int(knob.key, int(knob.low), int(knob.high), step=int(knob.step or 1), log=knob.log)
    return trial.suggest_float(knob.key, knob.low, knob.high, step=knob.step, log=knob.log)


def distribution(knob: Knob) -> BaseDistribution:
    """As Optuna has it."""
    if knob.values is not None:
        return CategoricalDistribution(knob.values)
    if knob.whole:
        return IntDistribution(int(knob.low), int(knob.high), log=knob.log, step=int(knob.step or 1))
    return FloatDistribution(knob.low, knob.high, log=knob.log, step=knob.step)

"""Where a run will turn, and how low its loss may come: rules fitted on measured runs, each an extrapolation.

Light: no torch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from training.settings.config import Config, source_list

# The step at which the validation loss turns, fitted by eye to this project's own runs (docs/log.md, "Where overfitting begins"):
# some steps that every training needs, then some passes over the corpus. Muon is quicker. Up to one token for a hundred
# parameters it is four passes; with more tokens learning by heart takes longer, as the square root.
FIRST_STEPS = {"adamw": 100, "muon": 50}

PASSES, RATIO = 4.0, 0.01

FACTOR = 2.0  # either way; what the rule has been seen to miss by

SOURCE = "docs/log.md"

NEVER = 1.0  # tokens for each parameter from which on the rule says nothing


def may_turn(config: Config) -> bool:
    """Whether the validation loss can rise at all: not where it is that of the training text, which is to be learnt by heart."""
    return source_list(config.corpus.validation) != source_list(config.corpus.train)


def overfit_step(optimizer: str, parameters: int, tokens: int, steps_per_epoch: int) -> int | None:
    """The step at which the validation loss is expected to turn; None if it will not for long.

    Args:
        parameters: of the model.
        tokens: target tokens of the corpus.
    """
    ratio = tokens / max(1, parameters)
    if ratio >= NEVER:
        return None
    return round(FIRST_STEPS[optimizer] + PASSES * math.sqrt(max(1.0, ratio / RATIO)) * steps_per_epoch)


def tokens_wanted(parameters: int, seen: int) -> int:
    """Target tokens that a corpus needs so that a run that sees so many ends about where its loss would turn.

    Solves seen / tokens = PASSES * sqrt(max(1, tokens / parameters / RATIO)) for tokens, but never asks for more than with which the
    rule says nothing.
    """
    few, many = seen / PASSES, (seen * math.sqrt(RATIO * parameters) / PASSES) ** (2 / 3)
    return round(min(few, many, NEVER * parameters))


@dataclass(frozen=True)
class Fit:
    """loss = exp(constant) * parameters ** -of_size * tokens ** -of_tokens, with what its prediction is worth.

    Attributes:
        residual: standard deviation of log(loss) around the fit.
        inverse: (3, 3), of the normal equations: how far away a prediction is from what was seen.
        without: the same law, each fitted without one of the sizes. The residuals within one run lean the same way, so they alone
            would make the error far too small; how much hangs on a single size does not.
    """

    constant: float
    of_size: float
    of_tokens: float
    residual: float
    inverse: np.ndarray
    without: tuple[np.ndarray, ...]

    def at(self, parameters: float, tokens: float) -> tuple[float, float]:
        """The loss expected there, and its error, both in nats: the standard error or, if more, what leaving out a size changes."""
        x = np.array([1.0, math.log(parameters), math.log(tokens)])
        loss = math.exp(float(x @ np.array([self.constant, -self.of_size, -self.of_tokens])))
        scatter = loss * self.residual * math.sqrt(1 + float(x @ self.inverse @ x))
        return loss, max(scatter, *(abs(math.exp(float(x @ law)) - loss) for law in self.without))


def fit(points: Sequence[tuple[float, float, float]]) -> Fit:
    """A product of two power laws, in size and in tokens, through (parameters, tokens, loss).

    The simplest surface that three sizes can bear, by least squares in the logarithms. It is not the law of Kaplan et al. 2020, whose
    two terms add up, and it has no floor, so it is too hopeful far beyond the points.

    Raises:
        ValueError: for fewer than three sizes, or too few points to tell an error.
    """
    if len({p for p, _, _ in points}) < 3 or len(points) < 5:
        raise ValueError(
            f"a scaling fit needs at least three sizes and five points, not {len({p for p, _, _ in points})} and {len(points)}"
        )
    x = np.array([[1.0, math.log(p), math.log(t)] for p, t, _ in points])
    y = np.log([loss for _, _, loss in points])
    sizes = np.array([p for p, _, _ in points])
    inverse = np.linalg.pinv(x.T @ x)
    found = inverse @ x.T @ y
    without = tuple(np.linalg.lstsq(x[sizes != p], y[sizes != p])[0] for p in np.unique(sizes))
    residual = math.sqrt(float(((y - x @ found) ** 2).sum()) / (len(points) - 3))
    return Fit(float(found[0]), -float(found[1]), -float(found[2]), residual, inverse, without)

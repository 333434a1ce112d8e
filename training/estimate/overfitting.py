"""Where the validation loss of a run will turn, and how low it may come: rules fitted on measured runs, each an extrapolation.

Light: no torch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from training.settings.config import Config, source_list

# The step at which the validation loss turns, fitted by eye to this project's own runs (docs/log.md, "Where overfitting begins"):
# a number of steps that every training needs, then passes over the corpus. Muon is quicker. With up to one token for a hundred
# parameters, four passes; with more tokens the passes grow with the square root of tokens a parameter.
FIRST_STEPS = {"adamw": 100, "muon": 50}

PASSES, RATIO = 4.0, 0.01

FACTOR = 2.0  # by which the rule has been seen to miss, either way

SOURCE = "docs/log.md"

NEVER = 1.0  # tokens a parameter; with more the rule says nothing


def may_turn(config: Config) -> bool:
    """Whether the validation loss can rise at all; it cannot where the validation set is the training text."""
    return source_list(config.corpus.validation) != source_list(config.corpus.train)


def overfit_step(optimizer: str, parameters: int, tokens: int, steps_per_epoch: int) -> int | None:
    """The step at which the validation loss is expected to turn; None if it is far away.

    Args:
        parameters: number of parameters of the model.
        tokens: number of target tokens in the corpus.
    """
    ratio = tokens / max(1, parameters)
    if ratio >= NEVER:
        return None
    return round(FIRST_STEPS[optimizer] + PASSES * math.sqrt(max(1.0, ratio / RATIO)) * steps_per_epoch)


def tokens_wanted(parameters: int, seen: int) -> int:
    """Target tokens that a corpus needs for a run that sees `seen` tokens to end about where its loss would turn.

    Solves seen / tokens = PASSES * sqrt(max(1, tokens / parameters / RATIO)) for tokens, but never returns more than NEVER a parameter.
    """
    few, many = seen / PASSES, (seen * math.sqrt(RATIO * parameters) / PASSES) ** (2 / 3)
    return round(min(few, many, NEVER * parameters))


@dataclass(frozen=True)
class Fit:
    """loss = exp(constant) * parameters ** -of_size * tokens ** -of_tokens, with what the error of a prediction is made from.

    Attributes:
        residual: standard deviation of log(loss) around the fit.
        inverse: (3, 3), inverse of the matrix of the normal equations; it makes the error grow away from the points.
        without: coefficients (3,) of the same law, fitted without one of the sizes each. The residuals of one run lean the same way, so the
            standard error alone would be far too small.
    """

    constant: float
    of_size: float
    of_tokens: float
    residual: float
    inverse: np.ndarray
    without: tuple[np.ndarray, ...]

    def at(self, parameters: float, tokens: float) -> tuple[float, float]:
        """The expected loss and its error in nats: the standard error, or what leaving out one size changes, if that is more."""
        x = np.array([1.0, math.log(parameters), math.log(tokens)])
        loss = math.exp(float(x @ np.array([self.constant, -self.of_size, -self.of_tokens])))
        scatter = loss * self.residual * math.sqrt(1 + float(x @ self.inverse @ x))
        return loss, max(scatter, *(abs(math.exp(float(x @ law)) - loss) for law in self.without))


def fit(points: Sequence[tuple[float, float, float]]) -> Fit:
    """Fit a product of two power laws, in size and in tokens, to points (parameters, tokens, loss).

    Least squares in the logarithms: the simplest law that three sizes determine. Unlike that of Kaplan et al. 2020 its terms do not add up,
    and it has no floor, so it is too optimistic far beyond the points.

    Raises:
        ValueError: if there are fewer than three sizes or five points.
    """
    if len({p for p, _, _ in points}) < 3 or len(points) < 5:
        raise ValueError(
            f"a scaling fit needs at least three sizes and five points, not {len({p for p, _, _ in points})} and {len(points)}"
        )
    x = np.array([[1.0, math.log(p), math.log(t)] for p, t, _ in points])
    y = np.log([loss for _, _, loss in points])
    sizes = np.array([p for p, _, _ in points])
    inverse = np.linalg.pinv(x.T @ x)
    coefficients = inverse @ x.T @ y
    without = tuple(np.linalg.lstsq(x[sizes != p], y[sizes != p])[0] for p in np.unique(sizes))
    residual = math.sqrt(float(((y - x @ coefficients) ** 2).sum()) / (len(points) - 3))
    return Fit(float(coefficients[0]), -float(coefficients[1]), -float(coefficients[2]), residual, inverse, without)

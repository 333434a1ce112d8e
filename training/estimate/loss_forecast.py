"""A forecast of the loss from short runs of smaller models: `training/preflight.py --forecast true`.

The config's model is made narrower (fewer heads of the same size) and trained for some steps at a constant rate. A power law is fitted
to the validation losses of all sizes and steps, and extrapolated to the full model and horizon.
"""

from __future__ import annotations

import io
import math
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from training.base.console import Progress
from training.base.errors import ConfigError, Stopped, Train
from training.base.words import phrases, spoken
from training.estimate.overfitting import fit, may_turn, overfit_step
from training.settings.config import Config, EvaluationConfig, LogConfig

WIDTHS = ("hidden_size", "d_model", "n_embd", "intermediate_size", "encoder_ffn_dim", "decoder_ffn_dim", "d_ff", "n_inner")

HEADS = ("num_attention_heads", "num_key_value_heads", "encoder_attention_heads", "decoder_attention_heads", "n_head", "num_heads")

SHARES = (0.25, 0.5, 0.75)  # the small models' widths as shares of the model's

STEPS, LOOKS = 240, 6  # steps of each small run, and how often its loss is measured; the first measurement, during warmup, does not count


def narrower(model: dict[str, Any], share: float) -> dict[str, Any]:
    """A model section with this share of the width and heads of the same size.

    Raises:
        ConfigError: if the section does not give the number of heads, or it is not a multiple of four.
    """
    heads = [model[k] for k in HEADS if k in model]
    if not heads or min(heads) < 4 or any(int(h * share) != h * share for h in heads):
        raise ConfigError("model: the number of attention heads must be given, a multiple of four, so that narrower ones can be made")
    return {k: int(v * share) if k in WIDTHS + HEADS and isinstance(v, int) else v for k, v in model.items()}


def loss_at_the_end(config: Config, estimate: dict[str, Any], train: Train) -> dict[str, Any]:
    """The section `forecast`, with the loss at the horizon, its error, and the small runs that it is from.

    The law counts text that is read again as new. So it is followed only to the step at which the loss is expected to turn (`loss_step`),
    and the small runs' losses are used only up to their own turn.

    Raises:
        ConfigError: if there is no horizon in steps or no validation set, the model cannot be made narrower, or a small run fails.
    """
    per_step, per_epoch = estimate["data"]["tokens_per_step"], estimate["horizon"]["steps_per_epoch"]
    if not estimate["horizon"]["tokens"] or not estimate["data"]["held_out"]:
        raise ConfigError("it needs a horizon in steps or tokens and held-out rows")
    steps = min(STEPS, estimate["horizon"]["steps"])
    if steps < LOOKS:
        raise ConfigError(f"it needs a horizon of at least {LOOKS} steps, to measure the small runs' loss so often; it has {steps}")
    points, runs = [], list[dict[str, Any]]()
    every = steps // LOOKS
    language = spoken(config.log.language)
    left = phrases("training", language)["left"]
    bar = Progress(phrases("page", language)["at_forecast"], float(len(SHARES)), delay=0, left=left)
    for share in SHARES:
        with TemporaryDirectory(prefix="forecast-") as folder:
            small = replace(
                config, run_dir=str(Path(folder) / "run"), resume=False, model=narrower(config.model, share),
                optim=replace(config.optim, schedule="constant", warmup_steps=min(config.optim.warmup_steps, every)),
                train=replace(config.train, max_steps=steps, max_tokens=None, max_minutes=None, averaging="none", early_stopping=0),
                evaluation=EvaluationConfig(
                    every_steps=every, max_rows=config.evaluation.max_rows, generate_rows=0, samples=1, max_new_tokens=2
                ),
                checkpoint=replace(config.checkpoint, every_steps=10 * steps), log=LogConfig(preflight=False, language=language),
            )  # fmt: skip
            evaluations: list[dict[str, Any]] = []

            def on_evaluation(record: dict[str, Any]) -> None:
                evaluations.append(record)  # noqa: B023
                bar.to(len(runs) + record["step"] / steps)

            try:
                with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):  # the small runs' reports are not part of the answer
                    result = train(small, on_evaluation)
            except Stopped as error:
                raise ConfigError(f"a model of {share:.0%} of the width could not be trained: {error}") from None
            if result.ended == "interrupted" or result.signal:
                raise KeyboardInterrupt
            size = result.parameters
            runs.append({"share": share, "parameters": size, "losses": [(r["step"], round(r["val_loss"], 4)) for r in evaluations]})
            turning = math.inf
            if may_turn(config):
                turning = overfit_step(config.optim.name, size, estimate["data"]["tokens"], per_epoch) or math.inf
            points += [(size, r["step"] * per_step, r["val_loss"]) for r in evaluations if every < r["step"] <= turning]
    bar.close()
    try:
        law = fit(points)
    except ValueError as error:
        raise ConfigError(f"the corpus is so small that the small runs overfit at once: {error}") from None
    last = min(estimate["horizon"]["steps"], estimate["forecast"]["overfit_step"] or math.inf)
    loss, error_bar = law.at(estimate["parameters"]["total"], last * per_step)
    return {
        **estimate["forecast"], "val_loss": round(loss, 4), "val_loss_error": round(error_bar, 4), "loss_step": last,
        "of_size": round(law.of_size, 4), "of_tokens": round(law.of_tokens, 4), "runs": runs, "extrapolation": True,
    }  # fmt: skip

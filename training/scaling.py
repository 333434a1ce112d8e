"""A forecast of the loss from short runs of smaller models: `training/preflight.py --forecast true`.

The config's model is made narrower (fewer heads of the same size), trained for some steps at a constant rate, and a power
law through the validation losses of all sizes and steps is followed to the full model and horizon. An extrapolation.
"""

from __future__ import annotations

import json
import sys
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from training import forecast
from training.config import Config, ConfigError, EvaluationConfig, LogConfig
from training.train import train

WIDTHS = ("hidden_size", "d_model", "n_embd", "intermediate_size", "encoder_ffn_dim", "decoder_ffn_dim", "d_ff", "n_inner")
HEADS = ("num_attention_heads", "num_key_value_heads", "encoder_attention_heads", "decoder_attention_heads", "n_head", "num_heads")
SHARES = (0.25, 0.5, 0.75)  # of the model's width
STEPS, LOOKS = 240, 6  # of each small run, and how often its loss is measured; the first looks, in the warmup, do not count


def narrower(model: dict[str, Any], share: float) -> dict[str, Any]:
    """A model section with that share of the width, its heads of the same size.

    Raises:
        ConfigError: if the config does not say its heads, or has too few to leave some out.
    """
    heads = [model[k] for k in HEADS if k in model]
    if not heads or min(heads) < 4 or any(int(h * share) != h * share for h in heads):
        raise ConfigError(
            "--forecast: model: the number of attention heads must be given, a multiple of four, so that narrower ones can be made"
        )
    return {k: int(v * share) if k in WIDTHS + HEADS and isinstance(v, int) else v for k, v in model.items()}


def loss_at_the_end(config: Config, found: dict[str, Any]) -> dict[str, Any]:
    """The section `forecast`, with the loss at the horizon, its standard error, and the runs that it is from.

    Raises:
        ConfigError: if there is no horizon in steps or no validation set, or the model cannot be made narrower.
    """
    horizon, steps = found["horizon"], min(STEPS, found["horizon"]["steps"] or STEPS)
    if not horizon["tokens"] or not found["data"]["held_out"]:
        raise ConfigError("--forecast: needs a horizon in steps or tokens and held-out rows")
    points, runs = [], []
    every = max(1, steps // LOOKS)
    for share in SHARES:
        with TemporaryDirectory(prefix="forecast-") as folder:
            small = replace(
                config, run_dir=str(Path(folder) / "run"), resume=False, model=narrower(config.model, share),
                optim=replace(config.optim, schedule="constant", warmup_steps=min(config.optim.warmup_steps, every)),
                train=replace(config.train, max_steps=steps, max_tokens=None, max_minutes=None, averaging="none", early_stopping=0),
                evaluation=EvaluationConfig(
                    every_steps=every, max_rows=config.evaluation.max_rows, generate_rows=0, samples=1, max_new_tokens=2
                ),
                checkpoint=replace(config.checkpoint, every_steps=10 * steps), log=LogConfig(preflight=False),
            )  # fmt: skip
            seen: list[dict[str, Any]] = []
            with redirect_stdout(sys.stderr):  # where their reports are progress, not the answer
                result = train(small, lambda record: seen.append(record))  # noqa: B023
            size = _parameters(result.model_dir)
            runs.append({"share": share, "parameters": size, "losses": [(r["step"], round(r["val_loss"], 4)) for r in seen]})
            points += [(size, r["step"] * found["data"]["tokens_per_step"], r["val_loss"]) for r in seen if r["step"] > every]
    law = forecast.fit(points)
    loss, error = law.at(found["parameters"]["total"], horizon["tokens"])
    return {
        **found["forecast"], "val_loss": round(loss, 4), "val_loss_error": round(error, 4), "of_size": round(law.of_size, 4),
        "of_tokens": round(law.of_tokens, 4), "runs": runs, "extrapolation": True,
    }  # fmt: skip


def _parameters(folder: Path | None) -> int:
    """Of the model in a checkpoint."""
    assert folder is not None, "a run of some steps leaves a checkpoint"
    return int(json.loads((folder / "meta.json").read_text(encoding="utf-8"))["parameters"])

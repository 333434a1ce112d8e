"""report.md: the numbers in it, from records that are written here."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from doctor_recordings import config_of

from training import report


def lines(folder: Path, losses: list[float], forecast: int) -> list[str]:
    """The report of a run with these validation losses, 20 steps apart, of which a turning was forecast."""
    records = [
        {"event": "evaluate", "step": 20 * k, "seconds": 1.0, "val_loss": v, "perplexity": 10 * v, "bits_per_character": v / 2}
        for k, v in enumerate(losses, 1)
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records), encoding="utf-8")
    (folder / "preflight.json").write_text(json.dumps({"forecast": {"overfit_step": forecast}}), encoding="utf-8")
    config = replace(config_of("healthy_phrasebook"), log=replace(config_of("healthy_phrasebook").log, language="en"))
    report.report(folder, config, 1000, "a", "b", "Finished.")
    return (folder / "report.md").read_text(encoding="utf-8").splitlines()


BEST = "- best validation loss 3.0000 (perplexity 30.00, 1.500 bits per character) at step {}; that checkpoint is `best`"
TURNED = "- predicted: best validation loss about step {}, was {}"


@pytest.mark.parametrize(
    ("losses", "best", "forecast", "turned"),
    [
        ([4.0, 3.0, 3.5], 40, 50, True),  # earlier than it was to
        ([4.0, 3.0, 3.5], 40, 30, True),
        ([4.0, 3.5, 3.0], 60, 80, False),  # it may still do as foretold
        ([4.0, 3.5, 3.0], 60, 50, True),
    ],
)
def test_the_best_step_is_told_and_beside_the_forecast_once_the_loss_has_turned(
    losses: list[float], best: int, forecast: int, turned: bool, tmp_path: Path
) -> None:
    told = lines(tmp_path, losses, forecast)
    assert BEST.format(best) in told
    assert [line for line in told if line.startswith("- predicted")] == ([TURNED.format(forecast, best)] if turned else [])

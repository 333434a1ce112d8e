"""Runs that several test files look at."""

from __future__ import annotations

import pytest
from training_runs import TrainResult, gpt_config, run_here


@pytest.fixture(scope="session")
def plain(tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    """One gpt run to the end, with TensorBoard."""
    folder = tmp_path_factory.mktemp("plain")
    return run_here(gpt_config(folder), "--log.log_with", "tensorboard")

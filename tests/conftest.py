"""Runs and tokenizers that several test files look at."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from training_runs import TrainResult, gpt_config, run_here

from training.model.tokenizer import train_tokenizer
from training.settings.config import TokenizerConfig

LONGEST = ("sweep", "distributed", "preflight", "train", "resume", "page", "app")  # files that take longest, by name


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, so that two workers end together."""
    order = {f"test_{name}": k for k, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.stem, len(order)))


def pytest_collection_finish() -> None:
    """What the imports left behind is never looked through again: every run ends in a `gc.collect` (Accelerate's)."""
    gc.freeze()


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Models this small are slower on two threads, and much slower on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], str]:
    """A text as a config file; its path."""

    def write(text: str) -> str:
        path = tmp_path / "run.yaml"
        path.write_text(text, encoding="utf-8")
        return str(path)

    return write


@pytest.fixture(scope="session")
def plain(tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    """One gpt run to the end, with TensorBoard."""
    folder = tmp_path_factory.mktemp("plain")
    return run_here(gpt_config(folder), "--log.log_with", "tensorboard")


@pytest.fixture(scope="session")
def vocabularies() -> dict[str, Any]:
    """A tokenizer of each task."""
    texts = ["一只鸟从窗前飞过。", "a bird flew past the window ."] * 4
    return {
        task: train_tokenizer(TokenizerConfig(type="bpe", vocab_size=320, min_frequency=1), texts, task) for task in ("gpt", "translation")
    }

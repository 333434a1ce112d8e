"""The models in memory: each is loaded at first use, the most recent ones are kept, and each computes one request at a time."""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from transformers import PreTrainedTokenizerBase

from inference.ctranslate2_backend import CTranslate2Backend, usable
from inference.folders import ModelError, ModelInfo
from inference.torch_backend import Sampling, TorchBackend, WeightsError
from inference.words import MESSAGES, both
from training.base.pretrained import read_tokenizer

KEEP = 3  # models held in memory

log = logging.getLogger(__name__)


class Backend(Protocol):
    """A way of computing a model: token ids in, token ids out. torch_backend.py documents the methods."""

    config: Any
    eos_ids: frozenset[int]
    vocabulary: int

    def generate(
        self,
        prompt_ids: Sequence[int],
        sampling: Sampling,
        put: Callable[[int], None],
        stopped: Callable[[], bool],
    ) -> None: ...

    def translate(self, sources: Sequence[Sequence[int]], num_beams: int, max_new_tokens: int) -> list[list[int]]: ...


@dataclass
class Loaded:
    """A model in memory with its tokenizer."""

    tokenizer: PreTrainedTokenizerBase
    backend: Backend


class Slot:
    """A place for one model. Only the holder of the lock may load it or compute with it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.loaded: Loaded | None = None


class Shelf:
    """The most recently used models, at most `keep` of them."""

    def __init__(self, keep: int = KEEP) -> None:
        self._keep = keep
        self._slots: OrderedDict[tuple[Path, int], Slot] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, info: ModelInfo) -> tuple[Slot, Loaded, float]:
        """The model's slot, the model, and the seconds that loading took (0 if it was in memory).

        Raises ModelError when the folder cannot be loaded; the next request tries again.
        """
        key = (info.path.resolve(), info.stamp)
        with self._lock:
            slot = self._slots.setdefault(key, Slot())
            self._slots.move_to_end(key)
            while len(self._slots) > self._keep:  # a running request keeps its own model alive until it ends
                self._slots.popitem(last=False)
        with slot.lock:
            if slot.loaded is not None:
                return slot, slot.loaded, 0.0
            started = time.perf_counter()
            try:
                slot.loaded = _load(info)
            except BaseException:
                with self._lock:
                    self._slots.pop(key, None)
                raise
            return slot, slot.loaded, time.perf_counter() - started


def _load(info: ModelInfo) -> Loaded:
    """Load a folder. Raises ModelError with the reason when it cannot be served."""
    try:
        tokenizer = read_tokenizer(info.path)
        backend = _backend(info, tokenizer)
        largest = max(tokenizer.get_vocab().values())
    except Exception as error:
        log.exception("could not load %s", info.path)
        raise _broken(info, "reason_weights" if isinstance(error, WeightsError) else "reason_unreadable") from error
    if largest >= backend.vocabulary:
        raise _broken(info, "reason_tokenizer")
    return Loaded(tokenizer, backend)


def _backend(info: ModelInfo, tokenizer: PreTrainedTokenizerBase) -> Backend:
    """The int8 copy on a CPU if there is one, else the weights in torch, also if the copy cannot be loaded."""
    if info.task == "translation" and not torch.cuda.is_available() and usable(info.path):
        try:
            return CTranslate2Backend(info, tokenizer)
        except Exception:
            log.exception("the int8 copy of %s cannot be used; its weights are", info.path)
    return TorchBackend(info)


def _broken(info: ModelInfo, reason: str) -> ModelError:
    return ModelError(both("broken_model", name=info.name, reason=MESSAGES[reason]))

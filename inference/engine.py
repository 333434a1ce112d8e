"""Serve the models on this machine, for the page and for other programs: `generate` and `translate`.

    from inference.engine import Engine
    for so_far in Engine().generate("飞鸟", seed=1):
        print(so_far.text)

folders.py finds the models; shelf.py loads them at first use and keeps them. A model computes one request at a
time. Every error that a visitor can cause is a ModelError with a plain sentence.
"""

from __future__ import annotations

import contextlib
import logging
import math
import queue
import secrets
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from inference import text
from inference.folders import ModelError, ModelInfo, Task, find_models
from inference.shelf import KEEP, Shelf
from inference.text import Note
from inference.torch_backend import Sampling
from inference.words import both
from training.base.characters import HAN

__all__ = ["Continuation", "Engine", "ModelError", "ModelInfo", "Note", "TranslatedLines", "find_models"]

MAX_NEW_TOKENS = 1024

MAX_LINES, MAX_LINE_CHARS, MAX_BEAMS = 64, 1000, 8

UPDATE_SECONDS = 0.04  # between two updates of a stream; more frequent ones would only load the network

Ending = Literal["", "end", "length", "visitor"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Continuation:
    """The state of a text that is being continued. Only the last state of a stream has an `ending`."""

    text: str  # the prompt and the text generated so far
    tokens: int  # generated so far, without the end token
    seconds: float  # of computation, without loading and waiting
    load_seconds: float  # 0 when the model was already in memory
    seed: int | None  # None when decoding was greedy
    ending: Ending
    notes: tuple[Note, ...]


@dataclass(frozen=True)
class TranslatedLines:
    """The result of `Engine.translate`."""

    lines: list[str]  # one per source line, blank where the source is blank
    seconds: float
    load_seconds: float
    notes: tuple[Note, ...]


class Engine:
    """The models under some folders, loaded when they are needed. Safe to use from several threads."""

    def __init__(self, roots: Iterable[str | Path] | None = None, keep: int = KEEP) -> None:
        """Look for models under `roots` (None: `folders.default_roots`) and keep at most `keep` of them in memory."""
        self._roots = None if roots is None else [Path(root) for root in roots]
        self._shelf = Shelf(keep)

    def models(self, task: Task) -> list[ModelInfo]:
        """The models of a task that are on disk now. Models with incomplete weights come last, so that none of them is the default."""
        models = [info for info in find_models(self._roots) if info.task == task]
        return sorted(models, key=lambda info: info.parameters is None)

    def find(self, task: Task, name: str | None) -> ModelInfo:
        """The model called `name`, or the first one if `name` is empty. Raises ModelError if there is none."""
        models = self.models(task)
        if not models:
            raise ModelError(both(f"no_model_{task}"))
        model = next((info for info in models if info.name == name), None) if name else models[0]
        if model is None:
            raise ModelError(both("unknown_model", names=", ".join(info.name for info in models[:20])))
        return model

    def generate(
        self,
        prompt: str = "",
        model: str | None = None,
        temperature: float = 0.8,
        top_k: int = 50,
        top_p: float = 1.0,
        repetition_penalty: float = 1.0,
        max_new_tokens: int = 200,
        seed: int = -1,
        stop: threading.Event | None = None,
    ) -> Iterator[Continuation]:
        """Continue `prompt`, yielding the text so far several times a second.

        Temperature 0 is greedy. Seed -1 draws a new seed; any other seed repeats its result exactly. Setting
        `stop` or closing the iterator ends the computation within one token. Raises ModelError; for invalid
        arguments it does so before anything is computed.
        """
        prompt = _clean("prompt", prompt)
        sampling = Sampling(
            temperature=_between("temperature", temperature, 0, 5),
            top_k=_whole("top_k", top_k, 0, 1_000_000),
            top_p=_between("top_p", top_p, 0.01, 1),
            repetition_penalty=_between("repetition_penalty", repetition_penalty, 0.5, 5),
            max_new_tokens=_whole("max_new_tokens", max_new_tokens, 1, MAX_NEW_TOKENS),
            seed=_whole("seed", seed, -1, 2**53),  # the largest integer that a browser's number holds exactly
        )
        if sampling.temperature < 1e-3:  # dividing by it would overflow
            sampling = replace(sampling, temperature=0.0)
        if sampling.seed < 0:
            sampling = replace(sampling, seed=secrets.randbelow(2**31))
        return self._stream(self.find("gpt", model), prompt, sampling, stop or threading.Event())

    def _stream(self, info: ModelInfo, prompt: str, sampling: Sampling, stop: threading.Event) -> Iterator[Continuation]:
        slot, loaded, load_seconds = self._shelf.take(info)
        try:
            encoded = text.encode_prompt(loaded.tokenizer, loaded.backend.config, prompt, sampling.max_new_tokens)
        except Exception as error:
            raise _failed(info, error) from error
        sampling = replace(sampling, max_new_tokens=encoded.max_new_tokens)
        tokens: queue.SimpleQueue[int | BaseException | None] = queue.SimpleQueue()  # None marks the end
        started: list[float] = []

        def work() -> None:
            # This runs in its own thread, so that a slow or vanished reader never holds the model's lock.
            try:
                while not slot.lock.acquire(timeout=0.1):
                    if stop.is_set():
                        return
                try:
                    started.append(time.perf_counter())
                    loaded.backend.generate(encoded.ids, sampling, tokens.put, stop.is_set)
                finally:
                    slot.lock.release()
            except BaseException as error:
                tokens.put(error)
            finally:
                tokens.put(None)

        decoder = text.StreamDecoder(loaded.tokenizer, encoded)
        count, seconds = 0, 0.0
        ending: Ending = ""
        threading.Thread(target=work, name="generate", daemon=True).start()
        try:
            while True:
                done = False
                for item in _ready(tokens):
                    if item is None:
                        done = True
                    elif isinstance(item, BaseException):
                        raise _failed(info, item) from item
                    elif item in loaded.backend.eos_ids:
                        ending = "end"
                    else:
                        decoder.add(item)
                        count += 1
                if started:
                    seconds = time.perf_counter() - started[0]
                if done and not ending:
                    ending = "length" if count >= sampling.max_new_tokens else "visitor"
                yield Continuation(
                    text=decoder.text(final=done),
                    tokens=count,
                    seconds=seconds,
                    load_seconds=load_seconds,
                    seed=sampling.seed if sampling.temperature > 0 else None,
                    ending=ending if done else "",
                    # The shortened limit matters only if the text reached it.
                    notes=tuple(note for note in encoded.notes if note.key != "length_cut" or ending == "length"),
                )
                if done:
                    return
                stop.wait(UPDATE_SECONDS)
        finally:
            stop.set()

    def translate(self, lines: Sequence[str], model: str | None = None, num_beams: int = 4, max_new_tokens: int = 256) -> TranslatedLines:
        """Translate each line, in order; blank lines stay blank. Raises ModelError."""
        lines = [_clean("text", line) for line in lines]
        beams = _whole("num_beams", num_beams, 1, MAX_BEAMS)
        most = _whole("max_new_tokens", max_new_tokens, 1, MAX_NEW_TOKENS)
        if len(lines) > MAX_LINES:
            raise ModelError(both("too_many_lines", most=MAX_LINES, lines=len(lines)))
        for number, line in enumerate(lines, 1):
            if len(line) > MAX_LINE_CHARS:
                raise ModelError(both("line_too_long", number=number, characters=len(line), most=MAX_LINE_CHARS))
        indices = [k for k, line in enumerate(lines) if line.strip()]
        if not indices:
            raise ModelError(both("no_text"))
        info = self.find("translation", model)
        slot, loaded, load_seconds = self._shelf.take(info)
        tokenizer, backend = loaded.tokenizer, loaded.backend
        context = text.context_length(backend.config)
        if context is not None:
            most = min(most, context - 1)  # the decoder's start token takes one position
        with slot.lock:
            started = time.perf_counter()
            try:
                # The examples are source sentences, so they show which language a model translates from.
                from_chinese = any(HAN.search(example) for example in info.examples)
                numbered = [(k + 1, lines[k].strip()) for k in indices]
                sources, notes = text.encode_lines(tokenizer, backend.config, numbered, from_chinese)
                targets = backend.translate(sources, beams, most)
                results = [""] * len(lines)
                for k, target in zip(indices, targets, strict=True):
                    results[k] = text.decode(tokenizer, target).strip()
            except Exception as error:
                raise _failed(info, error) from error
            seconds = time.perf_counter() - started
        unfinished = [k + 1 for k, target in zip(indices, targets, strict=True) if not backend.eos_ids & set(target)]
        if unfinished:
            notes = [*notes, Note("line_unfinished", {"numbers": ", ".join(map(str, unfinished))})]
        return TranslatedLines(results, seconds, load_seconds, tuple(notes))

    def warm(self) -> None:
        """Load the first model of each task now, so that the first visitor does not wait for it."""
        for info in [*self.models("gpt")[:1], *self.models("translation")[:1]]:
            with contextlib.suppress(ModelError):
                self._shelf.take(info)


def _failed(info: ModelInfo, error: BaseException) -> ModelError:
    """The ModelError to show for an error of the computation; the traceback goes to the server's log."""
    if isinstance(error, ModelError):
        return error
    log.error("%s failed", info.path, exc_info=error)
    return ModelError(both("not_finite" if isinstance(error, FloatingPointError) else "failed", name=info.name))


def _ready(tokens: queue.SimpleQueue[Any]) -> list[Any]:
    """Wait for one item, then take all others that are in the queue."""
    items = [tokens.get()]
    while True:
        try:
            items.append(tokens.get_nowait())
        except queue.Empty:
            return items


def _between(name: str, value: Any, low: float, high: float) -> float:
    """`value` as a number. Raises ModelError naming the range for anything outside it, NaN and non-numbers included."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not low <= number <= high:
        raise ModelError(both("bad_value", name=name, low=low, high=high))
    return number


def _whole(name: str, value: Any, low: int, high: int) -> int:
    """`value` as an integer, checked as in `_between`. 2.0 is accepted, because browsers send it."""
    number = _between(name, value, low, high)
    if not number.is_integer():
        raise ModelError(both("not_whole", name=name))
    return int(number)


def _clean(name: str, value: Any) -> str:
    """`value` with lone surrogates replaced, which tokenizers reject. Raises ModelError if it is not a string."""
    if not isinstance(value, str):
        raise ModelError(both("not_text", name=name))
    return value.encode("utf-8", "replace").decode("utf-8")

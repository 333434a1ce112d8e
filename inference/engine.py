"""Serves the models of a machine, to the tabs and to anyone else: `generate` and `translate`.

    from serving.engine import Engine
    for so_far in Engine().generate("飞鸟", seed=1):
        print(so_far.text)

Models are found by folders.py, loaded at first use and kept by shelf.py; a model computes one request at a
time. Whatever goes wrong for a visitor is a ModelError with a plain sentence.
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

__all__ = ["Continuation", "Engine", "ModelError", "ModelInfo", "Note", "Translation", "find_models"]

MAX_NEW_TOKENS = 1024

MAX_LINES, MAX_LINE_CHARS, MAX_BEAMS = 64, 1000, 8

UPDATE_SECONDS = 0.04  # between two pieces of a stream: faster than that only fills the network

Ending = Literal["", "end", "length", "visitor"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Continuation:
    """A text that is being continued; the last one of a stream has an `ending`."""

    text: str  # the prompt and what was written so far
    tokens: int  # new ones, the end token not counted
    seconds: float  # computing, without loading and waiting
    load_seconds: float  # 0 when the model was in memory
    seed: int | None  # None when greedy
    ending: Ending
    notes: tuple[Note, ...]


@dataclass(frozen=True)
class Translation:
    lines: list[str]  # one a source line, blank where that is blank
    seconds: float
    load_seconds: float
    notes: tuple[Note, ...]


class Engine:
    def __init__(self, roots: Iterable[str | Path] | None = None, keep: int = KEEP) -> None:
        """`roots`: folders to look in; None reads MODELS_DIR, else ./runs and ./models."""
        self._roots = None if roots is None else [Path(root) for root in roots]
        self._shelf = Shelf(keep)

    def models(self, task: Task) -> list[ModelInfo]:
        """The models of a task that are there now; looked up on disk at each call. Those whose weights are not whole come
        last, so that none of them is the default."""
        found = [info for info in find_models(self._roots) if info.task == task]
        return sorted(found, key=lambda info: info.parameters is None)

    def find(self, task: Task, name: str | None) -> ModelInfo:
        """The model called `name`, or the first one; raises ModelError when there is none."""
        models = self.models(task)
        if not models:
            raise ModelError(both(f"no_model_{task}"))
        found = next((info for info in models if info.name == name), None) if name else models[0]
        if found is None:
            raise ModelError(both("unknown_model", names=", ".join(info.name for info in models[:20])))
        return found

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

        Temperature 0 is greedy; seed -1 draws a new one, and any other repeats its result exactly. Setting
        `stop` or closing the iterator ends the computation within a token. Raises ModelError, for wrong
        values at once.
        """
        prompt = _clean("prompt", prompt)
        sampling = Sampling(
            temperature=_between("temperature", temperature, 0, 5),
            top_k=_whole("top_k", top_k, 0, 1_000_000),
            top_p=_between("top_p", top_p, 0.01, 1),
            repetition_penalty=_between("repetition_penalty", repetition_penalty, 0.5, 5),
            max_new_tokens=_whole("max_new_tokens", max_new_tokens, 1, MAX_NEW_TOKENS),
            seed=_whole("seed", seed, -1, 2**53),  # what a browser's number can hold
        )
        if sampling.temperature < 1e-3:  # a division by next to nothing
            sampling = replace(sampling, temperature=0.0)
        if sampling.seed < 0:
            sampling = replace(sampling, seed=secrets.randbelow(2**31))
        return self._stream(self.find("gpt", model), prompt, sampling, stop or threading.Event())

    def _stream(self, info: ModelInfo, prompt: str, sampling: Sampling, stop: threading.Event) -> Iterator[Continuation]:
        slot, loaded, load_seconds = self._shelf.take(info)
        try:
            asked = text.encode_prompt(loaded.tokenizer, loaded.backend.config, prompt, sampling.max_new_tokens)
        except Exception as error:
            raise _failed(info, error) from error
        sampling = replace(sampling, max_new_tokens=asked.max_new_tokens)
        tokens: queue.SimpleQueue[int | BaseException | None] = queue.SimpleQueue()  # None: nothing more comes
        started: list[float] = []

        def work() -> None:
            # A thread of its own, so that a reader who is slow or gone never holds the model's lock.
            try:
                while not slot.lock.acquire(timeout=0.1):
                    if stop.is_set():
                        return
                try:
                    started.append(time.perf_counter())
                    loaded.backend.generate(asked.ids, sampling, tokens.put, stop.is_set)
                finally:
                    slot.lock.release()
            except BaseException as error:
                tokens.put(error)
            finally:
                tokens.put(None)

        unfolding = text.Unfolding(loaded.tokenizer, asked)
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
                        unfolding.add(item)
                        count += 1
                if started:
                    seconds = time.perf_counter() - started[0]
                if done and not ending:
                    ending = "length" if count >= sampling.max_new_tokens else "visitor"
                yield Continuation(
                    text=unfolding.text(final=done),
                    tokens=count,
                    seconds=seconds,
                    load_seconds=load_seconds,
                    seed=sampling.seed if sampling.temperature > 0 else None,
                    ending=ending if done else "",
                    # That less could be written than asked for matters only where the text hit that limit.
                    notes=tuple(n for n in asked.notes if n.key != "length_cut" or ending == "length"),
                )
                if done:
                    return
                stop.wait(UPDATE_SECONDS)
        finally:
            stop.set()

    def translate(self, lines: Sequence[str], model: str | None = None, num_beams: int = 4, max_new_tokens: int = 256) -> Translation:
        """Translate each line; blank lines stay blank, the order is kept. Raises ModelError."""
        lines = [_clean("text", line) for line in lines]
        beams = _whole("num_beams", num_beams, 1, MAX_BEAMS)
        most = _whole("max_new_tokens", max_new_tokens, 1, MAX_NEW_TOKENS)
        if len(lines) > MAX_LINES:
            raise ModelError(both("too_many_lines", most=MAX_LINES, lines=len(lines)))
        for number, line in enumerate(lines, 1):
            if len(line) > MAX_LINE_CHARS:
                raise ModelError(both("line_too_long", number=number, characters=len(line), most=MAX_LINE_CHARS))
        written = [number for number, line in enumerate(lines) if line.strip()]
        if not written:
            raise ModelError(both("no_text"))
        info = self.find("translation", model)
        slot, loaded, load_seconds = self._shelf.take(info)
        tokenizer, backend = loaded.tokenizer, loaded.backend
        context = text.context_length(backend.config)
        if context is not None:
            most = min(most, context - 1)  # the decoder's start token takes a place
        with slot.lock:
            started = time.perf_counter()
            try:
                # The examples are inputs, so they show which language a model reads.
                from_chinese = any(HAN.search(example) for example in info.examples)
                numbered = [(n + 1, lines[n].strip()) for n in written]
                sources, notes = text.encode_lines(tokenizer, backend.config, numbered, from_chinese)
                targets = backend.translate(sources, beams, most)
                results = [""] * len(lines)
                for number, target in zip(written, targets, strict=True):
                    results[number] = text.decode(tokenizer, target).strip()
            except Exception as error:
                raise _failed(info, error) from error
            seconds = time.perf_counter() - started
        unfinished = [n + 1 for n, target in zip(written, targets, strict=True) if not backend.eos_ids & set(target)]
        if unfinished:
            notes = [*notes, Note("line_unfinished", {"numbers": ", ".join(map(str, unfinished))})]
        return Translation(results, seconds, load_seconds, tuple(notes))

    def warm(self) -> None:
        """Load the first model of each task now, so that the first visitor does not wait for it."""
        for info in [*self.models("gpt")[:1], *self.models("translation")[:1]]:
            with contextlib.suppress(ModelError):
                self._shelf.take(info)


def _failed(info: ModelInfo, error: BaseException) -> ModelError:
    """A sentence for an error of the computation; the traceback goes to the server's log."""
    if isinstance(error, ModelError):
        return error
    log.error("%s failed", info.path, exc_info=error)
    return ModelError(both("not_finite" if isinstance(error, FloatingPointError) else "failed", name=info.name))


def _ready(tokens: queue.SimpleQueue[Any]) -> list[Any]:
    """At least one item, and all that are there."""
    items = [tokens.get()]
    while True:
        try:
            items.append(tokens.get_nowait())
        except queue.Empty:
            return items


def _between(name: str, value: Any, low: float, high: float) -> float:
    """`value` as a number; raises ModelError naming the range (for NaN and for what is no number too)."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not low <= number <= high:
        raise ModelError(both("bad_value", name=name, low=low, high=high))
    return number


def _whole(name: str, value: Any, low: int, high: int) -> int:
    """The same for a whole number; 2.0 is one, as browsers send it."""
    number = _between(name, value, low, high)
    if not number.is_integer():
        raise ModelError(both("not_whole", name=name))
    return int(number)


def _clean(name: str, value: Any) -> str:
    """`value`, lone surrogates (which no tokenizer takes) replaced; raises ModelError when it is not text."""
    if not isinstance(value, str):
        raise ModelError(both("not_text", name=name))
    return value.encode("utf-8", "replace").decode("utf-8")

"""The systems of the scoreboard: every translation model and its int8 copy, as the app would serve them, and their translations."""

from __future__ import annotations

import re
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from training.base.errors import ConfigError
from training.base.words import phrases, spoken
from training.scoring import writers
from training.scoring.translator import in_pieces, translator
from training.settings.task_specs import TASKS

SUFFIXES = re.compile(r"\.(jsonl|json|csv|tsv|txt|parquet)(\.(gz|xz|zst|bz2))?$", re.IGNORECASE)  # endings of a test set's file name


@dataclass(frozen=True)
class System:
    """A model folder and a way of computing with it.

    Attributes:
        name: the name of its row.
        copy: the folder of the int8 copy if that is scored; None for the weights.
        parameters: None if the weights cannot be read.
        size: bytes that have to be loaded.
        beams: the beam size; 1 is greedy.
    """

    name: str
    folder: Path
    copy: Path | None
    parameters: int | None
    size: int
    beams: int


@dataclass(frozen=True)
class Outputs:
    """A system's translations of a test set: hyps[k] is its translation of rows[k]; `seconds` is the time that it took."""

    system: System
    test: str
    rows: list[dict[str, Any]]
    hyps: list[str]
    seconds: float

    @property
    def references(self) -> list[str]:
        """The reference translations, as they stand in the file."""
        return [r["target"] for r in self.rows]

    def subset(self, indices: list[int]) -> Outputs:
        """The outputs for these pairs only."""
        return replace(self, rows=[self.rows[k] for k in indices], hyps=[self.hyps[k] for k in indices])


def systems(roots: list[Path], beams: list[int]) -> list[System]:
    """The systems to score, from the translation models below `roots`.

    Weights and int8 copy are two systems for greedy decoding. With more beams there is only the one that the app serves on a CPU,
    the copy if there is one: the weights would give much the same scores and take several times as long.
    """
    from inference.ctranslate2_backend import usable
    from inference.folders import COPY, find_models

    result = []
    for info in find_models(roots):
        if not TASKS[info.task].two_languages:
            continue
        ways: list[tuple[str, Path | None, int]] = []
        if weights := sum(p.stat().st_size for p in info.path.glob("*.safetensors")):
            ways.append((info.name, None, weights))
        if usable(info.path):
            ways.append((f"{info.name}, int8", info.path / COPY, sum(p.stat().st_size for p in (info.path / COPY).iterdir())))
        for way in ways:
            for n in beams:
                if n == 1 or way == ways[-1]:
                    name, copy, size = way
                    shown = writers.cell(name if n == 1 else f"{name}, {n} beams")
                    result.append(System(shown, info.path, copy, info.parameters, size, n))
    return result


def translated(systems: list[System], tests: dict[str, list[dict[str, Any]]]) -> list[Outputs]:
    """The translations of every test set by every system. A damaged system is left out with a line on stderr."""
    outputs, words = [], phrases("commands", spoken())
    for system in systems:
        try:
            translate = translator(system.folder, system.copy)
        except ConfigError as error:
            print(words["left_out"].format(name=system.name, problem=error), file=sys.stderr, flush=True)
            continue
        for test, rows in tests.items():
            print(words["translating"].format(name=system.name, test=test, count=len(rows)), file=sys.stderr, flush=True)
            begin = time.monotonic()
            hyps = list(in_pieces(translate, [r["source"] for r in rows], system.beams, f"{system.name}, {test}"))
            outputs.append(Outputs(system, test, rows, hyps, time.monotonic() - begin))
    return outputs

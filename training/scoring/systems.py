"""The systems of the scoreboard: every model and its int8 copy, as the app would serve them, and what they translated."""

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

SUFFIXES = re.compile(r"\.(jsonl|json|csv|tsv|txt|parquet)(\.(gz|xz|zst|bz2))?$", re.IGNORECASE)  # of a test set's file


@dataclass(frozen=True)
class System:
    """A model folder and the way of computing with it.

    Attributes:
        name: of the row.
        copy: the folder of its int8 copy, if that is what is scored.
        parameters: None where the weights cannot be read.
        size: bytes of what has to be loaded.
        beams: 1 is greedy.
    """

    name: str
    folder: Path
    copy: Path | None
    parameters: int | None
    size: int
    beams: int


@dataclass(frozen=True)
class Outputs:
    """What a system made of a test set: one of `hyps` a pair."""

    system: System
    test: str
    rows: list[dict[str, Any]]
    hyps: list[str]
    seconds: float

    @property
    def references(self) -> list[str]:
        """As the file has them."""
        return [r["target"] for r in self.rows]

    def some(self, which: list[int]) -> Outputs:
        """Of these pairs only."""
        return replace(self, rows=[self.rows[k] for k in which], hyps=[self.hyps[k] for k in which])


def systems(roots: list[Path], beams: list[int]) -> list[System]:
    """The translation models below `roots`: weights and int8 copy, greedily; with more beams what the app serves on a CPU.

    That is the copy where there is one; the weights would say much the same and take several times as long.
    """
    from inference.ctranslate2_backend import usable
    from inference.folders import COPY, find_models

    found = []
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
                    found.append(System(shown, info.path, copy, info.parameters, size, n))
    return found


def translated(found: list[System], tests: dict[str, list[dict[str, Any]]]) -> list[Outputs]:
    """What every system makes of every test set. One that is damaged is left out, and said to be."""
    made, words = [], phrases("commands", spoken())
    for system in found:
        try:
            run = translator(system.folder, system.copy)
        except ConfigError as error:
            print(words["left_out"].format(name=system.name, problem=error), file=sys.stderr, flush=True)
            continue
        for test, rows in tests.items():
            print(words["translating"].format(name=system.name, test=test, count=len(rows)), file=sys.stderr, flush=True)
            begin = time.monotonic()
            hyps = list(in_pieces(run, [r["source"] for r in rows], system.beams, f"{system.name}, {test}"))
            made.append(Outputs(system, test, rows, hyps, time.monotonic() - begin))
    return made

"""Opening a corpus: its sources are resolved and scanned, a validation set is held out, and the result is kept in the run folder."""

from __future__ import annotations

import hashlib
import json
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from training.base.errors import ConfigError
from training.base.files import replacing, write_text
from training.corpus.filters import Seen
from training.corpus.order import Corpus
from training.corpus.scan import HELD_OUT, QUARANTINE, TRAIN, Scan, scan
from training.corpus.shards import Shard
from training.corpus.sources import resolve
from training.settings.config import CorpusConfig, source_list
from training.settings.task_specs import TASKS

QUARANTINES = ("quarantine.jsonl", "quarantine_validation.jsonl")  # of the training corpus and of a separate validation set


def hold_out(states: list[np.ndarray], share: float, most: int, how: str) -> int:
    """Mark a share of the rows, at most `most`, as HELD_OUT; returns how many. The same rows for every seed."""
    n = sum(int((s == TRAIN).sum()) for s in states)
    wanted = min(n - 1, most, max(1, round(share * n))) if share else 0
    if wanted < 1:
        return 0
    chosen = np.sort(np.random.default_rng(0).permutation(n)[:wanted]) if how == "spread" else np.arange(n - wanted, n)
    before = 0
    for of_shard in states:
        at = np.flatnonzero(of_shard == TRAIN)
        here = chosen[(chosen >= before) & (chosen < before + len(at))] - before
        of_shard[at[here]] = HELD_OUT
        before += len(at)
    return wanted


def open_corpus(
    config: CorpusConfig, task: str, folder: Path, seed: int, most_validation: int,
    progress: Callable[[int], None] = lambda rows: None,
) -> tuple[Corpus, Corpus]:  # fmt: skip
    """The training corpus and the one whose held-out rows are the validation set (often the same).

    What the scan found is kept in `folder` and used again while the files and the config stay the same.

    Raises:
        ConfigError: for sources that cannot be found or have no usable row.
    """
    train, valid = shards_of(config, task)
    keys = [config.filters, config.max_rows, config.strict, config.validation_share, config.holdout, most_validation, task]
    stamp = [[s.fingerprint() for s in train], [s.fingerprint() for s in valid], repr(keys)]
    print_of = hashlib.sha256(json.dumps(stamp).encode()).hexdigest()
    found = _load(folder, print_of)
    if found is None:
        seen = Seen()
        found = [scan(train, config, task, config.filters, folder / QUARANTINES[0], progress, seen)]
        if valid:
            try:
                found.append(scan(valid, config, task, None, folder / QUARANTINES[1], progress, trained=seen))
            except ConfigError as error:  # often the config's own set beside a corpus of the user's with other columns
                raise ConfigError(f"corpus.validation: {error}; --corpus.validation null holds out rows of corpus.train instead") from None
            for states in found[1].states:
                states[states == TRAIN] = HELD_OUT
            found[0].report["validation_trained"] = [found[1].report.pop("also_trained"), found[1].report["rows_kept"]]
        else:
            held_out = hold_out(found[0].states, config.validation_share, most_validation, config.holdout)
            repeated = sum(
                int((s[r] == HELD_OUT).sum()) for s, r in zip(found[0].states, seen.repeats)
            )  # and the first of equal ones, perhaps
            found[0].report.update(held_out=held_out, validation_trained=[repeated, held_out])
        _save(folder, print_of, found)
    for part, name in zip(found, QUARANTINES):
        part.report["quarantine"] = str(folder / name)
    parts = [Corpus(shards, *s, seed, config.shuffle_rows) for shards, s in zip((train, valid), found)]
    return parts[0], parts[-1]


def shards_of(config: CorpusConfig, task: str) -> tuple[list[Shard], list[Shard]]:
    """Of training and of validation (empty if that is held out of training's); raises ConfigError for sources that cannot be found."""
    columns = {**TASKS[task].columns, **config.columns}
    train = resolve(source_list(config.train), columns, config.document, "corpus.train")
    return train, resolve(source_list(config.validation), columns, config.document, "corpus.validation")


def _save(folder: Path, fingerprint: str, found: list[Scan]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {"fingerprint": np.array(fingerprint)}  # in both files: a crash between the two leaves them unlike
    for p, part in enumerate(found):
        for i in range(len(part.states)):
            arrays[f"{p}_{i}_states"], arrays[f"{p}_{i}_offsets"] = part.states[i], part.offsets[i]
    report = {"fingerprint": fingerprint, "parts": [part.report for part in found]}
    with replacing(folder / "scan.npz") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)
    write_text(folder / "report.json", json.dumps(report, ensure_ascii=False, indent=1))  # last: it says that the scan is whole


def _load(folder: Path, fingerprint: str) -> list[Scan] | None:
    try:
        report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
        with np.load(folder / "scan.npz", allow_pickle=False) as arrays:
            if not report["fingerprint"] == str(arrays["fingerprint"]) == fingerprint:
                return None
            shards = [sum(name.startswith(f"{p}_") for name in arrays) // 2 for p in range(len(report["parts"]))]
            if not shards or 1 + 2 * sum(shards) != len(list(arrays)) or not all(map(_sound, report["parts"])):
                return None
            return [
                Scan([arrays[f"{p}_{i}_states"] for i in range(n)], [arrays[f"{p}_{i}_offsets"] for i in range(n)], part)
                for p, (n, part) in enumerate(zip(shards, report["parts"]))
            ]
    except (OSError, EOFError, LookupError, TypeError, AttributeError, ValueError, zipfile.BadZipFile, zlib.error):
        return None  # damaged, so it is made again


def _sound(report: Any) -> bool:
    """Whether it says what a scan's report says."""
    counts = [report.get("rows_read"), report.get("rows_kept"), report.get("not_selected"), *report["characters"].values()]
    counts += [report.get("held_out", 0), *report["rejected"].values()]
    return all(type(n) is int for n in counts) and isinstance(report["examples"], dict)


def corpus_summary(report: dict[str, Any], words: dict[str, Any]) -> str:
    """What a scan found, in one line for people; `words` of wording/report."""
    line: str = words["rows"].format(**report)
    if report.get("held_out"):
        line += words["held_out"].format(**report)
    if report["not_selected"]:
        line += words["not_selected"].format(**report)
    if report["rejected"]:
        line += words["rejected"].format(reasons=", ".join(f"{n:,} {reason}" for reason, n in report["rejected"].items()))
    if report.get("first_rejected"):
        whole = sum(report["rejected"].values()) <= QUARANTINE
        line += words["first_rejected"].format(listed=words["all"] if whole else words["first"].format(n=QUARANTINE), **report)
    return line

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
    """Mark some training rows as HELD_OUT, the same ones for every seed.

    Args:
        states: one array a shard, changed in place.
        share: of the training rows; at least one row unless it is 0, and never all of them.
        most: rows at most.
        how: a value of `corpus.holdout`.

    Returns:
        The number of rows held out.
    """
    n = sum(int((s == TRAIN).sum()) for s in states)
    count = min(n - 1, most, max(1, round(share * n))) if share else 0
    if count < 1:
        return 0
    chosen = np.sort(np.random.default_rng(0).permutation(n)[:count]) if how == "spread" else np.arange(n - count, n)
    before = 0  # training rows in earlier shards
    for shard_states in states:
        rows = np.flatnonzero(shard_states == TRAIN)
        here = chosen[(chosen >= before) & (chosen < before + len(rows))] - before
        shard_states[rows[here]] = HELD_OUT
        before += len(rows)
    return count


def open_corpus(
    config: CorpusConfig, task: str, folder: Path, seed: int, most_validation: int,
    progress: Callable[[int], None] = lambda rows: None,
) -> tuple[Corpus, Corpus]:  # fmt: skip
    """The training corpus, and the corpus whose held-out rows are the validation set (the same one unless `corpus.validation` is set).

    The scans are saved in `folder` and used again while the files and the config stay the same.

    Args:
        most_validation: rows to hold out at most.
        progress: called now and then with the number of rows read.

    Raises:
        ConfigError: for sources that cannot be found or have no usable row.
    """
    train, validation = shards_of(config, task)
    keys = [config.filters, config.max_rows, config.strict, config.validation_share, config.holdout, most_validation, task]
    inputs = [[s.fingerprint() for s in train], [s.fingerprint() for s in validation], repr(keys)]
    fingerprint = hashlib.sha256(json.dumps(inputs).encode()).hexdigest()
    scans = _load(folder, fingerprint)
    if scans is None:
        seen = Seen()
        scans = [scan(train, config, task, config.filters, folder / QUARANTINES[0], progress, seen)]
        if validation:
            try:
                scans.append(scan(validation, config, task, None, folder / QUARANTINES[1], progress, trained=seen))
            except ConfigError as error:  # often a shipped config's validation set does not have the columns of the user's corpus
                raise ConfigError(f"corpus.validation: {error}; --corpus.validation null holds out rows of corpus.train instead") from None
            for states in scans[1].states:
                states[states == TRAIN] = HELD_OUT
            scans[0].report["validation_trained"] = [scans[1].report.pop("also_trained"), scans[1].report["rows_kept"]]
        else:
            held_out = hold_out(scans[0].states, config.validation_share, most_validation, config.holdout)
            # Held-out rows that repeat an earlier row. A row held out whose repeat comes later is not counted.
            repeated = sum(int((s[r] == HELD_OUT).sum()) for s, r in zip(scans[0].states, seen.repeats))
            scans[0].report.update(held_out=held_out, validation_trained=[repeated, held_out])
        _save(folder, fingerprint, scans)
    for part, name in zip(scans, QUARANTINES):
        part.report["quarantine"] = str(folder / name)
    corpora = [Corpus(shards, *part, seed, config.shuffle_rows) for shards, part in zip((train, validation), scans)]
    return corpora[0], corpora[-1]


def shards_of(config: CorpusConfig, task: str) -> tuple[list[Shard], list[Shard]]:
    """The shards of `corpus.train` and of `corpus.validation` (empty if not set); raises ConfigError for sources that cannot be found."""
    columns = {**TASKS[task].columns, **config.columns}
    train = resolve(source_list(config.train), columns, config.document, "corpus.train")
    return train, resolve(source_list(config.validation), columns, config.document, "corpus.validation")


def _save(folder: Path, fingerprint: str, scans: list[Scan]) -> None:
    """Write the scans of one or two corpora to scan.npz and report.json."""
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {"fingerprint": np.array(fingerprint)}  # it is in both files, so that a crash between writing them is noticed
    for p, part in enumerate(scans):
        for i in range(len(part.states)):
            arrays[f"{p}_{i}_states"], arrays[f"{p}_{i}_offsets"] = part.states[i], part.offsets[i]
    report = {"fingerprint": fingerprint, "parts": [part.report for part in scans]}
    with replacing(folder / "scan.npz") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)
    write_text(folder / "report.json", json.dumps(report, ensure_ascii=False, indent=1))  # written last: it marks the scan as complete


def _load(folder: Path, fingerprint: str) -> list[Scan] | None:
    """The scans that `_save` wrote; None if there are none, they are damaged, or they belong to another fingerprint."""
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
        return None


def _sound(report: Any) -> bool:
    """Whether a saved report has the fields of a scan's report."""
    counts = [report.get("rows_read"), report.get("rows_kept"), report.get("not_selected"), *report["characters"].values()]
    counts += [report.get("held_out", 0), *report["rejected"].values()]
    return all(type(n) is int for n in counts) and isinstance(report["examples"], dict)


def corpus_summary(report: dict[str, Any], words: dict[str, Any]) -> str:
    """A scan's report in one line; `words` are those of wording/report."""
    line: str = words["rows"].format(**report)
    if report.get("held_out"):
        line += words["held_out"].format(**report)
    if report["not_selected"]:
        line += words["not_selected"].format(**report)
    if report["rejected"]:
        line += words["rejected"].format(reasons=", ".join(f"{n:,} {reason}" for reason, n in report["rejected"].items()))
    if report.get("first_rejected"):
        complete = sum(report["rejected"].values()) <= QUARANTINE
        line += words["first_rejected"].format(listed=words["all"] if complete else words["first"].format(n=QUARANTINE), **report)
    return line

"""A run folder, read for the doctor: the records of its metrics, its config, the scan of its corpus and what preflight predicted.

Light: no torch, no numpy. Any file but the config may be missing, cut off or from an older version: its part is then empty, and
the verdicts that need it stay silent.
"""

from __future__ import annotations

import contextlib
import json
import math
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from training.base.errors import ConfigError
from training.diagnosis.curves import Curve, at, curve, number, plausible
from training.settings.config import Config
from training.settings.load import load_config


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """The records so far, without a last line that a kill cut off and without lines that are not records of ours."""
    return read_metrics_and_count(folder)[0]


def read_metrics_and_count(folder: Path) -> tuple[list[dict[str, Any]], int]:
    """As `read_metrics`, and how many lines are not records of ours; a last line that a kill cut off does not count."""
    records, unreadable = [], 0
    try:
        lines = (folder / "metrics.jsonl").read_text(encoding="utf-8-sig", errors="replace").split("\n")  # a sample may hold U+2028
    except OSError:
        return [], 0
    for i, line in enumerate(lines):
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            record = None
        if _sound(record):
            records.append(record)
        elif line.strip() and not (i == len(lines) - 1 and line.startswith("{")):
            unreadable += 1
    return records, unreadable


LARGEST = 2**63  # we write no larger integers, and a picture could not be drawn of them

CURVES = ("seconds", "loss", "learning_rate", "val_loss", "bleu", "chrf")


def _sound(record: Any) -> bool:
    """Whether this is a record of ours: with an event, a step, and numbers (or null) where curves are drawn from."""
    if not isinstance(record, dict) or not isinstance(record.get("event"), str) or type(step := record.get("step")) is not int:
        return False
    samples = record.get("samples", [] if record["event"] != "sample" else None)
    listed = isinstance(samples, list) and all(isinstance(s, dict) and {"prompt", "text"} <= set(s) for s in samples)
    return listed and 0 <= step < LARGEST and all(_plottable(record.get(key)) for key in CURVES)


def _plottable(value: Any) -> bool:
    return value is None or isinstance(value, float) or (isinstance(value, int) and abs(value) < LARGEST)


@dataclass(frozen=True)
class RunRecords:
    """A run as its folder shows it.

    Attributes:
        train, evaluations: the records of these events, in order.
        samples: the texts that the model wrote at the last evaluation.
        end: the record of the end; empty if there is none.
        corpus: the report of the scan of the training text.
        preflight: the predictions, as in preflight.json.
        reported: whether there is a report.md, which is written when a run ends.
        unreadable: how many lines of the metrics are not records.
    """

    config: Config
    train: list[dict[str, Any]] = field(default_factory=list)
    evaluations: list[dict[str, Any]] = field(default_factory=list)
    samples: list[dict[str, Any]] = field(default_factory=list)
    end: dict[str, Any] = field(default_factory=dict)
    corpus: dict[str, Any] = field(default_factory=dict)
    preflight: dict[str, Any] = field(default_factory=dict)
    reported: bool = False
    unreadable: int = 0

    @cached_property
    def losses(self) -> Curve:
        """Training loss in nats a token, with label smoothing; each point is the mean since the one before."""
        return curve(self.train, "loss")

    @cached_property
    def validation(self) -> Curve:
        """Validation loss in nats a token, without label smoothing."""
        return curve(self.evaluations, "val_loss")

    @cached_property
    def steps(self) -> int:
        """The last step that is on record."""
        return max((r["step"] for r in [*self.train, *self.evaluations, self.end] if r), default=0)

    @property
    def ended(self) -> str:
        """How it ended: finished, stopped early, interrupted, an `ended` of base/errors.py or of a caller; empty if unknown."""
        how = self.end.get("ended")
        return how if isinstance(how, str) else "finished" if self.reported else ""

    @property
    def start(self) -> float | None:
        """The loss in nats of a model that knows nothing, ln(vocabulary); the first loss if the size of the vocabulary is unknown.

        The first loss is the second choice: a rate far too high spoils it within ten steps, and T5 begins far above ln(vocabulary).
        """
        size = self.predicted("vocabulary", "size")
        if size and size > 1:
            return math.log(size)
        return self.losses[0].value if self.losses else None

    @cached_property
    def tokens_per_step(self) -> float | None:
        """Mean number of target tokens a step; None if no record has it."""
        for r in reversed(self.train):
            if (tokens := number(r.get("tokens"))) is not None:
                return tokens / r["step"] if r["step"] else None
        return None

    def epoch(self, step: int) -> float:
        """How many epochs were done by that step."""
        return at(self._epochs, step) or 0.0

    @cached_property
    def _epochs(self) -> Curve:
        return curve(self.train, "epoch")

    def last(self, key: str) -> float | None:
        """The number under `key` in the last evaluation; None if it is missing or implausible."""
        return plausible(key, self.evaluations[-1].get(key)) if self.evaluations else None

    @property
    def predicted_peak(self) -> float | None:
        """Predicted peak in bytes of one device: a process measures its own device only."""
        return self.predicted("memory", "each_device_bytes") or self.predicted("memory", "peak_bytes")

    def predicted(self, *keys: str) -> float | None:
        """The number of preflight.json under these nested keys, outermost first; None if it is missing or implausible."""
        value: Any = self.preflight
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        return plausible(keys[-1], value)


def read_run(folder: Path, config: Config | None = None) -> RunRecords:
    """The records of a run folder.

    Args:
        config: the run's config, if the caller has it; by default config.yaml is read.

    Raises:
        ConfigError: if it is not a run folder, or its config cannot be read.
    """
    required = ["metrics.jsonl"] if config else ["config.yaml", "metrics.jsonl"]
    try:
        folder.stat()
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as error:  # a name that is too long or has a NUL in it
        raise ConfigError(f"{printable(folder)[:100]}: cannot be read ({getattr(error, 'strerror', None) or error})") from None
    if not folder.is_dir():
        what = "a file, not a run folder" if folder.exists() else "no such folder"
        raise ConfigError(f"{folder}: {what}; {_suggestion(folder)}")
    if missing := [name for name in required if not (folder / name).is_file()]:
        raise ConfigError(f"{folder}: not a run folder ({' and '.join(missing)} missing); {_suggestion(folder)}")
    try:
        (folder / "metrics.jsonl").open("rb").close()  # read_metrics takes a file that it cannot open for an empty one
    except OSError as error:
        raise ConfigError(f"{folder / 'metrics.jsonl'}: cannot be read ({error.strerror})") from None
    config = config or load_config(folder / "config.yaml")
    events, unreadable = read_metrics_and_count(folder)
    samples = [r["samples"] for r in events if r.get("event") == "sample" and isinstance(r.get("samples"), list)]
    ends = [r for r in events if r.get("event") == "end"]
    train = [r for r in events if r.get("event") == "train"]
    if ends and train and train[-1]["step"] > ends[-1]["step"]:
        ends = []  # the run was resumed after this end
    parts = _json(folder / "corpus" / "report.json").get("parts")
    return RunRecords(
        config, train, [r for r in events if r.get("event") == "evaluate"],
        [s for s in samples[-1] if isinstance(s, dict)] if samples else [], ends[-1] if ends else {},
        parts[0] if isinstance(parts, list) and parts and isinstance(parts[0], dict) else {},
        _json(folder / "preflight.json"), (folder / "report.md").is_file(), unreadable,
    )  # fmt: skip


def _suggestion(path: Path) -> str:
    """Advice for a path that is not a run folder: the run that it is in, or the runs beside it."""
    if above := next((p for p in path.parents if (p / "metrics.jsonl").is_file()), None):
        return f"name its run, {above}"
    with contextlib.suppress(OSError):
        if trials := sorted(p.parent for p in path.glob("trials/*/metrics.jsonl")):
            return f"it is a sweep's; name one of its {len(trials):,} trials, e.g. {trials[0]}"
        near = [*path.glob("*/metrics.jsonl"), *path.parent.glob("*/metrics.jsonl")]
        if beside := sorted(str(p.parent) for p in near if p.is_file() and p.parent != path)[:5]:
            return f"there are {', '.join(beside)}"
    return "name one that training/train.py wrote"


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):  # RecursionError: nested deeper than any file of ours
        return {}
    return value if isinstance(value, dict) else {}


def printable(text: Any) -> str:
    """Text from a file for use in a sentence: on one line, without characters that move a terminal's cursor."""
    line = " ".join(str(text).split())
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in line)

"""What a run folder tells, read for the doctor: the records of its metrics, its config, its scan and what was predicted.

Light: no torch, no numpy. Any file but the config may be missing, cut off or of an older run: what is not there is empty, and
the verdicts that need it stay silent.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import operator
import statistics
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from training.base.errors import ConfigError
from training.diagnosis.finding import Severity
from training.settings.config import Config, source_list
from training.settings.load import load_config
from training.settings.task_specs import TASKS


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """The records so far; a last line that a kill cut off, and what is no record of ours, is left out."""
    return read_metrics_and_count(folder)[0]


def read_metrics_and_count(folder: Path) -> tuple[list[dict[str, Any]], int]:
    """`read`, and how many lines are no record of ours; a last line that a kill cut off is not among them."""
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


LARGEST = 2**63  # an integer beyond is none that we wrote, and too large for a float or a picture

CURVES = ("seconds", "loss", "learning_rate", "val_loss", "bleu", "chrf")


def _sound(record: Any) -> bool:
    """Whether it has what every record has, and numbers (or null) where curves are drawn from."""
    if not isinstance(record, dict) or not isinstance(record.get("event"), str) or type(step := record.get("step")) is not int:
        return False
    samples = record.get("samples", [] if record["event"] != "sample" else None)
    listed = isinstance(samples, list) and all(isinstance(s, dict) and {"prompt", "text"} <= set(s) for s in samples)
    return listed and 0 <= step < LARGEST and all(_plottable(record.get(key)) for key in CURVES)


def _plottable(value: Any) -> bool:
    return value is None or isinstance(value, float) or (isinstance(value, int) and abs(value) < LARGEST)


class Point(NamedTuple):
    """A value of a curve."""

    step: int
    value: float


Curve = list[Point]

STEP = operator.itemgetter(0)  # of a point


@dataclass(frozen=True)
class RunRecords:
    """A run, as its folder tells it.

    Attributes:
        train, evaluations: the records of these events, in order.
        samples: what the model wrote at the last evaluation.
        end: the record of the end; empty if there is none.
        corpus: what the scan of the training text found.
        preflight: what was predicted.
        reported: whether report.md is there, which is written when a run ends.
        unreadable: lines of the metrics that are no record.
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
        """Training loss in nats a token, each the mean since the record before; label smoothing is in it."""
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
        """How it ended: finished, stopped early, interrupted, an `ended` of base/errors.py, what a caller said; empty if unknown."""
        how = self.end.get("ended")
        return how if isinstance(how, str) else "finished" if self.reported else ""

    @property
    def start(self) -> float | None:
        """The loss of a model that knows nothing, ln(vocabulary); the first loss where the vocabulary's size is not known.

        Not the first loss at once: a rate far too high spoils it within ten steps, and T5 begins far above.
        """
        size = self.predicted("vocabulary", "size")
        if size and size > 1:
            return math.log(size)
        return self.losses[0].value if self.losses else None

    @cached_property
    def tokens_per_step(self) -> float | None:
        """Target tokens of a step, in the mean."""
        for r in reversed(self.train):
            if (tokens := number(r.get("tokens"))) is not None:
                return tokens / r["step"] if r["step"] else None
        return None

    def epoch(self, step: int) -> float:
        """Epochs done by that step."""
        return at(self._epochs, step) or 0.0

    @cached_property
    def _epochs(self) -> Curve:
        return curve(self.train, "epoch")

    def last(self, key: str) -> float | None:
        """That number of the last evaluation, if it can be one."""
        return plausible(key, self.evaluations[-1].get(key)) if self.evaluations else None

    @property
    def predicted_peak(self) -> float | None:
        """Bytes at the peak of a device, which is what is measured of a process; with one device it is that of the run."""
        return self.predicted("memory", "each_device_bytes") or self.predicted("memory", "peak_bytes")

    def predicted(self, *keys: str) -> float | None:
        """A number of preflight.json, if it can be one, named by its keys from outside in."""
        found: Any = self.preflight
        for key in keys:
            found = found.get(key) if isinstance(found, dict) else None
        return plausible(keys[-1], found)


def read_run(folder: Path, config: Config | None = None) -> RunRecords:
    """The records of a run folder.

    Args:
        config: for a caller that has it; otherwise config.yaml is read.

    Raises:
        ConfigError: if the folder is not that of a run, or its config cannot be read.
    """
    wanted = ["metrics.jsonl"] if config else ["config.yaml", "metrics.jsonl"]
    try:
        folder.stat()
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as error:  # a name that is too long, or has a null in it
        raise ConfigError(f"{shown(folder)[:100]}: cannot be read ({getattr(error, 'strerror', None) or error})") from None
    if not folder.is_dir():
        what = "a file, not a run folder" if folder.exists() else "no such folder"
        raise ConfigError(f"{folder}: {what}; {_meant(folder)}")
    if missing := [name for name in wanted if not (folder / name).is_file()]:
        raise ConfigError(f"{folder}: not a run folder ({' and '.join(missing)} missing); {_meant(folder)}")
    try:
        (folder / "metrics.jsonl").open("rb").close()  # run_folder.read takes what it cannot open for empty
    except OSError as error:
        raise ConfigError(f"{folder / 'metrics.jsonl'}: cannot be read ({error.strerror})") from None
    config = config or load_config(folder / "config.yaml")
    events, unreadable = read_metrics_and_count(folder)
    samples = [r["samples"] for r in events if r.get("event") == "sample" and isinstance(r.get("samples"), list)]
    ends = [r for r in events if r.get("event") == "end"]
    train = [r for r in events if r.get("event") == "train"]
    if ends and train and train[-1]["step"] > ends[-1]["step"]:
        ends = []  # the run was resumed after that
    parts = _json(folder / "corpus" / "report.json").get("parts")
    return RunRecords(
        config, train, [r for r in events if r.get("event") == "evaluate"],
        [s for s in samples[-1] if isinstance(s, dict)] if samples else [], ends[-1] if ends else {},
        parts[0] if isinstance(parts, list) and parts and isinstance(parts[0], dict) else {},
        _json(folder / "preflight.json"), (folder / "report.md").is_file(), unreadable,
    )  # fmt: skip


def _meant(path: Path) -> str:
    """What to name instead of a path that is no run folder: the run that it is in, or the runs beside it."""
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
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):  # the last: nested deeper than any file of ours
        return {}
    return found if isinstance(found, dict) else {}


def shown(text: Any) -> str:
    """Words from a file as a sentence can have them: on one line, with nothing in them that moves a terminal's cursor."""
    line = " ".join(str(text).split())
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in line)


# ---- the scan


def rejected(report: dict[str, Any]) -> tuple[dict[str, int], int]:
    """Rows that a scan left out, by reason, and how many it looked at; those that `where` does not select are in neither.

    Args:
        report: of a scan, with `rejected`, `rows_read` and `not_selected`.
    """
    found = report.get("rejected")
    reasons = {k: int(n) for k, v in found.items() if (n := plausible("rows", v)) is not None} if isinstance(found, dict) else {}
    return reasons, int((plausible("rows", report.get("rows_read")) or 0) - (plausible("rows", report.get("not_selected")) or 0))


LEAKED, LEAKED_MANY = 0.01, 0.2  # of the validation rows


def validation_on_training_text(config: Config, rows: int, of: int) -> tuple[Severity, dict[str, Any]] | None:
    """How bad it is that validation rows are training rows, with the numbers; None if none (or next to none) are.

    A config that names the training text as its validation set wants to see how well it is learnt by heart.

    Args:
        rows: of the validation set that are training rows too.
        of: all its rows.
    """
    if not of or rows < LEAKED * of:
        return None
    train, validation = ([s.path for s in source_list(sources)] for sources in (config.corpus.train, config.corpus.validation))
    severity: Severity = "note" if train and train == validation else "problem" if rows >= LEAKED_MANY * of else "warning"
    return severity, {"rows": rows, "of": of, "share": round(rows / of, 4)}


def count_lost_rows(report: dict[str, Any], task: str) -> tuple[dict[str, int], int]:
    """`rejected` without what nobody misses: duplicates, which have a verdict of their own, and blank lines that separate texts."""
    harmless = {"duplicate", "empty"} if TASKS[task].blank_lines_harmless else {"duplicate"}
    reasons, rows = rejected(report)
    return {reason: n for reason, n in reasons.items() if reason not in harmless}, rows


MIXED = 0.02  # share of the pairs that go the other way than most (Khayrallah & Koehn 2018 measured 5% and more of noise)

SWAPPED = 0.5  # share of the pairs against the names of their columns

CHINESE, ENGLISH = {"chinese", "zh", "cn"}, {"english", "en"}  # names of columns


def says_chinese_to_english(config: Config) -> dict[str, str] | None:
    """The names of the source's and the target's column if they say so; None if they do not, or if aligned files have no columns."""
    first = next(iter(source_list(config.corpus.train)), None)
    names = {"source": "chinese", "target": "english"} | config.corpus.columns | ((first and first.columns) or {})
    return names if not (first and first.target_path) and names["source"] in CHINESE and names["target"] in ENGLISH else None


# ---- curves

FINITE = 1e100  # float32 ends at 3e38; what is beyond was not measured, and sums of it would be infinite

SHARES = {
    "unknown", "chinese_targets", "swapped_share", "copied_share", "repetition", "empty_share", "truncated_share", "untranslated_share",
    "stopped",
}  # fmt: skip

SHARE, DENSEST, MOST = 1.0, 64.0, 1e15  # a share; tokens a character; rows, bytes, steps, seconds, …


def number(value: Any) -> float | None:
    """A finite number, or None."""
    kind = type(value)  # no isinstance: a long run has a million of them
    return float(value) if (kind is float or kind is int) and -FINITE < value < FINITE else None


def plausible(key: str, value: Any) -> float | None:
    """A number that a file may have under `key`: none below zero, no share above one."""
    found = number(value)
    most = SHARE if key in SHARES else DENSEST if key == "tokens_per_character" else MOST
    return found if found is not None and 0 <= found <= most else None


def curve(records: list[dict[str, Any]], key: str) -> Curve:
    """The values of `key` in the order of steps; records without a number there are left out."""
    return sorted((Point(r["step"], value) for r in records if (value := number(r.get(key))) is not None), key=STEP)


def missing(records: list[dict[str, Any]], key: str) -> list[int]:
    """Steps of the records that have `key` and no number there: it was infinite or not a number, which JSON cannot say."""
    return [r["step"] for r in records if key in r and number(r[key]) is None]


def at(points: Curve, step: float) -> float | None:
    """The curve between its points: linear; before the first and after the last, those."""
    if not points:
        return None
    after = bisect_left(points, step, key=STEP)
    if after in (0, len(points)):
        return points[0 if after == 0 else -1].value
    a, b = points[after - 1], points[after]
    return a.value + (b.value - a.value) * (step - a.step) / (b.step - a.step)


def level(points: Curve, begin: float, end: float) -> float | None:
    """Median of the values in a part of the run, from share `begin` to share `end` of its steps; one batch does not move it."""
    if not points:
        return None
    last = points[-1].step
    part = [p.value for p in points[bisect_left(points, begin * last, key=STEP) : bisect_right(points, end * last, key=STEP)]]
    return statistics.median(part) if part else at(points, (begin + end) / 2 * last)


def noise(points: Curve) -> float:
    """Scatter (a standard deviation) of the second half's values around their trend, from neighbours' differences.

    The median of the differences is the trend, their median distance from it is robust against a spike; the difference of two
    independent values scatters √2 times as much as one.
    """
    half = [p.value for p in points if p.step > points[-1].step / 2]
    steps = [b - a for a, b in itertools.pairwise(half)]
    if len(steps) < 4:
        return 0.0
    middle = statistics.median(steps)
    return 1.4826 * statistics.median(abs(d - middle) for d in steps) / math.sqrt(2)

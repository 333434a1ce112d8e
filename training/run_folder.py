"""The run folder: who may write in it, its metrics.jsonl, and the pictures and pages made from that.

metrics.jsonl is the one record of a run. curves.png, samples.md and report.md are drawn from it, so after a resume they
are those of a run that never stopped.
"""

from __future__ import annotations

import json
import os
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

import filelock
import yaml

from training.config import Config, ConfigError


@contextmanager
def complaints(about: str) -> Iterator[None]:
    """What the file system refuses inside becomes a ConfigError that begins with `about`."""
    try:
        yield
    except OSError as error:
        raise ConfigError(f"{about} ({error.strerror or error})") from None


def of_model(folder: Path) -> Path:
    """Where the config and the curves of a model folder lie: in the run whose checkpoint it is, else beside the weights."""
    here = folder.resolve()
    return here.parents[1] if here.parent.name == "checkpoints" else here


def write(path: Path, text: str) -> None:
    """A whole file or none of it: written beside its place, then renamed."""
    beside = path.with_name(path.name + ".tmp")
    with open(beside, "w", encoding="utf-8", newline="\n") as f:
        f.write(text)
        f.flush()
        os.fsync(f.fileno())
    os.replace(beside, path)


def lock(folder: Path) -> filelock.BaseFileLock:
    """Keep a second run out of the folder for as long as the process lives; raises ConfigError if one is there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        held = filelock.FileLock(folder / ".lock")
        held.acquire(timeout=0)
    except filelock.Timeout:  # an OSError too, so it comes first
        raise ConfigError(f"run_dir: another run is writing in {folder}; wait for it or choose another --run_dir") from None
    except OSError as error:
        raise ConfigError(f"run_dir: cannot write in {folder} ({error.strerror or error})") from None
    return held


def refuse_foreign(folder: Path) -> None:
    """Raise ConfigError for a folder whose files no run wrote: a run would replace those that have the names of its own.

    A run's folder is known by the `.lock` that every run leaves, or by its config.yaml, which names every setting. An
    empty folder, or one with hidden files only, is anybody's.
    """
    with complaints(f"run_dir: cannot write in {folder}"):
        names = sorted(os.listdir(folder)) if os.path.lexists(folder) else []
    seen = [name for name in names if not name.startswith(".")]
    if seen and ".lock" not in names and not _config_of_ours(folder / "config.yaml"):
        shown = ", ".join(seen[:5]) + (", …" if len(seen) > 5 else "")
        raise ConfigError(f"run_dir: {folder} holds files that no run wrote ({shown}); choose a new folder, such as {folder / 'run'}")


def _config_of_ours(path: Path) -> bool:
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return False
    return isinstance(tree, dict) and {f.name for f in fields(Config)} <= set(tree)  # a user's own seldom says everything


def clear(folder: Path) -> None:
    """Remove what a try that never came to a checkpoint left: it would only mislead. Not before `refuse_foreign`."""
    with complaints(f"run_dir: cannot write in {folder}"):
        for name in ("metrics.jsonl", "tokenizer", "best", "latest", "report.md", "samples.md", "curves.png"):
            path = folder / name
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


class Metrics:
    """metrics.jsonl, one record an event, appended and flushed."""

    def __init__(self, folder: Path, step: int, evaluated: int, over: bool = False):
        """Records of a life that was cut off, after the `step` that the run goes on from, are dropped.

        Args:
            evaluated: the last step whose evaluation the checkpoint knows of.
            over: the run is at its end already; then the record of that end stays.
        """
        self.path = folder / "metrics.jsonl"
        last = {"evaluate": evaluated, "sample": evaluated, "end": -1}
        kept = [r for r in read(folder) if r["step"] <= last.get(r["event"], step) or (over and _finished(r, step))]
        self.finished = any(_finished(r, step) for r in kept)
        if not self.finished:
            (folder / "report.md").unlink(missing_ok=True)  # of an end that is none any more
        write(self.path, "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in kept))
        self._file = open(self.path, "a", encoding="utf-8", newline="\n")

    def add(self, event: str, step: int, seconds: float, **numbers: Any) -> None:
        """One record; numbers that are not finite become null, because JSON has no name for them."""
        record = {"event": event, "step": step, "seconds": round(seconds, 3)} | {k: _finite(v) for k, v in numbers.items()}
        self._file.write(json.dumps(record, ensure_ascii=False) + "\n")
        self._file.flush()

    def close(self) -> None:
        """No more records."""
        self._file.close()


def _finished(record: dict[str, Any], step: int) -> bool:
    return record["event"] == "end" and record["step"] == step and record.get("ended") == "finished"


def _finite(value: Any) -> Any:
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return value


def read(folder: Path) -> list[dict[str, Any]]:
    """The records so far; a last line that a kill cut off, and what is no record of ours, is left out."""
    return read_and_count(folder)[0]


def read_and_count(folder: Path) -> tuple[list[dict[str, Any]], int]:
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


# Fonts that have Chinese, of which most systems with such a page have one.
CHINESE = ("Noto Sans CJK SC", "Noto Sans CJK JP", "Source Han Sans SC", "PingFang SC", "Microsoft YaHei", "WenQuanYi Micro Hei")


def draw(folder: Path, title: str) -> None:
    """curves.png: training and validation loss, learning rate, and scores where there are any."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    records = read(folder)
    train = [r for r in records if r["event"] == "train" and r.get("loss") is not None]
    evaluations = [r for r in records if r["event"] == "evaluate" and r.get("val_loss") is not None]
    scores = [k for k in ("bleu", "chrf") if any(r.get(k) is not None for r in evaluations)]
    figure = Figure(figsize=(9, 4.2 if not scores else 6.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2 if scores else 1, 1, sharex=True, squeeze=False, height_ratios=[3, 2] if scores else [1])[:, 0]
    top = axes[0]
    top.plot([r["step"] for r in train], [r["loss"] for r in train], lw=1, color="#8aa6c1", label="training loss")
    if evaluations:
        top.plot(
            [r["step"] for r in evaluations], [r["val_loss"] for r in evaluations], "o-", ms=3, color="#c2491d", label="validation loss"
        )
        best = min(evaluations, key=lambda r: r["val_loss"])
        top.axvline(best["step"], color="#c2491d", lw=0.8, ls=":")
        top.annotate(f"best {best['val_loss']:.3f} at step {best['step']}", (best["step"], best["val_loss"]),
                     textcoords="offset points", xytext=(6, 10), fontsize=9)  # fmt: skip
    low, high = top.get_ylim()
    if train and low > 0 and high / low > 50:
        top.set_yscale("log")
    top.set_ylabel("nats per token")
    fonts, shown = _fonts(title if len(title) <= 60 else title[:59] + "…")
    top.set_title(shown, fontfamily=fonts, parse_math=False)
    rates = top.twinx()
    rates.plot([r["step"] for r in train], [r.get("learning_rate") for r in train], lw=0.8, color="#9a9a9a", ls="--")
    rates.set_ylabel("learning rate (dashed)", color="#777777")
    rates.set_ylim(bottom=0)
    top.legend(loc="upper right")
    for score in scores:
        have = [r for r in evaluations if r.get(score) is not None]
        axes[1].plot([r["step"] for r in have], [r[score] for r in have], "o-", ms=3, label={"bleu": "BLEU", "chrf": "chrF2"}[score])
    if scores:
        axes[1].set_ylabel("score")
        axes[1].legend()
    axes[-1].set_xlabel("optimizer steps")
    beside = folder / "curves.tmp.png"
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")  # a rare letter in the run's name: no news in the middle of a report
        figure.savefig(beside, dpi=110)
    os.replace(beside, folder / "curves.png")


def _fonts(title: str) -> tuple[list[str], str]:
    """Fonts for a run's name, and of the name what they can show."""
    from matplotlib.font_manager import fontManager

    installed = {font.name for font in fontManager.ttflist}
    chinese = [name for name in CHINESE if name in installed]
    return ["DejaVu Sans", *chinese], title if chinese else title.encode("ascii", "ignore").decode().strip()


def write_samples(folder: Path) -> None:
    """samples.md: what the model wrote at each evaluation, latest first."""
    lines = ["# Samples", ""]
    for record in reversed([r for r in read(folder) if r["event"] == "sample"]):
        lines += [f"## Step {record['step']:,}", ""]
        for s in record["samples"][:12]:
            if "reference" in s:
                lines += [
                    f"- {_code(s['prompt'])}  ",
                    f"  → {_code(s['text'])}" + (f"  \n  = {_code(s['reference'])}" if s["reference"] else ""),
                ]
            else:
                end = " ■" if s.get("stopped") else " …"
                lines.append(f"- **{_code(s['prompt'])}**{_code(s['text'])}{end}" if s["prompt"] else f"- {_code(s['text'])}{end}")
        lines.append("")
    write(folder / "samples.md", "\n".join([*lines, "■ the model ended the text itself; … it was cut at the longest length.", ""]))


def _code(text: str) -> str:
    """Text that Markdown shows as it is."""
    return "".join("\\" + c if c in "\\`*_{}[]<>#|" else c for c in text.replace("\n", " ⏎ "))

"""One trial of a study: the base's run with other values. Refused before it costs anything if it cannot work; recorded however it ends."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from training.base.errors import DISK, ConfigError, NotFinite, OutOfMemory, Stopped, Train
from training.diagnosis.diagnose import diagnose
from training.diagnosis.run_records import read_metrics
from training.estimate import numbers
from training.loop.signals import Signals
from training.model.build import count_on_paper, model_config
from training.model.tokenizer import StandIn
from training.settings.config import Config
from training.settings.load import check_config
from training.settings.task_specs import HIGHER_IS_BETTER
from training.setup.data import check_before_reading
from training.setup.processes import Processes
from training.sweeps import space
from training.sweeps.space import UNREAD
from training.sweeps.study import Claim
from training.tasks.base import TokenCache

SAMPLES = 4  # of a trial, for the gallery

POINTS = 200  # of a curve in study.json, at most


class Interrupted(Exception):
    """Ctrl-C or SIGTERM in a trial; what it has is saved and the study goes on with it."""


@dataclass(frozen=True)
class Outcome:
    """How a trial ended, why it failed or "", the model's parameters; `signal` if one came, which was too late to interrupt it."""

    ended: str
    reason: str = ""
    parameters: int = 0
    signal: str = ""


def config_of(base: Config, claim: Claim, tokenizer: str | None) -> Config:
    """The run's config in a trial.

    Args:
        tokenizer: the folder of the study's own, where the space does not vary it.
    """
    whole = space.with_values(base, claim.settings)
    if tokenizer:
        whole = replace(whole, tokenizer=replace(whole.tokenizer, path=tokenizer))
    log = replace(whole.log, preflight=False)  # its probe would take longer than many a trial
    return replace(whole, run_dir=str(claim.folder), seed=claim.seed, resume=True, log=log)


def refusal(config: Config, entries: int, processes: Processes) -> str:
    """Why this run cannot work, found without its corpus and its weights; empty if it may.

    Args:
        entries: of the tokenizer.
    """
    try:
        check_config(config)
        check_before_reading(config, processes)
        context = config.spec.context(config.batch)
        parameters = count_on_paper(config.task, model_config(config.task, config.model, StandIn(entries), context))
        there = numbers.memory_here(processes.device)
        shapes = config.spec.full_batch(config.batch)
        rows, length = shapes["labels"]
        if 12 * parameters > there:  # the least that any optimizer here needs
            return f"preflight: weights, gradients and optimizer take {12 * parameters / 1e9:.1f} GB or more, there are {there / 1e9:.1f}"
        if 16 * parameters + rows * length * (parameters + 16 * entries) > there / 2:  # far more than any takes; measuring costs a second
            memory = numbers.of_model(config, entries, shapes)[0]["memory"]
            fixed = memory["weights"] + memory["gradients"] + memory["optimizer"]
            if fixed > there:
                return f"preflight: weights, gradients and optimizer take {fixed / 1e9:.1f} GB, there are {there / 1e9:.1f}"
            if memory["peak_bytes"] > there:
                return f"preflight: a full micro-batch takes {memory['peak_bytes'] / 1e9:.1f} GB, there are {there / 1e9:.1f}"
    except ConfigError as error:
        return "; ".join(str(error).splitlines())
    return ""


def run(
    train: Train, config: Config, on_evaluation: Callable[[dict[str, Any]], str | None], token_cache: TokenCache, workers: int
) -> Outcome:  # fmt: skip
    """Train. What it says goes to log.txt in its folder.

    Raises:
        Interrupted: by a signal.
        Stopped, OSError: a full disk and the like, which is no fault of the trial.
    """
    signals = Signals()
    folder = Path(config.run_dir)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ".lock").touch()  # by which a run knows its own
    with open(folder / "log.txt", "a", encoding="utf-8") as log, contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
        try:
            result = train(config, on_evaluation, token_cache, workers, signals)
        except ConfigError as error:
            return Outcome("failed", "; ".join(str(error).splitlines()), signal=signals.received)
        except (NotFinite, OutOfMemory) as error:
            return Outcome(error.ended, str(error), signal=signals.received)
        except OSError as error:
            if error.errno in DISK:
                raise
            return Outcome("failed", f"{type(error).__name__}: {error}", signal=signals.received)
        except Stopped:
            raise
        except Exception as error:  # whatever a combination breaks, the next one may work
            return Outcome("failed", f"{type(error).__name__}: {' '.join(str(error).split())[:400]}", signal=signals.received)
    if result.ended == "interrupted":
        raise Interrupted
    return Outcome(result.ended, "", result.parameters, signals.received)


def record(config: Config, metric: str) -> dict[str, Any]:
    """What study.json says of a run: its numbers, curve, sample texts and the doctor's verdicts; of one without an evaluation,
    what it took.
    """
    folder = Path(config.run_dir)
    records = read_metrics(folder)
    evaluations = [r for r in records if r["event"] == "evaluate" and r.get(metric) is not None]
    steps = [r for r in records if r["event"] == "train"]
    tokens = {"tokens": steps[-1]["tokens"]} if steps else {}
    if not evaluations:
        return tokens
    best = (max if metric in HIGHER_IS_BETTER else min)(evaluations, key=lambda r: r[metric])
    samples: list[dict[str, Any]] = next((r["samples"] for r in records if r["event"] == "sample" and r["step"] == best["step"]), [])
    numbers = {k: v for k, v in best.items() if isinstance(v, int | float) and k not in ("step", "seconds")}
    thin = -(-len(evaluations) // POINTS)
    try:
        verdicts = [{"id": v.id, "severity": v.severity, "zh": v.text("zh"), "en": v.text("en")} for v in diagnose(folder, config)]
    except ConfigError:
        verdicts = []
    return {
        "value": best[metric], "best_step": best["step"], "step": records[-1]["step"], "training_seconds": records[-1]["seconds"],
        "train_loss": steps[-1]["loss"] if steps else None, "metrics": numbers, **tokens,
        "curve": [[r["step"], r[metric]] for r in evaluations[::-1][::thin][::-1]],
        "samples": [{k: s[k] for k in ("prompt", "text", "reference") if s.get(k)} for s in samples[:SAMPLES]], "verdicts": verdicts,
    }  # fmt: skip


def seconds_so_far(config: Config) -> float:
    """What earlier launches of this trial have trained, as its records say; what they lost when they were killed is not in them."""
    return max((float(r.get("seconds") or 0.0) for r in read_metrics(Path(config.run_dir))), default=0.0)


def forget(folder: Path) -> None:
    """Remove a trial's checkpoints; everything that says how it went stays."""
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    for name in ("best", "latest"):
        (folder / name).unlink(missing_ok=True)


def borrow(config: Config, shelf: Path) -> None:
    """Put what an earlier trial found in reading the same corpus into this trial's folder, so that it is not read through again."""
    there, here = _scan_of(config, shelf), Path(config.run_dir) / "corpus"
    if there.is_dir() and not here.exists():
        _link(there, here)


def lend(config: Config, shelf: Path) -> None:
    """Keep what this trial found in reading its corpus for the others; nothing if an earlier one did."""
    there, here = _scan_of(config, shelf), Path(config.run_dir) / "corpus"
    if (here / "report.json").is_file() and not there.exists():
        beside = there.with_name(f"{there.name}.{os.getpid()}")
        shutil.rmtree(beside, ignore_errors=True)  # of a killed process that had the same number
        _link(here, beside)
        with contextlib.suppress(OSError):  # another worker was first, and its files stay (`replacing` would put ours in their place)
            beside.rename(there)
        shutil.rmtree(beside, ignore_errors=True)


def _scan_of(config: Config, shelf: Path) -> Path:
    said = {k: v for k, v in asdict(config.corpus).items() if k not in UNREAD}
    said |= {"task": config.task, "most": config.evaluation.max_rows}
    return shelf / ("corpus-" + hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:12])


def _link(there: Path, here: Path) -> None:
    """The same files under another name: their readers replace them and never write into them."""
    here.mkdir(parents=True)
    for path in there.iterdir():
        try:
            os.link(path, here / path.name)
        except OSError:  # a file system without links
            shutil.copy2(path, here / path.name)

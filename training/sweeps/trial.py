"""One trial of a study: the base's run with other values. It is refused beforehand if it cannot work, and recorded however it ends."""

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

SAMPLES = 4  # samples of a trial that study.json keeps

POINTS = 200  # points of a curve in study.json, at most


class Interrupted(Exception):
    """Ctrl-C or SIGTERM has interrupted a trial. Its state is saved, and the study will resume it."""


@dataclass(frozen=True)
class Outcome:
    """How a trial ended.

    Attributes:
        ended: a word such as "complete" or "refused".
        reason: why it failed, or "".
        parameters: the number of the model's parameters.
        signal: a signal that came too late to interrupt the trial, or "".
    """

    ended: str
    reason: str = ""
    parameters: int = 0
    signal: str = ""


def config_of(base: Config, claim: Claim, tokenizer: str | None) -> Config:
    """The config of a trial's run.

    Args:
        tokenizer: the folder of the tokenizer that all trials share; None if the space varies it.
    """
    whole = space.with_values(base, claim.settings)
    if tokenizer:
        whole = replace(whole, tokenizer=replace(whole.tokenizer, path=tokenizer))
    log = replace(whole.log, preflight=False)  # its probe may take longer than a trial
    return replace(whole, run_dir=str(claim.folder), seed=claim.seed, resume=True, log=log)


def refusal(config: Config, entries: int, processes: Processes) -> str:
    """Why this run cannot work, found without reading its corpus or making its weights; "" if it may work.

    Args:
        entries: the size of the vocabulary.
    """
    try:
        check_config(config)
        check_before_reading(config, processes)
        context = config.spec.context(config.batch)
        parameters = count_on_paper(config.task, model_config(config.task, config.model, StandIn(entries), context))
        available = numbers.memory_here(processes.device)
        shapes = config.spec.full_batch(config.batch)
        rows, length = shapes["labels"]
        if 12 * parameters > available:  # bytes, the least that any optimizer here needs
            return (
                f"preflight: weights, gradients and optimizer take {12 * parameters / 1e9:.1f} GB or more, there are {available / 1e9:.1f}"
            )
        if (
            16 * parameters + rows * length * (parameters + 16 * entries) > available / 2
        ):  # a generous bound; only beyond it is the exact size worth a second
            memory = numbers.of_model(config, entries, shapes)[0]["memory"]
            fixed = memory["weights"] + memory["gradients"] + memory["optimizer"]
            if fixed > available:
                return f"preflight: weights, gradients and optimizer take {fixed / 1e9:.1f} GB, there are {available / 1e9:.1f}"
            if memory["peak_bytes"] > available:
                return f"preflight: a full micro-batch takes {memory['peak_bytes'] / 1e9:.1f} GB, there are {available / 1e9:.1f}"
    except ConfigError as error:
        return "; ".join(str(error).splitlines())
    return ""


def run(
    train: Train, config: Config, on_evaluation: Callable[[dict[str, Any]], str | None], token_cache: TokenCache, workers: int
) -> Outcome:  # fmt: skip
    """Train a trial. Its output goes to log.txt in its folder.

    Raises:
        Interrupted: if a signal ended it.
        Stopped, OSError: for a full disk and the like, which are not the trial's fault.
    """
    signals = Signals()
    folder = Path(config.run_dir)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ".lock").touch()  # by this file a run recognises its own folder
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
        except Exception as error:  # one setting may fail in any way, and the next may still work
            return Outcome("failed", f"{type(error).__name__}: {' '.join(str(error).split())[:400]}", signal=signals.received)
    if result.ended == "interrupted":
        raise Interrupted
    return Outcome(result.ended, "", result.parameters, signals.received)


def record(config: Config, metric: str) -> dict[str, Any]:
    """What study.json records of a run: its numbers, curve, samples and the doctor's verdicts; without an evaluation only its tokens."""
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
    """The seconds that earlier launches of this trial have trained by its records, which lack what a kill has lost."""
    return max((float(r.get("seconds") or 0.0) for r in read_metrics(Path(config.run_dir))), default=0.0)


def forget(folder: Path) -> None:
    """Remove a trial's checkpoints, and keep all its records."""
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    for name in ("best", "latest"):
        (folder / name).unlink(missing_ok=True)


def borrow(config: Config, shelf: Path) -> None:
    """Link an earlier trial's scan of the same corpus into this trial's folder, so that the corpus is not scanned again."""
    shared, own = _scan_of(config, shelf), Path(config.run_dir) / "corpus"
    if shared.is_dir() and not own.exists():
        _link(shared, own)


def lend(config: Config, shelf: Path) -> None:
    """Keep this trial's scan of its corpus for later trials, unless there is one already."""
    shared, own = _scan_of(config, shelf), Path(config.run_dir) / "corpus"
    if (own / "report.json").is_file() and not shared.exists():
        beside = shared.with_name(f"{shared.name}.{os.getpid()}")
        shutil.rmtree(beside, ignore_errors=True)  # left by a killed process with the same id
        _link(own, beside)
        with contextlib.suppress(OSError):  # another worker was first, and its files stay (`replacing` would overwrite them)
            beside.rename(shared)
        shutil.rmtree(beside, ignore_errors=True)


def _scan_of(config: Config, shelf: Path) -> Path:
    """The shared folder for scans of this corpus, named by what a scan depends on."""
    key = {k: v for k, v in asdict(config.corpus).items() if k not in UNREAD}
    key |= {"task": config.task, "most": config.evaluation.max_rows}
    return shelf / ("corpus-" + hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:12])


def _link(source: Path, target: Path) -> None:
    """Hard-link the files of a folder into a new one. This is safe, because files are replaced and never written into."""
    target.mkdir(parents=True)
    for path in source.iterdir():
        try:
            os.link(path, target / path.name)
        except OSError:  # a file system without hard links
            shutil.copy2(path, target / path.name)

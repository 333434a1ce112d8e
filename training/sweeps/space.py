"""A sweep's config: which run is trained, over which knobs, and for how long.

A knob (knob.py) is a key of the run's config with the values that it may take. Light: no torch, no Optuna.
"""

from __future__ import annotations

import dataclasses
import difflib
import itertools
import json
import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le

from training.base.errors import ConfigError
from training.settings import command_line
from training.settings.config import Config, CorpusConfig, SourceConfig
from training.settings.load import load_config
from training.settings.relations import odd_path
from training.settings.task_specs import LOSSES, METRICS, TASKS
from training.settings.values import read_section
from training.sweeps.knob import Knob, flat, in_order, nested, read_knob

TOKENIZER_DEPENDENT = ("val_loss", "perplexity")  # per token, so they compare only under the same tokenizer

MOST_POINTS = 100_000  # of a grid at most; all points are listed before the first trial

UNREAD = ("workers", "shuffle_rows")  # keys of the corpus section that do not affect which rows are used and held out

MEASURED_ON = ("evaluation.max_rows", "evaluation.generate_rows")  # and all keys below corpus.validation

OWN = ("run_dir", "resume", "seed", "log.preflight", "tokenizer.path")  # keys of the run's config that trial.config_of sets


@dataclass
class SweepConfig:
    """The config of a study (training/sweep.py)."""

    base: str
    """The config of a run, e.g. configs/gpt/stray_birds.yaml. Every trial is this run with other values of the knobs."""
    run_dir: str = "runs/sweep"
    """The folder of the study. A study that is there already is continued."""
    set: dict[str, Any] = field(default_factory=dict)
    """Values that replace the base's in every trial, by dotted keys, e.g. `{train.max_steps: 100}`."""
    space: dict[str, Any] = field(default_factory=dict)
    """The knobs. Each is a dotted key of the run's config with a list of values, or with a range such as `{low: 1.0e-4, high:
    1.0e-2, log: true}` (of whole numbers if both ends are whole; `step` is possible), or a name of your own with `{values:
    {small: {key: value, …}, …}}`, which sets several keys at once. With `when: {other.key: value}` a knob is turned only
    where that knob (or the base) has this value, or one of a list."""
    search: Literal["grid", "random", "tpe", "nsga2"] = "tpe"
    """`grid`: every combination once, in random order. `tpe` (Bergstra et al. 2011) and `nsga2` (Deb et al. 2002; with `against`)
    learn from the trials so far."""
    metric: Literal[METRICS] = "val_loss"  # type: ignore[valid-type]
    """What is optimised. Each run counts with its best evaluation."""
    against: Literal["none", "seconds", "parameters"] = "none"
    """A second aim, to be minimised: the seconds of training or the number of parameters. The result is then a Pareto front
    instead of a single best setting."""
    prune: Literal["none", "median", "hyperband"] = "none"
    """End a trial early if its metric is worse than the median of the others at the same step, or by Hyperband (Li et al. 2018)."""
    trials: Annotated[int, Gt(0)] | None = None
    """Budget: the number of trials, including failed and pruned ones, without repeats."""
    minutes: Annotated[float, Gt(0)] | None = None
    """Budget: minutes in trials, summed over all workers. The trial that exceeds it is finished."""
    tokens: Annotated[int, Gt(0), Le(10**15)] | None = None
    """Budget: the number of target tokens."""
    seed: Annotated[int, Ge(0), Le(2**31 - 1)] = 1
    """The seed of the search. The runs have the base's seed."""
    keep: Annotated[int, Ge(0), Le(2**31 - 1)] = 3
    """For how many of the best trials the checkpoints are kept. The others are removed when their trial ends."""
    repeat_best: Annotated[int, Ge(0), Le(2**31 - 1)] = 3
    """How many of the best settings are trained again with other seeds at the end, so that differences have error bars."""
    repeat_seeds: Annotated[int, Ge(0), Le(2**31 - 1)] = 2
    """With how many other seeds each of them is trained."""
    language: Literal["auto", "zh", "en"] = "auto"
    """The language of the report; `auto` is that of the locale. On the command line also `--lang`."""
    report: bool = False
    """Train nothing; only write the report on the recorded trials."""


def parse_sweep_args(argv: list[str] | None = None, description: str = "") -> SweepConfig:
    """Read `--config FILE` and overrides such as `--trials 20`. Raises ConfigError with all mistakes."""
    run = ("task", "is the config of a run; a sweep's names it under `base` and has a `space`, see configs/sweep")
    try:
        return command_line.read(SweepConfig, argv, description, relations, "configs/sweep/sentence.yaml", run, "language")
    except ConfigError as error:
        raise ConfigError(re.sub(r"unknown key (\w+); .*", _of_the_trials, str(error))) from None


def _of_the_trials(unknown: re.Match[str]) -> str:
    """The message about an unknown key, with a hint if it is a key of a run's config."""
    if unknown[1] not in {f.name for f in dataclasses.fields(Config)}:
        return unknown[0]
    return f"unknown key {unknown[1]}; what all trials are to have stands under `set` in the sweep's file, as set: {{train.max_steps: 300}}"


def relations(sweep: SweepConfig) -> list[str]:
    """A line for every invalid value, and every invalid combination of values, also in the space."""
    problems = []
    if not sweep.run_dir.strip():
        problems.append("run_dir: is empty; name a folder, e.g. runs/sweep-sentence")
    problems += [p for p in [odd_path("run_dir", sweep.run_dir), odd_path("base", sweep.base)] if p]
    if sweep.report and not (Path(sweep.run_dir) / "sweep.yaml").is_file():
        problems.append(f"run_dir: there is no study in {sweep.run_dir} to report on")
    if sweep.search != "grid" and sweep.trials is None and sweep.minutes is None and sweep.tokens is None:
        problems.append(f"search: no budget for {sweep.search}; set trials, minutes or tokens (a grid ends by itself)")
    if sweep.search == "nsga2" and sweep.against == "none":
        problems.append("search: nsga2 is for two aims; set against, or search: tpe")
    if sweep.prune != "none" and sweep.against != "none":
        problems.append("prune: a trial cannot be judged early by two aims; set prune: none")
    if not sweep.space:
        problems.append("space: no knob; name a key and its values, e.g. optim.learning_rate: [1.0e-3, 3.0e-3]")
    try:
        knobs(sweep)
    except ConfigError as error:
        problems += str(error).splitlines()
    return problems


def knobs(sweep: SweepConfig) -> list[Knob]:
    """The knobs of the space, each after those that its condition names. Raises ConfigError with all problems."""
    problems: list[str] = []
    axes: list[Knob] = []
    for key, value in sweep.space.items():
        try:
            axes.append(read_knob(str(key), value))
        except ConfigError as error:
            problems += str(error).splitlines()
    axes = in_order(axes, problems)
    if sweep.search == "grid":
        endless = [k.key for k in axes if not k.size]
        problems += [f"space.{key}: a grid needs a list of values, or a range with a step and no log" for key in endless]
        if not endless and math.prod(k.size for k in axes) > MOST_POINTS:
            problems.append(f"space: the grid has more than {MOST_POINTS:,} points; use search: random or tpe")
    if problems:
        raise ConfigError("\n".join(problems))
    return axes


def base_config(sweep: SweepConfig) -> Config:
    """The config of the run that all trials vary. Raises ConfigError if it, or a value of the space, is invalid."""
    if not sweep.base.strip():
        raise ConfigError("base: is empty; name the config of a run, e.g. configs/gpt/stray_birds.yaml")
    if odd := [k for k in flat(sweep.set) if k.partition(".")[0] not in {f.name for f in dataclasses.fields(Config)}]:
        near = difflib.get_close_matches(odd[0], [f.name for f in dataclasses.fields(Config)], 1, 0.5)
        raise ConfigError(f"set: unknown key {odd[0]!r}" + (f"; did you mean {near[0]}?" if near else ""))
    try:
        base = load_config(sweep.base, "set", flat(sweep.set))
    except ConfigError as error:
        message = str(error)
        raise ConfigError(f"base: {message}" if message.startswith(f"{sweep.base}: ") and "\n" not in message else message) from None
    problems = [f"set.{key}: the sweep sees to it itself; leave it out" for key in ("run_dir", "resume") if key in flat(sweep.set)]
    axes = knobs(sweep)
    for knob in axes:
        for value in knob.extremes():
            where = f"space.{knob.key}" + (f" ({value})" if knob.sets else "")
            problems += [f"{where}: {line}" for line in read_section(Config, nested(knob.settings(value)), {})]
        if own := sorted({key for value in knob.extremes() for key in knob.settings(value)} & set(OWN)):
            problems.append(f"space.{knob.key}: the sweep sees to {own[0]} itself")
        if idle := sorted({k for v in knob.extremes() for k in knob.settings(v) if k.startswith("log.") and k not in OWN}):
            problems.append(f"space.{knob.key}: {idle[0]} changes nothing that is measured")
        problems += [f"space.{knob.key}.when: {p}" for key, allowed in knob.when for p in _never(key, allowed, axes, base)]
    problems += _both(axes)
    turned = {key for k in axes for v in k.extremes() for key in k.settings(v)}
    if twice := sorted(turned & set(flat(sweep.set))):
        problems += [f"set.{key}: is a knob of the space too; leave it out here, the base has what it is otherwise" for key in twice]
    if sweep.metric in TOKENIZER_DEPENDENT and any(key.startswith("tokenizer.") for key in turned):
        problems.append(f"metric: {sweep.metric} does not compare under different tokenizers; use bits_per_character")
    reading = sorted(key for key in turned if key.startswith("corpus.") and key.removeprefix("corpus.") not in UNREAD)
    if base.corpus.validation is None and reading:
        problems.append(f"space.{reading[0]}: needs corpus.validation: trials are to be measured on the same rows, whatever they train on")
    measured = sorted(key for key in turned if key in MEASURED_ON or key.startswith("corpus.validation"))
    if measured and base.corpus.validation is not None:
        problems.append(f"space.{measured[0]}: trials are to be measured on the same rows; put it under set")
    if base.corpus.validation is None and not base.corpus.validation_share:
        problems.append(f"base: nothing to measure {sweep.metric} on; give it corpus.validation, or a corpus.validation_share above 0")
    if sweep.metric not in (has := [*LOSSES, *base.spec.scores]):
        tasks = " and ".join(name for name, spec in TASKS.items() if sweep.metric in spec.scores)
        problems.append(f"metric: {sweep.metric} is for {tasks}; a {base.task} has {', '.join(has[:-1])} and {has[-1]}")
    if problems:
        raise ConfigError("\n".join(dict.fromkeys(problems)))
    return base


def _never(key: str, allowed: tuple[Any, ...], axes: list[Knob], base: Config) -> list[str]:
    """The reasons why a condition can never hold; empty if it can."""
    knob = next((k for k in axes if k.key == key), None)
    if not allowed:
        return [f"{key} has no value to be; name one"]
    if knob is None:
        value = value_of(base, key, ...)
        if value is ...:
            return [f"{key} is no knob and no key of the base"]
        return [] if value in allowed else [f"{key} is {value} in the base and no knob, so this never holds"]
    if knob.values is None:
        return [f"{key} goes from {knob.low} to {knob.high}" for v in allowed if not _within(v, knob)]
    return [f"{key} has no value {v}; it has {', '.join(map(str, knob.values))}" for v in allowed if v not in knob.values]


def _within(value: Any, knob: Knob) -> bool:
    """Whether a value is a number in the knob's range."""
    return isinstance(value, int | float) and not isinstance(value, bool) and knob.low <= value <= knob.high


def _both(axes: list[Knob]) -> list[str]:
    """A line for every two knobs that may set the same key at the same time."""
    problems = []
    for one, other in itertools.combinations(axes, 2):
        shared = {k for v in one.extremes() for k in one.settings(v)} & {k for v in other.extremes() for k in other.settings(v)}
        apart = any(key == k and not set(v) & set(w) for key, v in one.when for k, w in other.when)
        if shared and not apart:
            problems.append(f"space.{other.key}: sets {min(shared)}, which space.{one.key} sets too; the last one would win")
    return problems


def value_of(config: Config, key: str, missing: Any = None) -> Any:
    """The value of a dotted key; `missing` if there is no such key."""
    value: Any = config
    for part in key.split("."):
        value = value.get(part, missing) if isinstance(value, dict) else getattr(value, part, missing)
    return value


def holds(knob: Knob, params: dict[str, Any], base: Config, axes: list[Knob]) -> bool:
    """Whether a knob's condition holds. A knob among `axes` that is not turned itself has no value; other keys have the base's."""
    names = {k.key for k in axes} if knob.when else set()
    return all((key in params and params[key] in allowed) if key in names else value_of(base, key) in allowed for key, allowed in knob.when)


def with_values(config: Config, values: dict[str, Any]) -> Config:
    """A copy of `config` with dotted keys set."""

    def put(holder: Any, tree: dict[str, Any]) -> Any:
        if isinstance(holder, dict):
            return {**holder, **tree}
        if isinstance(holder, CorpusConfig):
            tree = {k: _sources(v) if k in ("train", "validation") else v for k, v in tree.items()}
        inner = {k: put(getattr(holder, k), v) if isinstance(v, dict) else v for k, v in tree.items()}
        return dataclasses.replace(holder, **inner)

    made: Config = put(config, nested(values))
    return made


def _sources(value: Any) -> Any:
    """Sources of text, converted from YAML's dicts to the config's classes."""
    if isinstance(value, list):
        return [_sources(item) for item in value]
    return SourceConfig(**value) if isinstance(value, dict) else value


def grid(axes: list[Knob], base: Config) -> list[dict[str, Any]]:
    """Every combination of the knobs' points. Combinations that differ only in a knob that is not turned count once."""
    settings: dict[str, dict[str, Any]] = {}
    for values in itertools.product(*(k.points() for k in axes)):
        params: dict[str, Any] = {}
        for knob, value in zip(axes, values):
            if holds(knob, params, base, axes):
                params[knob.key] = value
        settings[json.dumps(params, sort_keys=True)] = params
    return list(settings.values())

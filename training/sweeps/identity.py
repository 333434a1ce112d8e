"""The identity of a study, stored in its `sweep.yaml`: the settings under which its trials can be compared."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import yaml

from training.base.errors import ConfigError
from training.settings import checks
from training.settings.config import Config, SourceConfig
from training.sweeps.space import SweepConfig


def of(sweep: SweepConfig, base: Config) -> dict[str, Any]:
    """The identity of a study: everything that must not change between its trials. The budget, `keep` and the repeats may."""
    own = {k: getattr(sweep, k) for k in ("space", "search", "metric", "against", "prune", "seed")}
    whole = dataclasses.asdict(dataclasses.replace(base, run_dir="", resume=False))
    plain: dict[str, Any] = yaml.safe_load(dump({**own, "base": whole}))
    return plain


def _comparable(identified: dict[str, Any]) -> dict[str, Any]:
    """An identity with defaults for what an older version did not write, and without licences, which change nothing."""

    def sources(value: Any) -> Any:
        if isinstance(value, list):
            return [sources(item) for item in value]
        if isinstance(value, str):
            return sources({"path": value})
        if not isinstance(value, dict):
            return value
        return {k: v for k, v in {**dataclasses.asdict(SourceConfig(path="")), **value}.items() if k != "license"}

    base = identified.get("base")
    if not isinstance(base, dict) or not isinstance(base.get("corpus"), dict):
        return identified
    whole = checks.merge(dataclasses.asdict(Config(task=base.get("task", "gpt"))), base)
    whole["corpus"] |= {k: sources(whole["corpus"][k]) for k in ("train", "validation")}
    return {**identified, "base": whole}


def dump(identified: dict[str, Any]) -> str:
    """The text of sweep.yaml."""
    return yaml.safe_dump(identified, sort_keys=False, allow_unicode=True, width=100)


def read(path: Path) -> dict[str, Any] | None:
    """The identity in sweep.yaml; None if there is no file yet, {} if it is damaged."""
    try:
        identified = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError, yaml.YAMLError):  # not UTF-8, an impossible date, endless brackets
        identified = {}
    return identified if isinstance(identified, dict) else {}


def damaged(folder: Path) -> ConfigError:
    """The error to raise if sweep.yaml cannot be understood."""
    return ConfigError(f"run_dir: {folder / 'sweep.yaml'} is damaged, so nobody knows which study that is; choose another --run_dir")


def refuse_other(folder: Path, now: dict[str, Any], before: dict[str, Any]) -> None:
    """Raise ConfigError with the differences if the study in `folder` (`before`) is not the study `now`."""
    if not before:
        raise damaged(folder)
    now, before = _comparable(now), _comparable(before)
    changed = [k for k in now if now[k] != before.get(k)]
    if not changed:
        return
    old, new = (dict(checks.leaves("", {k: identified.get(k) for k in changed})) for identified in (before, now))
    keys = [k for k in dict.fromkeys([*old, *new]) if old.get(k) != new.get(k)]
    more = "; …" if len(keys) > 4 else ""
    changes = "; ".join(f"{k} was {checks.shown(old.get(k))} and is {checks.shown(new.get(k))} now" for k in keys[:4])
    raise ConfigError(
        f"run_dir: the study in {folder} has another {' and another '.join(changed)} ({changes}{more}); its "
        "trials would not compare. Choose another --run_dir, or put it back (the budget, keep, and the repeats may change)"
    )

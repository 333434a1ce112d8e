"""What makes a study this one, as `sweep.yaml` in its folder has it; trials under another of it would not compare."""

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
    """What makes a study this one: under another of these its trials would not compare. Budget, keep and repeats are no part of it."""
    said = {k: getattr(sweep, k) for k in ("space", "search", "metric", "against", "prune", "seed")}
    whole = dataclasses.asdict(dataclasses.replace(base, run_dir="", resume=False))
    plain: dict[str, Any] = yaml.safe_load(dump({**said, "base": whole}))
    return plain


def _comparable(identified: dict[str, Any]) -> dict[str, Any]:
    """An identity as an older version may have written it: what it does not say is as by default, and licences change nothing."""

    def sources(said: Any) -> Any:
        if isinstance(said, list):
            return [sources(one) for one in said]
        if isinstance(said, str):
            return sources({"path": said})
        if not isinstance(said, dict):
            return said
        return {k: v for k, v in {**dataclasses.asdict(SourceConfig(path="")), **said}.items() if k != "license"}

    base = identified.get("base")
    if not isinstance(base, dict) or not isinstance(base.get("corpus"), dict):
        return identified
    whole = checks.merge(dataclasses.asdict(Config(task=base.get("task", "gpt"))), base)
    whole["corpus"] |= {k: sources(whole["corpus"][k]) for k in ("train", "validation")}
    return {**identified, "base": whole}


def dump(identified: dict[str, Any]) -> str:
    """As sweep.yaml has it."""
    return yaml.safe_dump(identified, sort_keys=False, allow_unicode=True, width=100)


def read(path: Path) -> dict[str, Any] | None:
    """What `dump` wrote; None if there is nothing yet."""
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError, yaml.YAMLError):  # no UTF-8, a date that is none; brackets without end
        found = {}
    return found if isinstance(found, dict) else {}


def damaged(folder: Path) -> ConfigError:
    """To be raised where sweep.yaml says nothing that can be understood."""
    return ConfigError(f"run_dir: {folder / 'sweep.yaml'} is damaged, so nobody knows which study that is; choose another --run_dir")


def refuse_other(folder: Path, now: dict[str, Any], before: dict[str, Any]) -> None:
    """Raises ConfigError, with what differs, if the study in `folder` (`before`) is another one than `now`."""
    if not before:
        raise damaged(folder)
    now, before = _comparable(now), _comparable(before)
    changed = [k for k in now if now[k] != before.get(k)]
    if not changed:
        return
    old, new = (dict(checks.leaves("", {k: said.get(k) for k in changed})) for said in (before, now))
    keys = [k for k in dict.fromkeys([*old, *new]) if old.get(k) != new.get(k)]
    more = "; …" if len(keys) > 4 else ""
    told = "; ".join(f"{k} was {checks.shown(old.get(k))} and is {checks.shown(new.get(k))} now" for k in keys[:4])
    raise ConfigError(
        f"run_dir: the study in {folder} has another {' and another '.join(changed)} ({told}{more}); its "
        "trials would not compare. Choose another --run_dir, or put it back (the budget, keep, and the repeats may change)"
    )

"""A config that fits: `training/preflight.py --fit true`. The micro-batch becomes smaller, the tokens of a step stay as in the config."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from training.base.errors import ConfigError
from training.base.files import write_text
from training.settings.config import Config, dump_config


def fitted_path(config: Config, out: str | None, argv: list[str]) -> Path:
    """Path for the config that fits: `--out`, or beside the last config file of the command line, or beside the run folder."""
    if out:
        return Path(out)
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--config", action="append")
    if files := parser.parse_known_args(argv)[0].config:
        return Path(files[-1]).with_name(Path(files[-1]).stem + ".fit.yaml")
    run = Path(config.run_dir)
    return run.with_name(run.name + ".fit.yaml") if run.name not in ("", "..") else run / "preflight.fit.yaml"  # for ".", "/" and ".."


def fit(config: Config, estimate: dict[str, Any], path: Path, overwrite: bool) -> dict[str, Any]:
    """Write a config whose micro-batch fits, with as many tokens a step as before.

    Args:
        overwrite: whether an existing file may be replaced.

    Returns:
        `fitted`, its path, or None if no micro-batch is small enough; and `fitted_step`, the micro-batches that its steps are made of.

    Raises:
        ConfigError: if a different file exists, or the file cannot be written.
    """
    spec, largest, before = config.spec, estimate["memory"]["largest_batch"], config.train.gradient_accumulation_steps
    key, now = spec.micro_batch(config.batch)
    if not largest:
        return {"fitted": None}
    size, accumulation, fitted = now, before, config
    if largest < now:
        size, accumulation = divided(now * before, spec.smallest_batch(config.batch), largest, exactly=spec.micro_batch_unit == "rows")
        changed: dict[str, Any] = {spec.micro_batch_key: size}
        batch = replace(config.batch, **changed)
        fitted = replace(config, batch=batch, train=replace(config.train, gradient_accumulation_steps=accumulation))
    text = dump_config(fitted)
    try:
        if path.exists() and not overwrite and path.read_bytes() != text.encode():
            raise ConfigError(f"--fit: {path} is there already and says something else; --out {path} replaces it")
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, text)
    except OSError as error:
        raise ConfigError(f"--out: cannot write {path} ({error.strerror})") from None
    step = {"key": key, "size": size, "accumulation": accumulation, "whole": size * accumulation, "asked": now * before}
    return {"fitted": str(path), "fitted_step": step}


CLOSE = 0.02  # a step may be larger or smaller than asked by this share


def divided(asked: int, least: int, most: int, exactly: bool) -> tuple[int, int]:
    """A size of micro-batches from `least` to `most`, and how many make a step: the largest size whose step comes close to `asked`.

    Args:
        exactly: prefer a size that divides `asked`, unless it is less than half of `most`.
    """
    sizes = range(most, least - 1, -1)
    fine = [n for n in sizes if abs(n * round(asked / n) - asked) <= CLOSE * asked]
    even = next((n for n in sizes if asked % n == 0), 0)
    if even and (not fine or (exactly and 2 * even >= most)):
        return even, asked // even
    size = fine[0] if fine else min(sizes, key=lambda n: abs(n * round(asked / n) - asked))
    times = round(asked / size)
    return min(most, max(least, round(asked / times))), times

"""The values of knobs: when two are equal, how they are sorted, and how they are written. Light: no torch, no Optuna."""

from __future__ import annotations

import json
import sys
from typing import Any


def is_number(value: Any) -> bool:
    """Whether a value is a finite number; true and false are not."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def number(value: Any) -> float | None:
    """`value` as a float; None if it is not a finite number, or so large that its square is not finite."""
    return float(value) if is_number(value) and abs(value) < 1e100 else None


def name_of(value: Any) -> str:
    """A text that is the same for equal values: 1 and 1.0 share one, while 1, true and "1" have different ones."""
    return repr(float(value)) if is_number(value) else json.dumps(value)


def by_size(value: Any) -> tuple[bool, float, str]:
    """A sort key: numbers by size, then everything else by its text."""
    return not is_number(value), float(value) if is_number(value) else 0.0, str(value)


def as_yaml(value: Any) -> str:
    """A value as YAML text that reads back as the same value. A number with an exponent needs a decimal point for that."""
    if isinstance(value, float):
        digits = repr(value)
        return digits.replace("e", ".0e") if "e" in digits and "." not in digits else digits
    return short_text(value)


def short_text(value: Any) -> str:
    """A short text for tables and pictures: four digits of a number; null, true and false as in YAML."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def spans_decades(values: list[float]) -> bool:
    """Whether the values need a logarithmic scale."""
    return bool(values) and min(values) > 0 and max(values) / min(values) > 50

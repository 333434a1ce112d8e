"""The values that a knob may take: what tells two of them apart, and how they are written. Light: no torch, no Optuna."""

from __future__ import annotations

import json
import sys
from typing import Any


def is_number(value: Any) -> bool:
    """Whether it is a finite number; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def number(value: Any) -> float | None:
    """None for what is no finite number, and for numbers whose squares would not be finite."""
    return float(value) if is_number(value) and abs(value) < 1e100 else None


def name_of(value: Any) -> str:
    """A name that is equal for equal values: 1 and 1.0 share one, while 1, true and "1" have one each."""
    return repr(float(value)) if is_number(value) else json.dumps(value)


def by_size(value: Any) -> tuple[bool, float, str]:
    """A key for sorting: numbers by size, then everything else by its text."""
    return not is_number(value), float(value) if is_number(value) else 0.0, str(value)


def as_yaml(value: Any) -> str:
    """A value as it may stand in a config: YAML reads the same number, for which an exponent needs a point before it."""
    if isinstance(value, float):
        digits = repr(value)
        return digits.replace("e", ".0e") if "e" in digits and "." not in digits else digits
    return short_text(value)


def short_text(value: Any) -> str:
    """A value in short, for tables and pictures: four digits of a number, YAML's words for null, true and false."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def spans_decades(values: list[float]) -> bool:
    """Whether they are read better on a logarithmic scale."""
    return bool(values) and min(values) > 0 and max(values) / min(values) > 50

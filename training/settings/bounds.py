"""Checking the numbers of a config against the bounds beside its fields: `Annotated[int, Gt(0)]`.

Besides, every number must be finite, and a whole number without an upper bound must fit into 32 bits, which libraries use for it.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterator
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from annotated_types import Ge, Gt, Le, Lt

MOST = 2**31 - 1  # the largest whole number for a field without an upper bound


def hints_of(cls: type) -> dict[str, Any]:
    """The fields of a dataclass with their types and bounds."""
    return _hints(cls)


@functools.cache  # in a function of its own, because mypy does not accept every type as hashable
def _hints(cls: Any) -> dict[str, Any]:
    return get_type_hints(cls, include_extras=True)


def out_of_bounds(config: Any) -> list[str]:
    """A line for every number in a tree of dataclasses that is not finite or is outside its field's bounds."""
    return [f"{place} {problem}" for place, value, hint in _numbers(config, "") if (problem := wrong(value, bounds(hint)))]


def bounds(hint: Any) -> tuple[Any, ...]:
    """The bounds in a type hint, optional or not: `Annotated[int, Gt(0)] | None` gives (Gt(0),)."""
    if get_origin(hint) is Annotated:
        return tuple(hint.__metadata__)
    return next((bounds(arm) for arm in get_args(hint) if get_origin(arm) is Annotated), ())


def wrong(value: float, limits: tuple[Any, ...] = ()) -> str:
    """Why a number is invalid, and which are valid; empty if it is valid.

    Args:
        limits: its bounds: any of Gt, Ge, Lt, Le.
    """
    if not math.isfinite(value):
        return "is not a finite number"
    low = next((b for b in limits if isinstance(b, Gt | Ge)), Ge(-math.inf))
    own = next((b for b in limits if isinstance(b, Lt | Le)), None)
    high = own or Le(MOST if isinstance(value, int) else math.inf)
    below = not (value > low.gt if isinstance(low, Gt) else value >= low.ge)  # type: ignore[operator]
    above = not (value < high.lt if isinstance(high, Lt) else value <= high.le)  # type: ignore[operator]
    if not below and not above:
        return ""
    if own and isinstance(low, Ge):
        return f"must be at least {low.ge} and below {own.lt}" if isinstance(own, Lt) else f"must lie between {low.ge} and {own.le}"
    if above:
        return f"is too large; below {high.lt}" if isinstance(high, Lt) else f"is too large; at most {high.le}"
    if isinstance(low, Gt):
        return "is not a positive number" if low.gt == 0 else f"is too small; above {low.gt}"
    return "must not be negative" if low.ge == 0 else f"is too small; at least {low.ge}"


def _numbers(value: Any, place: str) -> Iterator[tuple[str, float, Any]]:
    """("key: value", number, type hint) of each number in a dataclass and the dataclasses in it."""
    for f in dataclasses.fields(value):
        hint, inner = hints_of(type(value))[f.name], getattr(value, f.name)
        name = f"{place}.{f.name}" if place else f.name
        if dataclasses.is_dataclass(inner) and inner is not None and hint is type(inner):
            yield from _numbers(inner, name)
        elif isinstance(inner, int | float) and not isinstance(inner, bool):
            yield f"{name}: {inner}", inner, hint
        else:
            for item in inner if isinstance(inner, list) else [inner]:
                if dataclasses.is_dataclass(item):  # one of several sources, which the message tells apart by path
                    numbers = _numbers(item, "")
                    yield from ((f"{name}: {at.replace(': ', ' ')} of {getattr(item, 'path', '')}", v, h) for at, v, h in numbers)

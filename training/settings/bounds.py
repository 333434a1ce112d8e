"""Whether the numbers of a config lie within the bounds that stand beside its fields: `Annotated[int, Gt(0)]`.

Whatever a field says, a number is finite, and a whole one fits into the 32 bits that libraries have for it.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterator
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from annotated_types import Ge, Gt, Le, Lt

MOST = 2**31 - 1  # of a whole number whose field has no bound of its own


def hints_of(cls: type) -> dict[str, Any]:
    """The fields of a dataclass with their types and bounds."""
    return _hints(cls)


@functools.cache
def _hints(cls: type) -> dict[str, Any]:
    return get_type_hints(cls, include_extras=True)


def out_of_bounds(config: Any) -> list[str]:
    """A line for every number in a tree of dataclasses that is not finite or lies outside its field's bounds."""
    return [f"{place} {problem}" for place, value, hint in _numbers(config, "") if (problem := wrong(value, bounds(hint)))]


def bounds(hint: Any) -> tuple[Any, ...]:
    """What stands beside a type, also where it may be None instead: (Gt(0),) of `Annotated[int, Gt(0)] | None`."""
    if get_origin(hint) is Annotated:
        return tuple(hint.__metadata__)
    return next((bounds(arm) for arm in get_args(hint) if get_origin(arm) is Annotated), ())


def wrong(value: float, beside: tuple[Any, ...] = ()) -> str:
    """What is wrong with a number, and what would be right; empty if nothing is.

    Args:
        beside: its bounds: any of Gt, Ge, Lt, Le.
    """
    if not math.isfinite(value):
        return "is not a finite number"
    low = next((b for b in beside if isinstance(b, Gt | Ge)), Ge(-math.inf))
    own = next((b for b in beside if isinstance(b, Lt | Le)), None)
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
    """(place and value, number, type hint) of each number in a field of a dataclass or of those inside it."""
    for f in dataclasses.fields(value):
        hint, inner = hints_of(type(value))[f.name], getattr(value, f.name)
        name = f"{place}.{f.name}" if place else f.name
        if dataclasses.is_dataclass(inner) and inner is not None and hint is type(inner):
            yield from _numbers(inner, name)
        elif isinstance(inner, int | float) and not isinstance(inner, bool):
            yield f"{name}: {inner}", inner, hint
        else:
            for one in inner if isinstance(inner, list) else [inner]:
                if dataclasses.is_dataclass(one):  # one of several sources, which its path tells apart
                    numbers = _numbers(one, "")
                    yield from ((f"{name}: {at.replace(': ', ' ')} of {getattr(one, 'path', '')}", v, h) for at, v, h in numbers)

"""Values from a config file or a command line, converted to the types of a tree of dataclasses; every mistake is one line.

Text from the command line, or a quoted text for a field that holds a number, is read as YAML. For a field of text it stays as it is.
"""

from __future__ import annotations

import dataclasses
import re
import unicodedata
from typing import Annotated, Any, Literal, get_args, get_origin

from training.settings import checks, yaml_text
from training.settings.bounds import hints_of


class Typed(str):
    """A value as it was typed on the command line. Whether `7` is a number depends on the field."""


class Added(Typed):
    """A value to append to the field's list: `--corpus.train+ more.txt`."""


class Nothing(Typed):
    """Stands for the missing value of an option."""


class Dotted(dict[str, Any]):
    """A tree from dotted options, which is merged: `--model.n_layer 2` leaves the other keys of `model` as they are."""


class Wrong(Exception):
    """An invalid value.

    Attributes:
        lines: the mistakes, one a line.
    """

    def __init__(self, *lines: str):
        super().__init__("\n".join(lines))
        self.lines = lines


WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}


def read_section(cls: type, tree: dict[Any, Any], into: dict[str, Any], prefix: str = "", root: type | None = None) -> list[str]:
    """Convert the values of `tree` to the types of `cls` and put them into `into`, over what is there.

    Args:
        prefix: the beginning of the section's keys, e.g. `optim.`.
        root: the class of the whole config, for hints about keys in the wrong section.

    Returns:
        A line for each mistake.
    """
    lines: list[str] = []
    hints = hints_of(cls)
    for key, value in tree.items():
        place = f"{prefix}{key}"
        if key not in hints:
            lines.append(checks.unknown(str(key), cls, prefix, root or cls))
        elif dataclasses.is_dataclass(hints[key]) and isinstance(hints[key], type):
            if isinstance(value, dict):
                lines += read_section(hints[key], value, into.setdefault(key, {}), f"{place}.", root or cls)
            else:
                what = (
                    "is empty; leave it out or give it keys"
                    if value is None
                    else f"{_short(value)} is not valid here; wanted keys and values"
                )
                lines.append(f"{place}: {what}: {', '.join(hints_of(hints[key]))}")
        else:
            try:
                into[key] = _over(cls, key, into, value, place, root or cls)
            except Wrong as error:
                lines += error.lines
    return lines


def read(hint: Any, value: Any, place: str, root: type) -> Any:
    """`value` converted to the type `hint`; raises Wrong."""
    kinds = arms(hint)
    if isinstance(value, Typed) and value == "null" and type(None) in kinds:
        return None
    given = value
    if isinstance(value, str):
        try:
            value = _from_text(value, kinds)
        except yaml_text.NotReadable as error:
            raise Wrong(f"{place}: {_short(value)}: {error}") from None
    kind = next((kind for kind in kinds if _takes(kind, value)), None)
    if kind is None:
        raise Wrong(f"{place}: {_short(given)} is not valid here; wanted {in_words(hint)}")
    if kind is Any:
        return _plain(value)
    if dataclasses.is_dataclass(kind):
        return _made(kind, value, place, root)  # type: ignore[arg-type]
    if get_origin(kind) is list:
        return _all(get_args(kind)[0], [(place, item) for item in value], root)
    if get_origin(kind) is dict:
        if odd := [key for key in value if not isinstance(key, str)]:
            raise Wrong(f"{place}.{odd[0]}: this key is not a text; put it in quotes")
        return dict(zip(value, _all(get_args(kind)[1], [(f"{place}.{key}", inner) for key, inner in value.items()], root)))
    if get_origin(kind) is Literal:
        return "no" if value is False else str(value)
    return float(value) if kind is float else str(value) if kind is str else value


def _short(value: Any) -> str:
    """A value as Python writes it, cut where it would fill the screen."""
    text = repr(value)
    return text if len(text) <= 200 else text[:199] + "…"


def _all(hint: Any, items: list[tuple[str, Any]], root: type) -> list[Any]:
    """Values converted to one type, from (place, value); raises Wrong with the mistakes of all."""
    values, lines = [], []  # type: tuple[list[Any], list[str]]
    for place, item in items:
        try:
            values.append(read(hint, item, place, root))
        except Wrong as error:
            lines += error.lines
    if lines:
        raise Wrong(*lines)
    return values


def in_words(hint: Any) -> str:
    """A type in words; Literal['a', 'b'] gives "one of a, b"."""
    kinds = [kind for kind in arms(hint) if kind is not type(None)]
    if len(kinds) > 1:
        several = any(get_origin(kind) is list for kind in kinds)
        return "a path, a source (path: …, and what belongs to it) or a list of them" if several else "a path, or keys and values"
    (kind,) = kinds
    if kind in WORDS:
        return WORDS[kind]
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(map(str, get_args(kind)))
    return "a list, each " + in_words(get_args(kind)[0]) if get_origin(kind) is list else "keys and values in braces"


def arms(hint: Any) -> list[Any]:
    """The types that a value may have, without bounds: `Annotated[int, Gt(0)] | None` gives int and NoneType."""
    bare = _bare(hint)
    return [bare] if get_origin(bare) in (None, list, dict, Literal) else [_bare(arm) for arm in get_args(bare)]


def _bare(hint: Any) -> Any:
    return get_args(hint)[0] if get_origin(hint) is Annotated else hint


def _over(cls: type, key: str, before: dict[str, Any], value: Any, place: str, root: type) -> Any:
    """The new value of a field of `cls`; keys and items to be added are merged into the value in `before`. Raises Wrong."""
    hint = hints_of(cls)[key]
    if isinstance(value, Nothing):
        raise Wrong(f"{place}: no value given; wanted {in_words(hint)}")
    if value is None and not {type(None), Any} & set(arms(hint)):
        raise Wrong(f"{place}: null is not valid here; wanted {in_words(hint)}, or leave the key out for its default")
    if isinstance(value, Added):
        present = before[key] if key in before else default(cls, key)
        added = value if value.startswith("[") else [value]
        return [*(present if isinstance(present, list) else [present]), *read(hint, added, place, root)]
    new = read(hint, value, place, root)
    return checks.merge(before.get(key) or {}, new) if isinstance(value, Dotted) and isinstance(new, dict) else new


def default(cls: type, key: str) -> Any:
    """The default of a dataclass's field; MISSING if it has none."""
    (field,) = (f for f in dataclasses.fields(cls) if f.name == key)
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


def _made(cls: type, tree: dict[Any, Any], place: str, root: type) -> Any:
    """An object of a dataclass that is an item of a list or one of several types, such as a source; raises Wrong."""
    values: dict[str, Any] = {}
    lines = read_section(cls, tree, values, f"{place}.", root)
    required = [f.name for f in dataclasses.fields(cls) if default(cls, f.name) is dataclasses.MISSING]
    lines += [f"{place}: {_short(tree)} has no {name}" for name in required if name not in tree]
    if lines:
        raise Wrong(*lines)
    return cls(**values)


def _takes(kind: Any, value: Any) -> bool:
    """Whether a value is of a type, its items aside."""
    if kind is Any:
        return True
    if isinstance(value, dict):
        return dataclasses.is_dataclass(kind) or get_origin(kind) is dict
    if get_origin(kind) is Literal:
        return "no" in get_args(kind) if value is False else value in get_args(kind)  # YAML reads an unquoted no as False
    if kind is float and type(value) is int:
        return abs(value) < 2**1023
    return isinstance(value, str) if kind is str else type(value) is (get_origin(kind) or kind)


def _from_text(text: str, kinds: list[Any]) -> Any:
    """A text read as YAML if a field of these types needs that, else unchanged; raises NotReadable."""
    typed = isinstance(text, Typed)
    stays = str in kinds or any(get_origin(kind) is Literal for kind in kinds) or (Any in kinds and not typed)
    holders = [kind for kind in kinds if get_origin(kind) in (list, dict) or dataclasses.is_dataclass(kind) or (kind is Any and typed)]
    brackets = bool(holders) and text.startswith(("[", "{"))
    if not text.strip() or (stays and not brackets):
        return text
    wide = unicodedata.normalize("NFKC", text)  # full-width digits of input methods become ASCII
    try:
        value = int(wide) if re.fullmatch(r"[-+]?\d{1,100}", wide) else yaml_text.load(wide if wide.isascii() else text)
    except yaml_text.NotReadable:
        if stays or not brackets:
            return text
        raise
    if stays and not isinstance(value, list | dict):
        return text
    return text if value is None and text not in ("null", "~") else value  # a comment alone is not a value


def _plain(value: Any) -> Any:
    """A value for a field of any type: text typed on the command line is read as YAML, at any depth."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return _from_text(value, [Any]) if isinstance(value, Typed) else value

"""YAML read strictly: text that PyYAML would misread in silence is refused, with a message for its author.

PyYAML by itself keeps the last of two equal keys, reads `1e-3` as text and follows an alias into itself.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

DEEPEST, MOST_VALUES = 100, 100_000  # limits with aliases written out, so that copying a config ends

SPACE = " and a space"
FULL_WIDTH = {
    "：": ":" + SPACE,
    "，": "," + SPACE,
    "｛": "{",
    "｝": "}",
    "［": "[",
    "］": "]",
    "＃": "#",
}  # as input methods write them


class NotReadable(Exception):
    """The text is not YAML that we accept; the message says why in one line."""


class _Loader(yaml.SafeLoader):
    """Refuses equal keys, reads numbers as in YAML 1.2, and leaves dates as text."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen: dict[tuple[str, str], int] = {}
        for key, _ in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
                continue
            if before := seen.get((key.tag, key.value)):
                raise NotReadable(f"line {line}: the key {key.value!r} is there already, in line {before}; keep one of them")
            seen[key.tag, key.value] = line
        return node

    def construct_yaml_int(self, node: Any) -> int:
        number: int = super().construct_yaml_int(node)
        str(number)  # raises ValueError where it has too many digits to be shown
        return number


_NUMBER = re.compile(
    r"""^(?:[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?
    |[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+
    |\.[0-9_]+(?:[eE][-+][0-9]+)?
    |[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+\.[0-9_]*
    |[-+]?\.(?:inf|Inf|INF)
    |\.(?:nan|NaN|NAN))$""",
    re.X,
)

_TAGS = "tag:yaml.org,2002:"

_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in some if tag not in (_TAGS + "float", _TAGS + "timestamp")]
    for first, some in yaml.SafeLoader.yaml_implicit_resolvers.items()
}

_Loader.add_implicit_resolver(_TAGS + "float", _NUMBER, list("-+0123456789."))

_Loader.add_constructor(_TAGS + "int", _Loader.construct_yaml_int)


def load(text: str) -> Any:
    """Parse YAML to dicts, lists and plain values; raises NotReadable."""
    try:
        tree = yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise NotReadable(_in_words(error, text.splitlines())) from None
    except RecursionError:
        raise NotReadable(f"nested too deeply; {DEEPEST} levels are allowed") from None
    except ValueError as error:  # an impossible number
        raise NotReadable(f"a value that cannot be read: {str(error).partition(';')[0][:200]}") from None
    _refuse_endless(tree)
    return tree


def full_width(text: str) -> str:
    """What to write instead of the first full-width mark in `text`; empty if there is none."""
    mark = next((c for c in text if c in FULL_WIDTH), "")
    return f"{mark} is full-width, which YAML takes for text; write {FULL_WIDTH[mark]}" if mark else ""


_QUOTED = re.compile(r""""[^"]*"|'[^']*'""")


def _in_words(error: yaml.YAMLError, lines: list[str]) -> str:
    """The message for a mistake: its cause if it is a common one, otherwise PyYAML's description, with the line."""
    mark = getattr(error, "problem_mark", None)
    problem = " ".join(str(getattr(error, "problem", None) or error).split())
    if mark is None:
        return f"not valid YAML: {problem}"
    line = min(mark.line, len(lines) - 1)
    context = getattr(error, "context_mark", None) or mark
    shown = lines[line].strip()[:80] if lines else ""
    if "'\\t'" in problem:
        return f"not valid YAML: line {line + 1} begins with a tab ({shown}); indent with spaces"
    if "escape" in problem:
        return f"not valid YAML: line {line + 1}: a backslash in double quotes has a meaning of its own ({shown}); write / or single quotes"
    for k in range(max(0, min(context.line, line) - 1), line + 1):
        if cause := full_width(_QUOTED.sub("", lines[k]).partition("#")[0]):
            return f"not valid YAML: line {k + 1}: {cause}"
    return f"not valid YAML: line {line + 1}, column {mark.column + 1}: {problem} ({shown})"


def _refuse_endless(tree: Any) -> None:
    """Raise NotReadable if aliases make a tree endless, or if it is too large or too deep."""
    values, waiting = 0, [(tree, 0)]
    while waiting:
        value, depth = waiting.pop()
        if not isinstance(value, dict | list):
            continue
        values += len(value)
        if depth > DEEPEST:
            raise NotReadable(f"nested more than {DEEPEST} levels deep, as an alias (*name) that contains itself is")
        if values > MOST_VALUES:
            raise NotReadable(f"more than {MOST_VALUES:,} values, with its aliases (*name) written out")
        waiting += [(inner, depth + 1) for inner in (value.values() if isinstance(value, dict) else value)]

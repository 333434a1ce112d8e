"""YAML text as a plain tree, read strictly: what would be lost or never end is refused, and said so.

PyYAML keeps the last of two equal keys in silence, reads `1e-3` as text, and follows an alias into itself.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

MAX_DEPTH, MAX_VALUES = 32, 100_000  # aliases written out; a config has some hundred values

MAX_BITS = 256  # of a whole number: far above every setting, and short enough to be shown


class NotReadable(Exception):
    """What is wrong with the text, in one line."""


class _Loader(yaml.SafeLoader):
    """Equal keys are an error; numbers are those of YAML 1.2, as jsonargparse reads them, and dates are text."""

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


def load(text: str) -> Any:
    """The tree that `text` is; raises NotReadable."""
    try:
        tree = yaml.load(text, Loader=_Loader)
        _measure(tree, set(), {})
    except yaml.YAMLError as error:
        raise NotReadable(f"not valid YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise NotReadable(f"nested too deeply; {MAX_DEPTH} levels are allowed") from None
    except ValueError as error:  # a date or a number that cannot be
        raise NotReadable(f"a value that cannot be read: {' '.join(str(error).split())[:200]}") from None
    return tree


def dump(tree: Any) -> str:
    """ASCII text that every YAML reader takes for the same values: each is quoted and tagged."""
    return yaml.safe_dump(tree, default_style='"', allow_unicode=False, sort_keys=False, width=1000)


def _measure(value: Any, above: set[int], known: dict[int, tuple[int, int]]) -> tuple[int, int]:
    """(values, levels) of a tree with its aliases written out.

    Args:
        above: ids of what `value` is inside of.
        known: measures by id, as an alias is the same object again.
    """
    if isinstance(value, int) and value.bit_length() > MAX_BITS:
        raise NotReadable(f"a whole number of {value.bit_length()} bits; no setting takes one that large")
    if not isinstance(value, dict | list):
        return 1, 0
    if id(value) in above:
        raise NotReadable("an alias (*name) that contains itself")
    if id(value) not in known:
        inside = [*value, *value.values()] if isinstance(value, dict) else value
        found = [_measure(v, above | {id(value)}, known) for v in inside]
        known[id(value)] = 1 + sum(n for n, _ in found), 1 + max((depth for _, depth in found), default=0)
    values, depth = known[id(value)]
    if values > MAX_VALUES:
        raise NotReadable(f"more than {MAX_VALUES:,} values, with its aliases (*name) written out")
    if depth > MAX_DEPTH:
        raise NotReadable(f"nested too deeply; {MAX_DEPTH} levels are allowed")
    return values, depth

"""HTML from Jinja2 templates: whatever is put into one is escaped, and a name that nobody gave a value is an error."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined


def templates(folder: Path) -> Environment:
    """The templates in `folder`, which is found from any working directory if it is made from a module's `__file__`."""
    return Environment(loader=FileSystemLoader(folder), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)

"""HTML from Jinja2 templates: values are escaped, and a name without a value is an error."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined


def templates(folder: Path) -> Environment:
    """The templates in `folder`. Make that path from a module's `__file__`, so that it does not depend on the working directory."""
    return Environment(loader=FileSystemLoader(folder), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)

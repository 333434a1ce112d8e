"""Imports every pattern module; the order of the imports is the order of the patterns, so the linter may not sort them."""

# ruff: noqa: F401, I001
from . import patterns_people
from . import patterns_shop
from . import patterns_travel
from . import patterns_time
from . import patterns_home
from . import patterns_mind
from . import patterns_things
from .pattern import REGISTRY as PATTERNS

"""Imports every pattern module; the order of the imports is the order of the patterns."""

from . import (  # noqa: F401
    patterns_people, patterns_shop, patterns_travel, patterns_time, patterns_home, patterns_mind,
    patterns_things)
from .pattern import REGISTRY as PATTERNS  # noqa: F401

"""Stray Bird: trains small Transformers, mostly on Chinese. ARCHITECTURE.md says what is in which room."""

__version__ = "0.2.0"  # pyproject.toml reads it here, and every checkpoint's meta.json records it

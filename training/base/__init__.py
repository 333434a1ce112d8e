__version__ = "0.2.0"  # the project's version: pyproject.toml reads it, and every checkpoint's meta.json records it

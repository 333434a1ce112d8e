__version__ = "0.2.0"  # of the project: pyproject.toml reads it here, and every checkpoint's meta.json records it

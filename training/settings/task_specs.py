"""What differs between the tasks, as plain data."""

from __future__ import annotations

COLUMNS = {
    "gpt": {"text": "text"},
    "translation": {"source": "chinese", "target": "english"},  # the names of translation2019zh
}

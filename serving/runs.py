"""Where run folders are: beside the models that the page shows."""

from __future__ import annotations

from pathlib import Path

from inference.folders import default_roots


def find_runs() -> list[Path]:
    """Run folders under the roots (or a root itself), the latest first; a run that is still going is one too."""
    found = []
    for root in default_roots():
        try:
            folders = [root, *(child for child in root.iterdir() if not child.name.startswith("."))]
        except OSError:  # missing, not a folder, not readable
            continue
        found += [folder for folder in folders if (folder / "metrics.jsonl").is_file() and (folder / "config.yaml").is_file()]
    return sorted(found, key=lambda folder: (folder / "metrics.jsonl").stat().st_mtime, reverse=True)

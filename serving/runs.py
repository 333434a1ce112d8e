"""Where run folders and studies are: beside the models that the page shows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from inference.folders import default_roots


def find_runs() -> list[Path]:
    """Run folders under the roots (or a root itself), the latest first; a run that is still going on is one too."""
    return _folders_with("metrics.jsonl", "config.yaml")


def find_studies() -> list[Path]:
    """Study folders under the roots (or a root itself), the latest first; one that is still going on is one too."""
    return _folders_with("study.json")


def _folders_with(first: str, *others: str) -> list[Path]:
    """Folders that have these files, the one whose first file is the latest first."""
    written: dict[Path, int] = {}
    for root in default_roots():
        try:
            folders = [root, *(child for child in root.iterdir() if not child.name.startswith("."))]
        except OSError:  # missing, not a folder, not readable
            continue
        for folder in folders:
            try:
                if all((folder / name).is_file() for name in (first, *others)):
                    written[folder] = (folder / first).stat().st_mtime_ns
            except OSError:  # gone meanwhile
                continue
    return sorted(written, key=lambda folder: written[folder], reverse=True)


class Listing:
    """The folders that the page shows: looked for on disk when the page is opened, not at every move of a visitor."""

    def __init__(self, find: Callable[[], list[Path]]) -> None:
        self._find = find
        self._listed: frozenset[str] = frozenset()

    def look(self) -> list[Path]:
        """Look on disk, and remember what is there."""
        folders = self._find()
        self._listed = frozenset(map(str, folders))
        return folders

    def shows(self, folder: str | None) -> bool:
        """Whether it is one of the folders that the page shows; one that was not there before is looked for on disk."""
        if folder and folder not in self._listed:
            self.look()
        return folder in self._listed

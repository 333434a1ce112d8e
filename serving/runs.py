"""Find run folders and studies, which lie beside the models that the page shows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from inference.folders import default_roots


def find_runs() -> list[Path]:
    """Run folders under the roots (or a root itself), the latest first. Runs that are still going on are included."""
    return _folders_with("metrics.jsonl", "config.yaml")


def find_studies() -> list[Path]:
    """Study folders under the roots (or a root itself), the latest first. Studies that are still going on are included."""
    return _folders_with("study.json")


def _folders_with(first: str, *others: str) -> list[Path]:
    """Folders that have all of these files, sorted by when `first` was written, the latest first."""
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
            except OSError:  # removed meanwhile
                continue
    return sorted(written, key=lambda folder: written[folder], reverse=True)


class Listing:
    """The folders that the page shows. The disk is searched when the page is opened, not at every move of a visitor."""

    def __init__(self, find: Callable[[], list[Path]]) -> None:
        self._find = find
        self._listed: frozenset[str] = frozenset()

    def look(self) -> list[Path]:
        """Search the disk, and remember the folders."""
        folders = self._find()
        self._listed = frozenset(map(str, folders))
        return folders

    def shows(self, folder: str | None) -> bool:
        """Whether the page shows this folder. If it is not among the remembered ones, the disk is searched again."""
        if folder and folder not in self._listed:
            self.look()
        return folder in self._listed

"""Where a command's model is, and the rows of its test sets."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from training.base.errors import ConfigError
from training.base.words import phrases, spoken
from training.settings.config import SourceConfig
from training.settings.task_specs import TRANSLATION


def model_folder(path: Path) -> Path:
    """The checkpoint that `best` (else `latest`) of a run folder names, or the folder itself. Raises ConfigError if it holds no model."""
    pointer = path / "best" if (path / "best").is_file() else path / "latest"
    folder = path
    if pointer.is_file():
        name = pointer.read_bytes()[:1000].decode(errors="replace").strip()
        if name != Path(name).name or name in ("", ".", ".."):  # a pointer must not lead out of the run folder
            raise ConfigError(f"--model: {pointer} must hold the name of a folder in {path / 'checkpoints'}")
        folder = path / "checkpoints" / name
    if not (folder / "config.json").is_file():
        raise ConfigError(f"--model: {path} holds no model; name a run folder or a checkpoint")
    return folder


def read_pairs(path: str, columns: dict[str, str] | None = None) -> list[dict[str, Any]]:
    """The readable pairs of a test set, in order. Raises ConfigError if there are none.

    Args:
        columns: names of the file's columns by our names, as in `corpus.columns`.
    """
    names = {**TRANSLATION.columns, **(columns or {})}
    if wrong := set(names) - {"source", "target"}:
        raise ConfigError(f"--columns: no column is called {', '.join(sorted(wrong))} here; valid: source, target")
    rows, reasons = read_rows(SourceConfig(path), names, "--test", "--columns")
    if not rows:
        hint = '; say which columns to read with --columns "{source: …, target: …}"' if "missing_field" in reasons else ""
        raise ConfigError(f"--test: {path} has no usable pair{hint}")
    return rows


def read_rows(source: SourceConfig, names: dict[str, str], option: str, columns: str) -> tuple[list[dict[str, Any]], set[str]]:
    """The readable rows of a source, in order, and the reasons why others are unreadable, which are also counted on stderr.

    Args:
        names: names of the columns, as in `corpus.columns`.
        option, columns: the command's options for the file and for its columns, for error messages.

    Raises:
        ConfigError: if the source cannot be read at all.
    """
    from training.corpus.readers import read
    from training.corpus.sources import parse, resolve
    from training.corpus.text_files import BadRow

    rows: list[dict[str, Any]] = []
    bad: list[tuple[str, str]] = []  # (reason, row number with the problem)
    try:
        for shard in resolve([source], names, "line", option):
            for record in read(shard):
                try:
                    row = parse(record, shard)
                except BadRow as error:
                    bad.append((error.reason, f"row {record.row + 1}: {error}"))
                    continue
                if row:
                    rows.append(row)
    except ConfigError as error:  # the readers name a key of a training config
        raise ConfigError(str(error).replace("corpus.columns", columns)) from None
    if bad:
        print(phrases("commands", spoken())["unusable"].format(path=source.path, count=len(bad), problem=bad[0][1]), file=sys.stderr)
    return rows, {reason for reason, _ in bad}

"""Where rows come from: files of any usual kind, web addresses and hub datasets.

`resolve` turns the sources of a config into shards (a file or dataset each), `readers.py` reads their raw records, and `parse` turns a
record into a row or says what is wrong with it. Unlike the JSON reader of `datasets`, this one survives a malformed line.
"""

from __future__ import annotations

import difflib
import glob
import json
import os
import re
from pathlib import Path
from typing import Any

from training.base.errors import ConfigError
from training.corpus.kinds import check_kind, other_encoding
from training.corpus.shards import Record, Shard
from training.corpus.text_files import BLANK, COMPRESSION, BadRow
from training.settings.config import SourceConfig

ENDINGS = {
    ".txt": "txt", ".text": "txt", ".jsonl": "jsonl", ".json": "jsonl", ".ndjson": "jsonl",
    ".csv": "csv", ".tsv": "tsv", ".parquet": "parquet",
}  # fmt: skip

ROOT = Path(__file__).resolve().parents[2]

DOCUMENTS = ("line", "blank_line", "file")

SHOWN = 8  # file names listed when a name is wrong

ALIGNED = (("source", "source"), ("target", "target"))


def resolve(sources: list[SourceConfig], columns: dict[str, str], document: str, key: str) -> list[Shard]:
    """The shards of a list of sources, in a fixed order.

    Args:
        columns: the task's columns with their names in files, for sources that do not set their own.
        document: `corpus.document`, for sources that do not set their own.
        key: the config's key of these sources, for messages.

    Raises:
        ConfigError: naming every source that has no file or no known format.
    """
    shards, problems = [], []
    for s in sources:
        try:
            shards += _shards(s, {**columns, **(s.columns or {})}, _document(s.document or document), key)
        except ConfigError as error:
            problems.append(str(error))
    if problems:
        raise ConfigError("\n".join(problems))
    return shards


def _document(value: str) -> str:
    """Return a value of `corpus.document`.

    Raises:
        ConfigError: if it is neither one of DOCUMENTS nor a regular expression that begins with ^.
    """
    if value not in DOCUMENTS and not value.startswith("^"):
        near = difflib.get_close_matches(value, DOCUMENTS, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ConfigError(f"corpus.document: {value!r} is neither {', '.join(DOCUMENTS)} nor a pattern that begins with ^{hint}")
    try:
        re.compile(value)
    except re.error as error:
        raise ConfigError(f"corpus.document: {value!r} is not a regular expression ({error})") from None
    return value


def _shards(s: SourceConfig, columns: dict[str, str], document: str, key: str) -> list[Shard]:
    """The shards of one source; raises ConfigError if its files or keys do not fit together."""
    places = _locate(s.path, key)
    targets = _locate(s.target_path, key) if s.target_path else [(None, "")] * len(places)
    if len(targets) != len(places):
        raise ConfigError(f"{key}: {s.path} has {len(places)} files, {s.target_path} has {len(targets)}; they are read side by side")
    shards = []
    for (path, label), (target, target_label) in zip(places, targets):
        kind = _format(s, label, key)
        pairs = "source" in columns
        if target and not pairs:
            raise ConfigError(f"{key}: {label} has a target_path, which is for translation; this task reads single texts")
        if kind == "txt" and pairs and not target:
            raise ConfigError(
                f"{key}: {label} holds single texts; name the file with their translations as target_path, or use tsv or jsonl"
            )
        if kind == "txt" and s.where:
            raise ConfigError(f"{key}: {label} has no columns, so `where` cannot choose among its rows")
        if kind == "txt" and s.tag and document == "file":
            raise ConfigError(f"{key}: {label} is one text in pieces, so a tag would stand before each of them")
        if kind != "hub":
            check_kind(path, label, kind)
            if target:
                check_kind(target, target_label, kind)
        # A table's values are text, even where YAML reads `2020` as a number.
        choices = {k: tuple(v) if isinstance(v, list) else (v,) for k, v in (s.where or {}).items()}
        where = tuple((k, tuple(map(str, v)) if kind in ("csv", "tsv") else v) for k, v in choices.items())
        shards.append(
            Shard(path, label, kind, tuple(columns.items()), document, target, target_label, s.weight, where, s.name, s.split, s.tag)
        )
    return shards


def _locate(path: str, key: str) -> list[tuple[str, str]]:
    """(path, the user's name for it) of each file or dataset that a path, glob, address or hub id stands for."""
    if path.startswith(("http://", "https://")):
        return [(_download(path, key), path)]
    if path.startswith("hub:"):
        return [(os.path.expanduser(path.removeprefix("hub:")), path)]
    expanded = os.path.expanduser(path)
    if os.path.isfile(expanded):
        return [(expanded, path)]
    files = sorted(p for p in glob.glob(expanded, recursive=True) if os.path.isfile(p))
    if files:
        return [(p, p) for p in files]
    if re.fullmatch(r"[\w.-]+/[\w.-]+", path) and not _ending(path) and not os.path.exists(os.path.dirname(path)):
        return [(path, "hub:" + path)]
    if os.path.isdir(expanded):
        folder = path.rstrip("/")
        raise ConfigError(f"{key}: {path} is a folder; name its files, e.g. {folder}/*.jsonl, or write hub:{folder} for a hub dataset")
    raise ConfigError(f"{key}: no file matches {_shown(path)}; {_what_is_there(expanded)}")


def _shown(path: str) -> str:
    return path if path.isprintable() else repr(path)  # a NUL or a line end in it would be invisible


def _what_is_there(path: str) -> str:
    """A hint for a path that names no file: the files in its folder, the most similar names first, then those of known formats."""
    parent, base = os.path.dirname(path) or ".", os.path.basename(path)
    if not os.path.isabs(path) and next(glob.iglob(os.path.join(glob.escape(str(ROOT)), path), recursive=True), None):
        return f"paths are relative to the folder that you start from: go to {ROOT} first"
    need = "; the header of the config says what it needs there" if Path(path).parts[:1] == ("corpora",) else ""
    if not os.path.isdir(parent):
        return f"there is no folder {_shown(parent)}{need}"
    names = sorted(name for name in os.listdir(parent) if not name.startswith("."))
    near = difflib.get_close_matches(base, names, SHOWN)
    near += [name for name in sorted(names, key=lambda name: _ending(name) is None) if name not in near]
    return (f"in {parent} there are: {', '.join(near[:SHOWN])}" if near else f"{parent} is empty") + need


def _download(url: str, key: str) -> str:
    """The local copy of a web file, in the cache of `datasets`, which downloads it again when its ETag changes."""
    import datasets

    try:
        return str(datasets.DownloadManager().download(url))
    except Exception as error:  # each of the many layers below raises errors of its own
        raise ConfigError(f"{key}: {url} cannot be downloaded ({type(error).__name__}: {' '.join(str(error).split())[:200]})") from None


def _ending(path: str) -> str | None:
    """The format that a file's name stands for, compression aside; None if unknown."""
    stem = path.split("?")[0].lower()
    for suffix in COMPRESSION:
        stem = stem.removesuffix(suffix)
    return ENDINGS.get(Path(stem).suffix)


def _format(source: SourceConfig, label: str, key: str) -> str:
    """The format of a source's file; raises ConfigError if it is unknown."""
    if label.startswith("hub:"):
        return "hub"
    if source.target_path is not None:
        return "txt"
    kind = source.format if source.format != "auto" else _ending(label)
    if kind is None:
        kinds = ", ".join(sorted(set(ENDINGS.values())))
        if key.startswith("--"):  # the command takes file names and has no `format`
            raise ConfigError(f"{label}: unknown kind of file; its name must end in one of {kinds}")
        example = f'--{key} "{{path: {source.path}, format: txt}}"'  # these quotes work in every shell
        raise ConfigError(f"{label}: unknown kind of file; set `format:` to one of {kinds}; on the command line: {example}")
    return kind


def parse(record: Record, shard: Shard) -> dict[str, str] | None:
    """A record as a row with the task's column names, or None if `where` leaves it out.

    Raises:
        BadRow: with the reason: malformed, not_utf8, missing_field, wrong_type or empty.
    """
    data = record.data
    if isinstance(data, BadRow):
        raise data
    if isinstance(data, tuple):
        return _strings(dict(zip(("source", "target"), map(_plain, data))), ALIGNED)
    if shard.format == "txt":
        column = shard.columns[0][0]
        text = _plain(data)
        return {column: text} if shard.document == "file" else _strings({column: text}, ((column, column),))
    if isinstance(data, bytes):
        data = _json(data)
    if isinstance(nested := data.get("translation"), dict):  # as in some parallel corpora of the hub: {"en": …, "zh": …}
        data = {**data, **nested}
    for column, values in shard.where:
        if data.get(column) not in values:
            return None
    return _strings(data, shard.columns)


def _json(line: bytes) -> dict[str, Any]:
    """The object in a line of JSON; raises BadRow if there is none."""
    if not line.strip():
        raise BadRow("empty")
    try:
        data = json.loads(_decode(line))
    except (ValueError, RecursionError) as error:
        array = "; is the file a JSON array? One object {…} a line is wanted" if line.lstrip().startswith(b"[") else ""
        raise BadRow("malformed", f"not JSON: {error}{array}") from None
    if not isinstance(data, dict):
        raise BadRow("malformed", "one JSON object {…} a line is wanted" + (", not an array" if isinstance(data, list) else ""))
    return data


def _plain(data: bytes) -> str:
    """A row of a text file as text; raises BadRow if it is not UTF-8 or has NUL bytes."""
    text = _decode(data)
    if "\0" in text:
        raise BadRow("malformed", "NUL bytes in it; if the file is UTF-16: iconv -f UTF-16LE -t UTF-8")
    return text


def _decode(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        guess = other_encoding(data)
        raise BadRow("not_utf8", f"{error.reason} at byte {error.start}" + (f"; {guess}" if guess else "")) from None


def _strings(data: dict[str, Any], columns: tuple[tuple[str, str], ...]) -> dict[str, str]:
    """The texts of `columns`, stripped; raises BadRow if one is missing, empty or not text."""
    row = {}
    for column, name in columns:
        value = data.get(name)
        if value is None:
            raise BadRow("missing_field", f"no {name!r}; this row has {', '.join(map(str, data))[:200]}")
        if not isinstance(value, str):
            raise BadRow("wrong_type", f"{name!r} is {type(value).__name__}, not text")
        try:
            value.encode()
        except UnicodeEncodeError:  # half of a surrogate pair, or a byte that the csv reader could not decode
            guess = other_encoding(value.encode("utf-8", "surrogateescape")) if re.search("[\udc80-\udcff]", value) else ""
            raise BadRow("not_utf8", f"{name!r} holds what is not UTF-8" + (f"; {guess}" if guess else "")) from None
        row[column] = text = value.strip()
        if BLANK.fullmatch(text):
            raise BadRow("empty", f"{name!r} is empty" + (", but for characters that cannot be seen" if text else ""))
    return row

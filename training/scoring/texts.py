"""Files of texts, translated into rows to train on (training/translate.py)."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from training.base.characters import HAN
from training.base.errors import ConfigError
from training.base.files import replacing
from training.base.words import phrases, spoken
from training.scoring.test_sets import model_folder, read_rows
from training.scoring.translator import in_pieces, translator
from training.settings.config import SourceConfig


def read_texts(paths: list[str], column: str, where: dict[str, str] | None) -> list[str]:
    """The readable texts of these files, in order. Raises ConfigError if there are none.

    Args:
        column: the column with the text, in files that have columns.
        where: values that columns must have, as in `corpus.train`.
    """
    files = [read_rows(SourceConfig(path, where=where), {"text": column}, "--text", "--column")[0] for path in paths]
    texts = [" ".join(row["text"].split()) for rows in files for row in rows]
    if not texts:
        raise ConfigError(f"--text: no usable text in {', '.join(paths)}; --column says which column has it ({column})")
    return texts


def translate_file(model: Path, texts: list[str], beams: int, copy: bool, out: Path) -> None:
    """Write one row per text to `out`, which appears when it is complete. Raises ConfigError if there is no such model.

    Args:
        copy: compute with the int8 copy if the folder has one that was made of its weights.
    """
    from inference.ctranslate2_backend import usable
    from inference.folders import COPY

    folder = model_folder(model)
    served = copy and usable(folder)
    if copy and not served and (folder / COPY).exists():
        print(phrases("commands", spoken())["other_copy"].format(copy=folder / COPY), file=sys.stderr)
    translate = translator(folder, folder / COPY if served else None)
    chinese = sum(bool(HAN.search(text)) for text in texts) >= len(texts) / 2
    source, target = ("chinese", "english") if chinese else ("english", "chinese")
    with replacing(out) as file, open(file, "w", encoding="utf-8", newline="\n") as f:
        for text, hyp in zip(texts, in_pieces(translate, texts, beams, str(out)), strict=True):
            f.write(json.dumps({source: text, target: hyp}, ensure_ascii=False) + "\n")

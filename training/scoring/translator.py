"""A translation model for the commands that score, compare and translate: source lines in, detokenised translations out."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from training.base.errors import ConfigError
from training.base.pretrained import read_config, read_model, read_tokenizer
from training.base.words import phrases, spoken

Translate = Callable[[list[str], int], list[str]]  # (source lines, beam size) -> translations in the order of the lines

CHUNK = 512  # lines between two updates of the progress bar


def translator(folder: Path, copy: Path | None = None) -> Translate:
    """The function that translates with a folder's model. If the folder has only the int8 copy, it uses that.

    Lines longer than the model's context are cut, with one message on stderr.

    Args:
        copy: the folder of a copy by CTranslate2, to compute with instead of the weights.

    Raises:
        ConfigError: if the folder holds no translation model, or a damaged one.
    """
    import torch

    from inference.ctranslate2_backend import Translator, usable
    from inference.folders import COPY
    from training.model.hardware import share_threads
    from training.model.tokenizer import text_of
    from training.tasks import translation

    share_threads()
    for name in ("tokenizer.json", "tokenizer_config.json"):
        if not (folder / name).is_file():
            raise ConfigError(f"--model: {folder} has no {name}")
    if copy is None and not any(folder.glob("*.safetensors")) and usable(folder):
        copy = folder / COPY
    inner: Any
    try:
        config = read_config(folder)
        if not config.is_encoder_decoder:
            raise ConfigError(f"--model: {folder} is no translation model but a {config.model_type}, which goes on with a text")
        tokenizer = read_tokenizer(folder)
        inner = read_model(folder, "AutoModelForSeq2SeqLM", dtype=torch.float32).eval() if not copy else None
    except ConfigError:
        raise
    except Exception as error:  # every layer that reads a damaged file fails in its own way
        raise ConfigError(f"--model: {folder} holds no whole translation model ({' '.join(str(error).split())[:160]})") from None
    if copy:
        try:
            inner = Translator(copy, tokenizer)
        except Exception as error:  # as above
            message = " ".join(str(error).split())[:160]
            raise ConfigError(
                f"--model: the copy {copy} is damaged ({message}); training/export.py makes it anew from the weights"
            ) from None
    else:
        inner.to("cuda" if torch.cuda.is_available() else "cpu")
    longest = getattr(config, "max_position_embeddings", None) or 256
    warned = False

    def run(lines: list[str], beams: int) -> list[str]:
        nonlocal warned
        sources = tokenizer(lines)["input_ids"]
        most = max(map(len, sources), default=0)
        if most > longest and not warned:
            warned = True
            print(phrases("commands", spoken())["long_line"].format(tokens=most, most=longest), file=sys.stderr)
        if copy is None:
            return translation.translate(inner, tokenizer, lines, longest, longest - 1, beams)
        if most > longest:
            sources = tokenizer(lines, truncation=True, max_length=longest)["input_ids"]
        return [text_of(tokenizer, ids) for ids in inner(sources, beams, longest - 1)]

    return run


def in_pieces(translate: Translate, lines: list[str], beams: int, what: str) -> Iterator[str]:
    """Translations of all lines, one after the other, with a progress bar labelled `what`."""
    from training.base.console import Progress

    bar = Progress(what, total=len(lines), left=phrases("training", spoken())["left"])
    try:
        for at in range(0, len(lines), CHUNK):
            chunk = lines[at : at + CHUNK]
            yield from translate(chunk, beams)
            bar.to(at + len(chunk))
    finally:
        bar.close()


def free_to_write(option: str, path: Path) -> None:
    """Raise ConfigError if no file can be written at `path`, so that a user learns it before hours of computing."""
    if path.is_dir():
        raise ConfigError(f"{option}: {path} is a folder; name a file")
    if not path.absolute().parent.is_dir():
        raise ConfigError(f"{option}: there is no folder {path.parent}")
    if not os.access(path if path.exists() else path.absolute().parent, os.W_OK):
        raise ConfigError(f"{option}: {path} cannot be written (no permission)")

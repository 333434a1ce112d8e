"""The int8 copy of a translation model, computed by CTranslate2. It implements `Backend` in shelf.py: token ids in, token ids out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from inference.folders import COPY, COPY_WEIGHTS, PARITY_FILE, ModelInfo
from inference.torch_backend import BATCH_LINES, Sampling
from training.base.pretrained import read_config, read_generation_config


class Translator:
    """A converted model, computed in the precision in which it is stored ("auto" would choose the fastest one instead)."""

    def __init__(self, folder: Path, tokenizer: PreTrainedTokenizerBase) -> None:
        """Load `folder`. Raises whatever CTranslate2 raises for a damaged copy."""
        import ctranslate2

        self.tokenizer = tokenizer
        # CTranslate2 sets the number of threads of the whole process, so it is given the number that torch uses.
        threads = torch.get_num_threads()
        options = {"device": "cpu", "compute_type": "default", "inter_threads": 1, "intra_threads": threads, "files": _joined(folder)}
        self.inner = ctranslate2.Translator(str(folder), **options)

    def __call__(self, sources: Sequence[Sequence[int]], num_beams: int, max_new_tokens: int) -> list[list[int]]:
        """Target ids of each source, in the order given. A target ends with the end token unless `max_new_tokens` was reached."""
        results = self.inner.translate_batch(
            [self.tokenizer.convert_ids_to_tokens(list(ids)) for ids in sources],
            beam_size=num_beams,
            max_input_length=0,  # the engine has already cut long sources, and says so
            min_decoding_length=0,  # transformers allows an empty translation, so the copy does too
            max_decoding_length=max_new_tokens,
            max_batch_size=BATCH_LINES,
            return_end_token=True,
        )
        return [self.tokenizer.convert_tokens_to_ids(result.hypotheses[0]) for result in results]


def split(folder: Path, most: int) -> None:
    """Cut a copy's model.bin, if it is larger than `most` bytes, into model.bin.00, model.bin.01, … (CTranslate2 writes a single file)."""
    whole = folder / COPY_WEIGHTS[0]
    if whole.stat().st_size <= most:
        return
    content = whole.read_bytes()
    for number, start in enumerate(range(0, len(content), most)):
        (folder / f"{COPY_WEIGHTS[0]}.{number:02d}").write_bytes(content[start : start + most])
    whole.unlink()


def _joined(folder: Path) -> dict[str, bytes] | None:
    """The contents of a copy's files by name, with model.bin joined, for CTranslate2 to load from memory; None if model.bin is one file."""
    parts = sorted(folder.glob(f"{COPY_WEIGHTS[0]}.[0-9][0-9]"))
    if not parts or (folder / COPY_WEIGHTS[0]).is_file():
        return None
    others = {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file() and p not in parts}
    return others | {COPY_WEIGHTS[0]: b"".join(p.read_bytes() for p in parts)}


class CTranslate2Backend:
    """The int8 copy beside a folder's weights, made by training/export.py. Not thread-safe: the engine holds a lock."""

    def __init__(self, info: ModelInfo, tokenizer: PreTrainedTokenizerBase) -> None:
        """Load the copy. Raises whatever transformers and CTranslate2 raise for damaged files."""
        self.config: Any = read_config(info.path)
        generation = read_generation_config(info.path)
        eos = generation.eos_token_id if generation.eos_token_id is not None else self.config.eos_token_id
        self.eos_ids = frozenset(eos if isinstance(eos, list) else [] if eos is None else [eos])
        self.vocabulary = int(self.config.vocab_size)
        self.translator = Translator(info.path / COPY, tokenizer)

    def translate(self, sources: Sequence[Sequence[int]], num_beams: int, max_new_tokens: int) -> list[list[int]]:
        """Translate token ids, as `Translator` does."""
        return self.translator(sources, num_beams, max_new_tokens)

    def generate(self, prompt_ids: Sequence[int], sampling: Sampling, put: Callable[[int], None], stopped: Callable[[], bool]) -> None:
        """Not supported: a gpt never has an int8 copy, because its tokens are drawn with a random generator of each request."""
        raise NotImplementedError


def usable(folder: Path) -> bool:
    """Whether a model folder has an int8 copy that was made of its present weights, or has a copy and no weights."""
    try:
        parity = json.loads((folder / COPY / PARITY_FILE).read_text(encoding="utf-8"))
        return isinstance(parity, dict) and fingerprint(folder) in (None, parity.get("weights"))
    except (OSError, ValueError):
        return False


def fingerprint(folder: Path) -> str | None:
    """SHA-256 of a folder's weights, None without weights. It keeps a copy from being served for other weights than its own."""
    digest, files = hashlib.sha256(), sorted(folder.glob("*.safetensors"))
    for file in files:
        with open(file, "rb") as f:
            while piece := f.read(1 << 22):
                digest.update(piece)
    return digest.hexdigest() if files else None

"""A translation model's int8 copy, computed by CTranslate2: token ids in, token ids out (`Backend` in shelf.py)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, GenerationConfig, PreTrainedTokenizerBase

from inference.folders import COPIED, COPY, TOLD, ModelInfo
from inference.torch_backend import BATCH_LINES, Sampling


class Translator:
    """The copy in a folder, in the precision that it is stored in ("auto" would take the fastest, not the stored one)."""

    def __init__(self, folder: Path, tokenizer: PreTrainedTokenizerBase) -> None:
        """Raises what CTranslate2 raises for a damaged copy."""
        import ctranslate2

        self.tokenizer = tokenizer
        # torch's own number: CTranslate2 sets that of the whole process, which they share.
        threads = torch.get_num_threads()
        told = {"device": "cpu", "compute_type": "default", "inter_threads": 1, "intra_threads": threads, "files": _joined(folder)}
        self.inner = ctranslate2.Translator(str(folder), **told)

    def __call__(self, sources: Sequence[Sequence[int]], num_beams: int, max_new_tokens: int) -> list[list[int]]:
        """One list of target ids a source, in the order given, with its end token unless the length ran out."""
        found = self.inner.translate_batch(
            [self.tokenizer.convert_ids_to_tokens(list(ids)) for ids in sources],
            beam_size=num_beams,
            max_input_length=0,  # the engine has cut what is too long, and says so
            min_decoding_length=0,  # transformers may say nothing at all; so may the copy
            max_decoding_length=max_new_tokens,
            max_batch_size=BATCH_LINES,
            return_end_token=True,
        )
        return [self.tokenizer.convert_tokens_to_ids(result.hypotheses[0]) for result in found]


def split(folder: Path, most: int) -> None:
    """Cut a copy's model.bin into model.bin.00, model.bin.01, … of at most so many bytes, if it is larger: CTranslate2 writes one file."""
    whole = folder / COPIED[0]
    if whole.stat().st_size <= most:
        return
    content = whole.read_bytes()
    for n, at in enumerate(range(0, len(content), most)):
        (folder / f"{COPIED[0]}.{n:02d}").write_bytes(content[at : at + most])
    whole.unlink()


def _joined(folder: Path) -> dict[str, bytes] | None:
    """The contents of a copy's files, model.bin put together, for CTranslate2 to load from memory; None if that is in one file."""
    parts = sorted(folder.glob(f"{COPIED[0]}.[0-9][0-9]"))
    if not parts or (folder / COPIED[0]).is_file():
        return None
    rest = {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file() and p not in parts}
    return rest | {COPIED[0]: b"".join(p.read_bytes() for p in parts)}


class CTranslate2Backend:
    """The int8 copy beside a folder's weights (training/export.py makes it). Not thread-safe: the engine locks."""

    def __init__(self, info: ModelInfo, tokenizer: PreTrainedTokenizerBase) -> None:
        """Raises what transformers and CTranslate2 raise for damaged files."""
        self.config: Any = AutoConfig.from_pretrained(info.path, trust_remote_code=False, local_files_only=True)
        generation = GenerationConfig.from_pretrained(info.path, local_files_only=True)
        eos = generation.eos_token_id if generation.eos_token_id is not None else self.config.eos_token_id
        self.eos_ids = frozenset(eos if isinstance(eos, list) else [] if eos is None else [eos])
        self.vocabulary = int(self.config.vocab_size)
        self.translator = Translator(info.path / COPY, tokenizer)

    def translate(self, sources: Sequence[Sequence[int]], num_beams: int, max_new_tokens: int) -> list[list[int]]:
        """See `Translator`."""
        return self.translator(sources, num_beams, max_new_tokens)

    def generate(self, prompt_ids: Sequence[int], sampling: Sampling, put: Callable[[int], None], stopped: Callable[[], bool]) -> None:
        """No gpt has a copy: its tokens are drawn one by one, with a generator of each request's own."""
        raise NotImplementedError


def usable(folder: Path) -> bool:
    """Whether a model folder has a copy of these very weights, or a copy and no weights."""
    try:
        told = json.loads((folder / COPY / TOLD).read_text(encoding="utf-8"))
        weights = fingerprint(folder)
        return isinstance(told, dict) and weights in (None, told.get("weights"))
    except (OSError, ValueError):
        return False


def fingerprint(folder: Path) -> str | None:
    """SHA-256 of a folder's weights, so that a copy is never served for weights that it was not made of; None without weights."""
    digest, files = hashlib.sha256(), sorted(folder.glob("*.safetensors"))
    for file in files:
        with open(file, "rb") as f:
            while piece := f.read(1 << 22):
                digest.update(piece)
    return digest.hexdigest() if files else None

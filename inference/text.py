"""From a visitor's text to token ids and back: encode, trim to the model's context, decode while tokens stream in.

Checkpoints of the task gpt are trained on `<eos> text <eos>` with bos_token_id == eos_token_id, so a prompt
is [bos] + its tokens, and an empty prompt is [bos] alone. All backends share this module.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from transformers import PreTrainedTokenizerBase

from inference.folders import CONTEXT_NAMES, ModelError
from inference.words import both
from training.base.characters import HAN

MAX_PROMPT_CHARS = 20_000  # of a longer prompt only the end is tokenised

MAX_UNKNOWN_SHOWN = 20

SOURCE_TOKENS = 512  # the limit for a source line if the model itself has none

BYTE = re.compile(r"<0x[0-9A-F]{2}>")  # the token of one byte; characters outside the vocabulary are spelt in these

DECODE_CONTEXT = 8  # prompt tokens that are decoded with the continuation, so that a space between them survives


class Note(NamedTuple):
    """A remark about a result: a key of MESSAGES in serving/strings.py, and the values of that message."""

    key: str
    values: dict[str, Any]


class Prompt(NamedTuple):
    """A prompt ready for the model."""

    text: str  # the visitor's whole text
    ids: list[int]
    max_new_tokens: int
    notes: list[Note]


def context_length(config: Any) -> int | None:
    """The longest input in tokens, or None when the config names no limit."""
    for name in CONTEXT_NAMES:
        value = getattr(config, name, None)
        if isinstance(value, int) and value > 0:
            return value
    return None


def encode_prompt(tokenizer: PreTrainedTokenizerBase, config: Any, text: str, max_new_tokens: int) -> Prompt:
    """[bos] + the tokens of `text`, cut at the front so that the new tokens fit into the context too.

    Raises ModelError when the text is empty and the model has no start token.
    """
    notes: list[Note] = []
    kept_text = text[-MAX_PROMPT_CHARS:]
    if len(kept_text) < len(text):
        notes.append(Note("prompt_capped", {"kept": MAX_PROMPT_CHARS}))
    bos = next(
        (i for i in (config.bos_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id) if i is not None),
        None,
    )
    start = [] if bos is None else [bos]
    encoded = tokenizer(kept_text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    ids, offsets = list(encoded["input_ids"]), list(encoded["offset_mapping"])

    context = context_length(config)
    if context is not None and len(start) + len(ids) + max_new_tokens > context:
        room = context - len(start)
        # The requested length has priority, but the prompt keeps at least half of the context.
        kept = min(len(ids), max(room - max_new_tokens, room // 2))
        if kept < len(ids):
            ids, offsets = ids[len(ids) - kept :], offsets[len(offsets) - kept :]
            notes.append(Note("prompt_cut", {"context": context, "kept": kept}))
        if room - kept < max_new_tokens:
            max_new_tokens = room - kept
            notes.append(Note("length_cut", {"context": context, "length": max_new_tokens}))
    notes.extend(unknown_characters(tokenizer, [(kept_text, ids, offsets)]))
    if not start and not ids:
        raise ModelError(both("empty_prompt"))
    return Prompt(text, start + ids, max_new_tokens, notes)


def encode_lines(
    tokenizer: PreTrainedTokenizerBase, config: Any, lines: Sequence[tuple[int, str]], from_chinese: bool = False
) -> tuple[list[list[int]], list[Note]]:
    """Token ids of each (number, source line), with special tokens, and notes. Lines that are too long are cut at the end, with a note.

    With `from_chinese`, lines without a Chinese character get a note too.
    """
    most = context_length(config) or SOURCE_TOKENS
    encoded = [tokenizer(line, truncation=True, max_length=most, return_offsets_mapping=True) for _, line in lines]
    notes = unknown_characters(
        tokenizer,
        [(line, e["input_ids"], e["offset_mapping"]) for (_, line), e in zip(lines, encoded, strict=True)],
    )
    if from_chinese and (without_han := [str(number) for number, line in lines if not HAN.search(line)]):
        notes.append(Note("no_han", {"numbers": ", ".join(without_han)}))
    notes.extend(_spelt(tokenizer, [(n, line, e["input_ids"], e["offset_mapping"]) for (n, line), e in zip(lines, encoded, strict=True)]))
    cut = [
        str(number)
        for (number, line), enc in zip(lines, encoded, strict=True)
        if len(enc["input_ids"]) >= most and max(end for _, end in enc["offset_mapping"]) < len(line)
    ]
    if cut:
        notes.append(Note("line_cut", {"numbers": ", ".join(cut)}))
    return [list(enc["input_ids"]) for enc in encoded], notes


def unknown_characters(
    tokenizer: PreTrainedTokenizerBase,
    texts: Iterable[tuple[str, Sequence[int], Sequence[tuple[int, int]]]],
) -> list[Note]:
    """A note with the characters that became the unknown token, if there are any; `texts` has (text, token ids, offsets of the tokens)."""
    unk = tokenizer.unk_token_id
    characters: dict[str, None] = {}  # an ordered set
    for text, ids, offsets in texts:
        for token, (start, end) in zip(ids, offsets, strict=True):
            if token == unk and end > start:
                characters.update(dict.fromkeys(c for c in text[start:end] if not c.isspace()))
    if not characters:
        return []
    return [Note("unknown", {"characters": _shown(characters)})]


def _spelt(tokenizer: PreTrainedTokenizerBase, lines: Iterable[tuple[int, str, Sequence[int], Sequence[tuple[int, int]]]]) -> list[Note]:
    """A note on the lines that are mostly spelt in bytes, because their characters are not in the vocabulary; arguments as above."""
    numbers: list[str] = []
    characters: dict[str, None] = {}  # an ordered set
    for number, line, ids, offsets in lines:
        tokens = tokenizer.convert_ids_to_tokens(list(ids))
        spelt = {start for token, (start, end) in zip(tokens, offsets, strict=True) if end > start and BYTE.fullmatch(token)}
        if len(spelt) > len("".join(line.split())) / 2:
            numbers.append(str(number))
            characters.update(dict.fromkeys(line[start] for start in sorted(spelt)))
    return [Note("spelt", {"numbers": ", ".join(numbers), "characters": _shown(characters)})] if numbers else []


def _shown(characters: Iterable[str]) -> str:
    """The first MAX_UNKNOWN_SHOWN characters, for a note."""
    every = list(characters)
    shown = " ".join(c if c.isprintable() else f"U+{ord(c):04X}" for c in every[:MAX_UNKNOWN_SHOWN])
    return shown + (" …" if len(every) > MAX_UNKNOWN_SHOWN else "")


def decode(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> str:
    """The text of token ids, without special tokens."""
    text = tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)
    assert isinstance(text, str), type(text)
    return text


class StreamDecoder:
    """Decodes the continuation of a prompt while its tokens arrive.

    A character that is spelt in several byte tokens is held back until it is complete, so that no replacement
    character shows up in between.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, prompt: Prompt) -> None:
        self._tokenizer = tokenizer
        self._before = prompt.ids[-DECODE_CONTEXT:]
        self._prefix = decode(tokenizer, self._before)
        self._prompt = prompt.text
        self._ids: list[int] = []

    def add(self, token: int) -> None:
        """Take the next token."""
        self._ids.append(token)

    def text(self, final: bool = False) -> str:
        """The prompt and the text generated so far; with `final`, an incomplete character at the end is shown too."""
        new = self._decode(self._ids)
        if final or not new.endswith("\ufffd"):
            return self._prompt + new
        for missing in (1, 2, 3):  # a character has four bytes at most
            shorter = self._decode(self._ids[:-missing])
            if not shorter.endswith("\ufffd"):
                return self._prompt + shorter
        return self._prompt + new[:-1]  # earlier broken bytes are the model's own; the last one may still be completed

    def _decode(self, ids: Sequence[int]) -> str:
        whole = decode(self._tokenizer, [*self._before, *ids])
        if whole.startswith(self._prefix):
            return whole[len(self._prefix) :]
        return decode(self._tokenizer, ids)  # what follows has changed how the prompt's last tokens are decoded

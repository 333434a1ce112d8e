"""Between a visitor's text and token ids: encode, trim to the model's context, decode while it streams.

Checkpoints of the task gpt are trained on `<eos> text <eos>` with bos_token_id == eos_token_id, so a prompt
is [bos] + its tokens, and an empty prompt is [bos] alone. Shared by every backend; holds no weights.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from transformers import PreTrainedTokenizerBase

from inference.folders import CONTEXT_NAMES, ModelError
from inference.words import both
from training.base.characters import HAN

MAX_PROMPT_CHARS = 20_000  # longer prompts lose their beginning before they are tokenised

MAX_UNKNOWN_SHOWN = 20

SOURCE_TOKENS = 512  # a source line's length where the model itself has no limit

BYTE = re.compile(r"<0x[0-9A-F]{2}>")  # the token of a byte, of which rare characters are spelt

DECODE_CONTEXT = 8  # prompt tokens decoded along with the continuation, so that a space between them survives


class Note(NamedTuple):
    """Something the visitor should know about a result: a key of strings.MESSAGES and its values."""

    key: str
    values: dict[str, Any]


class Prompt(NamedTuple):
    text: str  # the visitor's, whole
    ids: list[int]
    max_new_tokens: int
    notes: list[Note]


def context_length(config: Any) -> int | None:
    """The most tokens the model can take, or None when its config names no limit."""
    for name in CONTEXT_NAMES:
        value = getattr(config, name, None)
        if isinstance(value, int) and value > 0:
            return value
    return None


def encode_prompt(tokenizer: PreTrainedTokenizerBase, config: Any, text: str, max_new_tokens: int) -> Prompt:
    """[bos] + tokens of `text`, cut at the front so that the new tokens fit the context too.

    Raises ModelError when the text is empty and the model has no start token.
    """
    notes: list[Note] = []
    read = text
    if len(read) > MAX_PROMPT_CHARS:
        read = read[-MAX_PROMPT_CHARS:]
        notes.append(Note("prompt_capped", {"kept": MAX_PROMPT_CHARS}))
    bos = next(
        (i for i in (config.bos_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id) if i is not None),
        None,
    )
    start = [] if bos is None else [bos]
    encoded = tokenizer(read, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    ids, offsets = list(encoded["input_ids"]), list(encoded["offset_mapping"])

    context = context_length(config)
    if context is not None and len(start) + len(ids) + max_new_tokens > context:
        room = context - len(start)
        # What is asked for comes first, but never at the price of more than half of what the model can see.
        kept = min(len(ids), max(room - max_new_tokens, room // 2))
        if kept < len(ids):
            ids, offsets = ids[len(ids) - kept :], offsets[len(offsets) - kept :]
            notes.append(Note("prompt_cut", {"context": context, "kept": kept}))
        if room - kept < max_new_tokens:
            max_new_tokens = room - kept
            notes.append(Note("length_cut", {"context": context, "length": max_new_tokens}))
    notes.extend(unknown_characters(tokenizer, [(read, ids, offsets)]))
    if not start and not ids:
        raise ModelError(both("empty_prompt"))
    return Prompt(text, start + ids, max_new_tokens, notes)


def encode_lines(
    tokenizer: PreTrainedTokenizerBase, config: Any, lines: Sequence[tuple[int, str]], from_chinese: bool = False
) -> tuple[list[list[int]], list[Note]]:
    """Token ids of each (number, source line), with special tokens; over-long ones lose their end, noted.

    With `from_chinese`, lines without a Chinese character are noted too.
    """
    most = context_length(config) or SOURCE_TOKENS
    encoded = [tokenizer(line, truncation=True, max_length=most, return_offsets_mapping=True) for _, line in lines]
    notes = unknown_characters(
        tokenizer,
        [(line, e["input_ids"], e["offset_mapping"]) for (_, line), e in zip(lines, encoded, strict=True)],
    )
    if from_chinese and (other := [str(number) for number, line in lines if not HAN.search(line)]):
        notes.append(Note("no_han", {"numbers": ", ".join(other)}))
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
    """A note naming the characters that became the unknown token; `texts`: text, token ids, their offsets."""
    unk = tokenizer.unk_token_id
    characters: dict[str, None] = {}  # a set that keeps the order
    for text, ids, offsets in texts:
        for token, (start, end) in zip(ids, offsets, strict=True):
            if token == unk and end > start:
                characters.update(dict.fromkeys(c for c in text[start:end] if not c.isspace()))
    if not characters:
        return []
    return [Note("unknown", {"characters": _shown(characters)})]


def _spelt(tokenizer: PreTrainedTokenizerBase, lines: Iterable[tuple[int, str, Sequence[int], Sequence[tuple[int, int]]]]) -> list[Note]:
    """A note on the lines that are mostly spelt in bytes: no entry of the vocabulary stands for their characters."""
    numbers: list[str] = []
    characters: dict[str, None] = {}  # a set that keeps the order
    for number, line, ids, offsets in lines:
        tokens = tokenizer.convert_ids_to_tokens(list(ids))
        spelt = {start for token, (start, end) in zip(tokens, offsets, strict=True) if end > start and BYTE.fullmatch(token)}
        if len(spelt) > len("".join(line.split())) / 2:
            numbers.append(str(number))
            characters.update(dict.fromkeys(line[start] for start in sorted(spelt)))
    return [Note("spelt", {"numbers": ", ".join(numbers), "characters": _shown(characters)})] if numbers else []


def _shown(characters: Iterable[str]) -> str:
    """The first of the characters, for a note."""
    some = list(characters)
    shown = " ".join(c if c.isprintable() else f"U+{ord(c):04X}" for c in some[:MAX_UNKNOWN_SHOWN])
    return shown + (" …" if len(some) > MAX_UNKNOWN_SHOWN else "")


def decode(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> str:
    text = tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)
    assert isinstance(text, str), type(text)
    return text


class Unfolding:
    """The text so far of a prompt that is being continued, token by token.

    A character of several byte tokens is held back until it is whole, so that no replacement character shows
    halfway.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, prompt: Prompt) -> None:
        self._tokenizer = tokenizer
        self._before = prompt.ids[-DECODE_CONTEXT:]
        self._prefix = decode(tokenizer, self._before)
        self._prompt = prompt.text
        self._ids: list[int] = []

    def add(self, token: int) -> None:
        self._ids.append(token)

    def text(self, final: bool = False) -> str:
        """The prompt and what follows it; `final` shows an unfinished character too."""
        new = self._decode(self._ids)
        if final or not new.endswith("\ufffd"):
            return self._prompt + new
        for missing in (1, 2, 3):  # a character has four bytes at most
            shorter = self._decode(self._ids[:-missing])
            if not shorter.endswith("\ufffd"):
                return self._prompt + shorter
        return self._prompt + new[:-1]  # the model's own broken bytes, but for the last that may still become whole

    def _decode(self, ids: Sequence[int]) -> str:
        whole = decode(self._tokenizer, [*self._before, *ids])
        if whole.startswith(self._prefix):
            return whole[len(self._prefix) :]
        return decode(self._tokenizer, ids)  # the prompt's last token changed its look because of what follows

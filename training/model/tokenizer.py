"""Tokenizers: trained from a stream of texts, saved so that plain `AutoTokenizer.from_pretrained` loads them.

`char` has one token a character. `bpe` is byte pair encoding with byte fallback: what is not in the vocabulary is spelt
in the 256 byte tokens, so nothing is ever unknown. `word` is there to show what keeping every word costs. `report` says what
a vocabulary holds; what of it is wrong, estimate/rules_data.py judges.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from training.base.characters import HAN
from training.base.errors import ConfigError
from training.settings.config import TokenizerConfig
from training.settings.task_specs import TASKS, TaskSpec

BYTES = [f"<0x{b:02X}>" for b in range(256)]

# Where BPE may not merge across: words keep their leading space (written ▁), Chinese and other scripts are apart,
# digits stand alone, punctuation and line ends by themselves.
WORDS = r"▁*[\p{L}\p{M}&&[^\p{Han}]]+|%s|▁*\d|\n+|▁*[^\s▁\p{L}\p{M}\d]+|▁+|\s+"


def train_tokenizer(config: TokenizerConfig, texts: Iterable[str], task: str) -> PreTrainedTokenizerFast:
    """A tokenizer for `task` from texts.

    Args:
        texts: for translation a pair's two, the source first, follow each other.

    Raises:
        ConfigError: if the vocabulary asked for cannot hold the special and byte tokens.
    """
    spec = TASKS[task]
    specials = list(spec.special_tokens)
    least = len(specials) + (256 if config.type == "bpe" else 0) + 1
    if config.vocab_size < least:
        raise ConfigError(f"tokenizer.vocab_size: {config.vocab_size} is too small; special and byte tokens alone take {least - 1}")
    if config.type == "bpe":
        return _wrap(_train_bpe(config, texts, specials, spec.normalizes_text), spec)
    make = _train_characters if config.type == "char" else _train_words
    tokenizer, counts = make(config, texts, specials)
    return _wrap(tokenizer, spec, frequencies=frequencies(counts))


def load_tokenizer(path: str | Path, task: str) -> PreTrainedTokenizerFast:
    """The tokenizer of a folder; raises ConfigError if it is not there or does not begin and end texts as `task` needs it."""
    if not (Path(path) / "tokenizer.json").is_file():
        raise ConfigError(f"tokenizer.path: {path} has no tokenizer.json; name a checkpoint folder")
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(path), split_special_tokens=True)
    except Exception as error:  # a broken file fails in as many ways as there are layers that read it
        raise ConfigError(f"tokenizer.path: the tokenizer in {path} cannot be read ({' '.join(str(error).split())[:200]})") from None
    missing = [n for n in ("bos_token", "eos_token", "pad_token") if getattr(tokenizer, n) is None]
    if missing:
        raise ConfigError(f"tokenizer.path: the tokenizer in {path} has no {', '.join(missing)}, which {task} needs")
    spec, ids, eos = TASKS[task], tokenizer("x")["input_ids"], tokenizer.eos_token_id
    if spec.begins_with_eos and (ids[:1] != [eos] or eos in ids[1:]):  # one token both ends a text and begins the next
        raise ConfigError(
            f"tokenizer.path: the tokenizer in {path} must begin a text with its end-of-text token and not end it; "
            f"{task} needs one made for {task} by this trainer, or set up likewise"
        )
    if spec.ends_with_eos and ids[-1:] != [eos]:
        raise ConfigError(
            f"tokenizer.path: the tokenizer in {path} does not end a sentence with {tokenizer.eos_token}, so a model could not "
            f"learn where to stop; {task} needs one made for {task} by this trainer, or set up likewise"
        )
    return tokenizer


def _train_characters(config: TokenizerConfig, texts: Iterable[str], specials: list[str]) -> tuple[Tokenizer, Counter[str]]:
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(text)
    tokenizer = _of_entries(counts, config, specials)
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    return tokenizer, counts


def _train_words(config: TokenizerConfig, texts: Iterable[str], specials: list[str]) -> tuple[Tokenizer, Counter[str]]:
    """One token for whatever stands between spaces and punctuation; in Chinese, which writes no spaces, that is a clause."""
    split = pre_tokenizers.Split(Regex(WORDS % r"\p{Han}+"), "isolated")
    spaces = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(" ", "▁")])
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(word for word, _ in split.pre_tokenize_str(spaces.normalize_str(text)))
    tokenizer = _of_entries(counts, config, specials)
    tokenizer.normalizer, tokenizer.pre_tokenizer = spaces, split
    tokenizer.decoder = decoders.Sequence([decoders.Fuse(), decoders.Replace("▁", " ")])
    return tokenizer, counts


def _of_entries(counts: Counter[str], config: TokenizerConfig, specials: list[str]) -> Tokenizer:
    """A vocabulary of the most frequent of what was counted, that reach `min_frequency`."""
    frequent = sorted((c for c, n in counts.items() if n >= config.min_frequency), key=lambda c: (-counts[c], c))
    kept = frequent[: config.vocab_size - len(specials)]
    return Tokenizer(models.WordLevel({t: i for i, t in enumerate(specials + kept)}, unk_token="<unk>"))


def frequencies(counts: Mapping[Any, int]) -> dict[str, Any]:
    """For several `min_frequency`: how many entries reach it and what share of the tokens they cover."""
    total = sum(counts.values())
    table = {}
    for least in (1, 2, 5, 10, 20, 50):
        kept = [n for n in counts.values() if n >= least]
        table[str(least)] = {"size": len(kept), "coverage": round(sum(kept) / max(1, total), 5)}
    return {"tokens": total, "at_least": table}


def _train_bpe(config: TokenizerConfig, texts: Iterable[str], specials: list[str], normalize: bool) -> Tokenizer:
    """BPE over WORDS. `normalize`: in the form NFKC, and a text's first word is written like any other, with the space before it."""
    tokenizer = Tokenizer(models.BPE())
    spaces: list[normalizers.Normalizer] = [normalizers.Replace(" ", "▁")]
    if normalize:
        spaces = [normalizers.NFKC(), *spaces, normalizers.Replace(Regex(r"\A(?=[\p{L}&&[^\p{Han}]])"), "▁")]
    tokenizer.normalizer = normalizers.Sequence(spaces)
    pattern = WORDS % (r"\p{Han}" if config.isolate_han else r"\p{Han}+")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(pattern), "isolated")
    held = list(texts)  # setup/data.py bounds their number and their characters: the alphabet must be known before the merges
    sides = [held] if config.joint else [held[0::2], held[1::2]]
    vocab = {t: i for i, t in enumerate(specials + BYTES)}
    merges: dict[tuple[str, str], None] = {}
    for k, side in enumerate(sides):
        most = len(vocab) + (config.vocab_size - len(vocab)) // (len(sides) - k)
        characters, learnt = _learn(config, tokenizer, side, most - len(vocab))
        for character in characters:
            vocab.setdefault(character, len(vocab))
        for a, b in learnt:
            if len(vocab) == most:
                break
            vocab.setdefault(a + b, len(vocab))  # the other side may have learnt it too
            merges[a, b] = None
    tokenizer.model = models.BPE(vocab, list(merges), byte_fallback=True, unk_token="<unk>", fuse_unk=False)
    steps: list[decoders.Decoder] = [decoders.ByteFallback(), decoders.Fuse(), decoders.Replace("▁", " ")]
    tokenizer.decoder = decoders.Sequence(steps + ([decoders.Strip(" ", 1, 0)] if normalize else []))
    return tokenizer


def _learn(config: TokenizerConfig, form: Tokenizer, texts: list[str], room: int) -> tuple[list[str], list[tuple[str, str]]]:
    """At most `room` characters of texts, normalised and cut as `form` does it, and the merges of BPE, more than fit, in their order."""
    learner = Tokenizer(models.BPE())
    learner.normalizer, learner.pre_tokenizer = form.normalizer, form.pre_tokenizer
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(form.normalizer.normalize_str(text))
    # Named one by one, because the trainer breaks ties at `limit_alphabet` differently at every launch.
    alphabet = _alphabet(counts, config, room)
    trainer = trainers.BpeTrainer(
        vocab_size=config.vocab_size, min_frequency=config.min_frequency, show_progress=False, special_tokens=[],
        initial_alphabet=alphabet, limit_alphabet=len(alphabet),
    )  # fmt: skip
    learner.train_from_iterator(texts, trainer, length=len(texts))
    learnt = json.loads(learner.to_str())["model"]
    made = {a + b for a, b in learnt["merges"]}
    return [t for t in sorted(learnt["vocab"], key=learnt["vocab"].get) if t not in made], [(a, b) for a, b in learnt["merges"]]


def _alphabet(counts: Counter[str], config: TokenizerConfig, room: int) -> list[str]:
    """The characters that get an entry: the most frequent that reach `min_frequency`, up to the coverage and the room."""
    wanted, covered = config.alphabet_coverage * sum(counts.values()), 0
    kept: list[str] = []
    for character, n in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        if n < config.min_frequency or covered >= wanted or len(kept) == room:
            break
        covered += n
        kept.append(character)
    return kept or ["▁"]


def _wrap(tokenizer: Tokenizer, spec: TaskSpec, **kept: Any) -> PreTrainedTokenizerFast:
    """As transformers loads it: with special tokens, and the template that a user's text is put into.

    `kept` goes into tokenizer_config.json.
    """
    bos, eos = spec.bos_token, spec.eos_token
    at = {t: tokenizer.token_to_id(t) for t in {bos, eos}}
    tokenizer.post_processor = processors.TemplateProcessing(single=spec.text_template, special_tokens=list(at.items()))
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=bos, eos_token=eos, pad_token="<pad>", unk_token="<unk>",
        clean_up_tokenization_spaces=False, padding_side=spec.padding_side,
        split_special_tokens=True,  # "<s>" in somebody's text is three characters, not the beginning of a sentence
        model_input_names=["input_ids", "attention_mask"], **kept,
    )  # fmt: skip


class StandIn:
    """In place of a tokenizer that is not there yet: it has a size and special ids, and nothing else."""

    bos_token_id, eos_token_id, pad_token_id, unk_token_id = 0, 2, 1, 3

    def __init__(self, size: int):
        self.size = size

    def __len__(self) -> int:
        return self.size


def text_of(tokenizer: PreTrainedTokenizerBase, ids: Iterable[int]) -> str:
    """What a model wrote, as it stands: without what begins, ends and pads a text, but with every `<unk>`."""
    silent = set(tokenizer.all_special_ids) - {tokenizer.unk_token_id}
    return str(tokenizer.decode([i for i in ids if i not in silent], skip_special_tokens=False))


def vocabulary_report(tokenizer: PreTrainedTokenizerFast, columns: dict[str, list[str]], parameters: int) -> dict[str, Any]:
    """What the vocabulary holds, measured on a sample of texts by column.

    Args:
        columns: texts by column name, e.g. {"source": […], "target": […]}.
        parameters: of the model, that are rows of the vocabulary (vocabulary x width, twice if the head is not tied).

    Returns:
        size, texts (how many it was measured on), seen_once (share of entries seen once or never: in the whole training where a
        tokenizer counts it, in these texts otherwise), han
        (entries that are one Chinese character), bytes
        (of the embeddings, float32) and training_bytes (with gradients and both Adam moments); in `columns` for each its
        tokens_per_text and tokens_per_character; frequencies (of the whole training, None where the tokenizer does not count it).
    """
    size, special = len(tokenizer), set(tokenizer.all_special_tokens)
    seen: Counter[int] = Counter()
    result: dict[str, Any] = {"size": size, "texts": max(map(len, columns.values()), default=0), "columns": {}}
    for name, texts in columns.items():
        tokens = 0
        for start in range(0, len(texts), 256):  # the tokenizer's own records take a hundred bytes a token
            for ids in tokenizer(texts[start : start + 256], add_special_tokens=False)["input_ids"]:
                tokens += len(ids)
                seen.update(ids)
        result["columns"][name] = {
            "tokens_per_text": round(tokens / max(1, len(texts)), 2),
            "tokens_per_character": round(tokens / max(1, sum(map(len, texts))), 3),
        }
    unknown = seen.get(tokenizer.unk_token_id, 0)
    entries = [t for t in tokenizer.get_vocab() if t not in special and t not in BYTES]
    at = tokenizer.get_vocab()
    once = sum(seen[at[t]] <= 1 for t in entries)
    han = sum(len(t) == 1 and bool(HAN.match(t)) for t in entries)
    counted = tokenizer.init_kwargs.get("frequencies")  # of the whole training; a sample would call most words rare
    if counted:  # the most frequent were kept, so that those seen twice stand before those seen once
        once = max(0, len(entries) - counted["at_least"]["2"]["size"])
    share = once / max(1, len(entries))
    result |= {
        "seen_once": round(share, 4), "han": han, "unknown": round(unknown / max(1, seen.total()), 6),
        "bytes": 4 * parameters, "training_bytes": 16 * parameters, "frequencies": counted,
    }  # fmt: skip
    return result


def tokenizer_summary(r: dict[str, Any], words: dict[str, Any]) -> str:
    """A report in one line for people; `words` of wording/report."""
    sides = words["comma"].join(words["cut"].format(side=words[k], tokens=v["tokens_per_text"]) for k, v in r["columns"].items())
    megabytes = {"embeddings": r["bytes"] / 1e6, "training": r["training_bytes"] / 1e6}
    where = "" if r["frequencies"] else words["in_texts"].format(texts=r["texts"])
    return str(words["entries"].format(**r, where=where, sides=sides, **megabytes))

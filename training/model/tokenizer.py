"""Tokenizers: trained from a stream of texts, saved so that plain `AutoTokenizer.from_pretrained` loads them.

`char` has one token a character. `bpe` is byte pair encoding with byte fallback: characters outside the vocabulary are spelt in the 256
byte tokens, so that nothing is unknown. `word` shows what keeping every word costs. `vocabulary_report` measures a vocabulary;
estimate/rules_memory.py judges it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from unicodedata import normalize

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from training.base.characters import HAN
from training.base.errors import ConfigError
from training.base.pretrained import read_tokenizer
from training.settings.config import TokenizerConfig
from training.settings.task_specs import TASKS, TaskSpec

SURVEYED = 20_000  # target texts that are looked at to see whether they may be normalised
BYTES = [f"<0x{b:02X}>" for b in range(256)]

# The pieces that BPE does not merge across: words with their leading space (written ▁), Chinese apart from other scripts, single digits,
# punctuation, line ends.
WORDS = r"▁*[\p{L}\p{M}&&[^\p{Han}]]+|%s|▁*\d|\n+|▁*[^\s▁\p{L}\p{M}\d]+|▁+|\s+"


def train_tokenizer(config: TokenizerConfig, texts: Iterable[str], task: str) -> PreTrainedTokenizerFast:
    """Train a tokenizer for `task`.

    Args:
        texts: for translation, source and target of each pair in turn.

    Raises:
        ConfigError: if the vocabulary asked for cannot hold the special and byte tokens.
    """
    spec = TASKS[task]
    specials = list(spec.special_tokens)
    least = len(specials) + (256 if config.type == "bpe" else 0) + 1
    if config.vocab_size < least:
        raise ConfigError(f"tokenizer.vocab_size: {config.vocab_size} is too small; special and byte tokens alone take {least - 1}")
    nfkc = False
    if spec.normalizes_text:
        texts = list(texts)
        nfkc = survives_nfkc(texts[1::2])
    if config.type == "bpe":
        return _wrap(_train_bpe(config, texts, specials, spec.normalizes_text, nfkc), spec)
    tokenizer, counts = _train_characters(config, texts, specials) if config.type == "char" else _train_words(config, texts, specials, nfkc)
    return _wrap(tokenizer, spec, frequencies=frequencies(counts))


def survives_nfkc(targets: Sequence[str]) -> bool:
    """Whether target texts may be normalised to NFKC: at most one in a hundred is changed by it.

    One tokenizer serves both sides, and a model can only write what its tokenizer leaves as it is. NFKC turns the Chinese ，？！：；（）……
    into ASCII, so a model into Chinese could never write them.
    """
    some = targets[: 1 + len(targets) : max(1, len(targets) // SURVEYED)]
    return sum(normalize("NFKC", text) != text for text in some) <= len(some) / 100


def load_tokenizer(path: str | Path, task: str) -> PreTrainedTokenizerFast:
    """Load the tokenizer in a folder; raises ConfigError if it is missing or does not begin and end texts as `task` needs."""
    if not (Path(path) / "tokenizer.json").is_file():
        raise ConfigError(f"tokenizer.path: {path} has no tokenizer.json; name a checkpoint folder")
    try:
        tokenizer = read_tokenizer(path, split_special_tokens=True)
    except Exception as error:  # each layer that reads a broken file raises errors of its own
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
    """A tokenizer with one token a character, and how often each character occurs."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(text)
    tokenizer = _of_entries(counts, config, specials)
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    return tokenizer, counts


def _train_words(
    config: TokenizerConfig, texts: Iterable[str], specials: list[str], nfkc: bool
) -> tuple[Tokenizer, Counter[str]]:  # fmt: skip
    """A tokenizer with one token a word, and how often each word occurs. A Chinese "word" is a clause, as Chinese has no spaces."""
    split = pre_tokenizers.Split(Regex(WORDS % r"\p{Han}+"), "isolated")
    spaces = normalizers.Sequence([*([normalizers.NFKC()] if nfkc else []), normalizers.Replace(" ", "▁")])
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(word for word, _ in split.pre_tokenize_str(spaces.normalize_str(text)))
    tokenizer = _of_entries(counts, config, specials)
    tokenizer.normalizer, tokenizer.pre_tokenizer = spaces, split
    tokenizer.decoder = decoders.Sequence([decoders.Fuse(), decoders.Replace("▁", " ")])
    return tokenizer, counts


def _of_entries(counts: Counter[str], config: TokenizerConfig, specials: list[str]) -> Tokenizer:
    """A tokenizer whose vocabulary is the special tokens and the most frequent entries that reach `min_frequency`."""
    frequent = sorted((c for c, n in counts.items() if n >= config.min_frequency), key=lambda c: (-counts[c], c))
    kept = frequent[: config.vocab_size - len(specials)]
    return Tokenizer(models.WordLevel({t: i for i, t in enumerate(specials + kept)}, unk_token="<unk>"))


def frequencies(counts: Mapping[Any, int]) -> dict[str, Any]:
    """For several values of `min_frequency`: how many entries reach it, and the share of all tokens that they cover."""
    total = sum(counts.values())
    at_least = {}
    for least in (1, 2, 5, 10, 20, 50):
        kept = [n for n in counts.values() if n >= least]
        at_least[str(least)] = {"size": len(kept), "coverage": round(sum(kept) / max(1, total), 5)}
    return {"tokens": total, "at_least": at_least}


def _train_bpe(config: TokenizerConfig, texts: Iterable[str], specials: list[str], leading_space: bool, nfkc: bool) -> Tokenizer:
    """Train BPE within the pieces of WORDS.

    Args:
        leading_space: put a space before a text's first word, as before any other word.
        nfkc: normalise to NFKC.
    """
    tokenizer = Tokenizer(models.BPE())
    spaces: list[normalizers.Normalizer] = [*([normalizers.NFKC()] if nfkc else []), normalizers.Replace(" ", "▁")]
    if leading_space:
        spaces += [normalizers.Replace(Regex(r"\A(?=[\p{L}&&[^\p{Han}]])"), "▁")]
    tokenizer.normalizer = normalizers.Sequence(spaces)
    pattern = WORDS % (r"\p{Han}" if config.isolate_han else r"\p{Han}+")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(pattern), "isolated")
    held = list(texts)  # all in memory (setup/data.py limits them), because the alphabet must be known before the merges
    sides = [held] if config.joint else [held[0::2], held[1::2]]
    vocab = {t: i for i, t in enumerate(specials + BYTES)}
    merges: dict[tuple[str, str], None] = {}
    for k, side in enumerate(sides):
        most = len(vocab) + (config.vocab_size - len(vocab)) // (len(sides) - k)
        characters, side_merges = _learn(config, tokenizer, side, most - len(vocab))
        for character in characters:
            vocab.setdefault(character, len(vocab))
        for a, b in side_merges:
            if len(vocab) == most:
                break
            vocab.setdefault(a + b, len(vocab))  # the other side may have the same entry
            merges[a, b] = None
    tokenizer.model = models.BPE(vocab, list(merges), byte_fallback=True, unk_token="<unk>", fuse_unk=False)
    steps: list[decoders.Decoder] = [decoders.ByteFallback(), decoders.Fuse(), decoders.Replace("▁", " ")]
    tokenizer.decoder = decoders.Sequence(steps + ([decoders.Strip(" ", 1, 0)] if leading_space else []))
    return tokenizer


def _learn(config: TokenizerConfig, form: Tokenizer, texts: list[str], room: int) -> tuple[list[str], list[tuple[str, str]]]:
    """Learn BPE on texts, normalised and split as `form` does.

    Returns:
        At most `room` characters, and the merges in the order in which they were learnt, usually more of them than the vocabulary holds.
    """
    learner = Tokenizer(models.BPE())
    learner.normalizer, learner.pre_tokenizer = form.normalizer, form.pre_tokenizer
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(form.normalizer.normalize_str(text))
    # The alphabet is passed in full, because the trainer's own cut at `limit_alphabet` breaks ties differently at every launch.
    alphabet = _alphabet(counts, config, room)
    trainer = trainers.BpeTrainer(
        vocab_size=config.vocab_size, min_frequency=config.min_frequency, show_progress=False, special_tokens=[],
        initial_alphabet=alphabet, limit_alphabet=len(alphabet),
    )  # fmt: skip
    learner.train_from_iterator(texts, trainer, length=len(texts))
    model = json.loads(learner.to_str())["model"]
    merged = {a + b for a, b in model["merges"]}
    return [t for t in sorted(model["vocab"], key=model["vocab"].get) if t not in merged], [(a, b) for a, b in model["merges"]]


def _alphabet(counts: Counter[str], config: TokenizerConfig, room: int) -> list[str]:
    """The characters that get an entry: the most frequent ones that reach `min_frequency`, limited by `alphabet_coverage` and `room`."""
    enough, covered = config.alphabet_coverage * sum(counts.values()), 0
    kept: list[str] = []
    for character, n in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        if n < config.min_frequency or covered >= enough or len(kept) == room:
            break
        covered += n
        kept.append(character)
    return kept or ["▁"]


def _wrap(tokenizer: Tokenizer, spec: TaskSpec, **kept: Any) -> PreTrainedTokenizerFast:
    """The tokenizer as a transformers one, with special tokens and the template for texts; `kept` goes into tokenizer_config.json."""
    bos, eos = spec.bos_token, spec.eos_token
    special_ids = {t: tokenizer.token_to_id(t) for t in {bos, eos}}
    tokenizer.post_processor = processors.TemplateProcessing(single=spec.text_template, special_tokens=list(special_ids.items()))
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=bos, eos_token=eos, pad_token="<pad>", unk_token="<unk>",
        clean_up_tokenization_spaces=False, padding_side=spec.padding_side,
        split_special_tokens=True,  # "<s>" in a user's text is three characters, not the special token
        model_input_names=["input_ids", "attention_mask"], **kept,
    )  # fmt: skip


class StandIn:
    """Takes the place of a tokenizer that is not trained yet: it has a size and special ids only."""

    bos_token_id, eos_token_id, pad_token_id, unk_token_id = 0, 2, 1, 3

    def __init__(self, size: int):
        self.size = size

    def __len__(self) -> int:
        return self.size


def text_of(tokenizer: PreTrainedTokenizerBase, ids: Iterable[int]) -> str:
    """The text that a model generated: without special tokens, except that every `<unk>` stays visible."""
    hidden = set(tokenizer.all_special_ids) - {tokenizer.unk_token_id}
    return str(tokenizer.decode([i for i in ids if i not in hidden], skip_special_tokens=False))


def vocabulary_report(tokenizer: PreTrainedTokenizerFast, columns: dict[str, list[str]], parameters: int) -> dict[str, Any]:
    """Measure a vocabulary on a sample of texts.

    Args:
        columns: texts by column name, e.g. {"source": […], "target": […]}.
        parameters: how many the model has in embeddings and head (vocabulary x width, twice if the head is not tied).

    Returns:
        size: entries of the vocabulary.
        texts: how many texts it was measured on.
        columns: for each column, tokens_per_text and tokens_per_character.
        seen_once: share of entries seen at most once: in the whole training if the tokenizer counted it, otherwise in these texts.
        han: entries that are a single Chinese character.
        unknown: share of tokens that are `<unk>`.
        bytes: of embeddings and head in float32.
        training_bytes: the same with gradients and both Adam moments.
        frequencies: of the whole training (see `frequencies`); None if the tokenizer did not count it.
    """
    size, special = len(tokenizer), set(tokenizer.all_special_tokens)
    seen: Counter[int] = Counter()
    result: dict[str, Any] = {"size": size, "texts": max(map(len, columns.values()), default=0), "columns": {}}
    for name, texts in columns.items():
        tokens = 0
        for start in range(0, len(texts), 256):  # in small batches, because an encoding takes a hundred bytes a token
            for ids in tokenizer(texts[start : start + 256], add_special_tokens=False)["input_ids"]:
                tokens += len(ids)
                seen.update(ids)
        result["columns"][name] = {
            "tokens_per_text": round(tokens / max(1, len(texts)), 2),
            "tokens_per_character": round(tokens / max(1, sum(map(len, texts))), 3),
        }
    unknown = seen.get(tokenizer.unk_token_id, 0)
    vocabulary = tokenizer.get_vocab()
    entries = [t for t in vocabulary if t not in special and t not in BYTES]
    once = sum(seen[vocabulary[t]] <= 1 for t in entries)
    han = sum(len(t) == 1 and bool(HAN.match(t)) for t in entries)
    counted = tokenizer.init_kwargs.get("frequencies")  # of the whole training; in a sample most words would look rare
    if counted:  # the vocabulary keeps the most frequent, so every entry beyond the number seen twice was seen once
        once = max(0, len(entries) - counted["at_least"]["2"]["size"])
    share = once / max(1, len(entries))
    result |= {
        "seen_once": round(share, 4), "han": han, "unknown": round(unknown / max(1, seen.total()), 6),
        "bytes": 4 * parameters, "training_bytes": 16 * parameters, "frequencies": counted,
    }  # fmt: skip
    return result


def tokenizer_summary(r: dict[str, Any], words: dict[str, Any]) -> str:
    """A vocabulary report in one line; `words` are those of wording/report."""
    sides = words["comma"].join(words["cut"].format(side=words[k], tokens=v["tokens_per_text"]) for k, v in r["columns"].items())
    megabytes = {"embeddings": r["bytes"] / 1e6, "training": r["training_bytes"] / 1e6}
    where = "" if r["frequencies"] else words["in_texts"].format(texts=r["texts"])
    return str(words["entries"].format(**r, where=where, sides=sides, **megabytes))

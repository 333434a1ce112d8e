"""Tokenizers: what goes in comes out, nothing is unknown, limits hold, and plain transformers can load them."""

import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from training.base.errors import ConfigError
from training.base.words import phrases
from training.model.tokenizer import load_tokenizer, tokenizer_summary, train_tokenizer, vocabulary_report
from training.settings.config import TokenizerConfig
from training.settings.task_specs import TASKS

ROOT = Path(__file__).resolve().parents[1]
LINES = [
    "世界以痛吻我，要我报之以歌。", "夏天的飞鸟，飞到我的窗前唱歌，又飞去了。",
    "Stray birds of summer come to my window to sing and fly away.",
    "我有3本书，她有12支笔。", "It's 8:30 now, isn't it?", "今天气温 -5 到 10 度。", "秋天的黄叶，它们没有什么可唱，只叹息一声。",
    "And yellow leaves of autumn, which have no songs, flutter and fall there with a sigh.",
] * 5  # fmt: skip
TRICKY = [
    "你好", "hello", "Hello, 世界! 我 love 你 .", "一行\n两行\n\n三行\n", "  two  spaces   three", "trailing space ", "\ttab\there",
    "😀👨‍👩‍👧 family 🇨🇳", "龘靐齉爩 rare 𠀀𪚥", "é è ñ ü ß Ж ا हिन्दी ไทย", "<s> </s> <pad> <unk> <|endoftext|>", "a", "。",
    "3.14159 1,000,000",
    "http://a.b/c?d=e&f=%20", "\u200bzero\u200dwidth", "«quotes» “中文”‘引号’", "I  have", "A.B.C", "\u3000全角空格",
]  # fmt: skip


def trained(task="gpt", lines=LINES, **config):
    return train_tokenizer(TokenizerConfig(**{"vocab_size": 500, **config}), lines, task)


def back(tokenizer, text):
    return tokenizer.decode(tokenizer(text)["input_ids"], skip_special_tokens=True)


@pytest.fixture(scope="module")
def gpt_bpe():
    return trained()


@pytest.fixture(scope="module")
def pair_bpe():
    return trained("translation")


@pytest.mark.parametrize("text", LINES[:8] + TRICKY)
def test_bpe_gives_every_text_back_and_nothing_is_unknown(gpt_bpe, text):
    ids = gpt_bpe(text)["input_ids"]
    assert gpt_bpe.unk_token_id not in ids and back(gpt_bpe, text) == text


@pytest.mark.parametrize("text", [t for t in LINES[:8] + TRICKY if t == t.strip() and "  " not in t and "\u3000" not in t])
def test_pairs_come_back_up_to_the_width_of_characters(pair_bpe, text):
    """Full-width forms may be read as the usual ones; nothing else may change."""
    ids = pair_bpe(text)["input_ids"]
    assert pair_bpe.unk_token_id not in ids and ids[-1] == pair_bpe.eos_token_id
    assert unicodedata.normalize("NFKC", back(pair_bpe, text)) == unicodedata.normalize("NFKC", text)


def test_the_first_word_of_a_sentence_is_the_same_word(pair_bpe):
    first, later = (pair_bpe.tokenize(t) for t in ("birds", "stray birds"))
    assert later[-len(first) :] == first


def test_characters(tmp_path):
    tokenizer = trained(type="char", min_frequency=1)
    for text in LINES[:8]:
        assert back(tokenizer, text) == text and len(tokenizer(text, add_special_tokens=False)["input_ids"]) == len(text)
    poem = trained(type="char", min_frequency=1, lines=["一行\n  两行\t。\n"])
    assert back(poem, "一行\n  两行\t。\n") == "一行\n  两行\t。\n"
    assert tokenizer.tokenize("飞龘") == ["飞", "<unk>"]
    assert back(tokenizer, "飞龘鸟") == "飞鸟"


@pytest.mark.parametrize("kind", ["char", "bpe"])
def test_min_frequency_and_cap(kind):
    lines = ["常常常常常 word word", "见见见 word", "稀 word rare"]
    vocab = trained(type=kind, min_frequency=3, lines=lines).get_vocab()
    assert "常" in vocab and "见" in vocab and "稀" not in vocab and not any("rare" in t for t in vocab)
    assert "稀" in trained(type=kind, min_frequency=1, lines=lines).get_vocab()
    base = 3 + (256 if kind == "bpe" else 0)
    for room in (1, 4, 9):
        tokenizer = trained(type=kind, min_frequency=1, lines=lines, vocab_size=base + room)
        assert len(tokenizer) == base + room
        if kind == "bpe":
            assert back(tokenizer, "常稀 rare word") == "常稀 rare word"


def test_min_frequency_holds_for_what_is_merged_too():
    often, seldom = (trained(lines=["ab"] * n + ["a b"] * 50, min_frequency=3) for n in (3, 2))
    assert "ab" in often.get_vocab() and "ab" not in seldom.get_vocab()


def test_training_twice_gives_the_same_file():
    """Many ties: every rare character is seen twice. Another process hashes differently and must not matter."""
    lines = [chr(0x4E00 + i) * 2 + f" w{chr(97 + i % 26)}x" for i in range(300)]
    mine = [trained(type=kind, lines=lines, vocab_size=450).backend_tokenizer.to_str() for kind in ("char", "bpe")]
    assert mine[1] == trained(type="bpe", lines=lines, vocab_size=450).backend_tokenizer.to_str()
    assert mine[0] == trained(type="char", lines=lines[::-1], vocab_size=450).backend_tokenizer.to_str()
    code = (
        "import sys; from training.model.tokenizer import train_tokenizer; from training.settings.config import TokenizerConfig;"
        "lines = [chr(0x4E00 + i) * 2 + f' w{chr(97 + i % 26)}x' for i in range(300)];"
        "made = [train_tokenizer(TokenizerConfig(type=k, vocab_size=450), lines, 'gpt') for k in ('char', 'bpe')];"
        "sys.stdout.buffer.write(chr(10).join(t.backend_tokenizer.to_str() for t in made).encode())"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True)
    assert run.stdout.decode() == "\n".join(mine), run.stderr.decode()[-500:]


@pytest.mark.parametrize("kind", ["char", "bpe"])
@pytest.mark.parametrize("task", ["gpt", "translation"])
def test_special_tokens_and_plain_auto_tokenizer(tmp_path, task, kind):
    tokenizer = trained(task, type=kind)
    tokenizer.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    for t in (tokenizer, loaded, load_tokenizer(tmp_path, task)):
        ids = [t.bos_token_id, t.eos_token_id, t.pad_token_id, t.unk_token_id]
        assert ids == ([0, 0, 1, 2] if task == "gpt" else [0, 2, 1, 3])
        assert sorted(t.get_vocab().values()) == list(range(len(t))), "ids without holes, specials among them"
        assert t("飞鸟 sing")["input_ids"] == tokenizer("飞鸟 sing")["input_ids"]
        if task == "gpt":
            assert t("飞鸟")["input_ids"][0] == t.bos_token_id and t("")["input_ids"] == [t.bos_token_id]
        else:
            assert t("飞鸟")["input_ids"][-1] == t.eos_token_id
        assert "token_type_ids" not in t("飞鸟")
        specials = set(t.all_special_ids) - {t.unk_token_id}
        inside = t("a <s> b </s> <pad> <|endoftext|>", add_special_tokens=False)["input_ids"]
        assert not specials & set(inside), "what a text says is not what a special token means"
        batch = t(["飞鸟", "飞鸟飞鸟 sing"], padding=True)
        side = 0 if task == "gpt" else -1
        assert batch["attention_mask"][0][side] == 0 and batch["input_ids"][0][side] == t.pad_token_id


def test_han_can_be_kept_apart():
    lines = ["我们我们我们 words words words words"] * 20
    assert "我们" in trained(lines=lines).get_vocab() and "我们" not in trained(lines=lines, isolate_han=True).get_vocab()
    assert "▁words" in trained(lines=lines, isolate_han=True).get_vocab()


def test_each_language_can_learn_a_vocabulary_of_its_own():
    """A source of many rare words takes most of a joint vocabulary; apart, the target has its half whatever the source is like."""
    source = ["".join(chr(0x4E00 + (i * k) % 900) for k in range(1, 30)) for i in range(60)]
    target = ["the birds of summer come to my window to sing and fly away"] * 60
    lines = [t for pair in zip(source, target) for t in pair]
    joint, apart = (trained("translation", lines=lines, vocab_size=600, joint=joint) for joint in (True, False))
    whole = [f"▁{word}" for word in target[0].split()]
    assert not set(whole) & set(joint.get_vocab()) and apart.tokenize(target[0]) == whole
    assert sorted(apart.get_vocab().values()) == list(range(len(apart)))
    assert all(back(apart, text) == text and apart.unk_token_id not in apart(text)["input_ids"] for text in lines)


def test_two_halves_fill_the_vocabulary_that_was_asked_for():
    """What both sides have, a digit or a comma, counts once, and neither side has more than its half while the other could use it."""
    source = ["，".join(f"{chr(0x4E00 + i % 50)}{chr(0x4E00 + i * 7 % 60)}1" for i in range(k, k + 40)) for k in range(200)]
    target = [", ".join(f"{'abcdefgh'[i % 8]}{'ijklmno'[i % 7]}{'pqrst'[i % 5]}1" for i in range(k, k + 40)) for k in range(200)]
    vocab = trained("translation", lines=[t for pair in zip(source, target) for t in pair], vocab_size=440, joint=False).get_vocab()
    half = (440 - len(TASKS["translation"].special_tokens) - 256) // 2
    assert len(vocab) == 440 and half - 10 <= sum(any("\u4e00" <= c <= "\u9fff" for c in t) for t in vocab) <= half


def test_words_punctuation_digits_and_lines_do_not_grow_together():
    lines = ["the end.\n我们，2024 the end.\n我们，2024"] * 50
    vocab = trained(lines=lines, vocab_size=2000).get_vocab()
    for token in vocab:
        if token.startswith("<"):
            continue
        kinds = {
            ("d" if c.isdigit() else "h" if "\u4e00" <= c <= "\u9fff" else "l" if c.isalpha() else "n" if c == "\n" else "p")
            for c in token.lstrip("▁")
        }
        assert len(kinds) <= 1 and not ("d" in kinds and len(token.lstrip("▁")) > 1), token


def test_alphabet_coverage_spells_rare_characters_in_bytes():
    lines = ["常见的字" * 500, "".join(chr(0x4E00 + i) for i in range(0, 400, 2))]
    full = trained("translation", lines=lines, min_frequency=1, vocab_size=900)
    most = trained("translation", lines=lines, min_frequency=1, vocab_size=900, alphabet_coverage=0.9)
    rare = chr(0x4E00 + 300)
    assert rare in full.get_vocab() and rare not in most.get_vocab() and "常" in most.get_vocab()
    assert back(most, f"常{rare}") == f"常{rare}" and most.unk_token_id not in most(rare)["input_ids"]


@pytest.mark.parametrize(("task", "kind", "least"), [("gpt", "bpe", 259), ("translation", "bpe", 260), ("gpt", "char", 3)])
def test_a_vocabulary_that_cannot_hold_its_special_tokens(task, kind, least):
    with pytest.raises(ConfigError, match=rf"tokenizer.vocab_size: {least} is too small; special and byte tokens alone take {least}"):
        trained(task, type=kind, vocab_size=least)


def test_loading_what_is_no_tokenizer(tmp_path):
    with pytest.raises(ConfigError, match=r"has no tokenizer\.json"):
        load_tokenizer(tmp_path, "gpt")
    (tmp_path / "tokenizer.json").write_text("{broken")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_tokenizer(tmp_path, "gpt")
    from tokenizers import Tokenizer, models

    Tokenizer(models.BPE()).save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(ConfigError, match="has no bos_token"):
        load_tokenizer(tmp_path, "gpt")


def columns(n):
    """Sentences of many different Chinese characters, each with its English."""
    source = ["".join(chr(0x4E00 + (i * 7 + k) % n) for k in range(12)) for i in range(400)]
    return {"source": source, "target": ["Where would you like to go to dinner this evening, my dear friend?"] * 400}


def test_the_report_says_what_a_vocabulary_holds():
    sides = columns(100)
    tokenizer = trained("translation", lines=[t for c in sides.values() for t in c], vocab_size=1000, isolate_han=True)
    r = vocabulary_report(tokenizer, sides, 2 * 64 * len(tokenizer))
    assert r["size"] == len(tokenizer) and r["han"] == 100 and r["unknown"] == 0
    assert r["bytes"] == len(tokenizer) * 64 * 4 * 2 and r["training_bytes"] == 4 * r["bytes"]
    assert r["columns"]["source"] == {"tokens_per_text": 12, "tokens_per_character": 1}
    assert r["columns"]["target"]["tokens_per_text"] == 15
    line = tokenizer_summary(r, phrases("report", "en"))
    assert "100 single Chinese characters" in line and "15.0 tokens a target" in line and " MB" in line


def test_frequencies_say_what_a_higher_min_frequency_would_leave():
    tokenizer = trained(type="char", min_frequency=1, lines=["常" * 10 + "中" * 5 + "少少" + "稀"])
    r = vocabulary_report(tokenizer, {"text": ["常稀"]}, 8)
    assert r["frequencies"]["tokens"] == 18 and r["seen_once"] == 0.25  # of the whole training, not of the sample
    assert r["frequencies"]["at_least"]["5"] == {"size": 2, "coverage": round(15 / 18, 5)}
    assert r["frequencies"]["at_least"]["2"]["size"] == 3 and r["frequencies"]["at_least"]["50"]["size"] == 0
    rare_left_out = trained(type="char", min_frequency=5, lines=["常" * 10 + "中" * 5 + "少少" + "稀"])
    assert vocabulary_report(rare_left_out, {"text": ["常"]}, 8)["seen_once"] == 0
    assert vocabulary_report(trained(lines=["常中少"], vocab_size=300), {"text": ["常"]}, 8)["frequencies"] is None  # bpe has no such cut


def test_words_are_kept_whole_and_each_clause_of_chinese_is_one(tmp_path):
    tokenizer = trained("translation", type="word", min_frequency=1, lines=["我们走吧。天黑了。", "Let us go, it is dark."])
    tokenizer.save_pretrained(tmp_path)
    again = load_tokenizer(tmp_path, "translation")
    assert again.tokenize("我们走吧。天黑了。") == ["我们走吧", "。", "天黑了", "。"]
    assert again.decode(again("Let us go, it is dark.")["input_ids"], skip_special_tokens=True) == "Let us go, it is dark."
    assert again.decode(again("天亮了")["input_ids"]).startswith("<unk>")
    assert again.init_kwargs["frequencies"]["at_least"]["1"]["size"] == len(again) - 4


def test_unknown_characters_and_idle_entries_are_counted():
    r = vocabulary_report(trained(type="char", min_frequency=3, lines=["常常常 稀"]), {"text": ["常稀稀"]}, 8)
    assert r["unknown"] > 0.5
    sides = columns(5000)
    r = vocabulary_report(
        trained("translation", lines=sides["source"], vocab_size=4000, min_frequency=1), {"source": sides["source"][:5]}, 8
    )
    assert r["seen_once"] > 0.3
    assert vocabulary_report(trained(), {"text": []}, 8)["columns"]["text"]["tokens_per_text"] == 0


@pytest.mark.parametrize(("made_for", "task", "told"), [
    ("gpt", "translation", "does not end a sentence"), ("translation", "gpt", "must begin a text with its end-of-text token"),
])  # fmt: skip
def test_a_tokenizer_made_for_the_other_task_is_refused(tmp_path, made_for, task, told):
    trained(made_for).save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match=rf"tokenizer\.path: .*{told}"):
        load_tokenizer(tmp_path, task)


ZH_EN = [
    ("你好，你叫什么名字？", "Hello, what is your name?"),
    ("（请说）……", "(Please speak) ..."),
    ("好：坏；是！", "good: bad; yes!"),
] * 20


@pytest.mark.parametrize("kind", ["bpe", "char", "word"])
@pytest.mark.parametrize("direction", ["zh-en", "en-zh"])
def test_targets_survive_encoding_and_decoding(direction: str, kind: str) -> None:
    """What the tokenizer changes in a target, the model can never write."""
    pairs = ZH_EN if direction == "zh-en" else [(en, zh) for zh, en in ZH_EN]
    tokenizer = trained("translation", [text for pair in pairs for text in pair], type=kind, vocab_size=800, min_frequency=1)
    assert [back(tokenizer, target) for _, target in pairs] == [target for _, target in pairs]


def test_sources_are_normalised_where_no_target_needs_what_that_takes_away() -> None:
    lines = [text for pair in ZH_EN for text in pair]
    full_width = trained("translation", lines)
    assert full_width("ＡＢＣ，１２３")["input_ids"] == full_width("ABC,123")["input_ids"]
    other_way = trained("translation", [text for zh, en in ZH_EN for text in (en, zh)])
    assert other_way("，")["input_ids"] != other_way(",")["input_ids"]

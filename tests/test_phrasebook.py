"""Checks the zh-en phrasebook corpus: reproducible, well split, and grammatical throughout.

pytest tests/test_phrasebook.py
"""

import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "data" / "phrasebook"
SCRIPT = ROOT / "data" / "make_phrasebook.py"
SPLITS = ("train", "valid", "test_combinations", "test_patterns")
sys.path.insert(0, str(FOLDER))

from grammar import numbers  # noqa: E402
from grammar.english import plural, verb_forms, with_article  # noqa: E402
from grammar.lexicon import Lexicon  # noqa: E402
from grammar.patterns import PATTERNS  # noqa: E402
from grammar.slots import Slots  # noqa: E402


@pytest.fixture(scope="module")
def corpus():
    return {name: [json.loads(line) for line in (FOLDER / f"{name}.jsonl").open(encoding="utf-8")] for name in SPLITS}


@pytest.fixture(scope="module")
def pairs(corpus):
    return [pair for name in SPLITS for pair in corpus[name]]


@pytest.fixture(scope="module")
def lexicon():
    return Lexicon()


def violations(pairs, language, regex):
    return [p[language] for p in pairs if re.search(regex, p[language])][:5]


# Reproducibility, counts, splits


def test_script_regenerates_the_same_bytes(tmp_path):
    subprocess.run([sys.executable, str(SCRIPT), "--seed", "1", "--out", str(tmp_path)], check=True, capture_output=True)
    for name in SPLITS:
        assert (tmp_path / f"{name}.jsonl").read_bytes() == (FOLDER / f"{name}.jsonl").read_bytes(), name


def test_counts(corpus, lexicon):
    assert lexicon.entries() >= 1500
    assert len(corpus["train"]) >= 30000
    assert len(corpus["valid"]) == 500
    assert len(corpus["test_combinations"]) == 1000
    assert len(corpus["test_patterns"]) >= 300
    assert len(PATTERNS) >= 150
    assert sum((FOLDER / f"{name}.jsonl").stat().st_size for name in SPLITS) < 8e6


def test_one_english_per_chinese_and_disjoint_splits(pairs):
    chinese = Counter(p["chinese"] for p in pairs)
    assert [c for c, n in chinese.items() if n > 1] == []


def test_held_out_patterns(corpus):
    held = {p["pattern"] for p in corpus["test_patterns"]}
    assert len(held) >= 15
    assert held == {p.ident for p in PATTERNS if p.held_out}
    known = {p["pattern"] for name in SPLITS[:2] for p in corpus[name]}
    assert not held & known
    assert {p["pattern"] for p in corpus["test_combinations"]} <= known


def test_patterns_get_a_fair_share(corpus):
    share = Counter(p["pattern"] for p in corpus["train"])
    assert max(share.values()) <= 0.01 * len(corpus["train"])


def test_test_words_are_known(corpus):
    def parts(pair):
        return set(re.findall(r"[\w'.’-]+\b", pair["english"].lower())) | set(pair["chinese"])

    seen = Counter(part for pair in corpus["train"] for part in parts(pair))
    for name in SPLITS[1:]:
        unknown = {part for pair in corpus[name] for part in parts(pair) if seen[part] < 2}
        assert not unknown, name


# Form of the sentences


def test_punctuation_and_scripts(pairs):
    for p in pairs:
        zh, en = p["chinese"], p["english"]
        assert re.fullmatch(r"[\u4e00-\u9fff，、！？。]+[。？！]", zh), zh
        assert re.fullmatch(r"[A-Z][A-Za-zé0-9 ,.?!'-]*[.?!]", en), en
        assert {"。": ".", "？": "?", "！": "!"}[zh[-1]] == en[-1] or p["pattern"] == "phrase.fixed", zh
        assert "  " not in en and " ," not in en and " ." not in en, en


def test_lengths(pairs):
    zh = sum(len(p["chinese"]) for p in pairs) / len(pairs)
    en = sum(len(p["english"].split()) for p in pairs) / len(pairs)
    assert 7 < zh < 16 and 5 < en < 11
    assert max(len(p["english"].split()) for p in pairs) <= 24


def test_a_and_an(pairs):
    sounds_like_consonant = ("uni", "use", "eu", "one")
    for p in pairs:
        for article, word in re.findall(r"(?<!')\b([Aa]n?) ([A-Za-z]+)", p["english"]):
            vowel = word[0].lower() in "aeiou" and not word.lower().startswith(sounds_like_consonant)
            vowel = vowel or word.startswith(("hour", "honest"))
            assert (article.lower() == "an") == vowel, p["english"]


def test_no_wrong_plurals_or_counted_mass_nouns(pairs):
    wrong = (
        r"\b(childs|mouses|knifes|sheeps|gooses|foots|tooths|wolfs|leafs|deers|fishs|potatos|tomatos|"
        r"scarfs|advices|furnitures|informations|rices|breads|milks|newses|luggages|homeworks|"
        r"childrens|snowmans|mices|trouserses|shelfs|buses es)\b"
    )
    assert violations(pairs, "english", wrong) == []
    mass = r"\b(an?|one) (rice|tea|coffee|water|milk|bread|beef|pork|advice|news|soup|paper|soap|trousers|glasses|jeans)\b(?! (dumpling|table|cooker|maker))"  # noqa: E501
    assert violations(pairs, "english", mass) == []


def test_english_agreement(pairs):
    regex = r"\b([Hh]e|[Ss]he|[Mm]y (father|mother)) (are|have|do|go|want|like|don't|haven't)\b(?! (be|been)\b)"
    assert (
        violations(
            [
                p
                for p in pairs
                if not re.match(r"(Did|Does|Can|Will|Is|When|Where|What|How|Has|Why|Which)\b", p["english"])
                and "?" not in p["english"]
                and " help " not in p["english"]
                and " and " not in p["english"]
            ],
            "english",
            regex,
        )
        == []
    )
    assert violations(pairs, "english", r"\b(I|we|they|We|They|[Yy]ou) (is|has|does|goes|wants|likes|doesn't|hasn't)\b") == []
    assert violations(pairs, "english", r"\b(on|in) \w+ o'clock|\bon (next|last|tomorrow|yesterday)\b") == []
    assert violations(pairs, "english", r"~|\{|\}|\[|\||_|\bmuch more (\w+)er\b") == []


# Chinese grammar


def measures(lexicon):
    found = {w.measure for kind in ("noun", "job", "place") for w in lexicon.words[kind] if w.measure != "-"}
    return found | set("块岁次个天年度分点")


def test_er_and_liang(pairs, lexicon):
    unit = "[" + "".join(sorted(m for m in measures(lexicon) if len(m) == 1 and m not in "度分")) + "]"
    assert violations(pairs, "chinese", r"(?<![十百千万零第一二三四五六七八九])二" + unit + r"(?!号|零|级)") == []
    assert violations(pairs, "chinese", "两十|十两|两(月|日|号|分)") == []


def measure_errors(sentence, lexicon, cache={}):  # noqa: B006  (kept between calls on purpose)
    """(measure, noun) found in the sentence that contradict the lexicon."""
    if "regex" not in cache:
        nouns = {}
        for kind in ("noun", "job", "place"):
            for w in lexicon.words[kind]:
                nouns.setdefault(w.zh_text, set()).add(w.measure)
        longest = sorted(nouns, key=lambda n: (-len(n), n))
        attributes = sorted({a.attr for a in lexicon.words["adj"] if a.attr != "-"}, key=lambda a: -len(a))
        all_measures = sorted({m for ms in nouns.values() for m in ms if m not in "-次"})  # 次 also counts actions
        cache["nouns"] = nouns
        cache["regex"] = re.compile(
            "(?:[一两三四五六七八九十百这那哪几每])("
            + "|".join(all_measures)
            + ")(?:"
            + "|".join(attributes)
            + ")??("
            + "|".join(longest)
            + ")"
        )
    return [(m, n) for m, n in cache["regex"].findall(sentence) if m not in cache["nouns"][n]]


def test_measure_words(pairs, lexicon):
    wrong = [(p["chinese"], e) for p in pairs for e in measure_errors(p["chinese"], lexicon)]
    assert wrong == []


def test_the_measure_word_test_bites(lexicon):
    assert measure_errors("我买了一只书。", lexicon) == [("只", "书")]
    assert measure_errors("他有两本可爱的小猫。", lexicon) == [("本", "小猫")]
    assert measure_errors("请给我三张票和一本书。", lexicon) == []


@pytest.mark.parametrize(
    "noun, measure",
    [
        ("书", "本"),
        ("猫", "只"),
        ("狗", "条"),
        ("电影票", "张"),
        ("鱼", "条"),
        ("马", "匹"),
        ("衬衫", "件"),
        ("裤子", "条"),
        ("鞋子", "双"),
        ("汽车", "辆"),
        ("雨伞", "把"),
        ("树", "棵"),
        ("茶", "杯"),
        ("米饭", "碗"),
        ("信", "封"),
        ("大象", "头"),
        ("花瓶", "个"),
        ("手机", "部"),
        ("电脑", "台"),
        ("帽子", "顶"),
        ("眼镜", "副"),
        ("飞机", "架"),
        ("山", "座"),
    ],
)
def test_measure_words_of_common_nouns(lexicon, noun, measure):
    assert {w.measure for w in lexicon.words["noun"] if w.zh_text == noun} == {measure}


# Numbers and morphology


def test_numbers_round_trip():
    for n in list(range(2500)) + list(range(2500, 100000, 37)):
        assert numbers.parse_zh_number(numbers.zh_number(n)) == n
    assert len({numbers.en_number(n) for n in range(3000)}) == 3000
    for n, zh, en in (
        (2, "二", "two"),
        (12, "十二", "twelve"),
        (23, "二十三", "twenty-three"),
        (105, "一百零五", "one hundred and five"),
        (110, "一百一十", "one hundred and ten"),
        (3000, "三千", "three thousand"),
        (2222, "两千二百二十二", None),
    ):
        assert numbers.zh_number(n) == zh
        assert en is None or numbers.en_number(n) == en
    assert numbers.zh_count(2) == "两" and numbers.zh_count(12) == "十二"


def test_numbers_agree_in_the_sentences(corpus):
    checked = 0
    for p in corpus["train"]:
        age = re.search("今年(.+?)岁", p["chinese"])
        price = re.search(r"([一两二三四五六七八九十百千零万]+)块。", p["chinese"])
        if age:
            assert f" {numbers.en_number(numbers.parse_zh_number(age[1]))} years" in p["english"], p
        if price:
            assert f" {numbers.parse_zh_number(price[1])} yuan" in p["english"], p
        checked += bool(age or price)
    assert checked > 300


def test_clock_prices_dates():
    assert (numbers.clock_zh(3, 30), numbers.clock_en(3, 30)) == ("三点半", "half past three")
    assert (numbers.clock_zh(2, 5), numbers.clock_en(2, 5)) == ("两点五分", "five past two")
    assert (numbers.clock_zh(12, 45), numbers.clock_en(12, 45)) == ("十二点三刻", "a quarter to one")
    assert (numbers.zh_price(35), numbers.en_price(35)) == ("三块五", "3.50 yuan")
    assert (numbers.zh_price(1200), numbers.en_price(1200)) == ("一百二十块", "120 yuan")
    days = dict(numbers.dates())
    assert len(days) == 365 and days["三月五日"] == "March 5th" and days["十二月二十二日"] == "December 22nd"


def test_morphology(lexicon):
    assert [plural(w) for w in ("bus", "baby", "day", "box", "brush")] == ["buses", "babies", "days", "boxes", "brushes"]
    assert [with_article(w) for w in ("hour", "university", "egg", "uniform", "honest man")] == [
        "an hour",
        "a university",
        "an egg",
        "a uniform",
        "an honest man",
    ]
    swim, study = (verb_forms(v, lexicon.irregular) for v in ("swim", "study"))
    assert (swim["past"], swim["pp"], swim["ing"]) == ("swam", "swum", "swimming")
    assert (study["third"], study["past"], study["ing"]) == ("studies", "studied", "studying")


def test_lexicon_has_no_duplicates(lexicon):
    for kind in ("noun", "adj", "place", "job", "time", "region"):
        names = Counter(w.zh_text for w in lexicon.words[kind])
        assert [n for n, k in names.items() if k > 1] == [], kind


# Known sentences


@pytest.mark.parametrize(
    "ident, words, zh, en",
    [
        ("shop.bought_one", {"s": "我们", "n": "书"}, "我们买了一本书。", "We bought a book."),
        ("shop.bought_k", {"s": "她", "n": "裤子", "k": "二"}, "她买了两条裤子。", "She bought two pairs of trousers."),
        ("food.drank", {"s": "他", "n": "茶", "k": "三"}, "他喝了三杯茶。", "He drank three cups of tea."),
        ("comp.than", {"s": "他", "t": "小明", "a": "高"}, "他比小明高。", "He is taller than Xiaoming."),
        ("now.doing", {"s": "我", "v": "做作业"}, "我正在做作业。", "I am doing my homework."),
        ("habit.every_day", {"s": "他们", "v": "洗脸"}, "他们每天洗脸。", "They wash their faces every day."),
        ("past.did", {"s": "她", "t": "昨天", "v": "写信"}, "她昨天写信了。", "She wrote a letter yesterday."),
        ("exp.never", {"s": "他们", "v": "骑马"}, "他们没骑过马。", "They have never ridden a horse."),
        ("where.on", {"s": "我", "f": "桌子", "n": "眼镜"}, "我的眼镜在桌子上。", "My glasses are on the table."),
        ("ba.broke", {"s": "我弟弟", "n": "杯子"}, "我弟弟把杯子打破了。", "My younger brother broke the cup."),
        ("past.zoo", {"s": "他们", "n": "老虎", "k": "二"}, "他们在动物园看到了两只老虎。", "They saw two tigers at the zoo."),
    ],
)
def test_known_sentences(lexicon, ident, words, zh, en):
    pattern = next(p for p in PATTERNS if p.ident == ident)
    slots, chosen = Slots(lexicon), {}
    for name, description in pattern.slots.items():
        base = description.partition("@")[0]
        chosen[name] = next(w for w in slots.candidates(base, {}) if w.zh_text == words[name])
    assert pattern.render(chosen) == (zh, en)

"""Slots: 'noun eat|drink -alcohol @v' -> the words that may fill it.

A slot names a word class and conditions, all of which must hold:
  tag1|tag2   the word has one of the tags
  -tag        the word does not have the tag
  @x          the word fits the word in slot x (see `fits`)
Number slots: 'num 2-9', 'num 100-900/50' (step), 'num 1,3,5'.
'age', 'clock', 'date', 'weekday', 'minute' … 'year' (durations), 'price @n' are built in.
"""

from . import numbers
from .words import Number, Word

# Sensible prices in units of 0.1 yuan for the price tags of nouns.
PRICES = {
    "$1": [25, 35, 45, 55, 65, 85, *list(range(20, 310, 10))],
    "$2": list(range(300, 3000, 50)) + list(range(350, 2000, 10))[::7],
    "$3": list(range(5000, 50000, 500)),
    "$room": list(range(1200, 9000, 100)),
    "$pay": list(range(1000, 100000, 500))[::3],
    "$fare": list(range(5000, 25000, 500)),
    "$far": list(range(30000, 120000, 2500)),
    "$small": list(range(200, 3000, 100)),
    "$4": list(range(50000, 500000, 5000)),
}


def fits(word, other):
    """Do the two words go together? Only pairs of classes listed here are restricted."""
    kinds = (word.kind, other.kind)
    if kinds in (("adj", "noun"), ("adj", "place")):
        return bool(word.tags & other.tags)
    if kinds in (("noun", "adj"), ("place", "adj")):
        return bool(word.tags & other.tags)
    if kinds == ("noun", "verb") or kinds == ("noun", "act"):
        return bool(word.tags & other.objects)
    if kinds == ("noun", "place"):
        return bool(word.tags & other.sells)
    if kinds == ("place", "act"):
        return word.zh_text in other.places
    if kinds == ("act", "place"):
        return other.zh_text in word.places
    if kinds == ("place", "job"):
        return word.zh_text == other.place
    if kinds == ("price", "noun"):
        return bool(word.tags & other.tags)
    if kinds == ("noun", "noun"):
        holds = {t[3:] for t in other.tags if t.startswith("on:")}
        if holds:  # furniture and bags say what lies on or in them
            return bool(word.tags & holds)
        # Otherwise two nouns side by side: the same kind of things.
        groups = {
            "fruit",
            "veg",
            "meat",
            "dish",
            "drink",
            "snack",
            "wear",
            "puton",
            "furn",
            "elec",
            "stat",
            "read",
            "kitchen",
            "pet",
            "zoo",
            "farm",
            "flower",
            "toy",
            "instr",
            "veh",
            "tool",
            "house",
            "sportgear",
            "song",
        }
        return bool(word.tags & other.tags & groups)
    raise ValueError(f"no rule for {word.kind} @ {other.kind}")


# Tags of two words that never go together in a sentence, wherever they stand.
CLASHES = (
    ("m", "fem"),
    ("f", "masc"),  # his necklace, her tie
    ("title", "youth"),
    ("adult", "youth"),  # Professor Gao's school uniform
    ("title", "pupil"),
    ("adult", "pupil"),  # Dr. Wang does his homework
    ("little", "grown"),
    ("little", "$pay"),
    ("little", "alcohol"),
    ("job", "little"),
    ("title", "kidtoy"),
    ("adult", "kidtoy"),
    ("warm", "snow"),
)


CLASHING = {tag for pair in CLASHES for tag in pair}


def clash(word, other):
    """True for combinations that are grammatical but absurd."""
    if word.tags.isdisjoint(CLASHING) or other.tags.isdisjoint(CLASHING):
        return False
    return any((a in word.tags and b in other.tags) or (b in word.tags and a in other.tags) for a, b in CLASHES)


class Price(Word):
    kind = "price"


class Slots:
    """Resolves slot descriptions against a lexicon, with a cache."""

    def __init__(self, lexicon):
        self.lexicon = lexicon
        self.cache = {}
        words = lambda pairs: [Word(zh, en) for zh, en in pairs]  # noqa: E731
        self.builtin = {unit: words(numbers.durations(unit)) for unit in numbers.DURATION_UNITS}
        parts = {"早上": "morning", "上午": "forenoon", "下午": "afternoon", "晚上": "evening"}
        self.builtin["clock"] = [Word(zh, en, [parts[zh[:2]]]) for zh, en in numbers.clock_times()]
        # Made-up eight-digit telephone numbers, spread evenly.
        self.builtin["phone"] = [Number(62000000 + i * 37139 % 27999983) for i in range(1, 700)]
        self.builtin["date"] = words(numbers.dates())
        self.builtin["weekday"] = words(numbers.WEEKDAYS.items())
        self.builtin["monthname"] = [Word(numbers.zh_number(i) + "月", name) for i, name in enumerate(numbers.MONTHS, 1)]
        self.builtin["price"] = [
            Price(numbers.zh_price(j), numbers.en_price(j), [tag]) for tag, jiaos in PRICES.items() for j in sorted(set(jiaos))
        ]

    def candidates(self, description, chosen):
        """Words that can fill the slot, given the slots `chosen` so far."""
        base, _, at = description.partition("@")
        if base not in self.cache:
            self.cache[base] = self._select(base.split())
        found = self.cache[base]
        for name in at.replace("@", " ").split():
            key = (base, at, chosen[name])
            if key not in self.cache:
                self.cache[key] = [w for w in found if fits(w, chosen[name])]
            found = self.cache[key]
        return found

    def _select(self, parts):
        kind, conditions = parts[0], parts[1:]
        if kind == "num":
            return [Number(n) for n in number_range(conditions[0])]
        if kind == "fixed":  # 'fixed 右=right 左=left': a closed list written in the pattern
            return [Word(*c.replace("_", " ").split("=")) for c in conditions]
        found = self.builtin[kind] if kind in self.builtin else self.lexicon.words[kind]
        for condition in conditions:
            if condition.startswith("-"):
                found = [w for w in found if condition[1:] not in w.tags]
            else:
                wanted = set(condition.split("|"))
                found = [w for w in found if w.tags & wanted]
        if not found:
            raise ValueError(f"empty slot: {' '.join(parts)}")
        return found


def number_range(text):
    if "," in text:
        return [int(n) for n in text.split(",")]
    span, _, step = text.partition("/")
    low, high = span.split("-")
    return range(int(low), int(high) + 1, int(step or 1))

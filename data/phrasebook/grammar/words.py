"""Word classes. Every word renders itself: word.zh(form, ...) and word.en(form, ...).

The forms are what patterns write after the colon, e.g. {n:one} -> 一本书 / a book.
../README.md lists them all.
"""

import re

from . import english, numbers


class Word:
    """A word with one Chinese and one English form (subjects, adverbs, time words …)."""

    kind = "word"

    def __init__(self, zh, en, tags=()):
        self.zh_text, self.en_text, self.tags = zh, en, frozenset(tags)

    def zh(self, form=""):
        return self.zh_text

    def en(self, form=""):
        if form == "one":
            return english.with_article(self.en_text)
        return english.capitalise(self.en_text) if form == "cap" else self.en_text

    def __repr__(self):
        return f"{self.kind}:{self.zh_text}"


class Region(Word):
    kind = "region"


class Number(Word):
    kind = "num"

    def __init__(self, value):
        super().__init__(numbers.zh_number(value), numbers.en_number(value))
        self.value = value

    def zh(self, form=""):
        if form == "count":
            return numbers.zh_count(self.value)
        if form == "digits":
            return "".join(numbers.DIGITS[int(d)] for d in str(self.value))
        return self.zh_text

    def en(self, form=""):
        if form == "times":
            return numbers.en_times(self.value)
        return str(self.value) if form == "digits" else self.en_text


class Noun(Word):
    """Countable ("" ), uncountable ("u") or plural-only ("p") noun with its measure word."""

    kind = "noun"

    def __init__(self, zh, measure, en, number="", unit="", tags=()):
        self.measure, self.number, self.unit = measure, number, unit
        counted = {"u": "mass", "p": "pair"}.get(number, "count")
        super().__init__(zh, en, set(tags) | {counted})
        self.plural = en if counted != "count" else number or english.plural(en)

    def zh(self, form="", *args):
        if form == "":
            return self._described(args)
        if form == "n":
            return numbers.zh_count(args[0].value) + self.measure + self._described(args[1:])
        head = {
            "one": "一",
            "a": "一",
            "this": "这",
            "that": "那",
            "which": "哪",
            "howmany": "几",
            "each": "每",
            "another": "另一",
            "ord": "第一",
        }.get(form)
        if head:
            return head + self.measure + self._described(args)
        head = {"some": "一些", "these": "这些", "those": "那些"}[form]
        return head + self._described(args)

    def _described(self, adjectives):
        return "".join(a.zh("attr") for a in adjectives) + self.zh_text

    def en(self, form="", *args):
        adjective = " ".join(a.en() for a in args if not isinstance(a, Number))
        plus = adjective + " " if adjective else ""
        single, many = plus + self.en_text, plus + self.plural
        if self.unit:  # a cup of tea, two pairs of shoes
            single, counted = f"{self.unit} of {many}", f"{english.plural(self.unit)} of {many}"
        else:
            counted = many
        if form == "":
            return plus + self.en_text
        if form == "n":
            return single_or_many(args[0].value, single, counted)
        simple = {
            "one": english.with_article(single),
            "a": english.with_article(single),
            "this": f"this {single}",
            "that": f"that {single}",
            "which": f"which {single}",
            "each": f"each {single}",
            "another": f"another {single}",
            "the": f"the {plus}{self.en_text}",
            "the one": f"the {single}",
            "poss": plus + self.en_text,
            "howmany": f"how many {counted}",
            "pl": many,
            "some": f"some {many}",
            "the pl": f"the {many}",
            "pl be": f"{many} {'is' if self.number == 'u' else 'are'}",
            "these be": f"{self._these()} {many} {'is' if self.number == 'u' else 'are'}",
            "these": f"{self._these()} {many}",
            "was": "were" if self.number == "p" else "was",
            "be": "are" if self.number == "p" else "is",
            "it": "them" if self.number == "p" else "it",
            "them": "it" if self.number == "u" else "them",
            "single": single,
            "are no": f"{'is' if self.number == 'u' else 'are'} no {many}",
            "any": f"any {many}",
        }
        return simple[form]

    def _these(self):
        return "this" if self.number == "u" else "these"


def single_or_many(n, single, many):
    # 一本书 is "a book" everywhere, whether the number was chosen or written in the pattern.
    return english.with_article(single) if n == 1 else f"{numbers.en_number(n)} {many}"


class Person(Word):
    """A subject: pronoun, name, title or 我妈妈."""

    kind = "person"

    def __init__(self, zh, en, person, obj=None, poss=None, pro=None, tags=()):
        super().__init__(zh, en, tags)
        self.person = person  # 1s, 3s or pl, see english.agree
        self.obj, self.poss, self.pro = obj or en, poss or f"{en}'s", pro

    def zh(self, form=""):
        return {"": self.zh_text, "de": self.zh_text + "的", "obj": self.zh_text, "pro": self.pro[0] if self.pro else self.zh_text}[form]

    def en(self, form=""):
        if form.startswith("+"):  # {s:+want} -> he wants
            return f"{self.en_text} {english.agree(form[1:], self.person)}"
        if form.startswith("?"):  # {s:?do} -> does he
            return f"{english.agree(form[1:], self.person)} {self.en_text}"
        if form.startswith("="):  # {s:=want} -> wants
            return english.agree(form[1:], self.person)
        pro = self.pro[1:] if self.pro else (self.en_text, self.obj, self.poss)
        return {"": self.en_text, "obj": self.obj, "de": self.poss, "pro": pro[0], "pro obj": pro[1], "pro de": pro[2]}[form]


class Adjective(Word):
    kind = "adj"

    def __init__(self, zh, attr, en, comparative, superlative, tags=()):
        super().__init__(zh, en, set(tags) | ({"attr"} if attr != "-" else set()))
        self.attr, self.comparative, self.superlative = attr, comparative, superlative

    def zh(self, form=""):
        return self.attr if form == "attr" else self.zh_text

    def en(self, form=""):
        return {"": self.en_text, "comp": self.comparative, "sup": self.superlative, "one": english.with_article(self.en_text)}[form]


class Action(Word):
    """A verb phrase (activity) or a transitive verb. {v:past,s} takes the subject for ~ and
    agreement; a leading g chooses the habitual English (watch movies, not watch a movie)."""

    kind = "act"

    def __init__(self, verb, obj, en, general, tags=(), places=(), objects=(), irregular=None):
        self.verb, self.obj = verb, "" if obj == "-" else obj
        super().__init__(
            verb + self.obj,
            en,
            set(tags) | ({"obj"} if self.obj else set()) | ({"home"} if "家" in places else set()) | ({"somewhere"} if places else set()),
        )
        self.general, self.places, self.objects = general or en, tuple(places), frozenset(objects)
        self.irregular = irregular or {}

    def zh(self, form="", *args):
        if form == "le":
            return f"{self.verb}了{self.obj}"
        if form == "guo":
            return f"{self.verb}过{self.obj}"
        if form == "dur":
            return f"{self.verb}了{args[0].zh()}{self.obj}"
        if form == "copy":  # 看书看(得…): verb copying before 得
            return f"{self.zh_text}{self.verb}" if self.obj else self.verb
        if form == "times":  # 打三次篮球
            return f"{self.verb}{numbers.zh_count(args[0].value)}次{self.obj}"
        return {"v": self.verb, "o": self.obj}.get(form, self.zh_text)

    def en(self, form="base", subject=None):
        general = form.startswith("g") and form != "g"
        head, _, rest = (self.general if general else self.en_text).partition(" ")
        form = form[1:] if general else form or "base"
        forms = english.verb_forms(head, self.irregular)
        if form == "pres":
            form = "third" if subject.person == "3s" else "base"
        phrase = f"{forms[form]} {rest}".strip()
        if "~" in phrase:
            phrase = phrase.replace("~", subject.en("pro de") if subject else "your")
            several = subject is not None and "plural" in subject.tags
            phrase = re.sub(r"\[(\w+)\|(\w+)\]", r"\2" if several else r"\1", phrase)
        return phrase


class Place(Word):
    kind = "place"

    def __init__(self, zh, measure, en, at, to, tags=()):
        super().__init__(zh, en, set(tags) | ({"place"} if measure != "-" else set()))
        self.measure, self.at, self.to = measure, at, to
        self.sells = frozenset(t[6:] for t in tags if t.startswith("sells:"))

    def zh(self, form="", *args):
        adjectives = "".join(a.zh("attr") for a in args)
        return {"one": f"一{self.measure}{adjectives}", "this": f"这{self.measure}{adjectives}", "n": f"{self.measure}"}.get(
            form, ""
        ) + self.zh_text

    def en(self, form="", *args):
        full = " ".join([a.en() for a in args] + [self.en_text])
        return {
            "": self.en_text,
            "at": self.at,
            "to": self.to,
            "the": f"the {full}",
            "one": english.with_article(full),
            "this": f"this {full}",
            "from": "home" if self.to == "home" else f"the {full}",
        }[form]


class Job(Noun):
    kind = "job"

    def __init__(self, zh, measure, en, plural, place, tags=()):
        super().__init__(zh, measure, en, plural, "", [*list(tags), "job"])
        self.place = place

"""Reads the lexicon files (../lexicon/*.tsv) into word objects."""

from pathlib import Path

from .words import Action, Adjective, Job, Noun, Person, Place, Region, Word

FOLDER = Path(__file__).resolve().parent.parent / "lexicon"

PRONOUNS = [  # zh, en, person, object form, possessive
    ("我", "I", "1s", "me", "my"),
    ("他", "he", "3s", "him", "his"),
    ("她", "she", "3s", "her", "her"),
    ("我们", "we", "pl", "us", "our"),
    ("他们", "they", "pl", "them", "their"),
    ("你", "you", "pl", "you", "your"),
]
PRONOUN_WEIGHT = 5
PRO = {"m": ("他", "he", "him", "his"), "f": ("她", "she", "her", "her")}


def rows(name):
    """Cells of every row of a lexicon file; '@ tag …' lines add tags to the rows below."""
    section = []
    for line in (FOLDER / name).read_text(encoding="utf-8").splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        if line.startswith("@"):
            section = line[1:].split()
            continue
        cells = [c.strip() for c in line.split("\t")]
        yield cells + [""] * (8 - len(cells)), section


class Lexicon:
    """All words by class: lexicon.words["noun"], lexicon.words["person"] …"""

    def __init__(self):
        self.irregular = {}
        for cells, _ in rows("english_verbs.tsv"):
            self.irregular[cells[0]] = tuple(cells[1:5])
        self.words = {
            "noun": list(self._nouns()),
            "adj": [Adjective(c[0], c[1], c[2], c[3], c[4], c[5].split()) for c, _ in rows("adjectives.tsv")],
            "act": [
                Action(c[0], c[1], c[2], c[3], c[4].split(), [p for p in c[5].split(",") if p not in ("", "-")], irregular=self.irregular)
                for c, _ in rows("activities.tsv")
            ],
            "verb": [
                Action(c[0], "-", c[1], "", c[3].split(), objects=c[2].split(), irregular=self.irregular) for c, _ in rows("verbs.tsv")
            ],
            "place": [Place(c[0], c[1], c[2], c[3], c[4], c[5].split()) for c, _ in rows("places.tsv")],
            "job": [Job(c[0], c[1], c[2], c[3], c[4], c[5].split()) for c, _ in rows("jobs.tsv")],
            "time": [Word(c[0], c[1], c[2].split()) for c, _ in rows("times.tsv")],
            "adverb": [Word(c[0], c[1], c[2].split()) for c, _ in rows("adverbs.tsv")],
            "region": [Region(c[0], c[1], c[2].split()) for c, _ in rows("regions.tsv")],
            "topic": [Word(c[0], c[1], c[2].split()) for c, _ in rows("topics.tsv")],
            "phrase": [Word(c[0], c[1]) for c, _ in rows("phrases.tsv")],
            "person": list(self._people()),
        }
        self.nationality = {c[0]: c[3] for c, _ in rows("regions.tsv") if c[3]}
        self.words["nation"] = [Word(zh + "人", en, ["nation"]) for zh, en in self.nationality.items()]

    @staticmethod
    def _nouns():
        for name in sorted(p.name for p in FOLDER.glob("nouns_*.tsv")):
            for c, section in rows(name):
                yield Noun(c[0], c[1], c[2], c[3], c[4], section + c[5].split())

    @staticmethod
    def _people():
        """Pronouns, names and titles, and relatives (我妈妈, 你妈妈; the closest also 他妈妈, 她妈妈)."""
        for zh, en, person, obj, poss in PRONOUNS:
            word = Person(
                zh,
                en,
                person,
                obj,
                poss,
                (zh, en, obj, poss),
                ["pron", "you" if zh == "你" else "nonyou"]
                + (["plural"] if zh.endswith("们") else ["single"])
                + (["third"] if zh[0] in "他她" else [])
                + {"他": ["m"], "她": ["f"]}.get(zh, []),
            )
            # Repeated so that pronouns are not drowned by the many names and relatives.
            yield from [word] * PRONOUN_WEIGHT
        for c, _ in rows("people.tsv"):
            zh, en, gender, kind, tags = c[0], c[1], c[2], c[3], c[4].split()
            pro = PRO.get(gender)
            tags = [*tags, kind, gender, "third", "single"]
            if kind != "kin":
                yield Person(zh, en, "3s", pro=pro, tags=[*tags, "nonyou"])
                continue
            yield Person("我" + zh, "my " + en, "3s", pro=pro, tags=[*tags, "my", "nonyou"])
            yield Person("你" + zh, "your " + en, "3s", pro=pro, tags=[*tags, "your"])
            if "core" in tags:
                yield Person("他" + zh, "his " + en, "3s", pro=pro, tags=[*tags, "nonyou", "other"])
                yield Person("她" + zh, "her " + en, "3s", pro=pro, tags=[*tags, "nonyou", "other"])

    def entries(self):
        """Number of entries over all files (for the tests and the README)."""
        return sum(1 for p in sorted(FOLDER.glob("*.tsv")) for _ in rows(p.name))

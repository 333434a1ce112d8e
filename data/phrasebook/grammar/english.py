"""English morphology: plurals, verb forms, articles, agreement.

Rules live here, exceptions live in the lexicon (lexicon/english_verbs.tsv and the
`number` column of the noun files).
"""

VOWELS = "aeiou"
# Words whose first letter misleads about the article.
AN_DESPITE_CONSONANT = ("hour", "honest", "heir")
A_DESPITE_VOWEL = ("university", "uniform", "used", "useful", "European", "one", "unit", "usual")


def plural(word):
    """Regular plural of the last word of a noun phrase: bus -> buses, city -> cities."""
    if word.endswith(("s", "x", "ch", "sh", "z")):
        return word + "es"
    if word.endswith("y") and word[-2] not in VOWELS:
        return word[:-1] + "ies"
    if word == "loaf":
        return "loaves"
    return word + "s"


def article(phrase):
    """'a' or 'an' before the phrase, by the sound of its first word."""
    first = phrase.split()[0].split("-")[0]
    if first in AN_DESPITE_CONSONANT:
        return "an"
    if first in A_DESPITE_VOWEL:
        return "a"
    return "an" if first[0].lower() in VOWELS else "a"


def with_article(phrase):
    return f"{article(phrase)} {phrase}"


def third_person(verb):
    if verb.endswith(("s", "x", "ch", "sh", "z", "o")):
        return verb + "es"
    if verb.endswith("y") and verb[-2] not in VOWELS:
        return verb[:-1] + "ies"
    return verb + "s"


def past(verb):
    if verb.endswith("e"):
        return verb + "d"
    if verb.endswith("y") and verb[-2] not in VOWELS:
        return verb[:-1] + "ied"
    return verb + "ed"


def ing(verb):
    if verb.endswith("e") and not verb.endswith(("ee", "oe", "ye")):
        return verb[:-1] + "ing"
    return verb + "ing"


def verb_forms(base, irregular):
    """The five forms of a verb; `irregular` maps base -> (third, past, participle, ing)."""
    if base in irregular:
        third, simple_past, participle, gerund = irregular[base]
    else:
        third, simple_past, participle, gerund = (third_person(base), past(base), past(base), ing(base))
    return {"base": base, "third": third, "past": simple_past, "pp": participle, "ing": gerund}


# Verbs that patterns write out literally, where the third person is not verb + s.
AGREEMENT = {
    "be": {"1s": "am", "3s": "is", "pl": "are"},
    "was": {"1s": "was", "3s": "was", "pl": "were"},
    "have": {"1s": "have", "3s": "has", "pl": "have"},
    "do": {"1s": "do", "3s": "does", "pl": "do"},
    "go": {"1s": "go", "3s": "goes", "pl": "go"},
    "don't": {"1s": "don't", "3s": "doesn't", "pl": "don't"},
    "haven't": {"1s": "haven't", "3s": "hasn't", "pl": "haven't"},
}


def agree(verb, person):
    """Present form of `verb` for person '1s', '3s' or 'pl' ('you' counts as 'pl')."""
    if verb in AGREEMENT:
        return AGREEMENT[verb][person]
    return third_person(verb) if person == "3s" else verb


def capitalise(sentence):
    return sentence[0].upper() + sentence[1:]

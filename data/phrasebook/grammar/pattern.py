"""Sentence patterns: registration, filling and rendering.

    pattern("shop.want", "{s}想买{n:one}。", "{s:+want} to buy {n:one}.", s="person nonyou", n="noun goods")

Slots are filled in the order written, so '@n' can look at an earlier slot n.
"""

import random
import re

from .english import capitalise
from .slots import clash

PLACEHOLDER = re.compile(r"\{(\w+)(?::([^}]*))?\}")
REGISTRY = []


def parse(template):
    """'{s}想买{n:one,a}。' -> [(text before, slot, form, argument slots), …, (rest, None, "", [])]"""
    pieces, position = [], 0
    for match in PLACEHOLDER.finditer(template):
        form, *names = (match[2] or "").split(",")
        pieces.append((template[position : match.start()], match[1], form, names))
        position = match.end()
    return [*pieces, (template[position:], None, "", [])]


class Pattern:
    def __init__(self, ident, zh, en, slots, held_out, quota):
        self.ident, self.slots = ident, slots
        self.zh, self.en = parse(zh), parse(en)
        self.held_out, self.quota = held_out, quota

    def fill(self, slots, rng):
        """Random words for all slots, or None where the choice led nowhere."""
        chosen = {}
        for name, description in self.slots.items():
            found = slots.candidates(description, chosen)
            if not found:
                return None
            word = rng.choice(found)
            if any(word.zh_text == other.zh_text or clash(word, other) for other in chosen.values()):
                return None
            chosen[name] = word
        return chosen

    def render(self, chosen):
        zh = "".join(text + (chosen[slot].zh(form, *[chosen[n] for n in names]) if slot else "") for text, slot, form, names in self.zh)
        en = "".join(text + (chosen[slot].en(form, *[chosen[n] for n in names]) if slot else "") for text, slot, form, names in self.en)
        return zh, capitalise(en)


def pattern(ident, zh, en, held_out=False, quota=1.0, **slots):
    """Register a pattern. quota scales its share of the corpus."""
    if any(p.ident == ident for p in REGISTRY):
        raise ValueError(f"two patterns called {ident}")
    REGISTRY.append(Pattern(ident, zh, en, slots, held_out, quota))


def sentences(pattern_, slots, seed, limit):
    """Up to `limit` distinct (zh, en, words) of a pattern. Its own random stream, so that a
    new pattern leaves the sentences of the others as they are."""
    rng = random.Random(f"{seed}:{pattern_.ident}")
    limit = int(limit * pattern_.quota)
    found = {}
    for _ in range(limit * 12):
        chosen = pattern_.fill(slots, rng)
        if chosen is None:
            continue
        zh, en = pattern_.render(chosen)
        found.setdefault(zh, (zh, en, list(chosen.values())))
        if len(found) == limit:
            break
    return list(found.values())

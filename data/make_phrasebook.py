#!/usr/bin/env python3
"""Generates the zh-en phrasebook corpus from its lexicon and grammar.

    python data/make_phrasebook.py [--seed 1] [--out data/phrasebook]

Writes train.jsonl, valid.jsonl, test_combinations.jsonl and test_patterns.jsonl. The same seed
gives the same bytes on every platform. See data/phrasebook/README.md for how to add to it.
"""

import argparse
import json
import random
import sys
from collections import Counter
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "phrasebook"))

from grammar.lexicon import Lexicon  # noqa: E402
from grammar.pattern import sentences  # noqa: E402
from grammar.patterns import PATTERNS  # noqa: E402
from grammar.slots import Slots  # noqa: E402

PER_PATTERN = 78  # sentences per pattern (times its quota)
HELD_OUT_EACH = 25  # test sentences per held-out pattern
VALID, TEST = 500, 1000
SMALLEST_SPLIT = 60  # patterns with fewer sentences go into train only
FILES = ("train", "valid", "test_combinations", "test_patterns")


class Pair:
    def __init__(self, zh, en, pattern, words):
        self.zh, self.en, self.pattern = zh, en, pattern
        # What has to be known: English words, Chinese characters, lexicon words.
        self.needs = sorted(set(en.lower().replace(",", "").strip(".?!").split()) | set(zh) | {repr(w) for w in words})


def generate(seed):
    """All pairs: known (from ordinary patterns) and unknown (from held-out patterns)."""
    slots = Slots(Lexicon())
    seen, known, held = set(), [], []
    # Held-out patterns come last, so that a sentence which both kinds produce counts as known.
    for pattern in sorted(PATTERNS, key=lambda p: p.held_out):
        for zh, en, words in sentences(pattern, slots, seed, PER_PATTERN):
            if zh not in seen:  # one English per Chinese sentence
                seen.add(zh)
                (held if pattern.held_out else known).append(Pair(zh, en, pattern.ident, words))
    return known, held


def split(known, held, seed):
    """Dictionary of the four splits. Everything in the tests occurs at least twice in train."""
    rng = random.Random(f"{seed}:split")
    sizes = Counter(p.pattern for p in known)
    movable = [i for i, p in enumerate(known) if sizes[p.pattern] >= SMALLEST_SPLIT]
    rng.shuffle(movable)
    count = Counter(n for p in known for n in p.needs)

    chosen, taken = [], set()
    for i in movable:
        if len(chosen) == VALID + TEST:
            break
        if all(count[n] > 2 for n in known[i].needs):  # leaves at least two in train
            count.subtract(known[i].needs)
            chosen.append(known[i])
            taken.add(i)
    train = [p for i, p in enumerate(known) if i not in taken]
    rng.shuffle(train)

    unseen, per_pattern = [], Counter()
    rng.shuffle(held)
    for p in held:
        if per_pattern[p.pattern] < HELD_OUT_EACH and all(count[n] >= 2 for n in p.needs):
            per_pattern[p.pattern] += 1
            unseen.append(p)
    return dict(zip(FILES, (train, chosen[:VALID], chosen[VALID:], unseen)))


def write(splits, folder):
    folder.mkdir(parents=True, exist_ok=True)
    for name, pairs in splits.items():
        with open(folder / f"{name}.jsonl", "w", encoding="utf-8", newline="\n") as file:
            for p in pairs:
                record = {"chinese": p.zh, "english": p.en, "pattern": p.pattern}
                file.write(json.dumps(record, ensure_ascii=False) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=HERE / "phrasebook")
    options = parser.parse_args()
    splits = split(*generate(options.seed), options.seed)
    write(splits, options.out)
    for name, pairs in splits.items():
        print(f"{name}: {len(pairs)} pairs, {len({p.pattern for p in pairs})} patterns")


if __name__ == "__main__":
    main()

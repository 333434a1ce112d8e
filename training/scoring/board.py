"""The scoreboard's numbers and pages."""

from __future__ import annotations

import itertools
import platform
import random
import re
from bisect import bisect_left
from contextlib import suppress
from pathlib import Path
from typing import Any

from training.scoring import writers
from training.scoring.systems import Outputs
from training.scoring.writers import Written

BOOTSTRAP = 1000  # samples, as sacrebleu's default; its seed is SACREBLEU_SEED or 12345

SHUFFLES = 10_000  # of the paired test, sacrebleu's default too

LENGTHS = (10, 20, 40)  # characters of a source, without whitespace: up to the first, the second, …, longer

SHOWN = 20  # worst and random sentences of each set

COMMAND = "python training/scoreboard.py"

INTRODUCTION = """Made by `{command}`; greedy where nothing else is said. Detokenised output against the
references as the files have them, by sacrebleu. Length: of the output, as a share of the references'.
± is half of the 95% bootstrap interval over sentences: it says nothing about another seed of training. Repetition, empty and untranslated
are shares of the output (training/quality/metrics.py), copied is the share of outputs that are their source."""

HEAD = (
    "| system | BLEU | chrF2 | length | repetition | empty | untranslated | copied |",
    "|---|---:|---:|---:|---:|---:|---:|---:|",
)


def scores(o: Outputs) -> dict[str, Any]:
    """What translation_metrics says, with half the width of BLEU's and chrF2's 95% intervals (bootstrap, Koehn 2004, by sacrebleu)."""
    from sacrebleu.metrics import BLEU, CHRF

    from training.quality.metrics import bleu_tokenizer, translation_metrics

    tokenize = bleu_tokenizer(o.references)
    found: dict[str, Any] = translation_metrics(tokenize).compute(predictions=o.hyps, references=o.references)
    for name, metric in (("bleu", BLEU(tokenize=tokenize)), ("chrf", CHRF())):
        found[f"{name}_interval"] = metric.corpus_score(o.hyps, [o.references], n_bootstrap=BOOTSTRAP)._ci
    copied = sum(h.strip() == r["source"].strip() for h, r in zip(o.hyps, o.rows))
    return found | {"copied_share": copied / len(o.rows)}


def by_length(o: Outputs) -> list[tuple[int, float] | None]:
    """(pairs, BLEU) of the sources of each class of LENGTHS; None for a class of fewer than 20."""
    classes: list[list[int]] = [[] for _ in (*LENGTHS, None)]
    for k, row in enumerate(o.rows):
        classes[bisect_left(LENGTHS, len("".join(row["source"].split())))].append(k)
    return [(len(c), bleu(o.some(c))) if len(c) >= 20 else None for c in classes]


def bleu(o: Outputs) -> float:
    """Of these sentences as one corpus."""
    from sacrebleu.metrics import BLEU

    from training.quality.metrics import bleu_tokenizer

    return float(BLEU(tokenize=bleu_tokenizer(o.references)).corpus_score(o.hyps, [o.references]).score)


def against(one: Outputs, other: Outputs) -> tuple[float, float]:
    """(difference in BLEU, p): paired approximate randomisation (Riezler & Maxwell 2005), by sacrebleu."""
    from sacrebleu.metrics import BLEU
    from sacrebleu.significance import PairedTest

    from training.quality.metrics import bleu_tokenizer

    metrics = {"BLEU": BLEU(tokenize=bleu_tokenizer(one.references), references=[one.references])}
    named: list[Any] = [(one.system.name, one.hyps), (other.system.name, other.hyps)]
    found: dict[str, Any] = PairedTest(named, metrics, references=None, test_type="ar", n_samples=SHUFFLES)()[1]
    first, second = found["BLEU"]
    # sacrebleu counts shuffles that make a larger difference, so of two equal systems it is sure that they differ.
    return second.score - first.score, float(second.p_value) if second.score != first.score else 1.0


def board(made: list[Outputs], wrote: list[Written], command: str) -> str:
    """docs/scoreboard.md; `command` makes the same page again."""
    tests = list(dict.fromkeys(o.test for o in made))
    lines = ["# Scoreboard", "", INTRODUCTION.format(command=command), ""]
    if made:
        lines += ["| system | parameters | MB to load |", "|---|---:|---:|"]
        lines += [f"| {s.name} | {s.parameters or 0:,} | {s.size / 1e6:.1f} |" for s in dict.fromkeys(o.system for o in made)] + [""]
    signatures: dict[str, None] = {}
    for test in tests:
        of_test = [o for o in made if o.test == test]
        lines += [f"## {test}, {len(of_test[0].rows):,} pairs", "", *HEAD]
        for o in of_test:
            s = scores(o)
            signatures |= dict.fromkeys((f"BLEU `{s['bleu_signature']}`", f"chrF2 `{s['chrf_signature']}`"))
            lines.append(
                f"| {o.system.name} | {s['bleu']:.2f} ± {s['bleu_interval']:.2f} | {s['chrf']:.2f} ± {s['chrf_interval']:.2f} "
                f"| {s['length_ratio']:.2f} | {s['repetition']:.1%} | {s['empty_share']:.1%} | {s['untranslated_share']:.1%} "
                f"| {s['copied_share']:.1%} |"
            )
        bounds = [f"up to {n}" for n in LENGTHS] + [f"over {LENGTHS[-1]}"]
        lines += ["", f"| BLEU by characters of the source | {' | '.join(bounds)} |", "|---|" + "---:|" * len(bounds)]
        for o in of_test:
            cells = [f"{found[1]:.1f} ({found[0]:,})" if found else "" for found in by_length(o)]
            lines.append(f"| {o.system.name} | {' | '.join(cells)} |")
        if len(of_test) > 1:
            lines += ["", "| two systems | difference in BLEU | p |", "|---|---:|---:|"]
        for one, other in itertools.combinations(of_test, 2):
            difference, p = against(one, other)
            lines.append(f"| {other.system.name} against {one.system.name} | {difference:+.2f} | {p:.3f} |")
        lines.append("")
    lines += ["  \n".join(signatures), ""] if made else []
    return "\n".join(lines + (writers.board(wrote) if wrote else []))


def speeds(made: list[Outputs], command: str) -> str:
    """docs/scoreboard_speed.md: sentences a second, loading included, on this machine; another run gives other numbers."""
    import torch

    tests = list(dict.fromkeys(o.test for o in made))
    where = f"{_processor()}, {torch.get_num_threads()} threads"
    lines = ["# Sentences a second", "", f"By `{command}` on {where}; another run gives other numbers.", ""]
    lines += [f"| system | {' | '.join(tests)} |", "|---|" + "---:|" * len(tests)]
    for system in dict.fromkeys(o.system for o in made):
        rates = {o.test: len(o.rows) / o.seconds for o in made if o.system == system}
        lines.append(f"| {system.name} | {' | '.join(f'{rates[t]:.0f}' for t in tests)} |")
    return "\n".join([*lines, ""])


def _processor() -> str:
    """The CPU's name, as the system tells it."""
    with suppress(OSError):
        if found := re.search(r"^model name\s*: (.+)", Path("/proc/cpuinfo").read_text(), re.MULTILINE):
            return found[1]
    return platform.processor() or platform.machine()


def to_read(made: list[Outputs], wrote: list[Written]) -> str:
    """The worst sentences by chrF and random ones, of every system and test set, with source and reference; and what models wrote."""
    from sacrebleu.metrics import CHRF

    lines = ["# Sentences to read", ""]
    for o in made:
        each = [CHRF().sentence_score(h, [r]).score for h, r in zip(o.hyps, o.references)]
        worst = sorted(range(len(each)), key=lambda k: (each[k], k))[:SHOWN]
        some = sorted(random.Random(1).sample(range(len(each)), min(SHOWN, len(each))))
        for title, which in (("the worst", worst), ("at random", some)):
            lines += [f"## {o.system.name}, {o.test}: {title}", "", "| chrF | source | translation | reference |", "|---:|---|---|---|"]
            for k in which:
                cells = (o.rows[k]["source"], o.hyps[k], o.rows[k]["target"])
                lines.append(f"| {each[k]:.0f} | {' | '.join(writers.cell(c) for c in cells)} |")
            lines.append("")
    return "\n".join([*lines, *writers.to_read(wrote)])

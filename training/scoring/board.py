"""The numbers and the Markdown pages of the scoreboard (training/scoreboard.py)."""

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

BOOTSTRAP = 1000  # resamples, sacrebleu's default; its seed is SACREBLEU_SEED or 12345

SHUFFLES = 10_000  # shuffles of the paired test, also sacrebleu's default

LENGTHS = (10, 20, 40)  # upper bounds of the length classes, in characters of the source without whitespace; the last class is longer

SHOWN = 20  # worst, and random, sentences shown of each test set

COMMAND = "python training/scoreboard.py"

INTRODUCTION = """Made by `{command}`; greedy where nothing else is said. Detokenised output against the
references as the files have them, by sacrebleu. Length: of the output, as a share of the references'.
± is half of the 95% bootstrap interval over sentences: it says nothing about another seed of training. Repetition, empty and untranslated
are shares of the output (training/quality/metrics.py), copied is the share of outputs that are their source."""

HEAD = (
    "| system | BLEU | chrF2 | length | repetition | empty | untranslated | copied |",
    "|---|---:|---:|---:|---:|---:|---:|---:|",
)


def scores(outputs: Outputs) -> dict[str, Any]:
    """The scores of `translation_metrics`, and half the widths of the 95% intervals of BLEU and chrF2 (bootstrap, Koehn 2004)."""
    from sacrebleu.metrics import BLEU, CHRF

    from training.quality.metrics import bleu_tokenizer, translation_metrics

    hyps, references = outputs.hyps, outputs.references
    tokenize = bleu_tokenizer(references)
    result: dict[str, Any] = translation_metrics(tokenize).compute(predictions=hyps, references=references)
    for name, metric in (("bleu", BLEU(tokenize=tokenize)), ("chrf", CHRF())):
        result[f"{name}_interval"] = metric.corpus_score(hyps, [references], n_bootstrap=BOOTSTRAP)._ci
    copied = sum(hyp.strip() == row["source"].strip() for hyp, row in zip(hyps, outputs.rows))
    return result | {"copied_share": copied / len(outputs.rows)}


def by_length(outputs: Outputs) -> list[tuple[int, float] | None]:
    """(number of pairs, BLEU) of each length class of LENGTHS; None for a class of fewer than 20 pairs."""
    classes: list[list[int]] = [[] for _ in (*LENGTHS, None)]
    for k, row in enumerate(outputs.rows):
        classes[bisect_left(LENGTHS, len("".join(row["source"].split())))].append(k)
    return [(len(indices), bleu(outputs.subset(indices))) if len(indices) >= 20 else None for indices in classes]


def bleu(outputs: Outputs) -> float:
    """Corpus BLEU, 0 to 100."""
    from sacrebleu.metrics import BLEU

    from training.quality.metrics import bleu_tokenizer

    references = outputs.references
    return float(BLEU(tokenize=bleu_tokenizer(references)).corpus_score(outputs.hyps, [references]).score)


def against(one: Outputs, other: Outputs) -> tuple[float, float]:
    """(BLEU of `other` minus BLEU of `one`, p) by paired approximate randomisation (Riezler & Maxwell 2005), computed by sacrebleu."""
    from sacrebleu.metrics import BLEU
    from sacrebleu.significance import PairedTest

    from training.quality.metrics import bleu_tokenizer

    metrics = {"BLEU": BLEU(tokenize=bleu_tokenizer(one.references), references=[one.references])}
    named: list[Any] = [(one.system.name, one.hyps), (other.system.name, other.hyps)]
    results: dict[str, Any] = PairedTest(named, metrics, references=None, test_type="ar", n_samples=SHUFFLES)()[1]
    first, second = results["BLEU"]
    # sacrebleu counts the shuffles with a larger difference: for two systems with equal scores its p would be near 0.
    return second.score - first.score, float(second.p_value) if second.score != first.score else 1.0


def board(made: list[Outputs], wrote: list[Written], command: str) -> str:
    """The text of docs/scoreboard.md. `command` is the command line that produces this page."""
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
            cells = [f"{score[1]:.1f} ({score[0]:,})" if score else "" for score in by_length(o)]
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
    """The text of docs/scoreboard_speed.md: sentences per second on this machine, loading included."""
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
    """The name of the CPU, as the operating system reports it."""
    with suppress(OSError):
        if line := re.search(r"^model name\s*: (.+)", Path("/proc/cpuinfo").read_text(), re.MULTILINE):
            return line[1]
    return platform.processor() or platform.machine()


def to_read(made: list[Outputs], wrote: list[Written]) -> str:
    """A page to read: the worst (by chrF) and some random sentences of every system and test set; then samples of the gpt models."""
    from sacrebleu.metrics import CHRF

    lines = ["# Sentences to read", ""]
    for o in made:
        chrf = [CHRF().sentence_score(h, [r]).score for h, r in zip(o.hyps, o.references)]
        worst = sorted(range(len(chrf)), key=lambda k: (chrf[k], k))[:SHOWN]
        picked = sorted(random.Random(1).sample(range(len(chrf)), min(SHOWN, len(chrf))))
        for title, indices in (("the worst", worst), ("at random", picked)):
            lines += [f"## {o.system.name}, {o.test}: {title}", "", "| chrF | source | translation | reference |", "|---:|---|---|---|"]
            for k in indices:
                cells = (o.rows[k]["source"], o.hyps[k], o.rows[k]["target"])
                lines.append(f"| {chrf[k]:.0f} | {' | '.join(writers.cell(c) for c in cells)} |")
            lines.append("")
    return "\n".join([*lines, *writers.to_read(wrote)])

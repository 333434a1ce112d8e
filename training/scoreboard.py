"""All models beside each other: `python training/scoreboard.py --models models --test corpora/zh-en/dev-*.jsonl`.

Every translation model that the app would offer is scored, its int8 copy as a row of its own, greedily and with as many beams as asked
for (the app has 4), with confidence intervals, by sentence length, and against the others sentence by sentence; the worst and some
random translations go into a file to read. Models that write: see scoreboard_gpt.py. The same models and test sets give the same page;
what is measured in seconds, and so never twice the same, has a page of its own beside it (docs/scoreboard_speed.md).
"""

from __future__ import annotations

import os
import sys

if __name__ == "__main__":  # see train.py
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

import itertools
import platform
import random
import re
import shlex
import time
from bisect import bisect_left
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jsonargparse

from training import run_folder
from training import scoreboard_gpt as writing
from training.command_line import one_line
from training.config import ConfigError
from training.score import read_pairs
from training.scoreboard_gpt import Written
from training.translator import free_to_write, in_pieces, translator

BOOTSTRAP = 1000  # samples, as sacrebleu's default; its seed is SACREBLEU_SEED or 12345
SHUFFLES = 10_000  # of the paired test, sacrebleu's default too
LENGTHS = (10, 20, 40)  # characters of a source, without whitespace: up to the first, the second, …, longer
SUFFIXES = re.compile(r"\.(jsonl|json|csv|tsv|txt|parquet)(\.(gz|xz|zst|bz2))?$", re.IGNORECASE)  # of a test set's file
SHOWN = 20  # worst and random sentences of each set
COMMAND = "python training/scoreboard.py"
INTRODUCTION = """Made by `{command}`; greedy where nothing else is said. Detokenised output against the
references as the files have them, by sacrebleu. Length: of the output, as a share of the references'.
± is half of the 95% bootstrap interval over sentences: it says nothing about another seed of training. Repetition, empty and untranslated
are shares of the output (training/metrics.py), copied is the share of outputs that are their source."""
HEAD = (
    "| system | BLEU | chrF2 | length | repetition | empty | untranslated | copied |",
    "|---|---:|---:|---:|---:|---:|---:|---:|",
)


@dataclass(frozen=True)
class System:
    """A model folder and the way of computing with it.

    Attributes:
        name: of the row.
        copy: the folder of its int8 copy, if that is what is scored.
        parameters: None where the weights cannot be read.
        size: bytes of what has to be loaded.
        beams: 1 is greedy.
    """

    name: str
    folder: Path
    copy: Path | None
    parameters: int | None
    size: int
    beams: int


@dataclass(frozen=True)
class Outputs:
    """What a system made of a test set: one of `hyps` a pair."""

    system: System
    test: str
    rows: list[dict[str, Any]]
    hyps: list[str]
    seconds: float

    @property
    def references(self) -> list[str]:
        """As the file has them."""
        return [r["target"] for r in self.rows]

    def some(self, which: list[int]) -> Outputs:
        """Of these pairs only."""
        return replace(self, rows=[self.rows[k] for k in which], hyps=[self.hyps[k] for k in which])


def systems(roots: list[Path], beams: list[int]) -> list[System]:
    """The translation models below `roots`: weights and int8 copy, greedily; with more beams what the app serves on a CPU.

    That is the copy where there is one; the weights would say much the same and take several times as long.
    """
    from serving.ctranslate2_backend import usable
    from serving.folders import COPY, find_models

    found = []
    for info in find_models(roots):
        if info.task != "translation":
            continue
        ways: list[tuple[str, Path | None, int]] = []
        if weights := sum(p.stat().st_size for p in info.path.glob("*.safetensors")):
            ways.append((info.name, None, weights))
        if usable(info.path):
            ways.append((f"{info.name}, int8", info.path / COPY, sum(p.stat().st_size for p in (info.path / COPY).iterdir())))
        for way in ways:
            for n in beams:
                if n == 1 or way == ways[-1]:
                    name, copy, size = way
                    shown = writing.cell(name if n == 1 else f"{name}, {n} beams")
                    found.append(System(shown, info.path, copy, info.parameters, size, n))
    return found


def translated(found: list[System], tests: dict[str, list[dict[str, Any]]]) -> list[Outputs]:
    """What every system makes of every test set. One that is damaged is left out, and said to be."""
    made = []
    for system in found:
        try:
            run = translator(system.folder, system.copy)
        except ConfigError as error:
            print(f"{system.name} is left out: {error}", file=sys.stderr, flush=True)
            continue
        for test, rows in tests.items():
            print(f"{system.name}: {test}, {len(rows):,} sentences …", file=sys.stderr, flush=True)
            begin = time.monotonic()
            hyps = list(in_pieces(run, [r["source"] for r in rows], system.beams, f"{system.name}, {test}"))
            made.append(Outputs(system, test, rows, hyps, time.monotonic() - begin))
    return made


def scores(o: Outputs) -> dict[str, Any]:
    """What translation_metrics says, with half the width of BLEU's and chrF2's 95% intervals (bootstrap, Koehn 2004, by sacrebleu)."""
    from sacrebleu.metrics import BLEU, CHRF

    from training.metrics import bleu_tokenizer, translation_metrics

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

    from training.metrics import bleu_tokenizer

    return float(BLEU(tokenize=bleu_tokenizer(o.references)).corpus_score(o.hyps, [o.references]).score)


def against(one: Outputs, other: Outputs) -> tuple[float, float]:
    """(difference in BLEU, p): paired approximate randomisation (Riezler & Maxwell 2005), by sacrebleu."""
    from sacrebleu.metrics import BLEU
    from sacrebleu.significance import PairedTest

    from training.metrics import bleu_tokenizer

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
    return "\n".join(lines + (writing.board(wrote) if wrote else []))


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
                lines.append(f"| {each[k]:.0f} | {' | '.join(writing.cell(c) for c in cells)} |")
            lines.append("")
    return "\n".join([*lines, *writing.to_read(wrote)])


@one_line
def main(argv: list[str] | None = None) -> None:
    """The command."""
    p = jsonargparse.ArgumentParser(description=__doc__, exit_on_error=False)
    p.add_argument("--models", type=str, nargs="+", default=["models"], help="folders with models, or model folders")
    p.add_argument("--test", type=str, nargs="+", required=True, help="test sets: files with a pair a row")
    p.add_argument("--columns", type=dict[str, str], default={}, help="the columns' names, e.g. '{source: zh, target: en}'")
    p.add_argument("--out", type=str, default="docs/scoreboard.md", help="the page of scores")
    p.add_argument("--sentences", type=str, default="runs/scoreboard_sentences.md", help="the worst and some random sentences")
    p.add_argument(
        "--beams",
        type=jsonargparse.typing.PositiveInt,
        nargs="+",
        default=[1],
        help="beam sizes, e.g. 1 4; 1 is greedy, others are for what the app serves",
    )
    args = p.parse_args(argv)
    tests: dict[str, list[dict[str, Any]]] = {}
    for path in args.test:
        name = writing.cell(SUFFIXES.sub("", Path(path).name))
        if name in tests:
            raise ConfigError(f"--test: two test sets are called {name}; give {path} another name")
        tests[name] = read_pairs(path, args.columns)
    out, sentences = Path(args.out), Path(args.sentences)
    speed = out.with_name(f"{out.stem}_speed.md")
    if len({p.absolute() for p in (out, sentences, speed)}) < 3:
        raise ConfigError(f"--sentences: {sentences} is where the scores go; choose another name")
    for option, path in (("--out", out), ("--out", speed), ("--sentences", sentences)):
        path.parent.mkdir(parents=True, exist_ok=True)
        free_to_write(option, path)
    roots = [Path(m) for m in args.models]
    made, wrote = translated(systems(roots, list(dict.fromkeys(args.beams))), tests), writing.written(roots)
    if not made and not wrote:
        raise ConfigError(f"--models: no model in {', '.join(map(str, roots))}")
    told = ["--columns", "{" + ", ".join(f"{k}: {v}" for k, v in args.columns.items()) + "}"] if args.columns else []
    told += ["--beams", *map(str, args.beams)] if args.beams != [1] else []
    command = shlex.join([*COMMAND.split(), "--models", *args.models, "--test", *args.test, *told])
    pages = {out: board(made, wrote, command), sentences: to_read(made, wrote)} | ({speed: speeds(made, command)} if made else {})
    for path, text in pages.items():
        run_folder.write(path, text)
    print("\n".join(map(str, pages)))


if __name__ == "__main__":
    raise SystemExit(main())

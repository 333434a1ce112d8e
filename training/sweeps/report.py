"""The report of a sweep: report.md, report.html and plots/ in its folder, made from study.json alone.

`write` can be called at any time, also while the study goes on. The HTML is a single file that loads nothing from the network.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from training.base.files import write_text
from training.base.words import Language, phrases, spoken
from training.sweeps import effects, plots, ranking
from training.sweeps.blocks import Block, Cell, Heading, KeyNumbers, Link, Paragraph, Plot, Rung, Table, html_page, markdown
from training.sweeps.effects import Contrast
from training.sweeps.records import LEAST_WEIGHED, Cost, Setting, StudyRecords, Trial, ended_in_words
from training.sweeps.study_json import load_study
from training.sweeps.values import as_yaml, short_text

FRONT, FAILURES = 40, 30  # rows of these tables at most

LONG = 2000  # characters shown of a sample, at most


def write(folder: Path, language: str) -> list[str]:
    """Write the report of the study in `folder`.

    Args:
        language: zh, en, or auto for that of the locale.

    Returns:
        The lines to print at the end of a sweep.

    Raises:
        ConfigError: if study.json is damaged.
        OSError: if the report cannot be written.
    """
    language_spoken = spoken(language)
    words = phrases("sweep", language_spoken)
    records = load_study(folder)
    drawn = plots.draw(records, folder / "plots")
    blocks = list(_blocks(records, words, drawn, language_spoken))
    write_text(folder / "report.md", markdown(blocks))
    write_text(folder / "report.html", html_page(blocks, drawn, language_spoken))
    return _printed(records, words, folder)


# ---- what it says


def _blocks(records: StudyRecords, words: dict[str, Any], drawn: dict[str, str], language: Language) -> list[Block]:
    blocks: list[Block] = [
        Heading(words["title"].format(name=records.name), 1),
        Paragraph(_intro(records, words)),
        KeyNumbers(_facts(records, words)),
    ]
    blocks += _best(records, words)
    if records.complete:
        blocks += _knobs(records, words, drawn) + _overfit(records, words)
    names = {"metric": records.metric, "second": records.second}
    if pair := effects.interaction(records):
        names |= {"x": pair.x.label, "y": pair.y.label}
    knob = effects.deciding(records)
    for name, title in (
        ("interaction", "interaction"),
        ("curves", "curves"),
        ("parallel", "parallel"),
        ("time", "time"),
        ("front", "second"),
    ):
        if name in drawn:
            heading = words["second_plot" if name == "front" else title].format(**names)
            about = words[f"{title}_how"].format(**names)
            blocks += [
                Heading(heading),
                Plot(name, about + words["curves_knob"].format(knob=knob.label) if name == "curves" and knob else about),
            ]
    return blocks + _gallery(records, words, language) + _failures(records, words)


def _intro(records: StudyRecords, words: dict[str, Any]) -> str:
    return str(words["intro_two" if records.second else "intro"]).format(
        search=records.search, knobs=len(records.axes), base=records.base, metric=records.metric,
        direction=words["maximize" if records.maximize else "minimize"], second=records.second, direction_second=words["minimize"],
    )  # fmt: skip


def _facts(records: StudyRecords, words: dict[str, Any]) -> list[tuple[str, str]]:
    facts: list[tuple[str, str]] = []
    if best := ranking.best(records):
        facts.append((_mean(best), words["facts_best"].format(metric=records.metric)))
    elif records.complete:
        facts.append((f"{len(ranking.pareto(records, 'second'))}", words["facts_front"]))
    facts.append((f"{len(records.trials):,}", f"{words['facts_trials']}{words['comma']}{_counts(records, words)}"))
    how = [words["facts_task"].format(task=records.task)]
    if records.prune:
        how = [words["facts_no_prune"] if records.prune == "none" else words["facts_prune"].format(prune=records.prune), *how]
    facts.append((records.search, words["comma"].join([words["facts_search"], *how])))
    speed = ranking.speed(records)
    if speed.per_minute is not None:
        facts.append((number(speed.per_minute), words["facts_speed"]))
    if speed.idle is not None:
        overhead = (
            words["comma"] + words["facts_overhead"].format(seconds=_maybe(speed.overhead, ".2f")) if speed.overhead is not None else ""
        )
        facts.append((f"{speed.idle:.1%}", words["facts_idle"] + overhead))
    return facts


def _counts(records: StudyRecords, words: dict[str, Any]) -> str:
    parts = [words[k].format(count=f"{n:,}") for k, n in ranking.counts(records).items() if n or k == "complete"]
    return str(words["comma"]).join(parts + ([words["grid"].format(count=f"{records.grid_points:,}")] if records.grid_points else []))


def _best(records: StudyRecords, words: dict[str, Any]) -> list[Block]:
    blocks: list[Block] = [Heading(words["best"])]
    if not records.complete:
        return [*blocks, Paragraph(words["none_complete"], lead=True)]
    if records.second:
        return [*blocks, Paragraph(words["two_aims"], lead=True), Heading(words["front_table"], 3), _settings(records, words, "second")]
    leaders, every = records.leaders, records.settings
    best = leaders[0]
    values = {"number": best.trials[0].number, "metric": records.metric, "mean": _mean(best), "value": number(best.mean), "of": len(every)}
    kind = "best_repeated" if best.error is not None else "best_single" if len(every) > 1 else "only_setting"
    blocks.append(Paragraph(words[kind].format(**values, runs=len(best.trials)), lead=True))
    if compared := ranking.noise(records):
        key = {True: "within_noise", False: "beyond_noise", None: "noise_unknown"}[compared.within_noise]
        blocks.append(Paragraph(words[key].format(size=number(compared.size), noise=_maybe(compared.noise, ".3g")), lead=True))
    if best.lost:
        blocks.append(Paragraph(words["lost"].format(count=best.lost)))
    if once := ranking.better_once(records):
        blocks.append(Paragraph(words["luckier"].format(number=once[0].number, value=number(once[1])), lead=True))
    rows: list[list[Cell]] = [[a.key, as_yaml(best.params[a.key])] for a in records.axes if a.key in best.params]
    return [
        *blocks,
        Table([words["knob"], words["value"]], rows, words=2),
        Heading(words["leaders_table"], 3),
        _settings(records, words, None),
    ]


def _settings(records: StudyRecords, words: dict[str, Any], by: Cost | None) -> Table:
    """A table with a row per setting: the Pareto front by this cost, or the best settings if it is None."""
    shown = ranking.pareto(records, by)[:FRONT] if by else records.leaders[: ranking.SHOWN]
    always: tuple[Cost, ...] = ("seconds", "parameters")
    costs = [c for c in always if c != records.second and any(s.cost(c) is not None for s in shown)]
    head = [words["trial"], records.metric, str(records.second) if by else words["against_best"], words["runs"]]
    head += [a.label for a in records.axes] + [words[c] for c in costs]
    rows: list[list[Cell]] = []
    for s in shown:
        verdict = ranking.difference(records, shown[0], s).verdict
        beside = words["the_best" if s is shown[0] else verdict]
        row = [_link(s.trials[0]), _mean(s), number(s.cost(by)) if by else beside, str(len(s.trials))]
        row += [short_text(s.params[a.key]) if a.key in s.params else "—" for a in records.axes]
        rows.append([*row, *(_maybe(s.cost(c), ",.4g" if c == "seconds" else ",.0f") for c in costs)])
    return Table(head, rows)


def _knobs(records: StudyRecords, words: dict[str, Any], drawn: dict[str, str]) -> list[Block]:
    knobs = effects.effects(records)
    weighed = any(e.importance is not None for e in knobs)
    blocks: list[Block] = [
        Heading(words["knobs"]),
        Paragraph(words["knobs_how"]),
        Paragraph(words["importance_what"] if weighed else _unweighed(records, words)),
    ]
    rows: list[list[Cell]] = []
    for e in knobs:
        c = e.metric
        ends = [f"{m.label} ({number(m.mean)})" for m in (c.best, c.worst)] if c else ["—", "—"]
        beside = words[c.verdict] if c else "—"
        rows.append([e.axis.key, f"{e.importance:.1%}" if e.importance is not None else "—", number(e.size), beside, *ends])
    blocks.append(Table([words[k] for k in ("knob", "importance", "effect", "against_noise", "best_value", "worst_value")], rows))
    if "importance" in drawn:
        blocks.append(Plot("importance", words["importance_how"]))
    blocks.append(Plot("slices", words["slices"], only_file=True))
    rise = ("rise",) if records.rises else ()
    head = [words[k] for k in ("value", "mean", "sd", "best_run", *rise, "runs")]
    head += [words[k].format(count="").strip() for k in ("pruned", "failed")]
    for at, e in enumerate(knobs):
        blocks.append(Heading(e.axis.key, 3))
        if c := e.metric:
            values = {"effect": number(c.size), "best": c.best.label, "worst": c.worst.label}
            line = words["effect_line"].format(**values, best_mean=number(c.best.mean), worst_mean=number(c.worst.mean))
            blocks.append(Paragraph(line + _by_chance(c, words)))
        else:
            blocks.append(Paragraph(words["effect_none"]))
        rows = []
        for m in e.rows:
            numbers = [number(v) for v in (m.mean, m.sd, m.best, *((m.rise,) if rise else ()))]
            counts = [str(n) for n in (len(m.values), m.pruned, m.failed)]
            rows.append([m.label if m.turned else words["not_turned"], *numbers, *counts])
        blocks.append(Table(head, rows, plot=f"slice-{at}"))
    return blocks


def _unweighed(records: StudyRecords, words: dict[str, Any]) -> str:
    """The sentence saying why there is no importance."""
    count = sum(t.repeat_of is None for t in records.complete)
    few = count < LEAST_WEIGHED
    return str(words["importance_few" if few else "importance_alike"]).format(count=count, least=LEAST_WEIGHED)


def _overfit(records: StudyRecords, words: dict[str, Any]) -> list[Block]:
    """How much worse the trials ended than they were at their best, and which knob affects that most."""
    blocks: list[Block] = [Heading(words["overfit"]), Paragraph(words["overfit_how"].format(metric=records.metric))]
    rises = list(records.rises.values())
    if not rises:
        return [*blocks, Paragraph(words["overfit_unknown"], lead=True)]
    rose = [v for v in rises if v > 0]
    if not rose:
        return [*blocks, Paragraph(words["overfit_none"], lead=True)]
    mean = number(statistics.fmean(rose))
    count = words["overfit_count"].format(count=f"{len(rose):,}", of=f"{len(rises):,}", mean=mean, metric=records.metric)
    knobs = effects.rising(records)
    if not knobs or not (c := knobs[0].rise):
        return [*blocks, Paragraph(count, lead=True)]
    line = words["overfit_line"].format(
        knob=knobs[0].axis.label, most=c.worst.label, most_mean=number(c.worst.rise), most_runs=len(c.worst.rises), least=c.best.label,
        least_mean=number(c.best.rise), least_runs=len(c.best.rises),
    )  # fmt: skip
    return [
        *blocks,
        Paragraph(line + _by_chance(c, words), lead=True),
        Paragraph(count),
        Plot("rise", words["rise_how"].format(metric=records.metric)),
    ]


def _by_chance(contrast: Contrast, words: dict[str, Any]) -> str:
    """The sentence saying whether a difference between two values of a knob exceeds the noise."""
    return str(words[f"effect_{contrast.verdict}"].format(noise=_maybe(contrast.noise, ".3g"), others=_maybe(contrast.others, ".3g")))


def _gallery(records: StudyRecords, words: dict[str, Any], language: Language) -> list[Block]:
    blocks: list[Block] = [Heading(words["gallery"])]
    shown = ranking.gallery(records)
    if not shown:
        return [*blocks, Paragraph(words["gallery_none"])]
    blocks.append(Paragraph(words["gallery_how"]))
    of = max(rank for rank, _ in shown)
    for rank, trial in shown:
        line = words["gallery_line"].format(metric=records.metric, value=number(trial.value), step=f"{trial.best_step or 0:,}")
        setting = _setting(records, trial.params, short_text)
        texts = []
        for sample in trial.samples:
            parts = [(words[k], sample[k][:LONG]) for k in ("prompt", "text", "reference") if sample.get(k)]
            texts.append(parts if sample.get("text") else [*parts[:1], (words["text"], words["nothing_written"]), *parts[1:]])
        notes = [f"{words['doctor']}: {v.get(language) or v.get('id', '')}" for v in trial.verdicts]
        title = f"{words['rank'].format(rank=f'{rank:,}', of=f'{of:,}')} · {line}"
        blocks.append(Rung(title, f"{words['trial']} {trial.number}: {setting}", texts, notes))
    return blocks


def _failures(records: StudyRecords, words: dict[str, Any]) -> list[Block]:
    blocks: list[Block] = [Heading(words["failures"])]
    failures = ranking.failures(records)
    if failures:
        blocks.append(Paragraph(words["failures_how"]))
        rows: list[list[Cell]] = []
        for f in failures[:FAILURES]:
            some = ", ".join(map(str, f.numbers[:6])) + (", …" if len(f.numbers) > 6 else "")
            rows.append([f.reason, ended_in_words(f.ended, words), some, str(len(f.numbers))])
        blocks.append(Table([words["reason"], words["ended"], words["trial"], words["count"]], rows, words=3))
    else:
        blocks.append(Paragraph(words["failures_none"]))
    if pruned := ranking.counts(records)["pruned"]:
        blocks.append(Paragraph(words["pruned_line"].format(pruned=f"{pruned:,}", metric=records.metric)))
    return [*blocks, Heading(words["speed"]), Paragraph(_speed(records, words))]


def _speed(records: StudyRecords, words: dict[str, Any]) -> str:
    s = ranking.speed(records)
    if s.per_minute is None:
        return str(words["speed_none"])
    sentence = str(words["speed_line"]).format(per_minute=number(s.per_minute))
    sentence += "" if s.idle is None else words["speed_idle"].format(idle=f"{s.idle:.1%}")
    return sentence + (words["speed_overhead"].format(overhead=f"{s.overhead:.2f}") if s.overhead is not None else "")


def _printed(records: StudyRecords, words: dict[str, Any], folder: Path) -> list[str]:
    lines = []
    if best := ranking.best(records):
        values = {"metric": records.metric, "mean": _mean(best), "runs": len(best.trials), "number": best.trials[0].number}
        key = "print_best" if best.error is not None else "print_single"
        lines.append(words[key].format(**values, setting=_setting(records, best.params, as_yaml)))
    elif records.complete:
        count = len(ranking.pareto(records, "second"))
        lines.append(words["print_front"].format(count=count, metric=records.metric, second=records.second))
    else:
        lines.append(words["none_complete"])
    lines += [b.text for b in _best(records, words) if isinstance(b, Paragraph) and b.lead][1:]  # the noise
    lines += [words["print_trials"].format(counts=_counts(records, words)), _speed(records, words)]
    return [*lines, words["print_report"].format(path=folder / "report.html")]


def _setting(records: StudyRecords, params: dict[str, Any], text: Callable[[Any], str]) -> str:
    return ", ".join(f"{a.label} {text(params[a.key])}" for a in records.axes if a.key in params)


def _link(trial: Trial) -> Cell:
    return Link(str(trial.number), quote(trial.folder) + "/") if trial.folder else str(trial.number)


def _mean(setting: Setting) -> str:
    """The mean of a setting, with its standard error if it has one, both to two digits of the error."""
    error = setting.error
    if not error or error >= 1e6 or abs(setting.mean) >= 1e9:
        return number(setting.mean) + ("" if error is None else f" ± {error:.2g}")
    digits = min(8, max(0, 1 - math.floor(math.log10(error))))
    return f"{setting.mean:.{digits}f} ± {error:.{digits}f}"


def number(value: float | None) -> str:
    """A number to four digits, or to all whole digits if it is large; a dash for None."""
    return _maybe(value, ",.0f" if value and 1e4 <= abs(value) < 1e9 else ".4g")


def _maybe(value: float | None, form: str) -> str:
    return "—" if value is None else f"{value:{form}}"

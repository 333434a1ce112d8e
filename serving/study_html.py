"""A study and its trials as HTML, for the tab "Sweep". The HTML stands in templates/, which escape all samples, names and reasons."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serving.strings import MESSAGES, Language, say
from training.base.templates import templates
from training.sweeps import neighbours
from training.sweeps.effects import Marginal
from training.sweeps.neighbours import Neighbour
from training.sweeps.ranking import by_chance, counts
from training.sweeps.records import Axis, Setting, StudyRecords, Trial
from training.sweeps.values import name_of, short_text

CSS = """
p { margin: 0 0 10px; }
h4 { margin: 18px 0 4px; font-size: 1.05em; font-weight: 600; }
.quiet { color: var(--body-text-color-subdued); font-weight: 400; font-size: .92em; }
.head { font-size: 1.1em; }
.facts { display: flex; flex-wrap: wrap; gap: 8px 28px; margin: 0 0 12px; }
.facts b { display: block; font-size: 1.3em; font-weight: 600; font-variant-numeric: tabular-nums; }
.facts span { display: block; }
.scroll { overflow-x: auto; }
.scroll + p { margin-top: 6px; }
table, tr { border: 0; }
table { width: 100%; border-collapse: collapse; font-size: .95em; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: 5px 10px 5px 0; border: 0; border-bottom: 1px solid var(--border-color-primary); vertical-align: top; }
th { font-weight: 500; color: var(--body-text-color-subdued); }
.differs { font-weight: 600; }
.good { color: color-mix(in srgb, #0d9488 70%, var(--body-text-color)); }
.bad { color: color-mix(in srgb, #d97706 70%, var(--body-text-color)); }
.whole { white-space: nowrap; }
blockquote { margin: 6px 0 10px; padding: 4px 0 4px 12px; border-left: 3px solid var(--border-color-primary); line-height: 1.7;
  white-space: pre-wrap; overflow-wrap: anywhere; }
ul { margin: 4px 0; padding-left: 1.2em; }
code { overflow-wrap: anywhere; }
"""

TEMPLATES = templates(Path(__file__).parent / "templates")
TEMPLATES.filters["parts"] = lambda label: re.split(r"(?<=[_.])", label)  # a long name may be broken after these

# Gradio would read these signs as its own template syntax, so they are escaped. Our templates' own text has none of them.
GRADIO_SIGNS = str.maketrans({sign: f"&#{ord(sign)};" for sign in "${}`"})


def render(template: str, speaks: Language, **values: Any) -> str:
    """Render one of the templates. In it, `word(key)` is a sentence of strings.py in the visitor's language."""

    def word(key: str, **inserted: Any) -> str:
        return say(speaks, key, **inserted)

    return TEMPLATES.get_template(f"{template}.html.j2").render(values, word=word, number=number).strip().translate(GRADIO_SIGNS)


def paragraph(text: str) -> str:
    """One paragraph of HTML with this text."""
    return render("paragraph", "en", text=text)


def state(records: StudyRecords, speaks: Language, most: int) -> str:
    """How many trials there are in each state, and where the report is. The page has controls for the first `most` knobs."""
    parts = [say(speaks, f"count_{kind}", count=n) for kind, n in counts(records).items() if n or kind == "complete"]
    if records.unreadable:
        parts.append(say(speaks, "study_unreadable", count=records.unreadable))
    if len(records.axes) > most:
        parts.append(say(speaks, "study_uncontrolled", most=most))
    report = records.folder / "report.html"
    return render("state", speaks, counts=" · ".join(parts), report=report if report.is_file() else None)


def result(records: StudyRecords, trial: Trial, wanted: dict[str, Any], speaks: Language) -> str:
    """A trial's number and results, and its setting beside the requested one (`wanted`)."""
    settings = []
    for axis in records.axes:
        if axis.key in wanted or axis.key in trial.params:
            asked, has = (short_text(side[axis.key]) if axis.key in side else "—" for side in (wanted, trial.params))
            settings.append((axis, asked, has, bool(neighbours.distance([axis], wanted, trial.params))))
    exact = not neighbours.distance(records.axes, wanted, trial.params)
    return render("result", speaks, trial=trial, exact=exact, facts=_facts(records, trial, speaks), settings=settings)


def more(records: StudyRecords, trial: Trial, speaks: Language) -> str:
    """The effect of one step on each knob, the trial's samples, and the doctor's verdicts on it."""
    steps = [(axis, _steps(records, trial, axis, speaks)) for axis in records.axes if axis.key in trial.params]
    averages = [(axis, _averages(records, trial, axis, speaks)) for axis in records.axes if axis.tried]
    noise = by_chance(records, 1, 1)
    return render(
        "more", speaks, trial=trial, metric=metric(records, speaks), steps=[(axis, rows) for axis, rows in steps if rows],
        without_step=("、" if speaks == "zh" else ", ").join(axis.label for axis, rows in steps if not rows), averages=averages,
        noise=None if noise is None else f"{noise:.2g}", verdicts=[v.get(speaks) or v.get("en") or v.get("id", "") for v in trial.verdicts],
    )  # fmt: skip


def metric(records: StudyRecords, speaks: Language) -> str:
    """The metric's name in the visitor's language."""
    return say(speaks, records.metric) if records.metric in MESSAGES else records.metric


def number(value: float | None) -> str:
    """A number to four digits, or to all digits if it is whole; a dash for None."""
    return "—" if value is None else f"{value:,.0f}" if value == int(value) and abs(value) >= 10 else f"{value:.4g}"


def seconds(value: float, speaks: Language) -> str:
    """A time in words: in seconds below two minutes, else in minutes and seconds."""
    tenths = round(value, 1) + 0.0  # without -0.0
    if abs(tenths) < 120:
        return say(speaks, "seconds", seconds=tenths)
    minutes, rest = divmod(round(abs(value)), 60)
    return say(speaks, "minutes", minutes=f"{'-' * (value < 0)}{minutes}", seconds=rest)


def _facts(records: StudyRecords, trial: Trial, speaks: Language) -> list[tuple[str, str]]:
    """A trial's results as (value, label) pairs."""
    facts = [(number(trial.value), metric(records, speaks))] if trial.value is not None else []
    setting = records.setting_of(trial)
    if setting and len(setting.trials) > 1:
        facts.append((_spread(setting), say(speaks, "over_seeds", count=len(setting.trials))))
    if trial.perplexity is not None and records.metric != "perplexity":
        facts.append((number(trial.perplexity), say(speaks, "perplexity")))
    if trial.seconds is not None:
        facts.append((seconds(trial.seconds, speaks), say(speaks, "training_time")))
    if trial.parameters:
        facts.append((number(trial.parameters), say(speaks, "parameters")))
    return facts


def _spread(setting: Setting | None) -> str:
    """The mean of the metric, with its standard error if the setting has several trials; a dash for None."""
    if setting is None:
        return "—"
    return number(setting.mean) + (f" ± {setting.error:.2g}" if setting.error is not None else "")


# ---- rows of the two tables


@dataclass(frozen=True)
class Change:
    """A difference between two means in words. `style` is its CSS class."""

    text: str
    style: str


@dataclass(frozen=True)
class NoStep:
    """A row saying why there is no step in one direction (`which`)."""

    which: str
    why: str


@dataclass(frozen=True)
class StepRow:
    """A row for a recorded step on a knob.

    Attributes:
        before, after: the knob's value in the trial and in its neighbour.
        along: other knobs that appear with the new value.
        outcome: shown in place of the numbers if no trial of the neighbour is complete.
        mean, count: the neighbour's mean metric and number of trials.
        longer: by how much longer it trained.
    """

    before: str
    after: str
    along: str
    outcome: str
    mean: str
    count: int
    change: Change | None
    longer: str


@dataclass(frozen=True)
class AverageRow:
    """A row for an average step on a knob, from the trial's range of values to a neighbouring range.

    Attributes:
        start, end: the two ranges.
        before, after: their mean metrics.
        here, there: their numbers of trials.
    """

    start: str
    end: str
    before: str
    after: str
    change: Change | None
    here: int
    there: int


def _steps(records: StudyRecords, trial: Trial, axis: Axis, speaks: Language) -> list[StepRow | NoStep]:
    """A row for each recorded step. If there is a step in one direction only, another row says why there is none in the other."""
    now = trial.params[axis.key]
    steps = neighbours.one_step_off(records, trial, axis)
    rows: list[StepRow | NoStep] = [_step_row(records, now, neighbour, speaks) for neighbour in steps]
    if axis.ordered and steps:
        if not any(n.value < now for n in steps):
            rows.insert(0, NoStep("↓", say(speaks, "smallest" if now <= axis.tried[0] else "not_recorded")))
        if not any(n.value > now for n in steps):
            rows.append(NoStep("↑", say(speaks, "largest" if now >= axis.tried[-1] else "not_recorded")))
    return rows


def _step_row(records: StudyRecords, now: Any, neighbour: Neighbour, speaks: Language) -> StepRow:
    first, outcome = neighbour.trials[0], ""
    if first.state == "pruned":
        outcome = say(speaks, "pruned")
    elif first.state == "failed":
        outcome = say(speaks, "trial_failed", reason=first.reason or "—")
    along = "".join(f", {axis.label} = {short_text(neighbour.along[axis.key])}" for axis in records.axes if axis.key in neighbour.along)
    change = None if neighbour.change is None else _change(records, neighbour.change, neighbour.noise, speaks)
    longer = "—" if neighbour.seconds is None else "+" * (neighbour.seconds > 0) + seconds(neighbour.seconds, speaks)
    return StepRow(
        short_text(now), short_text(neighbour.value), along, outcome, _spread(neighbour.setting), len(neighbour.trials), change, longer
    )


def _averages(records: StudyRecords, trial: Trial, axis: Axis, speaks: Language) -> list[AverageRow | NoStep]:
    """Rows for the average steps from this trial's value. They say less than recorded steps do, but nearly every study has them."""
    if axis.key not in trial.params:
        return [NoStep("", say(speaks, "not_turned"))]
    here, others = neighbours.averages(records, trial, axis)
    now = short_text(trial.params[axis.key])
    if not others:
        return [NoStep(f"{now} →", say(speaks, "no_other_value"))]
    start, before, count = (_band(here), here.mean, len(here.values)) if here else (now, None, 0)
    rows: list[AverageRow | NoStep] = []
    for there in others:
        change = None
        if there.mean is not None and before is not None:
            noise = by_chance(records, count, len(there.values))
            change = _change(records, there.mean - before, noise, speaks, coloured=False)
        rows.append(AverageRow(start, _band(there), number(before), number(there.mean), change, count, len(there.values)))
    return rows


def _band(row: Marginal) -> str:
    """A row's value, or its range of values, as text."""
    if name_of(row.low) == name_of(row.high):
        return short_text(row.low)
    return "\u00a0– ".join(f"{end:.3g}" if isinstance(end, float) else str(end) for end in (row.low, row.high))


def _change(records: StudyRecords, change: float, noise: float | None, speaks: Language, coloured: bool = True) -> Change:
    """A difference between two means. It is coloured as good or bad only if it exceeds the noise."""
    if noise is not None and abs(change) <= noise:
        return Change(f"{change:+.3g} {say(speaks, 'within_noise')}", "quiet")
    better = (change > 0) == records.maximize
    verdict = say(speaks, "better" if better else "worse")
    if noise is None:
        return Change(f"{change:+.3g}" + (f" {verdict}{say(speaks, 'or_chance')}" if change else ""), "quiet")
    return Change(f"{change:+.3g} {verdict}", "quiet" if not coloured else "good" if better else "bad")

"""A study and its runs as HTML, for the tab "Sweep": samples and names come from files, so every text goes through `text` or `escape`."""

from __future__ import annotations

import html
from typing import Any

from serving import neighbours, studies
from serving.neighbours import Band, Step
from serving.strings import Language, say
from serving.studies import Knob, Run, Study

METRICS = ("val_loss", "perplexity", "bits_per_character", "bleu", "chrf")  # that have a name in words
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


def escape(said: str) -> str:
    """Plain text as HTML; Gradio reads braces, dollar signs and backticks in what it is given as a template."""
    safe = html.escape(said)
    for sign in "${}`":
        safe = safe.replace(sign, f"&#{ord(sign)};")
    return safe


def text(value: Any) -> str:
    """A knob's value in short, with YAML's words for what is no number."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def paragraph(said: str) -> str:
    return f"<p>{escape(said)}</p>"


def state(study: Study, speaks: Language, most: int) -> str:
    """How many trials there are of each kind, and where the report is. `most` knobs can be moved."""
    counts = {kind: sum(r.state == kind for r in study.runs) for kind in studies.STATES}
    parts = [say(speaks, f"count_{kind}", count=n) for kind, n in counts.items() if n or kind == "complete"]
    if repeats := sum(r.repeat for r in study.runs):
        parts.append(say(speaks, "count_repeats", count=repeats))
    if study.unreadable:
        parts.append(say(speaks, "study_unreadable", count=study.unreadable))
    if len(study.knobs) > most:
        parts.append(say(speaks, "study_uncontrolled", most=most))
    lines = [f'<p class="quiet">{escape(" · ".join(parts))}']
    if (study.path / "report.html").is_file():
        lines.append(f"<br>{_word(speaks, 'study_report')} <code>{escape(str(study.path / 'report.html'))}</code>")
    return "".join(lines) + "</p>"


def run(study: Study, shown: Run, wanted: dict[str, Any], speaks: Language) -> str:
    """A run's number and results, and its setting beside the one that was asked for."""
    exact = not studies.distance(study.knobs, wanted, shown.params)
    parts = [f'<p class="head"><b>{escape(say(speaks, "trial", number=shown.number))}</b> ']
    parts.append(f'<span class="quiet">{_word(speaks, "trial_exact" if exact else "trial_near")}</span></p>')
    if shown.state == "pruned":
        parts.append(f'<p class="bad">{escape(say(speaks, "trial_pruned", step=number(shown.step)))}</p>')
    if shown.state == "failed":
        parts.append(f'<p class="bad">{escape(say(speaks, "trial_failed", reason=shown.reason or say(speaks, "no_reason")))}</p>')
    parts.append(_facts(study, shown, speaks))
    heads = "".join(f"<th>{_word(speaks, key)}</th>" for key in ("knob", "asked", "this_run"))
    rows = []
    for knob in study.knobs:
        if knob.key in wanted or knob.key in shown.params:
            values = [text(side[knob.key]) if knob.key in side else "—" for side in (wanted, shown.params)]
            differs = bool(studies.distance([knob], wanted, shown.params))
            mark = ' class="differs"' if differs else ""
            rows.append(f"<tr><td>{_name(knob)}</td><td>{escape(values[0])}</td>")
            rows.append(f"<td{mark}>{'≠ ' * differs}{escape(values[1])}</td></tr>")
    parts.append(f'<div class="scroll"><table><tr>{heads}</tr>{"".join(rows)}</table></div>')
    return "".join(parts) + ("" if exact else f'<p class="quiet">{_word(speaks, "differs")}</p>')


def more(study: Study, shown: Run, speaks: Language) -> str:
    """What one step on each knob does, what the run wrote, and what the doctor says of it."""
    parts = [*_steps(study, shown, speaks), *_averages(study, shown, speaks), f"<h4>{_word(speaks, 'samples')}</h4>"]
    for sample in shown.samples:
        prompt = f"<b>{escape(sample['prompt'])}</b>" + ("<br>" if "reference" in sample else "") if sample.get("prompt") else ""
        reference = (
            f'<br><span class="quiet">{_word(speaks, "reference")} {escape(sample["reference"])}</span>' if "reference" in sample else ""
        )
        parts.append(f"<blockquote>{prompt}{escape(sample.get('text', ''))}{reference}</blockquote>")
    if not shown.samples:
        parts.append(f'<p class="quiet">{_word(speaks, "no_samples")}</p>')
    parts.append(f"<h4>{_word(speaks, 'verdicts')}</h4>")
    verdicts = [f"<li>{escape(v.get(speaks) or v.get('en') or v.get('id', ''))}</li>" for v in shown.verdicts]
    parts.append(f"<ul>{''.join(verdicts)}</ul>" if verdicts else f'<p class="quiet">{_word(speaks, "no_verdicts")}</p>')
    return "".join(parts)


def metric(study: Study, speaks: Language) -> str:
    """The metric's name in words."""
    return _word(speaks, study.metric) if study.metric in METRICS else escape(study.metric)


def number(value: float | None) -> str:
    return "—" if value is None else f"{value:,.0f}" if value == int(value) and abs(value) >= 10 else f"{value:.4g}"


def seconds(value: float, speaks: Language) -> str:
    tenths = round(value, 1) + 0.0  # without -0.0
    if abs(tenths) < 120:
        return say(speaks, "seconds", seconds=tenths)
    minutes, rest = divmod(round(abs(value)), 60)
    return say(speaks, "minutes", minutes=f"{'-' * (value < 0)}{minutes}", seconds=rest)


def _word(speaks: Language, key: str) -> str:
    return escape(say(speaks, key))


def _name(knob: Knob) -> str:
    """Its label, which may be broken after an underline or a dot."""
    return escape(knob.label).replace("_", "_<wbr>").replace(".", ".<wbr>")


def _facts(study: Study, shown: Run, speaks: Language) -> str:
    facts = [(number(shown.value), metric(study, speaks))] if shown.value is not None else []
    seeds = study.seeds(shown)
    if len(seeds) > 1:
        facts.append((_spread(seeds), escape(say(speaks, "over_seeds", count=len(seeds)))))
    if shown.perplexity is not None and study.metric != "perplexity":
        facts.append((number(shown.perplexity), _word(speaks, "perplexity")))
    if shown.seconds is not None:
        facts.append((escape(seconds(shown.seconds, speaks)), _word(speaks, "training_time")))
    if shown.parameters is not None:
        facts.append((number(shown.parameters), _word(speaks, "parameters")))
    return (
        '<div class="facts">' + "".join(f'<div><b>{value}</b><span class="quiet">{what}</span></div>' for value, what in facts) + "</div>"
    )


def _spread(runs: list[Run]) -> str:
    """The mean of the metric, with its standard error where there are several runs."""
    mean, error = studies.mean_and_error([r.value for r in runs])
    return number(mean) + (f" ± {error:.2g}" if error is not None else "")


def _table(heads: list[str], knobs: list[tuple[Knob, list[str]]]) -> str:
    """Some rows for each knob, whose name stands in the first of them."""
    lines = [
        f"<tr>{'' if k else f'<td rowspan={len(rows)}>{_name(knob)}</td>'}{row}</tr>" for knob, rows in knobs for k, row in enumerate(rows)
    ]
    return f'<div class="scroll"><table><tr>{"".join(f"<th>{h}</th>" for h in heads)}</tr>{"".join(lines)}</table></div>'


def _steps(study: Study, shown: Run, speaks: Language) -> list[str]:
    """The recorded runs that are one step off, and which knobs have none: with a random search, nearly all."""
    turned = [knob for knob in study.knobs if knob.key in shown.params]
    found = [(knob, _step_rows(study, shown, knob, speaks)) for knob in turned]
    parts = [f'<h4>{_word(speaks, "step_title")} <span class="quiet">{_word(speaks, "step_hint")}</span></h4>']
    if not any(rows for _, rows in found):
        return [*parts, f'<p class="quiet">{_word(speaks, "no_step")}</p>']
    heads = [_word(speaks, "knob"), _word(speaks, "step"), metric(study, speaks), _word(speaks, "training_time")]
    parts.append(_table(heads, [(knob, rows) for knob, rows in found if rows]))
    if none := [knob.label for knob, rows in found if not rows]:
        parts.append(f'<p class="quiet">{escape(say(speaks, "no_step_on", knobs=("、" if speaks == "zh" else ", ").join(none)))}</p>')
    return parts


def _averages(study: Study, shown: Run, speaks: Language) -> list[str]:
    """What a step on each knob does to the mean over all runs: less than the steps themselves say, but it is always there."""
    heads = [
        _word(speaks, "knob"),
        _word(speaks, "step"),
        escape(say(speaks, "mean_of", metric="")) + metric(study, speaks),
        _word(speaks, "runs"),
    ]
    rows = [(knob, _average_rows(study, shown, knob, speaks)) for knob in study.knobs if knob.values]
    title = f'<h4>{_word(speaks, "average_title")} <span class="quiet">{_word(speaks, "average_hint")}</span></h4>'
    noise = study.noise(1, 1)
    said = say(speaks, "noise_unknown") if noise is None else say(speaks, "noise_known", noise=f"{noise:.2g}")
    return [title, _table(heads, rows), f'<p class="quiet">{escape(said)}</p>'] if rows else []


def _average_rows(study: Study, shown: Run, knob: Knob, speaks: Language) -> list[str]:
    """From the band of values that this run's lies in to those beside it."""
    if knob.key not in shown.params:
        return [f'<td colspan="3" class="quiet">{_word(speaks, "not_turned")}</td>']
    here, others = neighbours.averages(study, shown, knob)
    if not others:
        return [_missing(text(shown.params[knob.key]) + " →", "no_other_value", speaks)]
    start, before, count = (_band(here), here.mean, len(here.values)) if here else (text(shown.params[knob.key]), None, 0)
    rows = []
    for there in others:
        told = ""
        if there.mean is not None and before is not None:
            told = " " + _change(study, there.mean - before, study.noise(count, len(there.values)), speaks, coloured=False)
        rows.append(
            f"<td>{escape(start)}&nbsp;→ {escape(_band(there))}</td><td>{_arrow(number(before), number(there.mean))}{told}</td>"
            f"<td class=whole>{count} → {len(there.values)}</td>"
        )
    return rows


def _band(band: Band) -> str:
    if studies.name_of(band.low) == studies.name_of(band.high):
        return text(band.low)
    return "\u00a0– ".join(f"{end:.3g}" if isinstance(end, float) else str(end) for end in (band.low, band.high))


def _arrow(before: str, after: str) -> str:
    return f'<span class="whole">{escape(before)} →</span> <span class="whole">{escape(after)}</span>'


def _better(study: Study, change: float, speaks: Language) -> str:
    return _word(speaks, "better" if (change > 0) == study.maximize else "worse")


def _step_rows(study: Study, shown: Run, knob: Knob, speaks: Language) -> list[str]:
    """A row for each recorded step; if there is one, a row that says so for a side without one."""
    now = shown.params[knob.key]
    found = neighbours.steps(study, shown, knob)
    rows = [_step_row(study, now, step, speaks) for step in found]
    if knob.ordered and found:
        last, first = knob.values[-1], knob.values[0]
        if not any(s.value < now for s in found):
            rows.insert(0, _missing("↓", "smallest" if now <= first else "not_recorded", speaks))
        if not any(s.value > now for s in found):
            rows.append(_missing("↑", "largest" if now >= last else "not_recorded", speaks))
    return rows


def _missing(which: str, key: str, speaks: Language) -> str:
    return f'<td colspan="3" class="quiet">{escape(which)} {_word(speaks, key)}</td>'


def _step_row(study: Study, now: Any, step: Step, speaks: Language) -> str:
    there = step.runs[0]
    along = "".join(f", {k.label} = {text(step.along[k.key])}" for k in study.knobs if k.key in step.along)
    cells = [f"<td>{_arrow(text(now), text(step.value))}{escape(along)}</td>"]
    if there.state != "complete":
        said = _word(speaks, "pruned") if there.state == "pruned" else escape(say(speaks, "trial_failed", reason=there.reason or "—"))
        return "".join(cells) + f'<td colspan="2" class="quiet">{said}</td>'
    reached = f'<span class="whole">{_spread(step.runs)}</span>' + (f" ({len(step.runs)})" if len(step.runs) > 1 else "")
    if step.change is not None:
        reached += " " + _change(study, step.change, step.noise, speaks)
    cells.append(f"<td>{reached}</td>")
    longer = "+" * (step.seconds is not None and step.seconds > 0)
    cells.append(f"<td class=whole>{'—' if step.seconds is None else longer + escape(seconds(step.seconds, speaks))}</td>")
    return "".join(cells)


def _change(study: Study, change: float, noise: float | None, speaks: Language, coloured: bool = True) -> str:
    """A difference between two means: only one that is more than noise is called good or bad by its colour."""
    if noise is not None and abs(change) <= noise:
        return f'<span class="quiet">{change:+.3g} {_word(speaks, "within_noise")}</span>'
    if noise is None:
        chance = f" {_better(study, change, speaks)}{_word(speaks, 'or_chance')}" if change else ""
        return f'<span class="quiet">{change:+.3g}{chance}</span>'
    kind = "quiet" if not coloured else "good" if (change > 0) == study.maximize else "bad"
    return f'<span class="{kind}">{change:+.3g} {_better(study, change, speaks)}</span>'

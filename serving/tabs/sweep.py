"""The tab "Sweep": move the knobs of a study and see the nearest run that was really trained, and what is one step off.

A study has any knobs, so the page has spare controls, a list and a slider for each of MOST knobs, of which those are shown that fit.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import gradio as gr
import PIL.Image
from PIL.Image import Image

from serving import studies, study_html
from serving.look import label
from serving.strings import Language, language, say
from serving.studies import Knob, Run, Study, StudyError, find_studies

MOST = 16  # knobs with a control
# What is half typed in a slider's box (nothing, a minus, a number beyond the ends) is no value, and Gradio's server refuses it. The
# range beside the box always has one within its ends. Values come as [study, list 0, slider 0, list 1, slider 1, …].
WITHIN = """(...values) => values.map((value, at) => {
    const range = at && at % 2 == 0 && document.querySelector(`#sweep-slider-${at / 2 - 1} input[type=range]`);
    return range ? Math.min(Math.max(value ?? Number(range.value), Number(range.min)), Number(range.max)) : value;
})"""


def build() -> None:
    """Create the tab's components and events in the current Blocks, inside a gr.Tab."""
    found = find_studies()
    gr.Markdown(label("sweep_intro"))
    guide = gr.Markdown(label("no_study"), visible=not found, elem_id="sweep-guide")
    with gr.Row(visible=bool(found)) as body:
        with gr.Column(min_width=280, scale=2):
            chosen = gr.Dropdown(_choices(found), value=_first(found), label=label("study"), elem_id="sweep-study")
            state = gr.HTML(css_template=study_html.CSS, elem_id="sweep-state")
            controls: list[Any] = []
            for k in range(MOST):
                controls += [gr.Dropdown([], visible=False, elem_id=f"sweep-list-{k}")]
                controls += [gr.Slider(0, 1, 0, visible=False, elem_id=f"sweep-slider-{k}")]
        with gr.Column(min_width=300, scale=3):
            told = gr.HTML(css_template=study_html.CSS, elem_id="sweep-told")
            curves = gr.Image(
                label=label("curves"), show_label=False, interactive=False, visible=False, buttons=["fullscreen"], elem_id="sweep-curves"
            )
            more = gr.HTML(css_template=study_html.CSS, elem_id="sweep-more")
    page = gr.context.Context.root_block
    assert page is not None, "a tab is built inside gr.Blocks"

    def moved(folder: str | None, request: gr.Request, *values: Any) -> tuple[Any, ...]:
        return shown(folder, values, language(request.headers))

    def opened(folder: str | None, request: gr.Request) -> tuple[Any, ...]:
        return opening(folder, language(request.headers))

    def refresh(request: gr.Request) -> tuple[Any, ...]:
        found = find_studies()
        parts = gr.Markdown(visible=not found), gr.Row(visible=bool(found)), gr.Dropdown(choices=_choices(found), value=_first(found))
        return *parts, *opening(_first(found), language(request.headers))

    results, quiet = [told, curves, more], {"show_progress": "hidden", "api_visibility": "private"}
    page.load(refresh, None, [guide, body, chosen, state, *controls, *results], **quiet)
    chosen.input(opened, chosen, [state, *controls, *results], **quiet)
    events = [control.input for control in controls]
    gr.on(events, moved, [chosen, *controls], results, js=WITHIN, trigger_mode="always_last", concurrency_id="sweep", **quiet)


def opening(folder: str | None, speaks: Language) -> tuple[Any, ...]:
    """Updates of the study's state, of every control, and of the results: the knobs stand as in the study's best run."""
    blank = [part for _ in range(MOST) for part in (gr.Dropdown(choices=[], value=None, visible=False), gr.Slider(visible=False))]
    try:
        study = _read(folder, speaks)
    except StudyError as error:
        return "", *blank, study_html.paragraph(str(error)), gr.Image(value=None, visible=False), ""
    state = study_html.state(study, speaks, MOST)
    best = study.best
    if best is None:
        return state, *blank, study_html.paragraph(say(speaks, "study_empty")), gr.Image(value=None, visible=False), ""
    parts = [part for knob in study.knobs[:MOST] for part in control(study, knob, best, speaks)]
    return state, *parts, *blank[len(parts) :], *_results(study, best, best.params, speaks)


def shown(folder: str | None, values: tuple[Any, ...], speaks: Language) -> tuple[Any, ...]:
    """The three results for what the controls say."""
    try:
        study = _read(folder, speaks)
    except StudyError as error:
        return study_html.paragraph(str(error)), gr.Image(value=None, visible=False), ""
    wanted = studies.asked(study, settings(study, values))
    run = studies.nearest(study, wanted)
    if run is None:
        return study_html.paragraph(say(speaks, "study_empty")), gr.Image(value=None, visible=False), ""
    return _results(study, run, wanted, speaks)


def control(study: Study, knob: Knob, best: Run, speaks: Language) -> tuple[gr.Dropdown, gr.Slider]:
    """The knob's list and slider, of which one is shown (none if no run has a value for it)."""
    value: Any = best.params.get(knob.key, next(iter(knob.values), None))
    conditions = [f"{key} = {' / '.join(map(study_html.text, wanted))}" for key, wanted in knob.when]
    info = say(speaks, "only_with", condition=", ".join(conditions)) if conditions else None
    if not knob.slides:
        names = [studies.name_of(v) for v in knob.values]
        at = names.index(studies.name_of(value)) if names else None
        choices = [(study_html.text(v), k) for k, v in enumerate(knob.values)]
        return gr.Dropdown(choices=choices, value=at, label=knob.label, info=info, visible=bool(choices)), gr.Slider(visible=False)
    low, high, step = _slider(knob)
    if knob.log:  # a slider is linear, so it has the exponent
        ends = " … ".join(map(study_html.text, knob.scale))
        slider = gr.Slider(
            low, high, value=round(math.log(value, _base(knob)), 2), step=step, label=f"{knob.label} = {_base(knob)}ˣ",
            info=f"{ends} · {info}" if info else ends, visible=True,
        )  # fmt: skip
    else:
        slider = gr.Slider(low, high, value=value, step=step, label=knob.label, info=info, visible=True)
    return gr.Dropdown(choices=[], value=None, visible=False), slider


def settings(study: Study, values: tuple[Any, ...]) -> dict[str, Any]:
    """What the controls say, list and slider by turns in `values`; knobs without a control stay as in the best run.

    A slider within half a step of a recorded value means that one.
    """
    best = study.best
    found = {k.key: best.params[k.key] for k in study.knobs[MOST:] if best and k.key in best.params}
    for k, knob in enumerate(study.knobs[:MOST]):
        listed, slid = values[2 * k], values[2 * k + 1]
        if knob.slides:
            value = min(max(_base(knob) ** slid if knob.log else slid, knob.scale[0]), knob.scale[1])
            near = min(knob.values, key=lambda v: knob.distance(v, value))
            off = abs(math.log(near / value, _base(knob))) if knob.log else abs(near - value)
            recorded = off <= _slider(knob)[2] / 2 * (1 + 1e-9)
            found[knob.key] = near if recorded else round(value) if knob.whole else value
        elif listed is not None and 0 <= listed < len(knob.values):
            found[knob.key] = knob.values[int(listed)]
    return found


def _base(knob: Knob) -> int:
    return 2 if knob.whole else 10


def _slider(knob: Knob) -> tuple[float, float, float]:
    """Its ends and its step; of a logarithmic range in exponents."""
    low, high = knob.scale
    if knob.log:
        ends = [round(math.log(end, _base(knob)), 6) for end in (low, high)]
        return math.floor(ends[0] * 100) / 100, math.ceil(ends[1] * 100) / 100, 0.01
    return low, high, knob.step or (1 if knob.whole else 10.0 ** math.floor(math.log10((high - low) / 20)))


def _results(study: Study, run: Run, wanted: dict[str, Any], speaks: Language) -> tuple[str, gr.Image, str]:
    picture = _picture(study, run)
    return (
        study_html.run(study, run, wanted, speaks),
        gr.Image(value=picture, visible=picture is not None),
        study_html.more(study, run, speaks),
    )


def _picture(study: Study, run: Run) -> Image | None:
    path = study.curves(run)
    try:
        with PIL.Image.open(path or "") as picture:
            picture.load()
            return picture
    except (OSError, ValueError, PIL.Image.DecompressionBombError):  # not drawn yet, or no picture
        return None


def _read(folder: str | None, speaks: Language) -> Study:
    """The study in one of the folders that the page shows; raises StudyError with a sentence."""
    if folder not in {str(path) for path in find_studies()}:  # nothing outside the folders that the page shows
        raise StudyError(say(speaks, "study_gone"))
    path = Path(str(folder))
    try:
        return studies.read(path)
    except StudyError:
        raise StudyError(say(speaks, "study_damaged", name=path.name)) from None


def _first(found: list[Path]) -> str | None:
    return str(found[0]) if found else None


def _choices(found: list[Path]) -> list[tuple[str, str]]:
    names = [path.name for path in found]
    return [(path.name if names.count(path.name) == 1 else str(path), str(path)) for path in found]

"""The tab "Sweep": move the knobs of a study and see the nearest trial that was really trained, and those one step away.

The knobs differ from study to study, so the page is built with a list and a slider for each of MOST knobs, and shows the fitting ones.
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
from serving.runs import Listing, find_studies
from serving.strings import Language, language, say
from serving.studies import StudyError
from training.sweeps.neighbours import nearest, wanted_params
from training.sweeps.ranking import best_trial
from training.sweeps.records import Axis, StudyRecords, Trial
from training.sweeps.values import name_of, short_text

STUDIES = Listing(find_studies)
MOST = 16  # knobs that can have a control
FEW = 12  # the values of a range are offered one by one in a list up to this many, else by a slider
# While a visitor types into a slider's box, its content (empty, a minus, a number out of range) may be a value that Gradio's server
# refuses. The range input beside the box always has a valid one. Values come as [study, list 0, slider 0, list 1, slider 1, …].
WITHIN = """(...values) => values.map((value, at) => {
    const range = at && at % 2 == 0 && document.querySelector(`#sweep-slider-${at / 2 - 1} input[type=range]`);
    return range ? Math.min(Math.max(value ?? Number(range.value), Number(range.min)), Number(range.max)) : value;
})"""


def build() -> None:
    """Create the tab's components and events in the current Blocks, inside a gr.Tab."""
    folders = STUDIES.look()
    gr.Markdown(label("sweep_intro"))
    guide = gr.Markdown(label("no_study"), visible=not folders, elem_id="sweep-guide")
    with gr.Row(visible=bool(folders)) as body:
        with gr.Column(min_width=280, scale=2):
            chosen = gr.Dropdown(_choices(folders), value=_first(folders), label=label("study"), elem_id="sweep-study")
            state = gr.HTML(css_template=study_html.CSS, elem_id="sweep-state")
            controls: list[Any] = []
            for k in range(MOST):
                controls += [gr.Dropdown([], visible=False, elem_id=f"sweep-list-{k}")]
                controls += [gr.Slider(0, 1, 0, visible=False, elem_id=f"sweep-slider-{k}")]
        with gr.Column(min_width=300, scale=3):
            result = gr.HTML(css_template=study_html.CSS, elem_id="sweep-result")
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
        folders = STUDIES.look()
        first, there = _first(folders), bool(folders)
        parts = gr.Markdown(visible=not there), gr.Row(visible=there), gr.Dropdown(choices=_choices(folders), value=first)
        return *parts, *opening(first, language(request.headers))

    results, quiet = [result, curves, more], {"show_progress": "hidden", "api_visibility": "private"}
    page.load(refresh, None, [guide, body, chosen, state, *controls, *results], **quiet)
    chosen.input(opened, chosen, [state, *controls, *results], **quiet)
    events = [control.input for control in controls]
    gr.on(events, moved, [chosen, *controls], results, js=WITHIN, trigger_mode="always_last", concurrency_id="sweep", **quiet)


def opening(folder: str | None, speaks: Language) -> tuple[Any, ...]:
    """Updates of the study's state, all controls and the results. The knobs are set as in the study's best trial."""
    blank = [part for _ in range(MOST) for part in (gr.Dropdown(choices=[], value=None, visible=False), gr.Slider(visible=False))]
    try:
        records = _read(folder)
    except StudyError as error:
        return "", *blank, *_nothing(_sentence(error, folder, speaks))
    state = study_html.state(records, speaks, MOST)
    best = best_trial(records)
    if best is None:
        return state, *blank, *_nothing(say(speaks, "study_empty"))
    parts = [part for axis in records.axes[:MOST] for part in control(axis, best, speaks)]
    return state, *parts, *blank[len(parts) :], *_results(records, best, best.params, speaks)


def shown(folder: str | None, values: tuple[Any, ...], speaks: Language) -> tuple[Any, ...]:
    """The three results for the values of the controls."""
    try:
        records = _read(folder)
    except StudyError as error:
        return _nothing(_sentence(error, folder, speaks))
    wanted = wanted_params(records, settings(records, values))
    trial = nearest(records, wanted)
    if trial is None:
        return _nothing(say(speaks, "study_empty"))
    return _results(records, trial, wanted, speaks)


def control(axis: Axis, best: Trial, speaks: Language) -> tuple[gr.Dropdown, gr.Slider]:
    """The knob's list and slider, of which one is visible (neither if no trial has a value for the knob)."""
    value: Any = best.params.get(axis.key, next(iter(axis.tried), None))
    conditions = [f"{key} = {' / '.join(map(short_text, wanted))}" for key, wanted in axis.when]
    info = say(speaks, "only_with", condition=", ".join(conditions)) if conditions else None
    if not slides(axis):
        names = [name_of(v) for v in axis.tried]
        at = names.index(name_of(value)) if names else None
        choices = [(short_text(v), k) for k, v in enumerate(axis.tried)]
        return gr.Dropdown(choices=choices, value=at, label=axis.label, info=info, visible=bool(choices)), gr.Slider(visible=False)
    low, high, step = _slider(axis)
    if axis.log:  # sliders are linear, so this one sets the exponent
        ends = " … ".join(map(short_text, axis.scale))
        slider = gr.Slider(
            low, high, value=round(math.log(value, _base(axis)), 2), step=step, label=f"{axis.label} = {_base(axis)}ˣ",
            info=f"{ends} · {info}" if info else ends, visible=True,
        )  # fmt: skip
    else:
        slider = gr.Slider(low, high, value=value, step=step, label=axis.label, info=info, visible=True)
    return gr.Dropdown(choices=[], value=None, visible=False), slider


def slides(axis: Axis) -> bool:
    """Whether the knob's control is a slider; otherwise it is a list of the recorded values."""
    return axis.values is None and len(axis.tried) > FEW


def settings(records: StudyRecords, values: tuple[Any, ...]) -> dict[str, Any]:
    """The knobs' values by the controls; `values` alternates lists and sliders. Knobs without a control keep the best trial's value.

    A slider within half a step of a recorded value stands for that value.
    """
    best = best_trial(records)
    params = {axis.key: best.params[axis.key] for axis in records.axes[MOST:] if best and axis.key in best.params}
    for k, axis in enumerate(records.axes[:MOST]):
        listed, slid = values[2 * k], values[2 * k + 1]
        if slides(axis):
            value = min(max(_base(axis) ** slid if axis.log else slid, axis.scale[0]), axis.scale[1])
            near = min(axis.tried, key=lambda v: axis.distance(v, value))
            off = abs(math.log(near / value, _base(axis))) if axis.log else abs(near - value)
            recorded = off <= _slider(axis)[2] / 2 * (1 + 1e-9)
            params[axis.key] = near if recorded else round(value) if axis.whole else value
        elif listed is not None and 0 <= listed < len(axis.tried):
            params[axis.key] = axis.tried[int(listed)]
    return params


def _base(axis: Axis) -> int:
    """The base of a logarithmic slider's exponents."""
    return 2 if axis.whole else 10


def _slider(axis: Axis) -> tuple[float, float, float]:
    """(low, high, step) of the knob's slider, in exponents if its range is logarithmic."""
    low, high = axis.scale
    if axis.log:
        ends = [round(math.log(end, _base(axis)), 6) for end in (low, high)]
        return math.floor(ends[0] * 100) / 100, math.ceil(ends[1] * 100) / 100, 0.01
    return low, high, axis.step or (1 if axis.whole else 10.0 ** math.floor(math.log10((high - low) / 20)))


def _results(records: StudyRecords, trial: Trial, wanted: dict[str, Any], speaks: Language) -> tuple[str, gr.Image, str]:
    picture = _picture(records, trial)
    return (
        study_html.result(records, trial, wanted, speaks),
        gr.Image(value=picture, visible=picture is not None),
        study_html.more(records, trial, speaks),
    )


def _nothing(sentence: str) -> tuple[str, gr.Image, str]:
    """The three results when no trial can be shown."""
    return study_html.paragraph(sentence), gr.Image(value=None, visible=False), ""


def _picture(records: StudyRecords, trial: Trial) -> Image | None:
    path = studies.curves(records, trial)
    try:
        with PIL.Image.open(path or "") as picture:
            picture.load()
            return picture
    except (OSError, ValueError, PIL.Image.DecompressionBombError):  # not drawn yet, or not a picture
        return None


def _read(folder: str | None) -> StudyRecords:
    """The study in one of the folders that the page shows. Raises StudyError."""
    if not STUDIES.shows(folder):  # a visitor must not read other folders
        raise StudyError("study_gone")
    return studies.read(Path(str(folder)))


def _sentence(error: StudyError, folder: str | None, speaks: Language) -> str:
    return say(speaks, str(error), name=Path(str(folder)).name)


def _first(folders: list[Path]) -> str | None:
    return str(folders[0]) if folders else None


def _choices(folders: list[Path]) -> list[tuple[str, str]]:
    names = [path.name for path in folders]
    return [(path.name if names.count(path.name) == 1 else str(path), str(path)) for path in folders]

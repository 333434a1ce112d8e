"""The tab "Translate", and the endpoint /translate that offers the same to programs."""

import html

import gradio as gr

from inference.engine import MAX_BEAMS, Engine, TranslatedLines
from inference.folders import ModelError
from serving.look import label
from serving.strings import Language, language, say
from serving.tabs.parts import Picker, add_result

EXAMPLES = ("你好！", "今天天气很好。", "请问车站在哪里？")  # for models whose meta.json has none


def build(engine: Engine) -> None:
    """Create the tab's components and events in the current Blocks, inside a gr.Tab."""
    picker = Picker(engine, "translation", "translate", EXAMPLES)
    picker.add_guide()
    with gr.Row():
        with gr.Column(min_width=300):
            model = picker.add_dropdown()
            source = gr.Textbox(
                label=label("source"),
                placeholder=label("source_hint"),
                lines=6,
                max_lines=20,
                elem_id="translate-source",
            )
            run = gr.Button(label("run_translate"), variant="primary", interactive=bool(picker.models), elem_id="translate-run")
            picker.add_examples()
            beams = gr.Slider(1, MAX_BEAMS, 4, step=1, label=label("num_beams"), info=label("num_beams_info"))
        with gr.Column(min_width=300):
            output, note = add_result("translate", "translation", "translation_hint")

    def run_tab(name: str | None, text: str, beams: int, request: gr.Request) -> tuple[str, str]:
        try:
            result = engine.translate((text or "").split("\n"), name, beams)
        except ModelError as error:  # Gradio shows the message as HTML
            raise gr.Error(html.escape(str(error)), print_exception=False) from error
        return "\n".join(result.lines), describe(result, language(request.headers))

    gr.on(
        [run.click, source.submit],
        run_tab,
        [model, source, beams],
        [output, note],
        show_progress="minimal",
        show_progress_on=output,
        concurrency_id="translate",
        api_visibility="private",
    )
    picker.connect(run, source)

    def translate(text: str, model: str = "", num_beams: int = 4) -> tuple[str, str]:
        """Translate each line; returns the translations, line for line, and a note with the model's time.

        Parameters:
            text: The sentences, one per line; blank lines stay blank.
            model: A model's name as the page lists it; empty takes the first.
            num_beams: 1 is greedy and fastest.
        """
        try:
            lines = text.split("\n") if isinstance(text, str) else [text]
            result = engine.translate(lines, model or None, num_beams)
        except ModelError as error:
            raise gr.Error(str(error), print_exception=False) from error
        return "\n".join(result.lines), describe(result, "en")

    gr.api(translate, api_name="translate", concurrency_id="translate")


def describe(result: TranslatedLines, speaks: Language) -> str:
    """The note below the result."""
    lines = sum(1 for line in result.lines if line)
    parts = [say(speaks, "translated", lines=lines, seconds=result.seconds)]
    if result.load_seconds:
        parts.append(say(speaks, "loaded", seconds=result.load_seconds))
    return "\n".join([" · ".join(parts), *(say(speaks, note.key, **note.values) for note in result.notes)])

"""The tab "Continue a text", and the endpoint /generate that offers the same to programs."""

import html
import threading
from collections.abc import Iterator

import gradio as gr

from inference.engine import MAX_NEW_TOKENS, Continuation, Engine
from inference.folders import ModelError, ModelInfo
from serving.look import label
from serving.strings import Language, language, say
from serving.tabs.parts import Picker, add_result

DEFAULT_LENGTH = 200
EXAMPLES = ("飞鸟", "夜里", "如果你", "The")  # for models whose meta.json has none


def build(engine: Engine) -> None:
    """Create the tab's components and events in the current Blocks, inside a gr.Tab."""
    running: dict[str, threading.Event] = {}  # a visitor's session -> the event that stops its generation

    picker = Picker(engine, "gpt", "generate", EXAMPLES)
    picker.add_guide()
    with gr.Row():
        with gr.Column(scale=5, min_width=300):
            model = picker.add_dropdown()
            prompt = gr.Textbox(
                label=label("prompt"),
                placeholder=label("prompt_hint"),
                lines=4,
                max_lines=10,
                elem_id="generate-prompt",
            )
            with gr.Row():
                run = gr.Button(
                    label("run_generate"),
                    variant="primary",
                    min_width=120,
                    interactive=bool(picker.models),
                    elem_id="generate-run",
                )
                stop = gr.Button(label("stop"), min_width=80, scale=0, elem_id="generate-stop")
            picker.add_examples()
        with gr.Column(scale=6, min_width=300):
            output, note = add_result("generate", "output", "output_hint")
    with gr.Row():
        temperature = gr.Slider(
            0,
            2,
            0.8,
            step=0.05,
            min_width=280,
            label=label("temperature"),
            info=label("temperature_info"),
            elem_id="generate-temperature",
        )
        most = longest(next(iter(picker.models), None))
        length = gr.Slider(
            1,
            most,
            min(DEFAULT_LENGTH, most),
            step=1,
            min_width=280,
            label=label("length"),
            info=label("length_info"),
            elem_id="generate-length",
        )
        seed = gr.Number(
            -1,
            precision=0,
            minimum=-1,
            min_width=280,
            label=label("seed"),
            info=label("seed_info"),
            elem_id="generate-seed",
        )
    with gr.Row():
        top_k = gr.Slider(0, 200, 50, step=1, min_width=280, label=label("top_k"), info=label("top_k_info"))
        top_p = gr.Slider(0.05, 1, 1, step=0.01, min_width=280, label=label("top_p"), info=label("top_p_info"))
        penalty = gr.Slider(
            1,
            2,
            1,
            step=0.05,
            min_width=280,
            label=label("repetition_penalty"),
            info=label("repetition_penalty_info"),
        )

    def run_tab(
        name: str | None,
        text: str,
        temperature: float,
        top_k: int,
        top_p: float,
        penalty: float,
        length: int,
        seed: int | None,
        request: gr.Request,
    ) -> Iterator[tuple[str, str]]:
        session = request.session_hash or ""
        event = threading.Event()
        if session in running:
            running[session].set()
        running[session] = event
        speaks = language(request.headers)
        try:
            stream = engine.generate(
                text or "",
                name,
                temperature,
                top_k,
                top_p,
                penalty,
                length,
                -1 if seed is None else seed,
                stop=event,
            )
            for so_far in stream:
                yield so_far.text, describe(so_far, speaks)
        except ModelError as error:  # Gradio shows the message as HTML
            raise gr.Error(html.escape(str(error)), print_exception=False) from error
        finally:
            event.set()
            if running.get(session) is event:
                del running[session]

    def stop_tab(request: gr.Request) -> None:
        if event := running.get(request.session_hash or ""):
            event.set()

    gr.on(
        [run.click, prompt.submit],
        run_tab,
        [model, prompt, temperature, top_k, top_p, penalty, length, seed],
        [output, note],
        show_progress="minimal",
        show_progress_on=output,
        concurrency_id="generate",
        api_visibility="private",
    )
    stop.click(stop_tab, queue=False, show_progress="hidden", api_visibility="private")
    page = gr.context.Context.root_block
    assert page is not None, "a tab is built inside gr.Blocks"
    page.unload(stop_tab)
    picker.connect(run, prompt)

    def fit_length(name: str | None) -> gr.Slider:
        most = longest(picker.info(name))
        return gr.Slider(maximum=most, value=min(DEFAULT_LENGTH, most))

    model.change(fit_length, model, length, show_progress="hidden", api_visibility="private")

    def generate(
        prompt: str = "",
        model: str = "",
        temperature: float = 0.8,
        top_k: int = 50,
        top_p: float = 1.0,
        repetition_penalty: float = 1.0,
        max_new_tokens: int = 200,
        seed: int = -1,
    ) -> Iterator[tuple[str, str]]:
        """Continue a text; returns the whole text and a note (tokens, seconds, seed, why it ended).

        Parameters:
            prompt: The beginning of the text; may be empty.
            model: A model's name as the page lists it; empty takes the first.
            temperature: 0 always takes the likeliest token; at most 5.
            top_k: Choose among the k likeliest tokens; 0 is off.
            top_p: Choose within this share of the probability; 1 is off.
            repetition_penalty: Above 1 makes tokens that were used less likely; 1 is off.
            max_new_tokens: The most tokens to write.
            seed: The same seed gives the same text; -1 draws a new one.
        """
        try:
            for so_far in engine.generate(prompt, model or None, temperature, top_k, top_p, repetition_penalty, max_new_tokens, seed):
                yield so_far.text, describe(so_far, "en")
        except ModelError as error:
            raise gr.Error(str(error), print_exception=False) from error

    generate.__annotations__["return"] = tuple[str, str]  # the API page should show the type of one update
    gr.api(generate, api_name="generate", concurrency_id="generate")


def longest(info: ModelInfo | None) -> int:
    """The most tokens that a model can write. At least one position of its context is taken by the prompt."""
    return min(MAX_NEW_TOKENS, info.context - 1) if info and info.context and info.context > 2 else MAX_NEW_TOKENS


def describe(so_far: Continuation, speaks: Language) -> str:
    """The note below the result."""
    parts = []
    if so_far.tokens:
        rate = so_far.tokens / max(so_far.seconds, 1e-9)
        parts.append(say(speaks, "generated", tokens=so_far.tokens, seconds=so_far.seconds, rate=rate))
    if so_far.ending:
        parts.append(say(speaks, so_far.ending))
    if so_far.seed is not None:
        parts.append(say(speaks, "seed_used", seed=so_far.seed))
    if so_far.load_seconds:
        parts.append(say(speaks, "loaded", seconds=so_far.load_seconds))
    lines = [" · ".join(parts), *(say(speaks, note.key, **note.values) for note in so_far.notes)]
    return "\n".join(line for line in lines if line)

"""The tab "Check": memory and time of a planned run, set by sliders, and the doctor's verdicts on finished ones."""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any, Literal

import gradio as gr
import PIL.Image
from PIL.Image import Image

from serving.look import label
from serving.runs import Listing, find_runs
from serving.strings import LABELS, Language, language, say
from training.base.errors import ConfigError
from training.base.words import phrases
from training.diagnosis.diagnose import diagnose, verdict_lines
from training.diagnosis.finding import finding_lines
from training.estimate import facts, gather, page
from training.settings.config import Config, TrainConfig

TYPES = {"gpt": ["qwen3", "gpt2", "llama"], "translation": ["m2m_100", "marian", "t5"]}
PARTS = facts.MEMORY_PARTS
RUNS = Listing(find_runs)


def build() -> None:
    """Create the tab's components and events in the current Blocks, inside a gr.Tab."""
    gr.Markdown(label("check_before"))
    with gr.Row():
        with gr.Column(min_width=300):
            task = gr.Radio(
                [("GPT", "gpt"), ("中→英 · translation", "translation")], value="gpt", label=label("task"), elem_id="check-task"
            )
            kind = gr.Dropdown(TYPES["gpt"], value="qwen3", label=label("model_type"), elem_id="check-type")
            width = gr.Slider(64, 4096, 512, step=64, label=label("width"), elem_id="check-width")
            layers = gr.Slider(1, 32, 8, step=1, label=label("layers"), info=label("layers_info"), elem_id="check-layers")
            entries = gr.Slider(500, 256_000, 16_000, step=500, label=label("vocabulary"), elem_id="check-vocabulary")
            length = gr.Slider(16, 2048, 256, step=16, label=label("context"), elem_id="check-length")
            rows = gr.Slider(1, 256, 16, step=1, label=label("rows"), elem_id="check-rows")
            steps = gr.Slider(100, 200_000, 10_000, step=100, label=label("steps"), elem_id="check-steps")
            with gr.Row():
                bf16 = gr.Checkbox(True, label=label("bf16"), elem_id="check-bf16")
                checkpointing = gr.Checkbox(False, label=label("checkpointing"), elem_id="check-checkpointing")
            device = gr.Dropdown(gather.device_names(), value="rtx3090", label=label("device"), elem_id="check-device")
            run = gr.Button(label("run_check"), variant="primary", elem_id="check-run")
        with gr.Column(min_width=300):
            plot = gr.BarPlot(x="part", y="GB", label=label("memory_plot"), sort=None, height=260, elem_id="check-plot")
            estimate = gr.Markdown(label("check_hint"), elem_id="check-estimate")

    def types_of(chosen: str) -> gr.Dropdown:
        return gr.Dropdown(TYPES[chosen], value=TYPES[chosen][0])

    def work_out(request: gr.Request, *values: Any) -> tuple[gr.BarPlot, str]:
        try:
            frame, text = answer(language(request.headers), *values)
            return gr.BarPlot(frame, sort=list(frame["part"])), text
        except ConfigError as error:
            raise gr.Error(html.escape(str(error)), print_exception=False) from error

    task.input(types_of, task, kind, show_progress="hidden", api_visibility="private")
    inputs = [task, kind, width, layers, entries, length, rows, steps, bf16, checkpointing, device]
    run.click(work_out, inputs, [plot, estimate], show_progress_on=estimate, concurrency_id="check", api_visibility="private")

    gr.Markdown(label("check_after"))
    runs = RUNS.look()
    chosen = gr.Dropdown(_choices(runs), value=str(runs[0]) if runs else None, label=label("run"), elem_id="check-runs")
    with gr.Row():
        curves = gr.Image(label=label("curves"), show_label=False, interactive=False, height=360, elem_id="check-curves")
        verdicts = gr.Markdown(label("doctor_hint"), elem_id="check-verdicts")

    def look(folder: str | None, request: gr.Request) -> tuple[Image | None, str]:
        return diagnosed(folder, language(request.headers))

    chosen.input(look, chosen, [curves, verdicts], api_visibility="private")
    page = gr.context.Context.root_block
    assert page is not None, "a tab is built inside gr.Blocks"

    def refresh(folder: str | None, request: gr.Request) -> tuple[gr.Dropdown, Image | None, str]:
        runs = RUNS.look()
        folder = folder if folder in {str(run) for run in runs} else str(runs[0]) if runs else None
        return gr.Dropdown(choices=_choices(runs), value=folder), *diagnosed(folder, language(request.headers))

    page.load(refresh, chosen, [chosen, curves, verdicts], show_progress="hidden", api_visibility="private")


def answer(
    speaks: Language, task: str, kind: str, width: int | None, layers: int | None, entries: int | None, length: int | None,
    rows: int | None, steps: int | None, bf16: bool, checkpointing: bool, device: str,
) -> tuple[Any, str]:  # fmt: skip
    """The data of the memory plot and the Markdown text for one setting of the sliders. Raises ConfigError for an impossible setting."""
    import pandas as pd

    words = phrases("page", speaks)
    fields = {"width": width, "layers": layers, "vocabulary": entries, "context": length, "rows": rows, "steps": steps}
    given = {k: int(n) for k, n in fields.items() if n}
    if missing := [LABELS[k][speaks == "en"] for k in fields if k not in given]:  # the visitor has emptied a field
        raise ConfigError(words["fill_in"].format(names=words["comma"].join(missing)))
    width, layers, length, rows, steps = (given[k] for k in ("width", "layers", "context", "rows", "steps"))
    config = of_sliders(task, kind, width, layers, length, rows, steps, bf16, checkpointing)
    numbers = gather.sketch(config, given["vocabulary"], device)
    frame = pd.DataFrame({"part": [words[k] for k in PARTS], "GB": [numbers["memory"][k] / 1e9 for k in PARTS]})
    lines = [*page.model(numbers, words), *page.memory(config, numbers, words), *page.time(numbers, words)]
    text = "\n".join(f"- {line.strip()}" for line in lines)
    findings = finding_lines(numbers["findings"], speaks) or [words["no_findings"]]
    return frame, "\n".join([text, "", *findings])


def of_sliders(
    task: str, kind: str, width: int, layers: int, length: int, rows: int, steps: int, bf16: bool, checkpointing: bool
) -> Config:
    """The config for a setting of the sliders, with attention heads of 64 and a feed-forward layer of the usual width."""
    heads = max(1, width // 64)
    sides = {"encoder_layers": layers, "decoder_layers": layers, "encoder_attention_heads": heads, "decoder_attention_heads": heads}
    inner = {"encoder_ffn_dim": 4 * width, "decoder_ffn_dim": 4 * width}
    keys: dict[str, dict[str, Any]] = {
        "gpt2": {"n_embd": width, "n_layer": layers, "n_head": heads},
        "qwen3": {
            "hidden_size": width, "intermediate_size": 3 * width, "num_hidden_layers": layers, "num_attention_heads": heads,
            "num_key_value_heads": heads, "head_dim": 64, "tie_word_embeddings": True,
        },
        "llama": {
            "hidden_size": width, "intermediate_size": 3 * width, "num_hidden_layers": layers, "num_attention_heads": heads,
            "tie_word_embeddings": True,
        },
        "m2m_100": {"d_model": width, **sides, **inner}, "marian": {"d_model": width, **sides, **inner},
        "t5": {"d_model": width, "d_ff": 4 * width, "d_kv": 64, "num_layers": layers, "num_heads": heads},
    }  # fmt: skip
    config = Config(task="gpt" if task == "gpt" else "translation", model={"type": kind, **keys[kind]})
    precision: Literal["auto", "no"] = "auto" if bf16 else "no"  # fp16 on a device without bf16
    config.train = TrainConfig(max_steps=steps, mixed_precision=precision, gradient_checkpointing=checkpointing)
    config.batch.block_size, config.batch.micro_batch_size = length, rows
    config.batch.max_source_length = config.batch.max_target_length = length
    config.batch.tokens_per_batch = rows * length
    return config


def diagnosed(folder: str | None, speaks: Language) -> tuple[Image | None, str]:
    """A run's curves and the doctor's verdicts on it as Markdown."""
    if not RUNS.shows(folder):  # a visitor must not read other folders
        return None, say(speaks, "no_run")
    path = Path(str(folder))
    try:
        verdicts = "\n".join(verdict_lines(diagnose(path), speaks))
    except ConfigError as error:
        verdicts = html.escape(str(error))
    try:
        with PIL.Image.open(path / "curves.png") as picture:
            picture.load()
            return picture, verdicts
    except OSError:  # not drawn yet
        return None, verdicts


def _choices(runs: list[Path]) -> list[tuple[str, str]]:
    return [(run.name, str(run)) for run in runs]

"""The scoreboard's part on models that write: the loss on the text that was held out, and samples of fixed prompts at two temperatures."""

from __future__ import annotations

import html
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from training.base.errors import ConfigError
from training.base.pretrained import read_model, read_tokenizer
from training.base.words import phrases, spoken
from training.settings.config import Config
from training.settings.load import load_config
from training.settings.task_specs import TASKS
from training.setup.run_folder import home_of_model

PROMPTS = ("", "世界", "夜", "明月", "春风", "却说", "我们", "生命")

TEMPERATURES = (0.7, 1.0)

SAMPLES, LENGTH = 4, 100  # of each prompt, and tokens of each

EVERY_ROW = 10**6

INTRODUCTION = """Bits per character (end-of-text tokens are predicted too, but count as no characters) of the rows of its corpus that a
model was not trained on; two models compare where corpus and rows are the same. {samples} samples at each temperature: {each} of each of
{prompts}, at most {length} tokens. Ended: by themselves, and not at that limit. Distinct-2 and repetition as in
training/quality/metrics.py; copied: share of their pieces of eight characters (of English: thirty) that
stand in the training text, and the longest span in characters.
A model whose corpus is not here has only what its samples show."""

HEAD = (
    "| model | parameters | MB | bits per character | temperature | ended | distinct-2 | repetition | copied | longest |",
    "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
)


@dataclass(frozen=True)
class Written:
    """What a model wrote at one temperature.

    Attributes:
        found: the numbers of `Evaluation`; `bits_per_character` and `copied_share` only if its corpus is here.
        samples: [{prompt, text, stopped}].
    """

    name: str
    parameters: int | None
    size: int
    temperature: float
    found: dict[str, Any]
    samples: list[dict[str, Any]]


def written(roots: list[Path]) -> list[Written]:
    """What every gpt model below `roots` writes, temperature by temperature."""
    from inference.folders import find_models

    made, words = [], phrases("commands", spoken())
    for info in find_models(roots):
        if not TASKS[info.task].open_ended:
            continue
        planned = {"name": info.name, "count": SAMPLES * len(PROMPTS), "low": TEMPERATURES[0], "high": TEMPERATURES[1]}
        print(words["sampling"].format(**planned), file=sys.stderr)
        size = sum(p.stat().st_size for p in info.path.glob("*.safetensors"))
        try:
            numbers = measured(info.path)
        except Exception as error:  # a damaged file fails in as many ways as there are layers that read it
            print(words["left_out"].format(name=info.name, problem=" ".join(str(error).split())[:200]), file=sys.stderr, flush=True)
            continue
        made += [Written(cell(info.name), info.parameters, size, temperature, found, samples) for temperature, found, samples in numbers]
    return made


def measured(folder: Path) -> list[tuple[float, dict[str, Any], list[dict[str, Any]]]]:
    """(temperature, numbers, samples) of the model in this folder, on the validation rows of the corpus that its config names."""
    from accelerate import Accelerator

    from training.loop.evaluation import Evaluation
    from training.model.hardware import share_threads
    from training.setup.data import open_data
    from training.setup.processes import Processes

    share_threads()
    processes = Processes()
    accelerator = Accelerator(cpu=processes.device.type == "cpu")
    net = read_model(folder, "AutoModelForCausalLM").float().to(processes.device)
    net.generation_config.max_length = None  # an export's: transformers would warn of it at every call
    made = []
    with TemporaryDirectory(prefix="scoreboard-") as scratch:
        config = _asked(folder, scratch)
        try:
            data = open_data(config, processes) if config else None
        except ConfigError as error:
            processes.say(f"{folder.name}: its corpus cannot be read, so only samples are scored ({error})")
            data = None
        if config is None or data is None:
            return [(temperature, *_without_corpus(folder, net, temperature)) for temperature in TEMPERATURES]
        evaluation, found = Evaluation(config, data, accelerator, processes), dict[str, Any]()
        for temperature in TEMPERATURES:
            data.task.config = replace(config, evaluation=replace(config.evaluation, temperature=temperature))
            if found:  # the loss is the same
                samples = data.task.samples(net.eval(), data.held_out, config.seed)
                found = found | evaluation.scores(samples)
            else:
                found, samples = evaluation.measure(net, net)
            made.append((temperature, found, samples))
    return made


def _asked(folder: Path, scratch: str) -> Config | None:
    """The config that the model was trained by, with the board's prompts; None if it is not there."""
    path = home_of_model(folder) / "config.yaml"
    if not path.is_file():
        return None
    config = load_config(path)
    prompts = replace(config.evaluation, prompts=list(PROMPTS), samples=SAMPLES, max_new_tokens=LENGTH, max_rows=EVERY_ROW)
    return replace(config, run_dir=scratch, tokenizer=replace(config.tokenizer, path=str(folder)), evaluation=prompts)


def _without_corpus(folder: Path, net: Any, temperature: float) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    from training.quality.metrics import text_metrics
    from training.tasks.gpt import GptTask

    tokenizer = read_tokenizer(folder)
    prompts = [p for p in PROMPTS if tokenizer(p)["input_ids"]]  # another project's may have no token to begin with
    block = getattr(net.config, "max_position_embeddings", None) or LENGTH
    config = Config(task="gpt")
    asked = replace(config.evaluation, prompts=prompts, samples=SAMPLES, max_new_tokens=LENGTH, temperature=temperature)
    config = replace(config, evaluation=asked, batch=replace(config.batch, block_size=block, packing="always"))
    samples = GptTask(config, tokenizer, []).samples(net.eval(), [], config.seed)
    stopped = sum(s["stopped"] for s in samples) / len(samples)
    return {"stopped": stopped} | text_metrics().compute(predictions=[s["text"] for s in samples]), samples


def board(made: list[Written]) -> list[str]:
    """Lines of docs/scoreboard.md."""
    said = ", ".join(f"`{p}`" if p else "nothing" for p in PROMPTS)
    samples = INTRODUCTION.format(samples=SAMPLES * len(PROMPTS), each=SAMPLES, prompts=said, length=LENGTH)
    lines = ["## Models that write", "", samples, "", *HEAD]
    for w in made:
        f = w.found
        bits = f"{f['bits_per_character']:.3f}" if "bits_per_character" in f else "–"
        copied = (f"{f['copied_share']:.0%}", f"{f['longest_copied']}") if "copied_share" in f else ("–", "–")
        cells = (
            w.name, f"{w.parameters or 0:,}", f"{w.size / 1e6:.1f}", bits, f"{w.temperature}", f"{f['stopped']:.0%}",
            f"{f['distinct_2']:.2f}", f"{f['repetition']:.1%}", *copied,
        )  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    for name in dict.fromkeys(w.name for w in made):
        lines += ["", *_first_samples([w for w in made if w.name == name])]
    return [*lines, ""]


def _first_samples(of_model: list[Written]) -> list[str]:
    """A table: the first sample of each prompt, not the best, by temperature; … where it did not end by itself."""
    lines = [
        f"| {of_model[0].name}: the first sample | {' | '.join(str(w.temperature) for w in of_model)} |",
        "|---|" + "---|" * len(of_model),
    ]
    asked = dict.fromkeys(s["prompt"] for s in of_model[0].samples)
    for prompt in asked:
        first = [next(s for s in w.samples if s["prompt"] == prompt) for w in of_model]
        lines.append(f"| {cell(prompt)} | {' | '.join(cell(s['text'] + ('' if s['stopped'] else ' …')) for s in first)} |")
    return lines


def cell(text: str) -> str:
    """As text in a Markdown table."""
    return html.escape(" ".join(text.split()), quote=False).replace("|", "\\|")


def to_read(made: list[Written]) -> list[str]:
    """All samples, as lines of Markdown."""
    lines = []
    for w in made:
        lines += [f"## {w.name}, temperature {w.temperature}", ""]
        for s in w.samples:
            text = s["text"].replace("\n", "\n    ")
            lines += [f"    [{s['prompt']}]{text}{'' if s['stopped'] else ' …'}", ""]
    return lines

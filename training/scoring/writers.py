"""The scoreboard's part on gpt models: the loss on held-out text, and samples of fixed prompts at two temperatures."""

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

SAMPLES, LENGTH = 4, 100  # samples of each prompt; tokens of a sample, at most

EVERY_ROW = 10**6  # as max_rows: all validation rows

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
    """A model's numbers and samples at one temperature.

    Attributes:
        size: bytes of the weights.
        metrics: the numbers of `Evaluation`, with `bits_per_character` and `copied_share` only if the model's corpus is here.
        samples: dicts with `prompt`, `text`, and `stopped` (whether the text ended by itself).
    """

    name: str
    parameters: int | None
    size: int
    temperature: float
    metrics: dict[str, Any]
    samples: list[dict[str, Any]]


def written(roots: list[Path]) -> list[Written]:
    """The numbers and samples of every gpt model below `roots`. A damaged model is left out with a line on stderr."""
    from inference.folders import find_models

    made, words = [], phrases("commands", spoken())
    for info in find_models(roots):
        if not TASKS[info.task].open_ended:
            continue
        planned = {"name": info.name, "count": SAMPLES * len(PROMPTS), "low": TEMPERATURES[0], "high": TEMPERATURES[1]}
        print(words["sampling"].format(**planned), file=sys.stderr)
        size = sum(p.stat().st_size for p in info.path.glob("*.safetensors"))
        try:
            results = measured(info.path)
        except Exception as error:  # every layer that reads a damaged file fails in its own way
            print(words["left_out"].format(name=info.name, problem=" ".join(str(error).split())[:200]), file=sys.stderr, flush=True)
            continue
        made += [Written(cell(info.name), info.parameters, size, *result) for result in results]
    return made


def measured(folder: Path) -> list[tuple[float, dict[str, Any], list[dict[str, Any]]]]:
    """(temperature, metrics, samples) at each temperature, on the validation rows of the corpus that the model's config names."""
    from accelerate import Accelerator

    from training.loop.evaluation import Evaluation
    from training.model.hardware import share_threads
    from training.setup.data import open_data
    from training.setup.processes import Processes

    share_threads()
    processes = Processes()
    accelerator = Accelerator(cpu=processes.device.type == "cpu")
    net = read_model(folder, "AutoModelForCausalLM").float().to(processes.device)
    net.generation_config.max_length = None  # exported models have it, and transformers would warn at every call
    results = []
    with TemporaryDirectory(prefix="scoreboard-") as scratch:
        config = _config(folder, scratch)
        try:
            data = open_data(config, processes) if config else None
        except ConfigError as error:
            processes.say(f"{folder.name}: its corpus cannot be read, so only samples are scored ({error})")
            data = None
        if config is None or data is None:
            return [(temperature, *_without_corpus(folder, net, temperature)) for temperature in TEMPERATURES]
        evaluation, metrics = Evaluation(config, data, accelerator, processes), dict[str, Any]()
        for temperature in TEMPERATURES:
            data.task.config = replace(config, evaluation=replace(config.evaluation, temperature=temperature))
            if metrics:  # the loss does not depend on the temperature
                samples = data.task.samples(net.eval(), data.held_out, config.seed)
                metrics = metrics | evaluation.scores(samples)
            else:
                metrics, samples = evaluation.measure(net, net)
            results.append((temperature, metrics, samples))
    return results


def _config(folder: Path, scratch: str) -> Config | None:
    """The config of the model's training with the scoreboard's prompts; None if it is not there."""
    path = home_of_model(folder) / "config.yaml"
    if not path.is_file():
        return None
    config = load_config(path)
    evaluation = replace(config.evaluation, prompts=list(PROMPTS), samples=SAMPLES, max_new_tokens=LENGTH, max_rows=EVERY_ROW)
    return replace(config, run_dir=scratch, tokenizer=replace(config.tokenizer, path=str(folder)), evaluation=evaluation)


def _without_corpus(folder: Path, net: Any, temperature: float) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The metrics and samples of a model whose corpus is not here."""
    from training.quality.metrics import text_metrics
    from training.tasks.gpt import GptTask

    tokenizer = read_tokenizer(folder)
    prompts = [
        p for p in PROMPTS if tokenizer(p)["input_ids"]
    ]  # a model from elsewhere may have no start token, so that the empty prompt has no tokens
    block = getattr(net.config, "max_position_embeddings", None) or LENGTH
    config = Config(task="gpt")
    evaluation = replace(config.evaluation, prompts=prompts, samples=SAMPLES, max_new_tokens=LENGTH, temperature=temperature)
    config = replace(config, evaluation=evaluation, batch=replace(config.batch, block_size=block, packing="always"))
    samples = GptTask(config, tokenizer, []).samples(net.eval(), [], config.seed)
    stopped = sum(s["stopped"] for s in samples) / len(samples)
    return {"stopped": stopped} | text_metrics().compute(predictions=[s["text"] for s in samples]), samples


def board(made: list[Written]) -> list[str]:
    """The part of docs/scoreboard.md on gpt models, as lines."""
    prompts = ", ".join(f"`{p}`" if p else "nothing" for p in PROMPTS)
    samples = INTRODUCTION.format(samples=SAMPLES * len(PROMPTS), each=SAMPLES, prompts=prompts, length=LENGTH)
    lines = ["## Models that write", "", samples, "", *HEAD]
    for w in made:
        m = w.metrics
        bits = f"{m['bits_per_character']:.3f}" if "bits_per_character" in m else "–"
        copied = (f"{m['copied_share']:.0%}", f"{m['longest_copied']}") if "copied_share" in m else ("–", "–")
        cells = (
            w.name, f"{w.parameters or 0:,}", f"{w.size / 1e6:.1f}", bits, f"{w.temperature}", f"{m['stopped']:.0%}",
            f"{m['distinct_2']:.2f}", f"{m['repetition']:.1%}", *copied,
        )  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    for name in dict.fromkeys(w.name for w in made):
        lines += ["", *_first_samples([w for w in made if w.name == name])]
    return [*lines, ""]


def _first_samples(of_model: list[Written]) -> list[str]:
    """A table with the first (not the best) sample of each prompt, a column per temperature; … marks a text that did not end by itself."""
    lines = [
        f"| {of_model[0].name}: the first sample | {' | '.join(str(w.temperature) for w in of_model)} |",
        "|---|" + "---|" * len(of_model),
    ]
    for prompt in dict.fromkeys(s["prompt"] for s in of_model[0].samples):
        first = [next(s for s in w.samples if s["prompt"] == prompt) for w in of_model]
        lines.append(f"| {cell(prompt)} | {' | '.join(cell(s['text'] + ('' if s['stopped'] else ' …')) for s in first)} |")
    return lines


def cell(text: str) -> str:
    """`text` escaped for a cell of a Markdown table."""
    return html.escape(" ".join(text.split()), quote=False).replace("|", "\\|")


def to_read(made: list[Written]) -> list[str]:
    """All samples as lines of Markdown."""
    lines = []
    for w in made:
        lines += [f"## {w.name}, temperature {w.temperature}", ""]
        for s in w.samples:
            text = s["text"].replace("\n", "\n    ")
            lines += [f"    [{s['prompt']}]{text}{'' if s['stopped'] else ' …'}", ""]
    return lines

"""The pages of a run that people read: model card, report, samples and curves, made from its records."""

from __future__ import annotations

import json
import platform
import re
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

from training.base import __version__
from training.base.characters import HAN
from training.base.files import replacing, write_text
from training.base.words import phrases, spoken
from training.corpus.prepare import corpus_summary
from training.diagnosis.curves import plausible
from training.diagnosis.diagnose import judge, verdict_lines
from training.diagnosis.run_records import RunRecords, read_metrics, read_run
from training.model.tokenizer import tokenizer_summary
from training.settings.config import Config, source_list

# Fonts with Chinese characters; a system that is used in Chinese has at least one of them.
CHINESE_FONTS = ("Noto Sans CJK SC", "Noto Sans CJK JP", "Source Han Sans SC", "PingFang SC", "Microsoft YaHei", "WenQuanYi Micro Hei")


def draw_curves(folder: Path, title: str) -> None:
    """Write curves.png: training and validation loss, learning rate, and scores if there are any."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    records = read_metrics(folder)
    train = [r for r in records if r["event"] == "train" and r.get("loss") is not None]
    evaluations = [r for r in records if r["event"] == "evaluate" and r.get("val_loss") is not None]
    scores = [k for k in ("bleu", "chrf") if any(r.get(k) is not None for r in evaluations)]
    figure = Figure(figsize=(9, 4.2 if not scores else 6.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2 if scores else 1, 1, sharex=True, squeeze=False, height_ratios=[3, 2] if scores else [1])[:, 0]
    top = axes[0]
    top.plot([r["step"] for r in train], [r["loss"] for r in train], lw=1, color="#8aa6c1", label="training loss")
    if evaluations:
        top.plot(
            [r["step"] for r in evaluations], [r["val_loss"] for r in evaluations], "o-", ms=3, color="#c2491d", label="validation loss"
        )
        best = min(evaluations, key=lambda r: r["val_loss"])
        top.axvline(best["step"], color="#c2491d", lw=0.8, ls=":")
        top.annotate(f"best {best['val_loss']:.3f} at step {best['step']}", (best["step"], best["val_loss"]),
                     textcoords="offset points", xytext=(6, 10), fontsize=9)  # fmt: skip
    low, high = top.get_ylim()
    if train and low > 0 and high / low > 50:
        top.set_yscale("log")
    top.set_ylabel("nats per token")
    fonts, shown = _fonts(title if len(title) <= 60 else title[:59] + "…")
    top.set_title(shown, fontfamily=fonts, parse_math=False)
    rates = top.twinx()
    rates.plot([r["step"] for r in train], [r.get("learning_rate") for r in train], lw=0.8, color="#9a9a9a", ls="--")
    rates.set_ylabel("learning rate (dashed)", color="#777777")
    rates.set_ylim(bottom=0)
    top.legend(loc="upper right")
    for score in scores:
        scored = [r for r in evaluations if r.get(score) is not None]
        axes[1].plot([r["step"] for r in scored], [r[score] for r in scored], "o-", ms=3, label={"bleu": "BLEU", "chrf": "chrF2"}[score])
    if scores:
        axes[1].set_ylabel("score")
        axes[1].legend()
    axes[-1].set_xlabel("optimizer steps")
    with replacing(folder / "curves.png") as file, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")  # a rare character in the run's name is not worth a warning
        figure.savefig(file, dpi=110)


def _fonts(title: str) -> tuple[list[str], str]:
    """Fonts for a run's name, and the part of the name that they can show."""
    from matplotlib.font_manager import fontManager

    installed = {font.name for font in fontManager.ttflist}
    chinese = [name for name in CHINESE_FONTS if name in installed]
    return ["DejaVu Sans", *chinese], title if chinese else title.encode("ascii", "ignore").decode().strip()


def write_samples(folder: Path) -> None:
    """Write samples.md: what the model wrote at each evaluation, latest first."""
    lines = ["# Samples", ""]
    for record in reversed([r for r in read_metrics(folder) if r["event"] == "sample"]):
        lines += [f"## Step {record['step']:,}", ""]
        for s in record["samples"][:12]:
            if "reference" in s:
                lines += [
                    f"- {_code(s['prompt'])}  ",
                    f"  → {_code(s['text'])}" + (f"  \n  = {_code(s['reference'])}" if s["reference"] else ""),
                ]
            else:
                end = " ■" if s.get("stopped") else " …"
                lines.append(f"- **{_code(s['prompt'])}**{_code(s['text'])}{end}" if s["prompt"] else f"- {_code(s['text'])}{end}")
        lines.append("")
    write_text(folder / "samples.md", "\n".join([*lines, "■ the model ended the text itself; … it was cut at the longest length.", ""]))


def _code(text: str) -> str:
    """The text with Markdown's characters escaped, in one line."""
    return "".join("\\" + c if c in "\\`*_{}[]<>#|" else c for c in text.replace("\n", " ⏎ "))


COLUMN_LANGUAGES = {"zh": "Chinese", "chinese": "Chinese", "cn": "Chinese", "en": "English", "english": "English"}
CODES = {"Chinese": "zh", "English": "en"}


def model_card(config: Config, meta: dict[str, Any], licence: str = "") -> str:
    """The text of a checkpoint's README.md: what it is, what it was trained on, how it scores, how to load it and train it again.

    Args:
        licence: the licence of the weights, by the hub's name for it.
    """
    spec, sides = config.spec, _languages(config)
    does = spec.does[bool(sides)].format(*sides)
    scores = "\n".join(f"| {k} | {v:.4g} |" for k, v in meta["metrics"].items() if isinstance(v, float))
    signature = meta["metrics"].get("bleu_signature")
    auto = spec.auto_class
    example = meta["examples"][0] if meta["examples"] else ""
    language = {"language": [CODES[side] for side in sides]} if sides else {}
    front = {**language, "library_name": "transformers", "pipeline_tag": spec.pipeline_tag, "tags": ["stray-bird"]}
    front |= {"license": licence} if licence else {}
    how = ", do_sample=True, temperature=0.8" if spec.open_ended else ""  # greedy text of a small model repeats itself
    of = f"\nBLEU and chrF are of its first {config.evaluation.generate_rows:,} sentences.\n" if signature else ""
    return f"""---
{chr(10).join(f"{k}: {json.dumps(v)}" for k, v in front.items())}
---

# {meta["name"]}

A {meta["model_type"]} model of {meta["parameters"]:,} parameters, trained from nothing by Stray Bird · 飞鸟
({does}); step {meta["step"]:,}.

| measured on the validation set | |
|---|---|
{scores}
{of}{f"{chr(10)}sacrebleu signature: `{signature}`{chr(10)}" if signature else ""}
Trained on {meta["corpus"]["rows"]:,} rows of:

{_texts(config)}

```python
from transformers import AutoTokenizer, {auto}

tokenizer = AutoTokenizer.from_pretrained("THIS_FOLDER")
model = {auto}.from_pretrained("THIS_FOLDER")
inputs = tokenizer({json.dumps(example, ensure_ascii=False)}, return_tensors="pt")
print(tokenizer.decode(model.generate(**inputs{how})[0], skip_special_tokens=True))
```

To train it again, from the root of the project and with the texts in their places (`config.yaml` is in the run's folder, and beside the
weights once they are exported):

```bash
accelerate launch -q training/train.py --config config.yaml --run_dir runs/again
```
"""


def _texts(config: Config) -> str:
    """A Markdown list of the training texts with their licences, and what to do if one has none."""
    texts = source_list(config.corpus.train)
    lines = []
    for s in texts:
        rows = "".join(f", {column}: {_listed(value)}" for column, value in (s.where or {}).items())
        lines.append(f"- {s.path}{rows} ({s.license or 'licence not stated'})")
    if not all(s.license for s in texts):
        lines += ["", "The licence of a text decides what may be done with this model: look up what is not stated (`license` of a source)."]
    return "\n".join(lines)


def _listed(value: Any) -> str:
    """One or several values of `where`, separated by commas."""
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _languages(config: Config) -> list[str]:
    """The languages of source and target, or [Chinese] if a task with one language has Chinese prompts. Empty if unknown."""
    if not config.spec.two_languages:
        return ["Chinese"] if HAN.search("".join(config.evaluation.prompts)) else []
    s = source_list(config.corpus.train)[0]
    columns = {**config.spec.columns, **config.corpus.columns, **(s.columns or {})}
    names = (s.path, s.target_path) if s.target_path else (columns["source"], columns["target"])  # aligned files have no columns
    words = [re.split(r"[\W_]+", Path(name).name.lower()) for name in names]
    languages = [COLUMN_LANGUAGES[codes[-1]] for parts in words if (codes := [part for part in parts if part in COLUMN_LANGUAGES])]
    return languages if len(set(languages)) == 2 else []


def meta_of(config: Config, step: int, parameters: int, metrics: dict[str, Any], rows: int) -> dict[str, Any]:
    """The content of a checkpoint's meta.json. `inference/` reads task, name, step, metrics and examples."""
    prompts = [p for p in config.evaluation.prompts if p.strip()]
    return {
        "name": Path(config.run_dir).name, "task": config.task, "step": step, "parameters": parameters,
        "model_type": config.model["type"], "metrics": metrics, "examples": prompts,
        "corpus": {"train": [s.path for s in source_list(config.corpus.train)], "rows": rows}, "versions": _versions(),
    }  # fmt: skip


def write_report(
    run_dir: Path, config: Config, parameters: int, scan: dict[str, Any], left_out: int, vocabulary: dict[str, Any], ended: str
) -> str:
    """Write report.md in the run's language: what was trained, how it came out and what the doctor says of it. Returns the text to print.

    Args:
        scan: the report on the corpus, for `corpus_summary`.
        left_out: number of pairs that were longer than the batch section allows.
        vocabulary: the report on the tokenizer, for `tokenizer_summary`.
        ended: how the run ended, in the words of the `end` record.
    """
    language = spoken(config.log.language)
    words = phrases("report", language)
    records = read_metrics(run_dir)
    evaluations = [r for r in records if r["event"] == "evaluate"]
    steps = [r for r in records if r["event"] == "train"]
    how = words["ended"].get(ended, ended.capitalize())
    lines = [f"# {Path(config.run_dir).name}", "", words["model"].format(type=config.model["type"], parameters=parameters, ended=how), ""]
    corpus_line = corpus_summary(scan, words) + (words["left_out"].format(n=left_out) if left_out else "")
    lines += [f"- {words['corpus'].format(line=corpus_line)}"]
    lines += [f"- {words['tokenizer'].format(line=tokenizer_summary(vocabulary, words))}"]
    if steps:
        last = steps[-1]
        loss = words["not_finite"] if last["loss"] is None else f"{last['loss']:.4g}"
        lines.append("- " + words["steps"].format(**{**last, "loss": loss, "time": _time(last["seconds"], words)}))
    losses = [r for r in evaluations if r.get("val_loss") is not None]
    if losses:
        best = min(losses, key=lambda r: r["val_loss"])
        perplexity = words["not_finite"] if best.get("perplexity") is None else f"{best['perplexity']:.2f}"  # e^loss can overflow
        lines.append("- " + words["best"].format(**{**best, "perplexity": perplexity}))
        if best.get("bleu") is not None:
            lines.append("- " + words["scores"].format(**best))
        if best.get("stopped") is not None:
            copied = best.get("copied_share")
            lines.append("- " + words["samples"].format(**best) + ("" if copied is None else words["copied"].format(share=copied)))
    run = read_run(run_dir, config)
    if not run.end:  # the report of a run is written before its `end` record
        run = replace(run, end={"step": run.steps, "ended": ended})
    lines += _predictions(run, words)
    lines += ["", f"## {words['doctor']}", "", *verdict_lines(judge(run), language)]
    text = "\n".join(lines) + "\n"
    write_text(run_dir / "report.md", f"{text}\n![curves](curves.png)\n\n{words['more']}\n")
    return text


def _predictions(run: RunRecords, words: dict[str, Any]) -> list[str]:
    """One line with what preflight.json predicted and what was measured; none if no number has both."""
    turned = min(run.validation, key=lambda p: p.value).step if run.validation else None
    if turned == run.steps and turned < (run.predicted("forecast", "overfit_step") or 0):
        turned = None  # the run ended before the predicted turn
    peak, seconds = (plausible(key, run.end.get(key)) for key in ("peak_memory_bytes", "seconds"))
    pairs = [
        ("peak_memory", run.predicted_peak, peak, lambda v: f"{v / 1e6:,.0f} MB"),
        ("time", run.predicted("time", "seconds"), seconds, lambda v: _time(v, words)),
        ("turned", run.predicted("forecast", "overfit_step"), turned, lambda v: f"{v:,.0f}"),
    ]
    compared = [words[what].format(predicted=shown(p), measured=shown(m)) for what, p, m, shown in pairs if p and m]
    return ["- " + words["predicted"].format(pairs=words["semicolon"].join(compared))] if compared else []


def _time(seconds: float, words: dict[str, Any]) -> str:
    """A duration in seconds, or in minutes from two minutes on."""
    return str(words["seconds"].format(n=seconds) if seconds < 120 else words["minutes"].format(n=seconds / 60))


def _versions() -> dict[str, str]:
    """The versions of Stray Bird, Python and the libraries that matter for a checkpoint."""
    import accelerate
    import datasets
    import tokenizers
    import torch
    import transformers

    packages = {m.__name__: m.__version__ for m in (torch, transformers, tokenizers, datasets, accelerate)}
    return {"stray-bird": __version__, "python": platform.python_version(), **packages}

"""Pages for people: the model card of a checkpoint (in English, for the hub) and the report of a run, from what was measured."""

from __future__ import annotations

import json
import platform
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from training import corpus, doctor, evidence, findings, run_folder, tokenizer
from training.config import Config, sources
from training.corpus import COLUMNS
from training.filters import HAN

LANGUAGES = {"zh": "Chinese", "chinese": "Chinese", "cn": "Chinese", "en": "English", "english": "English"}
CODES = {"Chinese": "zh", "English": "en"}


def card(config: Config, meta: dict[str, Any], licence: str = "") -> str:
    """README.md of a checkpoint: what it is, what it was trained on, how it scores, how to load it and to train it again.

    Args:
        licence: of the weights, by the hub's name for it.
    """
    gpt = config.task == "gpt"
    tags = ["text-generation"] if gpt else ["translation"]
    sides = _languages(config)
    does = " ".join(["it continues", *sides, "text"] if gpt else ["it translates", " into ".join(sides)]).strip()
    scores = "\n".join(f"| {k} | {v:.4g} |" for k, v in meta["metrics"].items() if isinstance(v, float))
    signature = meta["metrics"].get("bleu_signature")
    auto = "AutoModelForCausalLM" if gpt else "AutoModelForSeq2SeqLM"
    example = meta["examples"][0] if meta["examples"] else ""
    language = {"language": [CODES[side] for side in sides]} if sides else {}
    front = {**language, "library_name": "transformers", "pipeline_tag": tags[0], "tags": ["stray-bird"]}
    front |= {"license": licence} if licence else {}
    how = ", do_sample=True, temperature=0.8" if gpt else ""  # a small model's likeliest words go round in circles
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
accelerate launch training/train.py --config config.yaml --run_dir runs/again
```
"""


def _texts(config: Config) -> str:
    """A list of the sources of text with their licences, and what to do where one is missing."""
    texts = sources(config.corpus.train)
    lines = []
    for s in texts:
        rows = "".join(f", {column}: {_listed(value)}" for column, value in (s.where or {}).items())
        lines.append(f"- {s.path}{rows} ({s.license or 'licence not stated'})")
    if not all(s.license for s in texts):
        lines += ["", "The licence of a text decides what may be done with this model: look up what is not stated (`license` of a source)."]
    return "\n".join(lines)


def _listed(value: Any) -> str:
    """A value of `where`, or several."""
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _languages(config: Config) -> list[str]:
    """Of translation, the source's and the target's; of gpt, Chinese if the prompts are. Empty where nothing tells."""
    if config.task == "gpt":
        return ["Chinese"] if HAN.search("".join(config.evaluation.prompts)) else []
    s = sources(config.corpus.train)[0]
    columns = {**COLUMNS["translation"], **config.corpus.columns, **(s.columns or {})}
    names = (s.path, s.target_path) if s.target_path else (columns["source"], columns["target"])  # aligned files have no columns
    words = [re.split(r"[\W_]+", Path(name).name.lower()) for name in names]
    found = [LANGUAGES[known[-1]] for w in words if (known := [x for x in w if x in LANGUAGES])]
    return found if len(set(found)) == 2 else []


def meta(config: Config, step: int, parameters: int, metrics: dict[str, Any], rows: int) -> dict[str, Any]:
    """What meta.json says about a checkpoint; `serving/` reads task, name, step, metrics and examples."""
    prompts = [p for p in config.evaluation.prompts if p.strip()]
    return {
        "name": Path(config.run_dir).name, "task": config.task, "step": step, "parameters": parameters,
        "model_type": config.model["type"], "metrics": metrics, "examples": prompts,
        "corpus": {"train": [s.path for s in sources(config.corpus.train)], "rows": rows}, "versions": _versions(),
    }  # fmt: skip


def report(
    run_dir: Path, config: Config, parameters: int, scan: dict[str, Any], left_out: int, vocabulary: dict[str, Any], ended: str
) -> str:
    """report.md, and the same text to print, in the run's language: what was trained, how it came out and what the doctor says of it.

    Args:
        scan, vocabulary: as `corpus.summary` and `tokenizer.summary` take them.
        left_out: pairs that were longer than the batch section allows.
        ended: how, in the words of the record of the end.
    """
    language = findings.spoken(config.log.language)
    words = findings.phrases("report", language)
    records = run_folder.read(run_dir)
    evaluations = [r for r in records if r["event"] == "evaluate"]
    steps = [r for r in records if r["event"] == "train"]
    how = words["ended"].get(ended, ended.capitalize())
    lines = [f"# {Path(config.run_dir).name}", "", words["model"].format(type=config.model["type"], parameters=parameters, ended=how), ""]
    corpus_line = corpus.summary(scan, words) + (words["left_out"].format(n=left_out) if left_out else "")
    lines += [f"- {words['corpus'].format(line=corpus_line)}"]
    lines += [f"- {words['tokenizer'].format(line=tokenizer.summary(vocabulary, words))}"]
    if steps:
        last = steps[-1]
        loss = words["not_finite"] if last["loss"] is None else f"{last['loss']:.4g}"
        lines.append("- " + words["steps"].format(**{**last, "loss": loss, "time": _time(last["seconds"], words)}))
    losses = [r for r in evaluations if r.get("val_loss") is not None]
    if losses:
        best = min(losses, key=lambda r: r["val_loss"])
        perplexity = words["not_finite"] if best.get("perplexity") is None else f"{best['perplexity']:.2f}"  # e^loss may be too large
        lines.append("- " + words["best"].format(**{**best, "perplexity": perplexity}))
        if best.get("bleu") is not None:
            lines.append("- " + words["scores"].format(**best))
        if best.get("stopped") is not None:
            copied = best.get("copied_share")
            lines.append("- " + words["samples"].format(**best) + ("" if copied is None else words["copied"].format(share=copied)))
    told = evidence.read(run_dir, config)
    if not told.end:  # a report says how a run ended before its record does
        told = replace(told, end={"step": told.steps, "ended": ended})
    lines += _came_out(told, words)
    lines += ["", f"## {words['doctor']}", "", *doctor.tell(doctor.judge(told), language)]
    text = "\n".join(lines) + "\n"
    run_folder.write(run_dir / "report.md", f"{text}\n![curves](curves.png)\n\n{words['more']}\n")
    return text


def _came_out(told: evidence.Records, words: dict[str, Any]) -> list[str]:
    """What preflight.json predicted beside what was measured, in one line; nothing where either is not known."""
    turned = min(told.validation, key=lambda p: p.value).step if told.validation else None
    if turned == told.steps and turned < (told.predicted("forecast", "overfit_step") or 0):
        turned = None  # it was to turn later
    peak, seconds = (evidence.plausible(key, told.end.get(key)) for key in ("peak_memory_bytes", "seconds"))
    pairs = [
        ("peak_memory", told.predicted_peak, peak, lambda v: f"{v / 1e6:,.0f} MB"),
        ("time", told.predicted("time", "seconds"), seconds, lambda v: _time(v, words)),
        ("turned", told.predicted("forecast", "overfit_step"), turned, lambda v: f"{v:,.0f}"),
    ]
    known = [words[what].format(predicted=say(p), measured=say(m)) for what, p, m, say in pairs if p and m]
    return ["- " + words["predicted"].format(pairs=words["semicolon"].join(known))] if known else []


def _time(seconds: float, words: dict[str, Any]) -> str:
    return str(words["seconds"].format(n=seconds) if seconds < 120 else words["minutes"].format(n=seconds / 60))


def _versions() -> dict[str, str]:
    """Of what a checkpoint was made with."""
    import accelerate
    import datasets
    import tokenizers
    import torch
    import transformers

    packages = {m.__name__: m.__version__ for m in (torch, transformers, tokenizers, datasets, accelerate)}
    return {"python": platform.python_version(), **packages}

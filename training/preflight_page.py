"""What preflight prints: its numbers and findings as lines for people, in either language. Light: no torch."""

from __future__ import annotations

from typing import Any

from training import findings
from training.config import Config
from training.findings import Language

MEMORY_PARTS = ("weights", "gradients", "optimizer", "average", "activations", "logits")


def page(config: Config, found: dict[str, Any], language: Language) -> str:
    """The whole answer of `training/preflight.py`."""
    words = findings.phrases("page", language)
    lines = [words["title"].format(run=config.run_dir), ""]
    lines += [*model(found, words), *memory(config, found, words), *vocabulary(found, words), *data(found, words), *time(found, words)]
    lines += ["", words["findings"] if found["findings"] else words["no_findings"]]
    lines += findings.lines(found["findings"], language)
    if found.get("fitted"):
        lines += ["", words["fitted"].format(path=found["fitted"])]
    return "\n".join(lines)


def short(found: dict[str, Any], language: Language) -> list[str]:
    """For the start of a run: what it will take, and what is wrong with it."""
    words = findings.phrases("page", language)
    line = words["short_memory"].format(peak=size(found["memory"]["peak_bytes"]))
    if found["time"].get("seconds"):
        line += words["short_time"].format(time=duration(found["time"]["seconds"], words))
    return [line, *findings.lines(found["findings"], language)]


def model(found: dict[str, Any], words: dict[str, Any]) -> list[str]:
    """Parameters by part."""
    parameters, kind = found["parameters"], found["config"]["model"]
    parts = [f"{words[k]} {parameters[k] / max(1, parameters['total']):.0%}" for k in parameters if k != "total" and parameters[k]]
    return [words["model"].format(type=kind, total=parameters["total"], parts=words["comma"].join(parts))]


def memory(config: Config, found: dict[str, Any], words: dict[str, Any]) -> list[str]:
    """The peak by part, variants, and the largest micro-batch."""
    m = found["memory"]
    parts = [f"{words[k]} {size(m[k])}" for k in MEMORY_PARTS if m[k]]
    if m["data_bytes"]:
        parts.append(f"{words['data_in_memory']} {size(m['data_bytes'])}")
    if m["kept_bytes"]:
        parts.append(f"{words['kept']} {size(m['kept_bytes'])}")
    lines = [words["memory"].format(peak=size(m["peak_bytes"]), parts=words["comma"].join(parts))]
    lines.append("  " + words["vocabulary_part"].format(bytes=size(m["vocabulary_bytes"]), share=m["vocabulary_share"]))
    if m["devices"] > 1:
        kind = "FSDP" if m["sharded"] else "DDP"
        lines.append("  " + words["each"].format(kind=kind, devices=m["devices"], bytes=size(m["each_device_bytes"])))
    if variants := m.get("variants"):
        told = [f"{words[k]} {size(v + m['data_bytes'] + m['kept_bytes'])}" for k, v in variants.items()]
        lines.append("  " + words["variants"].format(list=words["comma"].join(told)))
    if m.get("largest_batch") is not None:
        key = "batch.micro_batch_size" if config.task == "gpt" else "batch.tokens_per_batch"
        lines.append("  " + words["largest"].format(available=size(m["available_bytes"]), key=key, largest=m["largest_batch"]))
    return lines


def vocabulary(found: dict[str, Any], words: dict[str, Any]) -> list[str]:
    """Size, what it costs, how it cuts, and what a higher min_frequency would leave."""
    v = found["vocabulary"]
    cut = [words["cut"].format(side=words[k], **c) for k, c in v["columns"].items()]
    lines = [words["vocabulary"].format(size=v["size"], bytes=size(v["training_bytes"]), once=v["seen_once"], cut=words["comma"].join(cut))]
    table = v["frequencies"]["at_least"]
    told = [words["at_least"].format(least=k, **table[k]) for k in sorted(table, key=int)]  # JSON may have sorted them as text
    return [*lines, "  min_frequency: " + words["comma"].join(told)]


def data(found: dict[str, Any], words: dict[str, Any]) -> list[str]:
    """Rows and tokens, what the horizon means, and where the run is expected to turn."""
    d, h = found["data"], found["horizon"]
    ratio = d["tokens"] / max(1, found["parameters"]["total"])
    lines = [words["data"].format(rows=d["rows"], tokens=d["tokens"], ratio=ratio, step=d["tokens_per_step"])]
    if h["steps"]:
        lines.append("  " + words["horizon"].format(steps=h["steps"], epochs=h["epochs"], per=h["steps_per_epoch"]))
    if (c := found["forecast"])["overfit_step"]:
        lines.append("  " + words["turning"].format(step=c["overfit_step"], epoch=c["overfit_epoch"], factor=c["factor"]))
    if "val_loss" in found["forecast"]:
        lines.append("  " + words["loss"].format(**found["forecast"]))
    return lines


def time(found: dict[str, Any], words: dict[str, Any]) -> list[str]:
    """How long, how fast, and what it costs."""
    t = found["time"]
    if not t:
        return [words["no_time"]]
    kind = "time" if t["measured"] else "time_by_sheet"
    whole = duration(t["seconds"], words) if t["seconds"] else "?"
    line = words[kind].format(time=whole, milliseconds=1e3 * t["step_seconds"], speed=t["tokens_per_second"] or 0)
    lines = [line]
    if t["measured"]:
        parts = {k: duration(t[f"{k}_seconds"], words) for k in ("training", "evaluation", "saving")}
        lines.append("  " + words["time_parts"].format(**parts, count=t["evaluations"]))
    flops = words["flops"].format(gigaflops=t["flops_per_step"] / 1e9, speed=t["achieved_flops"] / 1e9)
    lines.append("  " + flops + (words["utilisation"].format(share=t["utilisation"]) if t["utilisation"] else ""))
    if t.get("money"):
        lines.append("  " + words["money"].format(money=t["money"]))
    return lines


def size(count: float) -> str:
    """Bytes in words."""
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB" if count >= 1e7 else f"{count / 1e6:.1f} MB"


def duration(seconds: float, words: dict[str, Any]) -> str:
    """Seconds in words."""
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return words[unit].format(seconds / length)
    return words["seconds"].format(seconds)

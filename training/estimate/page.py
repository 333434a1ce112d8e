"""The text that preflight prints: its numbers and findings as lines for people, in either language. Light: no torch."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from training.base.words import Language, phrases, size
from training.diagnosis.finding import finding_lines
from training.estimate import facts
from training.settings.config import Config


def page(config: Config, estimate: dict[str, Any], language: Language) -> str:
    """The whole text that `training/preflight.py` prints."""
    words = phrases("page", language)
    lines = [words["title"].format(run=config.run_dir), ""]
    lines += [
        *model(estimate, words),
        *memory(config, estimate, words),
        *vocabulary(estimate, words),
        *data(estimate, words),
        *time(estimate, words),
    ]
    lines += ["", words["findings"] if estimate["findings"] else words["no_findings"]]
    lines += finding_lines(estimate["findings"], language)
    if estimate.get("fitted"):
        lines += ["", words["fitted"].format(path=estimate["fitted"], **estimate["fitted_step"])]
    elif "fitted" in estimate:
        lines += ["", words["not_fitted"]]
    return "\n".join(lines)


def short(estimate: dict[str, Any], language: Language) -> list[str]:
    """Lines for the start of a run: memory and time that it will take, and the findings."""
    words = phrases("page", language)
    line = words["short_memory"].format(peak=size(estimate["memory"]["each_device_bytes"]))
    if estimate["time"].get("seconds"):
        line += words["short_time"].format(time=duration(estimate["time"]["seconds"], words))
    return [line, *finding_lines(estimate["findings"], language)]


def model(estimate: dict[str, Any], words: dict[str, Any]) -> list[str]:
    """A line on the parameters, by part."""
    parameters, kind = estimate["parameters"], estimate["config"]["model"]
    parts = [f"{words[k]} {parameters[k] / max(1, parameters['total']):.0%}" for k in parameters if k != "total" and parameters[k]]
    return [words["model"].format(type=kind, total=parameters["total"], parts=words["comma"].join(parts))]


def memory(config: Config, estimate: dict[str, Any], words: dict[str, Any]) -> list[str]:
    """Lines on the peak of memory by part, its variants, and the largest micro-batch that fits."""
    m = estimate["memory"]
    parts = [f"{words[k]} {size(m[k])}" for k in facts.MEMORY_PARTS if m[k]]
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
        parts = [f"{words[k]} {size(v)}" for k, v in variants.items()]
        lines.append("  " + words["variants"].format(list=words["comma"].join(parts)))
    if m.get("largest_batch"):
        key, available = config.spec.micro_batch(config.batch)[0], size(m["available_bytes"])
        lines.append("  " + words["largest"].format(available=available, key=key, largest=m["largest_batch"]))
    return lines


def vocabulary(estimate: dict[str, Any], words: dict[str, Any]) -> list[str]:
    """Lines on the vocabulary: its size and memory, how it cuts texts, and how many entries a higher min_frequency would leave."""
    v = estimate["vocabulary"]
    cut = [words["cut"].format(side=words[k], **c) for k, c in v["columns"].items()]
    where = "" if v["frequencies"] else words["in_texts"].format(texts=v["texts"])
    numbers = {"size": v["size"], "bytes": size(v["training_bytes"]), "once": v["seen_once"]}
    lines = [words["vocabulary"].format(**numbers, where=where, cut=words["comma"].join(cut))]
    if not v["frequencies"]:
        return lines
    table = v["frequencies"]["at_least"]
    sizes = []
    for least in sorted(table, key=int):  # JSON may have sorted them as text
        sizes.append(words["at_least"].format(least=least, **table[least]))
        if not table[least]["size"]:  # a higher one leaves none either
            break
    return [*lines, "  min_frequency: " + words["comma"].join(sizes)]


def data(estimate: dict[str, Any], words: dict[str, Any]) -> list[str]:
    """Lines on rows and tokens, the horizon in steps and epochs, and where the validation loss is expected to turn."""
    d, h = estimate["data"], estimate["horizon"]
    ratio = _plain(d["tokens"] / max(1, estimate["parameters"]["total"]))
    lines = [words["data"].format(rows=d["rows"], tokens=d["tokens"], ratio=ratio, step=d["tokens_per_step"])]
    if h["steps"]:
        lines.append("  " + words["horizon"].format(steps=h["steps"], epochs=_rounded(h["epochs"]), per=h["steps_per_epoch"]))
    if (c := estimate["forecast"])["overfit_step"]:
        lines.append("  " + words["turning"].format(step=c["overfit_step"], epoch=_rounded(c["overfit_epoch"]), factor=c["factor"]))
    if "no_loss" in c:
        lines.append("  " + words["no_loss"].format(reason=c["no_loss"]))
    if "val_loss" in c:
        cut = c["loss_step"] == c["overfit_step"]  # beyond that step the loss rises by an unknown amount
        lines.append("  " + words["loss_at_turning" if cut else "loss"].format(**c))
    return lines


def time(estimate: dict[str, Any], words: dict[str, Any]) -> list[str]:
    """Lines on how long the run takes, how fast it is, and what it costs."""
    t = estimate["time"]
    if not t:
        return [words["no_time"]]
    kind = "time" if t["measured"] else "time_by_sheet"
    whole = duration(t["seconds"], words) if t["seconds"] else "?"
    line = words[kind].format(time=whole, milliseconds=1e3 * t["step_seconds"], speed=t["tokens_per_second"] or 0)
    lines = [line]
    if not t["measured"] and t["starting_seconds"] > t["step_seconds"] / 2:
        operations, seconds = t["operations_per_step"], t["starting_seconds"]
        lines.append("  " + words["starting"].format(operations=operations, milliseconds=1e3 * seconds, each=1e6 * seconds / operations))
    if t["measured"]:
        parts = {k: duration(t[f"{k}_seconds"], words) for k in ("training", "evaluation", "saving")}
        lines.append("  " + words["time_parts"].format(**parts, count=t["evaluations"]))
    flops = words["flops"].format(gigaflops=t["flops_per_step"] / 1e9, speed=t["achieved_flops"] / 1e9)
    lines.append("  " + flops + (words["utilisation"].format(share=t["utilisation"]) if t["utilisation"] else ""))
    if t.get("money") is not None:
        lines.append("  " + words["money"].format(money=f"{t['money']:,.2f}" if t["money"] >= 1 else _plain(t["money"])))
    return lines


def duration(seconds: float, words: dict[str, Any]) -> str:
    """Seconds as words, in the largest unit of which there are at least two."""
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return words[unit].format(seconds / length)
    return words["seconds"].format(seconds)


def _plain(number: float) -> str:
    """A number with two significant digits and without an exponent: 0.00006."""
    return f"{Decimal(f'{number:.2g}'):f}"


def _rounded(number: float) -> str:
    """A number without decimals from 10 on, otherwise with one."""
    return f"{number:,.0f}" if number >= 10 else f"{number:.1f}"

"""Make a model folder ready to be served or shared: copy it, name it, and add an int8 copy that is compared with the weights."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any, Literal

from inference.folders import COPY, PARITY_FILE
from training.base.errors import ConfigError
from training.base.files import replacing
from training.base.pretrained import read_model
from training.base.words import phrases, spoken
from training.scoring.test_sets import model_folder, read_pairs
from training.settings.task_specs import TASKS, TaskSpec
from training.setup.run_folder import home_of_model

CONVERTIBLE = ("m2m_100", "t5")  # not Marian: CTranslate2 drops the last entry of its vocabulary, taking it for padding

PARITY = 0.98  # share of sentences that a correctly converted float32 copy translates as transformers does, at least

PHRASEBOOK = ("data/phrasebook/test_combinations.jsonl", "data/phrasebook/test_patterns.jsonl")

OF_THE_RUN = ("config.yaml", "curves.png")  # the files of a run that are copied too

Weights = Literal["float32", "float16", "none"]


def export_model(
    model: Path, out: Path | None = None, tests: list[str] | None = None, sentences: int = 300, weights: Weights = "float32",
    shard_mb: float = 0.0, columns: dict[str, str] | None = None, licence: str = "",
) -> dict[str, Any]:  # fmt: skip
    """Copy a model folder and give it its int8 copy.

    Args:
        model: a run folder (for its best checkpoint) or a model folder.
        out: where the copy goes; None adds `ctranslate2/` to the folder itself.
        tests: files of pairs; the first `sentences` source lines of each are translated to compare (None: the phrasebook's).
        weights: how the copied weights are stored; "none" leaves them out, so that the int8 copy alone is served.
        shard_mb: the most megabytes of a weights file, also of the int8 copy's; 0 writes a single file.
        licence: the licence of the copied weights, for the model card.

    Returns:
        The contents of parity.json, and the first differences: for float32 and int8 the share of equal translations, sentences
        per second and the size in bytes. {} for a gpt, which gets no int8 copy.

    Raises:
        ConfigError: if the model cannot be read or converted, or its float32 copy translates otherwise.
    """
    from inference.ctranslate2_backend import fingerprint, split

    folder = model_folder(model).resolve()
    spec = _spec(folder)
    if out is None and not spec.encoder_decoder:
        raise ConfigError(
            f"--model: a {spec.name} is served by transformers and needs no int8 copy; a folder to share is made with --out DIR"
        )
    if weights == "none" and not spec.encoder_decoder:
        raise ConfigError(f"--weights none: a {spec.name} has no int8 copy that could be served instead")
    if out is None and (weights != "float32" or shard_mb or licence):
        raise ConfigError("--weights, --shard_mb and --license are about the copied folder; say where with --out DIR")
    if out is not None and out.exists() and (not out.is_dir() or any(out.iterdir())) and not (out / "meta.json").is_file():
        raise ConfigError(f"--out: {out} is there and is no model folder; choose another")
    if out is not None and out.resolve() == folder:
        raise ConfigError(f"--out: {out} is the model itself; leave --out away to add the int8 copy to it")
    if out is not None and (out / "config.json").is_file() and _kind(out) != _kind(folder):
        raise ConfigError(f"--out: {out} holds another model ({_kind(out)}, where this is {_kind(folder)}); choose another, or remove it")
    lines = _lines(tests or list(PHRASEBOOK), sentences, columns) if spec.encoder_decoder else []
    place = folder if out is None else out.resolve()
    with replacing(place if out is not None else place / COPY) as made:
        made.mkdir(parents=True)
        copy = made / COPY if out is not None else made
        parity = _convert(folder, copy, lines) if spec.encoder_decoder else {}
        if out is not None:
            _copy(folder, made, weights, shard_mb)
            if parity and shard_mb:
                split(copy, int(shard_mb * 1e6))
            for name in OF_THE_RUN:
                if (file := home_of_model(folder) / name).is_file():
                    shutil.copy2(file, made / name)
            _name(made, place.name, licence)
        if parity:
            parity["weights"] = fingerprint(made if out is not None else folder)
            kept = {k: {n: v for n, v in t.items() if n != "differences"} if isinstance(t, dict) else t for k, t in parity.items()}
            (copy / PARITY_FILE).write_text(
                json.dumps(kept, indent=1) + "\n", encoding="utf-8"
            )  # without sentences, which belong to others
        if out is not None:
            _record_checksums(made)
            _keep_others(place, made)
    return parity


def _config(folder: Path) -> dict[str, Any]:
    """The contents of config.json. Raises ConfigError if it cannot be read."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        config = None
    if not isinstance(config, dict):
        raise ConfigError(f"--model: {folder / 'config.json'} cannot be read")
    return config


def _kind(folder: Path) -> str:
    """The name of the model's class in transformers, such as m2m_100."""
    return str(_config(folder).get("model_type"))


def _spec(folder: Path) -> TaskSpec:
    """The first task with models of this kind; models from elsewhere do not name theirs. Raises ConfigError if not convertible."""
    config = _config(folder)
    spec = next(spec for spec in TASKS.values() if spec.encoder_decoder == (config.get("is_encoder_decoder") is True))
    if spec.encoder_decoder and config.get("model_type") not in CONVERTIBLE:
        raise ConfigError(
            f"--model: {config.get('model_type')} models are not converted by CTranslate2 as they are made here; "
            f"{', '.join(CONVERTIBLE)} are"
        )
    return spec


def _lines(tests: list[str], most: int, columns: dict[str, str] | None) -> list[str]:
    """The sources of the first `most` pairs of each file, without duplicates."""
    sources = [r["source"] for test in tests for r in read_pairs(test, columns)[:most]]
    return list(dict.fromkeys(sources))


def _convert(folder: Path, place: Path, lines: list[str]) -> dict[str, Any]:
    """Write the int8 copy to `place` and compare it with the weights. Raises ConfigError if the conversion is wrong."""
    from ctranslate2.converters import TransformersConverter
    from transformers.utils import logging

    from training.scoring.translator import translator

    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    logging.disable_progress_bar()
    translate = translator(folder)
    say(phrases("commands", spoken())["comparing"].format(count=len(lines)))
    begin = time.monotonic()
    expected = translate(lines, 1)
    parity: dict[str, Any] = {"sentences": len(lines), "transformers": {"sentences_per_second": len(lines) / (time.monotonic() - begin)}}
    for kind in ("float32", "int8"):
        say(f"CTranslate2 {kind} …")
        try:
            TransformersConverter(str(folder)).convert(str(place), quantization=kind, force=True)
        except Exception as error:  # each loader fails in its own way
            raise ConfigError(f"--model: CTranslate2 cannot convert it: {' '.join(str(error).split())[:300]}") from None
        translate = translator(folder, place)
        begin = time.monotonic()
        translations = translate(lines, 1)
        seconds = time.monotonic() - begin
        differences = [{"source": s, "transformers": e, kind: t} for s, e, t in zip(lines, expected, translations) if e != t]
        parity[kind] = {
            "agree": 1 - len(differences) / len(lines), "sentences_per_second": len(lines) / seconds,
            "bytes": sum(p.stat().st_size for p in place.iterdir()), "differences": differences[:5],
        }  # fmt: skip
        if kind == "float32" and parity[kind]["agree"] < PARITY:
            shown = json.dumps(differences[0], ensure_ascii=False)
            raise ConfigError(
                f"only {parity[kind]['agree']:.1%} of {len(lines)} greedy translations by CTranslate2 in float32 are those of transformers "
                f"(at least {PARITY:.0%} wanted): something was converted wrongly, nothing is kept. The first difference: {shown}"
            )
    return parity


def _copy(folder: Path, place: Path, weights: Weights, shard_mb: float) -> None:
    """Copy the publishable files of a checkpoint. config.json keeps float32, so that loading widens float16 weights."""
    import torch

    from training.setup.checkpoint import FILES

    for name in FILES:
        if name != "model.safetensors" and (folder / name).is_file():
            shutil.copy2(folder / name, place / name)
    if weights == "none":
        return
    net = read_model(folder, _spec(folder).auto_class, dtype=torch.float32)
    if weights == "float16":
        net = net.to(torch.float16)
    saved = place / "weights"
    net.save_pretrained(saved, max_shard_size=f"{shard_mb}MB" if shard_mb else "1000GB")
    for file in saved.glob("*.safetensors*"):  # the weights, and the index if there are several files
        shutil.copymode(place / "meta.json", file)  # safetensors writes files that only their owner can read
        os.replace(file, place / file.name)
    shutil.rmtree(saved)


def _name(made: Path, name: str, licence: str) -> None:
    """Put the copy's own name into meta.json and, if there is the run's config to write it from, into the model card."""
    from training.loop.pages import model_card
    from training.settings.load import load_config

    meta = json.loads((made / "meta.json").read_text(encoding="utf-8"))
    meta["name"] = name
    if (made / "config.yaml").is_file():
        page = model_card(load_config(made / "config.yaml"), meta, licence)
        (made / "README.md").write_text(page, encoding="utf-8")
    (made / "meta.json").write_text(json.dumps(meta, ensure_ascii=False, indent=1), encoding="utf-8")


def _record_checksums(made: Path) -> None:
    """Put the checksums of the files that are here into meta.json; those of the checkpoint were of other files."""
    from training.setup.checkpoint import checksums

    meta = json.loads((made / "meta.json").read_text(encoding="utf-8"))
    (made / "meta.json").write_text(json.dumps({**meta, "sha256": checksums(made)}, ensure_ascii=False, indent=1), encoding="utf-8")


def _keep_others(place: Path, made: Path) -> None:
    """Copy the user's own files beside an earlier model in `place`, such as notes or .git, into the folder of the new one."""
    from training.setup.checkpoint import FILES

    for path in place.iterdir() if place.is_dir() else ():
        if path.name in (*FILES, *OF_THE_RUN, COPY) or path.name.startswith("model"):  # weights, in one file or several
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.copytree(path, made / path.name, symlinks=True)
        else:
            shutil.copy2(path, made / path.name, follow_symlinks=False)


def parity_table(parity: dict[str, Any]) -> str:
    """The result of `export_model` as a Markdown table."""
    words = phrases("commands", spoken())
    rows = [
        words["agreement"].format(count=parity["sentences"]), "",
        words["agreement_table"], "|---|---:|---:|---:|",
        f"| transformers, float32 | | {parity['transformers']['sentences_per_second']:.0f} | |",
    ]  # fmt: skip
    for kind in ("float32", "int8"):
        t = parity[kind]
        rows.append(f"| CTranslate2, {kind} | {t['agree']:.1%} | {t['sentences_per_second']:.0f} | {t['bytes'] / 1e6:.1f} |")
    if parity["int8"]["differences"]:
        rows.append("")
    for d in parity["int8"]["differences"][:3]:
        rows += [f"- {d['source']}", f"  float32: {d['transformers']}", f"  int8: {d['int8']}"]
    return "\n".join(rows)

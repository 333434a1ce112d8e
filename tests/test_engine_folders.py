"""serving/: model folders as they are found: unfinished, broken, deleted, written anew."""

from __future__ import annotations

import copy
import json
import os
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest
from serving_fixtures import (
    SENTENCE,
    endless_gpt,
    last,
    save,
    save_run,
    tiny_byte_gpt,
    tiny_gpt,
    tiny_translator,
)

from inference.engine import Engine
from inference.folders import ModelError, count_parameters, find_models

pytestmark = pytest.mark.usefixtures("one_thread")


def test_best_before_latest_and_stale_pointers(tmp_path: Path) -> None:
    run = save_run(tmp_path / "verses", tiny_gpt(), "gpt", best=9, latest=10)
    info, latest = find_models([tmp_path])
    assert (info.name, info.step, info.task) == ("verses", 9, "gpt")
    assert (latest.name, latest.step) == ("verses/latest", 10)  # listed too, where it is another one
    assert info.label == "verses · step 9 · 104k"
    (run / "best").unlink()
    assert [(m.name, m.step) for m in find_models([tmp_path])] == [("verses", 10)]
    (run / "latest").write_text("step-00000099\n")  # names nothing: the newest whole one is taken
    assert find_models([tmp_path])[0].step == 10
    (run / "checkpoints" / "step-00000010" / "meta.json").unlink()
    assert find_models([tmp_path])[0].step == 9
    assert find_models([run])[0].name == "verses"  # a root may be the run itself


def test_a_pointer_cannot_lead_out_of_the_run(tmp_path: Path) -> None:
    save(tmp_path / "elsewhere" / "secret", tiny_gpt(), "gpt")
    run = tmp_path / "runs" / "verses"
    (run / "checkpoints").mkdir(parents=True)
    for target in ("../../../elsewhere/secret", str(tmp_path / "elsewhere" / "secret"), "..", "", "\x00"):
        (run / "best").write_text(target)
        assert find_models([tmp_path / "runs"]) == []


def test_junk_and_incomplete_folders_are_passed_over(tmp_path: Path) -> None:
    save(tmp_path / "good", tiny_gpt(), "gpt")
    save(tmp_path / "incomplete", tiny_gpt(), "gpt", complete=False)
    for name, meta in (("list", "[]"), ("text", "{"), ("bytes", "\udcff"), ("deep", "[" * 100_000)):
        shutil.copytree(tmp_path / "good", tmp_path / name)
        (tmp_path / name / "meta.json").write_bytes(meta.encode("utf-8", "surrogateescape"))
    (tmp_path / "file").write_text("x")
    (tmp_path / "best").mkdir()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert [info.name for info in find_models([tmp_path, tmp_path / "missing", tmp_path / "file"])] == ["good"]


def test_odd_meta_is_survived_and_the_task_is_read_from_the_config(tmp_path: Path) -> None:
    folder = save(tmp_path / "phrases", tiny_translator(), "?")
    (folder / "meta.json").write_text(json.dumps({"step": "many", "examples": [1, "好" * 999, None]}))
    (info,) = find_models([tmp_path])
    assert (info.task, info.step, info.examples) == ("translation", None, ("好" * 200,))
    assert info.parameters == count_parameters(folder / "model.safetensors") == tiny_translator()[0].num_parameters()


def test_names_are_sorted_and_unique(tmp_path: Path) -> None:
    for name in ("runs/b10", "runs/b9", "models/b9", "models/a"):
        save(tmp_path / name, tiny_gpt(), "gpt")
    models = find_models([tmp_path / "runs", tmp_path / "models"])
    assert [info.name for info in models] == ["b9", "b10", "a", "models/b9"]


def test_a_deleted_folder_is_explained(tmp_path: Path) -> None:
    save(tmp_path / "a", tiny_gpt(), "gpt")
    save(tmp_path / "b", tiny_gpt(), "gpt")
    engine = Engine([tmp_path])
    assert last(engine, "", "b", temperature=0).text == SENTENCE
    stream = engine.generate("", "a")
    for name in "ab":
        shutil.rmtree(tmp_path / name)
    with pytest.raises(ModelError, match="could not be loaded"):
        list(stream)
    with pytest.raises(ModelError, match="no model to continue a text"):
        engine.generate("", "b")


def edit_config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_corrupt_folders_are_explained_and_can_be_mended(tmp_path: Path) -> None:
    good = save(tmp_path / "good", tiny_gpt(), "gpt")
    broken = {name: tmp_path / name for name in ("cut", "config", "tokenizer", "deeper", "pickle", "code", "nan")}
    for folder in broken.values():
        shutil.copytree(good, folder)
    weights = (good / "model.safetensors").read_bytes()
    (broken["cut"] / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    (broken["config"] / "config.json").write_text('{"model_type": "no_such_model"}')
    edit_config(broken["deeper"], n_layer=3)  # transformers alone would make up the third layer
    (broken["pickle"] / "model.safetensors").write_bytes(b"\x80\x04never unpickled.")
    edit_config(
        broken["code"],
        model_type="x",
        auto_map={"AutoModelForCausalLM": "evil.Model", "AutoConfig": "evil.C"},
    )
    (broken["code"] / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    save(broken["tokenizer"], (tiny_gpt()[0], tiny_byte_gpt()[1]), "gpt")
    engine = Engine([tmp_path])
    reasons = {"deeper": "weights do not fit", "tokenizer": "tokenizer does not fit"}
    for name in ("cut", "config", "deeper", "pickle", "code", "tokenizer"):
        with pytest.raises(ModelError, match=f"{name} could not be loaded: .*{reasons.get(name, 'damaged')}"):
            list(engine.generate("", name))
    assert not (tmp_path / "ran").exists()
    (broken["cut"] / "model.safetensors").write_bytes(weights)
    assert last(engine, "", "cut", temperature=0).text == SENTENCE


def test_numbers_that_are_not_finite_are_explained(tmp_path: Path) -> None:
    model = copy.deepcopy(tiny_gpt()[0])
    model.transformer.ln_f.weight.data.fill_(float("nan"))
    save(tmp_path / "nan", (model, tiny_gpt()[1]), "gpt")
    for temperature in (0, 1):
        with pytest.raises(ModelError, match="not finite"):
            list(Engine([tmp_path]).generate("", "nan", temperature=temperature))


def test_a_folder_written_anew_is_loaded_anew_and_few_are_kept(tmp_path: Path) -> None:
    save(tmp_path / "a", endless_gpt(), "gpt")
    engine = Engine([tmp_path], keep=1)
    assert last(engine, "", "a", max_new_tokens=2).ending == "length"
    save(tmp_path / "a", tiny_gpt(), "gpt")
    result = last(engine, "", "a", temperature=0)
    assert result.text == SENTENCE and result.load_seconds > 0
    save(tmp_path / "b", tiny_gpt(), "gpt")
    last(engine, "", "b", max_new_tokens=1)
    assert last(engine, "", "a", max_new_tokens=1).load_seconds > 0


# Files and numbers as others leave them


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_as_a_pointer_is_not_waited_for(tmp_path: Path) -> None:
    run = save_run(tmp_path / "run", tiny_gpt(), "gpt", best=1, latest=2)
    (run / "best").unlink()
    os.mkfifo(run / "best")
    found: list[Any] = []
    looking = threading.Thread(target=lambda: found.extend(find_models([tmp_path])), daemon=True)
    looking.start()
    looking.join(20)
    assert [info.path.name for info in found] == ["step-00000002"]


def test_a_broken_model_is_never_the_default(tmp_path: Path) -> None:
    save(tmp_path / "a", tiny_gpt(), "gpt")
    save(tmp_path / "b", tiny_gpt(), "gpt")
    weights = tmp_path / "a" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    engine = Engine([tmp_path])
    assert [info.name for info in engine.models("gpt")] == ["b", "a"]
    assert engine.find("gpt", None).name == engine.find("gpt", "").name == "b"

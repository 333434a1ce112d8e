"""A model folder's own code is never executed, whoever answers the questions that transformers asks."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from serving_fixtures import save, tiny_gpt

from training.base.pretrained import read_model

ROOT = Path(__file__).resolve().parents[1]
CODE = "import os, pathlib\npathlib.Path(os.environ['MARK']).touch()\n"


def test_there_is_one_way_in() -> None:
    for path in [p for top in ("training", "inference", "serving") for p in (ROOT / top).rglob("*.py")]:
        names = {node.attr for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Attribute)}
        assert "from_pretrained" not in names or path.name == "pretrained.py", path


def test_weights_in_a_pickle_are_not_read(tmp_path: Path) -> None:
    place = tmp_path / "model"
    save(place, tiny_gpt(), "gpt")
    assert read_model(place, "AutoModelForCausalLM")
    torch.save(load_file(place / "model.safetensors"), place / "pytorch_model.bin")
    (place / "model.safetensors").unlink()
    with pytest.raises(OSError):
        read_model(place, "AutoModelForCausalLM")


def test_code_in_a_folder_is_not_executed_by_any_command(tmp_path: Path) -> None:
    place = tmp_path / "model"
    save(place, tiny_gpt(), "gpt")
    config = json.loads((place / "config.json").read_text(encoding="utf-8"))
    config |= {
        "model_type": "mine",
        "auto_map": {name: "mine.Mine" for name in ("AutoConfig", "AutoModelForCausalLM", "AutoModelForSeq2SeqLM")},
    }
    (place / "config.json").write_text(json.dumps(config), encoding="utf-8")
    settings = json.loads((place / "tokenizer_config.json").read_text(encoding="utf-8"))
    settings["auto_map"] = {"AutoTokenizer": ["mine.Mine", "mine.Mine"]}
    (place / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    (place / "mine.py").write_text(CODE, encoding="utf-8")
    mark = tmp_path / "executed"
    (tmp_path / "a.jsonl").write_text('{"chinese": "好", "english": "good"}\n', encoding="utf-8")
    commands = [
        ["training/score.py", "--model", str(place), "--test", str(tmp_path / "a.jsonl")],
        ["training/export.py", "--model", str(place), "--out", str(tmp_path / "out")],
        ["-c", f"from inference.engine import Engine; next(iter(Engine([{str(tmp_path)!r}]).generate('好')))"],
    ]  # fmt: skip
    for command in commands:
        done = subprocess.run(
            [sys.executable, *command], cwd=ROOT, input="y\n" * 50, capture_output=True, text=True,
            env=os.environ | {"MARK": str(mark), "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        assert done.returncode != 0 and not mark.exists(), (command, done.stdout, done.stderr)

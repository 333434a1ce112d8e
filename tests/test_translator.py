"""training/scoring/translator.py: the model behind score, scoreboard, translate and export, and what it says of folders that hold none."""

from __future__ import annotations

import functools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from serving_fixtures import PAIRS, save, tiny_gpt, tiny_translator

from training import export, score, scoreboard, translate
from training.base.errors import ConfigError
from training.scoring import scores, systems, texts
from training.scoring.translator import translator

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder with its int8 copy."""
    folder = save(tmp_path_factory.mktemp("models") / "tiny", tiny_translator(), "translation")
    assert export.main(["--model", str(folder)]) == 0
    return folder


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps({"chinese": z, "english": e}) + "\n" for z, e in PAIRS.items()), encoding="utf-8")
    return path


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


DAMAGED: list[tuple[str, Callable[[Path], object]]] = [
    ("holds no whole translation model", lambda folder: cut(folder / "model.safetensors")),
    ("holds no whole translation model", lambda folder: cut(folder / "tokenizer.json")),
    ("has no tokenizer.json", lambda folder: (folder / "tokenizer.json").unlink()),
]


@pytest.mark.parametrize(("told", "damage"), DAMAGED)
def test_a_damaged_model_is_one_line(told: str, damage: Callable[[Path], object], model: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(model, tmp_path / "m")
    damage(folder)
    with pytest.raises(ConfigError, match=f"--model: .*{told}"):
        translator(folder)


def test_a_damaged_copy_and_a_gpt_are_called_that(model: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(model, tmp_path / "m")
    cut(folder / "ctranslate2/model.bin")
    with pytest.raises(ConfigError, match=r"the copy .*ctranslate2 is damaged .*training/export\.py makes it anew"):
        translator(folder, folder / "ctranslate2")
    with pytest.raises(ConfigError, match="is no translation model but a gpt2, which goes on with a text"):
        translator(save(tmp_path / "gpt", tiny_gpt(), "gpt"))


def test_a_copy_without_weights_is_enough(model: Path, pairs: Path, tmp_path: Path) -> None:
    assert export.main(["--model", str(model), "--out", str(tmp_path / "light"), "--weights", "none"]) == 0
    (record,), _ = scores.score(tmp_path / "light", [str(pairs)])
    assert record["bleu"] == pytest.approx(100)


def test_that_a_line_is_too_long_is_said_once(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = translator(model)
    for _ in range(2):
        assert run(["今天天气很好。", "今天天气很好。" * 30], 1)[0] == PAIRS["今天天气很好。"]
    said = capsys.readouterr().err
    assert said.count("is longer than the model's 48") == 1


@pytest.mark.parametrize("out", ["{here}", "{here}/no/such/out", "{locked}/out"])
def test_where_nothing_can_be_written_is_told_before_the_computing(
    out: str, model: Path, pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "locked").mkdir()
    real = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: "locked" not in str(path) and real(path, mode))  # whoever runs the tests
    place = out.format(here=tmp_path, locked=tmp_path / "locked")
    commands = (
        (score, scores, ["--test", str(pairs)]),
        (translate, texts, ["--text", str(pairs)]),
        (scoreboard, systems, ["--test", str(pairs)]),
    )
    for command, computes, rest in commands:
        if command is scoreboard and "no/such" in place:
            continue  # which makes its folders
        monkeypatch.setattr(computes, "translator", lambda *_: pytest.fail("it computes"))
        where = "--models" if command is scoreboard else "--model"
        assert command.main([where, str(model), *rest, "--out", place]) == 2
        assert "error: --out: " in capsys.readouterr().err


def test_ctrl_c_is_one_word_and_leaves_nothing(model: Path, tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("\n".join(list(PAIRS) * 20_000), encoding="utf-8")
    command = [sys.executable, "training/translate.py", "--model", str(model), "--text", str(tmp_path / "t.txt")]
    out = tmp_path / "out.jsonl"
    at_a_terminal = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # shells let background commands ignore it
    process = subprocess.Popen([*command, "--out", str(out)], cwd=ROOT, stderr=subprocess.PIPE, text=True, preexec_fn=at_a_terminal)
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob(".tmp-*")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    assert process.stderr and "Traceback" not in (said := process.stderr.read()) and said.endswith("stopped\n")
    assert process.wait() == 130 and not out.exists() and not list(tmp_path.glob(".tmp-*"))

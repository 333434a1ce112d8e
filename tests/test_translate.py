"""training/translate.py: a file of texts becomes rows that can be trained on. `pytest tests/test_translate.py`"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from serving_fixtures import PAIRS, save_run, tiny_translator
from transformers import AutoModelForSeq2SeqLM

from inference.ctranslate2_backend import fingerprint
from training import export
from training.scoring import texts as scoring_texts
from training.scoring import translator
from training.scoring.test_sets import model_folder
from training.translate import main


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    save_run(folder, tiny_translator(), "translation", best=100, latest=200)
    return folder


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_every_text_has_its_translation_in_the_files_order(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    texts, out = tmp_path / "飞 鸟.txt", tmp_path / "out.jsonl"
    texts.write_text("\r\n".join([*PAIRS, "", *reversed(PAIRS)]), encoding="utf-8")
    assert main(["--model", str(run), "--text", str(texts), "--out", str(out)]) == 0
    wanted = [{"chinese": z, "english": e} for z, e in PAIRS.items()]
    assert rows(out) == [*wanted, *reversed(wanted)] and f"{2 * len(PAIRS)} → {out}" in capsys.readouterr().out
    assert main(["--model", str(run), "--text", str(texts), "--out", str(out)]) == 2  # nothing is written over
    assert "is there already" in capsys.readouterr().err


def test_texts_go_through_in_pieces_and_the_file_has_its_name_when_it_is_whole(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(translator, "CHUNK", 2)
    texts, out, seen = tmp_path / "t.txt", tmp_path / "out.jsonl", list[bool]()
    texts.write_text("\n".join([*PAIRS, *PAIRS]), encoding="utf-8")
    (tmp_path / "out.jsonl.tmp").write_text("somebody's own")
    inner = translator.translator(model_folder(run))

    def watched(lines: list[str], beams: int) -> list[str]:
        seen.append(out.exists())
        return inner(lines, beams)

    monkeypatch.setattr(scoring_texts, "translator", lambda *_: watched)
    assert main(["--model", str(run), "--text", str(texts), "--out", str(out)]) == 0
    assert [(row["chinese"], row["english"]) for row in rows(out)] == [*PAIRS.items(), *PAIRS.items()] and seen == [False] * 3
    assert {p.name for p in tmp_path.iterdir()} >= {"out.jsonl", "out.jsonl.tmp"} and not list(tmp_path.glob(".tmp*"))
    assert (tmp_path / "out.jsonl.tmp").read_text() == "somebody's own"


def test_the_copy_translates_unless_it_is_of_other_weights(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = shutil.copytree(model_folder(run), tmp_path / "tiny")
    texts = tmp_path / "t.txt"
    texts.write_text("\n".join(PAIRS), encoding="utf-8")
    assert export.main(["--model", str(folder)]) == 0
    net = AutoModelForSeq2SeqLM.from_pretrained(folder)
    with torch.no_grad():
        net.model.shared.weight.zero_()
    net.save_pretrained(folder)  # the weights say nothing any more
    told = folder / "ctranslate2/parity.json"
    (tmp_path / "old.json").write_bytes(told.read_bytes())
    told.write_text(json.dumps({**json.loads(told.read_text()), "weights": fingerprint(folder)}))  # as if the copy were of these

    def english(name: str, *more: str) -> list[str]:
        assert main(["--model", str(folder), "--text", str(texts), "--out", str(tmp_path / name), *more]) == 0
        return [row["english"] for row in rows(tmp_path / name)]

    assert english("a.jsonl") == list(PAIRS.values()) and english("b.jsonl", "--int8", "false") == ["", "", ""]
    capsys.readouterr()
    told.write_bytes((tmp_path / "old.json").read_bytes())
    assert english("c.jsonl") == ["", "", ""] and "was made from other weights" in capsys.readouterr().err


def test_rows_are_chosen_by_their_columns(run: Path, tmp_path: Path) -> None:
    first, second = list(PAIRS)[:2]
    told = [{"zh": first, "source": "a"}, {"zh": second, "source": "b"}, {"source": "b"}]
    (tmp_path / "x.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in told), "utf-8")
    more = ["--column", "zh", "--where", "{source: b}"]
    assert main(["--model", str(run), "--text", str(tmp_path / "x.jsonl"), "--out", str(tmp_path / "o.jsonl"), *more]) == 0
    assert rows(tmp_path / "o.jsonl") == [{"chinese": second, "english": PAIRS[second]}]


def test_texts_that_are_english_are_the_english_side(run: Path, tmp_path: Path) -> None:
    (tmp_path / "en.txt").write_text("We are here.\nI am there.\n", "utf-8")
    assert main(["--model", str(run), "--text", str(tmp_path / "en.txt"), "--out", str(tmp_path / "o.jsonl")]) == 0
    assert [list(row) for row in rows(tmp_path / "o.jsonl")] == [["english", "chinese"]] * 2


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--text", "nowhere.txt"], "nowhere.txt"),
        (["--text", "data/verses.jsonl", "--column", "chines"], "--text: no usable text"),
        (["--text", "data/sentence.txt", "--model", "runs/nowhere"], "--model: runs/nowhere holds no model"),
        (["--text", "data/sentence.txt", "--beams", "0"], "beams"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_no_file(
    more: list[str], told: str, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--model", str(run), "--out", str(tmp_path / "o.jsonl"), *more]) == 2
    err = capsys.readouterr().err
    assert told in err and "Traceback" not in err and not list(tmp_path.iterdir())

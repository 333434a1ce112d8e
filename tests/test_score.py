"""training/score.py: what a stranger relies on when they quote a BLEU."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path

import pytest
import sacrebleu
import torch
from ctranslate2.converters import TransformersConverter
from serving_fixtures import PAIRS, save_run, tiny_gpt, tiny_translator
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from training import export
from training.base.errors import ConfigError
from training.score import main
from training.scoring import scores
from training.scoring.scores import score
from training.scoring.test_sets import model_folder
from training.scoring.translator import translator


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    save_run(folder, tiny_translator(), "translation", best=100, latest=200)
    return folder


def write_pairs(path: Path, pairs: dict[str, str]) -> Path:
    path.write_text(
        "".join(json.dumps({"chinese": z, "english": e}, ensure_ascii=False) + "\n" for z, e in pairs.items()), encoding="utf-8"
    )
    return path


def test_known_sentences_score_100_and_altered_references_what_sacrebleu_says(run: Path, tmp_path: Path) -> None:
    right = write_pairs(tmp_path / "right.jsonl", PAIRS)
    other = {z: e.replace(".", " today!") for z, e in PAIRS.items()}
    wrong = write_pairs(tmp_path / "wrong.jsonl", other)
    records, lines = score(run, [str(right), str(wrong)])
    assert records[0]["bleu"] == pytest.approx(100) and records[0]["pairs"] == len(PAIRS)
    expected = sacrebleu.corpus_bleu(list(PAIRS.values()), [list(other.values())])
    assert records[1]["bleu"] == pytest.approx(expected.score) and records[1]["bleu"] < 90
    assert "tok:13a" in records[1]["bleu_signature"]
    assert [line["source"] for line in lines] == [*PAIRS, *PAIRS]  # in the file's order, both sets
    assert lines[0] == {"source": next(iter(PAIRS)), "hyp": PAIRS[next(iter(PAIRS))], "ref": PAIRS[next(iter(PAIRS))]}


def test_the_command_prints_a_signed_table_and_writes_the_sentences(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    test, out = write_pairs(tmp_path / "t.jsonl", PAIRS), tmp_path / "hyps.jsonl"
    assert main(["--model", str(run), "--test", str(test), "--out", str(out), "--beams", "2"]) == 0
    said = capsys.readouterr().out
    assert "| t | 3 | 100.00 | 100.00 |" in said and "tok:13a" in said
    assert [set(json.loads(line)) for line in out.read_text(encoding="utf-8").splitlines()] == [{"source", "hyp", "ref"}] * 3


def test_an_unknown_word_is_scored_as_it_stands(run: Path, tmp_path: Path) -> None:
    """Taken out, `I <unk> you.` would look like a translation that lacks a word and no more."""
    folder = shutil.copytree(model_folder(run), tmp_path / "unsure")
    tokenizer, net = AutoTokenizer.from_pretrained(folder), AutoModelForSeq2SeqLM.from_pretrained(folder)
    love = tokenizer("I love you.")["input_ids"][1]
    with torch.no_grad():  # it writes <unk> wherever it wrote that token
        weight = net.model.shared.weight
        weight[[love, tokenizer.unk_token_id]] = weight[[tokenizer.unk_token_id, love]]
    net.save_pretrained(folder)
    assert export.main(["--model", str(folder), "--test", str(write_pairs(tmp_path / "t.jsonl", PAIRS))]) == 0
    said = PAIRS["我爱你。"].replace(tokenizer.decode([love]), "<unk>")
    for place in (None, folder / "ctranslate2"):
        assert translator(folder, place)(["我爱你。"], 1) == [said] and "<unk>" in said
    (record,), (line, *_) = score(folder, [str(tmp_path / "t.jsonl")])
    assert line["hyp"] == said and record["bleu"] < 90


def test_a_run_is_scored_at_its_best_checkpoint(run: Path, tmp_path: Path) -> None:
    latest = shutil.copytree(run, tmp_path / "run") / "checkpoints/step-00000200"
    net = AutoModelForSeq2SeqLM.from_pretrained(latest)
    with torch.no_grad():
        net.model.shared.weight.normal_(generator=torch.Generator().manual_seed(0))
    net.save_pretrained(latest)
    test = str(write_pairs(tmp_path / "t.jsonl", PAIRS))
    assert score(tmp_path / "run", [test])[0][0]["bleu"] == pytest.approx(100) and score(latest, [test])[0][0]["bleu"] < 50


def test_beams_are_searched_by_the_weights_and_by_the_copy(tmp_path: Path) -> None:
    """An unsure model's likeliest first word is to say nothing at all, which is not its likeliest sentence."""
    net, tokenizer = copy.deepcopy(tiny_translator())
    dice = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in net.parameters():
            p.add_(0.75 * p.std().nan_to_num() * torch.randn(p.shape, generator=dice))
    folder = save_run(tmp_path / "runs/unsure", (net, tokenizer), "translation", 1, 1) / "checkpoints/step-00000001"
    TransformersConverter(str(folder)).convert(str(folder / "ctranslate2"))
    weights, converted = translator(folder), translator(folder, folder / "ctranslate2")
    assert weights(list(PAIRS), 1) == converted(list(PAIRS), 1) == ["", "", ""]  # which CTranslate2 would avoid if it were let
    assert weights(list(PAIRS), 4) == converted(list(PAIRS), 4) != ["", "", ""]


def test_the_commands_beams_are_searched(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(scores, "translator", lambda *_: lambda lines, beams: asked.append(beams) or lines)
    test = tmp_path / "t.jsonl"
    test.write_text(json.dumps({"chinese": "一", "english": "one"}) + "\n", encoding="utf-8")
    assert main(["--model", str(run), "--test", str(test), "--beams", "3"]) == 0 and asked == [3]


def test_columns_and_the_language_of_the_references(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text("".join(json.dumps({"zh": z, "en": e}) + "\n" for z, e in PAIRS.items()), encoding="utf-8")
    assert main(["--model", str(run), "--test", str(path), "--columns", "{source: zh, target: en}"]) == 0
    assert "| t | 3 | 100.00 | 100.00 |" in capsys.readouterr().out
    (record,), _ = score(run, [str(path)], columns={"source": "en", "target": "zh"})
    assert "tok:zh" in record["bleu_signature"]


def test_a_pointer_does_not_lead_out_of_the_run(run: Path, tmp_path: Path) -> None:
    (tmp_path / "best").write_text(str(run / "checkpoints" / "step-00000100"), encoding="utf-8")
    with pytest.raises(ConfigError, match="must hold the name of a folder"):
        model_folder(tmp_path)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--model", "nowhere", "--test", "{good}"], "nowhere holds no model"),
        (["--model", "{run}", "--test", "missing.jsonl"], "no file matches missing.jsonl"),
        (["--model", "{run}", "--test", "{empty}"], "has no usable pair; say which columns to read with --columns"),
        (["--model", "{run}", "--test", "{table}"], "otherwise say which columns to read in --columns"),
        (["--model", "{gpt}", "--test", "{good}", "missing.jsonl"], "no file matches missing.jsonl"),
        (["--model", "{gpt}", "--test", "{good}"], "is no translation model"),
        (["--model", "{run}", "--test", "{good}", "--beams", "0"], "beams"),
        (["--model", "{run}", "--test", "{good}", "--columns", "{{sauce: zh}}"], "no column is called sauce"),
        (["--modell", "{run}"], "--model"),
    ],
)
def test_mistakes_are_one_line_and_exit_2(
    run: Path, tmp_path: Path, options: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty.jsonl").write_text("{}\n", encoding="utf-8")
    save_run(tmp_path / "gpt", tiny_gpt(), "gpt", best=1, latest=1)
    (tmp_path / "table.csv").write_text("zh,en\n好,good\n", encoding="utf-8")
    places = {
        "run": run,
        "table": tmp_path / "table.csv",
        "good": write_pairs(tmp_path / "good.jsonl", PAIRS),
        "empty": tmp_path / "empty.jsonl",
        "gpt": tmp_path / "gpt",
    }
    assert main([o.format(**places) for o in options]) == 2
    err = capsys.readouterr().err
    assert says in err and "Traceback" not in err
    assert err.strip().splitlines()[-1].startswith("error: ")

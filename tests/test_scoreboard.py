"""training/scoreboard.py: every system as it is served, against the references of the file, the same numbers twice."""

from __future__ import annotations

import copy
import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
import sacrebleu
import torch
from serving_fixtures import PAIRS, SENTENCE, save, tiny_gpt, tiny_translator
from tokenizers.processors import TemplateProcessing
from training_runs import gpt_config, records, run_here
from transformers import AutoModelForSeq2SeqLM

from inference.ctranslate2_backend import fingerprint
from training import export
from training.scoreboard import main
from training.scoring import systems, writers
from training.scoring.board import by_length, scores, to_read
from training.scoring.systems import Outputs, System
from training.scoring.writers import Written


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with its int8 copy."""
    root = tmp_path_factory.mktemp("models")
    save(root / "good", tiny_translator(), "translation")
    test = root / "pairs.jsonl"
    test.write_text("".join(json.dumps({"chinese": z, "english": e}) + "\n" for z, e in PAIRS.items()), encoding="utf-8")
    assert export.main(["--model", str(root / "good"), "--test", str(test)]) == 0
    return root


@pytest.fixture
def test_set(tmp_path: Path) -> Path:
    """Thirty pairs whose references are not quite what the model says."""
    path = tmp_path / "dev-tiny.jsonl"
    rows = [(z, e.replace(".", " | <b>") if k % 3 == 0 else e) for k, (z, e) in enumerate(list(PAIRS.items()) * 10)]
    path.write_text("".join(json.dumps({"chinese": z, "english": e}) + "\n" for z, e in rows), encoding="utf-8")
    return path


def test_weights_and_copy_are_scored_with_intervals_and_twice_the_same(models: Path, test_set: Path, tmp_path: Path) -> None:
    for name in ("first", "second"):
        assert (
            main(
                [
                    "--models",
                    str(models),
                    "--test",
                    str(test_set),
                    "--out",
                    str(tmp_path / f"{name}.md"),
                    "--sentences",
                    str(tmp_path / "read.md"),
                ]
            )
            == 0
        )
    page = (tmp_path / "first.md").read_text(encoding="utf-8")
    assert page == (tmp_path / "second.md").read_text(encoding="utf-8")
    rows = [json.loads(line) for line in test_set.read_text(encoding="utf-8").splitlines()]
    expected = sacrebleu.corpus_bleu([PAIRS[r["chinese"]] for r in rows], [[r["english"] for r in rows]]).score
    for system in ("good", "good, int8"):
        found = re.search(rf"\| {system} \| ([\d.]+) ± ([\d.]+) \|", page)
        assert found and float(found[1]) == pytest.approx(expected, abs=0.01) and float(found[2]) > 0
    sizes = {n: sum(p.stat().st_size for p in f) for n, f in {
        "good": models.glob("good/*.safetensors"), "good, int8": models.glob("good/ctranslate2/*")}.items()}  # fmt: skip
    parameters = re.search(r"\| good \| ([\d,]+) \|", page)
    assert parameters and all(f"| {name} | {parameters[1]} | {size / 1e6:.1f} |" in page for name, size in sizes.items())
    speed = (tmp_path / "first_speed.md").read_text(encoding="utf-8")
    assert all(re.search(rf"\| {system} \| [1-9]\d* \|", speed) for system in sizes) and "threads" in speed
    assert "## dev-tiny, 30 pairs" in page and "tok:13a" in page
    assert "| good, int8 against good | +0.00 | 1.000 |" in page
    assert f"| good | {expected:.1f} (30) |" in page  # all sources are short


def test_another_system_is_compared_and_what_it_wrote_can_be_read(models: Path, test_set: Path, tmp_path: Path) -> None:
    shutil.copytree(models / "good", tmp_path / "models/good", ignore=shutil.ignore_patterns("ctranslate2"))
    bad = shutil.copytree(tmp_path / "models/good", tmp_path / "models/mute")
    generation = json.loads((bad / "generation_config.json").read_text())
    (bad / "generation_config.json").write_text(json.dumps({**generation, "forced_bos_token_id": 2}))  # it ends before it begins
    told = ["--out", str(tmp_path / "board.md"), "--sentences", str(tmp_path / "new/read.md")]
    assert main(["--models", str(tmp_path / "models"), "--test", str(test_set), *told]) == 0
    page = (tmp_path / "board.md").read_text(encoding="utf-8")
    assert "| mute | 0.00 ± 0.00 | 0.00 ± 0.00 | 0.00 | 0.0% | 100.0% |" in page
    difference, p = re.findall(r"\| mute against good \| (-[\d.]+) \| ([\d.]+) \|", page)[0]
    assert float(difference) < -20 and float(p) < 0.01
    read = (tmp_path / "new/read.md").read_text(encoding="utf-8")
    assert read.count("\n## ") == 4 and "我爱你。 | I love you. | I love you \\| &lt;b&gt; |" in read and "<b>" not in read


def outputs(sources: list[str], hyps: list[str], references: list[str]) -> Outputs:
    rows = [{"source": s, "target": r} for s, r in zip(sources, references)]
    return Outputs(System("made up", Path(), None, None, 0, 1), "t", rows, hyps, 1.0)


def test_a_system_translates_with_its_own_number_of_beams(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[int] = []
    monkeypatch.setattr(systems, "translator", lambda *_: lambda lines, beams: asked.append(beams) or lines)
    made = systems.translated([System(f"s{n}", tmp_path, None, 1, 1, n) for n in (1, 4)], {"t": [{"source": "一", "target": "one"}]})
    assert asked == [1, 4] and [o.hyps for o in made] == [["一"], ["一"]]


def test_classes_of_length_are_scored_apart() -> None:
    """Up to ten characters, whitespace aside, up to twenty, up to forty, longer; a class of fewer than twenty says too little."""
    good, bad = "the birds of summer come to my window", "x y z"
    sources = [*["鸟" * 9 + " 鸟"] * 20, *["鸟" * 11, "鸟" * 20] * 10, *["鸟" * 21, "鸟" * 40] * 20, *["鸟" * 41] * 19]
    hyps = [*[good] * 20, *[bad] * 20, *[good, bad] * 20, *[good] * 19]
    first, second, third, fourth = by_length(outputs(sources, hyps, [good] * len(sources)))
    assert first and second and third and fourth is None
    assert (first[0], second[0], third[0]) == (20, 20, 40)
    assert first[1] == pytest.approx(100) and second[1] < 1 < third[1] < 99


def test_intervals_copies_and_the_worst() -> None:
    references = [f"the {k} birds of summer come to window {k % 3}" for k in range(40)]
    hyps = [r if k % 2 else r.replace("birds", "bird") for k, r in enumerate(references)]
    sources = ["鸟"] * 40
    hyps[7], sources[8] = "nothing like it", hyps[8]
    o = outputs(sources, hyps, references)
    found = scores(o)
    for name, metric in (("bleu", sacrebleu.BLEU()), ("chrf", sacrebleu.CHRF())):
        wanted = metric.corpus_score(hyps, [references], n_bootstrap=1000)
        assert found[name] == pytest.approx(wanted.score) and found[f"{name}_interval"] == pytest.approx(wanted._ci)
    assert found["copied_share"] == 1 / 40
    first = next(line for line in to_read([o], []).split("the worst")[1].splitlines() if "鸟 |" in line)
    assert "nothing like it" in first
    assert to_read([o], []) == to_read([o], []), "the same twenty at random"


def changed(folder: Path, fresh: bool) -> Path:
    """Its weights say nothing any more; `fresh`: and its copy passes for one of these weights."""
    net = AutoModelForSeq2SeqLM.from_pretrained(folder)
    with torch.no_grad():
        net.model.shared.weight.zero_()
    net.save_pretrained(folder)
    (folder / "notes.bin").write_bytes(bytes(400_000))  # nothing that has to be loaded
    told = folder / "ctranslate2/parity.json"
    if fresh:
        told.write_text(json.dumps({**json.loads(told.read_text()), "weights": fingerprint(folder)}))
    return folder


def test_a_copy_is_scored_by_itself_and_not_for_other_weights(models: Path, test_set: Path, tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    for name, fresh in (("fresh", True), ("stale", False)):
        changed(shutil.copytree(models / "good", tmp_path / "m" / name), fresh)
    broken = shutil.copytree(models / "good", tmp_path / "m/broken", ignore=shutil.ignore_patterns("ctranslate2"))
    (broken / "model.safetensors").write_bytes((broken / "model.safetensors").read_bytes()[:100_000])
    told = ["--out", str(tmp_path / "board.md"), "--sentences", str(tmp_path / "read.md"), "--beams", "1", "4"]
    assert main(["--models", str(tmp_path / "m"), "--test", str(test_set), *told]) == 0  # the broken one is left out
    page = (tmp_path / "board.md").read_text(encoding="utf-8")
    bleu = {name: float(value) for name, value in re.findall(r"^\| ([\w, ]+) \| ([\d.]+) ±", page, re.M)}
    assert bleu.keys() == {"fresh", "fresh, int8", "fresh, int8, 4 beams", "stale", "stale, 4 beams"}
    assert all((value > 50) == ("int8" in name) for name, value in bleu.items())
    size = re.search(r"\| fresh \| [\d,]+ \| ([\d.]+) \|", page)
    assert size and float(size[1]) == pytest.approx((tmp_path / "m/fresh/model.safetensors").stat().st_size / 1e6, abs=0.06)
    assert " --beams 1 4`" in page


def test_the_page_says_a_command_that_makes_it_again(models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    test = tmp_path / "news.2017.jsonl"
    test.write_text("".join(json.dumps({"zh": z, "en": e}) + "\n" for z, e in PAIRS.items()), encoding="utf-8")
    other = shutil.copy(test, tmp_path / "news.2018.jsonl")
    told = ["--out", str(tmp_path / "board.md"), "--sentences", str(tmp_path / "read.md")]
    given = ["--models", str(models), "--test", str(test), str(other), "--columns", "{source: zh, target: en}"]
    assert main([*given, *told]) == 0
    page = (tmp_path / "board.md").read_text(encoding="utf-8")
    command = re.search(r"`python training/scoreboard.py (.+?)`", page)
    assert command and "## news.2017, 3 pairs" in page and "## news.2018, 3 pairs" in page
    assert main([*shlex.split(command[1]), *told]) == 0 and (tmp_path / "board.md").read_text(encoding="utf-8") == page
    (tmp_path / "again").mkdir()
    twice = shutil.copy(test, tmp_path / "again/news.2017.jsonl")
    capsys.readouterr()
    assert main(["--models", str(models), "--test", str(test), str(twice), *given[-2:], *told]) == 2
    assert "two test sets are called news.2017" in capsys.readouterr().err


def test_models_that_write_are_scored_on_what_they_were_not_trained_on(tmp_path: Path, test_set: Path) -> None:
    """As their run did it; and by their samples alone where the corpus is gone."""
    result = run_here(gpt_config(tmp_path, train={"max_steps": 8}, evaluation={"every_steps": 4}))
    save(tmp_path / "runs/lost", tiny_gpt(), "gpt")
    told = ["--out", str(tmp_path / "board.md"), "--sentences", str(tmp_path / "read.md")]
    assert main(["--models", str(result.run_dir), str(tmp_path / "runs/lost"), "--test", str(test_set), *told]) == 0
    page = (tmp_path / "board.md").read_text(encoding="utf-8")
    best = min(r["bits_per_character"] for r in records(result.run_dir) if r["event"] == "evaluate")
    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in page.splitlines()
        if len(line.split("|")) == 12 and re.search(r"\| (0\.7|1\.0) \|", line)
    ]
    assert len(rows) == 4 and {r[3] for r in rows} == {f"{best:.3f}", "–"}
    lost = [r for r in rows if r[0] == "lost"]
    assert [r[4] for r in lost] == ["0.7", "1.0"] and all(r[8:] == ["–", "–"] for r in lost)
    assert page.count(": the first sample | 0.7 | 1.0 |") == 2 and page.count("\n| 明月 | ") == 2
    read = (tmp_path / "read.md").read_text(encoding="utf-8")
    assert read.count("[明月]") == 2 * 2 * 4 and "## lost, temperature 0.7" in read


def test_temperatures_differ_and_what_is_copied_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that knows one sentence of its corpus by heart: without dice its four samples are the same, and stand in the text."""
    path = gpt_config(tmp_path)
    lines = [SENTENCE + SENTENCE[k:j] for k in range(9) for j in range(k + 4, 18, 2)]
    (tmp_path / "verses.jsonl").write_text("".join(json.dumps({"chinese": x}) + "\n" for x in lines), encoding="utf-8")
    net, tokenizer = copy.deepcopy(tiny_gpt())
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single="<eos> $A", special_tokens=[("<eos>", 0)])
    model = save(tmp_path / "models/heart", (net, tokenizer), "gpt")
    shutil.copy(path, model / "config.yaml")
    monkeypatch.setattr(writers, "PROMPTS", ("夏天",))
    monkeypatch.setattr(writers, "TEMPERATURES", (0.0, 3.0))
    (cold, found, samples), (hot, others, wild) = writers.measured(model)
    assert (cold, hot) == (0.0, 3.0) and len({s["text"] for s in samples}) == 1 < len({s["text"] for s in wild})
    assert found["copied_share"] == 1 > others["copied_share"] and found["bits_per_character"] == others["bits_per_character"]
    page = writers.board([Written("heart", 1, 1, 0.0, found, samples)])
    assert any("| 100% | 18 |" in line for line in page)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--models", "docs"], "no model"),
        (["--test", "nowhere.jsonl"], "nowhere.jsonl"),
        ([], "test"),
        (["--out", "docs"], "docs is a folder"),
        (["--out", "README.md", "--sentences", "README.md"], "choose another name"),
    ],
)
def test_mistakes_are_one_line(options: list[str], told: str, models: Path, test_set: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = {"--models": str(models), "--test": str(test_set), **dict(zip(options[::2], options[1::2]))}
    argv = [word for pair in given.items() for word in pair] if options else []
    assert main(argv) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ") and told in err and err.count("\n") == 1

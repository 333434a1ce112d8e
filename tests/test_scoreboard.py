"""training/scoreboard.py: every system as it is served, against the references of the file, the same numbers twice."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import sacrebleu
from serving_fixtures import PAIRS, save, tiny_gpt, tiny_translator
from training_runs import gpt_config, records, run_here

from training import export
from training.scoreboard import main


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


@pytest.mark.parametrize(
    ("options", "told"), [(["--models", "docs"], "no model"), (["--test", "nowhere.jsonl"], "nowhere.jsonl"), ([], "test")]
)
def test_mistakes_are_one_line(options: list[str], told: str, models: Path, test_set: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = {"--models": str(models), "--test": str(test_set), **dict(zip(options[::2], options[1::2]))}
    argv = [word for pair in given.items() for word in pair] if options else []
    assert main(argv) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ") and told in err and err.count("\n") == 1

"""training.doctor as a user meets it: its words in both languages, the command, and damaged folders."""

from __future__ import annotations

import io
import json
import math
import os
import random
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from doctor_recordings import BROKEN, CHANGED, FALLING, HEALTHY, ROOT, RUNS, changed, config_of, ended, losses, one, places, predicted

from training.base.console import print_result
from training.base.errors import ConfigError
from training.base.words import LANGUAGES, phrases
from training.diagnosis import verdicts_training
from training.diagnosis.diagnose import as_json, diagnose, judge, verdict_lines
from training.diagnosis.finding import Finding
from training.diagnosis.run_records import read_metrics, read_run
from training.doctor import main

# ---- words


def test_both_languages_say_the_same_things():
    english, chinese = phrases("doctor", "en"), phrases("doctor", "zh")
    assert list(english) == list(chinese)
    for name in english:
        assert set(english[name]) == set(chinese[name]) == {"text", "try"}, name
        both = [places(words[name]["text"] + words[name]["try"]) for words in (english, chinese)]
        assert both[0] == both[1], name
        assert not set("，。；：？") & set(english[name]["text"] + english[name]["try"]), name
        assert "。" in chinese[name]["text"], name


@pytest.mark.parametrize("name", [*BROKEN, *HEALTHY, *CHANGED])
def test_every_verdict_can_be_said(name, tmp_path):
    folder = changed(name, tmp_path) if name in CHANGED else RUNS / name
    for language in LANGUAGES:
        text = "\n".join(verdict_lines(diagnose(folder, config_of(name)), language))
        assert text and not {"{", "}"} & set(text.replace("…", "")) and "None" not in text, text


# ---- the command


def test_the_command_prints_lines_or_one_object(capsys):
    assert main([str(RUNS / "overfitting"), "--lang", "en"]) == 0
    assert "overfitting begins about step" in capsys.readouterr().out
    assert main([str(RUNS / "overfitting"), "--lang", "zh"]) == 0
    assert "开始过拟合" in capsys.readouterr().out
    assert main([str(RUNS / "overfitting"), "--json", "true", "--lang", "zh"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert set(printed) == {"run", "verdicts"} and printed["run"] == str(RUNS / "overfitting")
    first = printed["verdicts"][0]
    assert set(first) == {"id", "severity", "text", "evidence", "try", "source"}
    assert first["id"] == "overfitting" and "过拟合" in first["text"]


def test_the_locale_chooses_the_language(monkeypatch, capsys):
    monkeypatch.setenv("LC_ALL", "zh_CN.UTF-8")
    assert main([str(RUNS / "healthy_sentence")]) == 0
    assert "没有发现问题" in capsys.readouterr().out
    assert main([str(RUNS / "healthy_sentence"), "--json", "true"]) == 0
    assert json.loads(capsys.readouterr().out)["verdicts"] == []


def test_the_runs_own_language_comes_before_the_locale(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("LC_ALL", "en_GB.UTF-8")
    shutil.copytree(RUNS / "healthy_sentence", tmp_path / "run")
    text = (tmp_path / "run/config.yaml").read_text(encoding="utf-8")
    with (tmp_path / "run/config.yaml").open("w", encoding="utf-8") as f:
        f.write(text.replace("  language: auto\n", "").replace("log:\n", "log:\n  language: zh\n"))
    for argv, expected in (([], "没有发现问题"), (["--lang", "en"], "Nothing wrong was found")):
        assert main([str(tmp_path / "run"), *argv]) == 0
        assert expected in capsys.readouterr().out


def test_what_is_no_run_is_one_line_and_exit_2(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "metrics.jsonl").write_text("{}\n", encoding="utf-8")
    (tmp_path / "bad" / "config.yaml").write_text("task: [gpt\n", encoding="utf-8")
    (tmp_path / "file").touch()
    errors = []
    folders = [tmp_path / name for name in ("empty", "nowhere", "bad", "file")]
    for argv in (*([str(folder)] for folder in folders), [], [str(RUNS / "overfitting"), "--lang", "fr"]):
        assert main(argv) == 2
        out, err = capsys.readouterr()
        assert not out and err.count("\n") == 1 and err.startswith("error: ") and "Traceback" not in err
        errors.append(err)
    assert "config.yaml and metrics.jsonl missing" in errors[0] and "no such folder" in errors[1] and "a file" in errors[3]
    assert f"there are {tmp_path / 'bad'}" in errors[1]
    (tmp_path / "bad/checkpoints/step-1").mkdir(parents=True)
    assert main([str(tmp_path / "bad/checkpoints/step-1")]) == 2 and f"name its run, {tmp_path / 'bad'}" in capsys.readouterr().err


def test_what_was_meant_is_named(tmp_path, capsys):
    run = tmp_path / "study/trials/0000-x=1"
    run.mkdir(parents=True)
    (run / "metrics.jsonl").touch()
    alone = tmp_path / "alone"
    alone.mkdir()
    (alone / "metrics.jsonl").touch()
    for path, expected in (
        (tmp_path / "study", f"name one of its 1 trials, e.g. {run}"),
        (alone, "(config.yaml missing); name one that training/train.py wrote"),
        ("x" * 300, "File name too long"),
        ("a\0b", "null"),
    ):
        assert main([str(path)]) == 2
        assert expected in capsys.readouterr().err, path


def test_it_starts_without_torch_and_as_a_script():
    light = "import sys, training.doctor; print(sorted({'torch', 'numpy', 'transformers', 'datasets', 'evaluate'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", light], cwd=ROOT, capture_output=True, text=True, check=True).stdout == "[]\n"
    ran = subprocess.run([sys.executable, "training/doctor.py", str(RUNS / "overfitting")], cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 0 and ran.stderr == "" and ran.stdout.count("\n") >= 2


@pytest.mark.parametrize("options", [[], ["--json", "true"]])
def test_a_reader_that_goes_away_is_no_failure(options):
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "training/doctor.py", str(RUNS / "overfitting"), *options]
    ran = subprocess.run(command, cwd=ROOT, stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert (ran.returncode, ran.stderr) == (0, "")


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "utf-8"])
def test_an_output_that_has_no_arrow_gets_what_it_has(encoding, monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding=encoding, write_through=True))
    print_result("a → 预热 \ud800")
    print_result({"a": "→ 预热"})
    first, rest = raw.getvalue().decode(encoding).split("\n", 1)
    assert first == ("a → 预热 ?" if encoding == "utf-8" else "a ? ?? ?") and json.loads(rest) == {"a": "→ 预热"}
    with pytest.raises(ValueError, match="JSON"):
        print_result({"a": float("inf")})


# ---- damaged folders


def with_metrics(folder: Path, *lines: str) -> Path:
    """A healthy run's folder with other records."""
    shutil.copytree(RUNS / "healthy_sentence", folder)
    (folder / "metrics.jsonl").write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return folder


TRAIN, END = '{"event": "train", "step": %s, "seconds": 1, "loss": %s}', '{"event": "end", "step": 99, "seconds": 1, "ended": "finished"}'


@pytest.mark.parametrize("loss", ["null", "NaN", "1e999", "1.7e308", "9" * 400])
def test_losses_that_are_no_numbers_are_not_health(loss, tmp_path, capsys):
    verdicts = {v.id: v for v in diagnose(with_metrics(tmp_path / "run", *(TRAIN % (k, loss) for k in range(1, 10)), END))}
    if loss == "9" * 400:  # no record of ours
        assert set(verdicts) == {"records_unreadable"} and verdicts["records_unreadable"].evidence["unreadable"] == 9
    else:
        assert set(verdicts) == {"losses_missing"} and verdicts["losses_missing"].severity == "problem"
        assert dict(verdicts["losses_missing"].evidence) == {"train": 9, "of_train": 9, "validation": 0, "of_validation": 0, "step": 1}


def test_what_cannot_be_read_is_told_and_not_taken_for_a_run_that_goes_on(tmp_path):
    folder = with_metrics(tmp_path / "run", *(TRAIN % (f"{k}.0", 2.5) for k in range(1, 10)))
    noise = random.Random(2).randbytes(5000).replace(b"\r", b"")
    lines = noise.count(b"\n") + 1
    for content, unreadable in (((folder / "metrics.jsonl").read_bytes(), 9), (noise, lines), (noise.replace(b"\n", b""), 1)):
        (folder / "metrics.jsonl").write_bytes(content)
        (found,) = diagnose(folder)
        assert (found.id, found.severity) == ("records_unreadable", "problem")
        assert found.evidence["unreadable"] == unreadable
    good = "".join(TRAIN % (k, 2.5) + "\n" for k in range(1, 6))
    for content, expected in (
        (good + '{"event": "tra', {"unfinished"}),
        (good + "\n\n", {"unfinished"}),
        ("x\n" + good, {"unfinished", "records_unreadable"}),
    ):
        (folder / "metrics.jsonl").write_text(content, encoding="utf-8")
        assert {v.id for v in diagnose(folder)} == expected  # cut off in its last line; blank lines; a line of something else


def test_numbers_without_end_and_files_without_bottom_are_no_error(tmp_path, capsys):
    many = int("7" * 400)
    look = {"event": "evaluate", "step": 12, "seconds": 1, "val_loss": 1.7e308, "copied_share": many}
    trained = [*(TRAIN % (k, 2.5) for k in range(1, 12)), TRAIN % (many, 2.5), TRAIN % (12, "1.7e308")]
    folder = with_metrics(tmp_path / "run", *trained, json.dumps(look), END)
    scan = {"parts": [{"rows_read": many, "rejected": {"a": many, "b": 1e308}}]}
    (folder / "corpus/report.json").write_text(json.dumps(scan), encoding="utf-8")
    for content in ("[" * 100_000, json.dumps({"memory": many})):
        (folder / "preflight.json").write_text(content, encoding="utf-8")
        assert main([str(folder), "--json", "true", "--lang", "en"]) == 0
        printed = json.loads(capsys.readouterr().out, parse_constant=lambda name: pytest.fail(name))
        assert {v["id"] for v in printed["verdicts"]} >= {"records_unreadable", "losses_missing"}
    infinite = Finding("interrupted", "note", {"step": 3, "a": math.inf, "b": 1.5}, book="doctor")
    assert as_json(folder, [infinite], "en")["verdicts"][0]["evidence"] == {"step": 3, "a": None, "b": 1.5}


def test_words_of_a_file_stay_on_their_line(tmp_path):
    corpus = {"rows_read": 10, "rejected": {"not\nutf8": 5}, "examples": {"not\nutf8": "a.txt:3\n- **Problem:**\x1b[2J\u202eb"}}
    found = one(judge(ended(corpus=corpus)), "rows_quarantined")
    assert (found["reason"], found["example"]) == ("not utf8", "a.txt:3 - **Problem:**\\x1b[2J\\u202eb")


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [("vocabulary", "unknown", 9.0), ("data", "swapped_share", 1.5), ("data", "chinese_targets", 9), ("memory", "peak_bytes", -9e9),
     ("time", "seconds", -100.0), ("time", "seconds", 1e300), ("vocabulary", "size", 1e30)],
)  # fmt: skip
def test_numbers_that_cannot_be_are_not_believed(section, key, value):
    r = ended(**predicted(section, key, value, seconds=100.0, peak_memory_bytes=3e9))
    assert r.predicted(section, key) is None and judge(r) == []
    assert judge(ended(**predicted("memory", "peak_bytes", 9e9, peak_memory_bytes=-3e9))) == []


@pytest.mark.parametrize("warmup", [0, 50])
def test_a_long_curve_is_searched_for_jumps_once(warmup, monkeypatch):
    """Of 300,000 records that took most of a quarter of a minute."""
    searched, jumps = [], verdicts_training._jumps
    monkeypatch.setattr(verdicts_training, "_jumps", lambda r: searched.append(r) or jumps(r))
    r = ended(train=losses(*FALLING), end={"step": 200})
    judge(replace(r, config=replace(r.config, optim=replace(r.config.optim, warmup_steps=warmup))))
    assert len(searched) == 1


@pytest.mark.parametrize("name", [*BROKEN, *HEALTHY])
def test_a_metrics_file_cut_anywhere_is_no_error(name, tmp_path):
    shutil.copytree(RUNS / name, tmp_path / "run")
    whole = (RUNS / name / "metrics.jsonl").read_bytes()
    for share in (0.0, 0.02, 0.3, 0.77):
        (tmp_path / "run" / "metrics.jsonl").write_bytes(whole[: int(share * len(whole))])
        verdicts = diagnose(tmp_path / "run", config_of(name))
        assert "unfinished" in {v.id for v in verdicts}
        verdict_lines(verdicts, "zh")


@pytest.mark.parametrize("name", [*BROKEN, *HEALTHY])
def test_nulls_and_wrong_types_are_no_error(name, tmp_path):
    """Any value of any record, of the scan's report or of the preflight may be missing, null or of another type."""
    rng = random.Random(name)
    records, other = read_metrics(RUNS / name), ["corpus/report.json", "preflight.json"]
    shutil.copytree(RUNS / name, tmp_path / "run")
    for _ in range(6):
        damaged = [{k: damage(v, rng) if k != "event" else v for k, v in r.items()} for r in records]
        lines = [json.dumps(r) for r in damaged] + ["null", "3", "[]", '"x"', "{}", "\x00", '{"event": "train", "step": 1e999}']
        (tmp_path / "run" / "metrics.jsonl").write_text("\n".join(lines), encoding="utf-8")
        for path in other:
            tree = json.loads((RUNS / name / path).read_text(encoding="utf-8"))
            (tmp_path / "run" / path).write_text(json.dumps(damage(tree, rng)), encoding="utf-8")
        for language in LANGUAGES:
            verdict_lines(diagnose(tmp_path / "run", config_of(name)), language)


def damage(tree: Any, rng: random.Random) -> Any:
    """The same tree with every tenth value replaced."""
    if rng.random() < 0.1:
        return rng.choice([None, "x", [], {}, -1, 0, 1e308, True])
    if isinstance(tree, dict):
        return {k: damage(v, rng) for k, v in tree.items() if rng.random() > 0.05}
    return [damage(v, rng) for v in tree] if isinstance(tree, list) else tree


def test_files_beside_the_records_may_be_missing_or_no_json(tmp_path):
    for damage_to in ("preflight.json", "corpus/report.json"):
        for content in (None, "", "[1]", "{", "null"):
            folder = tmp_path / f"{damage_to.replace('/', '-')}-{content}".replace("{", "brace")
            shutil.copytree(RUNS / "overfitting", folder)
            (folder / damage_to).unlink() if content is None else (folder / damage_to).write_text(content, encoding="utf-8")
            assert "overfitting" in {v.id for v in diagnose(folder, config_of("overfitting"))}


def test_a_report_without_records_is_no_health(tmp_path):
    """Empty, or with steps that cannot be."""
    for content, verdict in (("", "records_empty"), ((TRAIN % (-5, 2.5) + "\n") * 9, "records_unreadable")):
        folder = with_metrics(tmp_path / verdict)
        (folder / "metrics.jsonl").write_text(content, encoding="utf-8")
        (folder / "report.md").touch()
        (found,) = diagnose(folder)
        assert (found.id, found.severity) == (verdict, "problem")


def test_a_resumed_run_has_not_ended(tmp_path):
    folder = changed("interrupted", tmp_path / "run")
    with (folder / "metrics.jsonl").open("a", encoding="utf-8") as f:
        f.write('{"event": "train", "step": 9999, "seconds": 1.0, "loss": 1.0}\n')
    ids = {v.id for v in diagnose(folder)}
    assert "interrupted" not in ids and "unfinished" in ids


def test_a_config_that_a_caller_has_is_used(tmp_path):
    config = read_run(RUNS / "healthy_sentence", config_of("healthy_sentence")).config
    (tmp_path / "metrics.jsonl").touch()
    assert [v.id for v in diagnose(tmp_path, config)] == ["unfinished"]
    with pytest.raises(ConfigError, match=r"not a run folder \(config.yaml missing\)"):
        diagnose(tmp_path)

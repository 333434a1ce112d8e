"""training.doctor: what it says of recorded runs (a table of hits and false alarms), in both languages, and of broken folders.

The runs in doctor_runs/ were trained for real, see record_doctor_runs.py; nothing is trained here.
"""

from __future__ import annotations

import json
import random
import shutil
import string
import subprocess
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from training import config as configs
from training import doctor, evidence, findings, run_folder
from training.config import Config, ConfigError
from training.doctor import diagnose, main

ROOT = Path(__file__).resolve().parent.parent
RUNS = Path(__file__).parent / "doctor_runs"
HEALTHY = sorted(path.name for path in RUNS.glob("healthy_*"))
# A run is called by its verdict; these are further cases of one.
CALLED = {"learning_rate_too_high_muon": "learning_rate_too_high", "learning_rate_too_high_seq2seq": "learning_rate_too_high"}
BROKEN = {path.name: CALLED.get(path.name, path.name) for path in sorted(RUNS.iterdir()) if path.name not in HEALTHY}
# What cannot be trained into a run is changed in the records of a healthy one: the file, and what is put over it.
CHANGED: dict[str, tuple[str, str, dict[str, Any]]] = {
    "throughput_low": ("healthy_phrasebook", "preflight.json", {"time": {"tokens_per_second": 100_000.0}}),
    "prediction_time": ("healthy_phrasebook", "preflight.json", {"time": {"seconds": 9.0}}),
    "prediction_memory": ("healthy_phrasebook", "preflight.json", {"memory": {"peak_bytes": 2000 << 20}}),
    "prediction_overfit": ("overfitting", "preflight.json", {"forecast": {"overfit_step": 30}}),
    "interrupted": ("healthy_phrasebook", "end", {"ended": "interrupted"}),
    "out_of_memory": ("healthy_phrasebook", "end", {"ended": "out of memory"}),
    "stopped": ("healthy_phrasebook", "end", {"ended": "stopped"}),
    "unfinished": ("healthy_phrasebook", "end", {"event": "nothing"}),
}
SIDE = {"bleu_elsewhere"}  # a remark that comes with the verdict overfitting
# Verdicts that would say the opposite of what is so.
LEARNT_NOTHING = {"overfitting", "memorised_text"}
CONTRARY = {
    "overfitting": {"underfitting", "learning_rate_too_low", "learning_rate_too_high", "loss_plateau"},
    "memorised_text": {"underfitting", "learning_rate_too_low", "learning_rate_too_high", "loss_plateau"},
    "underfitting": {"overfitting", "memorised_text", "loss_plateau", "learning_rate_too_high", "learning_rate_too_low"},
    "learning_rate_too_high": LEARNT_NOTHING | {"learning_rate_too_low", "warmup_missing", "underfitting", "batch_too_small"},
    "learning_rate_too_low": LEARNT_NOTHING | {"learning_rate_too_high", "warmup_missing", "loss_plateau", "batch_too_small"},
    "warmup_missing": LEARNT_NOTHING | {"learning_rate_too_low", "learning_rate_too_high", "loss_plateau"},
    "loss_plateau": LEARNT_NOTHING | {"learning_rate_too_high", "learning_rate_too_low", "warmup_missing", "underfitting"},
    "batch_too_small": {"overfitting", "loss_plateau", "learning_rate_too_low", "memorised_text"},
    "empty_output": {"truncated_output", "repetition_loops"},
}


@cache
def config_of(name: str) -> Config:
    """Reading a config takes a good part of a second on a busy machine."""
    return configs.load(RUNS / (CHANGED[name][0] if name in CHANGED else name) / "config.yaml")


def changed(name: str, folder: Path) -> Path:
    """A copy of a recorded run with what CHANGED says."""
    source, what, over = CHANGED[name]
    shutil.copytree(RUNS / source, folder, dirs_exist_ok=True)
    if what == "end":
        lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        (folder / "metrics.jsonl").write_text("\n".join([*lines[:-1], json.dumps(json.loads(lines[-1]) | over)]) + "\n", encoding="utf-8")
    else:
        tree = json.loads((folder / what).read_text(encoding="utf-8"))
        (folder / what).write_text(json.dumps({k: v | over.get(k, {}) for k, v in tree.items()}), encoding="utf-8")
    return folder


# ---- the table


def test_every_broken_run_is_called_right_and_no_healthy_one_is_accused(tmp_path):
    """The table of the issue; `pytest -s` prints it."""
    rows, wrong = ["| run | should be | the doctor says |", "|---|---|---|"], []
    hits = alarms = 0
    folders = {name: (RUNS / name, verdict) for name, verdict in BROKEN.items()}
    folders |= {name: (changed(name, tmp_path / name), name) for name in CHANGED}
    for name, (folder, verdict) in folders.items():
        said = {v.id: v.severity for v in diagnose(folder, config_of(name))}
        hit = verdict in said and not CONTRARY.get(verdict, set()) & set(said)
        hits += hit
        wrong += [] if hit else [name]
        rows.append(f"| {name} | {verdict} | {', '.join(said)} |")
    for name in HEALTHY:
        said = {v.id: v.severity for v in diagnose(RUNS / name, config_of(name))}
        alarms += (alarm := bool(set(said.values()) - {"note"}))
        wrong += [name] if alarm else []
        rows.append(f"| {name} | – | {', '.join(said) or '–'} |")
    rows.append(f"\nhits {hits} of {len(folders)}, false alarms {alarms} of {len(HEALTHY)}")
    print("\n" + "\n".join(rows))
    assert not wrong, "\n".join(rows)
    assert len(folders) >= 20 and len(HEALTHY) >= 10


def test_every_verdict_has_a_run_that_gets_it():
    told = set(findings.phrases("doctor", "en")) - {"nothing_found"}
    assert told - set(BROKEN.values()) - set(CHANGED) == SIDE
    assert {v.id for v in diagnose(RUNS / "overfitting", config_of("overfitting"))} >= SIDE


def test_the_healthy_runs_are_different_and_of_both_tasks():
    all_of_them = [config_of(name) for name in HEALTHY]
    kinds = {(c.task, c.model["type"], c.optim.name, str(c.corpus.train), str(c.corpus.columns), c.train.max_steps) for c in all_of_them}
    assert len(kinds) >= 10 and {c.task for c in all_of_them} == {"gpt", "translation"}


def test_recorded_runs_are_of_our_own_text_and_small():
    for folder in RUNS.iterdir():
        config = config_of(folder.name)
        assert str(config.corpus.train).startswith(("data/", "runs/doctor/")), folder  # the latter are made from the former
        assert (folder / "metrics.jsonl").stat().st_size < 30_000, folder


# ---- evidence


def one(verdicts: list[findings.Finding], name: str) -> dict[str, Any]:
    (found,) = [v for v in verdicts if v.id == name]
    return dict(found.evidence)


def test_overfitting_says_where_it_began():
    records = evidence.read(RUNS / "overfitting", config_of("overfitting"))
    best = min(records.validation, key=lambda p: p.value)
    found = one(diagnose(RUNS / "overfitting", config_of("overfitting")), "overfitting")
    assert (found["step"], found["best_val_loss"]) == (best.step, round(best.value, 4))
    assert found["final_val_loss"] > found["best_val_loss"] and found["train_loss_final"] < found["train_loss_then"]
    assert found["epoch"] == pytest.approx(records.epoch(best.step), abs=0.01)


def test_a_run_that_stopped_early_is_not_blamed_for_it(tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(RUNS / "overfitting", folder)
    text = (folder / "metrics.jsonl").read_text(encoding="utf-8").replace('"ended": "finished"', '"ended": "stopped early"')
    (folder / "metrics.jsonl").write_text(text, encoding="utf-8")
    (found,) = [v for v in diagnose(folder) if v.id == "overfitting"]
    assert found.severity == "note"


def test_memorised_text_has_share_and_span():
    found = one(diagnose(RUNS / "memorised_text", config_of("memorised_text")), "memorised_text")
    assert found["copied_share"] >= 0.1 and found["longest_copied"] >= 15


def test_of_rows_the_reason_and_a_place():
    found = one(diagnose(RUNS / "rows_quarantined", config_of("rows_quarantined")), "rows_quarantined")
    assert found["reason"] == "not_utf8" and 0.3 < found["share"] < 0.5 and "gbk.txt:" in found["example"]
    found = one(diagnose(RUNS / "rows_duplicate", config_of("rows_duplicate")), "rows_duplicate")
    assert found["duplicates"] == 20_000 and found["left"] == 10_000


def test_filters_that_leave_out_little_are_nobodys_fault():
    records = evidence.read(RUNS / "healthy_phrasebook", config_of("healthy_phrasebook"))
    for rejected, said in (({"ratio": 8000}, False), ({"ratio": 30000}, True), ({"not_utf8": 3}, False), ({"missing": 600}, True)):
        corpus = records.corpus | {"rejected": rejected, "rows_read": 41_845}
        found = doctor.judge(evidence.Records(records.config, corpus=corpus, end={"ended": "finished", "step": 1}))
        assert (found != []) == said, rejected


def test_the_forecast_may_be_off_by_a_factor_of_two(tmp_path):
    step = one(diagnose(RUNS / "overfitting", config_of("overfitting")), "overfitting")["step"]
    for forecast, missed in ((step // 2 + 1, False), (2 * step - 1, False), (step // 3, True), (3 * step, True)):
        folder = changed("prediction_overfit", tmp_path / str(forecast))
        (folder / "preflight.json").write_text(json.dumps({"forecast": {"overfit_step": forecast}}), encoding="utf-8")
        assert ("prediction_overfit" in {v.id for v in diagnose(folder, config_of("overfitting"))}) == missed, forecast


def losses(*values: float) -> list[dict[str, Any]]:
    return [{"event": "train", "step": 10 * i, "loss": v, "tokens": 10_000 * i} for i, v in enumerate(values, 1)]


FALLING = [7.5 - 0.4 * i for i in range(12)]  # to 3.1


@pytest.mark.parametrize(
    ("values", "sign", "step"),
    [
        (FALLING, None, 0),
        ([*FALLING[:6], 6.9, *FALLING[6:]], None, 0),  # one jump that heals
        ([*FALLING[:6], 6.9, *FALLING[6:9], 6.0, *FALLING[9:]], "spikes", 70),
        ([*FALLING[:8], 6.2, 6.3, 6.3, 6.4, 6.3, 6.3], "climb", 90),
        ([*FALLING[:8], 5.0, 5.3, 5.3, 5.4, 5.6, 5.8, 5.9, 6.0], "climb", 160),
        ([7.5, 9.5, 11.0, 8.0, 7.0, 6.5, 6.4, 6.4], "climb", 30),  # worse than knowing nothing
        ([7.5, 6.0, 5.0, 4.9, 5.1, 4.8, 5.0, 4.7, 4.9, 4.6, 4.8, 4.5], None, 0),  # noise
    ],
)
def test_jumps_of_the_loss_are_a_rate_too_high_and_noise_is_not(values, sign, step):
    config = evidence.read(RUNS / "healthy_phrasebook", config_of("healthy_phrasebook")).config
    found = doctor.judge(evidence.Records(config, train=losses(*values), end={"ended": "interrupted", "step": 999}))
    said = [dict(v.evidence) for v in found if v.id == "learning_rate_too_high"]
    assert [(s["sign"], s["step"]) for s in said] == ([(sign, step)] if sign else [])


def test_a_loss_that_is_no_number_is_told_with_the_rate():
    found = {v.id: v for v in diagnose(RUNS / "not_finite", config_of("not_finite"))}
    assert {"not_finite", "learning_rate_too_high"} <= set(found)
    assert found["learning_rate_too_high"].evidence["after"] == "NaN"


def test_the_end_of_long_texts_is_not_waited_for():
    """A text that is longer than what is generated does not end in it, and one of many windows hardly ever does."""
    name = "learning_rate_too_low"  # its samples never end, and the verses would
    records = evidence.read(RUNS / name, config_of(name))
    for length, said in ((20, True), (60, False), (2000, False)):
        r = replace(records, preflight={"vocabulary": {"columns": {"text": {"tokens_per_text": length}}}})
        assert ("truncated_output" in {v.id for v in doctor.judge(r)}) == said, length


# ---- words


def places(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


def test_both_languages_say_the_same_things():
    english, chinese = findings.phrases("doctor", "en"), findings.phrases("doctor", "zh")
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
    for language in findings.LANGUAGES:
        said = "\n".join(doctor.tell(diagnose(folder, config_of(name)), language))
        assert said and not {"{", "}"} & set(said.replace("…", "")) and "None" not in said, said


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


def test_what_is_no_run_is_one_line_and_exit_2(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "metrics.jsonl").write_text("{}\n", encoding="utf-8")
    (tmp_path / "bad" / "config.yaml").write_text("task: [gpt\n", encoding="utf-8")
    (tmp_path / "file").touch()
    said = []
    folders = [tmp_path / name for name in ("empty", "nowhere", "bad", "file")]
    for argv in (*([str(folder)] for folder in folders), [], [str(RUNS / "overfitting"), "--lang", "fr"]):
        assert main(argv) == 2
        out, err = capsys.readouterr()
        assert not out and err.count("\n") == 1 and err.startswith("error: ") and "Traceback" not in err
        said.append(err)
    assert "config.yaml and metrics.jsonl missing" in said[0] and "no such folder" in said[1]


def test_it_starts_without_torch_and_as_a_script():
    light = "import sys, training.doctor; print(sorted({'torch', 'numpy', 'transformers', 'datasets', 'evaluate'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", light], cwd=ROOT, capture_output=True, text=True, check=True).stdout == "[]\n"
    ran = subprocess.run([sys.executable, "training/doctor.py", str(RUNS / "overfitting")], cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 0 and ran.stderr == "" and ran.stdout.count("\n") >= 2


# ---- damaged folders


@pytest.mark.parametrize("name", [*BROKEN, *HEALTHY])
def test_a_metrics_file_cut_anywhere_is_no_error(name, tmp_path):
    shutil.copytree(RUNS / name, tmp_path / "run")
    whole = (RUNS / name / "metrics.jsonl").read_bytes()
    for share in (0.0, 0.02, 0.3, 0.77):
        (tmp_path / "run" / "metrics.jsonl").write_bytes(whole[: int(share * len(whole))])
        verdicts = diagnose(tmp_path / "run", config_of(name))
        assert "unfinished" in {v.id for v in verdicts}
        doctor.tell(verdicts, "zh")


@pytest.mark.parametrize("name", [*BROKEN, *HEALTHY])
def test_nulls_and_wrong_types_are_no_error(name, tmp_path):
    """Any value of any record, of the scan's report or of the preflight may be missing, null or of another type."""
    rng = random.Random(name)
    records, other = run_folder.read(RUNS / name), ["corpus/report.json", "preflight.json"]
    shutil.copytree(RUNS / name, tmp_path / "run")
    for _ in range(6):
        damaged = [{k: damage(v, rng) if k != "event" else v for k, v in r.items()} for r in records]
        lines = [json.dumps(r) for r in damaged] + ["null", "3", "[]", '"x"', "{}", "\x00", '{"event": "train", "step": 1e999}']
        (tmp_path / "run" / "metrics.jsonl").write_text("\n".join(lines), encoding="utf-8")
        for path in other:
            tree = json.loads((RUNS / name / path).read_text(encoding="utf-8"))
            (tmp_path / "run" / path).write_text(json.dumps(damage(tree, rng)), encoding="utf-8")
        for language in findings.LANGUAGES:
            doctor.tell(diagnose(tmp_path / "run", config_of(name)), language)


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


def test_a_resumed_run_has_not_ended(tmp_path):
    folder = changed("interrupted", tmp_path / "run")
    with (folder / "metrics.jsonl").open("a", encoding="utf-8") as f:
        f.write('{"event": "train", "step": 9999, "seconds": 1.0, "loss": 1.0}\n')
    said = {v.id for v in diagnose(folder)}
    assert "interrupted" not in said and "unfinished" in said


def test_a_config_that_a_caller_has_is_used(tmp_path):
    config = evidence.read(RUNS / "healthy_sentence", config_of("healthy_sentence")).config
    (tmp_path / "metrics.jsonl").touch()
    assert [v.id for v in diagnose(tmp_path, config)] == ["unfinished"]
    with pytest.raises(ConfigError, match=r"not a run folder \(config.yaml missing\)"):
        diagnose(tmp_path)

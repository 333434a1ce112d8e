"""training.preflight as a command, its findings one by one, and what a run says at its start."""

# ruff: noqa: E501 - the table of cases reads best with one a line
from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.training_runs import gpt_config, run_here, translation_config
from training import config as configs
from training import findings, forecast, preflight, preflight_page, rules
from training.findings import Finding
from training.rules import Facts

ROOT = Path(__file__).resolve().parent.parent
BOOKS = sorted({p.name.split(".")[0] for p in (ROOT / "training/wording").glob("*.yaml")})


def ask(capsys: pytest.CaptureFixture, *options: str) -> tuple[int, str, str]:
    """Exit code, output and errors of the command."""
    code = preflight.main([*options])
    told = capsys.readouterr()
    return code, told.out, told.err


@pytest.fixture(scope="module")
def answer(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the command, as a user starts it, says about a tiny run."""
    folder = tmp_path_factory.mktemp("preflight")
    path = gpt_config(folder, train={"max_steps": 4000})
    done = subprocess.run(
        [sys.executable, "training/preflight.py", "--config", str(path), "--json", "true", "--price", "2", "--lang", "en"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    found: dict[str, Any] = json.loads(done.stdout)
    assert not (folder / "run").exists(), "asking leaves nothing behind"
    return found


def test_the_json_has_what_others_build_on(answer: dict[str, Any]) -> None:
    assert answer["parameters"]["total"] > 10_000 and answer["memory"]["peak_bytes"] > 4 * answer["parameters"]["total"]
    assert answer["vocabulary"]["size"] > 100 and answer["vocabulary"]["bytes"] == 4 * 32 * answer["vocabulary"]["size"]
    assert set(answer["memory"]["variants"]) == {"float32", "bf16", "float32_checkpointing", "bf16_checkpointing"}
    assert answer["memory"]["largest_batch"] > 8
    assert answer["data"]["rows"] == 108 and answer["horizon"]["steps"] == 4000
    assert answer["horizon"]["epochs"] == pytest.approx(4000 * answer["data"]["tokens_per_step"] / answer["data"]["tokens"], rel=0.01)
    for finding in answer["findings"]:
        assert set(finding) == {"id", "severity", "text", "evidence", "try", "source"}
    assert "overfit_forecast" in {f["id"] for f in answer["findings"]}


def test_the_probe_is_carried_to_the_horizon(answer: dict[str, Any]) -> None:
    t = answer["time"]
    assert t["measured"] and t["training_seconds"] == pytest.approx(4000 * t["step_seconds"], rel=0.01)
    assert t["evaluations"] == 500 and t["seconds"] > t["training_seconds"]
    assert 0 < t["utilisation"] < 1 and t["money"] == pytest.approx(2 * t["seconds"] / 3600, abs=0.01)


def test_a_config_that_cannot_be_read_is_exit_2_and_one_that_is_bad_is_0(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    code, out, err = ask(capsys, "--config", str(tmp_path / "none.yaml"))
    assert code == 2 and out == "" and "none.yaml" in err and "Traceback" not in err
    code, _, err = ask(capsys, "--config", str(gpt_config(tmp_path)), "--corpus.train", str(tmp_path / "nothing.txt"))
    assert code == 2 and "nothing.txt" in err
    path = translation_config(tmp_path, optim={"learning_rate": 5.0, "warmup_steps": 0})
    code, out, _ = ask(capsys, "--config", str(path), "--probe", "false", "--lang", "zh", "--memory", "0.001")
    assert code == 0 and "问题" in out and "学习率" not in out.split("发现")[0]
    assert "optim.learning_rate 5" in out


def test_a_device_by_name_needs_no_probe(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    code, out, _ = ask(capsys, "--config", str(gpt_config(tmp_path)), "--device", "h100", "--devices", "4", "--json", "true")
    found = json.loads(out)
    assert code == 0 and not found["time"]["measured"] and found["memory"]["available_bytes"] == 80_000_000_000
    assert found["memory"]["devices"] == 4 and found["memory"]["each_device_bytes"] > found["memory"]["peak_bytes"]
    code, out, _ = ask(capsys, "--config", str(gpt_config(tmp_path)), "--device", "h100", "--lang", "en")
    assert "by the device's data sheet, not measured" in out


def test_fit_writes_a_config_with_the_same_tokens_a_step(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = gpt_config(tmp_path, batch={"block_size": 48, "micro_batch_size": 64, "packing": "always"})
    _, out, _ = ask(capsys, "--config", str(path), "--probe", "false", "--json", "true")
    peak = json.loads(out)["memory"]["peak_bytes"]
    fitted = tmp_path / "fitted.yaml"
    code, out, _ = ask(
        capsys,
        "--config",
        str(path),
        "--probe",
        "false",
        "--memory",
        str(0.85 * peak / 1e9),
        "--fit",
        "true",
        "--out",
        str(fitted),
        "--lang",
        "en",
    )
    assert code == 0 and str(fitted) in out and "memory_short" not in out
    before, after = configs.load(path), configs.load(fitted)
    assert after.batch.micro_batch_size < 64
    assert after.batch.micro_batch_size * after.train.gradient_accumulation_steps == pytest.approx(64, rel=0.05)
    assert replace(after, batch=before.batch, train=before.train) == before
    code, _, err = ask(capsys, "--config", str(path), "--probe", "false", "--memory", "0.001", "--fit", "true", "--out", str(fitted))
    assert code == 2 and "no micro-batch is small enough" in err


def test_a_run_says_it_at_its_start_and_keeps_it(tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    train = {"max_steps": 8, "mixed_precision": "no"}
    (tmp_path / "other").mkdir()
    plain = run_here(gpt_config(tmp_path / "other", train=train))
    result = run_here(gpt_config(tmp_path, log={"preflight": True, "language": "zh"}, train=train))
    told = capfd.readouterr().err
    assert "起飞前检查：内存峰值约" in told
    found = json.loads((result.run_dir / "preflight.json").read_text(encoding="utf-8"))
    assert found["parameters"]["total"] == json.loads((result.run_dir / "checkpoints/step-00000008/meta.json").read_text())["parameters"]
    assert result.metrics["val_loss"] == plain.metrics["val_loss"], "looking changed the run"
    report = (result.run_dir / "report.md").read_text(encoding="utf-8")
    assert "predicted" in report or "预计" in report


# ---- the rules, each with a case in which it speaks and one in which it is silent


def facts(task: str = "translation", model: dict[str, Any] | None = None, **sections: dict[str, Any]) -> Facts:
    """Facts of a healthy run; sections are merged in, `config` into the config by dotted keys."""
    config = configs.Config(
        task="gpt" if task == "gpt" else "translation", model=model or {"type": "m2m_100", "d_model": 512, "encoder_layers": 6}
    )
    config.optim.learning_rate, config.optim.warmup_steps, config.train.max_steps = 7e-4, 1000, 20_000
    for key, value in sections.pop("config", {}).items():
        section, _, name = key.partition(".")
        setattr(getattr(config, section), name, value)
    healthy: dict[str, dict[str, Any]] = {
        "parameters": {"total": 20_000_000},
        "memory": {"peak_bytes": 4e9, "each_device_bytes": 4e9, "available_bytes": 24e9, "vocabulary_share": 0.3, "vocabulary_bytes": 1.2e9,
                   "weights": 1, "gradients": 1, "optimizer": 1, "activations": 2, "logits": 1},
        "vocabulary": {"size": 16_000, "han": 4000, "seen_once": 0.05, "unknown": 0.0, "texts": 30_000,
                       "columns": {"target": {"tokens_per_text": 20, "tokens_per_character": 0.25}}, "frequencies": {"at_least": {}}},
        "data": {"rows": 2_000_000, "held_out": 1000, "tokens": 50_000_000, "tokens_per_row": 25.0, "tokens_per_step": 8000, "words_per_target": 20.0,
                 "rejected_share": 0.01, "rejected": {"empty": 3}, "left_out_share": 0.0, "longest_tokens": 128, "swapped_share": 0.0,
                 "chinese_targets": 0.0, "packed": True},
        "horizon": {"steps": 20_000, "tokens": 160_000_000, "epochs": 3.2, "steps_per_epoch": 6250},
        "time": {"step_seconds": 0.2, "seconds": 4400, "training_seconds": 4000, "evaluation_seconds": 300},
        "forecast": {"overfit_step": None, "overfit_epoch": None},
    }  # fmt: skip
    for name, values in sections.items():
        healthy[name] = {**healthy[name], **values}
    return Facts(config, **healthy)


CASES: list[tuple[str, str, dict[str, Any]]] = [
    ("vocabulary_dominates", "translation", {"vocabulary": {"size": 2_700_000, "seen_once": 0.8, "frequencies": {"at_least": {
        "5": {"size": 90_000, "coverage": 0.9}, "10": {"size": 50_000, "coverage": 0.88}}}}, "memory": {"vocabulary_share": 0.9, "vocabulary_bytes": 3.6e9}}),
    ("memory_short", "translation", {"memory": {"each_device_bytes": 30e9, "largest_batch": 3000}}),
    ("memory_never_fits", "translation", {"memory": {"each_device_bytes": 30e9, "largest_batch": 0}}),
    ("checkpointing_needless", "translation", {"memory": {"variants": {"float32": 5e9, "bf16": 4e9}}, "config": {"train.gradient_checkpointing": True}}),
    ("vocabulary_for_data", "translation", {"data": {"rows": 30_000}, "vocabulary": {"size": 32_000, "han": 2000}}),
    ("english_cut_small", "translation", {"vocabulary": {"size": 4000, "han": 3000, "columns": {"target": {"tokens_per_text": 25, "tokens_per_character": 0.7}}}}),
    ("unknown_tokens", "gpt", {"vocabulary": {"unknown": 0.02}}),
    ("entries_unused", "gpt", {"vocabulary": {"seen_once": 0.6}}),
    ("too_few_pairs", "translation", {"data": {"rows": 10_000, "words_per_target": 25.0}}),
    ("overfit_forecast", "gpt", {"forecast": {"overfit_step": 900, "overfit_epoch": 4.1}}),
    ("many_epochs", "gpt", {"horizon": {"epochs": 40.0}}),
    ("model_large_for_tokens", "gpt", {"parameters": {"total": 500_000_000}}),
    ("sides_swapped", "translation", {"data": {"chinese_targets": 0.98}}),
    ("sides_mixed", "translation", {"data": {"swapped_share": 0.2}}),
    ("rows_lost", "gpt", {"data": {"rejected_share": 0.5, "rejected": {"not_utf8": 500, "empty": 2}}}),
    ("pairs_too_long", "translation", {"data": {"left_out_share": 0.3}}),
    ("nothing_held_out", "gpt", {"data": {"held_out": 0}}),
    ("block_longer_than_text", "gpt", {"data": {"packed": False, "longest_tokens": 30}}),
    ("warmup_short_post_norm", "translation", {"config": {"optim.warmup_steps": 50}, "model": {"type": "marian", "encoder_layers": 12, "d_model": 512}}),
    ("warmup_missing", "translation", {"config": {"optim.warmup_steps": 0}}),
    ("warmup_too_long", "gpt", {"config": {"optim.warmup_steps": 30_000}}),
    ("learning_rate_high", "translation", {"config": {"optim.learning_rate": 0.1}}),
    ("learning_rate_low", "translation", {"config": {"optim.learning_rate": 1e-6}}),
    ("muon_rate_high", "translation", {"config": {"optim.name": "muon", "optim.muon_learning_rate": 2.0}}),
    ("muon_rate_low", "translation", {"config": {"optim.name": "muon", "optim.muon_learning_rate": 1e-5}}),
    ("batch_small", "gpt", {"data": {"tokens_per_step": 60}}),
    ("evaluation_never", "gpt", {"config": {"evaluation.every_steps": 50_000}}),
    ("evaluation_costly", "gpt", {"time": {"evaluation_seconds": 9000}}),
    ("precision_slower", "gpt", {"time": {"step_seconds_by_precision": {"no": 0.1, "bf16": 4.0}}, "config": {"train.mixed_precision": "bf16"}}),
    ("checkpoints_rare", "gpt", {"time": {"step_seconds": 30.0, "seconds": 600_000}}),
]  # fmt: skip


def test_a_healthy_run_hears_nothing() -> None:
    for task in ("gpt", "translation"):
        assert [f.id for f in rules.judge(facts(task))] == []


@pytest.mark.parametrize(("wanted", "task", "sections"), CASES, ids=[c[0] for c in CASES])
def test_each_rule_speaks_when_it_should_in_both_languages(wanted: str, task: str, sections: dict[str, Any]) -> None:
    found = {f.id: f for f in rules.judge(facts(task, **sections))}
    assert wanted in found, set(found)
    for language in findings.LANGUAGES:
        text, advice = found[wanted].text(language), found[wanted].advice(language)
        assert text and advice and not re.search(r"[{}]", text)
    assert json.dumps(found[wanted].as_dict("zh"))


def test_every_rule_is_tried_here() -> None:
    words = yaml.safe_load((ROOT / "training/wording/preflight.en.yaml").read_text(encoding="utf-8"))
    assert set(words) == {wanted for wanted, _, _ in CASES}


@pytest.mark.parametrize("book", BOOKS)
def test_both_languages_say_the_same_with_the_same_numbers(book: str) -> None:
    zh, en = ({k: v for k, v in findings.phrases(book, lang).items()} for lang in findings.LANGUAGES)
    assert set(zh) == set(en)
    for key in zh:
        for part in ("text", "try") if isinstance(zh[key], dict) else (None,):
            ours, theirs = (w[key][part] if part else w[key] for w in (zh, en))
            fields = [sorted(set(re.findall(r"\{(\w*)[^}]*\}", str(words)))) for words in (ours, theirs)]
            assert fields[0] == fields[1] or set(fields[0]) <= set(fields[1]), f"{book}: {key}"
            assert re.search("[\u4e00-\u9fff]", str(ours)) or not re.search("[a-z]{4}", str(theirs)) or key.startswith(("float32", "bf16"))


def test_the_language_is_the_one_asked_for_or_the_locales(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LC_ALL", "LC_MESSAGES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LANG", "zh_CN.UTF-8")
    assert findings.spoken() == "zh" and findings.spoken("en") == "en"
    monkeypatch.setenv("LC_ALL", "C")
    assert findings.spoken() == "en"


def test_findings_come_worst_first() -> None:
    some = [Finding("a", "note"), Finding("b", "problem"), Finding("c", "warning")]
    assert [f.id for f in findings.worst_first(some)] == ["b", "c", "a"]


# ---- forecasts


def test_the_power_law_is_found_again_with_its_error() -> None:
    points = [(n, t, 40 * n**-0.1 * t**-0.05) for n in (1e5, 3e5, 1e6) for t in (1e5, 4e5)]
    law = forecast.fit(points)
    loss, error = law.at(1e7, 1e7)
    assert loss == pytest.approx(40 * 1e7**-0.1 * 1e7**-0.05, rel=1e-6) and error < 1e-6
    noisy = [(n, t, loss * (1 + (-1) ** k * 0.03)) for k, (n, t, loss) in enumerate(points)]
    near, far = forecast.fit(noisy).at(1e6, 4e5)[1], forecast.fit(noisy).at(1e9, 1e9)[1]
    assert near > 0 and math.isfinite(far) and far / forecast.fit(noisy).at(1e9, 1e9)[0] > near / forecast.fit(noisy).at(1e6, 4e5)[0]
    with pytest.raises(ValueError, match="three sizes"):
        forecast.fit(points[:4])


def test_more_tokens_put_the_turning_off_and_the_wanted_tokens_do_too() -> None:
    early = forecast.overfit_step("adamw", 10_000_000, 100_000, 100)
    late = forecast.overfit_step("adamw", 10_000_000, 2_000_000, 100)
    assert early is not None and late is not None and early < late
    assert forecast.overfit_step("adamw", 10_000_000, 20_000_000, 100) is None
    seen = 50_000_000
    wanted = forecast.tokens_wanted(10_000_000, seen)
    passes = forecast.PASSES * math.sqrt(wanted / 10_000_000 / forecast.RATIO)
    assert seen / wanted == pytest.approx(passes, rel=0.01)


def test_a_suggested_vocabulary_grows_with_the_pairs() -> None:
    assert [rules.suggested_vocabulary(n) for n in (1_000, 30_000, 1_000_000, 4_500_000, 50_000_000)] == [1000, 1000, 8000, 32_000, 32_000]
    assert 1000 < rules.suggested_vocabulary(200_000) < 8000


def test_sizes_and_times_read_well() -> None:
    words = findings.phrases("page", "zh")
    assert [preflight_page.size(n) for n in (3e6, 2.5e8, 7.25e9)] == ["3.0 MB", "250 MB", "7.25 GB"]
    assert [preflight_page.duration(s, words) for s in (50, 600, 7200, 400_000)] == ["50 秒", "10.0 分钟", "2.0 小时", "4.6 天"]

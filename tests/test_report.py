"""report.md: the numbers and the words in it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from doctor_recordings import changed, config_of, places
from training_runs import gpt_config, run_here

from training.base.words import phrases
from training.loop.pages import write_report

SCAN = {"rows_kept": 900, "rows_read": 1000, "held_out": 50, "not_selected": 0, "rejected": {"empty": 100}}
VOCABULARY = {
    "size": 55, "han": 50, "seen_once": 0.25, "columns": {"text": {"tokens_per_text": 9}}, "bytes": 1e6, "training_bytes": 4e6,
    "frequencies": None, "texts": 30,
}  # fmt: skip


def lines(folder: Path, losses: list[float], forecast: int, **more: Any) -> list[str]:
    """The report of a run with these validation losses, 20 steps apart, of which a turning was forecast."""
    records = [
        {"event": "evaluate", "step": 20 * k, "seconds": 1.0, "val_loss": v, "perplexity": 10 * v, "bits_per_character": v / 2, **more}
        for k, v in enumerate(losses, 1)
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records), encoding="utf-8")
    (folder / "preflight.json").write_text(json.dumps({"forecast": {"overfit_step": forecast}}), encoding="utf-8")
    config = replace(config_of("healthy_phrasebook"), log=replace(config_of("healthy_phrasebook").log, language="en"))
    write_report(folder, config, 1000, SCAN, 0, VOCABULARY, "finished")
    return (folder / "report.md").read_text(encoding="utf-8").splitlines()


BEST = "- best validation loss 3.0000 (perplexity 30.00, 1.500 bits per character) at step {}; that checkpoint is `best`"
TURNED = "- predicted: best validation loss at about step {}, measured {}"


def test_a_loss_whose_perplexity_is_too_large_for_a_number_is_reported(tmp_path: Path) -> None:
    report = lines(tmp_path, [800.0], 50, perplexity=None)
    assert (
        "- best validation loss 800.0000 (perplexity not finite, 400.000 bits per character) at step 20; that checkpoint is `best`"
        in report
    )


@pytest.mark.parametrize(
    ("losses", "best", "forecast", "turned"),
    [
        ([4.0, 3.0, 3.5], 40, 50, True),  # earlier than it was to
        ([4.0, 3.0, 3.5], 40, 30, True),
        ([4.0, 3.5, 3.0], 60, 80, False),  # it may still do as foretold
        ([4.0, 3.5, 3.0], 60, 50, True),
    ],
)
def test_the_best_step_is_told_and_beside_the_forecast_once_the_loss_has_turned(
    losses: list[float], best: int, forecast: int, turned: bool, tmp_path: Path
) -> None:
    report = lines(tmp_path, losses, forecast)
    assert BEST.format(best) in report
    assert [line for line in report if line.startswith("- predicted")] == ([TURNED.format(forecast, best)] if turned else [])


@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("en", ["1,000 parameters. Finished.", "240 steps", "best validation loss", "BLEU", "time 9 s, measured 2.2 min",
                "corpus: 900 of 1,000 rows used, 50 of them held out for validation; rejected: 100 empty; 3 pairs are longer",
                "tokenizer: 55 entries (50 single Chinese characters, 25% seen at most once in 30 texts); 9 tokens a text",
                "best validation loss at about step 30, measured 140", "## Doctor\n", "overfitting begins about step"]),
        ("zh", ["1,000 个参数。训练完成。", "240 步", "最低验证损失", "BLEU 为", "时间预计 9 秒，实际 2.2 分钟",
                "语料：读了 1,000 行，用 900 行，其中 50 行留作验证；丢弃：100 empty；有 3 条句对超过",
                "分词器：55 个词条（50 个单个汉字，25% 在 30 条文本里最多只出现过一次）；文本每行 9 个词元",
                "最低验证损失预计在第 30 步左右，实际在第 140 步", "## 诊断\n", "开始过拟合"]),
    ],
)  # fmt: skip
def test_the_report_is_in_the_runs_language(language: str, words: list[str], tmp_path: Path) -> None:
    folder = changed("prediction_overfit", tmp_path / "run")
    (folder / "preflight.json").write_text(json.dumps({"forecast": {"overfit_step": 30}, "time": {"seconds": 9.0}}), encoding="utf-8")
    config = replace(config_of("overfitting"), log=replace(config_of("overfitting").log, language=language))
    text = write_report(folder, config, 1000, SCAN, 3, VOCABULARY, "finished")
    assert text in (folder / "report.md").read_text(encoding="utf-8")
    for word in words:
        assert word in text
    assert language == "en" or not {"validation", "Doctor", "predicted", "steps,"} & set(text.split())


def test_the_report_has_the_same_words_in_both_languages() -> None:
    english, chinese = phrases("report", "en"), phrases("report", "zh")
    assert list(english) == list(chinese) and list(english["ended"]) == list(chinese["ended"])
    for name in set(english) - {"ended"}:
        assert places(english[name]) == places(chinese[name]), name


def test_a_run_speaks_its_language_while_it_goes_on(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    config = gpt_config(tmp_path, train={"max_steps": 2}, evaluation={"every_steps": 1}, log={"language": "zh", "preflight": False})
    run_here(config)
    first = capfd.readouterr().err
    run_here(config, "--resume", "true", "--train.max_steps", "3")
    again = capfd.readouterr().err
    for part in ("模型：gpt2，", "上 1 个进程", "第 1 步：验证损失 "):
        assert part in first, first
    assert "继续训练（第 2 步）" in again and not re.search("resuming|validation loss|parameters", first + again)

"""training.preflight as a command, and what a run says at its start; its rules one by one are in test_rules.py."""

# ruff: noqa: E501 - the tables of cases read best with one a line

from __future__ import annotations

import contextlib
import io
import json
import math
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from training_runs import gpt_config, run_here, translation_config

from training import preflight
from training.diagnosis.finding import Finding
from training.estimate import gather, numbers, probe
from training.settings.config import Config
from training.settings.load import load_config
from training.setup.data import choose_precision

ROOT = Path(__file__).resolve().parent.parent


def ask(capsys: pytest.CaptureFixture, *options: str) -> tuple[int, str, str]:
    """Exit code, output and errors of the command."""
    code = preflight.main([*options])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.fixture(scope="module")
def answer(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the command says about a tiny run."""
    folder, out = tmp_path_factory.mktemp("preflight"), io.StringIO()
    path = gpt_config(folder, train={"max_steps": 4000})
    with contextlib.redirect_stdout(out):
        assert preflight.main(["--config", str(path), "--json", "true", "--price", "2", "--lang", "en"]) == 0
    found: dict[str, Any] = json.loads(out.getvalue())
    assert not (folder / "run").exists(), "asking leaves nothing behind"
    return found


def test_the_json_has_what_others_build_on(answer: dict[str, Any]) -> None:
    assert answer["parameters"]["total"] > 10_000 and answer["memory"]["peak_bytes"] > 4 * answer["parameters"]["total"]
    assert answer["vocabulary"]["size"] > 100 and answer["vocabulary"]["bytes"] == 4 * 32 * answer["vocabulary"]["size"]
    assert set(answer["memory"]["variants"]) == {"float32", "bf16", "float32_checkpointing", "bf16_checkpointing"}
    assert answer["memory"]["largest_batch"] > 8 and answer["shape"] == {"width": 32, "layers": 2}
    memory = answer["memory"]
    assert memory["vocabulary_share"] == pytest.approx(memory["vocabulary_bytes"] / memory["peak_bytes"], abs=1e-4)
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
    code, out, err = ask(capsys, "--config", str(gpt_config(tmp_path)), "--prise", "2")
    assert code == 2 and "did you mean --price?" in err
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
    assert "by the device's data sheet, not measured" in out and "are spent on starting" in out
    minutes = ("--train.max_steps", "null", "--train.max_minutes", "20", "--device", "h100", "--price", "3", "--json", "true")
    found = json.loads(ask(capsys, "--config", str(gpt_config(tmp_path)), *minutes)[1])
    assert found["time"]["seconds"] == pytest.approx(1200, rel=0.01) and found["time"]["money"] == pytest.approx(1, rel=0.01)
    assert found["horizon"]["steps"] * found["time"]["step_seconds"] == pytest.approx(1200, rel=0.01)


def test_pairs_that_are_all_too_long_are_a_finding(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """The probe has nothing to time then."""
    path = translation_config(tmp_path, batch={"tokens_per_batch": 64, "max_source_length": 2, "max_target_length": 2})
    code, out, _ = ask(capsys, "--config", str(path), "--json", "true")
    found = json.loads(out)
    assert code == 0 and not found["time"] and "pairs_too_long" in {f["id"] for f in found["findings"]}


@pytest.mark.parametrize(("device", "times"), [("h100", 989 / 67), ("t4", 65 / 8.1)])  # bf16, and fp16, which takes as much memory
def test_a_named_device_computes_in_the_precision_that_is_asked_for(
    device: str, times: float, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """`auto` is what it will choose there, for memory and for time."""
    path = str(gpt_config(tmp_path, batch={"block_size": 48, "micro_batch_size": 64}))
    found = {}
    for precision in ("auto", "no"):
        code, out, _ = ask(capsys, "--config", path, "--device", device, "--json", "true", "--train.mixed_precision", precision)
        found[precision] = json.loads(out)
        assert code == 0
    auto, no = (found[p]["time"]["step_seconds"] - found[p]["time"]["starting_seconds"] for p in ("auto", "no"))
    assert no == pytest.approx(times * auto, rel=1e-4)
    memory = found["auto"]["memory"]
    assert memory["peak_bytes"] == memory["variants"]["bf16"] < memory["variants"]["float32"] == found["no"]["memory"]["peak_bytes"]


def test_operations_of_a_step_are_those_of_its_micro_batches_and_of_one_update(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    found = []
    for accumulation in (1, 2, 4):
        options = ["--device", "h100", "--json", "true", "--train.gradient_accumulation_steps", str(accumulation)]
        answer = json.loads(ask(capsys, "--config", str(gpt_config(tmp_path)), *options)[1])
        found.append(answer["time"]["operations_per_step"])
        assert 0 < answer["time"]["utilisation"] < 0.01, "of a tiny model"
    one, two, four = found
    assert_grows(one, two, four)
    config = load_config(gpt_config(tmp_path))
    sketched = [
        gather.sketch(replace(config, train=replace(config.train, gradient_accumulation_steps=k)), 600, "h100")["operations_per_step"]
        for k in (1, 2, 4)
    ]
    assert_grows(*sketched)


def assert_grows(one: int, two: int, four: int) -> None:
    """Of a step of one, two and four micro-batches (those after the first add to gradients); one update each."""
    each = (four - two) / 2
    update = two - 2 * each
    assert each > 50 and update > 5 and one - update == pytest.approx(each, rel=0.15)


def test_a_batch_that_the_sample_does_not_fill_does_not_count(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = translation_config(tmp_path)
    rows = [{"chinese": f"我有一只猫{k:03}", "english": f"I have a cat {k:03}"} for k in range(100)]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows), encoding="utf-8")
    options = [
        "--probe",
        "false",
        "--json",
        "true",
        "--tokenizer.type",
        "char",
        "--tokenizer.min_frequency",
        "1",
        "--corpus.validation_share",
        "0.1",
    ]
    tokens = {}
    for size in (70 * 24, 20 * 24):  # 90 rows in two batches, the second a third full; in five, the last half full
        options += ["--batch.tokens_per_batch", str(size), "--batch.max_source_length", "24", "--batch.max_target_length", "24"]
        code, out, err = ask(capsys, "--config", str(path), *options)
        assert code == 0, err
        tokens[size] = json.loads(out)["data"]["tokens_per_step"]
    assert tokens[70 * 24] == pytest.approx(3.5 * tokens[20 * 24], rel=0.1)


def test_four_devices_do_four_times_as_much_and_cost_four_times_as_much(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    found = {}
    for devices in (1, 4):
        options = ["--device", "t4", "--devices", str(devices), "--price", "3", "--json", "true"]
        found[devices] = json.loads(ask(capsys, "--config", str(gpt_config(tmp_path)), *options)[1])
    one, four = (found[n]["time"] for n in (1, 4))
    assert four["flops_per_step"] == pytest.approx(4 * one["flops_per_step"], rel=0.01)
    starting = one["operations_per_step"] * numbers.START_SECONDS
    computing = one["flops_per_step"] / (8.1e12 * numbers.UTILISATION)  # float32, as its config says
    assert one["step_seconds"] == pytest.approx(computing + starting)
    assert four["step_seconds"] == pytest.approx(one["step_seconds"], rel=0.01)
    assert found[4]["data"]["tokens_per_step"] == pytest.approx(4 * found[1]["data"]["tokens_per_step"], rel=0.01)
    assert one["money"] == pytest.approx(3 * one["seconds"] / 3600, rel=1e-4)
    assert four["money"] == pytest.approx(12 * four["seconds"] / 3600, rel=1e-4)


def test_several_devices_count_for_the_largest_batch_and_the_variants(tmp_path: Path) -> None:
    """DDP's buckets take memory on each, FSDP gives some back."""
    config = load_config(gpt_config(tmp_path, model={"n_embd": 128, "n_layer": 4, "n_head": 2}))
    shapes = config.spec.full_batch(config.batch)
    one, ddp, fsdp = (numbers.Place(available=60_000_000, devices=n, sharded=sharded) for n, sharded in ((1, False), (4, False), (4, True)))
    largest = [numbers.largest(config, 1000, shapes, place) for place in (ddp, one, fsdp)]
    assert largest == sorted(set(largest)) and largest[0] > 0
    found, plain = numbers.of_model(config, 1000, shapes, ddp)
    assert numbers.variants(config, 1000, shapes, ddp)["float32"] == found["memory"]["each_device_bytes"] > plain.peak


def test_what_does_not_fit_is_told_with_the_batch_that_does(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """With the default options: the probe is then left out, but not the largest batch."""
    path = gpt_config(tmp_path, batch={"block_size": 48, "micro_batch_size": 64, "packing": "always"})
    ask(capsys, "--config", str(path), "--probe", "false")  # the first in a process loads what counts as its data
    _, out, _ = ask(capsys, "--config", str(path), "--probe", "false", "--json", "true")
    gigabytes = str(0.85 * json.loads(out)["memory"]["peak_bytes"] / 1e9)
    code, out, _ = ask(capsys, "--config", str(path), "--memory", gigabytes, "--json", "true")
    found = json.loads(out)
    ids = {f["id"] for f in found["findings"]}
    assert code == 0 and not found["time"] and 0 < found["memory"]["largest_batch"] < 64
    assert "memory_short" in ids and "memory_never_fits" not in ids
    code, out, _ = ask(capsys, "--config", str(path), "--memory", gigabytes, "--fit", "true", "--lang", "en")
    assert code == 0 and (tmp_path / "config.fit.yaml").exists() and "config.fit.yaml" in out


def test_a_run_that_does_not_fit_says_what_would(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture) -> None:
    """At its start too."""
    path = gpt_config(tmp_path, batch={"block_size": 48, "micro_batch_size": 64, "packing": "always"}, log={"preflight": True})
    config = load_config(path)
    shapes = config.spec.full_batch(config.batch)
    peaks = [numbers.of_model(config, 500, {k: (rows, s[1]) for k, s in shapes.items()}, numbers.Place(cpu=True)) for rows in (64, 16)]
    monkeypatch.setattr(numbers, "memory_here", lambda device: sum(found["memory"]["peak_bytes"] for found, _ in peaks) // 2)
    monkeypatch.setattr(numbers, "resident", lambda: 0)
    run_here(path, "--train.max_steps", "1")
    assert "batch.micro_batch_size:" in capfd.readouterr().err
    found = json.loads((tmp_path / "run/preflight.json").read_text(encoding="utf-8"))
    assert {"memory_short"} == {f["id"] for f in found["findings"] if "memory" in f["id"]} and 0 < found["memory"]["largest_batch"] < 64


def test_a_run_under_fsdp_is_predicted_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bool] = []

    class Enough(Exception):
        pass

    def before_run(*given: Any) -> None:
        seen.append(given[-1])
        raise Enough

    monkeypatch.setattr(gather, "before_run", before_run)
    for flag, world in (("true", 4), ("false", 4), ("true", 1)):
        monkeypatch.setenv("ACCELERATE_USE_FSDP", flag)
        (tmp_path / f"{flag}{world}").mkdir()
        path = gpt_config(tmp_path / f"{flag}{world}", log={"preflight": True})
        choose = choose_precision

        def pretend(config: Any, data: Any, net: Any, processes: Any, resumed: bool) -> Any:
            found = choose(config, data, net, processes, resumed)  # noqa: B023
            processes.world = world  # noqa: B023
            return found

        with monkeypatch.context() as patched, contextlib.suppress(Enough):
            patched.setattr("training.loop.run.choose_precision", pretend)
            run_here(path)
    assert seen == [True, False, False]


def test_a_precision_set_by_hand_is_timed_against_float32(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    autocast = probe._autocast

    @contextlib.contextmanager
    def slow(config: Config, device: torch.device) -> Any:
        if config.train.mixed_precision == "bf16":
            time.sleep(0.2)
        with autocast(config, device):
            yield

    monkeypatch.setattr(probe, "_autocast", slow)
    path = str(gpt_config(tmp_path))
    _, out, _ = ask(capsys, "--config", path, "--train.mixed_precision", "bf16", "--json", "true")
    found = json.loads(out)
    assert "precision_slower" in {f["id"] for f in found["findings"]}
    assert set(found["time"]["step_seconds_by_precision"]) == {"no", "bf16"}
    _, out, _ = ask(capsys, "--config", path, "--train.mixed_precision", "no", "--json", "true")
    assert "precision_slower" not in out


def test_other_programs_on_the_cores_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setattr("training.model.hardware.watch_others", lambda: lambda: 1.5)
    monkeypatch.setattr("training.model.hardware.cores", lambda: 2)
    monkeypatch.setattr("torch.get_num_threads", lambda: 2)
    _, out, _ = ask(capsys, "--config", str(gpt_config(tmp_path)), "--lang", "en")
    assert "Other programs keep 1.5 of 2 cores busy" in out and "OMP_NUM_THREADS=1" in out


@pytest.mark.parametrize(
    ("option", "value"), [("--devices", "0"), ("--devices", "-2"), ("--memory", "0"), ("--memory", "-1"), ("--price", "0"), ("--price", "nan"),
                          ("--memory", "1e300"), ("--memory", "1e-300"), ("--devices", "9" * 400)]
)  # fmt: skip
def test_numbers_that_cannot_be_are_one_line(option: str, value: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    code, out, err = ask(capsys, "--config", str(gpt_config(tmp_path)), f"{option}={value}")
    assert code == 2 and out == "" and err.startswith("error: ") and option in err and len(err.splitlines()) == 1


def test_blank_lines_between_texts_are_no_loss(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    texts = tmp_path / "texts.txt"
    texts.write_text("\n\n".join(f"第{k}行有几个字，后面还有。" for k in range(200)), encoding="utf-8")
    path = gpt_config(tmp_path, corpus={"train": str(texts), "columns": {}})
    _, out, _ = ask(capsys, "--config", str(path), "--probe", "false", "--json", "true")
    found = json.loads(out)
    assert found["data"]["rejected"]["empty"] == 199 and found["data"]["rejected_share"] == 0
    assert "rows_lost" not in {f["id"] for f in found["findings"]}


def test_what_there_is_on_a_gpu_is_what_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    """With what this process holds already; what others hold is not there."""
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (3_000, 16_000))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 500)
    assert numbers.memory_here(torch.device("cuda")) == 3_500


def test_learning_by_heart_is_not_warned_of_where_it_is_the_aim(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Validation on the training text never turns."""
    path = gpt_config(tmp_path, train={"max_steps": 4000})
    text = yaml.safe_load(path.read_text())["corpus"]["train"]
    _, out, err = ask(capsys, "--config", str(path), "--corpus.validation", text, "--probe", "false", "--json", "true", "--lang", "en")
    found = json.loads(out)
    assert found["forecast"]["overfit_step"] is None and "overfit_forecast" not in {f["id"] for f in found["findings"]}
    assert "estimating the model's memory" in err, "a sign of life"


def test_json_has_no_name_for_nan() -> None:
    found = {
        "time": {"seconds": math.inf, "parts": [math.nan, 1.0]},
        "findings": [Finding("checkpoints_rare", "note", {"hours": math.nan, "every": 1, "better": 1})],
    }
    answer = json.loads(gather.as_json(found, "en"))
    assert answer["time"] == {"seconds": None, "parts": [None, 1.0]} and answer["findings"][0]["evidence"]["hours"] is None


@pytest.mark.parametrize("options", [("--model.n_head", "0"), ("--model.resid_pdrop", "2"), ("--model.activation_function", "nope")])
def test_a_model_that_cannot_be_is_one_line(options: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    code, out, err = ask(capsys, "--config", str(gpt_config(tmp_path)), "--device", "h100", *options)
    assert code == 2 and out == "" and err.splitlines()[-1].startswith("error: model") and "Traceback" not in err


def test_a_terminal_without_chinese_gets_what_it_can_show(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    ascii_only = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", ascii_only)
    assert preflight.main(["--config", str(gpt_config(tmp_path)), "--device", "h100", "--lang", "zh"]) == 0
    ascii_only.seek(0)
    assert "?" in ascii_only.read()


def test_a_run_says_it_at_its_start_and_keeps_it(tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    train = {"max_steps": 8, "mixed_precision": "no"}
    (tmp_path / "other").mkdir()
    plain = run_here(gpt_config(tmp_path / "other", train=train))
    result = run_here(gpt_config(tmp_path, log={"preflight": True, "language": "zh"}, train=train))
    err = capfd.readouterr().err
    assert "训练前检查：内存峰值约" in err
    found = json.loads((result.run_dir / "preflight.json").read_text(encoding="utf-8"))
    assert found["parameters"]["total"] == json.loads((result.run_dir / "checkpoints/step-00000008/meta.json").read_text())["parameters"]
    assert result.metrics["val_loss"] == plain.metrics["val_loss"], "looking changed the run"
    report = (result.run_dir / "report.md").read_text(encoding="utf-8")
    assert "predicted" in report or "预计" in report

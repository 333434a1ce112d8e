"""Sweeps: what a study leaves; what cannot work is told and costs nothing; repeats, pruning, two aims."""

from __future__ import annotations

import errno
import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from sweep_runs import RATES, WIDTHS, kill, points, run, start, study, sweep_config
from training_runs import records

from training import sweep, train
from training.base.errors import ConfigError
from training.base.files import write_text
from training.sweeps import report, space
from training.sweeps.knob import flat, nested

GRID = {"optim.learning_rate": RATES, "model.n_embd": WIDTHS}
HELD_OUT = {"corpus.validation": "data/sentence.txt"}


def test_a_grid_leaves_a_run_folder_for_every_point_and_the_best_checkpoints(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = run(sweep_config(tmp_path, GRID, search="grid", keep=2))
    told = capsys.readouterr()
    assert points(found) == Counter(json.dumps({"model.n_embd": w, "optim.learning_rate": r}) for w in WIDTHS for r in RATES)
    best = sorted(found["trials"], key=lambda t: t["values"][0])[:2]
    for t in found["trials"]:
        folder = tmp_path / "study" / t["folder"]
        assert t["state"] == "complete" and t["step"] == 6 and t["parameters"] > 1000
        assert min(r["val_loss"] for r in records(folder) if r["event"] == "evaluate") == t["values"][0] == t["value"]
        assert {"config.yaml", "curves.png", "samples.md", "report.md", "metrics.jsonl"} <= {p.name for p in folder.iterdir()}
        assert [step for step, _ in t["curve"]] == [3, 6] and t["samples"]
        kept = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
        assert (
            kept["model"]["n_embd"] == t["params"]["model.n_embd"] and kept["optim"]["learning_rate"] == t["params"]["optim.learning_rate"]
        )
        assert (folder / "checkpoints").is_dir() == (folder / "best").exists() == (t["number"] in {b["number"] for b in best})
        assert f"trial {t['number']}: val_loss {t['value']:.4f}" in told.err
    assert len({t["parameters"] for t in found["trials"]}) == 3  # the knob reached the model
    assert [t["first"] for t in found["trials"]] == [True] + [False] * 5
    assert points(run(tmp_path / "sweep.yaml")) == points(found)  # finished: nothing more is trained


def test_what_is_read_once_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from training.corpus import prepare, scan
    from training.model.tokenizer import train_tokenizer
    from training.setup import data
    from training.tasks.base import Encoder

    reads, trained, encoded = [], [], Counter[str]()
    encode = Encoder._encode
    monkeypatch.setattr(Encoder, "_encode", lambda self, texts: (encoded.update(texts), encode(self, texts))[1])
    scan, train = scan.scan, train_tokenizer
    monkeypatch.setattr(prepare, "scan", lambda *a, **k: (reads.append(1), scan(*a, **k))[1])
    monkeypatch.setattr(data, "train_tokenizer", lambda *a, **k: (trained.append(1), train(*a, **k))[1])
    config = sweep_config(tmp_path, {"optim.learning_rate": RATES, "optim.weight_decay": [0.0, 0.1]}, search="grid")
    run(config)
    assert len(trained) == 1 and len(reads) == 1
    assert len(encoded) == 120 and set(encoded.values()) == {1}


def test_thirty_broken_combinations_do_not_end_a_study(tmp_path: Path) -> None:
    broken = {
        "model.n_head": [1, 3, 5, 7, 9],  # 16 wide: only one head divides it
        "model.n_embd": [16, 32],
        "train.gradient_accumulation_steps": [1, 2, 4, 0],  # no positive number
    }
    found = run(sweep_config(tmp_path, broken, {"train": {"max_steps": 2, "mixed_precision": "no"}}, search="grid"))
    failed = [t for t in found["trials"] if t["state"] == "failed"]
    assert len(found["trials"]) == 40 and len(failed) == 34 and sum(t["state"] == "complete" for t in found["trials"]) == 6
    for t in failed:
        assert t["ended"] == "refused" and not (tmp_path / "study" / t["folder"] / "metrics.jsonl").exists()
        assert "do not divide the width" in t["reason"] or "gradient_accumulation_steps: 0 is not" in t["reason"]
    assert sum(t["wall_seconds"] for t in failed) > 0  # they cost some of a budget of minutes


def test_what_breaks_while_it_trains_is_recorded_with_its_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from training.tasks.gpt import GptTask

    loss, evaluated = GptTask.loss, list[int]()

    def fragile(self: GptTask, model: Any, batch: Any, smoothing: float = 0.0) -> Any:
        width = self.config.model["n_embd"]
        if width == 8 and not model.training:
            evaluated.append(1)
        elif width == 8 and evaluated:
            raise RuntimeError("a kernel of this width is missing")
        total, tokens = loss(self, model, batch, smoothing)
        return (total * float("nan") if width == 16 else total), tokens

    monkeypatch.setattr(GptTask, "loss", fragile)
    found = run(sweep_config(tmp_path, {"model.n_embd": WIDTHS}, search="grid"))
    ended = {t["params"]["model.n_embd"]: (t["state"], t["ended"], t["reason"]) for t in found["trials"]}
    assert ended[32][:2] == ("complete", "finished")
    assert ended[8] == ("failed", "failed", "RuntimeError: a kernel of this width is missing")
    assert ended[16][:2] == ("failed", "not finite") and "not finite" in ended[16][2]
    (broken,) = (t for t in found["trials"] if t["params"]["model.n_embd"] == 8)
    assert broken["curve"] == [[3, broken["value"]]] and broken["tokens"] > 0  # what it had until then


def test_a_model_that_cannot_fit_is_refused_before_it_is_built(tmp_path: Path) -> None:
    began = time.monotonic()
    found = run(
        sweep_config(tmp_path, {"model.n_embd": [16, 65536]}, {"model": {"type": "gpt2", "n_layer": 24, "n_head": 2}}, search="grid")
    )
    states = {t["params"]["model.n_embd"]: t for t in found["trials"]}
    assert states[16]["state"] == "complete" and states[65536]["ended"] == "refused"
    assert "preflight: weights, gradients and optimizer take" in states[65536]["reason"] and time.monotonic() - began < 120


@pytest.mark.parametrize(("prune", "search"), [("median", "grid"), ("hyperband", "tpe")])
def test_a_bad_trial_is_pruned_early(prune: str, search: str, tmp_path: Path) -> None:
    rates = {"optim.learning_rate": [1e-2, 8e-3, 6e-3, 5e-3, 4e-3, 1e-9]}
    sections = {"train": {"max_steps": 18, "mixed_precision": "no"}, "optim": {"warmup_steps": 0}}
    found = run(sweep_config(tmp_path, rates, sections, search=search, prune=prune, seed=14, trials=12))
    pruned = [t for t in found["trials"] if t["state"] == "pruned"]
    if search == "grid":  # the median of five is asked for; with this seed the bad rate comes last
        assert [t["params"]["optim.learning_rate"] for t in pruned] == [1e-9] and pruned[0]["number"] == 5
    assert pruned and all(3 <= t["step"] < 18 for t in pruned)  # at the horizon nothing is left to be cut short
    assert all(t["step"] == 18 and t["ended"] == "finished" for t in found["trials"] if t["state"] == "complete")


def test_the_report_of_what_is_there_trains_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = sweep_config(tmp_path, GRID, search="grid")
    run(config, "--minutes", "0.001")
    (tmp_path / "study/report.md").unlink()
    found = run(config, "--report", "true")
    assert len(found["trials"]) == 1 and found["trials"][0]["first"] is True
    assert (tmp_path / "study/report.md").is_file() and "report" in capsys.readouterr().out


def test_the_best_are_repeated_with_other_seeds(tmp_path: Path) -> None:
    found = run(sweep_config(tmp_path, GRID, search="random", trials=3, repeat_best=2, repeat_seeds=2))
    searched = [t for t in found["trials"] if t["repeat_of"] is None]
    again = [t for t in found["trials"] if t["repeat_of"] is not None]
    best = sorted(searched, key=lambda t: t["values"][0])[:2]
    assert len(searched) == 3 and Counter(t["repeat_of"] for t in again) == {b["number"]: 2 for b in best}
    for t in again:
        first = searched[t["repeat_of"]]
        assert t["params"] == first["params"] and t["seed"] != first["seed"] and t["values"] != first["values"]


def test_two_aims_and_a_condition(tmp_path: Path) -> None:
    over = {
        "optim.name": ["adamw", "muon"],
        "optim.muon_learning_rate": {"low": 0.005, "high": 0.05, "log": True, "when": {"optim.name": "muon"}},
        "size": {"values": {"small": {"model.n_embd": 8}, "large": {"model.n_embd": 32, "model.n_layer": 2}}},
        "model.n_head": {"low": 1, "high": 2},
    }
    found = run(sweep_config(tmp_path, over, search="nsga2", against="parameters", trials=5))
    assert [o["name"] for o in found["objectives"]] == ["val_loss", "parameters"]
    for t in found["trials"]:
        assert t["values"] == [t["value"], t["parameters"]]
        assert ("optim.muon_learning_rate" in t["params"]) == (t["params"]["optim.name"] == "muon")
        kept = yaml.safe_load((tmp_path / "study" / t["folder"] / "config.yaml").read_text(encoding="utf-8"))
        assert kept["model"]["n_embd"] == {"small": 8, "large": 32}[t["params"]["size"]]


def test_a_budget_of_tokens_or_minutes_ends_it(tmp_path: Path) -> None:
    found = run(sweep_config(tmp_path, GRID, search="random", tokens=1500))
    used = [t["tokens"] for t in found["trials"]]
    assert sum(used) >= 1500 > sum(used[:-1])
    (tmp_path / "b").mkdir()
    found = run(sweep_config(tmp_path / "b", GRID, search="random", minutes=0.02))
    took = [t["wall_seconds"] for t in found["trials"]]
    assert sum(took) >= 1.2 > sum(took[:-1]), "the trial that crosses the line is the last"


def test_another_study_in_the_folder_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = sweep_config(tmp_path, {"model.n_embd": [8]}, search="grid")
    run(config)
    config = sweep_config(tmp_path, {"model.n_embd": [16]}, {"train": {"max_steps": 5, "mixed_precision": "no"}}, search="grid")
    assert sweep.main(["--config", str(config)]) == 2
    err = capsys.readouterr().err
    assert "has another space and another base" in err and "base.train.max_steps was 6 and is 5 now" in err
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").write_text("dear", encoding="utf-8")
    assert sweep.main(["--config", str(config), "--run_dir", str(tmp_path / "mine")]) == 2
    assert "holds files that no sweep wrote" in capsys.readouterr().err and [p.name for p in (tmp_path / "mine").iterdir()] == [
        "thesis.txt"
    ]


def test_a_study_does_not_go_on_with_another_corpus(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    over = {"tokenizer.min_frequency": [1, 2]}  # without a tokenizer of the study's own, its corpus is not read before the trials
    config = sweep_config(tmp_path, over, search="grid", metric="bits_per_character")
    corpus, kept = tmp_path / "verses.jsonl", tmp_path / "study/sweep.yaml"
    run(config, "--minutes", "0.00001")
    before = corpus.read_text("utf-8")
    corpus.write_text(before.replace("。", "，"), "utf-8")
    capsys.readouterr()
    assert sweep.main(["--config", str(config)]) == 2
    err = capsys.readouterr().err
    assert "verses.jsonl is not what the study" in err and err.count("\n") == 1
    assert sweep.main(["--config", str(config), "--report", "true"]) == 0
    corpus.write_text(before, "utf-8")  # another time, the same bytes
    assert len(run(config, "--minutes", "0.00002")["trials"]) == 1
    said = yaml.safe_load(kept.read_text("utf-8"))
    kept.write_text(yaml.safe_dump({**said, "contents": 3}), "utf-8")
    assert sweep.main(["--config", str(config)]) == 2 and "sweep.yaml is damaged" in capsys.readouterr().err
    del said["contents"]  # as a study of before had it
    kept.write_text(yaml.safe_dump(said), "utf-8")
    assert len(run(config)["trials"]) == 2 and "contents:" in kept.read_text("utf-8")


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"space": {}}, "space: no knob"),
        ({"space": {"optim.learning_rat": [1e-3]}}, "did you mean optim.learning_rate?"),
        ({"space": {"optim.learning_rate": ["fast"]}}, "space.optim.learning_rate: optim.learning_rate: 'fast' is not valid here"),
        ({"space": {"optim.learning_rate": {"low": 1e-2, "high": 1e-3}}}, "low 0.01 is not below high 0.001"),
        ({"space": {"optim.learning_rate": {"low": 0.0, "high": 1e-3, "log": True}}}, "log needs a low above 0"),
        ({"space": {"optim.learning_rate": {"lo": 0.0, "high": 1e-3}}}, "did you mean low?"),
        ({"space": {"optim.learning_rate": {"low": 1e-4, "high": 1e-3}}, "search": "grid"}, "a grid needs a list of values"),
        ({"space": {"model.n_embd": [8, 8]}}, "a value stands there twice"),
        ({"space": {"model.n_embd": {"values": [8], "low": 1}}}, "space.model.n_embd: low says nothing beside values"),
        ({"space": {"model.n_embd": {"low": 1}}}, "space.model.n_embd.high: missing"),
        ({"space": {"x": {"values": {"a": {"optim.eps": 1e-8}, "b": {"optim.eps": 1e-8}}}}}, "space.x: a and b set the same"),
        ({"space": {"log.language": ["zh", "en"]}}, "space.log.language: log.language changes nothing that is measured"),
        ({"set": {"run_dir": "runs/x"}}, "set.run_dir: the sweep sees to it itself"),
        ({"base": "configs"}, "base: configs: cannot be read"),
        ({"space": {"model.n_embd": []}}, "wanted a list of values"),
        ({"space": {"run_dir": ["a", "b"]}}, "the sweep sees to run_dir itself"),
        ({"space": {"seed": [1, 2]}}, "the sweep sees to seed itself"),
        ({"space": {"b": {"values": {"x": {"seed": 1}, "y": {"resume": True}}}}}, "the sweep sees to resume itself"),
        ({"space": {"b": {"values": {"x": {"model.n_embd": 8}, "y": {"tokenizer.vocab_size": 99}}}}}, "use bits_per_character"),
        ({"space": {"optim.weight_decay": {"values": [0.1], "when": {"optim.name": "moun"}}, "optim.name": ["muon"]}}, "has no value moun"),
        ({"search": "tpe"}, "no budget for tpe"),
        ({"search": "nsga2", "trials": 3}, "nsga2 is for two aims"),
        ({"against": "seconds", "prune": "median", "trials": 3}, "cannot be judged early by two aims"),
        ({"trials": 0}, "trials: 0 is not a positive number"),
        ({"space": {"tokenizer.vocab_size": [100, 200]}}, "use bits_per_character"),
        ({"metric": "bleu"}, "bleu is for translation"),
        ({"metric": "loss"}, "metric: 'loss' is not valid here"),
        ({"space": {"corpus.max_rows": [10, 20]}}, "needs corpus.validation"),
        ({"set": {"train.max_step": 3}}, "did you mean train.max_steps?"),
        ({"base": "nowhere.yaml"}, "nowhere.yaml: no such file"),
        ({"base": ""}, "base: is empty"),
        ({"set": {"print_config": ""}}, "set: unknown key 'print_config'"),
        ({"set": {"model.n_embd": 8}}, "set.model.n_embd: is a knob of the space too"),
        ({"space": {"train.max_tokens": {"low": 1, "high": 2**40}}}, "the grid has more than"),
        ({"space": {"optim.learning_rate": {"low": -1e308, "high": 1e308}}, "search": "random", "trials": 1}, "is too far"),
        ({"space": {"optim.learning_rate": {"low": 0.1, "high": 0.2, "step": 1.0}}}, "step: 1.0 must be positive and fit"),
        ({"space": {"optim.weight_decay": {"low": 0.0, "high": 1e10, "step": 1e-300}}}, "more than 1,000,000 steps"),
        ({"space": {"optim.weight_decay": {"low": 1e-5, "high": 1.0, "step": 1e-300}}, "search": "random", "trials": 1}, "1,000,000 steps"),
        ({"space": {"model.n_embd": [8, 16], "w": {"values": {"a": {"model.n_embd": 8}}}}}, "space.w: sets model.n_embd, which"),
        ({"space": {"model.resid_pdrop": [0, 0.0]}}, "a value stands there twice"),
        ({"space": {"model.tie_word_embeddings": [1, True]}}, "true and 1 count as one value"),
        ({"space": {"corpus.validation": ["data/verses.jsonl", "data/sentence.txt"]}, "set": HELD_OUT}, "measured on the same rows"),
        ({"space": {"evaluation.max_rows": [1, 2]}, "set": HELD_OUT}, "measured on the same rows"),
        ({"set": {"corpus.validation_share": 0.0}}, "base: nothing to measure val_loss on"),
        ({"space": {"model.resid_pdrop": [0.1, float("nan")]}}, "nan is not a finite number"),
        ({"space": {"optim.weight_decay": {"values": [0.1], "when": {"optim.name": "muon"}}}}, "optim.name is adamw in the base"),
        ({"space": {"optim.weight_decay": {"values": [0.1], "when": {"optim.name": []}}}}, "optim.name has no value to be"),
        ({"space": {"optim.eps": {"values": [1e-8], "when": {"model.n_layer": 4}}, "model.n_layer": {"low": 1, "high": 3}}}, "from 1 to 3"),
        ({"space": {5: [1, 2]}}, "space.5: "),
        ({"report": True}, "there is no study in"),
    ],
)
def test_a_mistake_is_one_clear_line(tmp_path: Path, said: dict[str, Any], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    config = sweep_config(tmp_path, said.get("space", GRID), **{"search": "grid", **{k: v for k, v in said.items() if k != "space"}})
    assert sweep.main(["--config", str(config)]) == 2
    err = capsys.readouterr().err
    assert told in err and err.startswith("error: ") and "Traceback" not in err
    assert not (tmp_path / "study").exists()


@pytest.mark.parametrize(("said", "told"), [({"serch": "grid"}, "did you mean search?"), ({"search": "gird"}, "'gird' is not valid")])
def test_a_search_that_was_misspelt_is_one_mistake(
    said: dict[str, Any], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sweep.main(["--config", str(sweep_config(tmp_path, GRID, **said))]) == 2
    err = capsys.readouterr().err
    assert told in err and err.count("\n") == 1


def test_the_language_is_asked_for_as_of_the_other_commands(tmp_path: Path) -> None:
    config = str(sweep_config(tmp_path, GRID, search="grid"))
    for said in (["--lang", "zh"], ["--lang=zh"], ["--language", "zh"]):
        assert space.parse_sweep_args(["--config", config, *said]).language == "zh"


def test_a_key_of_the_trials_is_sent_where_it_belongs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = str(sweep_config(tmp_path, GRID, search="grid"))
    assert sweep.main(["--config", config, "--train.max_steps", "5"]) == 2
    assert "unknown key train; what all trials are to have stands under `set`" in capsys.readouterr().err
    assert sweep.main(["--config", config, "--trails", "5"]) == 2
    assert "unknown key trails; did you mean trials?" in capsys.readouterr().err


def test_a_key_that_the_model_does_not_have_is_told_before_any_trial(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert sweep.main(["--config", str(sweep_config(tmp_path, {"model.n_embed": [8, 16]}, search="grid"))]) == 2
    assert "space.model.n_embed: model.n_embed: gpt2 has no such key; did you mean n_embd?" in capsys.readouterr().err
    assert list((tmp_path / "study/trials").iterdir()) == []


def test_a_study_goes_on_where_its_folder_was_moved_to(tmp_path: Path) -> None:
    config = sweep_config(tmp_path, {"model.n_embd": [8, 16]}, {"train": {"max_steps": 80, "mixed_precision": "no"}}, search="grid")
    worker = start(config, "first")
    deadline = time.monotonic() + 120
    while not any(tmp_path.glob("study/trials/*/latest")) and worker.is_alive() and time.monotonic() < deadline:
        time.sleep(0.02)
    kill(worker)
    (tmp_path / "study").rename(tmp_path / "moved")
    assert sweep.main(["--config", str(config), "--run_dir", str(tmp_path / "moved")]) == 0
    assert [(t["state"], t["step"]) for t in study(tmp_path / "moved")["trials"]] == [("complete", 80)] * 2


@pytest.mark.parametrize(
    ("file", "text", "told"),
    [
        ("study.journal", "{}\n", "study.journal is damaged"),
        ("sweep.yaml", "", "sweep.yaml is gone"),
        ("study.journal", "", "has 0 trials, but there is "),
        ("study.journal", "[" * 100_000 + "\n", "study.journal is damaged"),
        ("sweep.yaml", "- nothing", "sweep.yaml is damaged"),
        ("sweep.yaml", "[" * 5000, "sweep.yaml is damaged"),
        ("sweep.yaml", "a: 2024-13-45", "sweep.yaml is damaged"),
    ],
)
def test_a_damaged_study_is_not_begun_anew(file: str, text: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = sweep_config(tmp_path, {"model.n_embd": [8, 16]}, {"train": {"max_steps": 1, "mixed_precision": "no"}}, search="grid")
    run(config)
    if text:
        (tmp_path / "study" / file).write_text(text, encoding="utf-8")
    else:
        (tmp_path / "study" / file).unlink()
    capsys.readouterr()
    assert sweep.main(["--config", str(config)]) == 2
    err = capsys.readouterr().err
    assert told in err and err.startswith("error: ") and err.count("\n") == 1


def test_a_report_that_cannot_be_written_says_which_file_and_whether_it_is_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = sweep_config(tmp_path, {"model.n_embd": [8]}, {"train": {"max_steps": 1, "mixed_precision": "no"}}, search="grid")
    run(config)
    (tmp_path / "study/report.md").unlink()
    (tmp_path / "study/report.md").mkdir()
    assert sweep.main(["--config", str(config), "--report", "true"]) == 2
    assert "report.md" in (err := capsys.readouterr().err) and "Traceback" not in err
    write = write_text

    def full(path: Path, text: str) -> None:
        if path.name == "report.md":
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        write(path, text)

    monkeypatch.setattr(report, "write_text", full)
    assert sweep.main(["--config", str(config), "--report", "true"]) == 1
    assert "report.md: No space left on device" in capsys.readouterr().err


def test_the_config_of_a_run_is_no_sweep_s_and_the_other_way_round(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = sweep_config(tmp_path, GRID, search="grid")
    assert sweep.main(["--config", str(tmp_path / "config.yaml")]) == 2 and train.main(["--config", str(config)]) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert "is the config of a run" in first and "is the config of a sweep; train it with training/sweep.py" in second


def test_flat_and_nested_are_each_other_s_inverse() -> None:
    tree = {"train": {"max_steps": 3}, "model": {"type": "gpt2", "n_embd": 8}, "seed": 1}
    assert nested(flat(tree)) == tree
    with pytest.raises(ConfigError, match="wait for each other"):
        over = {"a.b": {"values": [1], "when": {"c.d": 1}}, "c.d": {"values": [1], "when": {"a.b": 1}}}
        space.knobs(space.SweepConfig(base="x", space=over))

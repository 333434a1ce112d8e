"""The space of a sweep: which settings are in it, and that those of the shipped sweeps can be trained. `pytest tests/test_space.py`"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from test_study import opened, told
from training_runs import ROOT, gpt_config

from training.settings.config import SourceConfig, source_list
from training.settings.load import load_config
from training.setup.processes import Processes
from training.sweeps import space, trial
from training.sweeps.knob import Knob

SHIPPED = sorted((ROOT / "configs/sweep").glob("*.yaml"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_value_of_a_shipped_sweep_can_be_trained(path: Path, tmp_path: Path) -> None:
    shipped = space.parse_sweep_args(["--config", str(path)])
    base = replace(space.base_config(shipped), run_dir=str(tmp_path))
    for knob in space.knobs(shipped):
        for value in knob.extremes():
            assert trial.refusal(space.with_values(base, knob.settings(value)), 5000, Processes()) == "", (knob.key, value)


def test_a_no_in_quotes_is_a_text_also_in_a_list(tmp_path: Path) -> None:
    (tmp_path / "sweep.yaml").write_text(f"base: {gpt_config(tmp_path)}\nsearch: grid\nspace:\n  train.mixed_precision: ['no', bf16]\n")
    sweep = space.parse_sweep_args(["--config", str(tmp_path / "sweep.yaml")])
    assert sweep.space["train.mixed_precision"] == ["no", "bf16"] and [k.values for k in space.knobs(sweep)] == [("no", "bf16")]


def test_sources_of_text_can_be_a_knob(tmp_path: Path) -> None:
    base = load_config(gpt_config(tmp_path))
    said = [{"path": "a.txt", "tag": "<a> ", "where": {"kind": "x"}}, "b.txt"]
    made = space.with_values(base, {"corpus.train": said, "corpus.validation": {"path": "c.txt"}}).corpus
    first, second = source_list(made.train)
    assert (first.path, first.tag, first.where, second.path) == ("a.txt", "<a> ", {"kind": "x"}, "b.txt")
    assert made.validation == SourceConfig(path="c.txt") and made.columns == base.corpus.columns


def test_a_condition_on_what_is_no_knob_asks_the_base(tmp_path: Path) -> None:
    base = load_config(gpt_config(tmp_path))
    other = "adamw" if base.optim.name == "muon" else "muon"
    for name, turned in ((base.optim.name, True), (other, False)):
        knob = Knob("optim.weight_decay", (0.0, 0.1), when=(("optim.name", (name,)),))
        assert space.holds(knob, {}, base, [knob]) == turned


def test_a_condition_on_a_knob_that_is_not_turned_does_not_hold_whatever_the_base_has(tmp_path: Path) -> None:
    base = load_config(gpt_config(tmp_path, model={"resid_pdrop": 0.1}))
    over: dict[str, Any] = {
        "model.n_layer": [1, 2],
        "model.resid_pdrop": {"values": [0.1, 0.2], "when": {"model.n_layer": 2}},
        "model.embd_pdrop": {"values": [0.0, 0.3], "when": {"model.resid_pdrop": 0.1}},
    }
    points = space.grid(space.knobs(space.SweepConfig(base="x", space=over, search="grid")), base)
    assert [p for p in points if p["model.n_layer"] == 1] == [{"model.n_layer": 1}]
    assert len(points) == 1 + 2 + 1
    study = opened(tmp_path, over)
    for _ in range(20):
        told(study, 1.0)
    drawn = [t.params for t in study.trials()]
    assert {p["model.n_layer"] for p in drawn} == {1, 2}
    assert all(("model.embd_pdrop" in p) == (p.get("model.resid_pdrop") == 0.1) for p in drawn)


def test_a_grid_has_both_ends_of_a_range_and_no_point_twice(tmp_path: Path) -> None:
    over: dict[str, Any] = {
        "optim.name": ["adamw", "muon"],
        "optim.muon_learning_rate": {"values": [0.01, 0.02], "when": {"optim.name": "muon"}},
        "model.n_layer": {"low": 1, "high": 3},
        "model.resid_pdrop": {"low": 0.0, "high": 0.3, "step": 0.1},
    }
    knobs = space.knobs(space.SweepConfig(base="x", space=over, search="grid"))
    points = space.grid(knobs, load_config(gpt_config(tmp_path)))
    assert len(points) == (1 + 2) * 3 * 4
    assert len({json.dumps(p, sort_keys=True) for p in points}) == len(points)
    assert {p["model.n_layer"] for p in points} == {1, 2, 3}
    assert sorted({p["model.resid_pdrop"] for p in points}) == pytest.approx([0.0, 0.1, 0.2, 0.3])


def test_every_decade_of_a_logarithmic_range_is_drawn_as_often(tmp_path: Path) -> None:
    study = opened(tmp_path, {"optim.learning_rate": {"low": 1e-6, "high": 1.0, "log": True}})
    for _ in range(30):
        told(study, 1.0)
    rates = [t.params["optim.learning_rate"] for t in study.trials()]
    assert 5 <= sum(rate < 1e-3 for rate in rates) <= 25

"""Runs that end before their first step: models that build and cannot do the rest, corpora without a row, signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from test_folders import SHORT, refused
from training_runs import ROOT, environment, gpt_config, run_here

from training.base.errors import ConfigError
from training.corpus.batches import MicroBatches
from training.corpus.prepare import open_corpus
from training.model.build import model_config, new_model
from training.settings.config import CorpusConfig, SourceConfig
from training.settings.load import load_config
from training.setup.run_folder import lock_folder
from training.train import main

PROPHET = {
    "hidden_size": 16, "num_encoder_layers": 1, "num_decoder_layers": 1, "num_encoder_attention_heads": 2,
    "num_decoder_attention_heads": 2, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32,
}  # fmt: skip


@pytest.mark.parametrize(
    ("task", "keys", "message"),
    [
        ("translation", {"type": "prophetnet", **PROPHET}, "prophetnet with these keys cannot generate: .*position_ids"),
        ("gpt", {"type": "gpt2", "n_embd": 16, "n_head": 2, "n_layer": -1}, "model.n_layer: -1 is not valid here"),
        ("gpt", {"type": "xlnet", "d_model": 16, "n_layer": 1, "n_head": 2, "d_inner": 32}, "xlnet .*(cannot be built|sees the tokens)"),
        ("gpt", {"type": "gpt2", "output_hidden_states": True}, "model.output_hidden_states: says what a call returns .*leave it out"),
        ("gpt", {"type": "gpt2", "output_attentions": True}, "model.output_attentions"),
        ("gpt", {"type": "gpt2", "return_dict_in_generate": True}, "model.return_dict_in_generate"),
        ("gpt", {"type": "gpt2", "return_dict": False}, "model.return_dict"),
    ],
)
def test_a_model_that_cannot_generate_is_told_of_before_the_run(
    task: str, keys: dict[str, Any], message: str, vocabularies: dict[str, Any]
) -> None:
    with pytest.raises(ConfigError, match=message):
        new_model(task, model_config(task, keys, vocabularies[task], 24), 24, 8, seed=1)


def test_the_try_leaves_the_dice_alone_and_fits_the_smallest_context(vocabularies: dict[str, Any], monkeypatch) -> None:
    keys = {"type": "gpt2", "n_embd": 16, "n_layer": 1, "n_head": 2}
    after = []
    for generate in (True, False):
        if not generate:
            monkeypatch.setattr("training.model.build._try_generation", lambda model, context: None)
        new_model("gpt", model_config("gpt", keys, vocabularies["gpt"], 2), 2, 2, seed=1)
        after.append(torch.get_rng_state())
    assert torch.equal(*after)


def test_the_decoder_of_an_encoder_decoder_trains_as_a_gpt(tmp_path: Path) -> None:
    model = {"type": "marian", "d_model": 16, "decoder_layers": 1, "decoder_attention_heads": 2, "decoder_ffn_dim": 32}
    config = gpt_config(tmp_path, **{**SHORT, "train": {"max_steps": 1}})
    config.write_text(yaml.safe_dump({**yaml.safe_load(config.read_text()), "model": model}))
    from transformers import AutoModelForCausalLM

    place = run_here(config).model_dir
    assert place is not None
    ids = torch.tensor([[1, 2]])
    assert AutoModelForCausalLM.from_pretrained(place).generate(ids, max_new_tokens=2).shape == (1, 4)


def test_weights_too_small_for_a_single_row_are_told(tmp_path: Path) -> None:
    config = gpt_config(tmp_path, **SHORT, corpus={"train": {"path": str(tmp_path / "verses.jsonl"), "weight": 1e-9}})
    assert "corpus.train: no row is left in an epoch; raise the weights" in refused(config, tmp_path / "run")
    corpus = open_corpus(load_config(config).corpus, "gpt", tmp_path / "corpus", 1, 5)[0]
    with pytest.raises(ConfigError, match="no row was left in 20 epochs"):  # also where the first epoch alone had some
        MicroBatches(corpus, lambda rows, rng: ([], 0), 0, 1, 0).step(1)


def test_a_few_rows_of_a_small_weight_may_be_left_out_for_some_epochs(tmp_path: Path) -> None:
    """With 0.2 of three rows, half of the epochs have none."""
    (tmp_path / "few.jsonl").write_text("".join(json.dumps({"text": f"第{k}行"}) + "\n" for k in range(3)), encoding="utf-8")
    few = CorpusConfig(train=SourceConfig(str(tmp_path / "few.jsonl"), weight=0.2), validation_share=0.0)
    corpus, epochs = open_corpus(few, "gpt", tmp_path / "corpus", 1, 5)[0], set()
    loader = MicroBatches(corpus, lambda rows, rng: ([{"rows": np.array([len(rows)])}], 0), 0, 1, 0)
    for _ in range(40):
        assert int(loader.step(1)[0]["rows"]) > 0
        epochs.add(loader.chunk)
    assert max(epochs) > 60


def test_a_signal_before_the_first_step_is_told(tmp_path: Path, monkeypatch, capsys: pytest.CaptureFixture[str]) -> None:
    config = gpt_config(tmp_path, **SHORT)
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr("training.loop.run.open_data", lambda *_, **__: os.kill(os.getpid(), signal.SIGTERM) or time.sleep(9))
    assert main(["--config", str(config)]) == 143
    assert capsys.readouterr().err == "stopped before the first step\n"
    assert signal.getsignal(signal.SIGTERM) == before
    held = lock_folder(tmp_path / "run")  # it has let go of the folder
    held.release()


def test_a_process_that_is_killed_early_leaves_a_word(tmp_path: Path) -> None:
    config = gpt_config(tmp_path, **SHORT)
    command = [sys.executable, "-c", "import sys, time; from training import train; train.train = lambda c: (print('on', flush=True), "
               "time.sleep(60)); sys.exit(train.main(sys.argv[1:]))", "--config", str(config)]  # fmt: skip
    process = subprocess.Popen(command, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "on\n"
    process.terminate()
    assert process.wait(20) == 143
    assert process.stderr is not None and process.stderr.read() == "stopped before the first step\n"

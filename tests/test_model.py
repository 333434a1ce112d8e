"""Models by name: every class trains, its special ids lie inside the vocabulary, and mistakes are told in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from training_runs import MODELS
from transformers import AutoModelForCausalLM, pipeline

from training.base.errors import ConfigError
from training.model.build import count_parameters, model_config, new_model


@pytest.mark.parametrize("kind", MODELS)
def test_every_special_id_is_set_and_inside_the_vocabulary(kind: str, vocabularies: dict[str, Any]) -> None:
    task, keys = MODELS[kind]
    tokenizer = vocabularies[task]
    config = model_config(task, {"type": kind, **keys}, tokenizer, 24)
    model = new_model(task, config, 24, 8, seed=1)
    assert (config.eos_token_id, config.pad_token_id) == (tokenizer.eos_token_id, tokenizer.pad_token_id)
    for found in (config, model.config, model.generation_config):
        for key, value in found.to_dict().items():
            ids = value if isinstance(value, list) else [value]
            if key.endswith(("_token_id", "_token_ids")):
                assert all(i is None or 0 <= i < len(tokenizer) for i in ids), (key, value)
    assert model.get_input_embeddings().weight.shape[0] == len(tokenizer)
    assert count_parameters(model) == sum(p.numel() for p in set(model.parameters()) if p.requires_grad)
    assert all(p.dtype == torch.float32 for p in model.parameters())
    again = new_model(task, config, 24, 8, seed=1)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters()))


@pytest.mark.parametrize(
    ("task", "keys", "told"),
    [
        ("gpt", {"type": "gtp2"}, ["'gtp2' is not a decoder-only model", "gpt2"]),
        ("gpt", {"type": "t5"}, ["'t5' is not a decoder-only model"]),
        ("translation", {"type": "gpt2"}, ["'gpt2' is not an encoder-decoder model"]),
        (
            "gpt",
            {"type": "gpt2", "n_layers": 2, "n_hed": 2},
            ["n_layers", "did you mean n_layer?", "model.n_hed", "did you mean n_head?"],
        ),
        ("gpt", {"type": "gpt2", "vocab_size": 9}, ["model.vocab_size: comes from the tokenizer"]),
        ("gpt", {"type": "gpt2", "n_embd": 32, "n_head": 5}, ["5 heads do not divide the width 32", "1, 2, 4, 8"]),
        ("translation", {"type": "m2m_100", "d_model": 32, "encoder_attention_heads": 3}, ["3", "32"]),
        ("translation", {"type": "m2m_100", "d_model": 32, "decoder_attention_heads": 5}, ["5", "32"]),
        ("gpt", {"type": "gpt2", "n_positions": 8}, ["8 is less than the 24 tokens"]),
        ("gpt", {"type": "gpt2", "n_layer": "two"}, ["n_layer"]),
        ("gpt", {"type": "gpt2", "n_layer": -1, "n_embd": 0, "n_head": 0}, ["model.n_layer: -1", "model.n_embd: 0", "model.n_head: 0"]),
        ("gpt", {"type": "qwen3", "num_attention_heads": 0}, ["model.num_attention_heads: 0", "a whole number from 1 on"]),
        ("gpt", {"type": "gpt2", "n_embd": 32, "n_head": 2, "resid_pdrop": 2.0}, ["gpt2 refuses this", "between 0 and 1"]),
        ("gpt", {"type": "gpt2", "n_embd": 32, "n_head": 2, "activation_function": "nope"}, ["gpt2 refuses this", "nope"]),
        ("gpt", {"type": "qwen3", "hidden_act": "swiglu"}, ["swiglu"]),
        ("gpt", {"type": "llama", "num_attention_heads": 4, "num_key_value_heads": 3, "hidden_size": 32}, ["3"]),
    ],
)
def test_a_mistake_is_told_in_words(task: str, keys: dict[str, Any], told: list[str], vocabularies: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as caught:
        new_model(task, model_config(task, keys, vocabularies[task], 24), 24, 8, seed=1)
    for part in told:
        assert part in str(caught.value), str(caught.value)


@pytest.mark.parametrize("kind", ["bert", "roberta", "electra"])
def test_a_class_that_can_look_at_both_sides_looks_back_only(kind: str, vocabularies: dict[str, Any]) -> None:
    keys = {"type": kind, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = new_model("gpt", model_config("gpt", keys, vocabularies["gpt"], 24), 24, 8, seed=1)
    model(input_ids=torch.full((1, 24), 5))  # as long as a batch may be
    with pytest.raises(ConfigError, match=f"model.type: {kind} .*sees the tokens"):
        new_model("gpt", model_config("gpt", {**keys, "is_decoder": False}, vocabularies["gpt"], 24), 24, 8, seed=1)


def test_plain_generation_never_runs_past_the_context(vocabularies: dict[str, Any], tmp_path: Path) -> None:
    tokenizer = vocabularies["gpt"]
    config = model_config("gpt", {"type": "gpt2", "n_embd": 32, "n_layer": 1, "n_head": 2}, tokenizer, 24)
    model = new_model("gpt", config, 24, 24, seed=1)
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    prompt = "鸟" * 20
    ids = tokenizer(prompt, return_tensors="pt")["input_ids"]
    model = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert 10 < ids.shape[1] < 24 and model.generate(ids, do_sample=False, eos_token_id=None).shape[1] == 24
    write = pipeline("text-generation", str(tmp_path))
    assert write(prompt, do_sample=True, eos_token_id=None)[0]["generated_text"].startswith(prompt)

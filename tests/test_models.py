"""models/: what a fresh clone can do without any training."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer

from inference.ctranslate2_backend import CTranslate2Backend, usable
from inference.engine import Engine
from inference.folders import COPY, ModelInfo, find_models

ROOT = Path(__file__).resolve().parent.parent / "models"
MODELS = find_models([ROOT])


def test_they_are_small_enough_for_a_clone() -> None:
    files = [p for p in ROOT.rglob("*") if p.is_file()]
    assert MODELS and all(p.stat().st_size < 10_000_000 for p in files) and sum(p.stat().st_size for p in files) < 60_000_000


@pytest.mark.parametrize("model", MODELS, ids=lambda m: m.name)
def test_each_says_where_it_is_from_and_loads_with_transformers_alone(model: ModelInfo) -> None:
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"| `{model.name}` |" in page and (model.path / "README.md").is_file() and (model.path / "curves.png").is_file()
    config = yaml.safe_load((model.path / "config.yaml").read_text(encoding="utf-8"))
    assert config["task"] == model.task and "trainer_state" not in {p.name for p in model.path.iterdir()}
    assert f"configs/{model.task}/" in page
    auto = AutoModelForCausalLM if model.task == "gpt" else AutoModelForSeq2SeqLM
    net, tokenizer = auto.from_pretrained(model.path), AutoTokenizer.from_pretrained(model.path)
    assert sum(p.numel() for p in net.parameters()) == model.parameters == json.loads((model.path / "meta.json").read_text())["parameters"]
    assert len(tokenizer) == net.config.vocab_size and str(net.dtype) == "torch.float32"


def test_a_sentence_is_translated_by_the_int8_copy() -> None:
    engine = Engine([ROOT])
    info = engine.models("translation")[0]
    assert usable(info.path) and (info.path / COPY / "parity.json").is_file()
    assert engine.translate(["我喜欢猫。", "你昨天去哪儿了？"]).lines == ["I like cats.", "Where did you go yesterday?"]
    assert isinstance(engine._shelf.take(info)[1].backend, CTranslate2Backend)


def test_a_verse_is_written_and_the_overfitted_model_is_another() -> None:
    engine = Engine([ROOT])
    texts = []
    for name in ("stray_birds", "stray_birds_overfitted"):
        *_, last = engine.generate("世界", model=name, seed=1)  # as the page does it: greedily the better one goes round in circles
        assert last.ending == "end" and len(last.text) > 6
        texts.append(last.text)
    assert len(texts) == len(set(texts)) == 2


def test_the_novels_model_knows_the_manner_of_the_novels() -> None:
    *_, last = Engine([ROOT]).generate("宝玉笑道：", model="novels", seed=1, max_new_tokens=60)
    assert len(last.text) > 30 and last.text.count("，") > 2

"""training/export.py and the int8 copy: what is served is what was trained, or the export says so."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from serving_fixtures import PAIRS, SENTENCE, fit_pairs, save_run, tiny_gpt, tiny_translator
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, T5Config, T5ForConditionalGeneration

from inference import ctranslate2_backend
from inference.ctranslate2_backend import CTranslate2Backend
from inference.engine import Engine
from inference.folders import find_models
from inference.torch_backend import TorchBackend
from training.export import main
from training.scoring.test_sets import model_folder
from training.settings.config import dump_config
from training.settings.load import load_config
from training.setup.checkpoint import checksums


@pytest.fixture
def run(tmp_path: Path) -> Path:
    save_run(tmp_path / "runs/tiny", tiny_translator(), "translation", 100, 100)
    return tmp_path / "runs/tiny"


@pytest.fixture
def test_set(tmp_path: Path) -> str:
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps({"chinese": z, "english": e}) + "\n" for z, e in PAIRS.items()), encoding="utf-8")
    return str(path)


def backend(engine: Engine) -> object:
    (info,) = engine.models("translation")
    return engine._shelf.take(info)[1].backend


def test_the_copy_beside_a_run_is_compared_and_then_served(run: Path, test_set: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--model", str(run), "--test", test_set]) == 0
    assert "| CTranslate2, float32 | 100.0% |" in capsys.readouterr().out
    told = json.loads((model_folder(run) / "ctranslate2/parity.json").read_text())
    assert told["sentences"] == 3 and told["int8"]["agree"] == 1.0 and told["int8"]["bytes"] < told["float32"]["bytes"]
    assert not any("differences" in told[kind] for kind in ("float32", "int8")), "sentences of somebody else's test set"
    engine, threads = Engine([run]), torch.get_num_threads()
    assert isinstance(backend(engine), CTranslate2Backend)
    assert torch.get_num_threads() == threads
    for beams in (1, 4):
        assert engine.translate(["", *PAIRS], num_beams=beams).lines == ["", *PAIRS.values()]
    cut = engine.translate([next(iter(PAIRS))], num_beams=1, max_new_tokens=2)
    assert [note.key for note in cut.notes] == ["line_unfinished"]


def test_a_copy_of_other_weights_is_not_served(run: Path, test_set: str) -> None:
    assert main(["--model", str(run), "--test", test_set]) == 0
    save_run(run, tiny_translator(), "translation", 100, 100)  # trained again, into the same folder
    weights = model_folder(run) / "model.safetensors"
    net = AutoModelForSeq2SeqLM.from_pretrained(model_folder(run))
    with torch.no_grad():
        net.model.shared.weight += 0.01
    net.save_pretrained(model_folder(run))
    assert weights.is_file() and isinstance(backend(Engine([run])), TorchBackend)


def test_a_damaged_copy_leaves_the_weights_to_serve(run: Path, test_set: str) -> None:
    assert main(["--model", str(run), "--test", test_set]) == 0
    (model_folder(run) / "ctranslate2/model.bin").write_bytes(b"nothing")
    engine = Engine([run])
    assert isinstance(backend(engine), TorchBackend) and engine.translate(list(PAIRS)).lines == list(PAIRS.values())


def test_a_conversion_that_translates_otherwise_is_an_error_and_nothing_is_kept(
    run: Path, test_set: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Backwards(ctranslate2_backend.Translator):
        def __call__(self, *args: object) -> list[list[int]]:
            return [ids[::-1] for ids in super().__call__(*args)]

    monkeypatch.setattr(ctranslate2_backend, "Translator", Backwards)
    assert main(["--model", str(run), "--test", test_set, "--out", str(tmp_path / "models/tiny")]) == 2
    assert "only 0.0% of 3 greedy translations" in capsys.readouterr().err
    assert not (tmp_path / "models/tiny").exists() and not list(tmp_path.rglob(".tmp-*"))
    assert main(["--model", str(run), "--test", test_set]) == 2
    assert not (model_folder(run) / "ctranslate2").exists()


def test_half_weights_in_small_files_load_anywhere_and_the_copy_alone_is_enough(run: Path, test_set: str, tmp_path: Path) -> None:
    models, meta = tmp_path / "models", model_folder(run) / "meta.json"
    count = sum(p.numel() for p in tiny_translator()[0].parameters())
    meta.write_text(json.dumps({**json.loads(meta.read_text()), "parameters": count}))
    given = ["--model", str(run), "--test", test_set]
    assert main([*given, "--out", str(models / "half"), "--weights", "float16", "--shard_mb", "0.1"]) == 0
    assert json.loads((models / "half/meta.json").read_text(encoding="utf-8"))["sha256"] == checksums(models / "half")
    assert len(list((models / "half/ctranslate2").glob("model.bin.*"))) > 1 and not (models / "half/ctranslate2/model.bin").exists()
    assert len(list((models / "half").glob("*.safetensors"))) > 1 and not (models / "half/trainer_state").exists()
    assert all(path.stat().st_size < 120_000 for path in (models / "half").rglob("*"))
    mine, theirs = (AutoModelForSeq2SeqLM.from_pretrained(folder).state_dict() for folder in (models / "half", model_folder(run)))
    for name, value in theirs.items():
        torch.testing.assert_close(mine[name], value, rtol=1e-3, atol=1e-4)  # widened to float32 again
    assert main([*given, "--out", str(models / "int8"), "--weights", "none"]) == 0
    assert not list((models / "int8").glob("*.safetensors*"))
    half, int8 = find_models([models])
    assert half.parameters == int8.parameters == count
    for info in (half, int8):
        engine = Engine([info.path])
        assert isinstance(backend(engine), CTranslate2Backend) and engine.translate(list(PAIRS)).lines == list(PAIRS.values())
    assert main([*given, "--out", str(models / "half")]) == 0  # again, over the old one
    assert (models / "half/model.safetensors").is_file() and len(list((models / "half").glob("*.safetensors"))) == 1


def test_weights_that_somebody_took_away_leave_the_copy_to_serve(run: Path, test_set: str, tmp_path: Path) -> None:
    assert main(["--model", str(run), "--test", test_set, "--out", str(tmp_path / "models/tiny")]) == 0
    next((tmp_path / "models/tiny").glob("*.safetensors")).unlink()
    assert ctranslate2_backend.usable(tmp_path / "models/tiny")
    assert Engine([tmp_path / "models/tiny"]).translate(list(PAIRS)).lines == list(PAIRS.values())


def test_what_belongs_to_the_run_goes_along(run: Path, test_set: str, tmp_path: Path) -> None:
    """Its config and curves, from a run and from what was exported before, never a stranger's; the compared sentences do not."""
    config = load_config("configs/translation/phrasebook.yaml")
    (run / "config.yaml").write_text(dump_config(config), encoding="utf-8")
    (run / "curves.png").write_bytes(b"a picture")
    meta = model_folder(run) / "meta.json"
    more = {"name": "tiny", "parameters": 1, "model_type": "m2m_100", "examples": ["我"], "corpus": {"rows": 3}}
    meta.write_text(json.dumps({**json.loads(meta.read_text()), **more}))
    first, second = tmp_path / "one/two/first", tmp_path / "second"
    (tmp_path / "one/config.yaml").parent.mkdir()
    (tmp_path / "one/config.yaml").write_text("somebody: else\n")
    for source, out in ((run, first), (first, second)):
        told = ["--test", test_set, "--weights", "float16", "--license", "cc-by-4.0"]
        assert main(["--model", str(source), "--out", str(out), *told]) == 0
        assert load_config(out / "config.yaml") == config and (out / "curves.png").read_bytes() == b"a picture"
        assert {value.dtype for value in load_file(out / "model.safetensors").values()} == {torch.float16}
        card = (out / "README.md").read_text(encoding="utf-8")
        assert f"# {out.name}\n" in card and 'license: "cc-by-4.0"' in card and "--config config.yaml" in card
        kept = json.dumps(json.loads((out / "ctranslate2/parity.json").read_text()), ensure_ascii=False)
        assert not any(zh in kept or en in kept for zh, en in PAIRS.items())


def test_what_somebody_put_beside_an_exported_model_stays_and_another_model_is_not_written_over(
    run: Path, test_set: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, told = tmp_path / "published/tiny", ["--model", str(run), "--test", test_set]
    assert main([*told, "--out", str(out)]) == 0
    (out / ".git").mkdir()
    (out / ".git/HEAD").write_text("ref: refs/heads/main\n")
    (out / "notes.txt").write_text("mine")
    (tmp_path / "link").symlink_to(out)
    assert main([*told, "--out", str(tmp_path / "link"), "--shard_mb", "0.1"]) == 0
    assert (out / ".git/HEAD").read_text() == "ref: refs/heads/main\n" and (out / "notes.txt").read_text() == "mine"
    assert not (out / "model.safetensors").exists() and len(list(out.glob("model-*.safetensors"))) > 1 and (tmp_path / "link").is_symlink()
    save_run(tmp_path / "gpt", tiny_gpt(), "gpt", 1, 1)
    capsys.readouterr()
    assert main(["--model", str(tmp_path / "gpt"), "--out", str(out)]) == 2
    assert "holds another model (m2m_100, where this is gpt2)" in capsys.readouterr().err and (out / "ctranslate2").is_dir()


def test_a_copy_is_of_all_files_of_the_weights(run: Path, test_set: str, tmp_path: Path) -> None:
    out = tmp_path / "models/tiny"
    assert main(["--model", str(run), "--test", test_set, "--out", str(out), "--shard_mb", "0.1"]) == 0
    assert ctranslate2_backend.usable(out)
    last = sorted(out.glob("*.safetensors"))[-1]
    content = bytearray(last.read_bytes())
    content[-1] ^= 1
    last.write_bytes(content)
    assert not ctranslate2_backend.usable(out)


@pytest.mark.parametrize(("wrong", "kind", "code"), [(1, "float32", 0), (2, "float32", 2), (1, "int8", 0), (2, "int8", 0)])
def test_how_much_may_differ(
    wrong: int, kind: str, code: int, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of 60 sentences one may, two are too many: an error in float32, a warning in int8."""

    right: list[list[int]] = []

    class Otherwise(ctranslate2_backend.Translator):
        def __call__(self, *args: object) -> list[list[int]]:
            right[:] = right or super().__call__(*args)  # float32 comes first
            return [ids[::-1] if k < wrong and self.inner.compute_type.startswith(kind) else ids for k, ids in enumerate(right)]

    monkeypatch.setattr(ctranslate2_backend, "Translator", Otherwise)
    test = tmp_path / "sixty.jsonl"
    test.write_text("".join(json.dumps({"chinese": f"{n}", "english": "-"}) + "\n" for n in range(60)), encoding="utf-8")
    assert main(["--model", str(run), "--test", str(test)]) == code
    said = capsys.readouterr().err
    assert ("error: only 96.7% of 60" in said) == (code == 2) and ("warning: 3.3%" in said) == ((wrong, kind) == (2, "int8"))


def test_a_gpt_is_copied_without_the_trainers_state(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_run(tmp_path / "run", tiny_gpt(), "gpt", 100, 100)
    out = tmp_path / "models/gpt"
    assert main(["--model", str(tmp_path / "run"), "--out", str(out), "--weights", "float16"]) == 0
    assert "needs no int8 copy" in capsys.readouterr().out
    assert AutoModelForCausalLM.from_pretrained(out).dtype == torch.float32
    *_, last = Engine([out]).generate("夏天", temperature=0, max_new_tokens=40)
    assert last.text == SENTENCE


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--weights", "float16"], "--out DIR"),
        (["--out", "."], "is no model folder"),
        (["--test", "nowhere.jsonl"], "nowhere.jsonl"),
        (["--weights", "int4"], "int4"),
        (["--sentences", "0"], "sentences"),
    ],
)
def test_mistakes_are_one_line(run: Path, options: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--model", str(run), *options]) == 2
    said = capsys.readouterr()
    assert said.err.startswith("error: ") and told in said.err and said.err.count("\n") == 1 and not said.out


def test_a_t5_converts_too(tmp_path: Path, test_set: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With the ids that training/model/build.py gives it: its decoder begins with the end token."""
    _, tokenizer = tiny_translator()
    torch.manual_seed(0)
    net = T5ForConditionalGeneration(
        T5Config(
            vocab_size=len(tokenizer), pad_token_id=1, eos_token_id=2, bos_token_id=0, decoder_start_token_id=2,
            d_model=64, d_ff=128, d_kv=16, num_layers=1, num_heads=4, dropout_rate=0.0,
        )
    )  # fmt: skip
    fit_pairs(net, tokenizer, steps=250)
    save_run(tmp_path / "run", (net, tokenizer), "translation", 1, 1)
    assert main(["--model", str(tmp_path / "run"), "--test", test_set]) == 0
    assert "| CTranslate2, float32 | 100.0% |" in capsys.readouterr().out
    assert Engine([tmp_path / "run"]).translate(list(PAIRS)).lines == list(PAIRS.values())


def test_a_class_that_would_be_converted_wrongly_is_refused(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """CTranslate2 takes the last entry of a Marian vocabulary for padding, which it is not here."""
    path = model_folder(run) / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "model_type": "marian"}))
    assert main(["--model", str(run)]) == 2
    assert "m2m_100, t5" in capsys.readouterr().err

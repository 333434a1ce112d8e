"""serving/: model folders found and served, on real small models. `pytest tests/test_engine.py`"""

from __future__ import annotations

import itertools
import json
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from serving_fixtures import (
    CONTEXT,
    PAIRS,
    SENTENCE,
    both_models,
    endless_gpt,
    last,
    save,
    tiny_byte_gpt,
    tiny_translator,
)
from tokenizers import Tokenizer, models
from transformers import GPT2Config, PreTrainedTokenizerFast

from inference.engine import MAX_LINES, MAX_NEW_TOKENS, Engine
from inference.folders import ModelError, default_roots, find_models
from inference.text import MAX_PROMPT_CHARS, Prompt, StreamDecoder, encode_lines
from inference.torch_backend import Sampling, _processors
from serving.tabs.generate import longest

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = both_models(tmp_path_factory.mktemp("models"))
    save(folder / "bytes", tiny_byte_gpt(), "gpt")
    save(folder / "endless", endless_gpt(), "gpt")
    return folder


@pytest.fixture(scope="module")
def engine(root: Path) -> Engine:
    return Engine([root], keep=4)


def keys(result: Any) -> list[str]:
    return [note.key for note in result.notes]


# Continue a text


@pytest.mark.parametrize("model", ["verses", "bytes"])
@pytest.mark.parametrize("prompt", ["", SENTENCE[0], SENTENCE[:7]])
def test_greedy_reproduces_and_stops(engine: Engine, model: str, prompt: str) -> None:
    result = last(engine, prompt, model, temperature=0)
    assert result.text == SENTENCE
    assert result.ending == "end"
    assert result.seed is None
    assert result.notes == ()
    assert result.seconds > 0


def test_stream_grows_and_shows_no_half_character(engine: Engine) -> None:
    for temperature in (0.0, 1.0):
        texts = [so_far.text for so_far in engine.generate("", "bytes", temperature=temperature, seed=5)]
        assert all(after.startswith(before) for before, after in itertools.pairwise(texts))
        assert temperature or "\ufffd" not in "".join(texts)  # drawn bytes may be no character at all


def test_half_a_character_is_held_back_until_it_is_whole(engine: Engine) -> None:
    _, tokenizer = tiny_byte_gpt()
    ids = tokenizer("飞é", add_special_tokens=False)["input_ids"]  # three bytes and two
    decoder = StreamDecoder(tokenizer, Prompt("鸟", [0, *tokenizer("鸟")["input_ids"]], 10, []))
    seen = []
    for token in ids:
        decoder.add(token)
        seen.append(decoder.text())
    assert seen == ["鸟", "鸟", "鸟飞", "鸟飞", "鸟飞é"]
    decoder.add(ids[0])
    assert decoder.text() == "鸟飞é"
    assert decoder.text(final=True) == "鸟飞é\ufffd"


def test_what_was_shown_stays_even_of_broken_characters() -> None:
    _, tokenizer = tiny_byte_gpt()
    lead, *rest = tokenizer("飞", add_special_tokens=False)["input_ids"]
    decoder = StreamDecoder(tokenizer, Prompt("", [0], 10, []))
    seen = [""]
    for token in [lead, rest[0], lead, rest[0], lead, lead, rest[1], rest[1], lead, *rest, lead]:
        decoder.add(token)
        seen.append(decoder.text())
    seen.append(decoder.text(final=True))
    assert all(after.startswith(before) for before, after in itertools.pairwise(seen)), seen
    assert seen[-2].endswith("飞")


def test_a_seed_repeats_its_text_and_another_differs(engine: Engine) -> None:
    texts = {seed: last(engine, "", "endless", seed=seed, max_new_tokens=30).text for seed in (1, 2, 3)}
    assert len(set(texts.values())) == 3
    for seed, text in texts.items():
        result = last(engine, "", "endless", seed=seed, max_new_tokens=30)
        assert (result.text, result.seed) == (text, seed)


def test_a_random_seed_is_told_and_repeats(engine: Engine) -> None:
    first = last(engine, "", "endless", seed=-1, max_new_tokens=30)
    assert first.seed is not None
    assert last(engine, "", "endless", seed=first.seed, max_new_tokens=30).text == first.text


def test_seeds_are_exact_among_many_requests(engine: Engine) -> None:
    jobs = [(model, seed) for seed in range(6) for model in ("endless", "bytes", "verses")]
    options: dict[str, Any] = {"temperature": 1.5, "top_k": 0, "max_new_tokens": 12}
    alone = {job: last(engine, "飞", job[0], seed=job[1], **options).text for job in jobs}
    before = torch.random.get_rng_state()
    with ThreadPoolExecutor(8) as pool:
        together = dict(
            zip(
                jobs,
                pool.map(lambda j: last(engine, "飞", j[0], seed=j[1], **options).text, jobs),
                strict=True,
            )
        )
    assert together == alone
    assert torch.equal(before, torch.random.get_rng_state())  # nobody else's random numbers were used


def test_sampling_options_matter(engine: Engine) -> None:
    def draw(**options: Any) -> str:
        return last(engine, "", "endless", seed=4, max_new_tokens=40, temperature=1.5, **options).text

    free = draw(top_k=0)
    assert draw(top_k=1) == last(engine, "", "endless", temperature=0, max_new_tokens=40).text
    assert draw(top_k=0, top_p=0.02) != free
    repeated = last(engine, "", "endless", temperature=0, max_new_tokens=20).text
    varied = last(engine, "", "endless", temperature=0, max_new_tokens=20, repetition_penalty=2).text
    assert len(set(varied)) > len(set(repeated))


def test_the_penalty_does_not_forbid_the_end(engine: Engine) -> None:
    # bos is eos: were the first token punished as a repetition, no text could end.
    assert last(engine, SENTENCE, temperature=0, repetition_penalty=5).ending == "end"
    sampling = Sampling(temperature=0, top_k=0, top_p=1, repetition_penalty=2.0, max_new_tokens=9, seed=0)
    scores = _processors(sampling)(torch.tensor([[0, 3, 4]]), torch.ones(1, 6))
    assert scores.tolist() == [[1, 1, 1, 0.5, 0.5, 1]]


def test_length_limit(engine: Engine) -> None:
    result = last(engine, "", temperature=0, max_new_tokens=5)
    assert (result.text, result.tokens, result.ending) == (SENTENCE[:5], 5, "length")


def test_too_long_prompt_keeps_its_tail(engine: Engine) -> None:
    prompt = SENTENCE * 10
    result = last(engine, prompt, temperature=0, max_new_tokens=10)
    assert result.text.startswith(prompt)
    assert "prompt_cut" in keys(result)
    (note,) = [note for note in result.notes if note.key == "prompt_cut"]
    assert note.values == {"context": CONTEXT, "kept": CONTEXT - 1 - 10}
    for length in (1, 47, 1000):  # every side of the edge; an index out of range would raise
        for characters in (0, 24, 46, 47, 48):
            last(engine, (SENTENCE * 3)[:characters], temperature=1.5, seed=1, max_new_tokens=length)


def test_asking_for_more_than_the_context_keeps_half_of_the_prompt(engine: Engine) -> None:
    result = last(engine, "Q" + "天" * 40, "verses", temperature=0, max_new_tokens=1000)
    (note,) = [note for note in result.notes if note.key == "prompt_cut"]
    assert note.values["kept"] == (CONTEXT - 1) // 2
    assert "unknown" not in keys(result)  # what was cut off is not complained of


def test_five_megabytes_of_prompt(engine: Engine) -> None:
    started = time.perf_counter()
    result = last(engine, "飞" * 1_700_000, temperature=0, max_new_tokens=3)
    assert time.perf_counter() - started < 5
    assert keys(result)[:2] == ["prompt_capped", "prompt_cut"]
    assert result.notes[0].values == {"kept": MAX_PROMPT_CHARS}


def test_unknown_characters_are_named(engine: Engine) -> None:
    result = last(engine, "Q夏 \x00Q🐦", temperature=0)
    (note,) = [note for note in result.notes if note.key == "unknown"]
    assert note.values == {"characters": "Q U+0000 🐦"}
    assert result.text.startswith("Q夏 \x00Q🐦")
    assert keys(last(engine, "Q🐦", "bytes", temperature=0)) == []  # bytes know everything
    last(engine, "\ud800", temperature=0)  # no character at all


@pytest.mark.parametrize("close", [True, False])
def test_stopping_is_prompt_and_frees_the_model(engine: Engine, close: bool) -> None:
    stop = threading.Event()
    stream = engine.generate("", "endless", max_new_tokens=1000, stop=stop)
    next(stream)
    started = time.perf_counter()
    if close:
        stream.close()  # type: ignore[attr-defined]
    else:
        stop.set()
        rest = list(stream)
        assert rest[-1].ending == "visitor"
        assert rest[-1].tokens < 500
    assert last(engine, "", "endless", max_new_tokens=1).tokens == 1
    assert time.perf_counter() - started < 2


def test_a_slow_reader_does_not_hold_the_model(engine: Engine) -> None:
    slow = engine.generate("", "verses", temperature=0)
    next(slow)
    assert last(engine, "", temperature=0).text == SENTENCE
    assert list(slow)[-1].text == SENTENCE


WRONG: list[tuple[str, Any]] = [
    *(("temperature", value) for value in (-0.1, float("nan"), "hot")),
    *(("top_p", value) for value in (0, 1.1)),
    *(("max_new_tokens", value) for value in (0, 10**9)),
    *(("prompt", value) for value in (None, ["a"])),
    *(("top_k", -1), ("repetition_penalty", 0), ("seed", -2)),
]


@pytest.mark.parametrize(("option", "value"), WRONG)
def test_wrong_values_are_named_at_once(engine: Engine, option: str, value: Any) -> None:
    with pytest.raises(ModelError, match=option):
        engine.generate(**{option: value})


# Translate


@pytest.mark.parametrize("num_beams", [1, 4])
def test_translate_keeps_order_and_blank_lines(engine: Engine, num_beams: int) -> None:
    lines = ["", *reversed(PAIRS), "  ", *PAIRS, ""] + list(PAIRS) * 6  # more than one batch
    result = engine.translate(lines, num_beams=num_beams)
    assert result.lines == [PAIRS.get(line, "") for line in lines]
    assert result.seconds > 0
    assert keys(result) == []


def test_beams_are_those_of_transformers(engine: Engine) -> None:
    """On lines that the model has not seen; on some of them four beams find something else than one, on every machine."""
    model, tokenizer = tiny_translator()
    dice, characters = random.Random(0), sorted(set("".join(PAIRS)))
    lines = ["".join(dice.sample(characters, dice.randint(1, 6))) for _ in range(60)]
    outputs = {}
    for beams in (1, 4):
        outputs[beams] = engine.translate(lines, num_beams=beams, max_new_tokens=20).lines
        for line, translation in zip(lines, outputs[beams], strict=True):
            with torch.inference_mode():
                plain = model.generate(**_inputs(tokenizer, line), num_beams=beams, max_new_tokens=20, do_sample=False)
            assert translation == tokenizer.decode(plain[0], skip_special_tokens=True).strip()
    assert outputs[1] != outputs[4]


def _inputs(tokenizer: Any, line: str) -> dict[str, torch.Tensor]:
    encoded = tokenizer(line, return_tensors="pt")
    return {name: encoded[name] for name in ("input_ids", "attention_mask")}


def test_translate_reports_load_time_once(root: Path) -> None:
    engine = Engine([root])
    assert engine.translate(list(PAIRS)).load_seconds > 0
    assert engine.translate(list(PAIRS)).load_seconds == 0


def test_a_line_alone_or_among_others_is_the_same(engine: Engine) -> None:
    alone = [engine.translate([line]).lines[0] for line in ("今天很好。", "车站", *PAIRS)]
    assert engine.translate(["今天很好。", "车站", *PAIRS]).lines == alone


def test_over_long_and_unfinished_lines_are_told(engine: Engine) -> None:
    line = next(iter(PAIRS))
    result = engine.translate(["", line, line * 200], num_beams=1)
    cut = [note for note in result.notes if note.key == "line_cut"]
    assert [note.values for note in cut] == [{"numbers": "3"}]
    result = engine.translate(["", line], num_beams=2, max_new_tokens=2)
    assert [note.values for note in result.notes] == [{"numbers": "2"}]
    assert keys(result) == ["line_unfinished"]


def test_a_line_that_is_not_chinese_is_told_by_a_model_that_reads_chinese(engine: Engine, tmp_path: Path) -> None:
    chinese = next(iter(PAIRS))
    result = engine.translate([chinese, "", "Hello there.", "42", "二〇", "𠀀", "䷀"], num_beams=1)  # the last is a hexagram
    assert [note.values for note in result.notes if note.key == "no_han"] == [{"numbers": "3, 4, 7"}]
    assert "no_han" not in keys(engine.translate([chinese, "I 爱 you"], num_beams=1))
    save(tmp_path / "english", tiny_translator(), "translation", examples=["I love you."])
    save(tmp_path / "unsaid", tiny_translator(), "translation")
    for name in ("english", "unsaid"):
        assert "no_han" not in keys(Engine([tmp_path]).translate(["Hello"], name, num_beams=1))


def test_a_line_of_characters_that_are_not_in_the_vocabulary_is_told() -> None:
    bytes_ = [f"<0x{b:02X}>" for b in range(256)]
    raw = Tokenizer(models.BPE({t: i for i, t in enumerate([*bytes_, *"鸟飞。 "])}, [], byte_fallback=True))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw)
    _, notes = encode_lines(tokenizer, GPT2Config(), [(1, "飞鸟。"), (2, "魑魅 魍魉 飞。"), (5, "鸟 雀"), (6, "🐦")])
    assert notes == [("spelt", {"numbers": "2, 6", "characters": "魑 魅 魍 魉 🐦"})]


def test_the_log_is_not_filled_with_warnings(root: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> None:
    for name in ("verses", "phrasebook"):
        path = next(info.path for info in find_models([root]) if info.name == name) / "generation_config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"max_length": 40}))
    engine = Engine([root])
    last(engine, "", "verses", max_new_tokens=5)
    engine.translate(list(PAIRS), "phrasebook")
    assert "max_length" not in caplog.text + capfd.readouterr().err


def test_the_length_that_can_be_asked_for_goes_by_the_models_context(engine: Engine) -> None:
    found = {info.name: info for info in engine.models("gpt")}
    assert found["verses"].context == CONTEXT
    assert [longest(found[name]) for name in ("verses", "endless")] == [CONTEXT - 1, MAX_NEW_TOKENS]
    assert longest(None) == MAX_NEW_TOKENS


def test_translate_limits(engine: Engine) -> None:
    with pytest.raises(ModelError, match=str(MAX_LINES)):
        engine.translate(["你好"] * (MAX_LINES + 1))
    with pytest.raises(ModelError, match="Line 2 "):
        engine.translate(["你好", "好" * 5000])
    with pytest.raises(ModelError, match="sentences"):
        engine.translate(["", "  "])
    with pytest.raises(ModelError, match="num_beams"):
        engine.translate(["你好"], num_beams=100)


def test_roots_come_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, root: Path) -> None:
    monkeypatch.setenv("MODELS_DIR", str(root))
    assert {info.name for info in find_models()} == {"verses", "phrasebook", "bytes", "endless"}
    monkeypatch.delenv("MODELS_DIR")
    assert default_roots() == [Path("runs"), Path("models")]


def test_no_model_and_unknown_model_are_explained(tmp_path: Path, engine: Engine) -> None:
    with pytest.raises(ModelError, match="make demo"):
        Engine([tmp_path]).generate("")
    with pytest.raises(ModelError, match="translation model yet"):
        Engine([tmp_path]).translate(["你好"])
    with pytest.raises(ModelError, match="verses"):
        engine.generate("", "phrasebook")  # there, but of the other task


@pytest.mark.parametrize("option", ["top_k", "max_new_tokens", "seed"])
def test_a_number_is_not_cut_to_a_whole_one(engine: Engine, option: str) -> None:
    with pytest.raises(ModelError, match=f"{option} must be a whole number"):
        engine.generate("", "verses", **{option: 1.5})
    assert last(engine, **{"max_new_tokens": 2.0, option: 2.0}).text


def test_a_beam_size_is_not_cut_to_a_whole_one(engine: Engine) -> None:
    with pytest.raises(ModelError, match="num_beams must be a whole number"):
        engine.translate(list(PAIRS), "phrasebook", num_beams=2.7)  # type: ignore[arg-type]
    assert engine.translate(list(PAIRS), "phrasebook", num_beams=2.0).lines == list(PAIRS.values())  # type: ignore[arg-type]

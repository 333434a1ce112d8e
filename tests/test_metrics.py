"""training.metrics: values worked out by hand or by sacrebleu, `evaluate.combine`, no file, no socket."""

import math
import multiprocessing
import os
import random
import socket
import time

import evaluate
import numpy as np
import pytest
import sacrebleu

from training.quality.copied_text import NgramIndex
from training.quality.metrics import (
    Bleu,
    Chrf,
    CopiedShare,
    DistinctN,
    Faults,
    Perplexity,
    Repetition,
    bleu_tokenizer,
    text_metrics,
    translation_metrics,
)

HYPS = ["The stray birds of summer come to my window to sing.", "Yellow leaves have no songs, fall there."]
REFS = [
    "Stray birds of summer come to my window to sing and fly away.",
    "And yellow leaves of autumn, which have no songs, flutter and fall there with a sigh.",
]


def han(rng: random.Random, length: int) -> str:
    return "".join(chr(rng.randrange(0x4E00, 0x9F00)) for _ in range(length))


# --- language models ---


def test_perplexity_of_unequal_batches_weighs_tokens_not_batches():
    metric = Perplexity()
    metric.add_batch(loss_sum=[3 * math.log(2)], tokens=[3], characters=[6])
    metric.add_batch(loss_sum=np.array([math.log(8) * 7]), tokens=np.array([7]), characters=np.array([6]))
    scores = metric.compute()  # 24 bits in all, over 10 tokens and 12 characters
    assert scores["val_loss"] == pytest.approx(2.4 * math.log(2))
    assert scores["perplexity"] == pytest.approx(2**2.4)
    assert scores["bits_per_character"] == pytest.approx(2.0)


def test_bits_per_character_compares_vocabularies():
    """The same text at the same total probability, as 100 characters or as 40 BPE tokens."""
    characters = Perplexity().compute(loss_sum=[120.0], tokens=[100], characters=[100])
    bpe = Perplexity().compute(loss_sum=[120.0], tokens=[40], characters=[100])
    assert characters["bits_per_character"] == bpe["bits_per_character"] == pytest.approx(1.2 / math.log(2))
    assert characters["perplexity"] < bpe["perplexity"]


def test_perplexity_takes_what_a_loop_has_and_overflows_to_inf():
    torch = pytest.importorskip("torch")
    sums = {"loss_sum": torch.tensor([1e6, 1e6]), "tokens": torch.tensor([5, 5]), "characters": [5, 5]}
    scores = Perplexity().compute(**sums)
    assert scores["perplexity"] == math.inf
    assert scores["val_loss"] == 2e5
    assert math.isnan(Perplexity().compute(loss_sum=[math.nan], tokens=[1], characters=[1])["perplexity"])


@pytest.mark.parametrize(("tokens", "characters"), [(0, 5), (5, 0)])
def test_perplexity_of_nothing_is_an_error(tokens, characters):
    with pytest.raises(ValueError, match=f"{tokens} tokens, {characters} characters"):
        Perplexity().compute(loss_sum=[1.0], tokens=[tokens], characters=[characters])


# --- translation ---


def test_bleu_and_chrf_are_sacrebleus():
    scores = translation_metrics().compute(predictions=HYPS, references=REFS)
    assert scores["bleu"] == pytest.approx(sacrebleu.corpus_bleu(HYPS, [REFS]).score)
    assert 5 < scores["bleu"] < 95
    assert scores["chrf"] == pytest.approx(sacrebleu.corpus_chrf(HYPS, [REFS]).score)
    faults = ["empty_share", "length_ratio", "truncated_share", "untranslated_share"]
    assert list(scores) == ["bleu", "bleu_signature", "chrf", "chrf_signature", "repetition", *faults]
    assert "nrefs:1|" in scores["bleu_signature"]
    assert "tok:13a|" in scores["bleu_signature"]
    assert f"version:{sacrebleu.__version__}" in scores["bleu_signature"]
    assert "nc:6|nw:0" in scores["chrf_signature"]  # chrF, not chrF++


def test_bleu_is_of_the_corpus_and_case_and_punctuation_count():
    assert Bleu().compute(predictions=REFS, references=REFS)["bleu"] == pytest.approx(100)
    bleu = Bleu()
    for hyp, ref in zip(HYPS, REFS, strict=True):
        bleu.add(prediction=hyp, reference=ref)
    corpus = bleu.compute()["bleu"]
    assert corpus == pytest.approx(sacrebleu.corpus_bleu(HYPS, [REFS]).score)
    for changed in ([ref.lower() for ref in REFS], [ref.replace(",", "") for ref in REFS]):
        assert Bleu().compute(predictions=changed, references=REFS)["bleu"] < 95


def test_references_may_be_several_and_unequal_in_number():
    references = [[REFS[0], HYPS[0]], [REFS[1]]]
    scores = translation_metrics().compute(predictions=HYPS, references=references)
    streams = [REFS, [HYPS[0], None]]
    assert scores["bleu"] == pytest.approx(sacrebleu.corpus_bleu(HYPS, streams).score)
    assert scores["bleu_signature"].startswith("nrefs:var")
    mixed = Bleu().compute(predictions=HYPS, references=[references[0], REFS[1]])
    assert mixed["bleu"] == scores["bleu"]


def test_chinese_needs_its_tokenizer_and_says_so():
    hyps, refs = ["夏天的飞鸟,飞到我窗前唱歌。"], ["夏天的飞鸟,飞到我的窗前唱歌,又飞去了。"]
    scores = translation_metrics("zh").compute(predictions=hyps, references=refs)
    assert scores["bleu"] == pytest.approx(sacrebleu.corpus_bleu(hyps, [refs], tokenize="zh").score)
    assert "tok:zh" in scores["bleu_signature"]
    with pytest.raises(ValueError, match=r"13a, intl, zh, char, none.*flores200"):
        Bleu(tokenize="flores200")  # it would download a model


def test_the_tokenizer_of_bleu_follows_the_references():
    assert bleu_tokenizer(REFS) == "13a" and bleu_tokenizer(["夏天的飞鸟，飞到我的 window 前唱歌。"]) == "zh"


def test_empty_and_long_translations_are_counted():
    scores = Faults().compute(predictions=["I go .", "", " \n"], references=["I go.", "You go.", "He goes."])
    assert scores["empty_share"] == pytest.approx(2 / 3)
    assert scores["length_ratio"] == pytest.approx(4 / (4 + 6 + 7))  # characters without spaces
    both = Faults().compute(predictions=["12345678"], references=[["123", "1234567890"]])
    assert both["length_ratio"] == pytest.approx(8 / 10)  # the nearer of two
    assert Faults().compute(predictions=["a"], references=[""])["length_ratio"] == 1.0


def test_a_truncated_translation_lacks_the_mark_that_its_reference_ends_with():
    references = ["I go.", "You go!", 'She said: "Go."', "to go", "Why?", "No."]
    predictions = ["I go", "You go.", 'She says "Go."', "to", "", "他走了。"]
    scores = Faults().compute(predictions=predictions, references=references)
    assert scores["truncated_share"] == pytest.approx(1 / 4)  # "I go" of four: "to go" has no mark, and an empty one is empty
    assert Faults().compute(predictions=["go", "went"], references=["to go", "went"])["truncated_share"] == 0.0
    chinese = Faults().compute(predictions=["夏天的飞鸟", "唱歌！”"], references=["夏天的飞鸟。", "“唱歌！”"])
    assert chinese["truncated_share"] == 0.5


def test_what_is_left_untranslated_is_in_the_other_script():
    scores = Faults().compute(predictions=["I 我 go 走.", "He goes"], references=["I go.", "He goes."])
    assert scores["untranslated_share"] == pytest.approx(2 / (2 + 3 + 6))  # two Han characters among eleven letters
    named = Faults().compute(predictions=["我 is I"], references=["我 means I"])
    assert named["untranslated_share"] == 0.0  # the reference has it too
    to_chinese = Faults().compute(predictions=["我 like 你", "Tom 走了"], references=["我喜欢你", "Tom 走了"])
    assert to_chinese["untranslated_share"] == pytest.approx(4 / 6)
    assert Faults().compute(predictions=["…", ""], references=["a", "b"])["untranslated_share"] == 0.0


# --- diversity and repetition ---


def test_distinct_counts_characters_of_chinese_and_words_of_english():
    chinese = DistinctN().compute(predictions=["鸟 鸟飞", "鸟飞"])  # 5 characters; 鸟鸟 鸟飞 鸟飞
    assert chinese == {"distinct_1": 2 / 5, "distinct_2": 2 / 3}
    english = DistinctN().compute(predictions=["the bird the bird"])
    assert english == {"distinct_1": 2 / 4, "distinct_2": 2 / 3}
    assert DistinctN().compute(predictions=["", "one"]) == {"distinct_1": 1.0, "distinct_2": 0.0}


def test_repetition_of_a_loop_of_prose_and_of_a_short_text():
    assert Repetition().compute(predictions=["飞鸟" * 50])["repetition"] == pytest.approx(1 - 2 / 97)
    assert Repetition().compute(predictions=[REFS[0]])["repetition"] == 0
    assert Repetition().compute(predictions=["a b c d a b c d"])["repetition"] == pytest.approx(1 / 5)
    assert Repetition().compute(predictions=["，" * 40])["repetition"] == pytest.approx(1 - 1 / 37)  # no letter at all
    averaged = Repetition().compute(predictions=["a b c d a b c d", "a a a", ""])["repetition"]
    assert averaged == pytest.approx(1 / 15)


# --- copying ---


@pytest.mark.parametrize("exact_characters", [4_000_000, 0])
def test_verbatim_text_is_copied_and_other_text_is_not(exact_characters):
    rng = random.Random(1)
    training = [han(rng, 500) for _ in range(40)]
    copied = CopiedShare(NgramIndex(bits=20, exact_characters=exact_characters).add(iter(training)))
    exact = exact_characters > 0
    verbatim = copied.compute(predictions=[training[3][:20] + " \n" + training[3][20:300]])
    assert verbatim == {"copied_share": 1.0, "longest_copied": 300, "copied_exact": exact}
    fresh = copied.compute(predictions=[han(rng, 300) for _ in range(64)])
    assert fresh["copied_share"] < 0.001
    half = copied.compute(predictions=[training[5][100:157] + han(rng, 57)])  # 50 of 107 8-grams
    assert half["copied_share"] == pytest.approx(50 / 107, abs=0.01)
    assert half["longest_copied"] == 57


def test_longest_span_is_in_one_document_and_one_text():
    index = NgramIndex(n=2).add(["abcdef", "ghij", "cdxef"])
    assert index.match(["cdef"]) == (1.0, 4, True)  # from the first, though the third has its ends
    assert index.match(["xefgh"]) == (0.75, 3, True)  # "fg" spans two documents
    assert index.match(["bcdxe"]).longest == 4  # every bigram is there, "bcdxe" is nowhere
    assert index.match(["abc", "def"]).longest == 3  # two texts
    assert index.match(["a", ""]) == (0.0, 0, True)


def test_longest_span_agrees_with_a_plain_search():
    rng = random.Random(2)
    training = ["".join(rng.choices("飞鸟夏秋", k=200)) for _ in range(5)]
    index = NgramIndex(n=3).add(training)
    for _ in range(50):
        text = "".join(rng.choices("飞鸟夏秋天", k=60))
        spans = [text[i:j] for i in range(60) for j in range(i + 3, 61) if any(text[i:j] in t for t in training)]
        grams = [text[i : i + 3] for i in range(58)]
        share = sum(any(gram in t for t in training) for gram in grams) / len(grams)
        assert index.match([text]) == (pytest.approx(share), max(map(len, spans), default=0), True)


def test_a_self_repeating_text_is_bounded_and_says_so(monkeypatch):
    monkeypatch.setattr(NgramIndex, "MAX_PAIRS", 100)
    assert NgramIndex().add(["飞鸟夏秋" * 100]).match(["飞鸟夏秋" * 10]) == (1.0, 40, False)


def test_the_filter_misses_nothing_between_its_chunks(monkeypatch):
    monkeypatch.setattr(NgramIndex, "CHUNK", 50)
    rng = random.Random(5)
    long, *short = [han(rng, length) for length in (333, 20, 40, 7)]
    index = NgramIndex(bits=20, exact_characters=0).add([long]).add(short)
    assert index.match([long, *short]) == (1.0, 333, False)
    assert index.characters == 400


def test_the_filter_subtracts_chance_and_refuses_to_overflow():
    rng = random.Random(3)
    index = NgramIndex(bits=17, exact_characters=0).add([han(rng, 40_000)])
    fresh = index.match([han(rng, 20_000)])
    assert 0.1 < index.false_positive_rate < 0.5
    assert fresh.share < 0.02
    with pytest.raises(ValueError, match=r"2\*\*10 bits are too few"):
        NgramIndex(bits=10, exact_characters=0).add(han(rng, 100_000) for _ in range(20))


def test_copying_against_no_training_text_is_an_error():
    with pytest.raises(ValueError, match="no training text"):
        CopiedShare(NgramIndex()).compute(predictions=["飞鸟"])
    with pytest.raises(TypeError, match="not one string"):
        NgramIndex().add("飞鸟")
    assert NgramIndex().add(["短"]).match(["夏天的飞鸟飞到窗前"]) == (0.0, 0, True)


def test_copied_share_is_quick():
    rng = random.Random(4)
    training = [han(rng, 1000) for _ in range(300)]
    samples = [t[:300] for t in training[:32]] + [han(rng, 300) for _ in range(32)]
    for exact_characters in (4_000_000, 0):
        metric = CopiedShare(NgramIndex(bits=24, exact_characters=exact_characters).add(training))
        metric.compute(predictions=samples)  # the first call sorts the index
        best = math.inf
        for _ in range(3):
            start = time.perf_counter()
            metric.compute(predictions=samples)
            best = min(best, time.perf_counter() - start)
        assert best < 0.2  # about 0.02 s; the slack is for a busy machine


# --- as evaluate's ---


def test_text_metrics_combine_under_plain_names():
    index = NgramIndex().add(["夏天的飞鸟飞到我窗前唱歌又飞去了"])
    scores = text_metrics(index).compute(predictions=["夏天的飞鸟飞到我窗前", "秋天的黄叶"])
    names = ["distinct_1", "distinct_2", "repetition", "copied_share", "longest_copied", "copied_exact"]
    assert list(scores) == names
    assert scores["longest_copied"] == 10
    combined = text_metrics()
    combined.add_batch(predictions=["飞鸟"])
    combined.add(prediction="飞鸟")
    assert combined.compute() == {"distinct_1": 0.5, "distinct_2": 0.5, "repetition": 0.0}
    assert combined.compute(predictions=["飞鸟"])["distinct_1"] == 1.0  # nothing is left from before


@pytest.mark.parametrize(
    ("metric", "inputs", "says"),
    [
        (Bleu, {}, "bleu: nothing to score"),
        (Bleu, {"predictions": [], "references": []}, "bleu: nothing to score"),
        (DistinctN, {"predictions": []}, "distinct_n: nothing to score"),
        (DistinctN, {"predictions": "a text"}, "`predictions` must be a list"),
        (Repetition, {"predictions": ["a", None]}, "`predictions` must hold strings, found None"),
        (Bleu, {"predictions": ["a"]}, "`references` must be a list"),
        (Bleu, {"predictions": ["a"], "references": [[]]}, "`references` must hold strings"),
        (Chrf, {"predictions": ["a", "b"], "references": ["a"]}, r"predictions \(2\) and references \(1\)"),
        (Perplexity, {"loss_sum": [1.0], "tokens": [1]}, "`characters` must be a list"),
    ],
)
def test_what_cannot_be_scored_is_one_clear_error(metric, inputs, says):
    with pytest.raises(ValueError, match=says):
        metric().compute(**inputs)


def test_every_metric_documents_itself():
    metrics = [Perplexity(), Bleu(), Chrf(), DistinctN(), Repetition(), Faults(), CopiedShare(NgramIndex())]
    assert all(isinstance(metric, evaluate.Metric) for metric in metrics)
    assert all(metric.description and metric.citation and metric.features for metric in metrics)
    assert len({metric.name for metric in metrics}) == len(metrics)


def score_in_child(queue, seed):
    text = han(random.Random(seed), 300)
    scores = text_metrics(NgramIndex().add([text])).compute(predictions=[text] * 20)
    scores |= translation_metrics().compute(predictions=HYPS, references=REFS)
    queue.put((scores["longest_copied"], round(scores["bleu"], 6)))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork: a fresh process spends seconds on imports")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_two_processes_at_once_on_an_unwritable_home_without_network(tmp_path, monkeypatch):
    (tmp_path / "file").touch()  # a path below a file cannot be written, not even by root
    monkeypatch.setattr(evaluate.config, "HF_METRICS_CACHE", tmp_path / "file" / "metrics")
    with pytest.raises(NotADirectoryError):
        evaluate.Metric._build_data_dir(Bleu())  # what upstream does, so that this test tests something
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: pytest.fail("network"))
    monkeypatch.setattr(socket.socket, "connect", lambda *args, **kwargs: pytest.fail("network"))
    monkeypatch.chdir(tmp_path)
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    children = [context.Process(target=score_in_child, args=(queue, seed)) for seed in (1, 2)]
    for child in children:
        child.start()
    results = [queue.get(timeout=60) for _ in children]
    for child in children:
        child.join(timeout=60)
    assert [child.exitcode for child in children] == [0, 0]
    assert results == [(300, round(sacrebleu.corpus_bleu(HYPS, [REFS]).score, 6))] * 2
    assert [path.name for path in tmp_path.iterdir()] == ["file"]

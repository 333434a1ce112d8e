"""Micro-batches: every row once in every epoch, an order that nothing but seed and epoch changes, and right contents."""

import gzip
import json
import os
import random
import subprocess
import sys
import warnings
from collections import Counter
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from training.base.errors import ConfigError
from training.corpus.batches import MicroBatches, pad
from training.corpus.prepare import open_corpus
from training.model.tokenizer import train_tokenizer
from training.settings.config import BatchConfig, Config, CorpusConfig, EvaluationConfig, FiltersConfig, SourceConfig, TokenizerConfig
from training.tasks.base import IGNORE_INDEX
from training.tasks.gpt import GptTask
from training.tasks.translation import TranslationTask

ROOT = Path(__file__).resolve().parents[1]


def texts(n, start=0):
    return "".join(json.dumps({"text": f"第{i}行，{'啦' * (i % 23)}。"}, ensure_ascii=False) + "\n" for i in range(start, start + n))


@pytest.fixture(scope="module")
def char(tmp_path_factory):
    return train_tokenizer(TokenizerConfig(type="char", min_frequency=1), [texts(1000), "ABC飞鸟集abcdefghijklmnopqrstuvwxyz \n"], "gpt")


@pytest.fixture(scope="module")
def bpe():
    lines = [f"我有{i}本书 I have {i} books , don't I ?" for i in range(50)]
    return train_tokenizer(TokenizerConfig(vocab_size=400), lines, "translation")


def corpus_of(tmp_path, train, task="gpt", seed=1, folder="scan", **config):
    options = {"validation_share": 0, "shuffle_rows": 512, "filters": FiltersConfig(duplicates=False), **config}
    return open_corpus(CorpusConfig(train=train, **options), task, tmp_path / folder, seed, 100)[0]


def gpt(char, **batch):
    return GptTask(
        Config(task="gpt", batch=BatchConfig(**{"block_size": 64, "packing": "never", "micro_batch_size": 8, **batch})), char, []
    )


def places(batch):
    return [tuple(r) for r in batch["rows"].tolist()]


def epoch_of(loader):
    return loader.chunk // loader.per_epoch


@pytest.fixture
def sources(tmp_path):
    """A plain file, a packed one and a short one: five chunks."""
    (tmp_path / "a.jsonl").write_text(texts(1000), "utf-8")
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(texts(900, 5000).encode()))
    (tmp_path / "c.jsonl").write_text(texts(20, 9000), "utf-8")
    return [str(tmp_path / name) for name in ("a.jsonl", "b.jsonl.gz", "c.jsonl")]


@pytest.mark.parametrize(("world", "workers"), [(1, 0), (2, 0), (3, 0), (1, 1), (1, 2), (2, 2), (1, 3), (3, 3), (1, 7)])
def test_every_row_of_an_epoch_exactly_once(tmp_path, sources, char, world, workers):
    corpus = corpus_of(tmp_path, sources)
    make = gpt(char).make_batches
    ranks = [MicroBatches(corpus, make, rank, world, workers) for rank in range(world)]
    one = MicroBatches(corpus, make, 0, 1, 0)
    total = 0  # micro-batches of the first epoch
    while one.step(1) and epoch_of(one) == 0:
        total += 1
    dealt = []  # a turn of the processes after the other; the last turn may go on into the next epoch
    for _ in range(-(-total // world)):
        dealt += [batch for loader in ranks for batch in loader.step(1)]
    seen = Counter(p for batch in dealt[:total] for p in places(batch))
    assert corpus.chunks_per_epoch == 5 and set(seen.values()) == {1} and len(seen) == 1920
    assert len({str(loader.state()) for loader in ranks}) == 1


def sequence(corpus, make_batches, workers, steps, cursor=None, accumulation=1):
    loader = MicroBatches(corpus, make_batches, 0, 1, workers, cursor)
    return [{k: v.tolist() for k, v in b.items()} for _ in range(steps) for b in loader.step(accumulation)], loader.state()


def test_the_sequence_does_not_depend_on_workers(tmp_path, sources, char):
    corpus, make = corpus_of(tmp_path, sources), gpt(char).make_batches
    expected, state = sequence(corpus, make, 0, 300)  # more than an epoch
    for workers in (1, 2, 3, 8):
        assert (expected, state) == sequence(corpus, make, workers, 300), workers
    assert expected[:200] == sequence(corpus, make, 0, 50, accumulation=4)[0]


@pytest.mark.parametrize("workers", [0, 2])
def test_stopped_anywhere_and_any_number_of_times_it_goes_on_the_same(tmp_path, sources, char, workers):
    listed = [SourceConfig(sources[0], weight=0.5), SourceConfig(sources[1], weight=1.5), sources[2]]
    corpus, make = corpus_of(tmp_path, listed), gpt(char).make_batches
    expected, _ = sequence(corpus, make, 0, 500)
    dice = random.Random(workers)
    dealt, cursor = [], None
    while len(dealt) < 500:
        n = min(dice.choice([1, 1, 2, 7, 63, 64, 65]), 500 - len(dealt))
        some, cursor = sequence(corpus, make, workers, n, json.loads(json.dumps(cursor)))
        dealt += some
    assert dealt == expected


def test_torch_does_not_warn_the_user_of_more_workers_than_cores(tmp_path, sources, char, monkeypatch):
    monkeypatch.setattr(torch._utils, "cpu_count", lambda: 1)
    corpus, make = corpus_of(tmp_path, sources), gpt(char).make_batches

    class Warns(DataLoader):
        def __init__(self, *args, **options):
            warnings.warn("something else", stacklevel=2)
            super().__init__(*args, **options)

    with pytest.warns(UserWarning, match="This DataLoader will create 2"):
        DataLoader([1], num_workers=2)  # without us, the user would see it
    monkeypatch.setattr("training.corpus.batches.DataLoader", Warns)
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        MicroBatches(corpus, make, 0, 1, 2).close()
    assert [str(warning.message) for warning in shown] == ["something else"]


def test_every_position_is_one_to_go_on_from(tmp_path, char):
    (tmp_path / "a.txt").write_text("".join(f"第{i}行\n" for i in range(300)), "utf-8")
    corpus, make = corpus_of(tmp_path, str(tmp_path / "a.txt"), shuffle_rows=256), gpt(char).make_batches
    loader = MicroBatches(corpus, make, 0, 1, 0)
    cursors, expected = [loader.state()], []
    for _ in range(60):  # an epoch and a half, in two chunks each
        expected += [b["input_ids"].tolist() for b in loader.step(1)]
        cursors.append(loader.state())
    for stop in range(58):
        again = MicroBatches(corpus, make, 0, 1, 0, cursors[stop])
        assert [b["input_ids"].tolist() for b in again.step(2)] == expected[stop : stop + 2], stop


def test_another_seed_and_another_epoch_have_another_order(tmp_path, sources, char):
    orders, together = [], []
    for seed in (1, 2):
        loader = MicroBatches(corpus_of(tmp_path, sources, seed=seed), gpt(char).make_batches, 0, 1, 0)
        epochs = [[], [], []]
        while epoch_of(loader) < 2:
            (batch,) = loader.step(1)
            epochs[epoch_of(loader)].append(places(batch))
        orders += [tuple(p for b in e for p in b) for e in epochs[:2]]
        together += [{frozenset(b) for b in e} for e in epochs[:2]]
    assert all(len(o) == 1920 and sorted(o) == sorted(orders[0]) for o in orders)
    assert len(set(orders)) == 4
    assert len(together[0] & together[1]) < 24, "other rows meet in a batch"


def test_who_meets_whom_is_the_seeds_even_where_the_rows_come_in_one_order(tmp_path, char):
    (tmp_path / "a.jsonl").write_text(texts(200), "utf-8")
    met = []
    for seed in (1, 2):
        corpus = corpus_of(tmp_path, str(tmp_path / "a.jsonl"), seed=seed)
        corpus.shuffle = False
        loader = MicroBatches(corpus, gpt(char).make_batches, 0, 1, 0)
        met.append([places(loader.step(1)[0]) for _ in range(10)])
    assert met[0] != met[1]


def test_pairs_left_out_are_counted_once_however_often_it_stops(tmp_path, bpe):
    rows = [{"chinese": "书" * (90 if i % 10 == 0 else 3), "english": f"{i} books"} for i in range(1200)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    corpus = corpus_of(tmp_path, str(tmp_path / "a.jsonl"), "translation", shuffle_rows=256)
    task = TranslationTask(Config(task="translation", batch=BatchConfig(max_source_length=40, tokens_per_batch=200)), bpe, [])
    loader = MicroBatches(corpus, task.make_batches, 0, 1, 0)
    first = loader.left_out
    assert 10 < first < 45
    again = MicroBatches(corpus, task.make_batches, 0, 1, 0, loader.state())
    assert again.left_out == first
    while loader.chunk < corpus.chunks_per_epoch - 1:
        loader.step(1)
    assert loader.left_out == 120 and MicroBatches(corpus, task.make_batches, 0, 1, 0, loader.state()).left_out == 120


def test_a_pair_of_exactly_the_greatest_length_is_kept(bpe):
    row = {"source": "我有3本书", "target": "I have 3 books", "_shard": 0, "_row": 0}
    source, target = len(bpe(row["source"])["input_ids"]), len(bpe(row["target"])["input_ids"])
    for less_source, less_target, kept in ((0, 0, 1), (1, 0, 0), (0, 1, 0)):
        longest = {"max_source_length": source - less_source, "max_target_length": target - less_target}
        task = TranslationTask(Config(task="translation", batch=BatchConfig(**longest)), bpe, [])
        batches, left_out = task.make_batches([row], None)
        assert (len(batches), left_out) == (kept, 1 - kept)


@pytest.mark.parametrize("workers", [0, 2])
def test_nothing_short_enough_is_a_clear_error(tmp_path, bpe, workers):
    (tmp_path / "a.jsonl").write_text(json.dumps({"chinese": "书" * 90, "english": "books"}) + "\n")
    task = TranslationTask(Config(task="translation", batch=BatchConfig(max_source_length=40)), bpe, [])
    corpus = corpus_of(tmp_path, str(tmp_path / "a.jsonl"), "translation")
    with pytest.raises(ConfigError, match="every pair is longer than max_source_length"):
        MicroBatches(corpus, task.make_batches, 0, 1, workers).step(1)
    (tmp_path / "a.jsonl").write_text("gone\n")
    with pytest.raises(ConfigError) as caught:
        MicroBatches(corpus, task.make_batches, 0, 1, workers).step(1)
    assert "changed since the run began" in str(caught.value) and "Traceback" not in str(caught.value)


def test_pairs_in_batches_of_a_token_budget(tmp_path, bpe):
    dice = random.Random(1)
    rows = [{"chinese": "书" * dice.randint(1, 30), "english": " ".join(["books"] * dice.randint(1, 30))} for _ in range(300)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    corpus = corpus_of(tmp_path, str(tmp_path / "a.jsonl"), "translation")
    task = TranslationTask(Config(task="translation", batch=BatchConfig(tokens_per_batch=300)), bpe, [])
    batches, _ = task.make_batches(list(corpus.rows(0, [0])), np.random.default_rng(0))
    padding = full = 0
    for b in batches:
        rows_in = len(b["rows"])
        assert b["input_ids"].shape == b["attention_mask"].shape and len(b["labels"]) == rows_in
        assert rows_in * max(b["input_ids"].shape[1], b["labels"].shape[1]) <= 300
        full += rows_in * max(b["input_ids"].shape[1], b["labels"].shape[1]) > 240
        for k, (_, row) in enumerate(places(b)):
            kept = b["attention_mask"][k].astype(bool)
            assert bpe.decode(b["input_ids"][k][kept]) == rows[row]["chinese"] + "</s>"
            assert set(b["input_ids"][k][~kept]) <= {bpe.pad_token_id} and list(kept) == sorted(kept, reverse=True)
            label = b["labels"][k]
            target = label[label != IGNORE_INDEX]
            assert bpe.decode(target) == rows[row]["english"] + "</s>", "the first token is there, the last is the end, nothing is shifted"
            padding += int((label == IGNORE_INDEX).sum())
    assert full > 0.8 * len(batches), "the budget is used"
    assert padding < 0.4 * sum(b["labels"].size for b in batches)
    assert {len(b["rows"]) for b in batches} != {len(batches[0]["rows"])}
    lengths = [max(b["input_ids"].shape[1], b["labels"].shape[1]) for b in batches]
    assert lengths != sorted(lengths), "the short ones do not all come first"


def test_texts_that_look_like_special_tokens(tmp_path, bpe, char):
    pair = {"source": "书 <pad> <s>书</s>", "target": "a </s> b", "_shard": 0, "_row": 0}
    (b,), _ = TranslationTask(Config(task="translation"), bpe, []).make_batches([pair], None)
    specials = set(bpe.all_special_ids)
    source, target = b["input_ids"][0][b["attention_mask"][0] == 1], b["labels"][0][b["labels"][0] != IGNORE_INDEX]
    assert not specials & {*source[:-1].tolist(), *target[:-1].tolist()}
    assert source[-1] == bpe.eos_token_id and bpe.decode(target, skip_special_tokens=True) == "a </s> b"
    (b,), _ = gpt(char).make_batches([{"text": "a<|endoftext|>b", "_shard": 0, "_row": 0}], None)
    assert (b["input_ids"][0] == char.eos_token_id).sum() == 2


def unpadded(batch):
    """The tokens of a gpt's micro-batch of one row."""
    (ids,), (labels,) = batch["input_ids"], batch["labels"]
    return ids[labels != IGNORE_INDEX].tolist()


def test_rows_are_padded_to_few_widths_and_never_beyond_the_limit():
    """A CPU keeps kernels for every shape that it meets, and tensor cores want multiples of eight."""
    shapes = [pad([np.arange(n), np.arange(2)], -1, most=30).shape for n in range(2, 31)]
    assert set(shapes) == {(2, 8), (2, 16), (2, 24), (2, 30)}
    assert pad([np.arange(3)], -1, most=30).tolist() == [[0, 1, 2, -1, -1, -1, -1, -1]]


def targets(batches):
    """The tokens that are predicted, window by window, and what each is predicted from."""
    predicted = []
    for b in batches:
        for ids, labels in zip(b["input_ids"], b["labels"]):
            n = int((labels != IGNORE_INDEX).sum())
            assert (labels[:n] == ids[:n]).all() and (labels[n:] == IGNORE_INDEX).all(), "labels are never shifted here"
            predicted += list(pairwise(ids[:n].tolist()))
    return predicted


@pytest.mark.parametrize("block_size", [2, 3, 16, 64])
@pytest.mark.parametrize("seed", [None, 1, 2])
def test_packed_windows_predict_every_token_once(char, block_size, seed):
    rows = [{"text": f"第{i}行，{'啦' * (i % 23)}", "_shard": 0, "_row": i} for i in range(40)]
    end = [char.eos_token_id]
    stream = end + [t for r in rows for t in char(r["text"], add_special_tokens=False)["input_ids"] + end]
    rng = None if seed is None else np.random.default_rng(seed)
    batches, _ = gpt(char, block_size=block_size, packing="always").make_batches(rows, rng)
    assert Counter(targets(batches)) == Counter(pairwise(stream))
    assert max(b["input_ids"].shape[1] for b in batches) <= block_size
    assert sum(b["labels"].size for b in batches) >= len(stream)
    order = [r for b in batches for _, r in places(b)]
    assert set(order) <= set(range(40)) and (seed is None) == (order == sorted(order))


def test_each_text_is_padded_or_goes_on_in_the_next_window(char):
    short, exact, long = "飞鸟", "A" * 6, "abcdefghijklmnopqrstuvwxyz"
    rows = [{"text": t, "_shard": 0, "_row": i} for i, t in enumerate([short, exact, long])]
    batches, left_out = gpt(char, block_size=8, micro_batch_size=3).make_batches(rows, None)
    end = char.eos_token_id
    expected = [pair for r in rows for pair in pairwise([end, *char(r["text"], add_special_tokens=False)["input_ids"], end])]
    assert Counter(targets(batches)) == Counter(expected) and left_out == 0
    assert all(b["input_ids"].shape[1] <= 8 and len(b["input_ids"]) <= 3 for b in batches)
    assert batches[0]["input_ids"][0].tolist()[:4] == [end, *char(short, add_special_tokens=False)["input_ids"], end]
    assert (batches[0]["input_ids"][0][4:] == char.pad_token_id).all()


@pytest.mark.parametrize("packing", ["auto", "always", "never"])
@pytest.mark.parametrize("text", ["飞鸟集", "A"])
def test_one_short_text_and_a_long_block(tmp_path, char, packing, text):
    (tmp_path / "sentence.txt").write_text(text + "\n", "utf-8")
    corpus = corpus_of(tmp_path, str(tmp_path / "sentence.txt"), validation_share=0.1)
    config = Config(task="gpt", batch=BatchConfig(block_size=512, packing=packing))
    loader = MicroBatches(corpus, GptTask(config, char, list(corpus.rows(0, [0]))).make_batches, 0, 1, 0)
    for _ in range(5):
        (b,) = loader.step(1)
        assert unpadded(b) == [char.eos_token_id, *char(text, add_special_tokens=False)["input_ids"], char.eos_token_id]
        assert b["input_ids"].shape == b["labels"].shape == (1, 8)
    assert loader.epoch == 5


def test_packing_is_chosen_by_the_length_of_texts(char):
    sample = [{"text": "a" * n} for n in (30, 40, 50)]
    for block_size, packed in ((60, True), (100, False)):
        config = Config(task="gpt", batch=BatchConfig(block_size=block_size))
        assert GptTask(config, char, sample).packed is packed


def test_pieces_of_files_get_the_end_token_only_at_the_ends_of_the_text(tmp_path, char):
    for name in "ab":
        (tmp_path / f"{name}.txt").write_text("".join(f"第{i}行\n" for i in range(1500)), "utf-8")
    corpus = corpus_of(tmp_path, str(tmp_path / "?.txt"), document="file")
    corpus.shuffle = False
    batches, _ = gpt(char, packing="always").make_batches(list(corpus.rows(0, [0])), None)
    stream = [t for b in batches for ids, labels in zip(b["input_ids"], b["labels"]) for t in ids[labels != IGNORE_INDEX][1:].tolist()]
    assert stream.count(char.eos_token_id) in (2, 3) and stream[-1] == char.eos_token_id
    text = "".join(f"第{i}行\n" for i in range(1500))
    assert char.decode(stream, skip_special_tokens=True) == text * 2


def test_a_piece_in_the_middle_of_a_text_neither_begins_nor_ends_it(char):
    pieces = [("飞鸟", True, False), ("集飞", False, False), ("A", False, False), ("BC", False, True)]
    rows = [{"text": t, "_shard": 0, "_row": i, "_first": f, "_last": last} for i, (t, f, last) in enumerate(pieces)]
    batches, _ = gpt(char, micro_batch_size=1).make_batches(rows, None)
    plain = {t: char(t, add_special_tokens=False)["input_ids"] for t, _, _ in pieces}
    end = char.eos_token_id
    expected = [[end, *plain["飞鸟"]], plain["集飞"], [*plain["BC"], end]]
    assert sorted(map(unpadded, batches)) == sorted(expected), "one token alone predicts nothing"


def test_a_prompt_goes_before_the_length_of_its_continuation(char):
    asked = []

    def generate(input_ids, max_new_tokens, **options):
        asked.append((input_ids[0].tolist(), max_new_tokens))
        return input_ids

    config = Config(task="gpt", batch=BatchConfig(block_size=8), evaluation=EvaluationConfig(max_new_tokens=7, samples=1))
    config.evaluation.prompts = ["", "ABC", "abcdefg", "abcdefghij"]
    GptTask(config, char, [{"text": "飞"}]).samples(SimpleNamespace(device=torch.device("cpu"), generate=generate), [], 1)
    ids = [char(p)["input_ids"] for p in config.evaluation.prompts]
    assert asked == [(ids[0], 7), (ids[1], 4), (ids[2], 1), (ids[3][-8:], 1)]


def test_memory_stays_the_same_however_large_the_file(tmp_path):
    """A process that has read 30 MB holds hardly more than when it had read 3."""
    if not os.path.exists("/proc/self/statm"):
        pytest.skip("reads the peak of memory as Linux gives it")
    code = """
import resource, sys
from pathlib import Path
import numpy as np
from training.settings.config import CorpusConfig, FiltersConfig
from training.corpus.prepare import open_corpus
from training.corpus.batches import MicroBatches
def make(rows, rng):
    return [{"n": np.array([sum(len(r["text"]) for r in rows)])}], 0
def peak():
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss + resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss) // 1024
peaks = []
for name in "ab":
    corpus, _ = open_corpus(CorpusConfig(train=f"{sys.argv[1]}/{name}.txt", shuffle_rows=1024), "gpt", Path(sys.argv[1]) / name, 1, 100)
    for workers in (0, 2):
        loader = MicroBatches(corpus, make, 0, 1, workers)
        while loader.epoch < 1:
            loader.step(1)
        del loader
    peaks.append(peak())
print(*peaks)
"""
    for name, n in (("a", 3_000), ("b", 30_000)):
        with (tmp_path / f"{name}.txt").open("w") as f:
            f.writelines(f"{i:06d} {'a line of a large file, ' * 42}\n" for i in range(n))
    run = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert run.returncode == 0, run.stderr
    small, large = map(int, run.stdout.split())
    assert large - small < 15, (small, large)

"""The corpus: every bad row counted once, the rest filtered, held out, kept and streamed."""

import gzip
import json
import os
from collections import Counter

import datasets
import pytest

from training.base.errors import ConfigError
from training.base.words import phrases
from training.corpus.prepare import corpus_summary, open_corpus
from training.settings.config import CorpusConfig, FiltersConfig, SourceConfig


def told(report):
    """The line for people, in English."""
    return corpus_summary(report, phrases("report", "en"))


def opened(tmp_path, task="translation", seed=1, most=1000, folder="scan", **config):
    config.setdefault("validation_share", 0)
    return open_corpus(CorpusConfig(**config), task, tmp_path / folder, seed, most)


def jsonl(path, rows):
    path.write_text("".join((r if isinstance(r, str) else json.dumps(r, ensure_ascii=False)) + "\n" for r in rows), "utf-8")
    return str(path)


def pair(zh, en, **more):
    return {"chinese": zh, "english": en, **more}


def texts(n):
    return [{"text": f"这是第{i}行"} for i in range(n)]


def rows_of(corpus, epoch=0):
    return list(corpus.rows(epoch, range(corpus.chunks_per_epoch)))


def numbers(corpus, epoch=0):
    return Counter((r["_shard"], r["_row"]) for r in rows_of(corpus, epoch))


def quarantine(tmp_path, folder="scan"):
    return [json.loads(line) for line in (tmp_path / folder / "quarantine.jsonl").read_text("utf-8").splitlines()]


def test_a_tag_stands_before_what_is_dealt_and_no_filter_sees_it(tmp_path):
    tagged, plain = (
        jsonl(tmp_path / "a.jsonl", [pair("好", "good"), pair("坏人", "villain")]),
        jsonl(tmp_path / "b.jsonl", [pair("我", "I")]),
    )
    sources = [SourceConfig(tagged, tag="<docs> "), plain]
    train, valid = opened(tmp_path, train=sources, validation=SourceConfig(tagged, tag="<news> "), filters=FiltersConfig(max_chars=7))
    assert sorted((r["source"], r["target"]) for r in train.rows(0, [0])) == [
        ("<docs> 坏人", "villain"),
        ("<docs> 好", "good"),
        ("我", "I"),
    ]
    assert [r["source"] for r in valid.held_out()] == ["<news> 好", "<news> 坏人"]
    text = tmp_path / "book.txt"
    text.write_text("一\n二\n三\n", "utf-8")
    with pytest.raises(ConfigError, match="a tag would stand before each"):
        opened(tmp_path, task="gpt", train=SourceConfig(str(text), tag="书：", document="file"))


def test_max_rows(tmp_path):
    paths = [jsonl(tmp_path / f"{i}.jsonl", texts(50)) for i in range(2)]
    corpus, _ = opened(tmp_path, "gpt", train=paths, max_rows=7)
    assert corpus.count() == 14 and {r["_row"] for r in rows_of(corpus)} == set(range(7))


@pytest.mark.parametrize("how", ["spread", "tail"])
def test_hold_out(tmp_path, how):
    paths = [jsonl(tmp_path / f"{i}.jsonl", texts(300)) for i in range(2)]
    found = []
    for seed in (1, 2):
        corpus, validation = opened(tmp_path, "gpt", seed, train=paths, validation_share=0.1, holdout=how, folder=f"s{seed}")
        assert validation is corpus and corpus.report["held_out"] == 60 and corpus.count() == 540
        held = [(r["_shard"], r["_row"]) for r in validation.held_out()]
        assert len(set(held)) == 60 and held == sorted(held) and not set(held) & set(numbers(corpus))
        assert "60 of them held out" in told(corpus.report)
        found.append(held)
    assert found[0] == found[1], "the same for every seed"
    if how == "tail":
        assert found[0] == [(1, i) for i in range(240, 300)]
    else:
        assert 15 < sum(s == 0 for s, _ in found[0]) < 45
    assert len(list(validation.held_out(5))) == 5
    assert opened(tmp_path, "gpt", train=paths, validation_share=0.1, most=8)[0].report["held_out"] == 8
    one = jsonl(tmp_path / "one.jsonl", texts(1))
    assert opened(tmp_path, "gpt", train=one, validation_share=0.5)[0].count() == 1, "the only row is trained on"


def test_a_validation_set_of_its_own_is_not_filtered(tmp_path):
    train = jsonl(tmp_path / "a.jsonl", [pair("好", "good"), pair("一二三四五六", "six")])
    valid = jsonl(tmp_path / "v.jsonl", [pair("一二三四五六", "six"), pair("一二三四五六", "six"), "{"])
    corpus, validation = opened(tmp_path, train=train, validation=valid, filters=FiltersConfig(max_chars=5))
    assert corpus.count() == 1 and [r["target"] for r in validation.held_out()] == ["six", "six"]
    assert json.loads((tmp_path / "scan" / "quarantine_validation.jsonl").read_text())["line"] == 3
    assert "quarantine_validation.jsonl" in told(validation.report) and "first" in corpus_summary(corpus.report, phrases("report", "en"))
    assert "first" not in told(opened(tmp_path, "gpt", train=jsonl(tmp_path / "t.jsonl", texts(3)))[0].report)


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_a_validation_set_with_other_columns_says_how_to_do_without(tmp_path, kind):
    (tmp_path / "a.csv").write_text("zh,en\n好,good\n坏,bad\n", "utf-8")
    (tmp_path / "v.csv").write_text("chinese,english\n好,good\n", "utf-8")
    jsonl(tmp_path / "v.jsonl", [pair("好", "good")])
    with pytest.raises(ConfigError, match=r"corpus\.validation: .*no .*zh.*--corpus\.validation null") as caught:
        opened(tmp_path, train=str(tmp_path / "a.csv"), validation=str(tmp_path / f"v.{kind}"), columns={"source": "zh", "target": "en"})
    assert "\n" not in str(caught.value)


STORY = "第一章\r\n\r\n" + "".join(f"很久很久以前，有第{i}只飞鸟。\r\n" for i in range(2000)) + "\r\n完" + "长" * 9000 + "\r\n😀 end"


@pytest.mark.parametrize("packing", ["", ".gz"])
def test_a_file_as_one_text_is_rebuilt_exactly(tmp_path, packing):
    path = tmp_path / f"story.txt{packing}"
    path.write_bytes(gzip.compress(STORY.encode()) if packing else STORY.encode())
    corpus, _ = opened(tmp_path, "gpt", train=str(path), document="file")
    corpus.shuffle = False
    rows = rows_of(corpus)
    assert "".join(r["text"] for r in rows) == STORY.replace("\r\n", "\n") and len(rows) > 10
    assert [r["_first"] for r in rows] == [True] + [False] * (len(rows) - 1) and rows[-1]["_last"]
    corpus.shuffle = True
    assert [r["text"] for r in rows_of(corpus)] == [r["text"] for r in rows], "pieces of one slice stay in order"


def test_document_line_and_blank_line(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("\n静夜思\n床前明月光\n \n\n春晓\n春眠不觉晓\n处处闻啼鸟", "utf-8")
    for document, wanted in {
        "line": ["静夜思", "床前明月光", "春晓", "春眠不觉晓", "处处闻啼鸟"],
        "blank_line": ["静夜思\n床前明月光", "春晓\n春眠不觉晓\n处处闻啼鸟"],
    }.items():
        corpus, _ = opened(tmp_path, "gpt", train=str(path), document=document)
        assert sorted(r["text"] for r in rows_of(corpus)) == sorted(wanted)
    path.write_text("".join(f"题{i}\n第{i}首\n\n" for i in range(700)), "utf-8")  # three slices, read from their offsets
    corpus, _ = opened(tmp_path, "gpt", train=str(path), document="blank_line")
    assert {r["text"] for r in rows_of(corpus)} == {f"题{i}\n第{i}首" for i in range(700)}


def test_chapters_begin_at_lines_that_match_a_pattern(tmp_path):
    path, poems = tmp_path / "book.txt", tmp_path / "poems.txt"
    book = [f"第{i}回　风波\n他说第{i}回是假话。\n" + "无话。\n" * (i % 7) for i in range(700)]
    path.write_text("序\n\n言\n" + "".join(b.replace("\n", "\n\n") for b in book), "utf-8")
    poems.write_text("".join(f"题{i}\n第{i}首\n\n" for i in range(50)), "utf-8")
    wanted = {"序\n言"} | {b.strip() for b in book}
    corpus, _ = opened(tmp_path, "gpt", train=str(path), document="^第.{1,6}回")
    assert {r["text"] for r in rows_of(corpus)} == wanted
    each = [SourceConfig(str(path), document="^第.{1,6}回"), SourceConfig(str(poems), document="blank_line")]
    corpus, _ = opened(tmp_path, "gpt", train=each, folder="each")
    assert {r["text"] for r in rows_of(corpus)} == wanted | {f"题{i}\n第{i}首" for i in range(50)}


@pytest.mark.parametrize(("said", "told"), [("blank_lines", "did you mean blank_line"), ("^第(", "is not a regular expression")])
def test_what_is_no_document_is_told(tmp_path, said, told):
    (tmp_path / "a.txt").write_text("静夜思\n", "utf-8")
    with pytest.raises(ConfigError, match=told):
        opened(tmp_path, "gpt", train=str(tmp_path / "a.txt"), document=said)


def test_the_stream_is_a_datasets_iterable_dataset(tmp_path):
    paths = [jsonl(tmp_path / "a.jsonl", texts(600)), str(tmp_path / "b.jsonl.gz")]
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress((tmp_path / "a.jsonl").read_bytes()))
    corpus, _ = opened(tmp_path, "gpt", train=paths, shuffle_rows=256)
    stream = corpus.stream()
    assert isinstance(stream, datasets.IterableDataset) and corpus.chunks_per_epoch == 6
    assert list(stream) == rows_of(corpus)
    assert [r["n"] for r in stream.map(lambda r: {"n": len(r["text"])}).filter(lambda r: r["n"] == 5).take(3)] == [5, 5, 5]
    assert len(list(stream.skip(1000))) == 200
    parts = [list(corpus.rows(0, [chunk])) for chunk in range(6)]
    assert list(corpus.rows(0, range(5, -1, -1))) == [row for part in parts[::-1] for row in part]
    shuffled = Counter((r["_shard"], r["_row"]) for r in stream.shuffle(seed=5, buffer_size=10))
    assert shuffled == numbers(corpus), "chunks asked for in any order, also from a file that is read front to back"
    batch = next(iter(stream.batch(4)))
    assert len(batch["text"]) == 4
    from torch.utils.data import DataLoader

    loaded = Counter((r["_shard"], r["_row"]) for r in DataLoader(stream, batch_size=None, num_workers=2))
    assert loaded == numbers(corpus)


@pytest.mark.parametrize("packing", ["", ".gz"])
def test_weights(tmp_path, packing):
    paths = []
    for i in range(3):
        data = "".join(json.dumps(r) + "\n" for r in texts(1000)).encode()
        (tmp_path / f"{i}.jsonl{packing}").write_bytes(gzip.compress(data) if packing else data)
        paths.append(str(tmp_path / f"{i}.jsonl{packing}"))
    corpus, _ = opened(
        tmp_path, "gpt", train=[SourceConfig(paths[0], weight=2.0), SourceConfig(paths[1], weight=0.5), SourceConfig(paths[2], weight=1.5)],
    )  # fmt: skip
    halves = []
    for epoch in (0, 1):
        seen = numbers(corpus, epoch)
        assert [seen[0, i] for i in range(1000)] == [2] * 1000
        half = {i for i in range(1000) if seen[1, i]}
        assert 430 < len(half) < 570 and all(seen[1, i] == 1 for i in half)
        assert {seen[2, i] for i in range(1000)} == {1, 2} and 1430 < sum(seen[2, i] for i in range(1000)) < 1570
        halves.append(half)
    assert halves[0] != halves[1], "another half each epoch"


def test_long_texts_make_small_chunks(tmp_path):
    path = jsonl(tmp_path / "a.jsonl", [{"text": "长" * 40_000}] * 600)
    corpus, _ = opened(tmp_path, "gpt", train=path)
    assert corpus.chunks_per_epoch == 3, "256 rows a chunk instead of all 600: 16 million characters are enough"


@pytest.mark.parametrize("weight", [1.0, 2.5])
def test_as_many_rows_are_shuffled_together_as_asked_for_though_where_selects_few(tmp_path, weight):
    path = jsonl(tmp_path / "a.jsonl", [{"text": f"这是第{i}行", "source": "books" if i % 16 == 0 else "film"} for i in range(8192)])
    corpus, _ = opened(tmp_path, "gpt", train=[SourceConfig(path, where={"source": ["books"]}, weight=weight)], shuffle_rows=256)
    chunk = list(corpus.rows(0, [0]))
    assert 200 < len(chunk) < 320 and corpus.mixed_rows == pytest.approx(256, rel=0.15), "of 8,192 rows 512 are selected, 16 of each slice"
    assert corpus.chunks_per_epoch == pytest.approx(2 * weight, abs=1)


def test_epochs_and_seeds_have_different_orders(tmp_path):
    path = jsonl(tmp_path / "a.jsonl", texts(2000))
    corpus, _ = opened(tmp_path, "gpt", train=path, shuffle_rows=512)
    order = [r["_row"] for r in rows_of(corpus)]
    assert order == [r["_row"] for r in rows_of(corpus)] and sorted(order) == list(range(2000)) and order != sorted(order)
    assert order != [r["_row"] for r in rows_of(corpus, 1)]
    assert {r["_row"] for r in corpus.rows(0, [0])} != {r["_row"] for r in corpus.rows(1, [0])}, "other rows meet"
    other, _ = opened(tmp_path, "gpt", train=path, shuffle_rows=512, seed=2)
    assert order != [r["_row"] for r in rows_of(other)]


def test_finished_files_are_closed(tmp_path):
    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("counts open files as Linux shows them")
    for i in range(60):
        (tmp_path / f"{i}.jsonl.gz").write_bytes(gzip.compress(b'{"text": "x"}\n' * 300))
    corpus, _ = opened(tmp_path, "gpt", train=str(tmp_path / "*.gz"), shuffle_rows=256 * 60)
    before = len(os.listdir("/proc/self/fd"))
    rows, most = corpus.rows(0, [0, 1]), 0
    for _ in rows:
        most = max(most, len(os.listdir("/proc/self/fd")) - before)
    assert most <= 16, f"{most} files are open after a chunk of 60 slices"
    rows, later = corpus.rows(0, [1]), corpus.rows(0, [0])
    assert sum(1 for _ in rows) + sum(1 for _ in later) == 18_000


def test_some_rows_are_bounded_by_characters_too(tmp_path):
    corpus, _ = opened(tmp_path, "gpt", train=jsonl(tmp_path / "a.jsonl", [{"text": "长" * 100}] * 50))
    assert [len(list(corpus.some(*bounds))) for bounds in ((7, 9999), (99, 250), (99, 300), (99, 1))] == [7, 3, 3, 1]


@pytest.mark.parametrize("how", ["tail", "spread"])
def test_each_part_of_a_file_has_a_first_and_a_last_piece(tmp_path, how):
    (tmp_path / "story.txt").write_bytes(STORY.encode())
    corpus, _ = opened(tmp_path, "gpt", train=str(tmp_path / "story.txt"), document="file", validation_share=0.3, holdout=how)
    corpus.shuffle = False
    for rows in (rows_of(corpus), list(corpus.held_out())):
        assert len(rows) > 2 and [r["_first"] for r in rows] == [True] + [False] * (len(rows) - 1)
        assert [r["_last"] for r in rows] == [False] * (len(rows) - 1) + [True]

"""Where rows come from: every kind of file, packed in every way, with everything that is wrong with real files."""

import bz2
import csv
import functools
import gzip
import http.server
import io
import json
import lzma
import threading
from pathlib import Path

import pytest
import zstandard

from training.base.errors import ConfigError
from training.corpus.readers import read
from training.corpus.sources import parse, resolve
from training.corpus.text_files import BadRow
from training.settings.config import SourceConfig

CORPORA = Path(__file__).resolve().parents[2] / "shared" / "corpora"
PAIRS = [("你好，世界。", "Hello, world."), ("我有两只猫。", "I have two cats."), ("「谢谢」", 'He said "thanks".')]
PACK = {
    "": lambda b: b, ".gz": gzip.compress, ".xz": lzma.compress, ".bz2": lambda b: bz2.compress(b, 1),
    ".zst": zstandard.ZstdCompressor().compress,
}  # fmt: skip
TEXT = {"text": "text"}
COLUMNS = {"source": "chinese", "target": "english"}


def shards_of(source, columns=COLUMNS, document="line"):
    sources = [s if isinstance(s, SourceConfig) else SourceConfig(str(s)) for s in (source if isinstance(source, list) else [source])]
    return resolve(sources, columns, document, "corpus.train")


def rows_of(source, columns=COLUMNS, document="line"):
    """(rows, bad): the good rows, and (line, reason, detail) of the others."""
    rows, bad = [], []
    for shard in shards_of(source, columns, document):
        for record in read(shard):
            try:
                rows.append(parse(record, shard))
            except BadRow as error:
                bad.append((record.line, error.reason, str(error)))
    return [r for r in rows if r is not None], bad


def pairs_of(source, columns=COLUMNS):
    rows, bad = rows_of(source, columns)
    assert not bad, bad
    return [(r["source"], r["target"]) for r in rows]


def error_of(source, **more):
    with pytest.raises(ConfigError) as caught:
        rows_of(source, **more)
    return str(caught.value)


def as_bytes(kind):
    out = io.StringIO()
    if kind in ("jsonl", "json"):
        out.writelines(json.dumps({"english": e, "chinese": c}, ensure_ascii=False) + "\n" for c, e in PAIRS)
    elif kind == "csv":
        csv.writer(out).writerows([("english", "chinese"), *((e, c) for c, e in PAIRS)])
    elif kind == "tsv":
        out.writelines(f"{c}\t{e}\n" for c, e in [("chinese", "english"), *PAIRS])
    return out.getvalue().encode()


@pytest.mark.parametrize("packing", PACK)
@pytest.mark.parametrize("kind", ["jsonl", "json", "csv", "tsv"])
def test_tables_and_json_lines_in_every_packing(tmp_path, kind, packing):
    path = tmp_path / f"a.{kind}{packing}"
    path.write_bytes(PACK[packing](as_bytes(kind)))
    assert pairs_of(path) == PAIRS
    shard = shards_of(path)[0]
    assert [r.row for r in read(shard, 2)] == [2]
    assert parse(next(read(shard, 2)), shard) == {"source": "「谢谢」", "target": 'He said "thanks".'}


@pytest.mark.parametrize("packing", PACK)
def test_text_and_aligned_files_in_every_packing(tmp_path, packing):
    zh, en = tmp_path / f"a.zh{packing}", tmp_path / f"a.en{packing}"
    zh.write_bytes(PACK[packing]("".join(c + "\n" for c, _ in PAIRS).encode()))
    en.write_bytes(PACK[packing]("".join(e + "\n" for _, e in PAIRS).encode()))
    assert pairs_of(SourceConfig(str(zh), target_path=str(en))) == PAIRS
    rows, _ = rows_of(SourceConfig(str(zh), format="txt"), TEXT)
    assert [r["text"] for r in rows] == [c for c, _ in PAIRS]


def test_parquet_plain_and_nested(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(
        pa.table({"chinese": [c for c, _ in PAIRS], "english": [e for _, e in PAIRS], "n": [1, 2, 3]}),
        tmp_path / "a.parquet",
        row_group_size=2,
    )
    assert pairs_of(tmp_path / "a.parquet") == PAIRS
    assert [r.row for r in read(shards_of(tmp_path / "a.parquet")[0], 1)] == [1, 2]
    assert pairs_of(SourceConfig(str(tmp_path / "a.parquet"), where={"n": [1, 3]})) == [PAIRS[0], PAIRS[2]]
    assert "no column chinees; it has chinese, english, n" in error_of(
        SourceConfig(str(tmp_path / "a.parquet"), columns={"source": "chinees"})
    )
    pq.write_table(pa.table({"translation": [{"zh": c, "en": e} for c, e in PAIRS]}), tmp_path / "nested.parquet")
    assert pairs_of(SourceConfig(str(tmp_path / "nested.parquet"), columns={"source": "zh", "target": "en"})) == PAIRS
    (tmp_path / "not.parquet").write_bytes(b"PAR1 no")
    assert "not a parquet file" in error_of(tmp_path / "not.parquet")
    whole = (tmp_path / "a.parquet").read_bytes()
    (tmp_path / "hurt.parquet").write_bytes(whole[:4] + b"\xff" * 40 + whole[44:])
    _, bad = rows_of(tmp_path / "hurt.parquet")
    assert bad and bad[-1][1] == "malformed" and "breaks off" in bad[-1][2]


def test_globs_lists_weights_where_and_columns_of_one_source(tmp_path):
    for i, (c, e) in enumerate(PAIRS):
        (tmp_path / f"part-{i}.jsonl").write_text(json.dumps({"chinese": c, "english": e, "source": "a" if i else "b"}) + "\n", "utf-8")
    (tmp_path / "other.jsonl").write_text(json.dumps({"zh": "另一个", "en": "another"}) + "\n", "utf-8")
    shards = shards_of([
        SourceConfig(str(tmp_path / "part-*.jsonl"), weight=2.0),
        SourceConfig(str(tmp_path / "other.jsonl"), columns={"source": "zh", "target": "en"}, weight=0.5),
    ])  # fmt: skip
    assert [(Path(s.path).name, s.weight) for s in shards] == [
        ("part-0.jsonl", 2.0), ("part-1.jsonl", 2.0), ("part-2.jsonl", 2.0), ("other.jsonl", 0.5),
    ]  # fmt: skip
    assert parse(next(read(shards[3])), shards[3]) == {"source": "另一个", "target": "another"}
    assert pairs_of(SourceConfig(str(tmp_path / "part-*.jsonl"), where={"source": "a"})) == PAIRS[1:]
    assert pairs_of(SourceConfig(str(tmp_path / "part-*.jsonl"), where={"source": ["a", "b"]})) == PAIRS


def test_where_in_a_table_compares_text(tmp_path):
    (tmp_path / "a.csv").write_text("chinese,english,year\n好,good,2020\n坏,bad,2021\n", "utf-8")
    assert pairs_of(SourceConfig(str(tmp_path / "a.csv"), where={"year": 2021})) == [("坏", "bad")]
    assert "no column yaer" in error_of(SourceConfig(str(tmp_path / "a.csv"), where={"yaer": 2021}))
    (tmp_path / "a.txt").write_text("好\n", "utf-8")
    assert "no columns" in error_of(SourceConfig(str(tmp_path / "a.txt"), where={"year": 2021}), columns=TEXT)


class Server(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture
def address(tmp_path, monkeypatch):
    import datasets

    monkeypatch.setattr(datasets.config, "DOWNLOADED_DATASETS_PATH", str(tmp_path / "cache"))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Server, directory=str(tmp_path)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def test_web_addresses(tmp_path, address):
    (tmp_path / "a.jsonl").write_bytes(as_bytes("jsonl"))
    (tmp_path / "b.csv.gz").write_bytes(gzip.compress(as_bytes("csv")))
    (tmp_path / "zh.txt.gz").write_bytes(gzip.compress("".join(c + "\n" for c, _ in PAIRS).encode()))
    (tmp_path / "en.txt.xz").write_bytes(lzma.compress("".join(e + "\n" for _, e in PAIRS).encode()))
    assert pairs_of(f"{address}/a.jsonl") == PAIRS
    assert pairs_of(f"{address}/b.csv.gz?download=1") == PAIRS
    assert pairs_of(SourceConfig(f"{address}/zh.txt.gz", target_path=f"{address}/en.txt.xz")) == PAIRS
    assert not shards_of(SourceConfig(f"{address}/zh.txt.gz"), TEXT)[0].seekable
    assert f"{address}/none.jsonl cannot be downloaded" in error_of(f"{address}/none.jsonl")
    assert "cannot be downloaded" in error_of("http://127.0.0.1:9/a.jsonl")


def test_a_dataset_of_the_hubs_kind_is_streamed(tmp_path):
    folder = tmp_path / "owner" / "pairs"
    (folder / "data").mkdir(parents=True)
    for name, some in (("train-0", PAIRS[:2]), ("train-1", PAIRS[2:])):
        lines = [json.dumps({"translation": {"en": e, "zh": c}}) + "\n" for c, e in some]
        (folder / "data" / f"{name}.jsonl").write_text("".join(lines), "utf-8")
    source = SourceConfig(f"hub:{folder}", columns={"source": "zh", "target": "en"})
    assert pairs_of(source) == PAIRS
    assert [r.row for r in read(shards_of(source)[0], 1)] == [1, 2]
    before = shards_of(source)[0].fingerprint()
    (folder / "data" / "train-0.jsonl").write_text("{}\n")
    assert shards_of(source)[0].fingerprint() != before
    assert "cannot be opened" in error_of(SourceConfig(f"hub:{tmp_path}/nothing"))
    assert shards_of(SourceConfig("no_such_owner/dataset"))[0].format == "hub"


PUBLISHED = (
    '{"english": "Slowly and not without struggle, America began to listen.", "chinese": "美国缓慢地开始倾听，但并非没有艰难曲折。"}\n'
    '{"english": "Dithering is a technique that blends your colors together.", "chinese": "抖动关系到颜色混合的技术。"\n'
    '{"english": "A few days later,", "chinese": "几天后，"}\n'
)


def test_translation2019zh_as_published_with_its_malformed_line(tmp_path):
    (tmp_path / "translation2019zh_valid.json").write_text(PUBLISHED, "utf-8")
    rows, bad = rows_of(tmp_path / "translation2019zh_valid.json")
    assert [r["target"] for r in rows] == ["Slowly and not without struggle, America began to listen.", "A few days later,"]
    assert [b[:2] for b in bad] == [(2, "malformed")] and "not JSON" in bad[0][2]


def test_translation2019zh_sample():
    path = CORPORA / "zh-en" / "translation2019zh_valid.sample.json"
    if not path.is_file():
        pytest.skip(f"{path} is not here")
    rows, bad = rows_of(path)
    assert (len(rows), len(bad)) == (670, 1) and bad[0][1] == "malformed"


def test_csv_as_people_have_it(tmp_path):
    def check(text, wanted, bad_wanted=()):
        (tmp_path / "a.csv").write_text(text, "utf-8")
        rows, bad = rows_of(tmp_path / "a.csv")
        assert [(r["source"], r["target"]) for r in rows] == wanted
        assert [b[:2] for b in bad] == list(bad_wanted), bad

    head = "id,chinese,english\n"
    check(head + '1,"一\n二","one, ""two"""\n2,三,three\n', [("一\n二", 'one, "two"'), ("三", "three")])
    check(
        head + '1,"一\r\n二",one\n2,三,three,more\n3,四\n\n4,五,five',
        [("一\n二", "one"), ("五", "five")],
        [(4, "malformed"), (5, "malformed"), (6, "empty")],
    )
    # A stray quote costs its own line, not the rest of the file or the lines up to the next quote.
    many = "".join(f"{i},数{i},number {i}\n" for i in range(1000))
    check(head + '0,"坏,bad\n' + many, [(f"数{i}", f"number {i}") for i in range(1000)], [(2, "malformed")])
    check(head + '0,"坏,bad\n1,好,good\n2,"对, 对",right\n', [("好", "good"), ("对, 对", "right")], [(2, "malformed")])
    check(head + '0,好,5" wide\n1,"对" 的,right\n', [("好", '5" wide'), ("对 的", "right")])
    check(" chinese , english \n好,good\n", [("好", "good")])
    check("", [])
    (tmp_path / "b.csv").write_text("好,good\n坏,bad\n", "utf-8")
    told = error_of(tmp_path / "b.csv")
    assert "no column chinese, english; the first line, which names the columns, has: 好, good" in told and "corpus.columns" in told
    assert "If there is no header line, add one: chinese,english;" in told
    (tmp_path / "b.csv").write_text("chinese;english\n好;good\n", "utf-8")
    assert "separated by semicolons: save it with commas" in error_of(tmp_path / "b.csv")
    (tmp_path / "b.csv").write_text("chinese\tenglish\n好\tgood\n", "utf-8")
    assert "separated by tabs: call it .tsv" in error_of(tmp_path / "b.csv")


def test_aligned_files(tmp_path):
    (tmp_path / "zh.txt").write_text("一\n\n三\n\n　\n", "utf-8")  # blank lines at its end are none
    (tmp_path / "en.txt").write_text("one\ntwo\nthree\n", "utf-8")
    rows, bad = rows_of(SourceConfig(str(tmp_path / "zh.txt"), target_path=str(tmp_path / "en.txt")))
    assert [r["target"] for r in rows] == ["one", "three"]
    assert [b[:2] for b in bad] == [(2, "empty")]
    (tmp_path / "long.txt").write_text("一\n\n三\n四\n\n六\n", "utf-8")
    for pair, counts in ((("long", "en"), ("6", "3")), (("en", "long"), ("3", "6"))):
        with pytest.raises(ConfigError) as caught:
            rows_of(SourceConfig(str(tmp_path / f"{pair[0]}.txt"), target_path=str(tmp_path / f"{pair[1]}.txt")))
        assert f"{pair[0]}.txt has {counts[0]} lines and " in str(
            caught.value
        ) and f"{pair[1]}.txt has {counts[1]}: every pair after" in str(caught.value)
    for name in ("a", "b"):
        (tmp_path / f"{name}.zh").write_text(f"{name}中\n", "utf-8")
        (tmp_path / f"{name}.en").write_text(f"{name} en\n", "utf-8")
    assert pairs_of(SourceConfig(str(tmp_path / "?.zh"), target_path=str(tmp_path / "?.en"))) == [("a中", "a en"), ("b中", "b en")]
    told = error_of(SourceConfig(str(tmp_path / "?.zh"), target_path=str(tmp_path / "a.en")))
    assert "has 2 files" in told and "has 1" in told
    assert "name the file with their translations as target_path" in error_of(tmp_path / "zh.txt")
    assert "translation" in error_of(SourceConfig(str(tmp_path / "zh.txt"), target_path=str(tmp_path / "en.txt")), columns=TEXT)


def test_a_path_with_spaces_brackets_and_chinese(tmp_path):
    path = tmp_path / "我的 [小] 语料.TXT"
    path.write_text("一句话\n", "utf-8")
    assert rows_of(path, TEXT)[0] == [{"text": "一句话"}]

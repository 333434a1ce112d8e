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

from training.config import ConfigError, SourceConfig
from training.sources import BadRow, parse, read, resolve

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


def test_windows_line_ends_and_byte_order_mark(tmp_path):
    for kind in ("jsonl", "csv", "tsv"):
        (tmp_path / f"a.{kind}").write_bytes(b"\xef\xbb\xbf" + as_bytes(kind).replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))
        assert pairs_of(tmp_path / f"a.{kind}") == PAIRS
    (tmp_path / "a.txt").write_bytes("\ufeff第一行\r\n第二行\r\n最后一行没有换行".encode())
    assert [r["text"] for r in rows_of(tmp_path / "a.txt", TEXT)[0]] == ["第一行", "第二行", "最后一行没有换行"]
    assert rows_of(tmp_path / "a.txt", TEXT, "file")[0] == [{"text": "第一行\n第二行\n最后一行没有换行"}]
    assert rows_of(tmp_path / "a.txt", TEXT, "blank_line")[0] == [{"text": "第一行\n第二行\n最后一行没有换行"}]


@pytest.mark.parametrize("document", ["line", "blank_line", "file"])
def test_other_encodings_are_told_by_name(tmp_path, document):
    (tmp_path / "a.txt").write_bytes("世界以痛吻我\n要我报之以歌\n".encode("gb18030"))
    rows, bad = rows_of(tmp_path / "a.txt", TEXT, document)
    assert not rows and {b[1] for b in bad} == {"not_utf8"} and "iconv -f GB18030" in bad[0][2]
    for encoding in ("utf-16", "utf-16-be"):
        mark = "\ufeff" if encoding == "utf-16-be" else ""
        (tmp_path / "a.txt").write_bytes((mark + "plain words\nworld\n").encode(encoding))
        rows, bad = rows_of(tmp_path / "a.txt", TEXT, document)
        assert not rows and len(bad) == 1 and bad[0][1] == "not_utf8" and "UTF-16" in bad[0][2]
    (tmp_path / "a.csv").write_bytes("中文,英文\n好,good\n".encode("gbk"))
    told = error_of(SourceConfig(str(tmp_path / "a.csv"), columns={"source": "中文", "target": "英文"}))
    assert "save the file as UTF-8" in told and told.encode()
    (tmp_path / "b.csv").write_bytes("chinese,english\n好,good\n坏,bad\n".encode("gbk"))
    bad = rows_of(tmp_path / "b.csv")[1]
    assert [b[:2] for b in bad] == [(2, "not_utf8"), (3, "not_utf8")]
    assert "reads as GBK: save the file as UTF-8 (in Notepad or Excel" in bad[0][2]


@pytest.mark.parametrize("packing", [p for p in PACK if p])
@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_a_file_that_breaks_off_or_is_hurt(tmp_path, kind, packing):
    import random

    words = random.Random(0)  # too random to be packed into one block
    lines = ["chinese,english\n"] if kind == "csv" else []
    for i in range(5000):
        row = {"chinese": f"第{i}句", "english": f"{words.random()} and {words.random()}"}
        lines.append(",".join(row.values()) + "\n" if kind == "csv" else json.dumps(row) + "\n")
    packed = PACK[packing]("".join(lines).encode())
    path = tmp_path / f"a.{kind}{packing}"
    path.write_bytes(packed[: len(packed) * 2 // 3])
    rows, bad = rows_of(path)
    assert len(bad) == 1 and bad[0][1] == "malformed" and "breaks off" in bad[0][2]
    assert len(rows) > 1000
    path.write_bytes(packed[: len(packed) // 2] + b"\x00garbage" * 9 + packed[len(packed) // 2 :])
    assert rows_of(path)[1]
    if kind == "jsonl":
        path.write_bytes(b"this is not compressed at all, whatever its name says\n")
        rows, bad = rows_of(path)
        assert not rows and len(bad) == 1 and "breaks off" in bad[0][2]


def test_a_line_of_ten_megabytes_is_passed_over(tmp_path):
    long = '{"chinese": "' + "x" * (10 << 20) + '", "english": "y"}\n'
    good = '{"chinese": "好", "english": "good"}\n'
    (tmp_path / "a.jsonl").write_text(good + long + good, "utf-8")
    rows, bad = rows_of(tmp_path / "a.jsonl")
    assert len(rows) == 2 and bad == [(2, "too_long", f"a line of {len(long)} bytes")]
    (tmp_path / "a.csv").write_text("chinese,english\n好,good\n" + "x" * (10 << 20) + ",y\n坏,bad\n", "utf-8")
    rows, bad = rows_of(tmp_path / "a.csv")
    assert [r["target"] for r in rows] == ["good", "bad"] and [b[:2] for b in bad] == [(3, "too_long")]
    (tmp_path / "b.jsonl").write_text(good + long.strip(), "utf-8")  # the last line, without an end
    assert len(rows_of(tmp_path / "b.jsonl")[1]) == 1
    en = tmp_path / "en.txt"
    en.write_text("a\nb\nc\n", "utf-8")
    (tmp_path / "zh.txt").write_text("一\n" + "x" * (10 << 20) + "\n三\n", "utf-8")
    rows, bad = rows_of(SourceConfig(str(tmp_path / "zh.txt"), target_path=str(en)))
    assert [r["target"] for r in rows] == ["a", "c"] and [b[:2] for b in bad] == [(2, "too_long")]


@pytest.mark.parametrize("indent", [None, 1])
def test_a_json_array_is_named(tmp_path, indent):
    (tmp_path / "a.json").write_text(json.dumps([{"chinese": c, "english": e} for c, e in PAIRS], indent=indent), "utf-8")
    rows, bad = rows_of(tmp_path / "a.json")
    assert not rows and "array" in bad[0][2]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"chinese": "好"}', "missing_field"), ('{"chinese": "好", "english": null}', "missing_field"),
        ('{"chinese": "好", "english": 3}', "wrong_type"), ('{"chinese": ["好"], "english": "a"}', "wrong_type"),
        ('{"chinese": "好", "english": "  "}', "empty"), ("", "empty"), ("null", "malformed"), ('"text"', "malformed"),
        ("[" * 100_000, "malformed"), ('{"chinese": "好", "english": ' + "9" * 5000 + "}", "malformed"),
        ('{"chinese": "好", "english": "half \\ud800"}', "not_utf8"), ("{'chinese': 'a'}", "malformed"),
    ],
)  # fmt: skip
def test_one_bad_line_of_json(tmp_path, line, reason):
    good = '{"chinese": "好", "english": "good"}\n'
    (tmp_path / "a.jsonl").write_text(good + line + "\n" + good, "utf-8")
    rows, bad = rows_of(tmp_path / "a.jsonl")
    # Newer Pythons read numbers of any length up to a limit; either way it is no text.
    assert len(rows) == 2 and len(bad) == 1 and bad[0][0] == 2 and bad[0][1] in (reason, "wrong_type" if "999" in line else reason)


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
    (tmp_path / "zh.txt").write_text("一\n\n三\n四\n", "utf-8")
    (tmp_path / "en.txt").write_text("one\ntwo\nthree\n", "utf-8")
    rows, bad = rows_of(SourceConfig(str(tmp_path / "zh.txt"), target_path=str(tmp_path / "en.txt")))
    assert [r["target"] for r in rows] == ["one", "three"]
    assert [b[:2] for b in bad] == [(2, "empty"), (4, "missing_field")] and "en.txt has fewer lines" in bad[1][2]
    for name in ("a", "b"):
        (tmp_path / f"{name}.zh").write_text(f"{name}中\n", "utf-8")
        (tmp_path / f"{name}.en").write_text(f"{name} en\n", "utf-8")
    assert pairs_of(SourceConfig(str(tmp_path / "?.zh"), target_path=str(tmp_path / "?.en"))) == [("a中", "a en"), ("b中", "b en")]
    told = error_of(SourceConfig(str(tmp_path / "?.zh"), target_path=str(tmp_path / "a.en")))
    assert "has 2 files" in told and "has 1" in told
    assert "name the file with their translations as target_path" in error_of(tmp_path / "zh.txt")
    assert "translation" in error_of(SourceConfig(str(tmp_path / "zh.txt"), target_path=str(tmp_path / "en.txt")), columns=TEXT)


def test_what_is_not_there_is_told_with_what_is(tmp_path):
    (tmp_path / "verses.jsonl").write_text("{}")
    told = error_of([SourceConfig(str(tmp_path / "verse.jsonl")), SourceConfig(str(tmp_path / "none" / "a.txt"))])
    assert f"no file matches {tmp_path}/verse.jsonl; in {tmp_path} there are: verses.jsonl" in told
    assert f"there is no folder {tmp_path}/none" in told
    assert "is a folder; name its files" in error_of(tmp_path)
    (tmp_path / "a.docx").write_bytes(b"PK")
    told = error_of(tmp_path / "a.docx")
    assert "unknown kind of file; set `format:` to one of csv, jsonl, parquet, tsv, txt" in told
    assert told.endswith(f'on the command line: --corpus.train "{{path: {tmp_path}/a.docx, format: txt}}"')


def test_a_wrong_name_is_answered_with_near_names_and_with_files_that_can_be_read(tmp_path):
    for name in (".hidden", *(f"{c}.png" for c in "abcdefgh"), "my_poems.txt", "my_other.csv"):
        (tmp_path / name).write_text("x")
    assert error_of(tmp_path / "my_poem.txt").endswith("there are: my_poems.txt, my_other.csv, a.png, b.png, c.png, d.png, e.png, f.png")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / ".hidden").write_text("x")
    assert error_of(tmp_path / "sub" / "a.txt").endswith("sub is empty")


def test_a_start_from_another_folder_is_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    told = error_of("data/sentence.txt", columns=TEXT)
    assert "no file matches data/sentence.txt; paths are relative to the folder that you start from: go to " in told
    assert Path(told.partition("go to ")[2].removesuffix(" first"), "data", "sentence.txt").is_file()
    assert "there is no folder corpora/zz; the header of the config says what it needs there" in error_of("corpora/zz/a.jsonl")
    assert error_of("zz/yy/a.jsonl").endswith("there is no folder zz/yy")


def test_a_path_with_spaces_brackets_and_chinese(tmp_path):
    path = tmp_path / "我的 [小] 语料.TXT"
    path.write_text("一句话\n", "utf-8")
    assert rows_of(path, TEXT)[0] == [{"text": "一句话"}]


def test_parquet_text_that_is_not_utf8_costs_its_row(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    zh = [c.encode() for c, _ in PAIRS]
    zh[1] = "我有".encode("gb18030")
    broken = pa.Array.from_buffers(pa.string(), 3, pa.array(zh, pa.binary()).buffers())
    pq.write_table(pa.table({"chinese": broken, "english": [e for _, e in PAIRS]}), tmp_path / "a.parquet")
    rows, bad = rows_of(tmp_path / "a.parquet")
    assert [r["target"] for r in rows] == [PAIRS[0][1], PAIRS[2][1]]
    assert [b[:2] for b in bad] == [(2, "not_utf8")]


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.jsonl.gz", "a.csv.xz", "a.jsonl.bz2", "a.csv.zst", "a.parquet"])
def test_a_file_that_may_not_be_read_is_told_with_the_reason(tmp_path, monkeypatch, name):
    (tmp_path / name).write_bytes(b"")
    shard = shards_of(tmp_path / name)[0]

    def refuse(path, *more, **options):
        raise PermissionError(13, "Permission denied", path)

    for module in ("builtins.open", "gzip.open", "lzma.open", "bz2.open"):
        monkeypatch.setattr(module, refuse)
    with pytest.raises(ConfigError) as caught:
        list(read(shard))
    monkeypatch.undo()
    assert str(caught.value) == f"{tmp_path / name}: cannot be read (Permission denied)"


@pytest.mark.parametrize("document", ["line", "blank_line", "file"])
def test_text_with_nul_bytes_is_malformed(tmp_path, document):
    (tmp_path / "a.txt").write_bytes("plain words\nworld\n".encode("utf-16-le"))
    rows, bad = rows_of(tmp_path / "a.txt", TEXT, document)
    assert not rows and bad and {b[1] for b in bad} == {"malformed"} and "iconv -f UTF-16LE" in bad[0][2]


def test_aligned_text_with_nul_bytes_is_malformed(tmp_path):
    (tmp_path / "a.zh").write_bytes("一\n二\0\n".encode())
    (tmp_path / "a.en").write_text("one\ntwo\n", "utf-8")
    rows, bad = rows_of(SourceConfig(str(tmp_path / "a.zh"), target_path=str(tmp_path / "a.en")))
    assert len(rows) == 1 and [b[:2] for b in bad] == [(2, "malformed")]


@pytest.mark.parametrize("document", ["line", "blank_line", "file"])
@pytest.mark.parametrize("encoding", ["utf-32-le", "utf-32-be"])
def test_utf32_is_told_from_utf16(tmp_path, document, encoding):
    (tmp_path / "a.txt").write_bytes("\ufeffplain words\nworld\n".encode(encoding))
    rows, bad = rows_of(tmp_path / "a.txt", TEXT, document)
    assert not rows and len(bad) == 1 and bad[0][1] == "not_utf8" and "iconv -f UTF-32 " in bad[0][2] and "UTF-16" not in bad[0][2]


def test_a_path_with_nul_is_shown_so_that_it_is_seen(tmp_path):
    told = error_of(SourceConfig(f"{tmp_path}/a\0b.txt"))
    assert "\0" not in told and "a\\x00b.txt'" in told
    assert "\0" not in error_of(SourceConfig(f"{tmp_path}/a\0b/c.txt"))

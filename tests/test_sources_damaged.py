"""Files that are hurt, in another encoding, misnamed or not to be read: told with the reason, and no row of the others is lost."""

import json
from pathlib import Path

import pytest
from test_sources import PACK, PAIRS, TEXT, as_bytes, error_of, pairs_of, rows_of, shards_of

from training.base.errors import ConfigError
from training.corpus.readers import read
from training.settings.config import SourceConfig


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
        assert "though it is called so; if it is plain text, take the ending off its name" in error_of(path)


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
    assert "is the file a JSON array? One object {…} a line is wanted" in error_of(tmp_path / "a.json")


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
    assert "UTF-16 without its mark: save the file as UTF-8 (in Notepad or Excel, or iconv -f UTF-16LE" in error_of(
        SourceConfig(str(tmp_path / "a.txt"), document=document), columns=TEXT
    )


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

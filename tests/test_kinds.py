"""Files that are not what they are called, and sets that are wrong as a whole: told before anything is trained on them."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import zstandard

from training.base.errors import ConfigError
from training.corpus.order import Corpus
from training.corpus.prepare import open_corpus
from training.settings.config import CorpusConfig, SourceConfig

POEMS = [
    "海浪把月光推到岸上，\n又悄悄拿了回去。",
    "风问树叶：你为什么总在说话？\n树叶说，因为你总在听。",
    "我把名字写在沙上，\n潮水替我念了一遍。",
]
PAIRS = [
    ("雨停了吗？", "Has the rain stopped?"),
    ("还没有。", "Not yet."),
    ("我们再等一会儿吧。", "Let's wait a little longer."),
    ("好的，没问题。", "All right, no problem."),
]


def opened(train: Any, folder: Path, task: str = "gpt", **more: Any) -> tuple[Corpus, Corpus]:
    return open_corpus(CorpusConfig(train=train, **more), task, folder / "scan", 1, 100)


def refused(path: Path, data: bytes, task: str = "gpt", **more: Any) -> str:
    path.write_bytes(data)
    with pytest.raises(ConfigError) as caught:
        opened(str(path), path.parent, task, **more)
    return str(caught.value)


def texts(corpus: Corpus) -> list[str]:
    rows = [*corpus.rows(0, range(corpus.chunks_per_epoch)), *corpus.held_out()]
    return sorted(row["text"] for row in rows)


def zipped() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as z:
        z.writestr("xl/sheet1.xml", "<x/>")
    return out.getvalue()


FOREIGN = [
    (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 91023\n",
        "git-LFS pointer, not the file itself: fetch it with `git lfs pull`",
    ),
    (b"\n  <!DOCTYPE HTML>\n<html><body>404</body></html>", "an HTML page"),
    (b"\xef\xbb\xbf<html lang=en><title>Sign in</title>", "an HTML page"),
    (b'<?xml version="1.0"?><tmx version="1.4"><body/></tmx>', "XML (TMX, SGM or the like)"),
    (b'<srcset setid="t" srclang="any"><doc docid="1"><seg id="1">x</seg>', "XML (TMX, SGM or the like)"),
    (gzip.compress("海\n".encode(), mtime=0), "this is gzip, not text; call it .gz"),
    (lzma.compress("海\n".encode()), "this is xz, not text"),
    (bz2.compress("海\n".encode()), "this is bzip2, not text"),
    (zstandard.compress("海\n".encode()), "this is zstd, not text"),
    (zipped(), "a zip archive (as .xlsx and .docx are)"),
    (b"PAR1" + bytes(40) + b"PAR1", "this is Parquet, not text; call it .parquet"),
    (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", "a PDF"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(16), "an old Office document"),
    (b"7z\xbc\xaf\x27\x1c\0\x04", "a 7z archive"),
    (b"SQLite format 3\0\x10\0\x01\x01", "an SQLite database"),
    (b"ARROW1\0\0\xff\xff\xff\xff", "this is Arrow, not text; write it as Parquet"),
    (bytes(range(1, 9)) * 40, "not text: too many control characters"),
    ("岸上\n月光\n你好吗\n".encode("utf-16-be"), "UTF-16 without its mark"),
    ("plain words and no mark at all\n".encode("utf-16-le"), "UTF-16 without its mark"),
    ("\r".join(POEMS).replace("\n", "\r").encode(), "its lines end with CR alone"),
]


@pytest.mark.parametrize(("data", "told"), FOREIGN)
def test_a_file_of_another_kind_is_named(data: bytes, told: str, tmp_path: Path) -> None:
    assert told in refused(tmp_path / "poems.txt", data)
    if "CR alone" not in told:
        assert told.partition(" (")[0] in refused(tmp_path / "pairs.jsonl", data, "translation")
        (tmp_path / "a.zh").write_text("一\n", "utf-8")
        (tmp_path / "a.en").write_bytes(data)
        with pytest.raises(ConfigError, match=r"a\.en: "):
            opened(SourceConfig(str(tmp_path / "a.zh"), target_path=str(tmp_path / "a.en")), tmp_path, "translation")


def test_what_is_packed_is_looked_at_unpacked(tmp_path: Path) -> None:
    assert "unpacked it is a git-LFS pointer" in refused(tmp_path / "a.txt.gz", gzip.compress(FOREIGN[0][0]))
    assert "unpacked it is gzip" in refused(tmp_path / "a.txt.xz", lzma.compress(gzip.compress(b"x\n")))
    assert "this is gzip, not xz" in refused(tmp_path / "b.txt.xz", gzip.compress(b"x\n"))
    assert "this is not Parquet" in refused(tmp_path / "a.parquet", b"chinese,english\n", "translation")


@pytest.mark.parametrize(
    ("encoding", "name"), [("gb18030", "GB18030"), ("big5hkscs", "BIG5"), ("utf-16-le", "UTF-16LE"), ("utf-16-be", "UTF-16BE")]
)
def test_the_remedy_that_is_printed_works(encoding: str, name: str, tmp_path: Path) -> None:
    """iconv as the message says it gives back the text, not something that looks like text."""
    text = "山中何所有，\n嶺上多白雲。\n只可自怡悅，\n不堪持寄君。\n" if encoding == "big5hkscs" else "\n".join(POEMS)
    told = refused(tmp_path / "poems.txt", text.encode(encoding))
    command = told[told.index("iconv -f") :].rstrip(")").split()
    assert command[2] == name
    done = subprocess.run([*command, str(tmp_path / "poems.txt")], capture_output=True)
    assert done.returncode == 0 and done.stdout.decode() == text
    (tmp_path / "new.txt").write_bytes(done.stdout)
    assert len(texts(opened(str(tmp_path / "new.txt"), tmp_path)[0])) == len(text.splitlines())


def test_lone_line_ends_and_arrays_are_mended_as_the_message_says(tmp_path: Path) -> None:
    told = refused(tmp_path / "a.txt", "\r".join(POEMS).replace("\n", "\r").encode())
    assert "tr '\\r' '\\n' < OLD > NEW" in told
    rows = [{"chinese": c, "english": e} for c, e in PAIRS]
    lines = "[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n"
    for text in (json.dumps(rows), json.dumps(rows, indent=2), lines):
        told = refused(tmp_path / "a.json", text.encode(), "translation")
        code = told[told.index('-c "') + 4 : told.rindex('" < OLD')]
        done = subprocess.run([sys.executable, "-c", code], input=text, capture_output=True, text=True)
        (tmp_path / "b.jsonl").write_text(done.stdout, "utf-8")
        corpus, _ = opened(str(tmp_path / "b.jsonl"), tmp_path, "translation")
        assert corpus.report["rows_read"] == len(PAIRS) and not corpus.report["rejected"]


@pytest.mark.parametrize("blank", ["", "  \t", "\u3000", "\xa0\xa0", "\u200b", "\u2003\ufeff", "\x0b\x0c", "\u2060\u00ad"])
def test_lines_that_look_blank_are_blank(blank: str, tmp_path: Path) -> None:
    (tmp_path / "poems.txt").write_text(f"\n{blank}\n".join(POEMS) + "\n", "utf-8")
    assert texts(opened(str(tmp_path / "poems.txt"), tmp_path, document="blank_line")[0]) == sorted(POEMS)
    rows = [{"text": POEMS[0]}, {"text": blank}, {"text": POEMS[1]}]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    assert opened(str(tmp_path / "a.jsonl"), tmp_path)[0].report["rejected"] == {"empty": 1}


@pytest.mark.parametrize("indent", ["", "　　", "\t", " \u200b"])
def test_a_pattern_finds_indented_headings(indent: str, tmp_path: Path) -> None:
    lines = [
        f"{indent}第{n}章 {title}\n{indent}{text}" for n, title, text in zip("一二三", "雨风月", ("雨来了。", "风停了。", "月出来了。"))
    ]
    (tmp_path / "novel.txt").write_text("\n".join(lines), "utf-8")
    assert len(texts(opened(str(tmp_path / "novel.txt"), tmp_path, document="^第.{1,3}章")[0])) == 3


def test_a_pattern_that_matches_nowhere_is_an_error_with_one_that_does(tmp_path: Path) -> None:
    novel = "序\n卷一 第一节 借书\n他来借书。\n卷一 第二节 还书\n他来还书。\n"
    told = refused(tmp_path / "a.txt", novel.encode(), document="^第.{1,6}回")
    assert f"no line of {tmp_path / 'a.txt'} matches '^第.{{1,6}}回'" in told
    pattern = told.rpartition("look like headings: ")[2].strip("'")
    assert len(texts(opened(str(tmp_path / "a.txt"), tmp_path, document=pattern)[0])) == 3
    (tmp_path / "b.txt").write_text("第一回\n甲。\n第二回\n乙。\n", "utf-8")  # one file of several may be a preface
    corpus, _ = opened([str(tmp_path / "a.txt"), str(tmp_path / "b.txt")], tmp_path, document="^第.{1,6}回")
    assert corpus.report["undivided"] == [[str(tmp_path / "a.txt"), 5]]


def test_a_file_that_nothing_divides_is_told(tmp_path: Path) -> None:
    (tmp_path / "long.txt").write_text("\n".join(f"第{n}行。" for n in range(30)), "utf-8")
    corpus, _ = opened(str(tmp_path / "long.txt"), tmp_path, document="blank_line")
    assert corpus.report["undivided"] == [[str(tmp_path / "long.txt"), 30]]
    assert opened(str(tmp_path / "long.txt"), tmp_path, document="file")[0].report["undivided"] == []


@pytest.mark.parametrize("style", ["minimal", "all"])
def test_a_quoted_tsv_is_read_as_it_was_written(style: str, tmp_path: Path) -> None:
    rows = [
        *PAIRS,
        ('他说："走吧。"', 'He said "let\'s go" and left.'),
        ("第一行\n第二行", "first line\nsecond line"),
        ("制\t表", "a tab\there"),
    ]
    out = io.StringIO()
    writer = csv.writer(out, delimiter="\t", quoting=csv.QUOTE_ALL if style == "all" else csv.QUOTE_MINIMAL)
    writer.writerows([("chinese", "english"), *rows])
    (tmp_path / "a.tsv").write_text(out.getvalue(), "utf-8", newline="")
    corpus, _ = opened(str(tmp_path / "a.tsv"), tmp_path, "translation", validation_share=0.0)
    read = {(row["source"], row["target"]) for row in corpus.rows(0, range(corpus.chunks_per_epoch))}
    assert read == set(rows) and not corpus.report["rejected"]


def test_quotation_marks_of_a_published_tsv_are_text(tmp_path: Path) -> None:
    rows = [*PAIRS, ('"走吧。"', '"Let\'s go."'), ("他说走。", '"Go," he said.'), ("5寸", '5" wide')]
    (tmp_path / "a.tsv").write_text("chinese\tenglish\n" + "".join(f"{c}\t{e}\n" for c, e in rows), "utf-8")
    corpus, _ = opened(str(tmp_path / "a.tsv"), tmp_path, "translation", validation_share=0.0)
    assert {(row["source"], row["target"]) for row in corpus.rows(0, range(corpus.chunks_per_epoch))} == set(rows)


def test_a_quote_over_two_lines_of_a_published_tsv_is_text(tmp_path: Path) -> None:
    """Read as a quoted table, both lines would be one cell: clean csv, but with a column too few."""
    rows = [*PAIRS, ('"他说：走吧。', "Let us go, he said."), ("他走了。", 'And he went."')]
    (tmp_path / "a.tsv").write_text("chinese\tenglish\n" + "".join(f"{c}\t{e}\n" for c, e in rows), "utf-8")
    corpus, _ = opened(str(tmp_path / "a.tsv"), tmp_path, "translation", validation_share=0.0)
    assert {(row["source"], row["target"]) for row in corpus.rows(0, range(corpus.chunks_per_epoch))} == set(rows)


def test_headers_of_tables(tmp_path: Path) -> None:
    told = refused(tmp_path / "a.csv", "chinese,english,english\n好,good,fine\n".encode(), "translation")
    assert "the column 'english' is there 2 times" in told
    told = refused(tmp_path / "a.tsv", "1203\tI see.\t我明白了。\tCC-BY\n".encode(), "translation")
    header = told[told.index("add one: ") + 9 : told.index("; otherwise")]
    (tmp_path / "a.tsv").write_text(header + "\n1203\tI see.\t我明白了。\tCC-BY\n7\tOh.\t哦。\tCC0\n", "utf-8")
    corpus, _ = opened(str(tmp_path / "a.tsv"), tmp_path, "translation", validation_share=0.0)
    assert {row["source"] for row in corpus.rows(0, [0])} == {"我明白了。", "哦。"}


def test_validation_rows_that_are_training_rows_are_counted(tmp_path: Path) -> None:
    rows = [json.dumps({"chinese": c, "english": e}) + "\n" for c, e in PAIRS]
    (tmp_path / "train.jsonl").write_text("".join(rows), "utf-8")
    (tmp_path / "valid.jsonl").write_text("".join(rows[1:3]) + json.dumps({"chinese": "新的", "english": "new"}) + "\n", "utf-8")
    corpus, _ = opened(str(tmp_path / "train.jsonl"), tmp_path, "translation", validation=str(tmp_path / "valid.jsonl"))
    assert corpus.report["validation_trained"] == [2, 3]
    again, _ = opened(str(tmp_path / "train.jsonl"), tmp_path, "translation", validation=str(tmp_path / "valid.jsonl"))
    assert again.report == corpus.report  # kept with the scan
    (tmp_path / "twice.txt").write_text("".join(f"第{n % 200}句。\n" for n in range(400)), "utf-8")
    rows_of, of = opened(str(tmp_path / "twice.txt"), tmp_path)[0].report["validation_trained"]
    assert of == 40 and 10 <= rows_of <= 30, "about half of the held-out rows repeat an earlier one"
    (tmp_path / "once.txt").write_text("".join(f"第{n}句。\n" for n in range(400)), "utf-8")
    assert opened(str(tmp_path / "once.txt"), tmp_path)[0].report["validation_trained"] == [0, 40]

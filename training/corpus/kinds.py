"""What a file really is, by its first bytes. A file that is not what its name says is refused before any row of it is read.

Signatures come from the formats' specifications; for git-LFS pointers see https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md.
"""

from __future__ import annotations

import re

from training.base.errors import ConfigError
from training.corpus.text_files import BREAKS_OFF, compression, open_binary

LOOKED_AT = 1 << 16  # bytes at the beginning of a file, unpacked, that are examined
SIGNATURES = (
    (b"\x1f\x8b", "gzip", "call it .gz, or unpack it: gzip -d"),
    (b"PK\x03\x04", "a zip archive (as .xlsx and .docx are)", "unpack it, or save it as CSV UTF-8 or plain text"),
    (b"\xfd7zXZ\0", "xz", "call it .xz, or unpack it: xz -d"),
    (b"\x28\xb5\x2f\xfd", "zstd", "call it .zst, or unpack it: zstd -d"),
    (b"BZh", "bzip2", "call it .bz2, or unpack it: bzip2 -d"),
    (b"PAR1", "Parquet", "call it .parquet, or set `format: parquet`"),
    (b"%PDF-", "a PDF", "save its text as .txt"),
    (b"\xd0\xcf\x11\xe0", "an old Office document", "save it as CSV UTF-8 or plain text"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", "unpack it"),
    (b"SQLite format 3\0", "an SQLite database", "export the table as csv"),
    (b"ARROW1", "Arrow", "write it as Parquet"),
)
PACKED = {".gz": "gzip", ".xz": "xz", ".zst": "zstd", ".bz2": "bzip2"}
# Common Chinese characters, simplified and traditional. A wrong decoding of Chinese text consists mostly of rare ones.
COMMON = frozenset(
    "的一是不了人我在有他这为之大来以个中上们到说国和地也子时道出而要于就下得可你年生自会那后能对着事其里所去行过家十用发天如然作方成者"
    "多日都三小二无同么经法当起与好看学进种将还分此心前面又定见只主没公从雨春花月山水风云夜明白何处相思千万江南"
    "這為來個們說國時會後對著裡過發當與學進種將還點麼經沒從無開長東車門問間見書語話愛聽風雲處萬"
)
LETTERS = re.compile(r"[A-Za-z0-9 \t\r\n，。！？；：、“”‘’（）《》—…「」『』　,.!?;:()'\"-]")
CANDIDATES = (("UTF-16LE", "utf-16-le"), ("UTF-16BE", "utf-16-be"), ("GB18030", "gb18030"), ("BIG5", "big5hkscs"))
NAMES = {"GB18030": "GBK", "BIG5": "Big5", "UTF-16LE": "UTF-16", "UTF-16BE": "UTF-16"}


def check_kind(path: str, label: str, kind: str) -> None:
    """Refuse a file whose contents are not of the expected kind.

    Args:
        label: the user's name of the file; its ending says how it is compressed.
        kind: the expected kind: txt, jsonl, csv, tsv or parquet.

    Raises:
        ConfigError: saying what the file is and what to do.
    """
    try:
        with open(path, "rb") as f:
            raw = f.read(LOOKED_AT)
    except OSError as error:
        raise ConfigError(f"{label}: cannot be read ({error.strerror or error})") from None
    if not raw:
        return
    packed = PACKED.get(compression(label))
    if problem := _foreign(raw, packed or {"parquet": "Parquet"}.get(kind, "")):
        raise ConfigError(f"{label}: {problem}")
    if kind == "parquet":
        return
    beginning = raw
    if packed:
        try:
            with open_binary(path, label) as f:
                beginning = f.read(LOOKED_AT)
        except BREAKS_OFF:  # the reader reports it as a bad row
            return
        if problem := _foreign(beginning, ""):
            raise ConfigError(f"{label}: unpacked it is {problem.removeprefix('this is ')}")
    if problem := _not_text(beginning, kind):
        raise ConfigError(f"{label}: {problem}")


def _foreign(beginning: bytes, expected: str) -> str:
    """What a file that begins with these bytes is instead of the `expected` format ("" for text), and what to do; empty if it may be it."""
    if beginning.startswith(b"version https://git-lfs.github.com/spec/"):
        return "this is a git-LFS pointer, not the file itself: fetch it with `git lfs pull`"
    for signature, name, remedy in SIGNATURES:
        if beginning.startswith(signature):
            return "" if name == expected else f"this is {name}, not {expected or 'text'}; {remedy}"
    words = beginning.removeprefix(b"\xef\xbb\xbf").lstrip()[:200].lower()
    if words.startswith((b"<!doctype html", b"<html", b"<head")):
        return "this is an HTML page (of an error or a login?), not the file itself: fetch it again"
    if words.startswith((b"<tmx", b"<srcset", b"<refset", b"<tstset", b"<doc ", b"<?xml")):
        return "this is XML (TMX, SGM or the like), which is not read here: turn it into tsv or jsonl, a pair a line"
    if expected and not words.startswith(tuple(s for s, name, _ in SIGNATURES if name == expected)):
        return f"this is not {expected}, though it is called so; if it is plain text, take the ending off its name"
    return ""


def _not_text(beginning: bytes, kind: str) -> str:
    """Why a file that begins with these bytes cannot be read as text of that kind; empty if it can."""
    if beginning.startswith((b"\xff\xfe", b"\xfe\xff", b"\0\0\xfe\xff")):
        return ""  # the reader recognises the byte order mark and reports it
    if name := encoding(beginning):
        if name.startswith("UTF-16"):
            return f"this is UTF-16 without its mark: {remedy(name)}"
    elif sum(b < 32 and b not in b"\t\n\r\f\v\x1a\x1b" for b in beginning) > max(8, len(beginning) / 50):  # a few only spoil a row
        return "this is not text: too many control characters"
    if b"\r" in beginning and b"\n" not in beginning:
        return "its lines end with CR alone, as old Macs wrote them: tr '\\r' '\\n' < OLD > NEW, and name the new file"
    if kind == "jsonl" and beginning.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"["):
        return (
            "is the file a JSON array? One object {…} a line is wanted: "
            'python -c "import json, sys; [print(json.dumps(row)) for row in json.load(sys.stdin)]" < OLD > NEW'
        )
    return ""


def encoding(data: bytes) -> str:
    """The likeliest encoding of bytes that are not UTF-8, by iconv's name; empty if they are UTF-8 or no encoding is likely.

    Chinese text usually decodes in a wrong encoding too, but to rare characters. So the decoding with the most common characters wins.
    """
    cut = data[: len(data) // 2 * 2]
    try:
        cut.decode()
        if cut.count(0) <= len(cut) // 10:  # ASCII text in UTF-16 is valid UTF-8 too, but every second byte is zero
            return ""
    except UnicodeDecodeError as error:
        if error.start > len(cut) - 4 and error.reason == "unexpected end of data":
            return ""
    scores = {name: _common(cut, codec) for name, codec in CANDIDATES}
    best = max(scores, key=lambda name: scores[name])
    return best if scores[best] > 0.15 else ""


def _common(data: bytes, codec: str) -> float:
    """The share of common characters in the decoded text, 0 to 1; each wrong character takes away two."""
    text = data.decode(codec, "replace")
    common = sum(c in COMMON or LETTERS.match(c) is not None for c in text)
    wrong = sum(c == "\ufffd" or (c < " " and c not in "\t\r\n") or "\ue000" <= c <= "\uf8ff" for c in text)
    return max(0.0, common - 2 * wrong) / max(1, len(text))


def remedy(name: str) -> str:
    """What to do about a file in this encoding."""
    return f"save the file as UTF-8 (in Notepad or Excel, or iconv -f {name} -t UTF-8)"


def other_encoding(line: bytes) -> str:
    """What to do about a line that is not UTF-8 (it is often GBK or Big5); empty if it is UTF-8."""
    try:
        line.decode()
    except UnicodeDecodeError:
        gbk, big5 = (_common(line, codec) for codec in ("gb18030", "big5hkscs"))
        if not any(re.search(r"[\u4e00-\u9fff]", line.decode(codec, "ignore")) for codec in ("gb18030", "big5hkscs")):
            return "save the file as UTF-8"
        name = "BIG5" if big5 > gbk else "GB18030"
        return f"it reads as {NAMES[name]}: {remedy(name)}"
    return ""

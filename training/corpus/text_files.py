"""Text files, plain or compressed: their lines, pieces and texts as bytes, each with line number and byte offset.

A line that cannot be read becomes a `BadRow`; only a file that cannot be opened is an error.
"""

from __future__ import annotations

import bz2
import gzip
import io
import itertools
import lzma
import re
import zlib
from collections.abc import Iterator
from typing import Any

import zstandard

from training.base.errors import ConfigError

MAX_RECORD_BYTES = 4 << 20  # longer lines are skipped, so that they do not fill memory

PIECE_BYTES = 4096  # the size of the pieces in which `document: file` is read

COMPRESSION = (".gz", ".xz", ".zst", ".bz2")

UTF16 = "the file is UTF-16; save it as UTF-8 (in Notepad or Excel, or iconv -f UTF-16 -t UTF-8)"

# Errors of reading a file that is truncated or damaged.
BREAKS_OFF = (OSError, EOFError, ValueError, lzma.LZMAError, zlib.error, zstandard.ZstdError)

# Unicode's white space and characters without width: zero-width spaces and joiners, direction marks, soft hyphen, byte order mark.
INVISIBLE = (
    "\\s\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0"
)
BLANK, LEADING = re.compile(f"[{INVISIBLE}]*"), re.compile(f"^[{INVISIBLE}]+")

Line = tuple[int, int, Any]  # line number, byte offset, bytes or BadRow


class BadRow(Exception):
    """A row that cannot be used; `reason` is the short name under which such rows are counted."""

    def __init__(self, reason: str, detail: str = ""):
        super().__init__(detail or reason)
        self.reason = reason


class _Zst(io.RawIOBase):
    """Reads zstd. A truncated file raises EOFError, as with the other formats; the zstandard package's own reader just ends."""

    def __init__(self, path: str):
        self.file = open(path, "rb")
        self.frame: Any = None
        self.packed = self.plain = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self.plain:
            packed, self.packed = self.packed or self.file.read(1 << 16), b""
            if not packed:
                if self.frame:
                    raise EOFError("it ends in the middle of a compressed frame")
                return 0
            self.frame = self.frame or zstandard.ZstdDecompressor().decompressobj()
            self.plain = self.frame.decompress(packed)
            if self.frame.eof:
                self.packed, self.frame = self.frame.unused_data, None
        n = min(len(buffer), len(self.plain))
        buffer[:n], self.plain = self.plain[:n], self.plain[n:]
        return n

    def close(self) -> None:
        self.file.close()
        super().close()


def compression(label: str) -> str:
    """The ending of a compressed file's name, else "". It takes the label, because the cached copy of a download has no ending."""
    return next((c for c in COMPRESSION if label.split("?")[0].lower().endswith(c)), "")


def open_binary(path: str, label: str) -> Any:
    """Open a file, decompressed if need be, as a binary file; raises ConfigError if it cannot be opened.

    gz, xz and bz2 get no second buffer, because its contents would be lost when the file breaks off.
    """
    kind = compression(label)
    try:
        if kind == ".gz":
            return gzip.open(path, "rb")
        if kind == ".xz":
            return lzma.open(path, "rb")
        if kind == ".bz2":
            return bz2.open(path, "rb")
        return io.BufferedReader(_Zst(path) if kind == ".zst" else open(path, "rb", buffering=0), 1 << 18)
    except OSError as error:
        raise ConfigError(f"{label}: cannot be read ({error.strerror or error})") from None


def _marked(beginning: bytes) -> BadRow | None:
    """A BadRow if a file begins with the byte order mark of UTF-16 or UTF-32."""
    if not beginning.startswith((b"\xff\xfe", b"\xfe\xff", b"\0\0\xfe\xff")):
        return None
    wide = beginning.startswith((b"\xff\xfe\0\0", b"\0\0\xfe\xff"))
    return BadRow("not_utf8", UTF16.replace("UTF-16", "UTF-32") if wide else UTF16)


def read_lines(path: str, label: str, number: int = 1, offset: int = 0) -> Iterator[Line]:
    """The lines of a file without their line ends, from a byte offset on; `number` is the number of the first line."""
    at = offset
    try:
        with open_binary(path, label) as f:
            if offset:
                f.seek(offset)
            while line := f.readline(MAX_RECORD_BYTES):
                size = len(line)
                if size == MAX_RECORD_BYTES and not line.endswith(b"\n"):
                    beginning = line[:20]
                    while line and not line.endswith(b"\n"):
                        line = f.readline(MAX_RECORD_BYTES)
                        size += len(line)
                    array = "; is it a JSON array? One object {…} a line is wanted" if beginning.lstrip().startswith(b"[") else ""
                    yield number, at, BadRow("too_long", f"a line of {size} bytes{array}")
                elif at == 0 and (other := _marked(line)):
                    yield number, at, other
                    return
                else:
                    if at == 0:
                        line = line.removeprefix(b"\xef\xbb\xbf")  # the byte order mark that Windows writes
                    yield number, at, line.rstrip(b"\r\n")
                at += size
                number += 1
    except BREAKS_OFF as error:
        yield number, at, BadRow("malformed", f"the file breaks off: {error}")


def read_pieces(path: str, label: str, number: int, offset: int) -> Iterator[Line]:
    """The file in pieces of about PIECE_BYTES, with their line ends, from a byte offset on; `number` is the number of the first line."""
    at = offset
    try:
        with open_binary(path, label) as f:
            if offset:
                f.seek(offset)
            while piece := f.read(PIECE_BYTES):
                piece += f.readline(PIECE_BYTES)
                # Do not cut a character or a Windows line end in two.
                while (more := f.peek(1)[:1]) and (more[0] & 0xC0 == 0x80 or (more == b"\n" and piece.endswith(b"\r"))):
                    piece += f.read(1)
                if at == 0 and (other := _marked(piece)):
                    yield number, at, other
                    return
                yield number, at, (piece.removeprefix(b"\xef\xbb\xbf") if at == 0 else piece).replace(b"\r\n", b"\n")
                at += len(piece)
                number += piece.count(b"\n")
    except BREAKS_OFF as error:
        yield number, at, BadRow("malformed", f"the file breaks off: {error}")


def is_blank(line: bytes) -> bool:
    """Whether a line has only white space and characters without width, no-break and full-width spaces included."""
    line = line.strip()
    return not line or (line[0] >= 0xC2 and BLANK.fullmatch(line.decode("utf-8", "replace")) is not None)


def _begins(line: bytes, beginning: re.Pattern[str]) -> bool:
    """Whether a line matches `beginning`, indentation aside."""
    return beginning.match(LEADING.sub("", line.decode("utf-8", "replace"), count=1)) is not None


def join(lines: Iterator[Line], beginning: re.Pattern[str] | None = None) -> Iterator[Line]:
    """Join lines to texts. A text ends at a blank line, or, if `beginning` is given, before a line that matches. Blank lines are dropped.

    A line that cannot be read also ends a text, so that records keep the order of the file.
    """
    held: list[Line] = []
    size = 0
    for line in itertools.chain(lines, [(0, 0, b"")]):
        bad = isinstance(line[2], BadRow)
        blank = not bad and is_blank(line[2])
        new = blank if beginning is None else not bad and _begins(line[2], beginning)
        if held and (bad or new or not line[0]):  # line 0 is the end
            long = size > MAX_RECORD_BYTES
            yield *held[0][:2], BadRow("too_long", f"a text of {size} bytes") if long else b"\n".join(data for _, _, data in held)
            held, size = [], 0
        if bad:
            yield line
        elif not blank:
            size += len(line[2]) + 1
            if size <= MAX_RECORD_BYTES or not held:
                held.append(line)

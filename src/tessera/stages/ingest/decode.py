"""Bytes of a file, packed or not, in any encoding, become UTF-8 in pieces of whole lines."""

from __future__ import annotations

import bz2
import codecs
import errno
import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from tessera.contracts.errors import BadInput
from tessera.stages.ingest.layout import SEPARATOR, Layout

PIECE = 1 << 22
LONGEST_LINE = 1 << 26
UTF8 = "utf-8"
_PACKED = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bz2",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\x04\x22\x4d\x18": "lz4",
}
_FOREIGN = {
    b"PK\x03\x04": "is a zip archive or a workbook: unpack it, or save the sheet as CSV",
    b"PAR1": "is Parquet: let its name end in .parquet",
    b"ORC": "is ORC: write it as Parquet or CSV",
    b"Obj\x01": "is Avro: write it as Parquet or CSV",
    b"\xd0\xcf\x11\xe0": "is an old workbook: save the sheet as CSV",
    b"7z\xbc\xaf": "is a 7z archive: unpack it",
    b"ARROW1": "is Arrow: write it as Parquet or CSV",
    b"SQLite format 3": "is a database: write its tables as Parquet or CSV",
    b"version https://": "is the pointer of a file in Git LFS: fetch the file (git lfs pull)",
    b"<!doctype html": "is a web page: fetch the file that it leads to",
    b"<html": "is a web page: fetch the file that it leads to",
}
_JSON = re.compile(rb'\s*\[?\s*\{\s*"[^"]*"\s*:')
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
"""What a file may begin with, which tells its encoding better than any param."""


def pieces(path: Path, layout: Layout) -> Iterator[bytes]:
    """Read a file as UTF-8, a few MiB of whole lines at a time; the last line may lack its end.

    A delimiter of several bytes is replaced by `SEPARATOR`.  Bytes that an encoding other than
    UTF-8 cannot read become U+FFFD; bytes that are not UTF-8 stay as they are.

    Raises
    ------
    BadInput
        If the file is empty, truncated or of another format.
    """
    raw = _decoded(path.name, _unpacked(path), encoding_of(path, layout))
    for number, piece in enumerate(_whole_lines(path.name, raw)):
        if number == 0 and _JSON.match(piece):
            raise BadInput(f"{path.name} is JSON: write it as Parquet or CSV")
        if len(layout.delimiter.encode()) > 1:
            held = piece.replace(SEPARATOR, b"\0")  # so that it is rejected, not taken for a mark
            yield held.replace(layout.delimiter.encode(), SEPARATOR)
        else:
            yield piece


def whole(path: Path) -> bytes:
    """Read a whole small file, unpacked.

    Raises
    ------
    BadInput
        If it is empty or truncated.
    """
    data = b"".join(_unpacked(path))
    if not data.strip():
        raise BadInput(f"{path.name} is empty: fetch it again")
    return data


def encoding_of(path: Path, layout: Layout) -> str:
    """Tell in which encoding a file is read."""
    head = next(_unpacked(path), b"")
    marked = next((name for mark, name in _MARKS if head.startswith(mark)), None)
    named = codecs.lookup(layout.encoding).name
    if marked or layout.fallback is None:
        return marked or ("utf-8" if named == "utf-8-sig" else named)
    decoder = codecs.getincrementaldecoder(named)()
    try:
        for piece in _unpacked(path):
            decoder.decode(piece)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return layout.fallback
    return named


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Say in one line why a file cannot be read."""
    try:
        yield
    except (EOFError, pa.ArrowException) as error:
        raise BadInput(f"{path.name} cannot be read: fetch it again ({_line(error)})") from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise BadInput(f"{path.name} {_why_unreadable(path, error)} ({_line(error)})") from error


def _why_unreadable(path: Path, error: OSError) -> str:
    """Tell what is wrong with a packed file: too short, too long, or bytes that were changed."""
    if error.errno:
        return "cannot be read: see its disk and its permissions"
    if "runcated" in str(error):
        return "is truncated: fetch it again"
    return _why_damaged(path)


def _why_damaged(path: Path) -> str:
    with path.open("rb") as stream:
        kind = _packing(stream.read(16))
    if kind in ("zstd", "lz4"):
        return "is damaged, or other bytes follow its packed end: fetch it again or pack it anew"
    if kind and (beyond := _beyond(path, _UNPACKERS[kind])):
        return f"holds {beyond} bytes behind its packed end that are not packed: pack it anew"
    return "is damaged: fetch it again"


_UNPACKERS: dict[str, Callable[[], Any]] = {
    "gzip": lambda: zlib.decompressobj(zlib.MAX_WBITS | 16),
    "bz2": bz2.BZ2Decompressor,
}
"""Readers that tell where a packed part ends."""


def _beyond(path: Path, unpacker: Callable[[], Any]) -> int:
    """Count the bytes behind the last whole packed part; 0 if a part is damaged."""
    one = unpacker()
    with path.open("rb") as stream:
        while piece := stream.read(PIECE):
            try:
                one.decompress(piece)
                while one.eof and (rest := one.unused_data or stream.read(PIECE)):
                    if not _packing(rest):
                        return len(rest) + sum(map(len, iter(partial(stream.read, PIECE), b"")))
                    one = unpacker()
                    one.decompress(rest)
            except (OSError, zlib.error):
                return 0
    return 0


def _unpacked(path: Path) -> Iterator[bytes]:
    """Stream the bytes of a file, unpacked by what it begins with, whatever its name."""
    with readable(path):
        with path.open("rb") as plain:
            head = plain.read(16)
        _refuse_foreign(path.name, head)
        kind = _packing(head)
        with pa.input_stream(str(path), compression=kind) as stream:
            begun = False
            while piece := stream.read(PIECE):
                if kind and not begun:
                    _refuse_foreign(path.name, piece[:16])
                    _refuse_packed(path.name, piece[:16])
                begun = True
                yield piece


def _packing(head: bytes) -> str | None:
    kind = next((kind for mark, kind in _PACKED.items() if head.startswith(mark)), None)
    return None if kind == "bz2" and not re.match(rb"BZh[1-9]1AY&SY", head) else kind


def _refuse_packed(name: str, head: bytes) -> None:
    if kind := _packing(head):
        raise BadInput(f"{name} is packed twice ({kind} inside): unpack it once")


def _refuse_foreign(name: str, head: bytes) -> None:
    begins = head.lstrip().lower()
    for mark, told in _FOREIGN.items():
        if head.startswith(mark) or (mark.islower() and begins.startswith(mark)):
            raise BadInput(f"{name} {told}")


def _decoded(name: str, raw: Iterator[bytes], encoding: str) -> Iterator[bytes]:
    if encoding == UTF8:
        yield next(raw, b"").removeprefix(codecs.BOM_UTF8)
        yield from raw
        return
    decoder = codecs.getincrementaldecoder(encoding)(errors="replace")
    try:
        first = decoder.decode(next(raw, b""))
    except UnicodeError as error:
        raise BadInput(f"{name} is not {encoding}: name its encoding ({_line(error)})") from error
    yield first.removeprefix("\ufeff").encode("utf-8", "replace")
    for piece in raw:
        yield decoder.decode(piece).encode("utf-8", "replace")
    yield decoder.decode(b"", final=True).encode("utf-8", "replace")


def _whole_lines(name: str, raw: Iterator[bytes]) -> Iterator[bytes]:
    waiting = b""
    old_mac: bool | None = None
    for piece in raw:
        old_mac = (b"\r" in piece and b"\n" not in piece) if old_mac is None else old_mac
        waiting += piece.replace(b"\r", b"\n") if old_mac else piece
        cut = waiting.rfind(b"\n") + 1
        if not cut and len(waiting) > LONGEST_LINE:
            raise BadInput(f"{name} has a line of more than 64 MiB: is it text?")
        if cut:
            yield waiting[:cut]
        waiting = waiting[cut:]
    if waiting:
        yield waiting


def _line(error: BaseException) -> str:
    return re.sub(r"\s+", " ", str(error)).strip()[:200]

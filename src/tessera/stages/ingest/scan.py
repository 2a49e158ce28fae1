"""Which physical lines are records: counted from the bytes, by nothing that the parser does.

A line is a record if it reads as one whole.  A quote that stays open at a line's end goes on over
the next lines only if it closes where a value may end and those lines are no records themselves;
otherwise the line is rejected and reading goes on at the next one.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tessera.contracts.errors import BadInput, InvalidTable
from tessera.stages.ingest.blocks import Block, BlockLines
from tessera.stages.ingest.counts import Counts, Rejected
from tessera.stages.ingest.decode import UTF8
from tessera.stages.ingest.layout import SEPARATOR, Layout
from tessera.stages.ingest.records import (
    CONTROL,
    OPEN,
    REACH,
    UNSURE,
    Record,
    open_quote,
    read_record,
    text_of,
)
from tessera.stages.ingest.tidy import tidied

_BLOCK = 1 << 24
EXCEL = re.compile(rb"(?:sep|SEP)=([\x09\x20-\x7e])\r?\n")
"""What Excel reads the delimiter of a file from."""
_FURTHER = 30
"""Lines in which a header is looked for that the first one is not."""
_MOST_REJECTED = 1_000_000
_UNREADABLE = "\N{REPLACEMENT CHARACTER}".encode()


@dataclass(slots=True)
class Scan:
    """A file read line by line: first `header`, then `blocks`, then `rejected` and `counts`."""

    name: str
    pieces: Iterator[bytes]
    layout: Layout
    encoding: str = "utf-8"
    rejected: list[Rejected] = field(default_factory=list)
    counts: Counts = field(default_factory=Counts)
    _data: bytes = b""
    _row: int = 1
    _unreadable: int = 0

    def header(self) -> list[str]:
        """Read the names of all columns.

        Raises
        ------
        BadInput
            If the file is empty or its header no record.
        """
        if not self._fill():
            raise BadInput(f"{self.name} is empty: fetch it again")
        at = self._before_header()
        rows = []
        for _ in range(self.layout.header):
            record = self._header_record(at)
            rows.append([text_of(value, self.layout) for value in record.values])
            at = record.end
        self.counts.header = self._data.count(b"\n", 0, at)
        self._data = self._data[at:]
        if rows:
            return _named(rows)
        width = self._line(0).count(self.layout.separator) + 1
        return list(self.layout.names) or [str(place) for place in range(1, width + 1)]

    def names_in(self, wanted: Collection[str]) -> int | None:
        """Tell which further line, from 1, names all wanted columns, if one of the next does."""
        lines = self._data[: self._near()].decode("utf-8", "replace").splitlines()
        for number, line in enumerate(lines, self.counts.header + 1):
            cells = line.split(self.layout.separator.decode())
            if set(wanted) <= {header_name(cell.strip(self.layout.quote)) for cell in cells}:
                return number
        return None

    def _near(self) -> int:
        at = 0
        for _ in range(_FURTHER):
            at += len(self._line(at))
        return at

    def blocks(self, width: int) -> Iterator[Block]:
        """Stream the records of so many values.

        Raises
        ------
        BadInput
            If the encoding is not the file's, or far too many lines are no records.
        InvalidTable
            If a line is neither a record nor known to be none.
        """
        pattern = self.layout.whole_line(width)
        while self._fill():
            safe = len(self._data) - REACH if len(self._data) > _BLOCK else len(self._data)
            limit = self._data.rfind(b"\n", 0, safe) + 1 or self._data.find(b"\n") + 1
            yield self._block(limit, pattern, width)
        found = self.counts
        parts = found.header + found.blank + found.comment + found.joined + found.records
        if found.lines != parts:
            raise InvalidTable(
                f"{self.name}: {found.lines} lines, but {parts} accounted for: "
                "report this as a fault of ingest"
            )

    def _fill(self) -> bool:
        """Read on until a block is there, or the end; count line ends as they come."""
        waiting = [self._data]
        size = len(self._data)
        while size < _BLOCK + REACH and (piece := next(self.pieces, None)):
            whole = piece if piece.endswith(b"\n") else piece + b"\n"
            self.counts.lines += whole.count(b"\n")
            waiting.append(whole)
            size += len(whole)
        self._data = b"".join(waiting) if len(waiting) > 1 else self._data
        return bool(self._data)

    def _line(self, at: int) -> bytes:
        return self._data[at : self._data.find(b"\n", at) + 1]

    def _before_header(self) -> int:
        """Pass what the layout skips, then blank lines and comments."""
        at = 0
        for _ in range(self.layout.skip_lines):
            at += len(self._line(at))
        at += self._mark_of_excel(at)
        comment = (self.layout.comment or "\n").encode()
        while (line := self._line(at)) and (not line.strip(b" \r\n") or line.startswith(comment)):
            at += len(line)
        if at == len(self._data):
            raise BadInput(f"{self.name} is empty: fetch it again")
        return at

    def _mark_of_excel(self, at: int) -> int:
        """Pass the line that tells Excel the delimiter; refuse another one than was said."""
        line = self._line(at)
        mark = EXCEL.match(line)
        if mark is None:
            return 0
        said = mark[1].decode()
        if said != self.layout.delimiter:
            raise BadInput(
                f"{self.name}: line 1 says {line.decode().strip()!r}: say delimiter: {said!r} in "
                "the mapping"
            )
        return len(line)

    def _header_record(self, at: int) -> Record:
        record = read_record(self._data, at, self.layout)
        number = self._data.count(b"\n", 0, at) + 1
        if b"\0" in self._line(at):
            raise BadInput(
                f"{self.name}: line {number} holds NUL bytes: name the file's encoding in the "
                "mapping, such as encoding: utf-16-le"
            )
        if isinstance(record, str):
            raise BadInput(f"{self.name}: the header in line {number} has {record}: mend it")
        if not self._reads(self._data[at : record.end]):
            raise self._not_readable(number)
        return record

    def _block(self, limit: int, pattern: str, width: int) -> Block:
        """Take the records of the lines before a byte; one that reaches beyond waits."""
        lines = self._sorted(limit, pattern)
        passed, over_lines = 0, False
        for place in lines.odd():
            if lines.start(place) < passed:
                continue
            passed, reason = self._judge(lines.start(place), int(lines.end_N[place]), width)
            if passed > limit and place:
                lines = lines.until(place)
                break
            if passed > limit:  # even a whole block does not hold it
                passed, reason = int(lines.end_N[0]), OPEN
            last = int(np.searchsorted(lines.end_N, passed))
            if reason is None:
                lines.join(place, last)
                over_lines = True
            else:
                self._reject(lines, place, last, reason)
        return self._done(lines, over_lines)

    def _sorted(self, limit: int, pattern: str) -> BlockLines:
        """Tell what the lines before a byte are, each by itself."""
        data = pa.py_buffer(self._data)
        byte_N = np.frombuffer(self._data, np.uint8, limit)
        end_N = np.flatnonzero(byte_N == ord("\n")) + 1
        bounds = pa.py_buffer(np.concatenate([[0], end_N]).astype(np.int32))
        line_N = pa.Array.from_buffers(pa.binary(), len(end_N), [None, bounds, data])
        blank_N = _matches(line_N, "^ *\\r?\\n$")
        comment_N = np.zeros(len(end_N), bool)
        if self.layout.comment:
            comment_N = _mask(pc.starts_with(line_N, self.layout.comment)) & ~blank_N
        whole_N = _matches(line_N, pattern) & ~blank_N & ~comment_N & self._readable(line_N, limit)
        return BlockLines(end_N, whole_N, whole_N.copy(), blank_N, comment_N)

    def _readable(self, line_N: pa.Array, limit: int) -> npt.NDArray[np.bool_]:
        """Tell which lines are UTF-8; a whole block is asked first, since nearly all are."""
        if self._reads(self._data[:limit]):
            return np.ones(len(line_N), bool)
        suspect_N = _matches(line_N, r"[\x80-\xff]")
        for place in np.flatnonzero(suspect_N):
            suspect_N[place] = not self._reads(line_N[place].as_py())
        return ~suspect_N

    def _reads(self, data: bytes) -> bool:
        if self.encoding != UTF8 and _UNREADABLE in data:
            return False
        try:
            data.decode()
        except UnicodeDecodeError:
            return False
        return True

    def _judge(self, start: int, line_end: int, width: int) -> tuple[int, str | None]:
        """Read a line that is no record by itself: where what it begins ends, and its fault."""
        record = read_record(self._data, start, self.layout)
        end = line_end if isinstance(record, str) else record.end
        if b"\0" in self._data[start:line_end]:
            record = CONTROL
        elif not self._reads(self._data[start:end]):
            record = f"bytes that are not {self.encoding}"
        if isinstance(record, str):
            return line_end, record
        reason = self._width(record, width, end > line_end)
        if reason is None:
            reason = open_quote(record, self._data[line_end:end], self.layout)
        return end if reason in (None, UNSURE) else line_end, reason

    def _width(self, record: Record, width: int, over_lines: bool) -> str | None:
        found = len(record.values)
        told = OPEN if over_lines else f"line has {found} values instead of {width}"
        return None if found == width else told

    def _reject(self, lines: BlockLines, first: int, last: int, reason: str) -> None:
        delimiter = self.layout.delimiter
        for place in lines.drop(first, last):
            line = self._data[lines.start(place) : int(lines.end_N[place])]
            text = line.decode("utf-8", "replace").rstrip("\r\n")
            shown = text.replace(SEPARATOR.decode(), delimiter) if len(delimiter) > 1 else text
            self.rejected.append(Rejected(self.name, self._row + place, reason, shown))
        if reason.startswith("bytes"):
            self._unreadable += 1
            if self._unreadable > 1:
                raise self._not_readable(self.counts.header + self._row + first)
        if len(self.rejected) > _MOST_REJECTED:
            raise BadInput(
                f"{self.name}: over {_MOST_REJECTED:,} lines are no records, such as line "
                f"{self.counts.header + self.rejected[0].source_row}: {self.rejected[0].reason}"
            )

    def _not_readable(self, number: int) -> BadInput:
        return BadInput(
            f"{self.name} is not {self.encoding.upper()} (line {number}): fetch it again, or name "
            "its encoding in the mapping, such as encoding: cp1252"
        )

    def _done(self, lines: BlockLines, over_lines: bool) -> Block:
        """Count the lines of a block, leave them behind and hand its records out."""
        block, first_row, count = self._data, self._row, len(lines.end_N)
        begins = int(lines.begins_N.sum())
        nothing = int(lines.blank_N.sum()), int(lines.comment_N.sum())
        self.counts.blank += nothing[0]
        self.counts.comment += nothing[1]
        self.counts.joined += int(lines.taken_N.sum()) - begins
        rejected = count - int(lines.taken_N.sum()) - sum(nothing)
        self.counts.records += begins + rejected
        self._row += count
        self._data = block[lines.start(count) :]
        row_N = first_row + np.flatnonzero(lines.begins_N)
        return Block(lines.data(block), row_N.astype(np.int64), over_lines)


def _matches(line_N: pa.Array, pattern: str) -> npt.NDArray[np.bool_]:
    return _mask(pc.match_substring_regex(line_N, pattern))


def _mask(found: pa.BooleanArray) -> npt.NDArray[np.bool_]:
    mask: npt.NDArray[np.bool_] = found.to_numpy(zero_copy_only=False).copy()
    return mask


def _named(rows: list[list[str]]) -> list[str]:
    """Join the lines of a header, column by column."""
    width = max(len(row) for row in rows)
    cells = [row + [""] * (width - len(row)) for row in rows]
    return [header_name(" ".join(column)) for column in zip(*cells, strict=True)]


def header_name(text: str) -> str:
    """Write the name of a column as a mapping does: without what nobody sees.

    >>> header_name("\ufeffKunden\u00a0 nr ")
    'Kunden nr'
    """
    return re.sub(r"[^\S\t]+", " ", tidied(text))

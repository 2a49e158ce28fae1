"""How a text file is written, as regular expressions: what a line must look like to be a record."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

SEPARATOR = b"\x1f"
"""Stands for a delimiter of several bytes, since the parser takes one."""

_MOST_REPEATS = 1_000
"""RE2 repeats no group more often."""


@dataclass(frozen=True)
class Layout:
    """How a text file is written."""

    columns: tuple[str, ...]
    """Columns to read; others are ignored."""
    header: int = 1
    """Lines that name the columns, joined by a space; 0 = none, columns are then named by
    `names`, or 1, 2, ..."""
    delimiter: str = ","
    quoted: bool = True
    """Whether quotes hold delimiters and line ends; if not, they are letters like others."""
    types_in_header: bool = False
    """Header cells are `name:type`, as in RecBole's atomic files."""
    quote: str = '"'
    escape: str | None = None
    """Makes the next character a letter like others."""
    encoding: str = "utf-8"
    fallback: str | None = None
    """Encoding of a file that is not UTF-8 after all."""
    comment: str | None = None
    """Lines that begin so are left out."""
    skip_lines: int = 0
    """Lines before the header."""
    names: tuple[str, ...] = ()
    """Names of all columns of a file without a header."""
    ids: tuple[str, ...] = ()
    """Columns of ids: 17850.0 is 17850 where every value of a source is written so."""

    @cached_property
    def separator(self) -> bytes:
        """The byte between two values, after `SEPARATOR` took the place of longer ones."""
        delimiter = self.delimiter.encode()
        return delimiter if len(delimiter) == 1 else SEPARATOR

    @cached_property
    def plain(self) -> re.Pattern[bytes]:
        """A value without quotes; an escaped line end goes on in the next line."""
        escaped = b"|" + self._escape + b"[^\0]" if self._escape else b""
        return re.compile(b"(?:[^%s\r\n\0]%s)*+" % (self._special, escaped), re.DOTALL)

    @cached_property
    def between_quotes(self) -> re.Pattern[bytes]:
        """A value in quotes, with its quotes; it may go over lines."""
        mark = _hex(self.quote)
        escaped = b"|" + self._escape + b"[^\0]" if self._escape else b""
        inside = b"(?:[^%s%s\0]|%s%s%s)*+" % (mark, self._escape, mark, mark, escaped)
        return re.compile(mark + inside + mark, re.DOTALL)

    def whole_line(self, width: int) -> str:
        """Write the pattern of a line that is a record of so many values, for RE2 on Latin-1."""
        special, escape = self._special.decode(), self._escape.decode()
        escaped = rf"|{escape}[^\r\n\x00]" if escape else ""
        value = rf"(?:[^{special}\r\n\x00]{escaped})*"
        if self.quoted:
            mark = _hex(self.quote).decode()
            quoted = rf"{mark}(?:[^{mark}{escape}\r\n\x00]|{mark}{mark}{escaped})*{mark}"
            value = rf"(?:{quoted}|{value})"
        between = _hex(self.separator.decode()).decode()
        many, rest = divmod(width - 1, _MOST_REPEATS)
        further = f"(?:{between}{value})"
        times = [f"{further}{{{count}}}" for count in (*[_MOST_REPEATS] * many, rest)]
        return rf"^{value}{''.join(times)}\r?\n$"

    def without_null_marks(self, data: bytes) -> bytes:
        """Empty the values that are an escape and N, which databases write for what is missing."""
        if self.escape is None or self.escape.encode() + b"N" not in data:
            return data
        between = _hex(self.separator.decode())
        mark = b"(?:(?<=%s)|(?<=\n)|\\A)%sN(?=%s|\r?\n)" % (between, self._escape, between)
        return re.sub(mark, b"", data)

    @cached_property
    def _escape(self) -> bytes:
        return _hex(self.escape) if self.escape else b""

    @cached_property
    def _special(self) -> bytes:
        """Bytes that a value without quotes cannot hold, for a character class."""
        quote = _hex(self.quote) if self.quoted else b""
        return _hex(self.separator.decode()) + self._escape + quote


def _hex(character: str) -> bytes:
    """Write a character so that both kinds of expressions take it for itself anywhere."""
    return b"\\x%02x" % ord(character)

"""How one record reads, byte by byte, and which record an open quote leads to."""

from __future__ import annotations

from dataclasses import dataclass

from tessera.stages.ingest.layout import Layout

REACH = 1 << 20
"""A record over lines that is longer than this was never meant to be one."""
_SURE = 8
"""So many delimiters at the places of a record inside an open quote are no accident."""

CONTROL = "a control byte (NUL or unit separator)"
OPEN = "a quote opens a value and does not close it"
UNSURE = "an open quote over lines that read as rows too: nobody can tell which they are"
_RETURN = "a carriage return inside a line"
_LONG = "no row, and longer than 1 MiB"
_ESCAPE = "an escape that nothing follows"
_MEANT = "if quotes mean nothing in this file, set quoted: false"
_STRAY = f"a quote inside a value: {_MEANT}"
_AFTER = f"text after a closing quote: {_MEANT}"


@dataclass(frozen=True, slots=True)
class Record:
    """One record as it stands in the file."""

    values: tuple[bytes, ...]
    """Each with its quotes."""
    end: int
    """Where the next line begins."""


def read_record(data: bytes, start: int, layout: Layout) -> Record | str:
    """Read the record that begins at a byte; say what is wrong if there is none.

    `data` ends with a line end.
    """
    quote = layout.quote.encode()
    values, at = [], start
    while True:
        quoted = layout.quoted and data.startswith(quote, at)
        pattern = layout.between_quotes if quoted else layout.plain
        match = pattern.match(data, at, start + REACH)
        if match is None:
            return OPEN
        values.append(match[0])
        at = match.end()
        if not data.startswith(layout.separator, at):
            break
        at += 1
    if at >= start + REACH:
        return _LONG
    for end in (b"\n", b"\r\n"):
        if data.startswith(end, at):
            return Record(tuple(values), at + len(end))
    return _AFTER if quoted else _fault(data[at : at + 1], quote)


def _fault(stop: bytes, quote: bytes) -> str:
    """Say why a value without quotes ends where neither a delimiter nor a line end stands."""
    return {quote: _STRAY, b"\r": _RETURN, b"\0": CONTROL}.get(stop, _ESCAPE)


def text_of(value: bytes, layout: Layout) -> str:
    """Take the quotes off a value.

    Raises
    ------
    UnicodeDecodeError
        If it is not UTF-8.
    """
    text, mark = value.decode(), layout.quote
    if layout.quoted and text.startswith(mark):
        text = text[1:-1].replace(mark + mark, mark)
    return text


def open_quote(record: Record, swallowed: bytes, layout: Layout) -> str | None:
    """Judge a record over several lines: None if it is one, else what its first line is instead.

    Parameters
    ----------
    record : Record
        What the quote leads to.
    swallowed : bytes
        The lines after its first one.
    """
    lines = swallowed.split(b"\n")[:-1]
    between = len(record.values) - 1
    like_rows = sum(line.count(layout.separator) == between for line in lines)
    if not like_rows:
        return None
    return OPEN if like_rows * between >= _SURE and like_rows * 2 >= len(lines) else UNSURE

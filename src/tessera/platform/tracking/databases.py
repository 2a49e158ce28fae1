"""SQLite files of other tools: is one torn, and how it makes room for a new one."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

_BESIDE = ("-wal", "-shm", "-journal")
_ASIDE = ".aside"
_TORN = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_HEADER = 100
"""Bytes before the first page's own content: size of a page at 16, number of pages at 28."""


def fault(path: Path) -> str | None:
    """Return what is wrong with a database; None if nothing, or there is none.

    One that another process has locked, or that may not be read, is not torn.
    """
    if not path.exists():
        return None
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
            (told,) = database.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.DatabaseError as error:
        # Locked, or not to be opened by us: that says nothing of what is in it.
        is_torn = getattr(error, "sqlite_errorcode", None) in _TORN
        return str(error) if is_torn else None
    return _cut_off(path) if told == "ok" else str(told)


def _cut_off(path: Path) -> str | None:
    """Whether pages that the header tells of are missing; a log beside the file may hold them."""
    log = path.with_name(path.name + "-wal")
    with path.open("rb") as stream:
        header = stream.read(_HEADER)
    if len(header) < _HEADER or (log.exists() and log.stat().st_size):
        return None
    page = int.from_bytes(header[16:18], "big")
    told = int.from_bytes(header[28:32], "big") * (page if page > 1 else 1 << 16)
    found = path.stat().st_size
    return f"{found} bytes of {told} are there" if found < told else None


def set_aside(path: Path) -> Path:
    """Give a database and what SQLite keeps beside it another name; return it.

    What was set aside before goes.
    """
    aside = path.with_name(path.name + _ASIDE)
    for end in ("", *_BESIDE):
        found = path.with_name(path.name + end)
        if found.exists():
            found.replace(aside.with_name(aside.name + end))
    return aside

"""A torn database of another tool is found out at any cut, and a locked one is not torn."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from tessera.platform.tracking import databases


@pytest.fixture
def database(tmp_path):
    path = tmp_path / "some.db"
    with closing(sqlite3.connect(path)) as made:
        made.execute("PRAGMA page_size = 512")
        made.execute("CREATE TABLE runs (id INTEGER PRIMARY KEY, name TEXT)")
        made.executemany("INSERT INTO runs (name) VALUES (?)", [(f"run {n}",) for n in range(99)])
        made.commit()
    return path


def test_a_whole_database_none_and_an_empty_one_are_well(database, tmp_path):
    assert databases.fault(database) is None
    assert databases.fault(tmp_path / "none.db") is None
    (tmp_path / "empty.db").touch()
    assert databases.fault(tmp_path / "empty.db") is None, "SQLite makes its tables there"


def test_a_cut_at_every_byte_is_found_out_or_reads_as_empty(database):
    whole = database.read_bytes()
    for length in range(1, len(whole)):
        database.write_bytes(whole[:length])
        assert databases.fault(database) or _tables(database) == 0, length
        assert databases.fault(database) or length < 512, "what holds pages is not empty"


def _tables(path):
    with closing(sqlite3.connect(path)) as opened:
        return opened.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]


def test_a_locked_database_is_not_torn(database):
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        assert databases.fault(database) is None


def test_one_that_cannot_be_opened_is_not_torn(tmp_path):
    (tmp_path / "folder.db").mkdir()
    assert databases.fault(tmp_path / "folder.db") is None


def test_what_is_set_aside_takes_its_log_along(database):
    log = database.with_name("some.db-wal")
    log.write_text("log")
    aside = databases.set_aside(database)
    assert not database.exists()
    assert not log.exists()
    assert aside.name == "some.db.aside"
    assert aside.with_name("some.db.aside-wal").read_text() == "log"

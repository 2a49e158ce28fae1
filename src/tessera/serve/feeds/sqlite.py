"""The feed of several processes on one machine: a SQLite file beside the log.

Its writes are not synced: the log is, and a feed that lost something is filled from it again.  A
file that is damaged is removed, and one that was removed or replaced is noticed, for the same
reason.
"""

from __future__ import annotations

import secrets
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from tessera.serve.events import Told, told_of_text
from tessera.serve.feed import MOST, Feed, FeedLost, Mark, News

_NAME = "feed.sqlite"
_PATIENCE_S = 5.0
"""How long a process waits for another one that writes."""
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_TABLES = """
CREATE TABLE IF NOT EXISTS event (
    place INTEGER PRIMARY KEY AUTOINCREMENT,
    event_id TEXT NOT NULL UNIQUE, rank TEXT NOT NULL, text TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS forgotten (event_id TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS epoch (one INTEGER PRIMARY KEY CHECK (one = 1), name TEXT NOT NULL);
"""
_ADD = """
INSERT INTO event (event_id, rank, text) SELECT :event_id, :rank, :text
WHERE NOT EXISTS (SELECT 1 FROM forgotten WHERE event_id = :event_id)
ON CONFLICT (event_id) DO NOTHING
"""
_REPLACE = "UPDATE event SET rank = :rank, text = :text WHERE event_id = :event_id AND rank > :rank"
_SINCE = "SELECT place, text FROM event WHERE place > ? ORDER BY place LIMIT ?"


def open_feed(folder: Path) -> Feed:
    """Open the file of a folder, a new one if there is none."""
    return SqliteFeed(folder / _NAME)


class SqliteFeed:
    """See `Feed`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._inode = 0

    def add(self, events: Sequence[Told]) -> frozenset[str]:
        """See `Feed`."""
        rows = [
            {"event_id": one.event_id, "rank": one.rank, "text": one.text} for one in events
        ]  # fmt: skip
        new: set[str] = set()
        with self._writing() as connection:
            replaced = 0
            for row in rows:
                if connection.execute(_ADD, row).rowcount:
                    new.add(row["event_id"])
                else:
                    replaced += connection.execute(_REPLACE, row).rowcount
            if replaced:
                _begin_epoch(connection)
        return frozenset(new)

    def since(self, mark: Mark, most: int = MOST) -> News:
        """See `Feed`."""
        with self._transaction("BEGIN") as connection:
            (epoch,) = connection.execute("SELECT name FROM epoch").fetchone()
            start = mark.place if mark.epoch == epoch else 0
            rows = connection.execute(_SINCE, (start, most + 1)).fetchall()
        more, rows = len(rows) > most, rows[:most]
        events = tuple(told_of_text(text) for _, text in rows)
        return News(Mark(epoch, rows[-1][0] if rows else start), events, more)

    def forget(self, event_ids: Iterable[str]) -> None:
        """See `Feed`."""
        ids = [(one,) for one in event_ids]
        with self._writing() as connection:
            connection.executemany("INSERT OR IGNORE INTO forgotten VALUES (?)", ids)
            if connection.executemany("DELETE FROM event WHERE event_id = ?", ids).rowcount > 0:
                _begin_epoch(connection)

    def clear(self) -> None:
        """See `Feed`; the file goes, so that a damaged one does too."""
        self.close()
        _remove(self._path)
        with self._writing():
            pass

    def close(self) -> None:
        """See `Feed`."""
        with self._lock:
            self._disconnect()

    def _writing(self) -> AbstractContextManager[sqlite3.Connection]:
        return self._transaction("BEGIN IMMEDIATE")

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                connection = self._connected()
                connection.execute(begin)
                yield connection
                connection.execute("COMMIT")
            except sqlite3.Error as error:
                self._disconnect()  # which rolls back
                if error.sqlite_errorcode in _DAMAGED and _inode(self._path) == self._inode:
                    _remove(self._path)
                raise FeedLost(f"{self._path}: {error}") from error
            except BaseException:
                self._disconnect()
                raise

    def _connected(self) -> sqlite3.Connection:
        if self._connection is None or _inode(self._path) != self._inode:
            self._disconnect()
            self._connection = sqlite3.connect(
                self._path, timeout=_PATIENCE_S, isolation_level=None, check_same_thread=False
            )
            self._inode = _inode(self._path)
            _prepare(self._connection)
        return self._connection

    def _disconnect(self) -> None:
        if self._connection:
            self._connection.close()
        self._connection = None


def _prepare(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.executescript(_TABLES)
    connection.execute("INSERT OR IGNORE INTO epoch VALUES (1, ?)", (secrets.token_hex(8),))


def _inode(path: Path) -> int:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return 0


def _remove(path: Path) -> None:
    for ending in ("-wal", "-shm", ""):
        path.with_name(path.name + ending).unlink(missing_ok=True)


def _begin_epoch(connection: sqlite3.Connection) -> None:
    connection.execute("UPDATE epoch SET name = ?", (secrets.token_hex(8),))

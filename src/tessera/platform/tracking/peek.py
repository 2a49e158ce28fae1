"""What MLflow holds, read from its SQLite file: importing MLflow takes seconds, this none.

Its tables are no public interface.  Nothing is written here and nothing hangs on an answer but
whether MLflow is asked: a file of other tables holds nothing, and then its client tells what is so.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from tessera.platform.tracking.tracking_runs import RECORD

_LOGGED = """
SELECT value FROM tags JOIN runs USING (run_uuid)
WHERE key = ? AND status = 'FINISHED' AND lifecycle_stage = 'active'
"""
_ALIAS = """
SELECT alias.version, tag.value FROM registered_model_aliases AS alias
LEFT JOIN model_version_tags AS tag
ON tag.name = alias.name AND tag.version = alias.version AND tag.key = ?
WHERE alias.name = ? AND alias.alias = ?
"""


def logged(database: Path) -> set[str]:
    """Hashes of the records whose runs are whole."""
    return {value for (value,) in _held(database, _LOGGED, RECORD)}


def alias(database: Path, model: str, name: str, tag: str) -> tuple[str | None, str | None]:
    """Return the version that an alias of a model names, and a tag of it; None if there is none."""
    for version, value in _held(database, _ALIAS, tag, model, name):
        return str(version), value
    return None, None


def _held(database: Path, query: str, *values: str) -> list[tuple[Any, ...]]:
    """Read a database; nothing is held where there is none yet."""
    if not database.is_file():
        return []
    try:
        where = f"{database.absolute().as_uri()}?mode=ro"
        with closing(sqlite3.connect(where, uri=True)) as connection:
            return connection.execute(query, values).fetchall()
    except sqlite3.DatabaseError:  # no such table (another process is just making it), or broken
        return []

"""One state of a served log: what tells it from others, and what it shares with former ones."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb

from tessera.platform.workspace import files

_SKETCH = 1024
"""Requests by which a log is known again: those with the least hashes.  A part of it with one
request in a hundred is missed once in 20,000."""
_DIGITS = 16
_REQUESTS = """
    SELECT md5_number_lower(concat_ws('|', epoch_us(min(event_ts)), min(user_id),
        string_agg(item_id, ',' ORDER BY position, item_id))) AS request
    FROM read_parquet(?) GROUP BY request_id
"""
"""Hash of who was shown what when: request ids are names, and another run may give others."""
_ROWS_UNTIL = """
    WITH asked AS (
        SELECT request_id, epoch_us(min(event_ts)) AS at_us
        FROM read_parquet($exposures) GROUP BY request_id
    ), seen AS (
        SELECT at_us, hash(shown) AS seen
        FROM read_parquet($exposures) AS shown JOIN asked USING (request_id)
        UNION ALL
        SELECT at_us, hash(answer) AS seen
        FROM read_parquet($outcomes) AS answer JOIN asked USING (request_id)
        WHERE epoch_us(answer.event_ts) <= at_us + $window_us
    )
    SELECT until_us, count(seen), sum(seen) FROM unnest($until) AS ends(until_us)
    LEFT JOIN seen ON at_us <= until_us GROUP BY until_us
"""
"""Whatever an estimate can take from the requests until a moment, in any order."""


@dataclass(frozen=True, slots=True)
class Log:
    """One state of a served log."""

    exposures: Path
    outcomes: Path
    window_us: int
    """Attribution window."""
    sha256: str
    """Of its rows as they lie in the files."""
    facts: dict[str, Any]
    """Rows, first and last moment."""
    sketch: tuple[int, ...]
    """Least hashes of its requests, rising; empty if nothing was shown."""

    @property
    def answered_us(self) -> int | None:
        """Last moment whose requests have all their answers; None if nothing was shown."""
        last = self.facts["last_us"]
        return None if last is None else int(last) - self.window_us

    def rows_until(self, moments_us: Sequence[int]) -> dict[int, str]:
        """Hash the requests until each moment, with the answers inside their windows.

        The hash is DuckDB's: by another version of it every candidate is another.
        """
        told = {
            "exposures": str(self.exposures),
            "outcomes": str(self.outcomes),
            "window_us": self.window_us,
            "until": sorted(set(moments_us)),
        }
        with duckdb.connect() as db:
            found = db.execute(_ROWS_UNTIL, told).fetchall()
        return {int(until): f"{rows}:{total or 0}" for until, rows, total in found}

    def meeting(self, known: set[int]) -> set[int]:
        """Return those of some sketched requests that this log holds."""
        if not known:
            return set()
        with duckdb.connect() as db:
            db.execute("CREATE TABLE known AS SELECT unnest(?::UBIGINT[]) AS request", [[*known]])
            found = db.execute(
                f"SELECT DISTINCT request FROM ({_REQUESTS}) WHERE request IN (FROM known)",
                [str(self.exposures)],
            ).fetchall()
        return {int(row[0]) for row in found}


def read_log(exposures: Path, outcomes: Path, window_days: float) -> Log:
    """Read what tells a log from others.

    Parameters
    ----------
    exposures, outcomes : Path
        Parquet files as in the contracts.
    window_days : float
        Length of the attribution window in days.
    """
    digest = hashlib.sha256(f"{files.sha256(exposures)} {files.sha256(outcomes)}".encode())
    with duckdb.connect() as db:
        where = [str(exposures)]
        rows, first, last = _one(
            db, "SELECT count(*), epoch_us(min(event_ts)), epoch_us(max(event_ts)) "
            "FROM read_parquet(?)", where,
        )  # fmt: skip
        least = db.execute(
            f"SELECT DISTINCT request FROM ({_REQUESTS}) ORDER BY request LIMIT {_SKETCH}", where
        ).fetchall()
    facts = {"sha256": digest.hexdigest(), "rows": rows, "first_us": first, "last_us": last}
    window_us = timedelta(days=window_days) // timedelta(microseconds=1)
    sketch = tuple(int(row[0]) for row in least)
    return Log(exposures, outcomes, window_us, digest.hexdigest(), facts, sketch)


def written(sketch: Sequence[int]) -> str:
    """Write a sketch as text."""
    return "".join(f"{one:0{_DIGITS}x}" for one in sketch)


def read_sketch(text: str) -> set[int]:
    """Read what `written` wrote."""
    return {int(text[at : at + _DIGITS], 16) for at in range(0, len(text), _DIGITS)}


def _one(db: duckdb.DuckDBPyConnection, query: str, values: list[str]) -> tuple[Any, ...]:
    row = db.execute(query, values).fetchone()
    assert row is not None
    return tuple(row)

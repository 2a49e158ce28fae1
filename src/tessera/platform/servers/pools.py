"""Slots for heavy stages, so that runs of several profiles share a machine and starve no task.

Airflow leaves a task whose pool nobody made scheduled for ever; its scheduler's log alone says so.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from tessera.contracts.errors import TesseraError
from tessera.platform.servers.checks import DATABASE
from tessera.platform.servers.runs import Airflow
from tessera.platform.workspace.paths import POOL
from tessera.platform.workspace.postgres import connected

HEAVY = "tessera_heavy"
_WHAT = "Heavy stages of Tessera that may run at once"
_LEAST = 2
"""A single run has so many heavy stages at once, and waits for no slot."""
_CORES = 2
_MEMORY_GB = 8
"""What a heavy stage is given: training took 7.4 GB at six million events."""
_POOLS = "/api/v2/pools"
_KNOWN = "SELECT pool FROM slot_pool"
_WAITED = "SELECT DISTINCT pool FROM task_instance WHERE state = 'scheduled'"


def name() -> str:
    """Return the pool of heavy stages where we start Airflow: a person's, or ours."""
    return os.environ.get(POOL) or HEAVY


def slots() -> int:
    """Return how many heavy stages this machine carries at once."""
    memory_gb = psutil.virtual_memory().total / 2**30
    cores = len(os.sched_getaffinity(0))
    return max(_LEAST, min(cores // _CORES, int(memory_gb / _MEMORY_GB)))


def make_pool(airflow: Airflow) -> None:
    """Make the pool of heavy stages unless it is there: how many slots it has is a person's choice.

    Raises
    ------
    TesseraError
        If Airflow refuses.
    """
    known = airflow.ask(f"{_POOLS}?limit=1000")["pools"]
    if name() not in {one["name"] for one in known}:
        airflow.ask(_POOLS, {"name": name(), "slots": slots(), "description": _WHAT})


def require_pools(database: Path | str) -> None:
    """Refuse an Airflow in which tasks wait for a pool that nobody made.

    Parameters
    ----------
    database : Path or str
        SQLite file, or address of a PostgreSQL database.

    Raises
    ------
    TesseraError
        With the pool, and how it is made; also if PostgreSQL cannot be asked.
    """
    known, wanted = _in_file(database) if isinstance(database, Path) else _in_postgres(database)
    if known and (named := os.environ.get(POOL)):
        wanted.add(named)
    if missing := sorted(wanted - known):
        raise TesseraError(
            f"Airflow has no pool {missing[0]}, so tasks wait for it for ever: "
            f"`airflow pools set {missing[0]} {slots()} 'heavy stages'`"
        )


def _in_file(path: Path) -> tuple[set[str], set[str]]:
    """Return the pools that there are, and those that tasks wait for; none before Airflow ran."""
    try:
        where = f"{path.absolute().as_uri()}?mode=ro"
        with closing(sqlite3.connect(where, uri=True)) as opened:
            known, wanted = ({row[0] for row in opened.execute(one)} for one in (_KNOWN, _WAITED))
    except sqlite3.DatabaseError:  # no such table, or locked: another check says what is torn
        return set(), set()
    return known, wanted


def _in_postgres(url: str) -> tuple[set[str], set[str]]:
    with connected(url, DATABASE) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass('slot_pool')")
        if cursor.fetchone() == (None,):
            return set(), set()
        found = []
        for one in (_KNOWN, _WAITED):
            cursor.execute(one)
            found.append({row[0] for row in cursor.fetchall()})
    return found[0], found[1]

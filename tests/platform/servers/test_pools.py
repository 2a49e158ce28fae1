"""Heavy stages have slots by what the machine has, and a pool that nobody made is one line."""

import itertools
import sqlite3
from contextlib import closing
from types import SimpleNamespace

import pytest

from tessera.contracts.errors import TesseraError
from tessera.platform.servers import pools
from tessera.platform.servers.started import wait_until
from tessera.platform.workspace.catalogue import ALL_STAGES, behind
from tessera.platform.workspace.postgres import connected

TABLES = (
    "CREATE TABLE slot_pool (pool VARCHAR(256))",
    "INSERT INTO slot_pool VALUES ('default_pool')",
    "CREATE TABLE task_instance (state VARCHAR(20), pool VARCHAR(256))",
    "INSERT INTO task_instance VALUES ('success', 'of before'), ('scheduled', 'default_pool')",
)
WAITS = "INSERT INTO task_instance VALUES ('scheduled', 'tessera_heavy')"
MADE = "INSERT INTO slot_pool VALUES ('tessera_heavy')"


@pytest.mark.parametrize(
    ("cores", "memory_gb", "slots"), [(1, 4, 2), (2, 24, 2), (16, 128, 8), (16, 31, 3)]
)
def test_slots_follow_from_cores_and_memory(monkeypatch, cores, memory_gb, slots):
    monkeypatch.setattr(pools.os, "sched_getaffinity", lambda _: range(cores))
    memory = SimpleNamespace(total=memory_gb * 2**30)
    monkeypatch.setattr(pools.psutil, "virtual_memory", lambda: memory)
    assert pools.slots() == slots


def test_a_single_run_never_waits_for_a_slot():
    """As many heavy stages as there are slots at least may run at once, and no more."""
    before = {stage.name: set(behind(stage, ALL_STAGES)) for stage in ALL_STAGES}
    heavy = [stage.name for stage in ALL_STAGES if stage.heavy]

    def may_run_at_once(names):
        return not any(one in before[two] for one, two in itertools.permutations(names, 2))

    together = [n for n in (2, 3) if any(map(may_run_at_once, itertools.combinations(heavy, n)))]
    assert together == [2]
    assert pools.slots() >= 2


def test_a_pool_is_made_once_and_a_persons_number_of_slots_stays(monkeypatch):
    told = []

    def ask(path, body=None):
        told.append(body)
        return {"pools": [{"name": "default_pool"}, *known]}

    known = []
    pools.make_pool(SimpleNamespace(ask=ask))
    assert (told[1]["name"], told[1]["slots"]) == ("tessera_heavy", pools.slots())
    known = [{"name": "tessera_heavy", "slots": 1}]
    pools.make_pool(SimpleNamespace(ask=ask))
    assert told[2:] == [None], "asked, and nothing made"
    monkeypatch.setenv("TESSERA_POOL", "mine")
    pools.make_pool(SimpleNamespace(ask=ask))
    assert told[4]["name"] == "mine"


def _law(database, do, monkeypatch):
    """Hold one kind of database to what is asked of all."""
    pools.require_pools(database)
    for one in TABLES:
        do(one)
    pools.require_pools(database)
    monkeypatch.setenv("TESSERA_POOL", "mine")
    with pytest.raises(TesseraError, match=r"no pool mine, .*`airflow pools set mine \d"):
        pools.require_pools(database)
    monkeypatch.delenv("TESSERA_POOL")
    do(WAITS)
    with pytest.raises(TesseraError, match="no pool tessera_heavy, so tasks wait for it for ever"):
        pools.require_pools(database)
    do(MADE)
    pools.require_pools(database)


def test_a_pool_that_tasks_wait_for_and_nobody_made_is_one_line(tmp_path, monkeypatch):
    path = tmp_path / "airflow.db"
    pools.require_pools(path)
    assert not path.exists(), "to look makes nothing"
    with closing(sqlite3.connect(path, isolation_level=None)) as opened:
        _law(path, opened.execute, monkeypatch)


def test_it_is_one_line_on_postgresql_too(database, monkeypatch):
    def answers():
        try:
            with connected(database.url, pools.DATABASE):
                return True
        except TesseraError:
            return False

    def do(statement):
        with connected(database.url, pools.DATABASE) as opened, opened:
            opened.cursor().execute(statement)

    wait_until(answers, [database.server])
    _law(database.url, do, monkeypatch)

"""A sealed log is tables in the contracts, each row once, counted and hashed."""

from __future__ import annotations

import json

import ibis
import pyarrow.parquet as pq
import pytest

from tessera.contracts.arrow import schema
from tessera.contracts.hashes import sha256
from tessera.contracts.tables import EVENTS, EXPOSURES, OUTCOMES
from tessera.serve.events import Event
from tessera.serve.log import read_segment
from tessera.serve.sealing import seal, tables
from tessera.stages.ope.exposures import requests

NOW = 1_700_000_000_000_000


@pytest.fixture
def sealed(service, tmp_path):
    slates = [service.recommend(f"r{n}", f"u{n % 4}", NOW + n, 3) for n in range(20)]
    for n, slate in enumerate(slates[:8]):
        shown = slate.drawn.candidate_ids[slate.drawn.shown()[0]]
        action = ("click", "buy", "dismiss", "rate")[n % 4]
        one = Event(f"e{n}", slate.user_id, shown, action, NOW + 100 + n, slate.request_id, 3.0)
        service.happened([one, one])
    service.happened([Event("late", "u0", "i9", "view", NOW + 500, "r1")])
    shown = slates[9].drawn.candidate_ids[slates[9].drawn.shown()[0]]
    service.happened([Event("angry", "u1", shown, "complain", NOW + 600, "r9")])
    folder = tmp_path / "sealed"
    folder.mkdir()
    records = read_segment(service.log.path).records
    return folder, seal(tables([*records, *records[:5]]), folder)


def rows(folder, name):
    return pq.read_table(folder / f"{name}.parquet").to_pylist()


def test_every_row_is_there_once_and_counted(sealed):
    folder, told = sealed
    assert {name: one["rows"] for name, one in told.items()} == {
        "exposures": 60, "outcomes": 8, "events": 9,
    }  # fmt: skip
    assert told == json.loads((folder / "log.json").read_text())
    for name, one in told.items():
        assert sha256(folder / f"{name}.parquet") == one["sha256"]
        assert len(rows(folder, name)) == one["rows"]


@pytest.mark.parametrize("table", [EXPOSURES, OUTCOMES, EVENTS], ids=lambda table: table.name)
def test_tables_are_those_of_the_contract(sealed, table):
    found = pq.read_schema(sealed[0] / f"{table.name}.parquet")
    assert found.equals(schema(table))


def test_a_complaint_is_no_row_since_no_model_knows_of_it(sealed):
    for name in ("events", "outcomes"):
        assert "complain" not in {row["action"] for row in rows(sealed[0], name)}


def test_what_was_not_shown_is_an_event_and_no_outcome(sealed):
    folder, _ = sealed
    assert "late" in {row["event_id"] for row in rows(folder, "events")}
    assert {row["request_id"] for row in rows(folder, "outcomes")} == {f"r{n}" for n in range(8)}


def test_money_is_of_trades_and_units_of_ratings(sealed):
    for row in rows(sealed[0], "events"):
        assert (row["amount_eur"] == 3.0) == (row["action"] == "buy")
        assert (row["units"] == 3.0) == (row["action"] == "rate")


def test_the_gate_reads_the_log_without_an_adapter(sealed):
    folder, _ = sealed
    engine = ibis.duckdb.connect()
    shown = engine.read_parquet(folder / "exposures.parquet")
    read = shown.mutate(reward=0.0, dismissed=False, risk_class=4, capacity_class=1)
    found = requests(read, pq.read_table(folder / "exposures.parquet")["item_id"].unique())
    assert len(found.request_ids) == 20

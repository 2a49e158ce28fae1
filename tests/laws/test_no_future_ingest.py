"""Nothing that happens after the cut changes what may be learnt before it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import ibis
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tessera.contracts.arrow import schema
from tessera.contracts.split import TRAIN, known, load_split, phased, validation
from tessera.contracts.tables import TABLES
from tessera.shared.features.asof import as_of
from tessera.shared.features.attribution import reward
from tessera.stages.ingest.params import IngestParams
from tessera.stages.ingest.stage import ORDER, run

pytestmark = pytest.mark.filterwarnings("ignore:fetch_arrow_table")

START = datetime(2024, 1, 1, tzinfo=UTC)
CUT = START + timedelta(days=70)
NAMES = (*ORDER, "quarantine")


def world(rng) -> dict[str, list[dict]]:
    """A hundred days of ten investors and five items; some rows break a rule on either side."""
    moment = [START + timedelta(hours=int(hour)) for hour in rng.integers(0, 2_400, 300)]
    moment[:2] = [START, START + timedelta(days=100)]
    events = [
        {
            "event_id": f"e{number:03d}",
            "user_id": f"u{rng.integers(10)}",
            "item_id": f"i{rng.integers(5)}",
            "action": "buy",
            "event_ts": moment[number],
            "time_kind": "exact",
            "amount_eur": -1.0 if number % 50 == 9 else float(number),
        }
        for number in range(300)
    ]
    slates = [
        {
            "request_id": f"r{number:03d}",
            "position": 1,
            "user_id": f"u{number % 10}",
            "item_id": f"i{number % 5}",
            "event_ts": moment[number],
            "policy_id": "v0",
            "propensity": 0.2,
            "candidate_ids": [f"i{item}" for item in range(5)],
            "candidate_propensities": [0.2] * 5,
            "context_version": "0",
        }
        for number in range(100)
    ]
    return {
        "events": events,
        "items": [{"item_id": f"i{number}", "name": f"item {number}"} for number in range(5)],
        "users": [
            {"user_id": f"u{user}", "valid_from": START + timedelta(days=days), "risk_class": risk}
            for user, days, risk in zip(
                range(10),
                rng.integers(0, 60, 10).tolist(),
                rng.integers(1, 5, 10).tolist(),
                strict=True,
            )
        ],
        "prices": [{"item_id": "i0", "price_ts": START, "close_eur": 1.0}],
        "exposures": slates,
        "outcomes": [
            {
                "request_id": slate["request_id"],
                "item_id": slate["item_id"],
                "action": "click",
                "value": 0.0,
                "event_ts": slate["event_ts"] + timedelta(days=1),
            }
            for slate in slates[::3]
        ],
        "links": [
            {
                "item_id": f"i{number}",
                "relation": "country",
                "target_id": f"c{number % 2}",
                "valid_from": START,
            }
            for number in range(5)
        ],
        "queries": [
            {
                "query_id": f"q{number:03d}",
                "user_id": f"u{number % 10}",
                "event_ts": moment[number],
                "text": f"words {number % 7}",
            }
            for number in range(60)
        ],
    }


def learnt(tables: dict[str, list[dict]], folder) -> dict[str, pa.Table]:
    """Ingest a world and take everything a stage may learn from."""
    folder.mkdir()
    for name, rows in tables.items():
        loose = pa.schema([pa.field(field.name, field.type) for field in schema(TABLES[name])])
        pq.write_table(pa.Table.from_pylist(rows, loose), folder / f"{name}.parquet")
    out = folder / "out"
    out.mkdir()
    (folder / "request.json").write_text(json.dumps({"cut": CUT.isoformat()}))
    run(
        source=folder,
        request=folder / "request.json",
        split=out / "split.json",
        suitability=out / "suitability.json",
        params=IngestParams(validation_days=10, max_quarantined=1.0),
        **{name: out / f"{name}.parquet" for name in NAMES},
    )
    return _learnt_from(out)


def _learnt_from(out) -> dict[str, pa.Table]:
    connection = ibis.duckdb.connect()
    connection.raw_sql("SET TimeZone = 'UTC'")
    table = {
        name: connection.read_parquet(out / f"{name}.parquet", table_name=name) for name in NAMES
    }
    split = load_split(out / "split.json")
    past = known(table["events"], split)
    shown = known(table["exposures"], split)
    done = known(table["outcomes"], split)
    versions = table["users"].select("user_id", "valid_from", "risk_class")
    risk = as_of(past, versions, by="user_id", at="event_ts", since="valid_from")
    found = {
        "known": past.order_by("event_id"),
        "train": phased(table["events"], split).filter(ibis._.phase == TRAIN).order_by("event_id"),
        "validation": validation(table["events"], split).order_by("event_id"),
        "risk": risk.order_by("event_id"),
        "reward": reward(shown, done, 7),
        "items": table["items"].order_by("item_id"),
        "queries": table["queries"].filter(ibis._.event_ts <= split.cut).order_by("query_id"),
        "links": table["links"].filter(ibis._.valid_from <= split.cut).order_by("item_id"),
    }
    computed = {name: rows.to_pyarrow() for name, rows in found.items()}
    connection.disconnect()
    return computed | {"cut": split.cut, "validation_from": split.validation_from}


def _is_future(row: dict) -> bool:
    return row.get("event_ts", row.get("valid_from", row.get("price_ts", START))) > CUT


def shuffled_future(tables, rng):
    """Permute whole rows of the future among their places."""
    mixed = {}
    for name, rows in tables.items():
        places = [place for place, row in enumerate(rows) if _is_future(row)]
        mixed[name] = list(rows)
        for place, other in zip(places, rng.permutation(places), strict=True):
            mixed[name][place] = rows[other]
    return mixed


def corrupted_future(tables, rng):
    """Swap, break and add what happens after the cut."""
    wrong = {name: [dict(row) for row in rows] for name, rows in tables.items()}
    for row in wrong["events"]:
        if _is_future(row):
            row |= {"item_id": f"i{rng.integers(9)}", "amount_eur": float("nan"), "user_id": "u0"}
    wrong["outcomes"] = [row for row in wrong["outcomes"] if not _is_future(row)]
    wrong["users"] += [
        {"user_id": f"u{user}", "valid_from": CUT + timedelta(seconds=1), "risk_class": 1}
        for user in range(10)
    ]
    wrong["outcomes"] += [row | {"event_ts": CUT + timedelta(days=2)} for row in wrong["outcomes"]]
    wrong["queries"] = [
        row | ({"text": "other words"} if _is_future(row) else {}) for row in tables["queries"]
    ]
    wrong["links"] += [row | {"valid_from": CUT + timedelta(days=1)} for row in tables["links"]]
    wrong["events"] += [
        tables["events"][2] | {"event_id": name, "event_ts": CUT + timedelta(days=30)}
        for name in ("yyy", "zzz")  # a single one would be refused
    ]
    return wrong


@pytest.mark.parametrize("change", [shuffled_future, corrupted_future])
def test_the_future_changes_nothing_that_is_learnt(tmp_path, rng, change):
    tables = world(rng)
    before = learnt(tables, tmp_path / "before")
    after = learnt(change(tables, rng), tmp_path / "after")
    assert before["known"].num_rows > 100
    for name, value in before.items():
        same = value.equals(after[name]) if isinstance(value, pa.Table) else value == after[name]
        assert same, name


def test_a_change_of_the_past_is_seen(tmp_path, rng):
    """The law above would hold for a function that sees nothing."""
    tables = world(rng)
    before = learnt(tables, tmp_path / "before")
    past = next(place for place, row in enumerate(tables["events"]) if not _is_future(row))
    tables["events"][past] = tables["events"][past] | {"units": 7.0}
    assert not before["known"].equals(learnt(tables, tmp_path / "after")["known"])


def test_the_order_of_the_source_changes_no_good_row(tmp_path, rng):
    tables = world(rng)
    before = learnt(tables, tmp_path / "before")
    mixed = {
        name: [rows[place] for place in rng.permutation(len(rows))] for name, rows in tables.items()
    }
    after = learnt(mixed, tmp_path / "after")
    assert all(np.array_equal(before[name], after[name]) if not isinstance(before[name], pa.Table)
               else before[name].equals(after[name]) for name in before)  # fmt: skip
    for name in NAMES[:-1]:
        one, two = (tmp_path / side / "out" / f"{name}.parquet" for side in ("before", "after"))
        assert one.read_bytes() == two.read_bytes(), name

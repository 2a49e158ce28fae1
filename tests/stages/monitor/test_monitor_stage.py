"""The stage sees planted drift and planted bias, and nothing where nothing happened."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import ibis
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from tessera.contracts.arrow import schema
from tessera.contracts.columns import Table
from tessera.contracts.split import Split, save_split
from tessera.contracts.tables import BASELINE_LISTS, EVENTS, EXPOSURES, ITEMS, LISTS, USERS
from tessera.stages.monitor.frames import Pair
from tessera.stages.monitor.params import MonitorParams
from tessera.stages.monitor.report import drift_report
from tessera.stages.monitor.spec import Rule
from tessera.stages.monitor.stage import run

CUT = datetime(2024, 6, 1, tzinfo=UTC)
END = CUT + timedelta(days=100)
ITEM_IDS = [f"i{number:02d}" for number in range(40)]


def filled(frame: pd.DataFrame, table: Table) -> pa.Table:
    rows = {name: frame[name] if name in frame else [None] * len(frame) for name in table.names}
    return pa.table({f.name: pa.array(rows[f.name], f.type) for f in schema(table)})


def world(rng, actions_after=("buy", "click")) -> dict[str, pa.Table]:
    n = 3000
    days = rng.uniform(-80, 100, n)
    when = [CUT + timedelta(days=float(day)) for day in days]
    kinds = np.where(days > 0, rng.choice(actions_after, n), rng.choice(["buy", "click"], n))
    events = pd.DataFrame(
        {
            "event_id": [f"e{number:05d}" for number in range(n)],
            "user_id": rng.choice([f"u{number}" for number in range(50)], n),
            "item_id": rng.choice(ITEM_IDS[:30], n),
            "action": kinds,
            "event_ts": when,
            "time_kind": "exact",
            "amount_eur": rng.lognormal(5, 1, n),
        }
    )
    items = pd.DataFrame({"item_id": ITEM_IDS, "name": "x", "category": ["fund", "bond"] * 20})
    users = pd.DataFrame(
        {
            "user_id": [f"u{number}" for number in range(50)],
            "valid_from": CUT - timedelta(days=100),
            "risk_class": rng.integers(1, 5, 50),
        }
    )
    listed = pd.DataFrame(
        [
            {"model": model, "user_id": user, "rank": rank + 1, "item_id": item, "score": -rank}
            for model in ("hstu", "sasrec")
            for user in users.user_id
            for rank, item in enumerate(rng.choice(ITEM_IDS[:30], 5, replace=False))
        ]
    )
    return {
        "events": filled(events, EVENTS),
        "exposures": schema(EXPOSURES).empty_table(),
        "items": filled(items, ITEMS),
        "users": filled(users, USERS),
        "lists": filled(listed[listed.model == "hstu"], LISTS),
        "baseline_lists": filled(listed[listed.model != "hstu"], BASELINE_LISTS),
    }


@pytest.fixture
def watch(tmp_path, repository):
    save_split(Split(CUT - timedelta(days=10), CUT, END), tmp_path / "split.json")

    def look(tables: dict[str, pa.Table], name: str = "watch", **params):
        metrics = run(
            **{key: ibis.memtable(rows) for key, rows in tables.items()},
            split=tmp_path / "split.json",
            watch=tmp_path / name,
            spec=repository / "monitoring/watch.yaml",
            params=MonitorParams(**{"sample_rows": 1000, **params}),
        )
        return metrics, json.loads((tmp_path / name / "summary.json").read_text())

    return look


def test_nothing_alarms_where_nothing_happened(watch, rng, tmp_path):
    metrics, summary = watch(world(rng))
    assert summary["alarms"] == []
    assert metrics["alarms"] == 0
    assert metrics["lists_coverage"] == 0.75
    assert {one["column"] for one in summary["drift"] if one["table"] == "events"} == {
        "action",
        "log_amount",
        "user_risk",
        "category",
        "popularity",
    }
    assert "No alarm" in (tmp_path / "watch/index.html").read_text()


def test_planted_drift_is_named(watch, rng, tmp_path):
    metrics, summary = watch(world(rng, actions_after=("sell", "buy")))
    assert metrics["drift_events_action"] > 0.25
    assert [text.split(" moved")[0] for text in summary["alarms"]] == ["events.action"]
    assert "events.action moved" in (tmp_path / "watch/index.html").read_text()


def test_lists_of_the_most_popular_item_only_alarm(watch, rng):
    tables = world(rng)
    names = tables["lists"].column_names
    same = pa.array([ITEM_IDS[0]] * tables["lists"].num_rows)
    tables["lists"] = tables["lists"].set_column(names.index("item_id"), "item_id", same)
    _, summary = watch(tables)
    assert any(text.startswith("coverage of the lists is 0.025") for text in summary["alarms"])
    metrics, beside = watch(tables, "beside", model="sasrec")
    assert (metrics["lists_coverage"], beside["alarms"]) == (0.75, []), "lists of another model"


def test_fewer_rows_tell_less_of_drift_and_all_of_bias(watch, rng):
    tables = world(rng)
    few, many = (watch(tables, str(rows), sample_rows=rows) for rows in (100, 1500))
    assert few[0]["lists_coverage"] == many[0]["lists_coverage"] == 0.75
    assert few[0]["drift_events_action"] != many[0]["drift_events_action"]


def test_without_exposures_only_their_report_is_missing(watch, rng, tmp_path):
    watch(world(rng))
    written = sorted(path.name for path in (tmp_path / "watch").iterdir())
    assert written == ["events.html", "index.html", "lists.html", "summary.json"]
    assert "Nothing to compare" in (tmp_path / "watch/index.html").read_text()


def test_exposures_before_and_after_the_cut_are_compared(watch, rng):
    tables = world(rng)
    n = 400
    shown = pd.DataFrame(
        {
            "request_id": [f"r{number:04d}" for number in range(n)],
            "position": 1,
            "user_id": "u1",
            "item_id": rng.choice(ITEM_IDS, n),
            "event_ts": [CUT + timedelta(days=number / 4 - 50) for number in range(n)],
            "policy_id": ["old" if number <= n / 2 else "new" for number in range(n)],
            "propensity": 0.5,
            "candidate_ids": [["i00", "i01"]] * n,
            "candidate_propensities": [[0.5, 0.5]] * n,
            "context_version": "1",
        }
    )
    _, summary = watch(tables | {"exposures": filled(shown, EXPOSURES)})
    assert [text.split(" moved")[0] for text in summary["alarms"]] == ["exposures.policy_id"]


def test_rows_in_another_order_give_the_same_bytes(watch, rng, tmp_path):
    tables = world(rng)
    watch(tables, "one")
    mixed = {name: rows.take(rng.permutation(rows.num_rows)) for name, rows in tables.items()}
    watch(mixed, "two")
    for name in ("index.html", "summary.json", "events.html", "lists.html"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_no_lists_and_no_events_after_the_cut_still_give_a_page(watch, rng, tmp_path):
    tables = world(rng)
    early = tables["events"].filter(pa.compute.less(tables["events"]["event_ts"], pa.scalar(CUT)))
    metrics, _ = watch(tables | {"events": early, "lists": schema(LISTS).empty_table()})
    assert metrics["lists_coverage"] == 0.0
    assert metrics["alarms"] == 0
    assert (tmp_path / "watch/index.html").exists()


def test_many_rows_alone_do_not_make_an_alarm(rng, tmp_path):
    """One point of percent over 200,000 rows: a p-value calls it certain, the effect is nil."""
    n = 200_000
    rule = {"action": Rule(method="psi", alarm=0.25)}

    def drawn(share):
        return pd.DataFrame({"action": rng.choice(["buy", "sell"], n, p=[share, 1 - share])})

    (small,) = drift_report("events", Pair(drawn(0.5), drawn(0.51)), rule, tmp_path / "small.html")
    (large,) = drift_report("events", Pair(drawn(0.5), drawn(0.8)), rule, tmp_path / "large.html")
    assert 0 < small.effect < 0.01
    assert not small.alarm
    assert large.alarm

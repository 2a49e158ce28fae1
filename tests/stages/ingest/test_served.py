"""What was served stands behind what its source has: each row once, slates of one length."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import ibis
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from tessera.contracts.arrow import schema
from tessera.contracts.tables import EVENTS, EXPOSURES, OUTCOMES, PRICES, TABLES, TOLD_USERS
from tessera.model.sequences.catalogue import read_closes
from tessera.serve.classes import InvestorClass
from tessera.serve.closes import Close
from tessera.serve.log import ServedLog
from tessera.serve.whole_log import write_log
from tessera.shared.erased import ERASED, hashed
from tessera.shared.features.prices import close_before
from tessera.shared.features.stretches import Versions
from tessera.stages.ingest.params import IngestParams
from tessera.stages.ingest.stage import ORDER, run

pytestmark = pytest.mark.filterwarnings("ignore:fetch_arrow_table")

START = datetime(2024, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
NAMES = ["i0", "i1", "i2", "i3"]


def event(name, day, user="u0", item="i0", **more):
    return {
        "event_id": name,
        "user_id": user,
        "item_id": item,
        "action": "buy",
        "time_kind": "exact",
        "event_ts": START + day * DAY,
        "amount_eur": 1.0,
    } | more


def slate(name, shown, day, names=NAMES, policy="v1"):
    """One row a position; each open candidate is as likely as the others."""
    rows = []
    for place, item in enumerate(shown):
        left = [0.0 if one in shown[:place] else 1 / (len(names) - place) for one in names]
        rows.append(
            {"request_id": name, "position": place + 1, "user_id": "u0", "item_id": item,
             "event_ts": START + day * DAY, "policy_id": policy, "propensity": max(left),
             "candidate_ids": names, "candidate_propensities": left, "context_version": "c+0"}
        )  # fmt: skip
    return rows


def outcome(name, item, day):
    return {"request_id": name, "item_id": item, "action": "click", "value": 0.0,
            "event_ts": START + day * DAY}  # fmt: skip


def query(number, user, day):
    return {"query_id": f"w{number}", "user_id": user, "event_ts": START + day * DAY,
            "text": "a pension", "request_id": None}  # fmt: skip


BASE = {
    "items": [{"item_id": name, "name": name, "risk_class": 1} for name in NAMES],
    "users": [{"user_id": "u0", "valid_from": START, "risk_class": 2}],
    "prices": [],
    "events": [event(f"e{n}", n, f"u{n % 2}", NAMES[n % 4]) for n in range(20)],
    "exposures": [*slate("q0", ["i0", "i1"], 5, policy="v0"),
                  *slate("q1", ["i2", "i3"], 6, policy="v0")],
    "outcomes": [outcome("q0", "i1", 5)],
}  # fmt: skip


def write(folder, tables):
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in tables.items():
        told = name == "users" and any("holds_from" in row for row in rows)
        table = TOLD_USERS if told else TABLES[name]
        loose = pa.schema([pa.field(one.name, one.type) for one in schema(table)])
        pq.write_table(pa.Table.from_pylist(rows, loose), folder / f"{name}.parquet")


def log(**tables):
    found = {one.name: tables.get(one.name, []) for one in (EXPOSURES, OUTCOMES, EVENTS, PRICES)}
    return found | ({"users": tables["users"]} if "users" in tables else {})


@pytest.fixture
def ingested(tmp_path):
    """Ingest a source, with or without a log, and return its tables."""

    def go(base=BASE, served=None, asked=None, erased=None, **params):
        folder = tmp_path / f"run{len(list(tmp_path.glob('run*')))}"
        out = folder / "out"
        out.mkdir(parents=True)
        if isinstance(base, dict):
            write(folder / "source", base)
        else:
            base(folder / "source")
        write(folder / "served", served or {})
        if served is None:
            (folder / "served" / "empty.json").write_text("{}")
        if erased is not None:
            (folder / "served" / ERASED).write_text(json.dumps(erased))
        (folder / "request.json").write_text(json.dumps({"cut": None, **(asked or {})}))
        found = {"source": "served", "min_coverage": 0.0, "max_quarantined": 0.5, **params}
        metrics = run(
            source=folder / "source", served=folder / "served", request=folder / "request.json",
            split=out / "split.json", suitability=out / "suitability.json",
            params=IngestParams(**found),
            **{name: out / f"{name}.parquet" for name in (*ORDER, "quarantine")},
        )  # fmt: skip
        tables = {name: pq.read_table(out / f"{name}.parquet") for name in (*ORDER, "quarantine")}
        return tables, metrics, json.loads((out / "split.json").read_text())

    return go


def shown(tables):
    """Items of each slate, from the top."""
    found = {}
    for row in tables["exposures"].to_pylist():
        found.setdefault(row["request_id"], []).append(row["item_id"])
    return found


def test_a_log_that_holds_nothing_yet_changes_nothing(ingested):
    alone, told, split = ingested(source="market")
    with_log, also_told, same = ingested()
    assert with_log == alone
    assert (told, split) == (also_told, same)


def test_what_was_served_stands_behind_what_the_source_has(ingested):
    served = log(
        exposures=slate("s0", ["i3", "i0"], 21), outcomes=[outcome("s0", "i3", 21)],
        events=[event("x0", 21, item="i3", request_id="s0"), event("x1", 22, user="new")],
    )  # fmt: skip
    tables, metrics, _ = ingested(served=served)
    assert shown(tables) == {"q0": ["i0", "i1"], "q1": ["i2", "i3"], "s0": ["i3", "i0"]}
    assert tables["outcomes"]["request_id"].to_pylist() == ["q0", "s0"]
    assert tables["events"]["event_id"].to_pylist()[-2:] == ["x0", "x1"]
    assert metrics["events_in"] == metrics["events_good"] == 22
    assert tables["items"].num_rows == 4


def test_what_the_source_exported_too_is_there_once_as_it_was_served(ingested):
    base = BASE | {
        "events": [*BASE["events"], event("x0", 21, amount_eur=7.0)],
        "exposures": [*BASE["exposures"], *slate("s0", ["i1", "i0"], 21, policy="exported")],
    }
    served = log(exposures=slate("s0", ["i1", "i0"], 21), events=[event("x0", 21, amount_eur=5.0)])
    tables, metrics, _ = ingested(base, served)
    assert tables["events"].num_rows == 21
    assert tables["events"]["amount_eur"].to_pylist()[-1] == 5.0
    assert set(tables["exposures"]["policy_id"].to_pylist()) == {"v0", "v1"}
    assert metrics["rows_quarantined"] == 0


MIXED = log(
    exposures=[*slate("long", ["i3", "i0", "i1"], 21), *slate("short", ["i2"], 22),
               *slate("all", ["i2"], 23, ["i2"]), *slate("fits", ["i1", "i2"], 24)],
    outcomes=[outcome("long", "i3", 21), outcome("short", "i2", 22), outcome("fits", "i1", 24)],
    events=[event("x0", 25)],
)  # fmt: skip


def test_slates_are_as_long_as_those_of_the_source(ingested):
    tables, metrics, _ = ingested(served=MIXED)
    found = shown(tables)
    assert found["long"] == ["i3", "i0"], "what stands below changes nothing above"
    assert "short" not in found, "fewer were asked for"
    assert found["all"] == ["i2"], "nothing was left to show"
    assert found["fits"] == ["i1", "i2"]
    assert sorted(tables["outcomes"]["request_id"].to_pylist()) == ["fits", "long", "q0"]
    assert (metrics["exposures_in"], metrics["exposures_left_out"]) == (9, 2)
    assert metrics["outcomes_left_out"] == 1
    assert metrics["rows_quarantined"] == 0


def test_without_slates_of_the_source_they_are_as_long_as_most(ingested):
    base = BASE | {"exposures": [], "outcomes": []}
    more = slate("long2", ["i3", "i2", "i1"], 26)
    served = MIXED | {"exposures": [*MIXED["exposures"], *more]}
    assert set(shown(ingested(base, served)[0])) == {"long", "long2", "all"}


def orders(folder):
    """Write a source of text files, which has no slates and one row that cannot be read."""
    folder.mkdir(parents=True)
    rows = [f"e{n},u{n % 2},{NAMES[n % 4]},{START + n * DAY:%Y-%m-%d},{n}" for n in range(20)]
    rows[3] = rows[3].replace(",3", ",much")
    (folder / "orders.csv").write_text("\n".join(["id,who,what,at,paid", *rows]) + "\n")
    (folder / "products.csv").write_text("\n".join(["what", *NAMES]) + "\n")


MAPPING = {
    "events": {"file": "orders.csv", "constants": {"action": "buy"},
               "columns": {"event_id": "id", "user_id": "who", "item_id": "what", "event_ts": "at",
                           "amount_eur": "paid"}},
    "items": {"file": "products.csv", "columns": {"item_id": "what", "name": "what"}},
}  # fmt: skip


def test_a_log_goes_on_from_files_of_text_too_and_a_bad_row_is_still_named(ingested):
    served = log(exposures=slate("s0", ["i3", "i0"], 21), events=[event("x0", 21), event("e5", 5)])
    tables, metrics, _ = ingested(orders, served, of="table", mapping=MAPPING)
    assert shown(tables) == {"s0": ["i3", "i0"]}
    (bad,) = tables["quarantine"].to_pylist()
    assert (bad["source_file"], bad["source_row"]) == ("orders.csv", 4)
    assert "such as 'much'" in bad["reason"]
    assert metrics["events_in"] == metrics["events_good"] + 1
    assert tables["events"]["event_id"].to_pylist().count("e5") == 1


def price(item, day, value):
    return {"item_id": item, "price_ts": START + day * DAY, "close_eur": value}


def closes_of(tables):
    return {
        (row["item_id"], (row["price_ts"].replace(tzinfo=UTC) - START) / DAY): row["close_eur"]
        for row in tables["prices"].to_pylist()
    }


def test_closes_that_were_told_stand_behind_those_of_the_source_which_wins_its_own_days(ingested):
    base = BASE | {"prices": [price("i0", 18, 1.0), price("i0", 19.25, 2.0), price("i1", 18, 5.0)]}
    told = [price("i0", 19.75, 9.0), price("i0", 20.75, 3.0), price("i1", 19.75, 6.0)]
    tables, metrics, _ = ingested(base, log(events=[event("x0", 21)], prices=told))
    assert closes_of(tables) == {
        ("i0", 18): 1.0, ("i0", 19.25): 2.0, ("i1", 18): 5.0,
        ("i0", 20.75): 3.0, ("i1", 19.75): 6.0,
    }  # fmt: skip
    assert (metrics["prices_in"], metrics["prices_left_out"]) == (5, 1)
    assert metrics["rows_quarantined"] == 0


def test_closes_are_read_from_a_log_that_holds_nothing_else_and_of_a_source_without_any(ingested):
    told = [price("i0", 20.75, 3.0)]
    assert closes_of(ingested(served=log(prices=told))[0]) == {("i0", 20.75): 3.0}
    tables = ingested(orders, log(prices=told), of="table", mapping=MAPPING)[0]
    assert closes_of(tables) == {("i0", 20.75): 3.0}


def test_a_close_that_was_told_counts_in_the_next_run_from_the_day_after_it_on(ingested, tmp_path):
    at_us = round((START + 20.75 * DAY).timestamp() * 1e6)
    logged = ServedLog(tmp_path / "log" / "1.log")
    logged.append(Close("i0", at_us, 4.0, at_us + 1).record(),
                  Close("i0", at_us, 3.0, at_us + 9).record()).result()  # fmt: skip
    logged.close()
    pinned = tmp_path / "pinned"
    pinned.mkdir()
    assert write_log(tmp_path / "log", pinned)
    found = pq.read_table(pinned / "prices.parquet").to_pylist()
    base = BASE | {"prices": [price("i0", 18, 1.0)]}
    tables = ingested(base, log(prices=found))[0]
    closes = read_closes(ibis.memtable(tables["prices"]), ["i0"])
    of_day = at_us // 86_400_000_000
    days = np.array([of_day - 1, of_day, of_day + 1])
    np.testing.assert_array_equal(close_before(closes, np.ones(3, int), days), [1.0, 1.0, 3.0])


@pytest.mark.parametrize("of", ["amazon", "served"])
def test_a_log_cannot_go_on_from_what_has_no_times_or_from_itself(of):
    with pytest.raises(ValidationError, match=f"a served log cannot go on from {of}"):
        IngestParams(source="served", of=of)


def half(day, learnt=None):
    """What a request says of a log, half of which came before a day."""
    middle, until = (n and (START + n * DAY).isoformat() for n in (day, learnt))
    return {"served": {"middle": middle, "learnt_until": until}}


MANY = [event(f"x{n}", 19 + n / 2) for n in range(20)]


@pytest.mark.parametrize(
    ("asked", "cut"),
    [
        (half(23.75), "2024-01-24T18:00:00"),  # half of what was served is learnt from
        (half(28.25), "2024-01-14T00:00:00"),  # hardly anything would be left: the usual one
        (half(23.75, 26), "2024-01-27T00:00:00"),  # the published model has learnt until there
        (half(23.75, 28.4), "2024-01-24T18:00:00"),  # behind it is nothing to be tested on
    ],
)
def test_a_run_learns_from_half_of_what_was_served_and_judges_what_its_champion_has_not_seen(
    ingested, asked, cut
):
    split = ingested(served=log(events=MANY), asked=asked)[2]
    assert split["cut"].startswith(cut)


@pytest.mark.parametrize("day", [-19_000, 5_000])
def test_one_odd_row_of_the_log_moves_no_end_of_any_period(ingested, day):
    asked = half(28.25)  # so that the usual cut counts
    odd = ingested(served=log(events=[*MANY, event("odd", day)]), asked=asked)[2]
    split = ingested(served=log(events=MANY), asked=asked)[2]
    assert (odd["cut"], odd["validation_from"]) == (split["cut"], split["validation_from"])
    assert odd["folds"] == split["folds"]


def test_what_the_log_tells_of_alone_does_not_move_the_usual_cut(ingested):
    alone = ingested(source="market")[2]
    later = log(events=[event(f"x{n}", 100 + n) for n in range(3)])
    assert ingested(served=later, asked=half(101))[2]["cut"] == alone["cut"]


def test_a_cut_that_was_asked_for_wins(ingested):
    asked = half(23.75, 26) | {"cut": "2024-01-15"}
    assert ingested(served=log(events=MANY), asked=asked)[2]["cut"].startswith("2024-01-15")


def test_rows_of_whoever_was_erased_are_left_out_of_the_source_too(ingested, tmp_path):
    key, until = b"k", int((START + 10 * DAY).timestamp() * 1e6)
    told = {"key": key.hex(), "until": {hashed(key, "u0"): until}}
    served = log(events=[event("n1", 30, "u1", "i1")])
    asked = [(0, "u0", 9), (1, "u1", 9), (2, "u0", 11)]
    base = BASE | {"queries": [query(*one) for one in asked]}
    before, _, _ = ingested(base, served)
    after, _, _ = ingested(base, served, erased=told)
    assert before["queries"].num_rows == len(asked)
    assert after["queries"]["query_id"].to_pylist() == ["w1", "w2"], "but what came later stays"
    left = [row["event_id"] for row in after["events"].to_pylist()]
    gone = {f"e{n}" for n in range(0, 11, 2)}
    assert set(left) == {row["event_id"] for row in before["events"].to_pylist()} - gone
    assert after["users"].num_rows == 0
    assert before["users"].num_rows == 1
    assert after["exposures"].num_rows == after["outcomes"].num_rows == 0
    assert len(shown(before)) == 2
    again, _, _ = ingested(erased=told)
    assert gone.isdisjoint(row["event_id"] for row in again["events"].to_pylist()), "no log yet"


def version(user, day, risk, **more):
    row = {"user_id": user, "valid_from": START + day * DAY, "risk_class": risk}
    return row | {"capacity_class": None, "segment": None} | more


def told(user, day, risk, since=None, **more):
    """Told on a day, to hold since then or since another one."""
    since = START + (day if since is None else since) * DAY
    return version(user, day, risk, holds_from=since, **more)


def versions(tables):
    by_key = [("user_id", "ascending"), ("valid_from", "ascending")]
    return [
        ((row["valid_from"] - START).days, row["user_id"], row["risk_class"],
         row["capacity_class"], row["segment"])
        for row in tables["users"].sort_by(by_key).to_pylist()
    ]  # fmt: skip


def test_classes_that_were_told_stand_behind_the_sources_versions(ingested):
    users = [
        version("u0", 0, 2, capacity_class=3, segment="mass"),
        version("u0", 8, 3, capacity_class=4, segment="private"),
        version("u2", 0, 1),
    ]
    served = log(users=[told("u0", 5, 1), told("u0", 9, 2, capacity_class=1), told("u0", 10, 4),
                        told("new", 6, 3), told("u2", 4, 2, capacity_class=2)])  # fmt: skip
    tables, metrics, _ = ingested(BASE | {"users": users}, served)
    assert versions(tables) == [
        (6, "new", 3, None, None),
        (0, "u0", 2, 3, "mass"), (5, "u0", 1, 3, "mass"), (8, "u0", 3, 4, "private"),
        (9, "u0", 2, 1, "private"), (10, "u0", 4, 1, "private"),
        (0, "u2", 1, None, None), (4, "u2", 2, 2, None),
    ]  # fmt: skip
    assert metrics["users_in"] == metrics["users_good"] == 8


def test_of_the_same_moment_the_source_wins_and_where_it_knew_better_when_it_was_told(ingested):
    users = [version("u0", day, risk) for day, risk in ((0, 2), (4, 3), (8, 1))]
    served = log(users=[told("u0", 5, 1, since=4), told("u0", 6, 4, since=3), told("u0", 7, 2),
                        told("u0", 9, 4, since=7.5)])  # fmt: skip
    tables, metrics, _ = ingested(BASE | {"users": users}, served)
    assert [(day, risk) for day, _, risk, *_ in versions(tables)] == [
        (0, 2), (4, 3), (7, 2), (8, 1)
    ]  # fmt: skip
    assert metrics["users_left_out"] == 3


def test_a_log_of_before_anybody_told_of_a_class_is_read_as_it_was(ingested):
    tables, _, _ = ingested(served=log(events=[event("x0", 21)]))
    assert versions(tables) == [(0, "u0", 2, None, None)]


def test_the_run_sees_a_class_from_its_moment_on_and_not_before(ingested, tmp_path):
    folder, out = tmp_path / "log", tmp_path / "sealed"
    out.mkdir()
    service = ServedLog(folder / "1.log")
    us = int(START.timestamp() * 1e6)
    day_us = 86_400_000_000
    one = InvestorClass("\x1fa", "u0", 1, None, us + 3 * day_us, us + 6 * day_us + 5)
    service.append(one.record()).result()
    service.close()
    write_log(folder, out)
    rows = pq.read_table(out / "users.parquet").to_pylist()
    tables, _, _ = ingested(served=log(users=rows, events=[event("x0", 21)]))
    facts = tables["users"].sort_by("valid_from").to_pylist()
    since = [int((row["valid_from"] - START) / timedelta(microseconds=1)) for row in facts]
    assert since == [0, 6 * day_us + 5], "nobody knew it when it began to hold"
    found = Versions(np.zeros(2, np.int64), np.array(since))
    risk_U = np.array([row["risk_class"] for row in facts])
    asked = np.array([6 * day_us + 4, 6 * day_us + 5])
    assert risk_U[found.last(np.zeros(2, np.int64), asked)].tolist() == [2, 1]

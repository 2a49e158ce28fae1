import hashlib
import json

import duckdb
import numpy as np
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from tessera.contracts.arrow import schema
from tessera.contracts.errors import BadParams
from tessera.contracts.tables import EXPOSURES, ITEMS, PRICES, USERS
from tessera.shared.policies.suitability import suitable
from tessera.stages.synth.params import SynthParams
from tessera.stages.synth.stage import run


def fingerprint(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def tiny():
    return SynthParams(users=50, items=40, requests=300, days=60, slate_size=3, dirty_rows=0.05)


def test_same_params_give_the_same_bytes_and_another_seed_others(tmp_path, tiny):
    for name, params in (
        ("one", tiny),
        ("two", tiny),
        ("three", tiny.model_copy(update={"seed": 8})),
    ):
        run(source=tmp_path / name, params=params)
    assert fingerprint(tmp_path / "one") == fingerprint(tmp_path / "two")
    one, three = fingerprint(tmp_path / "one"), fingerprint(tmp_path / "three")
    assert all(one[name] != three[name] for name in one if name.endswith(".parquet"))


def test_the_smallest_market_still_fills_every_candidate_set(tmp_path, tiny):
    run(source=tmp_path / "source", params=tiny)
    rows = pq.read_table(tmp_path / "source" / "exposures.parquet")
    assert {len(set(row)) for row in rows["candidate_ids"].to_pylist()} == {10}


@pytest.mark.parametrize(
    ("name", "table"),
    [("exposures", EXPOSURES), ("users", USERS), ("items", ITEMS), ("prices", PRICES)],
)
def test_clean_files_follow_their_contract(source, name, table):
    path = source / f"{name}.parquet"
    assert pq.read_schema(path).equals(schema(table))
    key = ", ".join(table.key)
    total, distinct = duckdb.sql(
        f"select count(*), count(distinct ({key})) from '{path}'"
    ).fetchall()[0]
    assert total == distinct > 0


def test_funds_cost_something_a_year_and_nothing_else_has_a_fee(source):
    rows = pq.read_table(source / "items.parquet").to_pylist()
    assert {row["category"] for row in rows if row["fee_percent"] is not None} == {"fund"}
    fees = [row["fee_percent"] for row in rows if row["category"] == "fund"]
    assert all(0.05 <= fee <= 2.5 for fee in fees)
    assert len(set(fees)) > 1


def test_every_slate_states_the_probabilities_it_was_drawn_with(log, params):
    assert len(log.item_NL) == params.requests
    np.testing.assert_allclose(log.probability_NLC.sum(axis=2), 1.0)
    own_NL = np.take_along_axis(log.probability_NLC, log.chosen_NL[:, :, None], axis=2)[..., 0]
    np.testing.assert_array_equal(own_NL, log.propensity_NL)
    assert (log.propensity_NL > 0).all()
    assert (log.candidates_NLC[:, :1] == log.candidates_NLC).all()
    for above in range(2):
        placed_N1L = np.take_along_axis(
            log.probability_NLC[:, above + 1], log.chosen_NL[:, above, None], axis=1
        )
        assert (placed_N1L == 0).all()


def test_candidates_are_alive_and_suitable_as_of_the_visit(source):
    rows = duckdb.sql(f"""
        with candidate as (
            select user_id, event_ts, unnest(candidate_ids) as item_id
            from '{source}/exposures.parquet' where position = 1
        )
        select u.risk_class as user_risk, i.risk_class as item_risk,
            i.valid_from <= c.event_ts and coalesce(i.valid_to >= c.event_ts, true) as alive
        from candidate c asof join '{source}/users.parquet' u
            on c.user_id = u.user_id and c.event_ts >= u.valid_from
        join '{source}/items.parquet' i on i.item_id = c.item_id
    """).to_arrow_table()
    assert rows.num_rows == 24_000 * 10
    assert all(rows["alive"].to_pylist())
    assert suitable(rows["user_risk"].to_pylist(), rows["item_risk"].to_pylist()).all()


def test_items_are_born_and_die_and_investors_change(source, params):
    born, dead, items = duckdb.sql(f"""
        select count(*) filter (valid_from > timestamptz '2024-01-02'), count(valid_to), count(*)
        from '{source}/items.parquet'
    """).fetchall()[0]
    assert 0.1 * items < born < 0.35 * items
    assert 0 < dead < 0.2 * items
    versions, people = duckdb.sql(
        f"select count(*), count(distinct user_id) from '{source}/users.parquet'"
    ).fetchall()[0]
    assert people == params.users
    assert 1.05 * people < versions < 1.2 * people


def test_nobody_acts_before_being_known_and_nothing_trades_out_of_its_life(source):
    wrong = duckdb.sql(f"""
        select count(*) from '{source}/events.parquet' e
        join '{source}/items.parquet' i using (item_id)
        join (select user_id, min(valid_from) as known from '{source}/users.parquet' group by 1) u
            using (user_id)
        where e.event_ts > timestamptz '2000-01-01'
            and (e.event_ts < known or e.event_ts < i.valid_from
                or (e.action in ('view', 'sell') and e.event_ts > i.valid_to + interval 2 seconds))
    """).fetchall()[0][0]
    assert wrong == 0


def test_dirt_is_counted_and_what_remains_is_clean(tmp_path, tiny):
    folder = tmp_path / "source"
    metrics = run(source=folder, params=tiny)
    dirt = json.loads((folder / "truth" / "dirt.json").read_text())
    found = duckdb.sql(f"""
        select count(*) filter (amount_eur < 0) as negative_amount,
            count(*) - count(distinct event_id) as conflicting_key,
            count(*) filter (event_ts < timestamptz '2000-01-01') as impossible_date,
            count(*) filter (user_id is null) as missing_user,
            count(*) filter (action = 'purchase') as unknown_action
        from '{folder}/events.parquet'
    """).to_arrow_table()
    assert dirt["events"] == found.to_pylist()[0]
    assert sum(dirt["events"].values()) > 0
    lost = duckdb.sql(f"""
        select count(*) from '{folder}/outcomes.parquet'
        where request_id not in (select request_id from '{folder}/exposures.parquet')
    """).fetchall()[0][0]
    assert lost == sum(dirt["outcomes"].values()) > 0
    assert metrics["dirty_rows"] == lost + sum(dirt["events"].values())


def test_rates_are_those_of_a_quiet_house(source, log):
    assert 0.07 < log.click_NL.mean() < 0.15
    assert 0.005 < log.buy_NL.mean() < 0.05
    kinds = duckdb.sql(f"select distinct action from '{source}/events.parquet'").fetchall()
    assert {"view", "click", "buy", "sell", "dismiss"} <= {kind for (kind,) in kinds}


def test_a_few_outcomes_come_after_the_attribution_window(source):
    late, total = duckdb.sql(f"""
        select count(*) filter (o.event_ts > x.event_ts + interval 7 days), count(*)
        from '{source}/outcomes.parquet' o join '{source}/exposures.parquet' x
            using (request_id, item_id) where o.action = 'buy'
    """).fetchall()[0]
    assert 0 < late < 0.06 * total


def test_impossible_params_fail_before_any_work():
    with pytest.raises(BadParams, match="slate_size"):
        SynthParams(candidates=2, slate_size=3)
    with pytest.raises(ValidationError, match="users"):
        SynthParams(users=3)
    with pytest.raises(ValidationError, match="epsilom"):
        SynthParams(epsilom=0.1)


@pytest.mark.parametrize(
    ("asked", "positions"),
    [
        ({}, 3),
        ({"requests": 40_000}, 3),
        ({"requests": 39_999}, 2),
        ({"requests": 20_000}, 2),
        ({"requests": 19_999}, 1),
        ({"requests": 1_000, "slate_size": 3}, 3),
        ({"candidates": 2}, 2),
    ],
)
def test_a_small_log_shows_shorter_slates_unless_asked(asked, positions):
    assert SynthParams(**asked).positions == positions

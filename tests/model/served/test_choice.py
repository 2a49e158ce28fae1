"""Rules close and choose candidates; facts beside an item are those before the request."""

from __future__ import annotations

import shutil
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tessera.contracts.errors import BadParams
from tessera.serve import host
from tessera.serve.engine import Engine
from tessera.serve.log import ServedLog
from tessera.serve.params import ServeParams
from tessera.serve.service import Service
from tessera.shared.policies.slate import SlatePolicy, slate_propensities

DAY = timedelta(days=1)


def test_a_share_for_what_a_bundle_cannot_do_is_one_line_at_the_start(bundle, few):
    Engine.open(bundle, few.model_copy(update={"shares": {"walk": 0.5, "dense": 0.5}}))
    with pytest.raises(BadParams, match=r"no retriever generated: train with hstu\.generate"):
        Engine.open(bundle, few.model_copy(update={"shares": {"generated": 1.0}}))


@pytest.fixture
def asked_of(bundle, at_noon):
    """Ask one investor many times under other params."""

    def ask(user="u003", **turned):
        engine = Engine.open(bundle, ServeParams(retrieved=12, uniform=0, **turned))
        return engine, engine.answer("r1", user, at_noon(), 3)

    return ask


def closed_by(bundle, names):
    """Change columns of the items of a bundle."""
    rows = pq.read_table(bundle / "items.parquet")
    for name, values in names.items():
        at = rows.schema.get_field_index(name)
        rows = rows.set_column(at, name, pa.array(values))
    pq.write_table(rows, bundle / "items.parquet")


def test_nobody_is_shown_an_item_of_which_one_unit_costs_more_than_they_can_invest(
    bundle, users, at_noon, asked_of
):
    engine, before = asked_of(capacity_eur=[1e9])
    user = next(
        user for user in ("nobody", *users)
        if engine.who(user, engine.scorer.now(user, at_noon())).capacity_class <= 1
    )  # fmt: skip
    dear = {"i03", "i04", "i05"}
    _, before = asked_of(user, capacity_eur=[1e9])
    _, after = asked_of(user, capacity_eur=[102.0])
    assert dear & set(before.drawn.candidate_ids), "its last closes were 103 to 105"
    assert set(after.drawn.candidate_ids) == set(before.drawn.candidate_ids) - dear
    assert after.removed["capacity"] == len(dear & set(before.drawn.candidate_ids))
    users = pq.read_table(bundle / "users.parquet")
    classes = pa.array([2] * len(users), pa.int64())
    if "capacity_class" in users.column_names:
        users = users.drop_columns(["capacity_class"])
    pq.write_table(users.append_column("capacity_class", classes), bundle / "users.parquet")
    _, rich = asked_of("u003", capacity_eur=[102.0])
    assert "capacity" not in rich.removed


def test_what_was_taken_away_is_counted_by_rule(users, at_noon, asked_of):
    engine, _ = asked_of()
    risk = engine.recommender.items["risk_class"].to_numpy()
    on_sale = np.array([item != "i11" for item in engine.recommender.shelf.ids])
    user, who = next(
        (user, who) for user in users
        for who in [engine.who(user, engine.scorer.now(user, at_noon()))]
        if (on_sale & (risk > who.risk_class)).any()
    )  # fmt: skip
    slate = engine.answer("r1", user, at_noon(), 3)
    assert slate.removed["risk"] == (on_sale & (risk > who.risk_class)).sum()
    assert sum(slate.removed.values()) == 12 - len(slate.drawn.candidate_ids)
    assert set(slate.removed) <= {"off_sale", "risk", "capacity", "held", "dismissed"}


def test_a_limit_of_an_issuer_chooses_what_is_drawn_from_and_propensities_stay_exact(
    bundle, asked_of
):
    closed_by(bundle, {"issuer": [f"x{n % 2}" for n in range(12)]})
    _, free = asked_of()
    _, slate = asked_of(per_issuer=2)
    ids = free.drawn.candidate_ids
    score = dict(zip(ids, free.drawn.score_C.tolist(), strict=True))
    best = {
        item for parity in (0, 1)
        for item in sorted((one for one in ids if int(one[1:]) % 2 == parity),
                           key=score.get, reverse=True)[:2]
    }  # fmt: skip
    assert slate.drawn.candidate_ids == tuple(item for item in ids if item in best)
    assert slate.removed["issuer"] == len(ids) - len(best) > 0
    drawn = slate.drawn
    scores = drawn.score_C[None].astype(float)
    again, every = slate_propensities(
        scores, np.ones_like(scores, bool), SlatePolicy(0.5, 0.2, 4), drawn.chosen_L[None]
    )
    np.testing.assert_array_equal(again[0], drawn.propensity_L)
    np.testing.assert_array_equal(every[0], drawn.probability_LC)
    _, filled = asked_of(per_issuer=1)
    assert filled.flags == ("filled",)
    assert len(filled.drawn.candidate_ids) == 3


def test_diversity_chooses_what_is_drawn_from(bundle, asked_of):
    closed_by(bundle, {"sector": ["a"] * 6 + ["b"] * 6})
    _, free = asked_of()
    _, slate = asked_of(diversity=3.0)
    assert set(slate.drawn.candidate_ids) < set(free.drawn.candidate_ids)
    assert len(slate.drawn.candidate_ids) == 4 + 3 - 1
    assert slate.removed["diversity"] == len(free.drawn.candidate_ids) - 6


def test_what_was_shown_so_often_is_left_out_for_days_and_comes_back_where_too_few_are_left(
    bundle, tmp_path, at_noon
):
    params = ServeParams(retrieved=12, uniform=0, cap_shown=2, cap_days=1.0)
    service = Service(Engine.open(bundle, params), lambda: ServedLog(tmp_path / "1.log"))
    counts: dict[str, int] = {}
    for n in range(5):
        slate = service.recommend(f"r{n}", "u003", at_noon(n), 2)
        capped = {item for item, count in counts.items() if count >= 2}
        assert "filled" in slate.flags or not capped & set(slate.drawn.candidate_ids)
        for one in slate.drawn.shown():
            item = slate.drawn.candidate_ids[one]
            counts[item] = counts.get(item, 0) + 1
    assert {*slate.removed} & {"capped"}
    service.close()
    started = host.start(bundle, tmp_path, params).service
    again = started.engine
    now = again.scorer.now("u003", at_noon(9))
    live = service.engine.who("u003", service.engine.scorer.now("u003", at_noon(9)))
    assert again.who("u003", now).capped == live.capped != ()
    many = again.answer("q", "u003", at_noon(9), 12)
    assert "filled" in many.flags
    assert set(live.capped) <= set(many.drawn.candidate_ids)
    later = at_noon(86_400_000_009)
    assert again.who("u003", again.scorer.now("u003", later)).capped == ()
    started.close()


@pytest.mark.parametrize(("dismiss_days", "closed"), [(None, True), (2.0, False)])
def test_a_dismissal_lasts_as_long_as_a_param_says(dismiss_days, closed, at_noon, asked_of):
    engine, slate = asked_of(dismiss_days=dismiss_days)
    item, day = slate.drawn.candidate_ids[0], 86_400_000_000
    engine.scorer.state.add("e1", "u003", item, "dismiss", at_noon(1))
    near = engine.answer("r2", "u003", at_noon(day), 3)
    far = engine.answer("r2", "u003", at_noon(3 * day), 3)
    assert item not in near.drawn.candidate_ids
    assert (item not in far.drawn.candidate_ids) == closed


def test_prices_beside_an_item_are_those_before_the_request_and_say_from_when(
    split, users, at_noon, asked_of
):
    engine, _ = asked_of()
    for n, user in enumerate(users[:20]):
        slate = engine.answer(f"r{n}", user, at_noon(), 3)
        for item in slate.reasons:
            told = {one.name: one for one in slate.figures[item] if one.source == "prices"}
            assert set(told) == ({"close_eur"} if item < "i06" else set())
            if told:
                assert told["close_eur"].value == 100.0 + int(item[1:])
                assert timedelta(0) < split.cut - told["close_eur"].as_of <= 2 * DAY
    old = engine.answer("r", "u003", at_noon(40 * 86_400_000_000), 3)
    assert not [one for figures in old.figures.values() for one in figures
                if one.source == "prices"], "a close of long ago is none"  # fmt: skip


def test_a_return_is_that_of_thirty_days_before_the_request(bundle, users, at_noon, asked_of):
    path = bundle / "facts" / "prices.parquet"
    closes = pq.read_table(path)
    rows = closes.to_pylist()
    rows += [{**row, "price_ts": row["price_ts"] - 30 * DAY, "close_eur": row["close_eur"] / 1.25}
             for row in rows]  # fmt: skip
    rows.sort(key=lambda row: (row["item_id"], row["price_ts"]))
    pq.write_table(pa.Table.from_pylist(rows, closes.schema), path)
    shutil.rmtree(bundle / "facts" / "laid_out")
    engine, _ = asked_of()
    found = [one for n in range(20)
             for figures in engine.answer(f"r{n}", users[n], at_noon(), 3).figures.values()
             for one in figures if one.name == "return_30d"]  # fmt: skip
    assert found
    assert [one.value for one in found] == pytest.approx([0.25] * len(found))


def test_the_figures_behind_a_sentence_come_and_go_with_its_edge(bundle, few, at_noon):
    slate = Engine.open(bundle, few).answer("r1", "u003", at_noon(), 3)
    user, item = "u003", next(iter(slate.reasons))
    held = Engine.open(bundle, few)
    (source, *_) = held.who(user, held.scorer.now(user, at_noon())).held
    rows = [{"source_id": source, "target_id": item, "kind": "causal", "weight": 1.0,
             "false_sign_rate": 0.01, "support": 42}]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows), bundle / "neighbours.parquet")
    shutil.rmtree(bundle / "edges")
    told = Engine.open(bundle, few).answer("r1", user, at_noon(), 3)
    assert "estimated to raise" in told.reasons[item]
    behind = {one.name: one for one in told.figures[item] if one.source != "prices"}
    assert {name: one.value for name, one in behind.items()} == {
        "investors": 42.0, "false_sign_rate": 0.01
    }  # fmt: skip
    assert {one.source for one in behind.values()} == {f"neighbours: causal from {source}"}
    (bundle / "neighbours.parquet").unlink()
    gone = Engine.open(bundle, few).answer("r1", user, at_noon(), 3)
    assert "estimated" not in gone.reasons[item]
    assert all(one.source == "prices" for one in gone.figures[item])

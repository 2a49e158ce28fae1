"""The market behind its log: what is told of a visit, what comes of it, what slates are worth."""

import itertools

import numpy as np
import pyarrow.parquet as pq
import pytest

from tessera.contracts.errors import BadParams
from tessera.stages.synth.behaviour import logging_scores
from tessera.stages.synth.interactions import BUY, DAY
from tessera.stages.synth.log import draw_candidates
from tessera.stages.synth.params import SynthParams
from tessera.stages.synth.stage import draw_market, run
from tessera.stages.synth.town import FIRST_US, Town, arrivals, settled, with_moved_tastes
from tessera.stages.synth.worth import (
    reward_LC,
    worth_drawn,
    worth_of_best,
    worth_of_house,
    worth_shown,
)

SMALL = SynthParams(users=200, items=80, requests=3_000, days=200, log_days=150, slate_size=2)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("town") / "source"
    run(source=folder, params=SMALL)
    return folder


@pytest.fixture
def town(files):
    return settled(files / "events.parquet", SMALL, 150 * DAY)


def test_the_log_ends_before_the_market_does(files):
    for name in ("events", "exposures", "outcomes"):
        at_us = pq.read_table(files / f"{name}.parquet")["event_ts"].cast("int64").to_numpy()
        assert at_us.max() < FIRST_US + 150 * DAY, name
        assert at_us.max() > FIRST_US + 148 * DAY, name


def test_a_log_that_ends_with_its_market_is_as_it_was(tmp_path):
    plain = SynthParams(users=100, items=60, requests=500, days=100)
    for name, params in (("a", plain), ("b", plain.model_copy(update={"launch_share": 0.5}))):
        run(source=tmp_path / name, params=params)
    for name in ("events", "exposures", "items"):
        one, other = (tmp_path / folder / f"{name}.parquet" for folder in ("a", "b"))
        assert one.read_bytes() == other.read_bytes(), name


def test_what_is_launched_comes_on_sale_on_its_day_and_stays():
    with_it = SMALL.model_copy(update={"launch_day": 160, "launch_share": 0.2})
    before, after = draw_market(SMALL).assets, draw_market(with_it).assets
    moved = before.born_day_I != after.born_day_I
    assert 0.1 < moved.mean() < 0.3
    assert (after.born_day_I[moved] == 160).all()
    assert (after.dead_day_I[moved] > SMALL.days).all()
    assert np.array_equal(before.popularity_I, after.popularity_I)


def test_purchases_act_from_the_block_behind_them():
    market = draw_market(SMALL)
    town = Town(market, np.zeros((SMALL.users, SMALL.items), np.float32))
    town.bought(3, 5, 7 * DAY)
    town.until(9 * DAY)
    assert town.boost_UI[3, 5] == 0.0
    town.until(10 * DAY)
    assert town.boost_UI[3, 5] < 0.0
    assert not town.waiting


def test_what_was_bought_until_the_service_begins_acts(files, town):
    rows = pq.read_table(files / "events.parquet").filter(
        pq.read_table(files / "events.parquet")["action"].to_numpy(zero_copy_only=False) == "buy"
    )
    user, item = (int(rows[name][0].as_py()[1:]) for name in ("user_id", "item_id"))
    assert town.day == 150
    assert town.boost_UI[user, item] != 0.0


def test_visitors_have_joined(town):
    user_N, at_us_N = arrivals(town, 150 * DAY, 1.0, 500, np.random.default_rng(0))
    assert (town.market.investors.joined_day_U[user_N] <= 150).all()
    assert (np.diff(at_us_N) >= 0).all()
    assert at_us_N[0] >= 150 * DAY
    assert at_us_N[-1] < 151 * DAY


def test_who_is_shown_what_they_like_clicks_more_at_the_top_than_below(town):
    rng, clicks = np.random.default_rng(1), np.zeros(2)
    visit = town.visit(0, 150 * DAY)
    best = visit.answers(np.arange(SMALL.items)).click_NC[0].argsort()[-2:]
    for _ in range(2_000):
        done = town.deeds(visit, np.array([best[1], best[1]]), np.array([0, 1]), rng)
        clicks[0] += ((done.action_M == 1) & done.from_slate_M).sum()
    assert clicks[0] / 2_000 == pytest.approx(
        visit.answers(best[1:]).click_NC[0, 0] * 1.85, rel=0.1
    )


def test_the_worth_of_a_slate_is_what_comes_of_it(town):
    rng, visit = np.random.default_rng(2), town.visit(7, 150 * DAY)
    shown = visit.answers(np.arange(SMALL.items)).click_NC[0].argsort()[-2:]
    draws, found = 2_000, 0
    window_us = SMALL.window_days * DAY
    for _ in range(draws):
        done = town.deeds(visit, shown, np.array([0, 1]), rng)
        in_time = (done.at_us_M <= visit.at_us + window_us) & done.from_slate_M
        hit = in_time & np.isin(done.action_M, (1, BUY))
        found += len(np.unique(done.item_M[hit]))
    assert found / draws == pytest.approx(worth_shown(visit, shown), abs=0.04)


def test_a_slate_drawn_for_sure_is_worth_what_it_shows(town):
    visit, items = town.visit(2, 150 * DAY), np.array([4, 9, 11])
    sure = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
    assert worth_drawn(visit, items, sure) == pytest.approx(worth_shown(visit, items[[1, 0]]))
    assert worth_drawn(visit, np.zeros(0, np.int64), sure) == 0.0


def test_nothing_is_worth_more_than_the_best_slate(town):
    for user in (0, 5, 9):
        visit = town.visit(user, 150 * DAY)
        items = np.flatnonzero(visit.seen.open_NI[0])
        reward = reward_LC(visit, items, 2)
        pairs = itertools.permutations(range(len(items)), 2)
        best = max(reward[0, first] + reward[1, second] for first, second in pairs)
        assert worth_of_best(visit, 2) == pytest.approx(best)


def test_the_house_shows_what_it_scores_best_of_its_candidates():
    sure = SMALL.model_copy(update={"temperature": 0.001, "epsilon": 0.01})
    town = Town(draw_market(sure), np.zeros((SMALL.users, SMALL.items), np.float32))
    for user in (0, 3, 8):
        visit = town.visit(user, 2 * DAY)
        items = draw_candidates(visit.seen, sure.candidates, np.random.default_rng(5))[0]
        scores = logging_scores(town.market, visit.seen, items[None])[0]
        best = items[scores.argsort()[::-1][:2]]
        worth = worth_of_house(visit, np.random.default_rng(5))
        assert worth == pytest.approx(worth_shown(visit, best), rel=0.03)
        assert worth != pytest.approx(worth_shown(visit, items[:2]), rel=0.03)


def test_tastes_move_round_among_those_whom_it_hits():
    market = draw_market(SMALL)
    moved = with_moved_tastes(market, 0.5, np.random.default_rng(4))
    before, after = (one.investors.taste_last_UK for one in (market, moved))
    changed = (before != after).any(axis=1)
    assert 0.4 < changed.mean() < 0.6
    assert np.allclose(np.sort(before, axis=0), np.sort(after, axis=0)), "nobody's taste is lost"
    assert np.array_equal(market.investors.risk_U2, moved.investors.risk_U2)


def test_a_log_cannot_outlive_its_market():
    with pytest.raises(BadParams, match=r"synth\.log_days 300 is beyond synth\.days 200"):
        SynthParams(users=100, items=60, requests=500, days=200, log_days=300)

"""A day at a service that always shows the same: what is told to it, when, and what is counted."""

import heapq
from dataclasses import replace

import numpy as np
import pytest

from tessera.platform.simulate.happenings import (
    attacked_item,
    deeds_of_bots,
    launched_items,
    market_on,
)
from tessera.platform.simulate.plan import Plan
from tessera.platform.simulate.visits import Player
from tessera.serve.context import DEGRADED
from tessera.serve.slate import at
from tessera.stages.synth.interactions import DAY
from tessera.stages.synth.params import SynthParams
from tessera.stages.synth.stage import draw_market
from tessera.stages.synth.town import FIRST_US, Town

PLAN = Plan(days=4, users=80, visits=40, every=2, seed=2)


class Clock:
    """Remembers where it was moved to."""

    def __init__(self):
        self.now = 0

    def move(self, now):
        assert now >= self.now, "the clock never goes back"
        self.now = now


class Service:
    """Shows the same two items to everybody, and remembers all that it is told."""

    def __init__(self):
        self.clock, self.asked, self.events, self.closes = Clock(), [], [], []
        self.classes = []

    def recommend(self, user_id):
        self.asked.append((user_id, self.clock.now))
        items = [{"item_id": "i00003"}, {"item_id": "i00007"}]
        name = f"r{len(self.asked)}"
        return {"request_id": name, "version": "v1", "flags": [DEGRADED], "items": items}

    def happened(self, events):
        for one in events:
            time = np.datetime64(one["time"].removesuffix("+00:00"), "us").astype(np.int64)
            assert time < self.clock.now, "nothing is told before it happens"
        self.events += events

    def priced(self, closes):
        self.closes += [(self.clock.now, one) for one in closes]

    def classed(self, investors):
        self.classes += [(self.clock.now, one) for one in investors]


def _params(plan):
    return SynthParams(**plan.overrides()["synth"], seed=plan.seed)


def _player(plan):
    params = _params(plan)
    market = draw_market(params)
    town = Town(market, np.zeros((params.users, params.items), np.float32))
    town.until(plan.log_days * DAY)
    return Player(plan, town, [])


@pytest.fixture(scope="module")
def played():
    player, service = _player(PLAN), Service()
    return player, service, [player.play(day, service) for day in range(2)]


def test_each_visit_asks_once_in_its_day(played):
    _, service, days = played
    assert len(service.asked) == 80
    begun = FIRST_US + PLAN.log_days * DAY
    moments = [moment for _, moment in service.asked]
    assert all(begun <= one < begun + DAY for one in moments[:40])
    assert all(begun + DAY <= one < begun + 2 * DAY for one in moments[40:])
    assert [day.figures["requests"] for day in days] == [40, 40]


def test_what_is_done_is_told_once_and_what_comes_later_waits(played):
    player, service, _ = played
    ids = [one["event_id"] for one in service.events]
    assert len(ids) == len(set(ids)) > 20
    end = (PLAN.log_days + 2) * DAY
    assert player.coming
    assert min(player.coming)[0] >= end
    assert not {name for _, name, _ in player.coming} & set(ids)


def test_what_comes_of_a_slate_names_it_and_nothing_else_does(played):
    _, service, _ = played
    from_slate = [one for one in service.events if "request_id" in one]
    assert {one["item_id"] for one in from_slate} <= {"i00003", "i00007"}
    assert all(one["event_id"].startswith(one["request_id"] + "-") for one in from_slate)
    assert {"click", "buy"} <= {one["action"] for one in from_slate}
    assert {one["action"] for one in service.events if "request_id" not in one} >= {"view", "buy"}


def test_figures_count_what_was_shown(played):
    _, _, days = played
    told = days[0].figures
    assert told["shown"][3] == told["shown"][7] == 40
    assert sum(told["shown"]) == 80
    assert told["versions"] == {"v1": 40}
    assert told["degraded"] == 40
    assert told["gini"] > 0.9
    assert told["house"] < told["oracle"]
    assert told["value"] < told["oracle"]
    assert len(days[0].sample.request_id) == 40


def test_every_change_of_class_is_told_before_anybody_of_it_asks():
    """What was told last is what the market has as of every visit, if it has any."""
    plan = replace(PLAN, days=12, users=200, visits=60)
    player, service = _player(plan), Service()
    people = player.town.market.investors
    begun = plan.log_days * DAY
    known = {}
    for user, first in enumerate(people.risk_on(np.arange(200), np.full(200, plan.log_days - 1))):
        if people.joined_day_U[user] < plan.log_days:
            known[f"u{user:06d}"] = int(first)
    before = dict(known)
    told = 0
    for day in range(12):
        seen = len(service.asked)
        player.play(day, service)
        for _, one in service.classes[told:]:
            known[one["investor_id"]] = one["risk_class"]
            assert one["valid_from"] == at(FIRST_US + begun + day * DAY).isoformat()
        told = len(service.classes)
        for user_id, moment in service.asked[seen:]:
            user = np.array([int(user_id[1:])])
            true = people.risk_on(user, np.array([(moment - FIRST_US) / DAY]))[0]
            assert known.get(user_id, 0) == true
    assert told > 3
    asked = {user for user, _ in service.asked}
    assert any(known.get(user) != before.get(user) for user in asked)
    assert all(moment % DAY == FIRST_US % DAY for moment, _ in service.classes)
    assert {one["capacity_class"] for _, one in service.classes} <= {1, 2, 3, 4}


def test_closes_are_told_the_morning_after(played):
    player, service, _ = played
    moment, one = service.closes[0]
    assert moment == FIRST_US + PLAN.log_days * DAY
    told = np.datetime64(one["price_ts"].removesuffix("+00:00"), "us").astype(np.int64)
    assert told == moment - DAY + 1_000_000
    item = int(one["item_id"][1:])
    assert one["close_eur"] == player.town.market.close_DI[PLAN.log_days - 1, item]


def test_the_same_day_is_played_the_same(played):
    again, service = _player(PLAN), Service()
    assert again.play(0, service).figures == played[2][0].figures
    other, service = _player(replace(PLAN, seed=1)), Service()
    assert other.play(0, service).figures != played[2][0].figures


def test_tastes_move_in_the_middle_and_only_there():
    plan = replace(PLAN, scenario="drift")
    market = draw_market(_params(plan))
    assert market_on(1, plan, market) is market
    moved = market_on(2, plan, market).investors.taste_last_UK
    assert not np.array_equal(moved, market.investors.taste_last_UK)
    assert np.array_equal(moved, market_on(3, plan, market).investors.taste_last_UK)
    assert market_on(3, PLAN, market) is market


def test_bots_click_and_buy_one_item_from_the_middle_on():
    plan = replace(PLAN, scenario="attack")
    market = draw_market(_params(plan))
    item = attacked_item(plan, market)
    assert list(deeds_of_bots(1, plan, market)) == []
    days = [list(deeds_of_bots(day, plan, market)) for day in (2, 3)]
    assert {deed.item for day in days for deed in day} == {item}
    bots = [{deed.user for deed in day} for day in days]
    assert bots[0] == bots[1]
    assert len(bots[0]) == round(80 / 30)
    assert len(days[0]) == 9 * len(bots[0])
    begun = (plan.log_days + 3) * DAY
    assert all(begun <= deed.at_us < begun + DAY for deed in days[1])
    assert market.assets.risk_I[item] == 1


def test_what_bots_do_is_told_and_acts_on_what_they_hold():
    plan = replace(PLAN, scenario="attack")
    player, service = _player(plan), Service()
    player.play(2, service)
    bots = [one for one in service.events if one["event_id"].startswith("bot-")]
    assert len(bots) == 9 * round(80 / 30)
    held = [user for _, user, item in player.town.waiting
            if item == attacked_item(plan, player.town.market)]  # fmt: skip
    assert len(held) >= round(80 / 30)
    heapq.heapify(player.town.waiting)


def test_items_are_launched_in_the_middle():
    plan = replace(PLAN, scenario="births")
    launched = launched_items(plan, draw_market(_params(plan)))
    assert len(launched) >= 5
    assert launched_items(PLAN, draw_market(_params(PLAN))) == []

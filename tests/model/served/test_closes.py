"""Closes that came while serving are read from the next day on, and played again with the log."""

from __future__ import annotations

import numpy as np
import pytest

from tessera.model.sequences.catalogue import microsecond
from tessera.serve.closes import Close
from tessera.serve.engine import Engine
from tessera.serve.events import Event
from tessera.serve.hours import records
from tessera.serve.log import ServedLog
from tessera.serve.params import ServeParams
from tessera.serve.replay import replay
from tessera.serve.service import Service

DAY_US = 86_400_000_000


def test_a_close_of_the_day_of_a_request_or_later_is_not_read(engine, split):
    first = microsecond(split.cut) // DAY_US * DAY_US + 2 * DAY_US
    asked, items = first + DAY_US // 2, np.arange(1, 13)

    def seen(moment):
        now = engine.scorer.now("u003", moment)
        figures = engine.answer("r1", "u003", moment, 3).figures
        unit_I = now.since.priced.unit_I(engine.model_row_I, moment)
        return engine.scorer.scores(now, items), figures, unit_I

    before = seen(asked)
    engine.scorer.state.prices.learn(
        Close(f"i{item:02d}", moment, 900.0, 1)
        for item in range(12) for moment in (first, asked - 1, asked, asked + DAY_US)
    )  # fmt: skip
    after = seen(asked)
    np.testing.assert_array_equal(after[0], before[0])
    assert after[1] == before[1]
    np.testing.assert_array_equal(after[2], before[2])
    next_day = seen(first + DAY_US)
    assert np.abs(next_day[0] - before[0]).max() > 1e-3
    assert next_day[2].tolist() == [900.0] * 12


def test_closes_that_arrive_while_a_request_is_answered_change_nothing_of_it(scorer, split):
    moment, items = microsecond(split.cut) + 3 * DAY_US, np.arange(1, 13)
    now = scorer.now("u001", moment)
    before = scorer.scores(now, items)
    scorer.state.prices.learn([Close("i02", moment - DAY_US, 500.0, 1)])
    np.testing.assert_array_equal(scorer.scores(now, items), before)
    assert np.abs(scorer.scores(scorer.now("u001", moment), items) - before).max() > 1e-3


def test_a_slate_names_what_it_knew_of_closes_and_facts_say_their_day(bundle, few, split):
    engine, moment = Engine.open(bundle, few), microsecond(split.cut) + 3 * DAY_US
    told = engine.answer("r1", "u003", moment, 3)
    assert told.context_version.count("+") == 1
    made = moment - DAY_US
    engine.scorer.state.prices.learn(Close(f"i{n:02d}", made, 50.0 + n, 77) for n in range(12))
    after = engine.answer("r1", "u003", moment, 3)
    assert after.context_version == f"{told.context_version}+77"
    for item in after.reasons:
        figures = {one.name: one for one in after.figures[item] if one.source == "prices"}
        assert figures["close_eur"].value == 50.0 + int(item[1:])
        assert microsecond(figures["close_eur"].as_of) == made // DAY_US * DAY_US
    assert engine.freshness() == (microsecond(split.cut), made // DAY_US * DAY_US)


def test_what_has_become_too_dear_is_not_shown_from_the_next_day_on(bundle, split):
    params = ServeParams(retrieved=12, uniform=0, capacity_eur=[30_000.0] * 4)
    engine, day = Engine.open(bundle, params), microsecond(split.cut) // DAY_US + 3
    before = engine.answer("r1", "u003", day * DAY_US, 12)
    assert "capacity" not in before.removed
    item = before.drawn.candidate_ids[0]
    engine.scorer.state.prices.learn([Close(item, (day - 1) * DAY_US, 30_001.0, 1)])
    after = engine.answer("r1", "u003", day * DAY_US, 12)
    assert after.removed["capacity"] == 1
    assert item not in after.drawn.candidate_ids
    assert item in engine.answer("r1", "u003", day * DAY_US - 1, 12).drawn.candidate_ids
    engine.scorer.state.prices.learn([Close(item, (day - 1) * DAY_US, 29_999.0, 2)])
    assert item in engine.answer("r1", "u003", day * DAY_US, 12).drawn.candidate_ids


def serve_days_with_closes(engines, users, at_noon, folder, requests=120):
    """Let closes of each day come, most in time, some late, some corrected; a restart halfway."""
    rng, step, first = np.random.default_rng(5), 7_200_000_000, at_noon() // DAY_US
    for half in range(2):
        service = Service(engines(), lambda half=half: ServedLog(folder / f"{half}.log"))
        service.restore(records(folder, events_only=True))
        for n in range(half * requests // 2, (half + 1) * requests // 2):
            moment = at_noon(n * step)
            day = moment // DAY_US - int(rng.integers(1, 4))
            if day > first:
                service.priced(
                    Close(
                        f"i{item:02d}",
                        day * DAY_US + 1,
                        float(99 * np.exp(rng.normal(0, 0.3))),
                        moment,
                    )
                    for item in rng.choice(12, 4, replace=False)
                )
            user = users[n % len(users)]
            service.recommend(f"r{n:04d}", user, moment, 3)
            service.happened([Event(f"s{n}", user, f"i{n % 12:02d}", "click", moment + 1)])
        service.close()


@pytest.fixture
def days(bundle, few, users, at_noon, tmp_path):
    serve_days_with_closes(lambda: Engine.open(bundle, few), users, at_noon, tmp_path / "served")
    return list(records(tmp_path / "served"))


def test_a_log_with_closes_between_its_slates_is_played_again(bundle, few, days):
    closes = [one for one in days if one["kind"] == "close"]
    keys = {(one["item_id"], one["moment"]) for one in closes}
    assert len(closes) > len(keys) > 50, "some were corrected"
    versions = {one["context_version"].split("+")[-1] for one in days if one["kind"] == "slate"}
    assert len(versions) > 100
    found = replay(days, lambda _: Engine.open(bundle, few))
    assert (found.slates, found.unscored, found.faults) == (120, 0, [])
    assert found.propensity <= 1e-9


def test_of_two_processes_one_may_have_known_no_close_yet(bundle, few, at_noon, tmp_path):
    moment = at_noon(3 * DAY_US)
    told, untold = (
        Service(Engine.open(bundle, few), lambda n=n: ServedLog(tmp_path / f"{n}.log"))
        for n in range(2)
    )
    told.priced(Close(f"i{n:02d}", moment - DAY_US, 500.0 + n, moment) for n in range(12))
    told.recommend("r1", "u003", moment, 3)
    untold.happened([Event("e1", "u004", "i03", "click", moment)])
    untold.recommend("r2", "u003", moment, 3)
    told.close()
    untold.close()
    found = replay(records(tmp_path), lambda _: Engine.open(bundle, few))
    assert (found.slates, found.unscored, found.faults) == (2, 0, [])


@pytest.mark.parametrize("plant", ["value", "told", "lost", "day"])
def test_a_close_that_was_another_one_is_found_when_the_log_is_played_again(
    bundle, few, days, plant
):
    closes = [one for one in days if one["kind"] == "close"][40:60]
    for one in closes:
        if plant == "value":
            one["close_eur"] *= 1.5
        elif plant == "told":
            one["told"] += 5 * DAY_US
        elif plant == "day":
            one["moment"] += DAY_US
        else:
            days.remove(one)
    found = replay(days, lambda _: Engine.open(bundle, few))
    assert "scores that its bundle does not give" in found.faults[0].says
    assert found.propensity <= 1e-9

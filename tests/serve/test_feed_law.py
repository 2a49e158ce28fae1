"""The law of a feed: one order for all, each event once, whatever was forgotten stays forgotten."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tessera.contracts.components import names
from tessera.contracts.errors import BadParams
from tessera.serve.events import Event, Knowledge
from tessera.serve.feed import START, kind_for, open_feed

NOW = 1_700_000_000_000_000


def event(n, moment=NOW, user="u1", **more):
    return Event(f"e{n}", user, f"i{n % 5}", "click", moment, **more)


def all_of(feed, most=3):
    """Read a feed in small bites from its beginning."""
    mark, found, more = START, [], True
    while more:
        news = feed.since(mark, most)
        found += news.events
        mark, more = news.mark, news.more
    return found


@pytest.fixture
def feed(kind, opened):
    return opened(kind)


def test_every_kind_is_held_to_the_law(request):
    assert sorted(names("tessera.serve.feeds")) == ["memory", "redis", "sqlite"]


def test_what_is_added_is_read_in_order_and_once(feed):
    events = [event(n, NOW - n, request_id="r", value=0.1 + n, channel="é\n") for n in range(10)]
    assert feed.add(events[:4]) == {"e0", "e1", "e2", "e3"}
    assert feed.add([*events[2:6], events[5]]) == {"e4", "e5"}
    first = feed.since(START, 4)
    assert (list(first.events), first.more) == (events[:4], True)
    second = feed.since(first.mark, 4)
    assert (list(second.events), second.more) == (events[4:6], False)
    assert feed.since(second.mark).events == ()
    feed.add(events)
    assert list(feed.since(second.mark).events) == events[6:]
    assert all_of(feed) == events


def test_a_feed_without_events_has_no_news(feed):
    assert feed.add([]) == frozenset()
    news = feed.since(START)
    assert (news.events, news.more) == ((), False)
    feed.add([event(1)])
    assert feed.since(news.mark).events == (event(1),)


def test_of_two_that_bear_one_id_the_earlier_counts_whichever_came_first(feed):
    feed.add([event(1, NOW), event(2, NOW)])
    mark = feed.since(START).mark
    assert feed.add([event(1, NOW + 1)]) == frozenset()
    assert feed.since(mark).mark == mark
    assert feed.add([event(1, NOW - 1)]) == frozenset()
    assert sorted(one.moment for one in all_of(feed)) == [NOW - 1, NOW]
    assert feed.since(mark).mark.epoch != mark.epoch
    assert len(feed.since(mark).events) == 2, "who had read the other one reads all again"


def test_at_one_moment_either_counts_but_always_the_same(feed):
    one, other = event(1, value=1.0), event(1, value=2.0)
    feed.add([one])
    feed.add([other])
    (found,) = all_of(feed)
    assert found == min(one, other, key=lambda one: one.rank)


def test_what_is_forgotten_is_gone_for_whoever_read_it_and_never_comes_back(feed):
    feed.add([event(n) for n in range(6)])
    mark = feed.since(START).mark
    feed.forget(["e1", "e4", "never seen"])
    left = {"e0", "e2", "e3", "e5"}
    assert {one.event_id for one in all_of(feed)} == left
    assert feed.since(mark).mark.epoch != mark.epoch
    assert feed.add([event(1), event(7), event(4, NOW - 1)]) == {"e7"}
    feed.add([Event("never seen", "u1", "i1", "buy", NOW)])
    assert {one.event_id for one in all_of(feed)} == left | {"e7"}


def test_forgetting_what_nobody_knows_makes_nobody_read_again(feed):
    feed.add([event(1)])
    mark = feed.since(START).mark
    feed.forget(["e9"])
    assert feed.since(mark).mark == mark


def test_after_it_was_cleared_all_begins_anew(feed):
    feed.add([event(1), event(2)])
    feed.forget(["e2"])
    mark = feed.since(START).mark
    feed.clear()
    assert all_of(feed) == []
    assert feed.since(mark).mark.epoch != mark.epoch
    assert feed.add([event(2)]) == {"e2"}
    assert feed.since(mark).events == (event(2),)


def test_many_at_once_are_read_whole(feed):
    events = [event(n) for n in range(12_000)]
    assert len(feed.add(events)) == 12_000
    assert all_of(feed, 5000) == events


def test_threads_that_add_the_same_add_each_once(feed):
    events = [event(n) for n in range(60)]
    new = []

    def add(step):
        for n in range(60):
            new.extend(feed.add([events[n * step % 60]]))

    threads = [threading.Thread(target=add, args=(step,)) for step in (1, 7, 11, 13)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert sorted(new) == sorted(one.event_id for one in events)
    assert len(all_of(feed)) == 60


def test_two_that_share_a_feed_read_the_same_in_the_same_order(shared, opened):
    one, other = opened(shared), opened(shared)
    one.add([event(1)])
    other.add([event(2), event(1)])
    one.add([event(3)])
    assert [e.event_id for e in all_of(one)] == [e.event_id for e in all_of(other)]
    assert len(all_of(one)) == 3
    other.forget(["e1"])
    assert all_of(one) == all_of(other) == [event(2), event(3)]


def test_feeds_of_two_folders_know_nothing_of_each_other(shared, opened, tmp_path):
    (tmp_path / "other").mkdir()
    one, other = opened(shared), opened(shared, tmp_path / "other")
    one.add([event(1)])
    assert all_of(other) == []
    other.clear()
    assert all_of(one) == [event(1)]


MOVES = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(0, 5), st.integers(0, 3)),
        st.tuples(st.just("forget"), st.integers(0, 5), st.just(0)),
    ),
    max_size=20,
)


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)
@given(moves=MOVES, seed=st.randoms(use_true_random=False))
def test_a_feed_holds_what_a_log_in_any_order_comes_to(feed, moves, seed):
    feed.clear()
    records = []
    for what, n, later in moves:
        if what == "add":
            feed.add([event(n, NOW + later)])
            records.append(event(n, NOW + later).record())
        else:
            feed.forget([f"e{n}"])
            records.append({"kind": "forget", "event_ids": [f"e{n}"]})
    records += records[::2]
    seed.shuffle(records)
    known = Knowledge.of(records)
    assert {one.event_id: one for one in all_of(feed)} == known.events


def test_several_workers_need_a_feed_that_they_can_share():
    assert [kind_for("auto", n) for n in (1, 2)] == ["memory", "sqlite"]
    assert [kind_for(one, 1) for one in ("memory", "sqlite", "redis")] == [
        "memory", "sqlite", "redis",
    ]  # fmt: skip
    with pytest.raises(BadParams, match="which 3 workers cannot share: set it to auto"):
        kind_for("memory", 3)


def test_an_address_that_is_missing_or_none_is_one_line_without_a_password(monkeypatch, tmp_path):
    monkeypatch.delenv("TESSERA_REDIS", raising=False)
    with pytest.raises(BadParams, match="set TESSERA_REDIS to it"):
        open_feed("redis", tmp_path)
    monkeypatch.setenv("TESSERA_REDIS", "http://:secret@host")
    with pytest.raises(BadParams, match="TESSERA_REDIS is no address") as told:
        open_feed("redis", tmp_path)
    assert "secret" not in str(told.value)


def test_a_rank_puts_the_earlier_first_before_1970_too():
    moments = [-(2**62), -5, 0, 7, NOW]
    ranks = [replace(event(1), moment=one).rank for one in moments]
    assert sorted(ranks) == ranks
    assert {len(one) for one in ranks} == {52}

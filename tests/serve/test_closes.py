"""Closes that come while serving: logged, then known to all, the last telling of each."""

from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st

from tessera.serve.clock import Clock
from tessera.serve.closed import seal_closed
from tessera.serve.closes import KEPT_DAYS, Close, Closes, close_of
from tessera.serve.events import Event, Knowledge, told_of_text
from tessera.serve.feed import START
from tessera.serve.filled import Rescue, filled
from tessera.serve.follower import Follower
from tessera.serve.hours import records
from tessera.serve.http.app import make_app
from tessera.serve.http.keys import Keys, add_key
from tessera.serve.log import ServedLog, read_segment
from tessera.serve.online.prices import Prices
from tessera.serve.params import ServeParams
from tessera.serve.service import Service
from tessera.serve.slate import at
from tessera.serve.whole_log import middle, write_log
from tessera.shared.features.prices import PriceHistory

DAY = 86_400_000_000
CUT = 1_700_000_000_000_000
NONE = PriceHistory(np.zeros(0, int), np.zeros(0, int), np.zeros(0))


def close(item=1, day=1.0, value=10.0, told=0):
    return Close(f"i{item}", CUT + int(day * DAY), value, CUT + 2 * DAY + told)


def prices_of(service):
    """What a request knows once its process has looked: close by item and days since the cut."""
    service.lay_out()
    return planted_of(service.engine)


def planted_of(engine):
    """Items of the planted engine stand in rows from 1 on."""
    return {
        (row - 1, day): one
        for (row, day), one in of(engine.scorer.state.prices.now().closes).items()
    }


def of(closes):
    rows = zip(closes.item_P, closes.day_P - CUT // DAY, closes.close_P, strict=True)
    return {(int(item), int(day)): float(value) for item, day, value in rows}


TELLINGS = st.lists(
    st.builds(close, st.integers(1, 3), st.sampled_from([1, 1.1, 2, 3]), st.floats(1, 9),
              st.integers(0, 3)),
    max_size=12,
)  # fmt: skip


@settings(deadline=None, derandomize=True)
@given(tellings=TELLINGS, seed=st.randoms(use_true_random=False))
def test_what_counts_follows_from_the_tellings_in_any_order_and_however_often(tellings, seed):
    found = []
    for _ in range(2):
        known, prices = Closes(), Prices(NONE, {f"i{n}": n for n in range(5)}, CUT)
        for one in tellings:
            known.learn(one)
        prices.learn(tellings)
        found.append((set(known), known.until, of(prices.now().closes)))
        tellings = [*tellings, *tellings[::2]]
        seed.shuffle(tellings)
    assert found[0] == found[1]


def test_of_one_moment_the_last_telling_counts_and_of_one_day_the_last_moment():
    known, prices = Closes(), Prices(NONE, {"i1": 1}, CUT)
    for one in (close(value=1.0), close(value=2.0, told=1), close(day=1.01, value=3.0),
                close(value=4.0, told=2)):  # fmt: skip
        assert known.learn(one)
        prices.learn([one])
    assert not known.learn(close(value=2.0, told=1))
    assert sorted(one.close_eur for one in known) == [3.0, 4.0]
    assert of(prices.now().closes) == {(1, 1): 3.0}


def test_what_no_feature_reads_any_more_is_let_go():
    known, prices = Closes(), Prices(NONE, {"i1": 1}, CUT)
    for day in range(1, 400):
        known.learn(close(day=day))
        prices.learn([close(day=day)])
        prices.now()
    assert len(list(known)) == len(prices.now().closes.day_P) == KEPT_DAYS
    assert not known.learn(close(day=3))
    assert not known.fresh([close(day=3)])


def test_a_bundle_reads_its_own_closes_until_its_cut_and_those_told_behind_it():
    first = CUT // DAY
    item_P, day_P = np.array([1, 1, 1, 2, 2]), np.array([-300, -9, 0, -400, -200]) + first
    base = PriceHistory(item_P, day_P, np.arange(5.0) + 1)
    prices = Prices(base, {"i1": 1, "i2": 2}, CUT + 1)
    assert prices.now().closes is base
    assert (prices.now().until, prices.emptied().now().closes) == (0, base)
    before = prices.now()
    prices.learn([close(1, 0, 70.0), close(1, -1, 71.0), close(9, 1, 72.0)])
    assert prices.now() is before, "of before the cut, or of no known item"
    prices.learn([close(1, 0.01, 80.0), close(2, 1, 81.0, told=5)])
    now = prices.now()
    assert of(now.closes) == {(1, -9): 2.0, (1, 0): 80.0, (2, -200): 5.0, (2, 1): 81.0}
    assert now.until == CUT + 2 * DAY + 5
    assert np.all(np.diff(now.closes.key_P) > 0)
    assert of(before.closes)[1, 0] == 3.0
    later = Prices(base, {"i1": 1, "i2": 2}, CUT + DAY // 2)
    later.learn([close(1, 0.01, 80.0), close(2, 1, 81.0, told=5)])
    assert of(later.now().closes)[1, 0] == 3.0, "its cut is later, so it knows better"


def test_a_unit_costs_what_was_the_last_close_before_the_day():
    first = CUT // DAY
    base = PriceHistory(np.array([1, 2, 3]), np.array([-1, -30, -31]) + first, np.arange(3.0) + 1)
    prices, row_I = Prices(base, {"i1": 1}, CUT + 1), np.array([1, 2, 3, 4])
    prices.learn([close(1, 2, 50.0)])
    now = prices.now()
    at_day = [now.unit_I(row_I, CUT + day * DAY).tolist() for day in (0, 2, 3, 90)]
    np.testing.assert_array_equal(
        at_day, [[1, 2, np.nan, np.nan]] * 2 + [[50, 2, np.nan, np.nan]] * 2
    )


def test_a_telling_is_read_as_it_was_written_and_is_no_event():
    one = close(value=0.1 + 0.2)
    assert told_of_text(one.text) == close_of(one.record()) == one
    event = Event("e1", "u1", "i1", "buy", CUT)
    assert told_of_text(event.text) == event
    known = Knowledge.of([one.record(), event.record()])
    assert (list(known.closes), list(known.events.values())) == ([one], [event])


def test_every_feed_tells_of_closes_between_events_once(kind, opened):
    feed = opened(kind)
    event, first, again = Event("e1", "u1", "i1", "buy", CUT), close(), close(value=11.0, told=1)
    assert [len(feed.add([one])) for one in (first, event)] == [1, 1]
    mark = feed.since(START).mark
    assert feed.add([first, event]) == frozenset()
    assert feed.add([again]) == {again.event_id}
    assert feed.since(mark).events == (again,), "nobody has to read all again"
    assert feed.since(START).events == (first, event, again)


@pytest.fixture(params=["sqlite", "redis"])
def shared(request):
    if request.param == "redis":
        request.getfixturevalue("redis_server")
    return request.param


def test_every_worker_knows_a_close_and_its_correction(worker, shared):
    one, other = worker(shared), worker(shared)
    assert one.priced([close(1, 1, 10.0), close(2, 1, 20.0)]) == 2
    assert prices_of(other) == {(1, 1): 10.0, (2, 1): 20.0}
    assert other.priced([close(1, 1, 11.0), close(2, 1, 20.0)]) == 1
    assert prices_of(one) == {(1, 1): 11.0, (2, 1): 20.0}
    late = worker(shared)
    assert prices_of(late) == prices_of(one)


def test_tellings_have_one_order_whoever_tells_and_whatever_the_clock_says(worker, tmp_path):
    services = [worker("sqlite") for _ in range(3)]
    for n in range(9):
        services[n % 3].priced([close(1, 1, 10.0 + n, told=-n)])
    told = [one["told"] for one in records(tmp_path / "served") if one["kind"] == "close"]
    assert len(set(told)) == 9
    for one in services:
        assert prices_of(one) == {(1, 1): 18.0}
        assert one.engine.scorer.state.prices.now().until == max(told)


def test_no_request_lays_closes_out_and_each_reads_all_of_a_time(worker, until):
    one, other = worker("sqlite"), worker("sqlite")
    one.priced([close(1, 1, 10.0), close(2, 1, 20.0)])
    prices = other.engine.scorer.state.prices
    before = prices.now()
    other.recommend("r1", "u1", CUT, 3)
    assert prices.now() is before
    follower = Follower(other, lambda: Path(other.engine.version), ServeParams())
    follower.start()
    until(lambda: prices.now() is not before)
    follower.stop()
    assert planted_of(other.engine) == {(1, 1): 10.0, (2, 1): 20.0}


def test_what_is_told_while_closes_are_laid_out_comes_next(monkeypatch):
    prices, real = Prices(NONE, {"i1": 1, "i2": 2}, CUT), Prices._beside
    before = prices.now()

    def slow(self, since):
        assert prices.now() is before
        if len(since) == 1:
            prices.note([close(2, 1, 20.0, told=1)])
        return real(self, since)

    monkeypatch.setattr(Prices, "_beside", slow)
    prices.learn([close(1, 1, 10.0)])
    before = prices.now()
    assert (of(before.closes), before.until) == ({(1, 1): 10.0}, CUT + 2 * DAY)
    prices.lay_out()
    after = prices.now()
    assert (of(after.closes), after.until) == ({(1, 1): 10.0, (2, 1): 20.0}, CUT + 2 * DAY + 1)
    prices.lay_out()
    assert prices.now() is after, "there is nothing to do"


def test_closes_that_could_not_be_laid_out_are_laid_out_later(monkeypatch):
    prices, real = Prices(NONE, {"i1": 1}, CUT), Prices._beside

    def short_of_memory(*_):
        raise MemoryError

    monkeypatch.setattr(Prices, "_beside", short_of_memory)
    with pytest.raises(MemoryError):
        prices.learn([close()])
    assert of(prices.now().closes) == {}
    monkeypatch.setattr(Prices, "_beside", real)
    prices.lay_out()
    assert of(prices.now().closes) == {(1, 1): 10.0}


def test_a_bundle_that_is_brought_up_hears_of_what_is_told_meanwhile(service, engine, monkeypatch):
    service.priced([close(1)])
    coming, real = engine("v2"), Prices.lay_out

    def slow(self):
        if self is coming.scorer.state.prices and service.engine is not coming:
            monkeypatch.setattr(Prices, "lay_out", real)
            service.priced([close(2)])
        real(self)

    monkeypatch.setattr(Prices, "lay_out", slow)
    service.swap(coming)
    assert service.engine is coming
    assert planted_of(coming) == {(1, 1): 10.0, (2, 1): 10.0}


def test_what_a_worker_told_before_it_died_is_brought_to_the_others(worker, opened, tmp_path):
    one = worker("sqlite")
    rescue = Rescue(opened("sqlite"), tmp_path / "served")
    dead = ServedLog(tmp_path / "served" / "9.log")
    dead.append(close().record()).result()
    dead.close()
    assert prices_of(one) == {}
    rescue.bring()
    assert prices_of(one) == {(1, 1): 10.0}


def test_while_the_feed_is_lost_closes_are_read_from_the_log(worker, redis_server):
    one, other = worker("redis"), worker("redis")
    redis_server.kill()
    assert one.priced([close()]) == 1
    assert prices_of(other) == {(1, 1): 10.0}


def test_a_feed_that_was_emptied_is_told_of_the_closes_again(worker, redis_server):
    one = worker("redis")
    one.priced([close()])
    with redis.Redis.from_url(redis_server.address) as client:
        client.flushall()
    one.catch_up()
    assert prices_of(one) == prices_of(worker("redis")) == {(1, 1): 10.0}


def test_after_a_restart_closes_are_known_again_and_a_feed_is_filled_with_them(
    service, engine, tmp_path, kind, opened
):
    service.priced([close(1, 1, 10.0), close(2, 1, 20.0)])
    service.priced([close(1, 1, 11.0)])
    service.close()
    again = Service(engine(), lambda: ServedLog(tmp_path / "served" / "2.log"))
    assert again.restore(records(tmp_path / "served", events_only=True)) == 0
    assert prices_of(again) == {(1, 1): 11.0, (2, 1): 20.0}
    until = service.engine.scorer.state.prices.now().until
    assert again.engine.scorer.state.prices.now().until == until
    again.close()
    feed = opened(kind)
    with filled(feed, tmp_path / "served"):
        assert {one.close_eur for one in feed.since(START).events} == {11.0, 20.0}


def test_a_close_is_known_only_when_it_is_on_the_disk(service, monkeypatch):
    monkeypatch.setattr(service.log, "_failed", OSError(errno.ENOSPC, "full"))
    with pytest.raises(OSError, match="full"):
        service.priced([close()])
    assert prices_of(service) == {}


def test_a_close_that_is_told_again_is_logged_once(service):
    assert [service.priced([close()]) for _ in range(3)] == [1, 0, 0]
    assert service.priced([close(value=11.0), close(2)]) == 2
    assert service.priced([close(value=10.0)]) == 1, "it is taken back"
    assert prices_of(service) == {(1, 1): 10.0, (2, 1): 10.0}
    kinds = [one["kind"] for one in read_segment(service.log.path).records]
    assert kinds == ["close"] * 4


def test_another_bundle_and_whoever_looks_beside_know_the_closes(service, engine):
    service.priced([close()])
    looked = engine("v3")
    service.inform(looked)
    assert planted_of(looked) == {(1, 1): 10.0}
    service.swap(engine("v2"))
    service.priced([close(2)])
    assert prices_of(service) == {(1, 1): 10.0, (2, 1): 10.0}


@pytest.mark.parametrize("sealed", [False, True])
def test_the_next_run_reads_the_last_telling_of_every_close(service, tmp_path, sealed):
    folder, out = tmp_path / "served", tmp_path / "out"
    old = close(item=2, day=-400 * KEPT_DAYS / 121)
    service.priced([old, close(value=1.0), close(item=3, day=2)])
    service.priced([close(value=2.0), close(day=1.5, value=4.0)])
    service.close()
    if sealed:
        seal_closed(folder, 10 * CUT * 1000)
        assert not list(folder.glob("*.log"))
    out.mkdir()
    told = write_log(folder, out)
    assert {name: one["rows"] for name, one in told.items()} == {
        "exposures": 0, "outcomes": 0, "events": 0, "prices": 4, "users": 0
    }  # fmt: skip
    assert middle(out) is None
    rows = pq.read_table(out / "prices.parquet").to_pylist()
    assert [(row["item_id"], row["close_eur"]) for row in rows] == [
        ("i1", 2.0), ("i1", 4.0), ("i2", 10.0), ("i3", 10.0)
    ]  # fmt: skip
    assert rows[0]["price_ts"] == at(CUT + DAY)


@pytest.fixture
def app(service, keys, params):
    return make_app(service, Clock(source=lambda: CUT + 10 * DAY), Keys(keys), params)


def row(**change):
    return {"item_id": "i1", "price_ts": "2023-11-15T22:13:20Z", "close_eur": 10.0} | change


def test_closes_come_by_http_and_the_version_says_how_old_all_is(client):
    version = client.get("/v1/version").json()
    assert version["cut"] == "2023-11-14T22:13:20Z"
    assert version["cut_age_s"] == 10 * 86_400
    assert (version["newest_close"], version["close_age_s"]) == (None, None)
    body = {"closes": [row(), row(item_id="i2", currency="EUR")]}
    assert client.post("/v1/closes", json=body).json() == {"new": 2, "known": 0}
    assert client.post("/v1/closes", json=body).json() == {"new": 0, "known": 2}
    version = client.get("/v1/version").json()
    assert version["newest_close"] == "2023-11-15T00:00:00Z"
    assert version["close_age_s"] == 9 * 86_400 + 22 * 3600 + 13 * 60 + 20


BAD = [
    (row(close_eur=-1), "close_eur", "greater than 0"),
    (row(close_eur=0), "close_eur", "greater than 0"),
    (row(close_eur="NaN"), "close_eur", "finite number"),
    (row(close_eur=1e13), "close_eur", "less than or equal"),
    (row(item_id="i9"), "item_id", "is no item of the catalogue"),
    (row(price_ts="2023-11-25T00:00:00Z"), "price_ts", "is still to come"),
    (row(price_ts="2023-11-15T00:00:00"), "price_ts", "timezone"),
    (row(price_ts="2023-11-14T22:13:20Z"), "price_ts", "is not behind the bundle's cut of 2023"),
    (row(currency="USD"), "currency", "'EUR'"),
    (row(close=1), "close", "Extra inputs"),
]


@pytest.mark.parametrize(("wrong", "field", "says"), BAD)
def test_a_wrong_close_is_one_line_that_names_its_field_and_nothing_is_taken_in(
    client, service, wrong, field, says
):
    answer = client.post("/v1/closes", json={"closes": [row(item_id="i2"), wrong]})
    assert answer.status_code == 422
    told = answer.json()
    assert told["errors"][0]["field"] == f"closes.1.{field}"
    assert says in told["detail"]
    assert told["detail"].startswith(f"closes.1.{field}")
    assert "\n" not in told["detail"]
    assert prices_of(service) == {}


def test_one_item_and_time_stand_once_in_a_batch(client):
    answer = client.post("/v1/closes", json={"closes": [row(), row(close_eur=11.0)]})
    assert answer.json()["detail"] == "closes.1.price_ts is told twice of one item"


def test_closes_that_cannot_be_logged_are_refused(client, service, monkeypatch):
    monkeypatch.setattr(service.log, "_failed", OSError(errno.ENOSPC, "full"))
    answer = client.post("/v1/closes", json={"closes": [row()]})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


@pytest.mark.parametrize(
    ("role", "may"),
    [("prices", True), ("operator", True), ("recommend", False), ("feedback", False),
     ("viewer", False)],
)  # fmt: skip
def test_a_key_of_role_prices_tells_closes_and_nothing_else(client, keys, role, may):
    headers = {"authorization": f"Bearer {add_key(keys, 'other', role)}"}
    answer = client.post("/v1/closes", json={"closes": [row()]}, headers=headers)
    assert (answer.status_code == 200) is may
    if role == "prices":
        for path in ("/v1/version", "/v1/investors/u1"):
            assert client.get(path, headers=headers).status_code == 403
        assert client.post("/v1/events", json={}, headers=headers).status_code == 403

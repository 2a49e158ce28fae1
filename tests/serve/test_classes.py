"""Classes of investors that are told while serving: logged, then known to all, the last counts."""

from __future__ import annotations

import errno
import json

import pyarrow.parquet as pq
import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st

from tessera.serve.classes import InvestorClass, InvestorClasses, class_of, counted
from tessera.serve.clock import Clock
from tessera.serve.closed import seal_closed
from tessera.serve.erased import Erased
from tessera.serve.erasing import erase, mask_sealed
from tessera.serve.events import Event, Knowledge, told_of_text
from tessera.serve.feed import START
from tessera.serve.filled import Rescue, filled
from tessera.serve.hours import records
from tessera.serve.http.app import make_app
from tessera.serve.http.keys import Keys, add_key
from tessera.serve.log import ServedLog, read_segment
from tessera.serve.service import Service
from tessera.serve.slate import at
from tessera.serve.whole_log import write_log

DAY = 86_400_000_000
CUT = 1_700_000_000_000_000
LATER = CUT + 100 * DAY


def telling(user=1, risk=2, since=1.0, told=None, capacity=None, name=None):
    """A class that holds from a day since the cut on; told then if nothing else is said."""
    since = CUT + int(since * DAY)
    told = since if told is None else CUT + int(told * DAY)
    return InvestorClass(
        name or f"\x1f{user}-{risk}-{since}-{told}", f"u{user}", risk, capacity, since, told
    )


def class_in(service, user="u1", moment=LATER):
    """What counts for a slate, once its process has looked; None if it is the bundle's."""
    service.catch_up()
    return service.engine.scorer.now(user, moment).classed


TELLINGS = st.lists(
    st.builds(telling, st.integers(1, 2), st.integers(1, 4), st.sampled_from([1, 2, 3]),
              st.sampled_from([3, 4, 5]), st.none() | st.integers(1, 4)),
    max_size=10,
)  # fmt: skip


@settings(deadline=None, derandomize=True)
@given(tellings=TELLINGS, seed=st.randoms(use_true_random=False))
def test_what_counts_follows_from_the_tellings_in_any_order_and_however_often(tellings, seed):
    found = []
    tellings = list({one.event_id: one for one in tellings}.values())
    for _ in range(2):
        known = InvestorClasses(tellings)
        found.append(
            [(known.of(user), known.until, counted(known.of(user), None, LATER))
             for user in ("u1", "u2")]
        )  # fmt: skip
        tellings = [*tellings, *tellings[::2]]
        seed.shuffle(tellings)
    assert found[0] == found[1]


def test_the_latest_counts_whatever_is_told_behind_it_and_what_is_not_said_stays():
    told = [telling(risk=3, since=2, capacity=4), telling(risk=1, since=1, told=3, capacity=1)]
    known = InvestorClasses(told)
    assert counted(known.of("u1"), None, LATER) == (3, 4)
    assert counted(known.of("u1"), None, CUT + int(1.5 * DAY)) == (1, 1)
    assert counted(known.of("u1"), None, CUT) is None
    known.learn(telling(risk=2, since=2, told=4))
    assert counted(known.of("u1"), None, LATER) == (2, 4), "it is a correction"


def test_a_bundle_wins_where_its_source_knew_better_and_loses_to_what_follows_its_own_telling():
    told = InvestorClasses(
        [telling(risk=3, since=1, told=2), telling(risk=1, since=1.5, told=5)]
    ).of("u1")
    day = lambda one: CUT + int(one * DAY)  # noqa: E731
    assert counted(told, day(0.5), LATER).risk_class == 1
    assert counted(told, day(1.5), LATER) is None, "of the same moment the source wins"
    assert counted(told, day(4), LATER) is None
    assert counted(told, day(2), LATER).risk_class == 1, "its row is what was told on day 2"


def test_a_telling_is_read_as_it_was_written_and_names_nobody_where_it_is_forgotten():
    one = telling(capacity=3)
    assert told_of_text(one.text) == class_of(one.record()) == one
    event = Event("e1", "u1", "i1", "buy", CUT)
    known = Knowledge.of([one.record(), event.record()])
    assert (list(known.classes), list(known.events.values())) == ([one], [event])
    assert set(known.told()) == {one, event}
    assert known.forget([one.event_id]).again
    assert list(known.classes) == []
    assert known.learn([one]).classes == []


def test_every_feed_tells_of_classes_between_events_once_and_forgets_them(kind, opened):
    feed = opened(kind)
    event, first, again = Event("e1", "u1", "i1", "buy", CUT), telling(), telling(since=2)
    assert [len(feed.add([one])) for one in (first, event)] == [1, 1]
    mark = feed.since(START).mark
    assert feed.add([first, event]) == frozenset()
    assert feed.add([again]) == {again.event_id}
    assert feed.since(mark).events == (again,)
    assert feed.since(START).events == (first, event, again)
    feed.forget([first.event_id])
    assert feed.since(mark).events == (event, again), "whoever read it reads all again"
    assert feed.add([first]) == frozenset()


def test_every_worker_knows_a_class_at_once_and_its_correction(worker, shared):
    one, other = worker(shared), worker(shared)
    assert one.classed([telling(1, 3), telling(2, 4)]) == 2
    assert (class_in(other).risk_class, class_in(other, "u2").risk_class) == (3, 4)
    assert other.classed([telling(1, 1, told=2), telling(2, 4, told=2)]) == 1
    assert class_in(one).risk_class == 1
    late = worker(shared)
    assert [class_in(late, user).risk_class for user in ("u1", "u2")] == [1, 4]


def test_tellings_have_one_order_whoever_tells_and_whatever_the_clock_says(worker, tmp_path):
    services = [worker("sqlite") for _ in range(3)]
    for n in range(9):
        services[n % 3].classed([telling(1, 1 + n % 4, since=1 + n, told=20 - n)])
    told = [one["moment"] for one in records(tmp_path / "served") if one["kind"] == "class"]
    assert len(set(told)) == 9
    for one in services:
        assert class_in(one).risk_class == 1
        assert one.engine.scorer.state.known("u9").classed_until == max(told)


def test_what_a_worker_told_before_it_died_is_brought_to_the_others(worker, opened, tmp_path):
    one = worker("sqlite")
    rescue = Rescue(opened("sqlite"), tmp_path / "served")
    dead = ServedLog(tmp_path / "served" / "9.log")
    dead.append(telling().record()).result()
    dead.close()
    assert class_in(one) is None
    rescue.bring()
    assert class_in(one).risk_class == 2


def test_while_the_feed_is_lost_classes_are_read_from_the_log(worker, redis_server):
    one, other = worker("redis"), worker("redis")
    redis_server.kill()
    assert one.classed([telling()]) == 1
    assert class_in(other).risk_class == 2


def test_a_feed_that_was_emptied_is_told_of_the_classes_again(worker, redis_server):
    one = worker("redis")
    one.classed([telling()])
    with redis.Redis.from_url(redis_server.address) as client:
        client.flushall()
    one.catch_up()
    assert class_in(one) == class_in(worker("redis")) == (2, None)


def test_after_a_restart_classes_are_known_again_and_a_feed_is_filled_with_them(
    service, engine, tmp_path, kind, opened
):
    service.classed([telling(1, 3, capacity=4), telling(2, 4)])
    service.classed([telling(1, 1, since=2)])
    service.close()
    again = Service(engine(), lambda: ServedLog(tmp_path / "served" / "2.log"))
    assert again.restore(records(tmp_path / "served", events_only=True)) == 0
    assert (class_in(again), class_in(again, "u2")) == ((1, 4), (4, None))
    until = service.engine.scorer.state.known("u1").classed_until
    assert again.engine.scorer.state.known("u1").classed_until == until
    again.close()
    feed = opened(kind)
    with filled(feed, tmp_path / "served"):
        assert sorted(one.risk_class for one in feed.since(START).events) == [1, 3, 4]


def test_a_class_is_known_only_when_it_is_on_the_disk(service, monkeypatch):
    monkeypatch.setattr(service.log, "_failed", OSError(errno.ENOSPC, "full"))
    with pytest.raises(OSError, match="full"):
        service.classed([telling()])
    assert class_in(service) is None


def test_what_is_told_again_or_held_before_is_logged_no_more(service):
    assert [service.classed([telling(since=5, told=9)]) for _ in range(3)] == [1, 0, 0]
    assert service.classed([telling(risk=1, since=4, told=10)]) == 0, "it held before"
    assert service.classed([telling(since=5, told=11, capacity=1), telling(2)]) == 2
    assert service.classed([telling(since=6, told=12)]) == 1, "it is told since a later time"
    kinds = [one["kind"] for one in read_segment(service.log.path).records]
    assert kinds == ["class"] * 4
    assert class_in(service) == (2, 1)


def test_another_bundle_and_whoever_looks_beside_know_the_classes(service, engine):
    service.classed([telling()])
    looked = engine("v3")
    service.inform(looked)
    assert looked.scorer.now("u1", LATER).classed == (2, None)
    service.overshadow(engine("v4"))
    service.try_out(engine("v5"), 0.5)
    service.swap(engine("v2"))
    service.classed([telling(2, 4)])
    for one in service.arms.engines():
        assert [one.scorer.now(user, LATER).classed[0] for user in ("u1", "u2")] == [2, 4]


def test_a_bundle_that_is_brought_up_hears_of_what_is_told_meanwhile(service, engine, monkeypatch):
    coming = engine("v2")
    real = coming.scorer.state.prices.lay_out

    def slow():
        if service.engine is not coming:
            monkeypatch.setattr(coming.scorer.state.prices, "lay_out", real)
            service.classed([telling()])
        real()

    monkeypatch.setattr(coming.scorer.state.prices, "lay_out", slow)
    service.swap(coming)
    assert service.engine is coming
    assert class_in(service) == (2, None)


@pytest.mark.parametrize("sealed", [False, True])
def test_whoever_is_erased_is_of_no_class_any_more_and_nothing_names_them(
    service, engine, tmp_path, sealed, caplog
):
    folder, out = tmp_path / "served", tmp_path / "out"
    service.engine.scorer.erased = Erased(folder)
    caplog.set_level("INFO")
    service.classed([telling(1, 3), telling(2, 4)])
    if sealed:
        service.close()
        seal_closed(folder, 10 * CUT * 1000)
        service = Service(engine(), lambda: ServedLog(folder / "2.log"))
        service.engine.scorer.erased = Erased(folder)
        service.restore(records(folder, events_only=True))
    assert erase(service, "u1", CUT + 5 * DAY) == 0
    assert (class_in(service), class_in(service, "u2")) == (None, (4, None))
    service.close()
    seal_closed(folder, 10 * CUT * 1000)
    mask_sealed(folder)
    again = Service(engine(), lambda: ServedLog(folder / "3.log"))
    again.restore(records(folder, events_only=True))
    assert (class_in(again), class_in(again, "u2")) == (None, (4, None))
    assert again.classed([telling(1, 1, since=6, told=6)]) == 1, "who comes back is told again"
    assert class_in(again) == (1, None)
    again.close()
    out.mkdir()
    write_log(folder, out)
    rows = pq.read_table(out / "users.parquet").to_pylist()
    assert [(row["user_id"], row["risk_class"]) for row in rows] == [("u1", 1), ("u2", 4)]
    told = json.dumps([one for one in records(folder) if one.get("valid_from", 0) < CUT + 5 * DAY])
    assert '"u1"' not in told
    assert '"u2"' in told
    assert "u1" not in caplog.text


def test_what_is_told_while_somebody_is_erased_is_forgotten(service, tmp_path, monkeypatch):
    erased = service.engine.scorer.erased = Erased(tmp_path / "served")
    real = type(service.log).append

    def late(self, *records):
        written = real(self, *records)
        if records[0]["kind"] == "class":
            erased.add("u1", CUT + 9 * DAY)
        return written

    monkeypatch.setattr(type(service.log), "append", late)
    service.classed([telling(1, 3), telling(2, 4)])
    assert (class_in(service), class_in(service, "u2")) == (None, (4, None))


@pytest.mark.parametrize("sealed", [False, True])
def test_the_next_run_reads_each_class_from_when_it_was_told(service, tmp_path, sealed):
    folder, out = tmp_path / "served", tmp_path / "out"
    service.classed([telling(1, 3, since=1, told=2, capacity=4)])
    service.classed([telling(1, 1, since=1.5, told=3), telling(2, 4, told=3)])
    # Told by a process that did not hear of the others.
    service.log.append(telling(1, 2, since=1.2, told=4).record()).result()
    service.close()
    if sealed:
        seal_closed(folder, 10 * CUT * 1000)
        assert not list(folder.glob("*.log"))
    out.mkdir()
    told = write_log(folder, out)
    assert told["users"]["rows"] == 3
    rows = pq.read_table(out / "users.parquet").to_pylist()
    days = [((row["valid_from"] - at(CUT)).days, (row["holds_from"] - at(CUT)).total_seconds()
             / 86_400, row["user_id"], row["risk_class"], row["capacity_class"])
            for row in rows]  # fmt: skip
    assert days == [(2, 1.0, "u1", 3, 4), (3, 1.5, "u1", 1, None), (3, 1.0, "u2", 4, None)]


@pytest.fixture
def app(service, keys, params):
    return make_app(service, Clock(source=lambda: CUT + 10 * DAY), Keys(keys), params)


def row(**change):
    return {"investor_id": "u1", "risk_class": 3, "valid_from": "2023-11-15T22:13:20Z"} | change


def test_classes_come_by_http_and_an_unknown_investor_is_known_by_them(client):
    assert client.get("/v1/investors/u1").status_code == 404
    body = {"investors": [row(), row(investor_id="u2", capacity_class=4)]}
    assert client.post("/v1/investors", json=body).json() == {"new": 2, "known": 0}
    assert client.post("/v1/investors", json=body).json() == {"new": 0, "known": 2}
    known = [client.get(f"/v1/investors/{user}").json() for user in ("u1", "u2")]
    assert [(one["risk_class"], one["level"], one["capacity_class"]) for one in known] == [
        (3, "balanced", None), (3, "balanced", 4)
    ]  # fmt: skip


def test_no_record_that_stays_names_who_was_erased(client, service):
    assert client.post("/v1/investors", json={"investors": [row()]}).json()["new"] == 1
    service.forget("u1")
    told, forgotten = read_segment(service.log.path).records
    assert forgotten == {"kind": "forget", "event_ids": [told["event_id"]]}
    assert "u1" not in told["event_id"]
    assert client.get("/v1/investors/u1").status_code == 404


def test_of_one_investor_several_versions_may_come_at_once_in_any_order(client):
    body = {"investors": [row(valid_from="2023-11-20T00:00:00Z", risk_class=1), row()]}
    assert client.post("/v1/investors", json=body).json() == {"new": 2, "known": 0}
    assert client.get("/v1/investors/u1").json()["risk_class"] == 1


BAD = [
    (row(risk_class=0), "risk_class", "greater than or equal to 1"),
    (row(risk_class=5), "risk_class", "less than or equal to 4"),
    (row(risk_class=True), "risk_class", "valid integer"),
    (row(risk_class=None), "risk_class", "valid integer"),
    (row(capacity_class=5), "capacity_class", "less than or equal to 4"),
    (row(valid_from="2023-11-25T00:00:00Z"), "valid_from", "is still to come"),
    (row(valid_from="2023-11-15T00:00:00"), "valid_from", "timezone"),
    (row(valid_from="1969-11-15T00:00:00Z"), "valid_from", "before 1970"),
    (row(investor_id="u7", valid_from="2023-11-14T22:13:20Z", risk_class=1), "valid_from",
     "the source of the bundle says another class"),
    (row(investor_id="session:x"), "investor_id", "begins the name of a session"),
    (row(investor_id="erased-x"), "investor_id", "somebody erased"),
    (row(segment="mass"), "segment", "Extra inputs"),
]  # fmt: skip


@pytest.mark.parametrize(("wrong", "field", "says"), BAD)
def test_a_wrong_class_is_one_line_that_names_its_field_and_nothing_is_taken_in(
    client, service, wrong, field, says
):
    answer = client.post("/v1/investors", json={"investors": [row(investor_id="u2"), wrong]})
    assert answer.status_code == 422
    told = answer.json()
    assert told["errors"][0]["field"] == f"investors.1.{field}"
    assert says in told["detail"]
    assert "\n" not in told["detail"]
    assert class_in(service, "u2") is None


def test_what_the_bundle_says_already_may_be_told(client):
    told = row(investor_id="u7", valid_from="2023-11-14T22:13:20Z", capacity_class=2)
    assert client.post("/v1/investors", json={"investors": [told]}).status_code == 200


def test_one_investor_and_time_stand_once_in_a_batch(client):
    answer = client.post("/v1/investors", json={"investors": [row(), row(risk_class=1)]})
    assert answer.json()["detail"] == "investors.1.valid_from is told twice of one investor"


def test_classes_that_cannot_be_logged_are_refused(client, service, monkeypatch):
    monkeypatch.setattr(service.log, "_failed", OSError(errno.ENOSPC, "full"))
    answer = client.post("/v1/investors", json={"investors": [row()]})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


def test_a_key_of_role_investors_tells_classes_and_nothing_else(client, keys):
    headers = {"authorization": f"Bearer {add_key(keys, 'other', 'investors')}"}
    answer = client.post("/v1/investors", json={"investors": [row()]}, headers=headers)
    assert answer.status_code == 200
    for path in ("/v1/version", "/v1/investors/u1"):
        assert client.get(path, headers=headers).status_code == 403
    assert client.delete("/v1/investors/u1", headers=headers).status_code == 403
    for path in ("/v1/events", "/v1/closes"):
        assert client.post(path, json={}, headers=headers).status_code == 403

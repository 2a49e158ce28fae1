"""Several processes know the same: over one feed, and without it by the log, which is the truth."""

from __future__ import annotations

import errno
import signal
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from tessera.serve.events import Event, Knowledge
from tessera.serve.feed import START
from tessera.serve.filled import Rescue, filled, give
from tessera.serve.host import intake
from tessera.serve.hours import open_segments, read_before
from tessera.serve.log import ServedLog, line, read_segment
from tessera.serve.service import Service
from tessera.serve.tail import Tail

NOW = 1_700_000_000_000_000


def event(n=1, item=None, user="u1", **more):
    return Event(**{"event_id": f"e{n}", "user_id": user, "item_id": item or f"i{n % 5}",
                    "action": "click", "moment": NOW + n % 3, **more})  # fmt: skip


def known(service, user="u1"):
    """What a request would know now."""
    service.catch_up()
    return {one.event_id for one in service.engine.scorer.state.known(user).events}


def state_of(service):
    state = service.engine.scorer.state
    return state.version, {f"u{n}": state.known(f"u{n}").events for n in range(5)}


def logged(folder):
    return [record for one in open_segments(folder) for record in one.records]


def test_the_very_next_request_of_any_worker_knows_an_event(worker, shared):
    workers = [worker(shared) for _ in range(3)]
    for n in range(30):
        workers[n % 3].happened([event(n)])
        other = workers[(n + 1) % 3]
        before = other.engine.scorer.state.version
        slate = other.recommend("r", "u1", NOW + 9, 3)
        assert other.engine.scorer.state.version == n + 1 > before
        assert slate.flags == ()
    late = worker(shared)
    assert known(late) == {f"e{n}" for n in range(30)}


def test_an_event_that_another_worker_knows_is_not_logged_again(worker, shared, tmp_path):
    one, other = worker(shared), worker(shared)
    assert one.happened([event(1), event(2)]).count("new") == 2
    assert other.happened([event(1, moment=NOW + 50), event(3)]).count("new") == 1
    events = [r for r in logged(tmp_path / "served") if r["kind"] == "event"]
    assert [one["event_id"] for one in events] == ["e1", "e2", "e3"]
    assert known(one) == known(other) == {"e1", "e2", "e3"}


def test_one_id_that_two_workers_take_at_once_is_one_event_and_the_log_says_which(
    worker, shared, tmp_path, engine
):
    one, other = worker(shared), worker(shared)
    race = one.log.append

    def slow(*records):
        other.happened([event(1, "i3", moment=NOW + 2)])
        return race(*records)

    one.log.append = slow
    one.happened([event(1, "i2", moment=NOW)])
    one.log.append = race
    assert [known(each) for each in (one, other)] == [{"e1"}] * 2
    again = Service(engine(), lambda: ServedLog(tmp_path / "again.log"))
    again.restore(logged(tmp_path / "served"))
    assert state_of(one) == state_of(other) == state_of(again)
    assert [e.item_id for e in one.engine.scorer.state.known("u1").events] == ["i2"]
    again.close()


@pytest.mark.parametrize("seed", range(6))
def test_the_log_alone_in_any_order_late_and_doubled_gives_the_same_state(
    seed, service, engine, tmp_path
):
    rng = np.random.default_rng(seed)
    records = [event(n, user=f"u{n % 5}", value=float(v)).record() for n in range(60)
               for v in range(1 + n % 2)]  # fmt: skip
    records.append({"kind": "forget", "event_ids": ["e7", "e8", "never"]})
    service.restore(records)
    order = np.concatenate([rng.permutation(len(records)), rng.integers(0, len(records), 30)])
    again = Service(engine(), lambda: ServedLog(tmp_path / "again.log"))
    for some in np.array_split(order, 7):
        again.restore(records[n] for n in some)
    assert state_of(again) == state_of(service)
    assert state_of(again)[0] == 58
    again.close()


def test_a_forgotten_investor_is_gone_everywhere_for_good(worker, shared, tmp_path):
    one, other = worker(shared), worker(shared)
    one.happened([event(n, user=f"u{n % 2}") for n in range(6)])
    assert known(other) == {"e1", "e3", "e5"}
    assert one.forget("u1") == 3
    for each in (other, one, worker(shared)):
        assert known(each) == set()
        assert known(each, "u0") == {"e0", "e2", "e4"}
    assert other.happened([event(3), event(9)]).count("new") == 1
    assert known(one) == {"e9"}
    assert set(Knowledge.of(logged(tmp_path / "served")).events) == {"e0", "e2", "e4", "e9"}


def test_what_cannot_be_logged_is_not_forgotten(worker, shared, monkeypatch):
    one = worker(shared)
    one.happened([event(1)])
    monkeypatch.setattr(one.log, "_failed", OSError(errno.ENOSPC, "full"))
    with pytest.raises(OSError, match="full"):
        one.forget("u1")
    assert known(one) == {"e1"}


def test_a_killed_redis_degrades_answers_loses_nothing_and_all_recover_by_themselves(
    worker, redis_server, caplog, until
):
    one, other = worker("redis"), worker("redis")
    one.happened([event(1)])
    redis_server.kill()
    assert one.happened([event(2)]).count("new") == 1
    assert one.happened([event(2)]).count("new") == 0
    assert one.recommend("r", "u1", NOW + 9, 3).flags == ("degraded",)
    assert known(one) == {"e1", "e2"}
    assert known(other) == {"e1", "e2"}, "the log tells those on the same machine"
    assert "the feed is lost" in caplog.text
    redis_server.start()
    until(lambda: not one.recommend("r", "u1", NOW + 9, 3).flags)
    until(lambda: not other.recommend("r", "u1", NOW + 9, 3).flags)
    other.happened([event(3)])
    for each in (one, other, worker("redis")):
        assert known(each) == {"e1", "e2", "e3"}


def test_a_redis_that_comes_back_empty_is_filled_from_what_was_logged(
    worker, redis_server, tmp_path, opened
):
    one, other = worker("redis"), worker("redis")
    one.happened([event(n, user=f"u{n % 2}") for n in range(6)])
    one.forget("u0")
    redis_server.kill()
    for path in (tmp_path / "redis").rglob("*.aof"):
        path.unlink()
    for path in (tmp_path / "redis").rglob("*.manifest"):
        path.unlink()
    redis_server.start(keeps=False)
    assert not opened("redis").since(START).events
    assert known(other) == {"e1", "e3", "e5"}, "its request is the first that finds it empty"
    assert other.happened([event(0, user="u0")]).count("new") == 0
    assert known(one, "u0") == set()
    assert known(worker("redis")) == {"e1", "e3", "e5"}


def test_a_redis_that_lost_only_the_end_is_found_out(worker, redis_server, opened):
    """Who read further than what is left must not take the next events for known."""
    one, other = worker("redis"), worker("redis")
    one.happened([event(n) for n in range(4)])
    assert len(known(other)) == 4
    server = opened("redis")
    server._redis.rpop(server._keys[0])
    server._redis.hdel(server._keys[1], "e3")
    redis_server.kill()
    redis_server.start()
    one.happened([event(8)])
    for each in (other, one, worker("redis")):
        assert known(each) == {"e0", "e1", "e2", "e3", "e8"}


def test_a_redis_that_hangs_holds_up_one_request_and_no_more(worker, redis_server, until):
    one = worker("redis")
    redis_server.process.send_signal(signal.SIGSTOP)
    try:
        assert one.recommend("r", "u1", NOW, 3).flags == ("degraded",)
        asked = []
        one._following._feed.since = lambda *_: asked.append(1)
        for n in range(5):
            assert one.recommend("r", "u1", NOW + n, 3).flags == ("degraded",)
        one.happened([event(1)])
        del one._following._feed.since
        assert len(asked) <= 1, "only the thread that looks for it asks"
    finally:
        redis_server.process.send_signal(signal.SIGCONT)
    until(lambda: not one.recommend("r", "u1", NOW + 9, 3).flags)
    assert known(worker("redis")) == {"e1"}


def test_a_feed_file_that_is_removed_or_damaged_is_made_again(worker, tmp_path, until):
    one, other = worker("sqlite"), worker("sqlite")
    one.happened([event(1)])
    for path in tmp_path.glob("feed.sqlite*"):
        path.unlink()
    other.happened([event(2)])
    assert known(one) == known(other) == {"e1", "e2"}
    (tmp_path / "feed.sqlite").write_bytes(b"no database at all" * 100)
    one.happened([event(3)])
    until(lambda: not one.recommend("r", "u1", NOW + 9, 3).flags)
    until(lambda: known(other) == {"e1", "e2", "e3"})
    with sqlite3.connect(tmp_path / "feed.sqlite") as file:
        assert file.execute("SELECT count(*) FROM event").fetchone() == (3,)
    file.close()


def test_a_start_drops_what_only_the_feed_holds_unless_another_service_uses_it(
    tmp_path, opened, shared
):
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "1.log").write_bytes(line(event(1).record()))
    feed = opened(shared)
    feed.add([event(9)])
    with filled(feed, folder):
        assert feed.since(START).events == (event(1),)
        feed.add([event(2)])
        with filled(opened(shared), folder):
            assert {one.event_id for one in feed.since(START).events} == {"e1", "e2"}
    with filled(feed, folder):
        assert feed.since(START).events == (event(1),)


def test_what_a_worker_logged_before_it_died_and_told_nobody_is_brought(
    worker, tmp_path, opened, shared
):
    folder = tmp_path / "served"
    living, feed = worker(shared), opened(shared)
    rescue = Rescue(feed, folder)
    living.happened([event(1)])
    dead = ServedLog(folder / "9.log")
    dead.append(event(2).record(), event(3).record()).result(5)
    rescue.bring()
    assert known(living) == {"e1"}, "one that is still written is the business of its worker"
    dead.close()
    with (folder / "9.log").open("ab") as file:
        file.write(line(event(4).record())[:-9])
    rescue.bring()
    assert known(living) == {"e1", "e2", "e3"}


def test_a_start_beside_a_service_that_runs_leaves_its_segment_alone(service, tmp_path):
    path = service.log.path
    service.happened([event(1)])
    whole = path.read_bytes()
    with path.open("ab") as file:
        file.write(b"half a line")
    before = read_before(path.parent)
    assert ([one["event_id"] for one in before.records], before.torn) == (["e1"], 0)
    assert path.read_bytes() == whole + b"half a line"
    service.close()
    assert read_before(path.parent).torn == 11
    assert path.read_bytes() == whole


def test_no_segment_is_seen_before_it_is_locked(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr("tessera.serve.log.fcntl.flock", lambda *_: seen.append(
        [path.name for path in tmp_path.glob("*.log")]))  # fmt: skip
    log = ServedLog(tmp_path / "1.log")
    assert seen == [[]]
    assert [path.name for path in tmp_path.iterdir()] == ["1.log"]
    log.close()


def test_a_tail_reads_each_record_of_events_once_and_waits_for_the_end_of_a_line(tmp_path):
    path, lines = tmp_path / "1.log", [line(event(n).record()) for n in range(4)]
    slate = line({"kind": "slate", "request_id": "r"})
    path.write_bytes(lines[0] + slate + lines[1][:7])
    tail, late = Tail(tmp_path), Tail(tmp_path)
    late.skip()

    def names(one):
        return [record["event_id"] for record in one.news()]

    assert (names(tail), names(late)) == (["e0"], [])
    path.write_bytes(lines[0] + slate + lines[1] + lines[2])
    (tmp_path / "2.log").write_bytes(lines[3])
    assert names(tail) == ["e1", "e2", "e3"]
    assert names(late) == ["e2", "e3"], "the line that was being written is its writer's business"
    assert (names(tail), names(late)) == ([], [])
    path.unlink()
    assert names(tail) == []


def test_events_are_given_with_what_is_forgotten(kind, opened):
    feed = opened(kind)
    give(feed, Knowledge({"e1": event(1)}, {"e2"}))
    assert feed.add([event(2)]) == frozenset()
    assert feed.since(START).events == (event(1),)


def test_a_bundle_that_is_swapped_in_while_somebody_is_forgotten_does_not_know_him(
    worker, shared, engine, monkeypatch
):
    one, other = worker(shared), engine("v2")
    one.happened([event(1), event(2, user="u2")])
    add, forgets = other.scorer.state.add, iter(["u1"])

    def slow_add(*row):
        for user in forgets:
            one.forget(user)
        return add(*row)

    monkeypatch.setattr(other.scorer.state, "add", slow_add)
    one.swap(other)
    assert known(one) == set()
    assert known(one, "u2") == {"e2"}


def test_a_process_that_starts_while_the_feed_is_lost_knows_what_was_logged(
    worker, redis_server, tmp_path, opened
):
    worker("redis").happened([event(1), event(2)])
    redis_server.kill()
    late = intake(tmp_path / "served", opened("redis"))
    assert not late.catch_up()
    with late.following() as following:
        assert set(following.known.events) == {"e1", "e2"}
    late.close()


def test_slates_are_logged_while_the_feed_is_lost(worker, redis_server):
    one = worker("redis")
    redis_server.kill()
    slate = one.recommend("r1", "u1", NOW, 3)
    assert slate.policy_id == "v1", "a slate that is logged may be drawn"
    (record,) = read_segment(one.log.path).records
    assert record["request_id"] == "r1"


def test_a_segment_that_goes_while_the_log_is_read_ends_nothing(tmp_path, monkeypatch):
    for n in range(1, 4):
        (tmp_path / f"{n}.log").write_bytes(line(event(n).record()))
    tail = Tail(tmp_path)
    news = tail.news()
    found = [next(news)["event_id"]]
    (tmp_path / "2.log").unlink()
    assert [*found, *(one["event_id"] for one in news)] == ["e1", "e3"]
    gone = [tmp_path / "1.log", tmp_path / "2.log"]
    monkeypatch.setattr(Path, "glob", lambda *_: gone)
    late = Tail(tmp_path)
    late.skip()
    assert not list(late.news())

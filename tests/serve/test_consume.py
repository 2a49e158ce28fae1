"""What a stream delivers at least once counts once; what is no event goes aside with its reason."""

from __future__ import annotations

import errno
import json
import os
import threading
import time
import tracemalloc
from collections import Counter

import pytest
import redis

from tessera.contracts.components import names
from tessera.contracts.errors import BadParams
from tessera.serve.clock import Clock
from tessera.serve.consume import MOST_BYTES, StreamLost, consume, open_stream, shared_kind
from tessera.serve.events import Event, Knowledge
from tessera.serve.feed import START, open_feed
from tessera.serve.filled import filled
from tessera.serve.following import Following
from tessera.serve.host import intake
from tessera.serve.hours import open_segments
from tessera.serve.intake import Intake
from tessera.serve.log import ServedLog
from tessera.serve.streams.file import send

NAME = "tessera-events"


def body(n, **more):
    return json.dumps({"event_id": f"e{n}", "investor_id": "u1", "item_id": "i1",
                       "action": "click", **more})  # fmt: skip


class RedisSource:
    """A stream in Redis, as its sender and whoever looks after it see it."""

    name = NAME

    def __init__(self, server, client):
        self.server, self.client = server, client

    def send(self, *bodies):
        return [self.client.xadd(NAME, {"event": one}).decode() for one in bodies]

    def send_none(self):
        """Send what holds no event at all."""
        return self.client.xadd(NAME, {"something": "else"}).decode()

    def came(self, place):
        return int(place.split("-")[0]) * 1000

    def undone(self):
        return self.client.xpending(NAME, "tessera")["pending"]

    def asides(self):
        rows = [fields for _, fields in self.client.xrange(f"{NAME}:aside")]
        return [(row[b"id"].decode(), row[b"event"], row[b"reason"].decode()) for row in rows]

    def lose(self):
        self.server.kill()

    def bring_back(self):
        self.server.start()


class FileSource:
    """A folder of partitions."""

    def __init__(self, folder):
        self.folder, self.name, self._turn = folder, f"file:{folder}", 0
        folder.mkdir()
        for partition in "abc":
            (folder / f"{partition}.log").touch()

    def send(self, *bodies):
        return [self._send(one) for one in bodies]

    def _send(self, body):
        partition, self._turn = "abc"[self._turn % 3], self._turn + 1
        path = self.folder / f"{partition}.log"
        place = f"{partition}@{path.stat().st_size}"
        send(self.folder, partition, body.encode() if isinstance(body, str) else body)
        return place

    def send_none(self):
        with (self.folder / "a.log").open("ab") as file:
            file.write(b"something else\n")
        return f"a@{(self.folder / 'a.log').stat().st_size - 15}"

    def came(self, place):
        partition, start = place.split("@")
        return int((self.folder / f"{partition}.log").read_bytes()[int(start) :].split(b"\t")[0])

    def undone(self):
        found = 0
        for path in self.folder.glob("*.log"):
            offset = self.folder / ".tessera" / f"{path.stem}.offset"
            done = int(offset.read_text()) if offset.exists() else 0
            found += path.read_bytes()[done:].count(b"\n")
        return found

    def asides(self):
        path = self.folder / ".tessera" / "aside.jsonl"
        rows = [json.loads(one) for one in path.read_text().splitlines()]
        return [(row["place"], row["body"].encode(errors="surrogateescape"), row["reason"])
                for row in rows]  # fmt: skip

    def lose(self):
        self.folder.rename(self.folder.with_name("away"))

    def bring_back(self):
        self.folder.with_name("away").rename(self.folder)


@pytest.fixture(params=["redis", "file"])
def source(request, tmp_path):
    """Every kind of stream."""
    if request.param == "file":
        yield FileSource(tmp_path / "stream")
        return
    server = request.getfixturevalue("redis_server")
    with redis.Redis.from_url(server.address) as client:
        yield RedisSource(server, client)


@pytest.fixture
def opened(source):
    """Open the stream as a consumer."""
    found = []

    def open_one(consumer="1"):
        found.append(open_stream(source.name, consumer))
        return found[-1]

    yield open_one
    for one in found:
        one.close()


@pytest.fixture
def folder(tmp_path):
    found = tmp_path / "served"
    found.mkdir()
    return found


class Consumer:
    """One that runs in a thread."""

    def __init__(self, folder, stream, ahead_us=0, kind="sqlite", name="1"):
        self.counts, self._stopped = Counter(), threading.Event()
        self.intake = intake(folder, open_feed(kind, folder))
        self.stream = open_stream(stream, name)
        self.failed = None
        self._thread = threading.Thread(target=self._run, args=(Clock(ahead_us),))
        self._thread.start()

    def _run(self, clock):
        try:
            consume(self.stream, self.intake, clock, self._stopped, self.counts)
        except OSError as error:
            self.failed = error

    def until(self, count):
        end = time.monotonic() + 60
        while sum(self.counts.values()) < count and not self.failed:
            assert time.monotonic() < end, self.counts
            time.sleep(0.02)

    def stop(self):
        self._stopped.set()
        self._thread.join()
        self.stream.close()
        self.intake.close()


@pytest.fixture
def consumer(folder, source):
    started = []

    def start(**how):
        started.append(Consumer(folder, source.name, **how))
        return started[-1]

    yield start
    for one in started:
        one.stop()


def logged(folder):
    return Knowledge.of(record for one in open_segments(folder) for record in one.records)


def read_all(stream):
    """Read until nothing more comes than what came."""
    found = {}
    while some := {one.place: one for one in stream.read(30, 0.0) if one.place not in found}:
        found |= some
    return list(found.values())


def test_every_kind_of_stream_is_held_to_the_law():
    assert names("tessera.serve.streams") == ["file", "redis"]


def test_what_is_done_is_delivered_no_more(source, opened):
    places = source.send(*(body(n) for n in range(7)))
    one = opened()
    found = read_all(one)
    assert sorted(message.place for message in found) == sorted(places)
    assert {message.body.decode() for message in found} == {body(n) for n in range(7)}
    assert [each.moment for each in found] == [source.came(each.place) for each in found]
    one.done(found[:3])
    one.done(found[3:])
    one.close()
    assert source.undone() == 0
    assert read_all(opened()) == []
    source.send(body(7))
    assert [message.body.decode() for message in read_all(opened("2"))] in ([body(7)], [])


def test_what_is_not_done_comes_again_the_same_when_the_consumer_is_back(source, opened):
    source.send(*(body(n) for n in range(9)))
    one = opened()
    found = read_all(one)
    done = found[:2] + found[5:6]
    one.done(done)
    one.close()
    again = read_all(opened())
    assert {message.place for message in found} - {message.place for message in done} <= {
        message.place for message in again
    }
    assert set(again) <= set(found), "body and time are those of the first delivery"
    assert not set(again) & set(found[:2]), "of what is done first nothing comes again"


def test_consumers_share_what_comes_and_nobody_gets_what_another_has_done(source, opened):
    source.send(*(body(n) for n in range(20)))
    streams, found = [opened("1")], []

    def round_of(times=12):
        for _ in range(times):
            for one in streams:
                some = one.read(2, 0.0)
                one.done(some)
                found.append([message.place for message in some])

    round_of(3)
    streams.append(opened("2"))
    source.send(*(body(n) for n in range(20, 40)))
    round_of()
    streams.pop(0).close()
    source.send(*(body(n) for n in range(40, 50)))
    round_of()
    places = [place for some in found for place in some]
    assert len(places) == len(set(places)) == 50
    assert source.undone() == 0


def test_what_a_consumer_left_is_taken_over_by_another(source, opened, monkeypatch):
    source.send(*(body(n) for n in range(5)))
    gone = opened("gone")
    found = read_all(gone)
    gone.done(found[:1])
    gone.close()
    monkeypatch.setattr("tessera.serve.streams.redis._LEFT_MS", 1)
    time.sleep(0.05)  # until Redis takes it for gone
    other = opened("2")
    assert {one.place for one in other.read(9, 0.0)} == {one.place for one in found[1:]}


def test_a_reader_waits_for_what_comes(source, opened):
    one, answer = opened(), []
    assert list(one.read(3, 0.0)) == []
    thread = threading.Thread(target=lambda: answer.extend(one.read(3, 30.0)))
    thread.start()
    thread.join(0.2)
    assert thread.is_alive()
    source.send(body(1))
    thread.join()
    assert [message.body.decode() for message in answer] == [body(1)]


def test_events_of_a_stream_are_logged_and_reach_the_feed(consumer, source, folder):
    source.send(*(body(n, value=n + 0.5, channel="é") for n in range(5)))
    one = consumer()
    one.until(5)
    source.send(body(3, value=9.0), body(5))
    one.until(7)
    assert one.counts == {"new": 6, "known": 0, "conflict": 1}
    feed = open_feed("sqlite", folder)
    found = sorted(feed.since(START).events, key=lambda e: e.event_id)
    assert [(e.event_id, e.value) for e in found] == [
        ("e0", 0.5), ("e1", 1.5), ("e2", 2.5), ("e3", 3.5), ("e4", 4.5), ("e5", 0.0),
    ]  # fmt: skip
    assert logged(folder).events == {e.event_id: e for e in found}
    assert source.undone() == 0
    feed.close()


BAD = [
    (b"{", "Invalid JSON"),
    (b"\xff\xfe", "Invalid JSON"),
    (b"", "Invalid JSON"),
    (body(1, action="eat"), "action: Input should be 'view'"),
    (body(1, mood="good"), "mood: Extra inputs"),
    (body(1, value=-1), "value: Input should be greater"),
    (body(1, time="2999-01-01T00:00:00Z"), "time is still to come"),
    (body(1, time="0001-01-01T00:00:00+14:00"), "time lies before 1970"),
    (body(1, channel="x" * MOST_BYTES), "bytes, 65536 at most"),
]


def test_what_is_no_event_goes_aside_with_its_reason_and_holds_up_nothing(consumer, source):
    places = source.send(*(one for one, _ in BAD))
    places.append(source.send_none())
    source.send(body(7))
    one = consumer()
    one.until(len(places) + 1)
    assert one.counts == {"new": 1, "known": 0, "conflict": 0, "aside": len(places)}
    rows = {place: told for place, *told in source.asides()}
    assert sorted(rows) == sorted(places)
    for place, (sent, reason) in zip(places, BAD, strict=False):
        assert rows[place][0] == (sent.encode() if isinstance(sent, str) else sent)
        assert reason in rows[place][1]
    assert "Invalid JSON" in rows[places[-1]][1]
    assert source.undone() == 0


def test_an_event_without_a_time_is_of_when_it_came_at_every_delivery(consumer, source, folder):
    (place,) = source.send(body(1))
    consumer(ahead_us=-5_000_000).until(1)
    assert logged(folder).events["e1"].moment == source.came(place) - 5_000_000


def test_what_cannot_be_logged_is_not_done(consumer, source, monkeypatch, folder):
    one = consumer()
    monkeypatch.setattr(one.intake.log, "_failed", OSError(errno.ENOSPC, "full"))
    source.send(body(1))
    one.until(1)
    assert "full" in str(one.failed)
    assert source.undone() == 1
    one.stream.close()
    two = consumer()
    two.until(1)
    assert set(logged(folder).events) == {"e1"}


def _consume(told, folder, log, kind, stream):
    feed = open_feed(kind, folder)
    with filled(feed, folder):  # as the command does: who was killed may have logged and not told
        into = Intake(lambda: ServedLog(folder / log), Following(feed))
        print("begun", file=told)
        consume(open_stream(stream, "1"), into, Clock(), threading.Event(), Counter())


def test_kills_of_consumer_and_server_lose_nothing_and_double_nothing(
    source, folder, consumer, rng, forked
):
    sent, feed = 0, "redis" if isinstance(source, RedisSource) else "sqlite"
    for kill in range(4):
        with forked(_consume, folder, f"{kill}.log", feed, source.name) as process:
            assert process.told.readline() == "begun\n"
            for _ in range(300):
                source.send(body(sent))
                sent += 1
                if sent == 500:
                    source.lose()
                    source.bring_back()
            time.sleep(rng.random() / 20)
    told = open_feed(feed, folder)
    with filled(told, folder):
        consumer(kind=feed)
        end = time.monotonic() + 60
        while len(logged(folder).events) < sent:
            assert time.monotonic() < end
            time.sleep(0.05)
        assert set(logged(folder).events) == {f"e{n}" for n in range(sent)}
        while len(found := told.since(START).events) < sent:  # the feed comes behind the log
            assert time.monotonic() < end
            time.sleep(0.05)
        assert sorted(e.event_id for e in found) == sorted(logged(folder).events)
    told.close()


@pytest.mark.parametrize("kind", ["redis", "sqlite"])
def test_what_a_consumer_logged_and_told_nobody_is_told_when_it_is_back(
    kind, folder, redis_server, monkeypatch
):
    feed = open_feed(kind, folder)
    killed = Intake(lambda: ServedLog(folder / "1.log"), Following(feed))
    monkeypatch.setattr(killed, "_following", Following(open_feed("memory", folder)))
    killed.happened([Event("e1", "u1", "i1", "click", 1)])
    assert not feed.since(START).events
    with filled(feed, folder):
        assert [one.event_id for one in feed.since(START).events] == ["e1"]
    killed.close()
    feed.close()


def test_a_stream_that_is_lost_is_looked_for_and_said_once(consumer, source, monkeypatch, caplog):
    monkeypatch.setattr("tessera.serve.consume._PATIENCE_S", 0.05)
    source.send(body(1))
    one = consumer()
    one.until(1)
    source.lose()
    time.sleep(0.5)
    source.bring_back()
    source.send(body(2))
    one.until(2)
    assert one.counts["new"] == 2
    assert caplog.text.count("the stream is lost") == 1


def test_a_feed_that_a_service_does_not_hear_is_refused():
    for state in ("auto", "memory"):
        with pytest.raises(BadParams, match=f"serve.feed is {state}, by which a service does not"):
            shared_kind(state)
    assert [shared_kind(state) for state in ("sqlite", "redis")] == ["sqlite", "redis"]


@pytest.fixture
def files(tmp_path):
    return FileSource(tmp_path / "stream")


def test_a_partition_that_went_to_another_consumer_is_not_committed_by_the_old_one(files):
    files.send(*(body(n) for n in range(6)))
    old = open_stream(files.name, "1")
    found = read_all(old)
    other = open_stream(files.name, "2")
    assert read_all(other) == [], "they are read by the old one still"
    assert read_all(old) == []
    again = read_all(other)
    assert {one.place for one in again} == {one.place for one in found if one.place[0] == "b"}
    old.done(found)
    old.done(found)
    other.close()
    assert {one.place for one in read_all(old)} == {one.place for one in again}
    old.close()


def test_a_line_that_is_being_written_is_no_message_yet(files):
    stream, path = open_stream(files.name, "1"), files.folder / "a.log"
    with path.open("ab", buffering=0) as file:
        file.write(b"17\thalf ")
        assert read_all(stream) == []
        file.write(b"and half\n")
    assert [(one.body, one.moment) for one in read_all(stream)] == [(b"half and half", 17)]
    stream.close()


def test_of_a_line_without_an_end_only_the_beginning_is_kept_in_memory(files):
    stream, path, most = open_stream(files.name, "1"), files.folder / "a.log", []
    with path.open("ab", buffering=0) as file:
        file.write(b"17\t" + b"x" * 50 * MOST_BYTES)
        tracemalloc.start()
        assert read_all(stream) == []
        most.append(tracemalloc.get_traced_memory()[1])
        file.write(b"\n18\tnext\n")
        long, following = read_all(stream)
        most.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert MOST_BYTES < len(long.body) < 3 * MOST_BYTES
    assert (following.body, following.moment) == (b"next", 18)
    assert max(most) < 10 * MOST_BYTES
    stream.done([long, following])
    assert files.undone() == 0
    stream.close()


@pytest.mark.parametrize(
    ("came", "reason"),
    [
        (b"9" * 5000, "Invalid JSON"),
        (b"9" * 19, "Invalid JSON"),
        (b"9" * 18, "the time at which it came to the stream is still to come"),
    ],
)
def test_a_moment_that_is_none_holds_up_nothing(files, folder, came, reason):
    with (files.folder / "a.log").open("ab") as file:
        file.write(came + b"\t" + body(1).encode() + b"\n")
    files.send(body(2))
    counts = consumed_once(files, folder)
    assert counts == {"new": 1, "known": 0, "conflict": 0, "aside": 1}
    assert reason in files.asides()[0][2]


def test_what_was_done_long_before_it_came_goes_aside(files, folder):
    files.send(body(1, time="2020-01-01T00:00:00Z"), body(2))
    counts = consumed_once(files, folder, late_days=30)
    assert counts == {"new": 1, "known": 0, "conflict": 0, "aside": 1}
    assert files.asides()[0][2] == "time lies more than 30 days back (serve.late_days)"


def consumed_once(files, folder, **more):
    """Take in what a folder of partitions holds, and count it."""
    stream, feed = open_stream(files.name, "1"), open_feed("sqlite", folder)
    taker, counts, stopped = intake(folder, feed), Counter(), threading.Event()
    timer = threading.Timer(30, stopped.set)
    timer.start()
    monkey = stream.done
    stream.done = lambda messages: (monkey(messages), stopped.set())
    consume(stream, taker, Clock(), stopped, counts, **more)
    timer.cancel()
    stream.close()
    taker.close()
    return counts


def test_a_partition_that_was_cut_and_a_consumer_of_the_same_name_are_said(files):
    files.send(*(body(n) for n in range(6)))
    stream = open_stream(files.name, "1")
    stream.done(read_all(stream))
    double = open_stream(files.name, "1")
    with pytest.raises(StreamLost, match="another consumer 1 lives: give each a name"):
        double.read(1, 0.0)
    (files.folder / "b.log").write_bytes(b"")
    with pytest.raises(StreamLost, match="b.log was cut below what is done: bring it back"):
        stream.read(1, 0.0)
    stream.close()


def test_offsets_are_on_the_disk_before_anybody_relies_on_them(files, monkeypatch):
    files.send(body(1))
    stream = open_stream(files.name, "1")
    found = read_all(stream)
    synced = []
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(os.fstat(handle).st_ino))
    stream.done(found)
    offset = files.folder / ".tessera" / "a.offset"
    assert synced == [offset.stat().st_ino, offset.parent.stat().st_ino]
    stream.close()


def test_a_stream_whose_name_begins_with_a_kind_is_of_that_kind(redis_server, tmp_path):
    for name, kind in ((f"file:{tmp_path}", "FileStream"), ("redis:orders", "RedisStream"),
                       ("orders:new", "RedisStream"), ("orders", "RedisStream")):  # fmt: skip
        stream = open_stream(name, "1")
        assert type(stream).__name__ == kind
        stream.close()

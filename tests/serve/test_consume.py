"""What a stream delivers at least once counts once; what is no event goes aside with its reason."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter

import pytest
import redis

from tessera.contracts.components import names
from tessera.contracts.errors import BadParams
from tessera.serve.clock import Clock
from tessera.serve.consume import MOST_BYTES, consume, open_stream, shared_kind
from tessera.serve.events import Knowledge
from tessera.serve.feed import START, open_feed
from tessera.serve.host import intake
from tessera.serve.hours import open_segments

NAME = "tessera-events"


def body(n, **more):
    return json.dumps({"event_id": f"e{n}", "investor_id": "u1", "item_id": "i1",
                       "action": "click", **more})  # fmt: skip


@pytest.fixture
def sender(redis_server):
    with redis.Redis.from_url(redis_server.address) as found:
        yield found


@pytest.fixture
def folder(tmp_path):
    found = tmp_path / "served"
    found.mkdir()
    return found


def send(sender, *bodies):
    return [sender.xadd(NAME, {"event": one}) for one in bodies]


class Consumer:
    """One that runs in a thread."""

    def __init__(self, folder, ahead_us=0, kind="sqlite"):
        self.counts, self._stopped = Counter(), threading.Event()
        self.intake = intake(folder, open_feed(kind, folder))
        self.stream = open_stream("redis", NAME, "1")
        self.failed = None
        self._thread = threading.Thread(target=self._run, args=(Clock(ahead_us),))
        self._thread.start()

    def _run(self, clock):
        try:
            consume(self.stream, self.intake, clock, self._stopped, self.counts)
        except OSError as error:
            self.failed = error

    def took(self, count):
        """Whether so many messages were taken from the stream, or none will be any more."""
        return self.failed or sum(self.counts.values()) >= count

    def stop(self):
        self._stopped.set()
        self._thread.join()
        self.stream.close()
        self.intake.close()


@pytest.fixture
def consumer(folder, redis_server):
    started = []

    def start(**how):
        started.append(Consumer(folder, **how))
        return started[-1]

    yield start
    for one in started:
        one.stop()


def logged(folder):
    return Knowledge.of(record for one in open_segments(folder) for record in one.records)


def test_every_kind_of_stream_is_here():
    assert names("tessera.serve.streams") == ["redis"]


def test_events_of_a_stream_are_logged_and_reach_the_feed(consumer, sender, folder, until):
    send(sender, *(body(n, value=n + 0.5, channel="é") for n in range(5)))
    one = consumer()
    until(lambda: one.took(5))
    send(sender, body(3, value=9.0), body(5))
    until(lambda: one.took(7))
    assert one.counts == {"new": 6, "known": 1}
    feed = open_feed("sqlite", folder)
    found = feed.since(START).events
    assert [(e.event_id, e.value) for e in found] == [
        ("e0", 0.5), ("e1", 1.5), ("e2", 2.5), ("e3", 3.5), ("e4", 4.5), ("e5", 0.0),
    ]  # fmt: skip
    assert logged(folder).events == {e.event_id: e for e in found}
    assert sender.xpending(NAME, "tessera")["pending"] == 0
    feed.close()


BAD = [
    (b"{", "Invalid JSON"),
    (b"\xff\xfe", "Invalid JSON"),
    (b"", "Invalid JSON"),
    (body(1, action="eat"), "action: Input should be 'view'"),
    (body(1, mood="good"), "mood: Extra inputs"),
    (body(1, value=-1), "value: Input should be greater"),
    (body(1, time="2999-01-01T00:00:00Z"), "time is still to come"),
    (body(1, channel="x" * MOST_BYTES), "bytes, 65536 at most"),
]


def test_what_is_no_event_goes_aside_with_its_reason_and_holds_up_nothing(consumer, sender, until):
    places = send(sender, *(one for one, _ in BAD))
    places.append(sender.xadd(NAME, {"something": "else"}))
    send(sender, body(7))
    one = consumer()
    until(lambda: one.took(len(places) + 1))
    assert one.counts == {"new": 1, "known": 0, "aside": len(places)}
    rows = [fields for _, fields in sender.xrange(f"{NAME}:aside")]
    assert [row[b"id"] for row in rows] == places
    for row, (sent, reason) in zip(rows, BAD, strict=False):
        assert row[b"event"] == (sent.encode() if isinstance(sent, str) else sent)
        assert reason in row[b"reason"].decode()
    assert sender.xpending(NAME, "tessera")["pending"] == 0


def test_an_event_without_a_time_is_of_when_it_came_at_every_delivery(
    consumer, sender, folder, until
):
    (place,) = send(sender, body(1))
    one = consumer(ahead_us=-5_000_000)
    until(lambda: one.took(1))
    came = int(place.split(b"-")[0]) * 1000
    assert logged(folder).events["e1"].moment == came - 5_000_000


def test_messages_that_a_consumer_left_are_delivered_again(consumer, sender, until):
    send(sender, body(1), body(2))
    sender.xgroup_create(NAME, "tessera", id="0")
    sender.xreadgroup("tessera", "1", {NAME: ">"})  # and then it died
    one = consumer()
    until(lambda: one.took(2))
    assert one.counts["new"] == 2


def test_messages_that_another_consumer_left_are_taken_over(consumer, sender, monkeypatch, until):
    monkeypatch.setattr("tessera.serve.streams.redis._LEFT_MS", 50)
    send(sender, body(1), body(2))
    sender.xgroup_create(NAME, "tessera", id="0")
    sender.xreadgroup("tessera", "gone", {NAME: ">"})
    one = consumer()
    until(lambda: one.took(2))
    assert sender.xpending(NAME, "tessera")["pending"] == 0


def test_what_cannot_be_logged_is_not_done(consumer, sender, monkeypatch, folder, until):
    one = consumer()
    monkeypatch.setattr(one.intake.log, "_failed", OSError(errno.ENOSPC, "full"))
    send(sender, body(1))
    until(lambda: one.took(1))
    assert "full" in str(one.failed)
    assert sender.xpending(NAME, "tessera")["pending"] == 1
    two = consumer()
    until(lambda: two.took(1))
    assert set(logged(folder).events) == {"e1"}


CONSUMER = """
import sys, threading
from collections import Counter
from pathlib import Path
from tessera.serve.clock import Clock
from tessera.serve.consume import consume, open_stream
from tessera.serve.feed import open_feed
from tessera.serve.intake import Intake
from tessera.serve.following import Following
from tessera.serve.log import ServedLog
folder = Path(sys.argv[1])
into = Intake(lambda: ServedLog(folder / sys.argv[2]), Following(open_feed(sys.argv[3], folder)))
print("begun", flush=True)
consume(open_stream("redis", "tessera-events", "1"), into, Clock(), threading.Event(), Counter())
"""


def test_kills_of_consumer_and_redis_lose_nothing_and_double_nothing(
    sender, redis_server, folder, consumer, rng, until
):
    sent = 0
    for kill in range(4):
        words = [sys.executable, "-c", CONSUMER, str(folder), f"{kill}.log", "redis"]
        with subprocess.Popen(words, stdout=subprocess.PIPE, env=os.environ) as process:
            try:
                assert process.stdout.readline() == b"begun\n"
                for _ in range(300):
                    send(sender, body(sent))
                    sent += 1
                    if sent == 500:
                        redis_server.kill()
                        redis_server.start()
                time.sleep(rng.random() / 20)
            finally:
                process.kill()
    consumer(kind="redis")
    until(lambda: len(logged(folder).events) >= sent)
    assert set(logged(folder).events) == {f"e{n}" for n in range(sent)}
    feed = open_feed("redis", folder)
    found = feed.since(START)
    assert sorted(e.event_id for e in found.events) == sorted(logged(folder).events)
    feed.close()


def test_a_stream_that_is_lost_is_looked_for_and_said_once(
    consumer, sender, redis_server, monkeypatch, caplog, until
):
    monkeypatch.setattr("tessera.serve.consume._PATIENCE_S", 0.05)
    send(sender, body(1))
    one = consumer()
    until(lambda: one.took(1))
    redis_server.kill()
    time.sleep(0.5)
    redis_server.start()
    send(sender, body(2))
    until(lambda: one.took(2))
    assert one.counts["new"] == 2
    assert caplog.text.count("the stream is lost") == 1


def test_a_feed_that_a_service_does_not_hear_is_refused():
    for state in ("auto", "memory"):
        with pytest.raises(BadParams, match=f"serve.feed is {state}, by which a service does not"):
            shared_kind(state)
    assert [shared_kind(state) for state in ("sqlite", "redis")] == ["sqlite", "redis"]

"""How many events a second `tessera consume` takes from a stream, and how long one waits.

Usage: python -m benchmarks.stream_taken [--events 100000]

From Redis Streams of a server on loopback, and from a folder of partitions.  Each event is written
to the log and synced, told to the feed, and only then done.  First a stream that is full is emptied
as fast as can be, one event in a hundred comes twice.  Then one event at a time is sent, and the
time until it is logged and told is its lag.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import redis

from benchmarks.common import each, write_result
from tessera.platform.servers.backends import start_redis
from tessera.platform.workspace import processes
from tessera.serve.clock import Clock
from tessera.serve.consume import consume, open_stream
from tessera.serve.events import STATUSES
from tessera.serve.feed import open_feed
from tessera.serve.feeds.redis import ADDRESS
from tessera.serve.host import intake
from tessera.serve.streams.file import send
from tessera.serve.streams.redis import FIELD

TWICE, ASKED, _AT_ONCE, _PARTITIONS = 100, 500, 1_000, "abc"
"""One event in so many comes twice; events of which the lag is taken."""
_NAME, _WAIT_S = "events", 120.0
Sender = Callable[[Sequence[bytes]], None]


def _body(number: int) -> bytes:
    told = {"event_id": f"e{number}", "investor_id": f"u{number % 997}",
            "item_id": f"i{number % 911}", "action": "click"}  # fmt: skip
    return json.dumps(told).encode()


@contextmanager
def _files(folder: Path) -> Iterator[tuple[str, str, Sender]]:
    """Open a folder of partitions; yield stream, feed, and what sends messages."""
    partitions = folder / "stream"
    partitions.mkdir()
    for name in _PARTITIONS:
        (partitions / f"{name}.log").touch()

    def told(bodies: Sequence[bytes]) -> None:
        for number, name in enumerate(_PARTITIONS):
            if mine := bodies[number :: len(_PARTITIONS)]:
                send(partitions, name, *mine)

    yield f"file:{partitions}", "sqlite", told


@contextmanager
def _redis(folder: Path) -> Iterator[tuple[str, str, Sender]]:
    """Start a server that keeps stream and feed."""
    logs = folder / "logs"
    logs.mkdir()
    found = start_redis(folder / "redis", logs, secrets.token_urlsafe(16))
    os.environ[ADDRESS] = found.url
    client = redis.Redis.from_url(found.url)

    def told(bodies: Sequence[bytes]) -> None:
        pipe = client.pipeline(transaction=False)
        for one in bodies:
            pipe.xadd(_NAME, {FIELD: one})
        pipe.execute()

    try:
        _until(lambda: _answers(client), look_s=0.05)
        yield _NAME, "redis", told
    finally:
        client.close()
        processes.stop([found.server.process])


KINDS = {"redis": _redis, "file": _files}


def _answers(client: redis.Redis) -> bool:
    with suppress(redis.RedisError):
        return bool(client.ping())
    return False


def _until(is_so: Callable[[], bool], look_s: float, patience_s: float = _WAIT_S) -> None:
    end = time.monotonic() + patience_s
    while not is_so():
        if time.monotonic() > end:
            raise TimeoutError("nothing came of it")
        time.sleep(look_s)


def measured(piece: tuple[str, int]) -> dict[str, Any]:
    """Empty a full stream of one kind, then take the lag of single events."""
    kind, events = piece
    with TemporaryDirectory() as place, KINDS[kind](Path(place)) as (name, feed, told):
        bodies = [_body(number) for number in range(events)]
        bodies += bodies[::TWICE]
        for begin in range(0, len(bodies), _AT_ONCE):
            told(bodies[begin : begin + _AT_ONCE])
        folder = Path(place) / "served"
        folder.mkdir()
        door, stream = intake(folder, open_feed(feed, folder)), open_stream(name, "1")
        counts, stopped = Counter[str](), threading.Event()
        thread = threading.Thread(target=consume, args=(stream, door, Clock(0), stopped, counts))
        begun = time.perf_counter()
        thread.start()
        try:
            _until(lambda: sum(counts.values()) >= len(bodies), 0.01, 60 * _WAIT_S)
            took = time.perf_counter() - begun
            lags = [_lag(told, counts, events + number) for number in range(ASKED)]
        finally:
            stopped.set()
            thread.join()
            stream.close()
            door.close()
    return {
        "kind": kind,
        "events": events,
        "came": len(bodies),
        **{status: counts[status] for status in STATUSES},
        "events_s": round(len(bodies) / took),
        "lag_p50_ms": round(1e3 * float(np.median(lags)), 2),
        "lag_p99_ms": round(1e3 * float(np.quantile(lags, 0.99)), 2),
    }


def _lag(told: Sender, counts: Counter[str], number: int) -> float:
    before, begun = sum(counts.values()), time.perf_counter()
    told([_body(number)])
    _until(lambda: sum(counts.values()) > before, look_s=0.0005)
    return time.perf_counter() - begun


def main() -> None:
    """Measure and write results/stream_taken.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=100_000)
    given = parser.parse_args()
    rows = each(measured, [(kind, given.events) for kind in KINDS], "streams")
    write_result("stream_taken", {"rows": rows, "twice": TWICE, "asked": ASKED})


if __name__ == "__main__":
    main()

"""Events from Redis Streams: a consumer group, whose members take over what others left."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from redis.exceptions import RedisError, ResponseError

from tessera.serve.consume import Message, Stream, StreamLost
from tessera.serve.feeds.redis import connection

_GROUP = "tessera"
FIELD, REASON = b"event", b"reason"
ASIDE = ":aside"
"""Ending of the stream with messages that are no events."""
_LEFT_MS = 60_000
"""Who did nothing for so long went away."""
_MOST_ASIDE = 100_000


def open_stream(name: str, consumer: str) -> Stream:
    """Connect to the server that the environment names."""
    return RedisStream(name, consumer)


class RedisStream:
    """See `Stream`."""

    def __init__(self, name: str, consumer: str) -> None:
        self._name, self._consumer = name, consumer
        self._redis = connection(patience_s=5.0)
        self._mine_first = True
        """Messages that an earlier run of this consumer left are to be read."""

    def read(self, most: int, patience_s: float) -> Sequence[Message]:
        """See `Stream`."""
        with self._reached():
            if self._mine_first:
                with suppress(ResponseError):  # there is such a group
                    self._redis.xgroup_create(self._name, _GROUP, id="0", mkstream=True)
                mine = self._new("0", most, None)
                self._mine_first = bool(mine)
                if mine:
                    return mine
            left = self._redis.xautoclaim(
                self._name, _GROUP, self._consumer, _LEFT_MS, start_id="0", count=most
            )
            return _messages(left[1]) or self._new(">", most, int(patience_s * 1000) or None)

    def done(self, messages: Sequence[Message]) -> None:
        """See `Stream`."""
        if messages:
            with self._reached():
                self._redis.xack(self._name, _GROUP, *(one.place for one in messages))

    def aside(self, message: Message, reason: str) -> None:
        """See `Stream`."""
        fields: dict[Any, Any] = {FIELD: message.body, REASON: reason, b"id": message.place}
        with self._reached():
            self._redis.xadd(self._name + ASIDE, fields, maxlen=_MOST_ASIDE, approximate=True)

    def close(self) -> None:
        """See `Stream`."""
        self._redis.close()

    def _new(self, behind: str, most: int, block_ms: int | None) -> Sequence[Message]:
        found: Any = self._redis.xreadgroup(
            _GROUP, self._consumer, {self._name: behind}, count=most, block=block_ms
        )
        return _messages(found[0][1]) if found else ()

    @contextmanager
    def _reached(self) -> Iterator[None]:
        try:
            yield
        except RedisError as error:
            self._mine_first = True  # what was delivered just then may not have come
            raise StreamLost(f"stream {self._name}: {error}") from error


def _messages(rows: Any) -> Sequence[Message]:
    return [
        Message(place.decode(), fields.get(FIELD, b""), int(place.split(b"-")[0]) * 1000)
        for place, fields in ((place, fields or {}) for place, fields in rows)
    ]

"""The feed in Redis or Valkey: a list, and the place of each id in it.

Every act is one script, so that it is done whole or not at all.  The epoch holds the name of the
server's run: after a restart nobody relies on what was read before, since the last writes may be
lost.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from tessera.contracts.errors import BadParams
from tessera.serve.events import Told, told_of_text
from tessera.serve.feed import MOST, Feed, FeedLost, Mark, News

ADDRESS = "TESSERA_REDIS"
"""Environment variable with the address, because it may hold a password."""
_PATIENCE_S = 0.5
_HEAD = """
local function epoch()
  local run = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
  return (redis.call('GET', KEYS[4]) or '') .. '/' .. run
end
"""
_ADD = """
redis.call('SET', KEYS[4], ARGV[1], 'NX')
local new, replaced = {}, false
for n = 2, #ARGV, 3 do
  local id, rank, text = ARGV[n], ARGV[n + 1], ARGV[n + 2]
  if redis.call('SISMEMBER', KEYS[3], id) == 0 then
    local place = redis.call('HGET', KEYS[2], id)
    if not place then
      redis.call('HSET', KEYS[2], id, redis.call('RPUSH', KEYS[1], rank .. text) - 1)
      new[#new + 1] = id
    elseif rank < string.sub(redis.call('LINDEX', KEYS[1], place), 1, #rank) then
      redis.call('LSET', KEYS[1], place, rank .. text)
      replaced = true
    end
  end
end
if replaced then redis.call('SET', KEYS[4], ARGV[1]) end
return new
"""
_FORGET = """
redis.call('SET', KEYS[4], ARGV[1], 'NX')
local known = false
for n = 2, #ARGV do
  redis.call('SADD', KEYS[3], ARGV[n])
  local place = redis.call('HGET', KEYS[2], ARGV[n])
  if place then
    redis.call('LSET', KEYS[1], place, '')
    redis.call('HDEL', KEYS[2], ARGV[n])
    known = true
  end
end
if known then redis.call('SET', KEYS[4], ARGV[1]) end
"""
_SINCE = f"""{_HEAD}
local now, start = epoch(), 0
if now == ARGV[1] then start = tonumber(ARGV[2]) end
local found = redis.call('LRANGE', KEYS[1], start, start + ARGV[3] - 1)
return {{now, start + #found, redis.call('LLEN', KEYS[1]), found}}
"""
_RANK = 52
"""Length of a rank."""


def open_feed(folder: Path) -> Feed:
    """Connect to the server that the environment names; each folder has keys of its own.

    Raises
    ------
    BadParams
        If the environment names none.
    """
    name = hashlib.blake2b(str(folder.resolve()).encode(), digest_size=8).hexdigest()
    return RedisFeed(connection(_PATIENCE_S), name)


def connection(patience_s: float) -> Redis:
    """Connect to the server that the environment names.

    Raises
    ------
    BadParams
        If the environment names none.
    """
    address = os.environ.get(ADDRESS)
    if not address:
        raise BadParams(f"no address of redis: set {ADDRESS} to it, redis://host:port/0")
    try:
        return Redis.from_url(
            address,
            socket_timeout=patience_s,
            socket_connect_timeout=patience_s,
            retry=Retry(NoBackoff(), 0),
        )
    except ValueError:  # whose message may hold the password
        raise BadParams(f"{ADDRESS} is no address like redis://host:port/0") from None


class RedisFeed:
    """See `Feed`."""

    def __init__(self, redis: Redis, name: str) -> None:
        self._redis = redis
        parts = ("events", "place", "forgotten", "epoch")
        self._keys = [f"tessera:{{{name}}}:{one}" for one in parts]
        self._scripts = {one: self._redis.register_script(one) for one in (_ADD, _FORGET, _SINCE)}
        told = self._redis.connection_pool.connection_kwargs
        self._where = f"redis at {told.get('host', told.get('path'))}"

    def add(self, events: Sequence[Told]) -> frozenset[str]:
        """See `Feed`."""
        new: list[bytes] = []
        for some in _some(events):
            rows = [text for one in some for text in (one.event_id, one.rank, one.text)]
            new += self._run(_ADD, secrets.token_hex(8), *rows)
        return frozenset(one.decode() for one in new)

    def since(self, mark: Mark, most: int = MOST) -> News:
        """See `Feed`."""
        epoch, place, length, found = self._run(_SINCE, mark.epoch, mark.place, most)
        events = tuple(told_of_text(text[_RANK:]) for text in found if text)
        return News(Mark(epoch.decode(), place), events, place < length)

    def forget(self, event_ids: Iterable[str]) -> None:
        """See `Feed`."""
        for some in _some(list(event_ids)):
            self._run(_FORGET, secrets.token_hex(8), *some)

    def clear(self) -> None:
        """See `Feed`."""
        with self._reached():
            self._redis.delete(*self._keys)
        self._run(_FORGET, secrets.token_hex(8))

    def close(self) -> None:
        """See `Feed`."""
        self._redis.close()

    def _run(self, script: str, *words: Any) -> Any:
        with self._reached():
            return self._scripts[script](self._keys, words)

    @contextmanager
    def _reached(self) -> Iterator[None]:
        try:
            yield
        except RedisError as error:
            raise FeedLost(
                f"{self._where} cannot be used ({error}): start it, or mend {ADDRESS}"
            ) from error


def _some(rows: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(rows), MOST):
        yield rows[start : start + MOST]

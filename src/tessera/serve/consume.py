"""Events from a stream: what it delivers at least once counts once, since events do.

A message is done when its event is logged.  What cannot be an event goes aside with the reason and
holds up nothing.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, cast

from pydantic import ValidationError

from tessera.contracts.components import component, names
from tessera.contracts.errors import BadParams, TesseraError
from tessera.serve.clock import Clock
from tessera.serve.events import STATUSES, Event
from tessera.serve.feed import AUTO, MEMORY, SQLITE
from tessera.serve.http.app import event_from
from tessera.serve.http.bodies import Happening
from tessera.serve.http.problems import Refused
from tessera.serve.http.whom import AHEAD_US
from tessera.serve.intake import Intake

_LOG = logging.getLogger("tessera.serve")
MOST = 500
"""Messages that are taken in at once."""
MOST_BYTES = 1 << 16
"""Of one message."""
_KIND = "redis"
"""Of a stream whose name says no other."""
_PATIENCE_S = 1.0
"""How long one waits for messages, and before a stream that is lost is looked for again."""


class StreamLost(TesseraError):
    """The stream cannot be reached now."""


@dataclass(frozen=True, slots=True)
class Message:
    """What a stream delivers."""

    place: str
    """By which the stream knows it."""
    body: bytes
    """An event as `POST /v1/events` takes one, as JSON."""
    moment: int
    """When it came to the stream, in microseconds since 1970; the same at each delivery."""


class Stream(Protocol):
    """Delivers messages until they are done, to one of the consumers of a group.

    A stream with offsets commits, when some messages are done, that before which all are.  When
    partitions go to another consumer, what is not done goes along, and to say of it that it is done
    changes nothing any more.  All methods raise StreamLost where it cannot be reached; afterwards
    what was delivered and is not done is delivered again.
    """

    def read(self, most: int, patience_s: float) -> Sequence[Message]:
        """Return messages that are not done, of this consumer or of one that went away; or none."""

    def done(self, messages: Sequence[Message]) -> None:
        """Have them delivered no more."""

    def aside(self, message: Message, reason: str) -> None:
        """Keep a message apart for people to look at, with the reason."""

    def close(self) -> None:
        """Let go of it."""


class Kind(Protocol):
    """What a module of `streams` has."""

    def open_stream(self, name: str, consumer: str) -> Stream:
        """Open a stream by its name, as one of its consumers."""


def open_stream(name: str, consumer: str) -> Stream:
    """Open a stream; its kind may stand before its name, as in `file:/folder`, else it is redis.

    Raises
    ------
    BadParams
        If its address is missing.
    """
    kind, _, rest = name.partition(":")
    if not rest or kind not in names("tessera.serve.streams"):
        kind, rest = _KIND, name
    return cast(Kind, component("tessera.serve.streams", kind)).open_stream(rest, consumer)


def shared_kind(state: str) -> str:
    """Return how the feed is kept, if what is consumed reaches the service by it.

    Raises
    ------
    BadParams
        If it does not.
    """
    if state in (AUTO, MEMORY):
        raise BadParams(
            f"serve.feed is {state}, by which a service does not hear what is consumed: set it to "
            f"{SQLITE} or redis, for `tessera serve` too"
        )
    return state


def consume(
    stream: Stream,
    intake: Intake,
    clock: Clock,
    stopped: threading.Event,
    counts: Counter[str],
    late_days: float | None = None,
) -> None:
    """Take in messages until stopped; count how many were new, known, or put aside.

    What was done more than so many days before it came to the stream is put aside.

    Raises
    ------
    OSError
        If the log cannot be written: what was not logged is delivered again.
    """
    lost = False
    while not stopped.is_set():
        try:
            counts.update(_taken(stream, intake, clock, late_days))
            lost = False
        except StreamLost as error:
            if not lost:
                _LOG.error("the stream is lost, and looked for: %s", error)
            lost = True
            stopped.wait(_PATIENCE_S)


def _taken(stream: Stream, intake: Intake, clock: Clock, late_days: float | None) -> Counter[str]:
    messages = stream.read(MOST, _PATIENCE_S)
    events, untimed, counts = list[Event](), set[int](), Counter[str]()
    for one in messages:
        try:
            body = _body(one, clock)
            events.append(_event(body, one, clock, late_days))
            untimed.update(() if body.time else (len(events) - 1,))
        except _Bad as bad:
            stream.aside(one, str(bad))
            counts["aside"] += 1
    found = intake.happened(events, untimed)
    counts.update({status: found.count(status) for status in STATUSES})
    stream.done(messages)
    return counts


class _Bad(Exception):
    """Why a message is no event."""


def _body(message: Message, clock: Clock) -> Happening:
    if len(message.body) > MOST_BYTES:
        raise _Bad(f"it has {len(message.body)} bytes, {MOST_BYTES} at most")
    if message.moment > clock.source() + AHEAD_US:
        raise _Bad("the time at which it came to the stream is still to come")
    try:
        return Happening.model_validate_json(message.body)
    except ValidationError as error:
        wrong = error.errors(include_url=False, include_context=False, include_input=False)
        told = (f"{'.'.join(map(str, one['loc'])) or 'body'}: {one['msg']}" for one in wrong[:5])
        raise _Bad("; ".join(told)) from error


def _event(body: Happening, message: Message, clock: Clock, late_days: float | None) -> Event:
    # As of when it came, so that another delivery of it is the same event.
    came = Clock(clock.ahead_us, lambda: message.moment)
    try:
        return event_from(body, came, late_days=late_days)
    except Refused as error:
        raise _Bad(str(error)) from error

"""Connections that may not be kept open for nothing: what uvicorn leaves to a proxy before it.

It bounds neither the size of headers nor the time until a request is here, nor how many connect.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from typing import cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from tessera.serve import measures
from tessera.serve.http.problems import Refused, problem

_ACCESS = logging.getLogger("tessera.access")

MOST_CONNECTIONS = 512
MOST_HEAD = 65_536
"""Bytes of a request before its body; from 16 KiB on a request is refused with a problem."""
PATIENCE_S = 15.0
"""From the first byte, or the connection, until a whole request is here."""
_BAD = Refused(400, "Bad Request", "this is no HTTP request")
_TOO_MANY = Refused(503, "Service Unavailable", "too many connections: try again later")
_TOO_LARGE = Refused(431, "Request Header Fields Too Large", "path and headers are too large")


class Patient(HttpToolsProtocol):
    """One connection."""

    _timer: asyncio.TimerHandle | None = None
    _head = 0
    """Bytes of a head that is not complete."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait, unless there are too many."""
        super().connection_made(cast(asyncio.Transport, transport))
        self.access_log = False  # its lines hold paths, and paths ids
        if len(self.connections) > MOST_CONNECTIONS:
            self._end(_TOO_MANY)
        else:
            self._wait()

    def data_received(self, data: bytes) -> None:
        """Take in what came."""
        if self._timer is None:
            self._wait()
        self._head += len(data)
        super().data_received(data)
        if self._head > MOST_HEAD and not self.transport.is_closing():
            self._end(_TOO_LARGE)

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002
        """Answer what is no request."""
        self._end(_BAD)

    def on_headers_complete(self) -> None:
        """Begin the body."""
        self._head = -(1 << 62)  # its size is bounded where it is read
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Wait no more: the request is here."""
        self._head = 0
        self._rest()
        super().on_message_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        self._rest()
        super().connection_lost(exc)

    def _wait(self) -> None:
        self._timer = self.loop.call_later(PATIENCE_S, self.transport.close)

    def _rest(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _end(self, told: Refused) -> None:
        """Answer what never became a request, and hang up."""
        request_id = secrets.token_hex(16)
        answer = problem(request_id, told)
        head = [(b"x-request-id", request_id.encode()), (b"connection", b"close")]
        lines = [b"%s: %s" % pair for pair in (*answer.raw_headers, *head)]
        status = b"HTTP/1.1 %d %s" % (told.status, told.title.encode())
        self.transport.write(b"\r\n".join((status, *lines, b"", answer.body)))
        self.transport.close()
        measures.REQUESTS.labels("other", "unread", told.status).inc()
        _ACCESS.info("other unread %s request=%s", told.status, request_id)

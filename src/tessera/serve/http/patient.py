"""Connections that may not be kept open for nothing: what uvicorn leaves to a proxy before it.

It bounds neither the size of headers nor the time until a request is here, nor how many connect.
"""

from __future__ import annotations

import asyncio
from typing import cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MOST_CONNECTIONS = 512
MOST_HEAD = 65_536
"""Bytes of a request before its body; from 16 KiB on a request is refused with a problem."""
PATIENCE_S = 15.0
"""From the first byte, or the connection, until a whole request is here."""
_TOO_MANY = b"503 Service Unavailable\r\nretry-after: 1"
_TOO_LARGE = b"431 Request Header Fields Too Large"


class Patient(HttpToolsProtocol):
    """One connection."""

    _timer: asyncio.TimerHandle | None = None
    _head = 0
    """Bytes of a head that is not complete."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait, unless there are too many."""
        super().connection_made(cast(asyncio.Transport, transport))
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

    def _end(self, status: bytes) -> None:
        self.transport.write(
            b"HTTP/1.1 %s\r\nconnection: close\r\ncontent-length: 0\r\n\r\n" % status
        )
        self.transport.close()

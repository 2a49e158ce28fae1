"""Around every request: an id, bounds on what is read of it, an answer come what may, one line."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tessera.serve import measures
from tessera.serve.http.depth import check_depth
from tessera.serve.http.door import Door, Sender
from tessera.serve.http.lines import REQUEST_ID
from tessera.serve.http.problems import Refused, problem

_LOG = logging.getLogger("tessera.serve")
_ACCESS = logging.getLogger("tessera.access")
MOST_BYTES = 1 << 20
"""Largest body that is read."""
MOST_HELD = 64 << 20
"""Bytes of all bodies that are being read."""
_PATIENCE_S = 10.0
"""Within which a body must be here."""
_TOO_LARGE = Refused(413, "Body too large", f"a body may have {MOST_BYTES} bytes at most")
_TOO_SLOW = Refused(408, "Body too slow", f"a body must be here within {_PATIENCE_S:.0f} s")
_TOO_MANY = Refused(429, "Busy", "too many large bodies at once: send it later")
_OURS = Refused(500, "Internal error", "see the server's log under the request id")
_METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})
_SAFE = [(b"x-content-type-options", b"nosniff")]
_TLS_ONLY = [(b"strict-transport-security", b"max-age=31536000")]


class Bounded:
    """Reads the whole body before anything else is done with it, so that bounds hold for all."""

    def __init__(self, app: ASGIApp, door: Door, secure: bool = False) -> None:
        self._app, self._door = app, door
        self._headers = _SAFE + _TLS_ONLY * secure
        self._held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id, begun = secrets.token_hex(16), time.perf_counter()
        scope.setdefault("state", {}).update(request_id=request_id, begun=begun, sender=None)
        answer = _Identified(send, [(b"x-request-id", request_id.encode()), *self._headers])
        REQUEST_ID.set(request_id)
        try:
            await self._let_in(scope, receive, answer)
        except ConnectionError:
            _LOG.info("request %s: the client went away", request_id)
        except Refused as told:
            await problem(request_id, told)(scope, receive, answer)
        except Exception:
            _LOG.exception("request %s failed", request_id)
            if not answer.status:
                await problem(request_id, _OURS)(scope, receive, answer)
        finally:
            _tell(scope, answer.status, time.perf_counter() - begun)

    async def _let_in(self, scope: Scope, receive: Receive, answer: Send) -> None:
        scope["state"]["sender"] = sender = self._door.sender(scope)
        self._door.limit(scope, sender)
        body = await self._read_in_time(receive)
        check_depth(body)
        if not self._door.is_watched(scope):
            await self._app(scope, _replay(body, receive), answer)
            return
        admission = self._door.admission
        admission.check()  # again: others may have come while the body did
        admission.enter()
        try:
            await self._app(scope, _replay(body, receive), answer)
        finally:
            admission.leave()

    async def _read_in_time(self, receive: Receive) -> bytes:
        try:
            async with asyncio.timeout(_PATIENCE_S):
                return await self._read(receive)
        except TimeoutError:
            raise _TOO_SLOW from None

    async def _read(self, receive: Receive) -> bytes:
        parts, size = [], 0
        try:
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ConnectionResetError
                parts.append(message.get("body", b""))
                size += len(parts[-1])
                self._held += len(parts[-1])
                if size > MOST_BYTES:
                    raise _TOO_LARGE
                if self._held > MOST_HELD:
                    measures.SHED.labels("memory").inc()
                    raise _TOO_MANY
                if not message.get("more_body", False):
                    return b"".join(parts)
        finally:
            self._held -= size


class _Identified:
    """Sends an answer with the id of its request, and knows with what status it began."""

    def __init__(self, send: Send, headers: list[tuple[bytes, bytes]]) -> None:
        self._send, self._headers, self.status = send, headers, 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [*message["headers"], *self._headers]
        await self._send(message)


def _tell(scope: Scope, status: int, seconds: float) -> None:
    """Count a request and write its line, by the template of its route: a path may hold ids."""
    route = getattr(scope.get("route"), "path", "unknown")
    method = scope["method"] if scope["method"] in _METHODS else "other"
    measures.REQUESTS.labels(method, route, status or "gone").inc()
    measures.REQUEST_S.labels(method, route).observe(seconds)
    sender: Sender | None = scope["state"]["sender"]
    name = sender.key.name if sender and sender.key else "-"
    _ACCESS.info("%s %s %s %.1f ms key=%s", method, route, status or "gone", seconds * 1e3, name)


def _replay(body: bytes, receive: Receive) -> Receive:
    told = False

    async def replayed() -> Message:
        nonlocal told
        if told:
            return await receive()
        told = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replayed

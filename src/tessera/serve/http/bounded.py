"""Around every request: an id, a bound on size and time of its body, an answer come what may."""

from __future__ import annotations

import asyncio
import logging
import secrets

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tessera.serve.http.problems import Refused, problem

_LOG = logging.getLogger("tessera.serve")
MOST_BYTES = 1 << 20
"""Largest body that is read."""
_PATIENCE_S = 10.0
"""Within which a body must be here."""
_TOO_LARGE = Refused(413, "Body too large", f"a body may have {MOST_BYTES} bytes at most")
_TOO_SLOW = Refused(408, "Body too slow", f"a body must be here within {_PATIENCE_S:.0f} s")
_OURS = Refused(500, "Internal error", "see the server's log under the request id")


class Bounded:
    """Reads the whole body before anything else is done with it, so that bounds hold for all."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = secrets.token_hex(16)
        scope.setdefault("state", {})["request_id"] = request_id
        answer = _Identified(send, request_id)
        try:
            await self._app(scope, _replay(await _read_in_time(receive), receive), answer)
        except ConnectionError:
            _LOG.info("request %s: the client went away", request_id)
        except Refused as told:
            await problem(request_id, told)(scope, receive, answer)
        except Exception:
            _LOG.exception("request %s failed", request_id)
            if not answer.begun:
                await problem(request_id, _OURS)(scope, receive, answer)


class _Identified:
    """Sends an answer with the id of its request, and knows whether it has begun."""

    def __init__(self, send: Send, request_id: str) -> None:
        self._send, self._id, self.begun = send, request_id.encode(), False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.begun = True
            message["headers"] = [*message["headers"], (b"x-request-id", self._id)]
        await self._send(message)


async def _read_in_time(receive: Receive) -> bytes:
    try:
        async with asyncio.timeout(_PATIENCE_S):
            return await _read(receive)
    except TimeoutError:
        raise _TOO_SLOW from None


async def _read(receive: Receive) -> bytes:
    parts, size = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionResetError
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > MOST_BYTES:
            raise _TOO_LARGE
        if not message.get("more_body", False):
            return b"".join(parts)


def _replay(body: bytes, receive: Receive) -> Receive:
    told = False

    async def replayed() -> Message:
        nonlocal told
        if told:
            return await receive()
        told = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replayed

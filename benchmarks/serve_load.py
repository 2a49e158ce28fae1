"""Open-loop load: requests leave at their time, whether or not the ones before are answered.

So a server that stalls is seen to stall: a latency counts from when a request was due.

Shapes: N requests.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tessera.contracts.arrays import Float64s

_PATIENCE_S = 10.0
LOST = 0
"""Status of a request that nobody answered."""


@dataclass(slots=True)
class Answered:
    """What came of one request."""

    status: int
    waited_s: float
    body: bytes = b""


@dataclass(slots=True)
class Client:
    """Connections to one server that are kept open, as many as wait at once."""

    port: int
    headers: dict[str, str] = field(default_factory=dict)
    _free: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = field(default_factory=list)

    async def ask(self, path: str, body: Any, method: str = "POST") -> tuple[int, bytes]:
        """Send one request and read its answer."""
        text = b"" if body is None else json.dumps(body).encode()
        head = {"Host": "127.0.0.1", "Content-Type": "application/json",
                "Content-Length": str(len(text)), **self.headers}  # fmt: skip
        lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {said}" for name, said in head.items())]
        fresh = not self._free
        reader, writer = await self._connection()
        try:
            writer.write("\r\n".join([*lines, "", ""]).encode() + text)
            await writer.drain()
            status, found, keep = await _answer(reader)
        except (ConnectionError, asyncio.IncompleteReadError):
            writer.close()
            if fresh:
                raise
            return await self.ask(path, body, method)  # the server had closed an idle connection
        if keep:
            self._free.append((reader, writer))
        else:
            writer.close()
        return status, found

    async def _connection(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._free:
            return self._free.pop()
        return await asyncio.open_connection("127.0.0.1", self.port)

    def close(self) -> None:
        """End all connections."""
        for _, writer in self._free:
            writer.close()
        self._free.clear()


async def _answer(reader: asyncio.StreamReader) -> tuple[int, bytes, bool]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    fields = {line.partition(":")[0].lower(): line.partition(":")[2].strip() for line in head[1:]}
    body = await reader.readexactly(int(fields.get("content-length", 0)))
    return int(head[0].split()[1]), body, fields.get("connection", "").lower() != "close"


async def fire(
    send: Callable[[int], Awaitable[tuple[int, bytes]]], due_N: Float64s
) -> list[Answered]:
    """Send request n at due_N[n] seconds from now; return what came of each.

    Parameters
    ----------
    send
        Sends the n-th request and returns status and body.
    due_N
        Ascending.
    """
    begun = time.perf_counter()

    async def one(number: int, due: float) -> Answered:
        try:
            status, body = await asyncio.wait_for(send(number), _PATIENCE_S)
        except (OSError, asyncio.IncompleteReadError, TimeoutError):
            status, body = LOST, b""
        return Answered(status, time.perf_counter() - begun - due, body)

    waiting = []
    for number, due in enumerate(due_N.tolist()):
        await asyncio.sleep(max(0.0, begun + due - time.perf_counter()))
        waiting.append(asyncio.create_task(one(number, due)))
    return list(await asyncio.gather(*waiting))


def poisson(rate: float, seconds: float, rng: np.random.Generator) -> Float64s:
    """Return arrival times of so many requests a second, as they come from many people."""
    count = int(rate * seconds)
    return np.sort(rng.random(count) * seconds)


def even(rate: float, seconds: float) -> Float64s:
    """Return arrival times of so many requests a second, one after the other at a fixed distance.

    >>> even(20.0, 0.2)
    array([0.  , 0.05, 0.1 , 0.15])
    """
    return np.arange(int(rate * seconds)) / rate


def percentiles_ms(waited_s: Sequence[float]) -> dict[str, float]:
    """Return p50, p95 and p99 in milliseconds."""
    found = np.percentile(np.asarray(waited_s) * 1000, [50, 95, 99])
    return dict(zip(("p50", "p95", "p99"), found.round(2).tolist(), strict=True))

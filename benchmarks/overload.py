"""What the service does past its capacity, and what ten thousand malformed requests leave behind.

Usage: python -m benchmarks.overload [--profile market] [--seconds 10]   after `make run`

A server process answers on core 0 with a log in a folder of its own, with the params of the
profile but for the rate of a key; it is asked from core 1.  Load is open (`serve_load`).  How long
the server itself took to turn a request away is read from its log.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil  # type: ignore[import-untyped]

from benchmarks.common import write_result
from benchmarks.serve import served
from benchmarks.serve_load import Answered, Client, fire, percentiles_ms
from tessera.platform.release.pointer import current_bundle
from tessera.platform.workspace.params import serve_params
from tessera.platform.workspace.paths import DEFAULT_PROFILE, open_workspace

_RATES = (0.5, 1.0, 2.0, 4.0)
"""Of the closed-loop capacity."""
_LANES = 2
"""Connections of the closed loop."""
_INVESTORS = 500
_FREE = 1e9
"""Requests a second that the only key may send: what is measured is admission, not its rate."""
_MALFORMED = 10_000
_PORT = 8764
_SHED = re.compile(r"POST \S+ 429 ([\d.]+) ms")


@dataclass(frozen=True, slots=True)
class Server:
    """A server process that was started for this."""

    port: int
    headers: dict[str, str]
    """Hold its key."""
    process: psutil.Process
    log: Path

    def client(self) -> Client:
        """Open connections with its key."""
        return Client(self.port, self.headers)


@contextmanager
def started(profile: str) -> Iterator[Server]:
    """Serve the published bundle of a profile with its params, but for the rate of a key."""
    workspace = open_workspace(profile)
    free = {"rate_per_s": _FREE, "burst": int(_FREE)}
    params = serve_params(workspace).model_copy(update=free).model_dump_json()
    with tempfile.TemporaryDirectory() as name:
        lines = Path(name) / "server.log"
        words = ["--params", params, "--unwatched", "--lines", str(lines)]
        bundle = str(current_bundle(workspace))
        with served(bundle, Path(name), _PORT, *words) as (client, process):
            yield Server(_PORT, client.headers, psutil.Process(process.pid), lines)


async def _ask(client: Client, n: int) -> tuple[int, bytes]:
    return await client.ask("/v1/recommendations", {"investor_id": f"u{n % _INVESTORS:06d}"})


async def capacity(server: Server, seconds: float) -> float:
    """Answers a second where each connection asks again as soon as it was answered."""
    client, end, done = server.client(), time.perf_counter() + seconds, 0

    async def lane(first: int) -> None:
        nonlocal done
        for n in range(first, 1_000_000, _LANES):
            if time.perf_counter() > end:
                return
            status, _ = await _ask(client, n)
            done += status == 200

    await asyncio.gather(*(lane(n) for n in range(_LANES)))
    client.close()
    return done / seconds


async def load(server: Server, per_s: float, seconds: float) -> dict[str, Any]:
    """Send requests at fixed times; say how the answers came."""
    client, size = server.client(), server.log.stat().st_size
    due_N = np.arange(int(per_s * seconds)) / per_s
    found = await fire(lambda n: _ask(client, n), due_N)
    client.close()
    with server.log.open() as lines:
        lines.seek(size)
        shed_s = [float(ms) / 1e3 for ms in _SHED.findall(lines.read())]
    return {"sent_per_s": round(per_s, 1), **_told(seconds, found, shed_s)}


def _told(seconds: float, found: list[Answered], shed_s: list[float]) -> dict[str, Any]:
    good = [one for one in found if one.status == 200]
    degraded = sum("degraded" in json.loads(one.body)["flags"] for one in good)
    return {
        "answered_per_s": round(len(good) / seconds, 1),
        "shed": round(sum(one.status == 429 for one in found) / len(found), 3),
        "failed": sum(one.status not in (200, 429) for one in found),
        "degraded": round(degraded / max(len(good), 1), 3),
        "answered_ms": percentiles_ms([one.waited_s for one in good]) if good else {},
        "shed_in_server_ms": percentiles_ms(shed_s) if shed_s else {},
    }


def malformed(server: Server) -> dict[str, Any]:
    """Send what no client should; say what became of the server's memory."""
    rng, counts = np.random.default_rng(0), {"5xx": 0, "other": 0}
    before = most = server.process.memory_info().rss
    slow = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(200)]
    for one in slow:
        one.sendall(b"POST /v1/events HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n{")
    for n in range(_MALFORMED):
        counts[
            "5xx" if _sent(server.port, _bad(rng, n)).startswith(b"HTTP/1.1 5") else "other"
        ] += 1
        if n % 100 == 0:
            most = max(most, server.process.memory_info().rss)
    for one in slow:
        one.close()
    after = server.process.memory_info().rss
    return {"requests": _MALFORMED, **counts, "slow_clients": len(slow),
            "mb_before": before >> 20, "mb_most": most >> 20, "mb_after": after >> 20}  # fmt: skip


def _bad(rng: np.random.Generator, n: int) -> bytes:
    head = b"POST /v1/events HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
    if n % 500 == 0:
        return head + b"content-length: 10485760\r\n\r\n" + b"[" * 10_485_760
    if n % 100 == 1:
        return head + b"x: y\r\n" * 100_000
    bodies = (b"{", b"[" * 50_000, b'{"events": NaN}', b'{"k": -1}', b'"\\ud800"', rng.bytes(1000))
    body = bodies[n % len(bodies)]
    if n % 7 == 0:
        return rng.bytes(500)
    return head + b"content-length: %d\r\nconnection: close\r\n\r\n" % len(body) + body


def _sent(port: int, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=30) as line:
        try:
            line.sendall(request)
            line.shutdown(socket.SHUT_WR)
            return line.recv(64)
        except OSError:
            return b""


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profile", default=DEFAULT_PROFILE)
    parser.add_argument("--seconds", type=float, default=10.0)
    given = parser.parse_args()
    os.sched_setaffinity(0, {1})
    with started(given.profile) as server:
        asyncio.run(capacity(server, 2.0))  # warm
        most = asyncio.run(capacity(server, given.seconds))
        told = [asyncio.run(load(server, share * most, given.seconds)) for share in _RATES]
        write_result(
            "overload",
            {
                "profile": given.profile,
                "load_of_the_machine": round(os.getloadavg()[0], 1),
                "deadline_ms": serve_params(open_workspace(given.profile)).deadline_ms,
                "seconds": given.seconds,
                "capacity_per_s": round(most, 1),
                "open": told,
                "malformed": malformed(server),
            },
        )


if __name__ == "__main__":
    main()

"""The server that a benchmark asks: the service over one bundle, or a bare echo beside it.

Usage: python -m benchmarks.serve_host BUNDLE FOLDER PORT --core 0      (FOLDER holds the log)
       python -m benchmarks.serve_host echo FOLDER PORT --core 0

It prints its key when it listens, and on SIGTERM writes what it saw of itself to FOLDER/seen.json:
seconds of each step of each request, seconds to start, memory.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI, Request

from benchmarks.memory import memory_mb
from tessera.serve.clock import Clock
from tessera.serve.follower import Follower
from tessera.serve.garbage import settle
from tessera.serve.host import start
from tessera.serve.http.app import make_app
from tessera.serve.http.keys import Keys, add_key
from tessera.serve.http.lines import write_lines
from tessera.serve.http.listen import Address
from tessera.serve.params import ServeParams
from tessera.serve.sealer import Sealer
from tessera.serve.service import Service
from tessera.serve.slate import Slate

UNBOUNDED = {"rate_per_s": 1e9, "burst": 1_000_000_000, "deadline_ms": 60_000.0, "in_flight": 1000}
"""Nobody is turned away and nothing is left out: what is measured is the service itself."""


class Watched(Service):
    """A service that keeps the seconds of each step."""

    took: list[dict[str, float]]
    found: list[int]
    """Requests under way when each came."""
    inside: int

    def recommend(self, *asked: Any) -> Slate:
        """Answer, and keep how long it took."""
        begun, self.inside = time.perf_counter(), self.inside + 1
        found = self.inside - 1
        slate = super().recommend(*asked)
        self.inside -= 1
        self.took.append({**slate.took_s, "whole": time.perf_counter() - begun})
        self.found.append(found)
        return slate


def echo() -> FastAPI:
    """Return an application that parses a body and answers it: the floor of the web framework."""
    app = FastAPI()

    @app.post("/v1/recommendations")
    async def back(request: Request) -> dict[str, Any]:
        return {"echo": await request.json()}

    return app


def _service(bundle: Path, folder: Path, params: ServeParams, *, watched: bool) -> Service:
    service = start(bundle, folder / "log", params).service
    if watched:
        service.__class__ = Watched
        service.took, service.found, service.inside = [], [], 0  # type: ignore[attr-defined]
    service.engine.warm_up()
    settle()
    Sealer(service, folder / "log").start()
    return service


def _app(service: Service, given: argparse.Namespace, params: ServeParams) -> FastAPI:
    keys = given.folder / "keys.json"
    print(add_key(keys, f"bench-{time.time_ns()}", "operator"), flush=True)
    if given.follow:
        Follower(service, lambda: Path(given.follow.read_text()), params).start()
    ahead = service.engine.scorer.ranker.moment - time.time_ns() // 1000
    return make_app(service, Clock(ahead), Keys(keys), params)


def _listens(given: argparse.Namespace) -> dict[str, Any]:
    """With a log of its own it listens as `tessera serve` does, slow clients and all."""
    if not given.lines:
        return {
            "host": "127.0.0.1",
            "port": given.port,
            "log_level": "warning",
            "access_log": False,
        }
    write_lines(given.lines.open("w"))
    return Address(port=given.port).options()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle")
    parser.add_argument("folder", type=Path)
    parser.add_argument("port", type=int)
    parser.add_argument("--core", type=int, default=0)
    parser.add_argument("--params", type=json.loads, default={})
    parser.add_argument("--follow", type=Path, help="file that names the bundle, and may change")
    parser.add_argument("--unwatched", action="store_true", help="keep no seconds of any step")
    parser.add_argument("--lines", type=Path, help="file for the server's log, a line a request")
    return parser.parse_args()


def main() -> None:
    """Listen until SIGTERM."""
    given = _arguments()
    os.sched_setaffinity(0, {given.core})
    begun, service = time.perf_counter(), None
    params = ServeParams(**{**UNBOUNDED, **given.params})
    if given.bundle == "echo":
        app = echo()
    else:
        bundle = Path(given.bundle)
        service = _service(bundle, given.folder, params, watched=not given.unwatched)
        app = _app(service, given, params)
    started_s = time.perf_counter() - begun
    # uvicorn raises the signal again after its own end; the default would end us before ours.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        uvicorn.run(app, **_listens(given))
    finally:
        told: dict[str, Any] = {"start_s": started_s, "memory_mb": memory_mb()}
        if service:
            service.close()
            told["took_s"] = getattr(service, "took", [])
            told["found"] = getattr(service, "found", [])
        (given.folder / "seen.json").write_text(json.dumps(told))


if __name__ == "__main__":
    main()

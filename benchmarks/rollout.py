"""Readers over HTTP while bundles are published and rolled back: none fails, none reads two.

Usage: python -m benchmarks.rollout registry/market/bundles/v1 [--readers 8] [--swaps 100]

The bundle and a copy of it, whose items bear other names, take turns: every second swap
is a rollback.  An answer is mixed if its version, the identity in its context or the name of one of
its items is not of the bundle that its policy names.
"""

from __future__ import annotations

import argparse
import gc
import json
import shutil
import socket
import tempfile
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil  # type: ignore[import-untyped]
import pyarrow as pa
import pyarrow.parquet as pq
import uvicorn

from benchmarks.common import write_result
from tessera.bundles import manifest
from tessera.serve.clock import Clock
from tessera.serve.follower import Follower
from tessera.serve.host import start
from tessera.serve.http.app import make_app
from tessera.serve.http.keys import Keys, add_key
from tessera.serve.http.listen import Address
from tessera.serve.params import ServeParams
from tessera.serve.service import Service

_FREE: dict[str, Any] = {
    "rate_per_s": 1e9,
    "burst": 1_000_000_000,
    "deadline_ms": 60_000.0,
    "in_flight": 1000,
}
_PAUSE_S = 0.25
"""Between two requests of a reader."""


def renamed(bundle: Path, target: Path) -> Path:
    """Copy a bundle whose items bear the name of the copy in theirs."""
    shutil.copytree(bundle, target)
    path = target / "items.parquet"
    items = pq.read_table(path)
    names = [f"{target.name} {name}" for name in items["name"].to_pylist()]
    column = items.column_names.index("name")
    pq.write_table(items.set_column(column, "name", pa.array(names, pa.string())), path)
    manifest.seal(target, {"kind": "model"})
    return target


@contextmanager
def listening(service: Service, folder: Path, params: Any) -> Iterator[httpx.Client]:
    """Serve over HTTP on a port that is free; give a client."""
    keys = folder / "keys.json"
    secret = add_key(keys, "bench", "operator")
    ahead = service.engine.scorer.ranker.moment - time.time_ns() // 1000
    app = make_app(service, Clock(ahead), Keys(keys), params)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        options = Address().options() | {"access_log": False, "log_level": "warning"}
        server = uvicorn.Server(uvicorn.Config(app, lifespan="off", **options))
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        base = f"http://127.0.0.1:{listener.getsockname()[1]}"
        limits = httpx.Limits(max_connections=64)
        headers = {"authorization": f"Bearer {secret}"}
        with httpx.Client(
            base_url=base, headers=headers, timeout=120, trust_env=False, limits=limits
        ) as client:
            yield client
        server.should_exit = True
        thread.join()


def read(
    client: httpx.Client, users: list[str], seed: int, done: threading.Event, seen: list[Any]
) -> None:
    """Ask for slates until told to stop."""
    rng = np.random.default_rng(seed)
    while not done.is_set():
        body = {"investor_id": users[rng.integers(len(users))], "k": 10}
        begun = time.perf_counter()
        try:
            answer = client.post("/v1/recommendations", json=body)
            told = answer.json() if answer.status_code == 200 else None
        except httpx.HTTPError:
            told = None
        seen.append((told, time.perf_counter() - begun))
        time.sleep(_PAUSE_S)


def is_mixed(told: dict[str, Any], identity: dict[str, str]) -> bool:
    """Tell whether an answer is not wholly of the bundle that its policy names."""
    version = told["policy_id"].partition("/")[0]
    names = {one["name"].partition(" ")[0] for one in told["items"]}
    known = told["context_version"].partition("+")[0]
    same = identity[version].startswith(known) and names == {version}
    return not same or told["version"] != version


@dataclass
class Swapped:
    """What the swaps took."""

    seconds: list[float] = field(default_factory=list)
    memory_mib: list[int] = field(default_factory=list)
    old: list[weakref.ref[Any]] = field(default_factory=list)


def swap(service: Service, pair: list[Path], swaps: int, params: ServeParams) -> Swapped:
    """Let the pointer name the bundles in turn."""
    current, found = [pair[0]], Swapped()

    def pointer() -> Path:
        manifest.check(current[0])
        return current[0]

    follower = Follower(service, pointer, params)
    for n in range(swaps):
        found.old.append(weakref.ref(service.engine))
        current[0] = pair[(n + 1) % 2]
        begun = time.perf_counter()
        if not follower.look():
            raise SystemExit(f"swap {n} was refused: {service.refused}")
        found.seconds.append(time.perf_counter() - begun)
        found.memory_mib.append(round(psutil.Process().memory_info().rss / 2**20))
    gc.collect()
    return found


def measure(bundle: Path, readers: int, swaps: int, folder: Path) -> dict[str, Any]:
    """Swap under load, and count what readers saw."""
    params = ServeParams(**_FREE)
    pair = [renamed(bundle, folder / version) for version in ("va", "vb")]
    identity = {one.name: str(manifest.read_manifest(one)["identity"]) for one in pair}
    service = start(pair[0], folder / "log", params).service
    service.engine.warm_up()
    users = service.engine.scorer.ranker.histories.user_id_U[1:2001]
    seen: list[Any] = []
    done = threading.Event()
    with listening(service, folder, params) as client:
        threads = [
            threading.Thread(target=read, args=(client, users, n, done, seen))
            for n in range(readers)
        ]
        for one in threads:
            one.start()
        swapped = swap(service, pair, swaps, params)
        done.set()
        for one in threads:
            one.join()
    service.close()
    told = [one for one, _ in seen if one is not None]
    wait_ms = 1000 * np.array([seconds for _, seconds in seen])
    return {
        "readers": readers,
        "publishes": (swaps + 1) // 2,
        "rollbacks": swaps // 2,
        "answers": len(seen),
        "failed": len(seen) - len(told),
        "mixed": sum(is_mixed(one, identity) for one in told),
        "by_version": {name: sum(one["version"] == name for one in told) for name in identity},
        "old_engines_left": sum(one() is not None for one in swapped.old),
        "swap_s": {"p50": float(np.median(swapped.seconds)), "max": max(swapped.seconds)},
        "wait_ms": {f"p{at}": float(np.percentile(wait_ms, at)) for at in (50, 99)},
        "memory_mib": {"tenth": swapped.memory_mib[:10][-1], "last": swapped.memory_mib[-1]},
    }


def main() -> None:
    """Measure and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--readers", type=int, default=8)
    parser.add_argument("--swaps", type=int, default=100)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        found = measure(given.bundle, given.readers, given.swaps, Path(name))
    write_result("rollout", found)
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()

"""How long a slate takes to come, at which rate, from a catalogue of which size.

Usage: python -m benchmarks.serve [--items 400 10000 100000 1000000] [--users 100000] [--seconds 30]

For each size a bundle is built (`serve_world`) and served by one process on core 0; the load comes
from this process on core 1, open-loop (`serve_load`), as k = 10 slates of 200 candidates for
investors with a history of 200 events.  A bare echo of the same framework is asked in the same way
beside it.  Needs two cores that do nothing else: the load average before is written beside.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import KEPT, ROOT, write_result
from benchmarks.serve_load import Answered, Client, even, fire, percentiles_ms, poisson
from benchmarks.serve_noise import measured
from benchmarks.serve_world import LONG, build, user_name
from tessera.contracts.arrays import Float64s

_PORT = 8765
_RATE = 20.0
_P99_MS = 50.0
_K = 10
_PARAMS = {"retrieved": 190, "uniform": 10}
_MOST_RATE = 3000.0


@contextmanager
def served(
    bundle: str, folder: Path, port: int, *more: str
) -> Iterator[tuple[Client, subprocess.Popen[str]]]:
    """Start a server on core 0 and end it; what it saw lies in `folder/seen.json` then."""
    folder.mkdir(parents=True, exist_ok=True)
    words = [bundle, str(folder), str(port), "--core", "0", "--params", json.dumps(_PARAMS),
             *more]  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.serve_host", *words],
        cwd=ROOT, stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    try:
        client = Client(port)
        if bundle != "echo":
            assert process.stdout is not None
            client.headers["Authorization"] = f"Bearer {process.stdout.readline().strip()}"
        _wait(port)
        yield client, process
        client.close()
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def _wait(port: int) -> None:
    async def ready() -> None:
        while True:
            try:
                await Client(port).ask("/healthz", None, "GET")
                return
            except OSError:
                await asyncio.sleep(0.05)

    asyncio.run(asyncio.wait_for(ready(), 600))


def load(
    client: Client, users: int, rate: float, seconds: float, rng: np.random.Generator
) -> list[Answered]:
    """Ask for slates of investors with long histories at a rate, by chance as people come."""
    return _ask(client, users, poisson(rate, seconds, rng), rng)


def load_evenly(
    client: Client, users: int, rate: float, seconds: float, rng: np.random.Generator
) -> list[Answered]:
    """Ask at a rate with a fixed distance, as wrk2 and locust do."""
    return _ask(client, users, even(rate, seconds), rng)


def _ask(client: Client, users: int, due_N: Float64s, rng: np.random.Generator) -> list[Answered]:
    asked = LONG * 10 * rng.integers(users // (LONG * 10), size=len(due_N))

    async def send(number: int) -> tuple[int, bytes]:
        body = {"investor_id": user_name(int(asked[number])), "k": _K}
        return await client.ask("/v1/recommendations", body)

    return asyncio.run(_whole(client, send, due_N))


async def _whole(client: Client, send: Any, due_N: Any) -> list[Answered]:
    found = await fire(send, due_N)
    client.close()
    return found


def figures(found: list[Answered]) -> dict[str, Any]:
    """Return percentiles of what was answered and how many were not."""
    good = [one.waited_s for one in found if one.status == 200]
    return {"asked": len(found), "failed": len(found) - len(good), **percentiles_ms(good)}


def highest_rate(
    client: Client, users: int, seconds: float, rng: np.random.Generator
) -> dict[str, float]:
    """Return the highest rate whose p99 is below the limit with nothing failed, within a tenth."""
    low, high, tried = 0.0, 0.0, 10.0
    best: dict[str, float] = {}
    while tried <= _MOST_RATE and (not high or high / max(low, 1.0) > 1.1):
        found = figures(load(client, users, tried, seconds, rng))
        if found["failed"] == 0 and found["p99"] < _P99_MS:
            low, best = tried, {"a_second": round(tried, 1), "p99_ms": found["p99"]}
        else:
            high = tried
        tried = tried * 2 if not high else (low + high) / 2
        if high and high < 12:
            break
    return best or {"a_second": 0.0, "p99_ms": 0.0}


async def _effect(client: Client, users: int, rounds: int) -> list[float]:
    """Post an event and ask at once; the seconds until a slate that knows it has come."""
    waited = []
    for number in range(rounds):
        user = user_name(LONG * 10 * (number % (users // (LONG * 10))))
        before = json.loads((await client.ask("/v1/version", None, "GET"))[1])["events"]
        begun = time.perf_counter()
        event = {"event_id": f"b{time.time_ns()}", "investor_id": user,
                 "item_id": f"i{number:07d}", "action": "click"}  # fmt: skip
        await client.ask("/v1/events", {"events": [event]})
        told = await client.ask("/v1/recommendations", {"investor_id": user, "k": _K})
        waited.append(time.perf_counter() - begun)
        known = int(json.loads(told[1])["context_version"].split("+")[1])
        if known != before + 1:
            raise SystemExit("the slate did not know the event before it")
    client.close()
    return waited


def measure(items: int, users: int, seconds: float, seed: int) -> dict[str, Any]:
    """Measure one size."""
    rng, bundle = np.random.default_rng(seed), KEPT / "serve" / f"v{items}"
    wanted = ("manifest.json", "segments.parquet")  # one of before has no segments
    if not all((bundle / name).exists() for name in wanted):
        shutil.rmtree(bundle, ignore_errors=True)
        build(bundle, items, users, seed)
    folder = KEPT / "serve" / f"run{items}"
    shutil.rmtree(folder, ignore_errors=True)
    with served(str(bundle), folder, _PORT) as (client, _):
        load(client, users, _RATE, 5, rng)
        at_rate = figures(load(client, users, _RATE, seconds, rng))
        evenly = figures(load_evenly(client, users, _RATE, seconds, rng))
        effect = asyncio.run(_effect(client, users, 50))
        highest = highest_rate(client, users, min(seconds, 10), rng)
    seen = json.loads((folder / "seen.json").read_text())
    part = slice(int(_RATE * 5), int(_RATE * 5) + at_rate["asked"])
    took, found_N = seen["took_s"][part], np.array(seen["found"][part])
    steps = {name: percentiles_ms([one[name] for one in took]) for name in took[0]}
    return {
        "at_20_a_second": at_rate, "evenly": evenly, "steps_ms": steps, "feedback_to_effect_ms":
        percentiles_ms(effect), "highest_rate": highest, "start_s": round(seen["start_s"], 2),
        "memory_mb": seen["memory_mb"],
        "found_one_under_way": round(float((found_N > 0).mean()), 3),
        "found_another_waiting": round(float((found_N > 1).mean()), 3),
    }  # fmt: skip


def measure_echo(seconds: float, seed: int) -> dict[str, Any]:
    """Measure the bare framework in the same way."""
    rng, folder = np.random.default_rng(seed), KEPT / "serve" / "echo"
    with served("echo", folder, _PORT) as (client, _):
        load(client, 10_000, _RATE, 2, rng)
        at_rate = figures(load(client, 10_000, _RATE, seconds, rng))
        return {"at_20_a_second": at_rate,
                "evenly": figures(load_evenly(client, 10_000, _RATE, seconds, rng)),
                "highest_rate": highest_rate(client, 10_000, min(seconds, 10), rng)}  # fmt: skip


def main() -> None:
    """Measure each size and the echo, and write results/serve.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, nargs="+", default=[400, 10_000, 100_000, 1_000_000])
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    os.sched_setaffinity(0, {1})
    busy = os.getloadavg()[0]
    told: dict[str, Any] = {"load_average_before": round(busy, 2), "users": given.users,
                            "command": " ".join(["python -m benchmarks.serve", *sys.argv[1:]]),
                            "candidates": sum(_PARAMS.values()), "seed": given.seed}  # fmt: skip
    told["loop"] = measured(given.seconds)
    told["echo"] = measure_echo(given.seconds, given.seed)
    for items in given.items:
        told[str(items)] = measure(items, given.users, given.seconds, given.seed)
        print(items, json.dumps(told[str(items)]), file=sys.stderr)
        echo_rate = told["echo"]["highest_rate"]["a_second"]
        mine = told[str(items)]["highest_rate"]["a_second"]
        told[str(items)]["share_of_echo"] = round(mine / max(echo_rate, 1e-9), 4)
    write_result("serve", told)


if __name__ == "__main__":
    main()

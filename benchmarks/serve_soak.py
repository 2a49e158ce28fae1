"""Whether the memory of a service grows over an hour of answers.

Usage: python -m benchmarks.serve_soak [--minutes 100] [--rate 20]

The server runs on core 0, slates and events come from core 1.  Resident memory is read from outside
every few seconds: its own, and beside it what of mapped files is resident, which all processes
share and which the system takes back when it needs to.  Behind the warm-up (a tenth) it is averaged
over blocks, and a line through the blocks gives the slope with its interval: neighbouring readings
are no independent ones.  Events are known until their bundle is left, so they must grow: what one
takes is counted beforehand.  The clock of the service begins on an hour, so that it is sealed after
sixty minutes, and what that costs is seen.

Shapes: B blocks.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import tempfile
import time
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import psutil  # type: ignore[import-untyped]
from scipy import stats

from benchmarks.common import KEPT, write_result
from benchmarks.serve import served
from benchmarks.serve_load import Answered, Client, fire, poisson
from benchmarks.serve_world import build, item_name, user_name
from tessera.contracts.arrays import Float64s
from tessera.serve.clock import Clock
from tessera.serve.host import start
from tessera.serve.http.app import event_from
from tessera.serve.http.bodies import Happenings
from tessera.serve.params import ServeParams
from tessera.serve.service import Service

_PORT, _ITEMS, _USERS = 8769, 10_000, 20_000
_EVENTS, _BLOCKS, _LEVEL = 0.3, 10, 0.95
"""Share of the requests that are events; blocks behind the warm-up; of the interval."""
_WARM_UP, _EVERY_S = 0.1, 5.0
_KEPT_MB = 32.0
"""Of histories that were read: full within the warm-up, else its filling is what is seen."""
_HOW = ("--unwatched", "--params",
        json.dumps({"retrieved": 190, "uniform": 10, "kept_mb": _KEPT_MB}))  # fmt: skip


def slope(at_h_B: Float64s, mb_B: Float64s) -> dict[str, float]:
    """Return MB an hour with an interval, from blocks that count as independent.

    >>> slope(np.arange(4.0), np.array([1.0, 3.0, 5.0, 7.0]))["mean"]
    2.0
    """
    line = stats.linregress(at_h_B, mb_B)
    wide = float(stats.t.ppf((1 + _LEVEL) / 2, len(mb_B) - 2) * line.stderr)
    mean = float(line.slope)
    return {"mean": round(mean, 3), "low": round(mean - wide, 3), "high": round(mean + wide, 3)}


def event_bytes(bundle: Path, count: int = 20_000) -> float:
    """Return what an event that is known takes, as the allocator of Python counts it."""
    with tempfile.TemporaryDirectory() as folder:
        service = start(bundle, Path(folder), ServeParams()).service
        clock = Clock(service.engine.scorer.ranker.moment - time.time_ns() // 1000)
        tracemalloc.start()
        _take_in(service, clock, 0, 100)
        before = tracemalloc.get_traced_memory()[0]
        _take_in(service, clock, 100, count)
        took = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()
        service.close()
    return took / count


def _take_in(service: Service, clock: Clock, first: int, count: int) -> None:
    """Take events in as they come over the wire, a hundred at once."""
    for start_ in range(first, first + count, 100):
        told = json.dumps({"events": [_event(f"b{n}", n) for n in range(start_, start_ + 100)]})
        events = Happenings.model_validate_json(told).events
        service.happened([event_from(one, clock) for one in events])


def _event(name: str, n: int) -> dict[str, str]:
    return {"event_id": name, "investor_id": user_name(n * 7919 % _USERS), "action": "click",
            "item_id": item_name(n % _ITEMS)}  # fmt: skip


async def _watch(process: psutil.Process, seconds: float) -> list[tuple[float, float, float]]:
    """Read hours since the start, MB of its own, and MB of mapped files that are resident."""
    begun, found = time.perf_counter(), []
    while (gone := time.perf_counter() - begun) < seconds:
        seen = process.memory_info()
        found.append((gone / 3600, (seen.rss - seen.shared) / 2**20, seen.shared / 2**20))
        await asyncio.sleep(_EVERY_S)
    return found


async def _hour(
    client: Client, process: psutil.Process, rate: float, seconds: float, seed: int
) -> tuple[list[Answered], list[tuple[float, float, float]]]:
    rng = np.random.default_rng(seed)
    due_N = poisson(rate, seconds, rng)
    is_event_N, user_N = rng.random(len(due_N)) < _EVENTS, rng.integers(_USERS, size=len(due_N))

    async def send(n: int) -> tuple[int, bytes]:
        user = user_name(int(user_N[n]))
        if not is_event_N[n]:
            body: dict[str, Any] = {"investor_id": user, "k": 10}
            return (await client.ask("/v1/recommendations", body))[0], b""
        event = {**_event(f"e{seed}-{n}", n), "investor_id": user}
        return (await client.ask("/v1/events", {"events": [event]}))[0], b""

    found, seen = await asyncio.gather(fire(send, due_N), _watch(process, seconds))
    client.close()
    return found, seen


def measure(minutes: float, rate: float, seed: int) -> dict[str, Any]:
    """Serve for so long and fit the line."""
    bundle, folder = KEPT / "serve" / f"v{_ITEMS}s", KEPT / "serve" / "soak"
    if not (bundle / "manifest.json").exists():
        shutil.rmtree(bundle, ignore_errors=True)
        build(bundle, _ITEMS, _USERS, seed)
    shutil.rmtree(folder, ignore_errors=True)
    each = event_bytes(bundle)
    with served(str(bundle), folder, _PORT, *_HOW) as (client, started):
        process = psutil.Process(started.pid)
        found, seen = asyncio.run(_hour(client, process, rate, 60 * minutes, seed))
    told = np.array(seen)
    late = told[told[:, 0] >= _WARM_UP * minutes / 60]
    blocks = np.array([block.mean(axis=0) for block in np.array_split(late, _BLOCKS)])
    mb, mapped = ({"first": told[0, one], "warm": late[0, one], "last": told[-1, one],
                   "most": told[:, one].max()} for one in (1, 2))  # fmt: skip
    return {
        "minutes": minutes, "rate": rate, "warm_up_minutes": round(_WARM_UP * minutes, 2),
        "events": _EVENTS, "kept_mb": _KEPT_MB,
        "asked": len(found), "failed": sum(one.status != 200 for one in found),
        "mb": {name: round(float(one), 1) for name, one in mb.items()},
        "mapped_mb": {name: round(float(one), 1) for name, one in mapped.items()},
        "event_bytes": round(each), "mb_per_hour": slope(blocks[:, 0], blocks[:, 1]),
        "mb_per_hour_of_events": round(rate * _EVENTS * 3600 * each / 2**20, 2),
    }  # fmt: skip


def main() -> None:
    """Measure, and write results/serve_soak.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=100.0)
    parser.add_argument("--rate", type=float, default=20.0)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    if given.minutes * 60 < 4 * _BLOCKS * _EVERY_S:
        parser.error(f"at least {4 * _BLOCKS * _EVERY_S / 60:g} minutes, for a slope")
    os.sched_setaffinity(0, {1})
    write_result("serve_soak", {"seed": given.seed,
                                **measure(given.minutes, given.rate, given.seed)})  # fmt: skip


if __name__ == "__main__":
    main()

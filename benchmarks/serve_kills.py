"""A serving process is killed under load, again and again: nothing acknowledged may be lost.

Usage: python -m benchmarks.serve_kills [--kills 100] [--rate 60]

A server on core 0 answers slates and takes in events from core 1, until SIGKILL comes at a moment
that chance picks.  Then the next one starts on the same log, and the log is read: each slate and
event that was acknowledged has to be there once, and no file may be torn.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import KEPT, write_result
from benchmarks.serve import served
from benchmarks.serve_load import Client, fire, poisson
from benchmarks.serve_world import build, item_name, user_name
from tessera.contracts.progress import progress_bar
from tessera.serve.hours import open_segments, records, sealed_hours, still
from tessera.serve.log import is_open

_PORT, _ITEMS, _USERS = 8767, 400, 2000
_LIVES_S = (0.3, 2.0)
"""How long a server lives under load."""
_EVENTS = 0.5
"""Share of the requests that are events."""


@dataclass(slots=True)
class Told:
    """What was acknowledged, and what the log did wrong with it."""

    slates: set[str] = field(default_factory=set)
    events: set[str] = field(default_factory=set)
    unlogged: int = 0
    """Answers that said themselves that they are in no log."""
    lost: set[str] = field(default_factory=set)
    repeated: set[str] = field(default_factory=set)
    torn: int = 0
    """Files that end in the middle of a line, or differ from what was sealed, after a start."""
    cut: int = 0
    """Kills that tore a line, which the next start cut off."""


async def _life(client: Client, told: Told, process: Any, rate: float, seed: Any) -> None:
    """Load a server until it is killed."""
    rng = np.random.default_rng(seed)
    lives_s = float(rng.uniform(*_LIVES_S))
    due_N = poisson(rate, lives_s + 0.3, rng)
    is_event_N, user_N = rng.random(len(due_N)) < _EVENTS, rng.integers(_USERS, size=len(due_N))

    async def send(n: int) -> tuple[int, bytes]:
        user = user_name(int(user_N[n]))
        if not is_event_N[n]:
            status, body = await client.ask("/v1/recommendations", {"investor_id": user, "k": 10})
            _acknowledge(told, status, body)
            return status, body
        event = {"event_id": f"e{time.time_ns()}-{n}", "investor_id": user, "action": "click",
                 "item_id": item_name(int(user_N[n]) % _ITEMS)}  # fmt: skip
        status, body = await client.ask("/v1/events", {"events": [event]})
        if status == 200:
            told.events.add(event["event_id"])
        return status, body

    async def kill() -> None:
        await asyncio.sleep(lives_s)
        process.kill()

    await asyncio.gather(fire(send, due_N), kill())
    client.close()


def _acknowledge(told: Told, status: int, body: bytes) -> None:
    if status != 200:
        return
    answer = json.loads(body)
    if "unlogged" in answer["flags"]:
        told.unlogged += 1
    else:
        told.slates.add(answer["request_id"])


def count(told: Told, log: Path) -> None:
    """Hold the log against what was acknowledged so far."""
    with still(log):  # an hour that ends is sealed meanwhile
        torn = [one.path for one in open_segments(log) if one.torn and not is_open(one.path)]
        for hour in sealed_hours(log):
            hour.check()
    told.torn += len(torn)
    found = Counter(one.get("event_id") or one["request_id"] for one in records(log))
    told.lost |= (told.slates | told.events) - found.keys()
    told.repeated |= {name for name, times in found.items() if times > 1}


def measure(kills: int, rate: float, seed: int) -> dict[str, Any]:
    """Kill so many servers; every start reads what those before left."""
    bundle, folder, told = KEPT / "serve" / f"v{_ITEMS}k", KEPT / "serve" / "kills", Told()
    if not (bundle / "manifest.json").exists():
        shutil.rmtree(bundle, ignore_errors=True)
        build(bundle, _ITEMS, _USERS, seed)
    shutil.rmtree(folder, ignore_errors=True)
    with progress_bar("kills", kills) as bar:
        for number in range(kills + 1):
            with still(folder / "log"):
                left = sum(one.torn > 0 for one in open_segments(folder / "log"))
            with served(str(bundle), folder, _PORT) as (client, process):
                told.cut += left
                count(told, folder / "log")
                if number < kills:
                    asyncio.run(_life(client, told, process, rate, (seed, number)))
            bar.advance(1)
    return {
        "kills": kills, "slates": len(told.slates), "events": len(told.events),
        "unlogged": told.unlogged, "lost": len(told.lost), "repeated": len(told.repeated),
        "torn": told.torn, "cut": told.cut,
    }  # fmt: skip


def main() -> None:
    """Measure, and write results/serve_kills.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--rate", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    os.sched_setaffinity(0, {1})
    found = measure(given.kills, given.rate, given.seed)
    write_result("serve_kills", {"rate": given.rate, "seed": given.seed, **found})


if __name__ == "__main__":
    main()

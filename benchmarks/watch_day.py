"""Seconds and memory of `tessera monitor` on a day with very many exposures.

Usage: python -m benchmarks.watch_day [--exposures 1000000] [--days 7] [--small 30000]

The day, and as many days before it as it needs, lie sealed: slates of three positions drawn from 50
candidates of 10,000 items for 100,000 investors.  The days before are small, but for the last one,
which is as large as the day, since what came of it is told on the day.  The time is that of the
process, with reading, measuring and writing; the days before were measured before.  What was
written of the log outlives a kill.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import numpy as np

from benchmarks.common import KEPT, ROOT, write_result
from benchmarks.watch_world import IDENTITY, LENGTH, POLICY, World, item_name, user_name
from tessera.contracts.arrow import DAY_US
from tessera.platform.watching.day import SPEC, watch_day
from tessera.platform.workspace.paths import Workspace
from tessera.serve.closed import settle, write_lines
from tessera.serve.events import EVENT, SLATE, Record
from tessera.serve.hours import RECORDS, SEALED, Hour
from tessera.serve.sealing import tables, write_tables
from tessera.shared.policies.slate import sample_slates

_FIRST = date(2025, 3, 1)
_USERS, _ITEMS, _CANDIDATES, _PART = 100_000, 10_000, 50, 2_000
_CLICKS = 0.1


def drawn(day: int, slates: int, part: int) -> Iterator[Record]:
    """Draw some slates of a day and what came of them."""
    rng = np.random.default_rng((day, part))
    first_NC = rng.integers(0, _ITEMS, (slates, 1)) + 197 * np.arange(_CANDIDATES)
    item_NC = first_NC % _ITEMS
    score_NC = rng.normal(0, 1, item_NC.shape) - item_NC / _ITEMS
    chosen_NL, propensity_NL, chance_NLC = sample_slates(
        score_NC, np.ones(score_NC.shape, np.bool_), POLICY, LENGTH, rng
    )
    user_N, moment_N = rng.integers(0, _USERS, slates), np.sort(rng.integers(0, DAY_US, slates))
    sources = ["dense"] * 40 + ["uniform"] * 10
    for row in range(slates):
        name, moment = f"r{day}-{part}-{row}", int(day * DAY_US + moment_N[row])
        ids = [item_name(one) for one in item_NC[row].tolist()]
        yield {
            "kind": SLATE, "request_id": name, "user_id": user_name(user_N[row]),
            "moment": moment, "policy_id": "v1", "context_version": f"{IDENTITY[:12]}+0",
            "flags": [], "took_ms": {"hydrate": 1.2, "score": 2.0}, "candidate_ids": ids,
            "sources": sources, "scores": score_NC[row].tolist(),
            "chosen": chosen_NL[row].tolist(), "propensities": propensity_NL[row].tolist(),
            "probabilities": chance_NLC[row].tolist(),
            "chances": dict.fromkeys(("click", "buy", "dismiss"), [_CLICKS / LENGTH] * LENGTH),
        }  # fmt: skip
        if rng.random() < _CLICKS:
            yield {
                "kind": EVENT, "event_id": f"e{name}", "user_id": user_name(user_N[row]),
                "item_id": ids[chosen_NL[row, 0]], "action": "click", "moment": moment + 1_000_000,
                "request_id": name, "value": 0.0, "channel": "app",
            }  # fmt: skip


def write(workspace: Workspace, day: int, exposures: int) -> None:
    """Write a day as sealed hours, records alone: nothing else of an hour is read."""
    slates = exposures // LENGTH
    for part, first in enumerate(range(0, slates, _PART)):
        name = f"{day}-{part:05d}"
        if (workspace.served / SEALED / name).exists():
            continue
        made = workspace.served / SEALED / f".making-{name}"
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir(parents=True)
        told = write_tables(tables(()), made)
        found = list(drawn(day, min(_PART, slates - first), part))
        told[RECORDS] = write_lines(found, made / f"{RECORDS}.parquet")
        settle(Hour(made, {f"{name}.log": ""}, told), workspace.served / SEALED / name)


def build(root: Path, exposures: int, days: int, small: int) -> Workspace:
    """Write bundle and log, as far as they are not there."""
    workspace = Workspace(root, "market")
    (root / SPEC).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(ROOT / SPEC, root / SPEC)
    if not (workspace.bundles / "v1").exists():
        World.of(0, users=1000, items=_ITEMS).write_bundle(workspace.bundles / "v1")
    number = (_FIRST - date(1970, 1, 1)).days
    for one in range(days):
        write(workspace, number + one, small)
    for one in (days, days + 1):
        write(workspace, number + one, exposures)
    return workspace


def measured(root: Path, day: date) -> None:
    """Measure a day in this process and print what it took."""
    begun = time.perf_counter()
    found = watch_day(Workspace(root, "market"), day)
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(json.dumps({
        "seconds": round(time.perf_counter() - begun, 2),
        "cpu_seconds": round(used.ru_utime + used.ru_stime, 2),
        "megabytes": round(used.ru_maxrss / 1024),
        "series": len(found.points()),
        "slates": found.facts["inputs"]["slate"]["rows"],
    }))  # fmt: skip


def main() -> None:
    """Build, measure in a process of its own, and keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--exposures", type=int, default=1_000_000)
    parser.add_argument("--days", type=int, default=7)
    parser.add_argument("--small", type=int, default=30_000)
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--day", type=date.fromisoformat, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.measure is not None:
        measured(asked.measure, asked.day)
        return
    root = KEPT / f"watch_day-{asked.exposures}-{asked.days}-{asked.small}"
    build(root, asked.exposures, asked.days, asked.small)
    last = _FIRST + timedelta(days=asked.days + 1)
    before = last - timedelta(days=1)
    for day in (last,) if (root / "registry/market/watched" / str(before)).exists() else (
        before, last,
    ):  # fmt: skip
        words = [sys.executable, "-m", "benchmarks.watch_day", "--measure", str(root)]
        done = subprocess.run([*words, "--day", str(day)], capture_output=True, text=True,
                              check=True)  # fmt: skip
    write_result("watch_day", {"exposures": asked.exposures, **json.loads(done.stdout)})
    shutil.rmtree(root)


if __name__ == "__main__":
    main()

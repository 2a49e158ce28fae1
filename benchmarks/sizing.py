"""What a load beyond these machines would need, from what was measured here.

Usage: python -m benchmarks.sizing [--investors 1e8] [--items 1e6] [--events 1e10] [--slates 2e9]
       [--peak 4] [--seconds 30] [--core-hour-eur 0.05]

Three parts.  *Stages*: seconds and memory of each stage grow from the largest market that was run
(`results/scale.json`) with the exponent between the two largest.  *One worker*: a service of 10,000
items on core 0 is asked at a fixed distance, so that none waits for another, and then by chance at
several rates; the simulation (`sizing_queue`) is given the first and has to find the second.
*The whole*: the same simulation at the peak of the load, with workers that die.

Shapes: S requests.
"""

from __future__ import annotations

import argparse
import math
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from benchmarks.common import KEPT, RESULTS, write_result
from benchmarks.serve import figures, load, load_evenly, served
from benchmarks.serve_world import build
from benchmarks.sizing_queue import Cell, highest, simulate
from tessera.contracts.arrays import Float64s
from tessera.platform.workspace import files

_PORT, _ITEMS, _USERS = 8775, 10_000, 100_000
_RATES = (10.0, 20.0, 30.0, 40.0)
_P99_MS, _SHED = 50.0, 1e-3
_GROWS = 0.1
"""Exponents below are those of noise."""
_MEMORY_MB, _DAY_S = 16 * 1024, 86_400.0
_MONTH_S, _HOURS_A_MONTH = 30 * _DAY_S, 720.0
_CELL_WORKERS, _MINUTES = 16, 10.0
_START_S = 10.0
"""Until a worker that died answers again: found dead, started, warmed (a second or two), and asked
by a balancer that looks every five seconds."""

Grown = dict[str, dict[str, float]]


def grown(scale: Mapping[str, Any], events: float) -> Grown:
    """Return hours and GB of each stage at so many events, on one machine and as it is.

    Parameters
    ----------
    scale : mapping
        Figures of `benchmarks.scale`: sizes, and exponents from one size to the next.
    events : float
        Of the log.

    Ten times the events take ten times as long at an exponent of 1; at .5, 3.2 times the memory.

    >>> size = {"events": 100, "a": {"seconds": 36.0, "heap_mb": 1024}}
    >>> step = {"a": {"seconds": 1.0, "heap_mb": 0.5}}
    >>> grown({"1x": size, "growth": {"s": step}}, 1000)["a"]
    {'hours': 0.1, 'heap_gb': 3.16}
    """
    largest, step = _largest(scale), list(scale["growth"].values())[-1]
    times = events / largest["events"]
    return {
        stage: {
            "hours": round(largest[stage]["seconds"] * times ** max(one["seconds"], 0) / 3600, 3),
            "heap_gb": round(largest[stage]["heap_mb"] * times ** max(one["heap_mb"], 0) / 1024, 2),
        }
        for stage, one in step.items()
    }


def _largest(scale: Mapping[str, Any]) -> Mapping[str, Any]:
    sizes = [one for name, one in scale.items() if name.endswith("x")]
    return max(sizes, key=lambda one: float(one["events"]))


def ends(scale: Mapping[str, Any]) -> dict[str, dict[str, float | None]]:
    """Return by stage at how many events it passes 16 GB, and a day; None never.

    >>> size = {"events": 100, "a": {"seconds": 86.4, "heap_mb": 1024}}
    >>> step = {"a": {"seconds": 1.0, "heap_mb": 0.0}}
    >>> ends({"1x": size, "growth": {"s": step}})["a"]
    {'memory': None, 'day': 100000.0}
    """
    largest, step = _largest(scale), list(scale["growth"].values())[-1]

    def at(value: float, limit: float, exponent: float) -> float | None:
        if exponent < _GROWS:
            return None
        return float(largest["events"] * (limit / value) ** (1 / exponent))

    return {
        stage: {
            "memory": at(largest[stage]["heap_mb"], _MEMORY_MB, one["heap_mb"]),
            "day": at(largest[stage]["seconds"], _DAY_S, one["seconds"]),
        }
        for stage, one in step.items()
    }


def one_worker(seconds: float, seed: int) -> tuple[Float64s, dict[str, Any]]:
    """Ask a service alone and by chance, and let the simulation find the latter from the former."""
    rng, bundle = np.random.default_rng(seed), KEPT / "serve" / f"v{_ITEMS}"
    if not (bundle / "manifest.json").exists():
        shutil.rmtree(bundle, ignore_errors=True)
        build(bundle, _ITEMS, _USERS, seed)
    folder = KEPT / "serve" / "sizing"
    shutil.rmtree(folder, ignore_errors=True)
    with served(str(bundle), folder, _PORT) as (client, _):
        load(client, _USERS, _RATES[0], 5, rng)
        alone = [one.waited_s for one in load_evenly(client, _USERS, 15.0, 2 * seconds, rng)
                 if one.status == 200]  # fmt: skip
        measured = {rate: figures(load(client, _USERS, rate, seconds, rng)) for rate in _RATES}
    service_s, rows = np.array(alone), []
    for rate, found in measured.items():
        again = _unlimited(rate, service_s, 200 * seconds, rng)
        rows.append({"rate": rate, "measured": found, "simulated": again})
    return service_s, {
        "alone_ms": {f"p{q}": round(float(np.percentile(service_s, q)) * 1000, 2)
                     for q in (50, 95, 99)},
        "mean_ms": round(float(service_s.mean()) * 1000, 2), "requests": len(service_s),
        "rows": rows,
    }  # fmt: skip


def _unlimited(
    rate: float, service_s: Float64s, seconds: float, rng: np.random.Generator
) -> dict[str, float]:
    """Simulate one worker that turns nobody away, as the one that is measured."""
    cell = Cell(1, rate, deadline_s=math.inf)
    return simulate(cell, service_s, seconds, rng).told(1, seconds)


def whole(
    service_s: Float64s, asked: Mapping[str, float], rng: np.random.Generator
) -> dict[str, Any]:
    """Find how many workers hold the peak, and what a death of some of them does."""
    found: dict[str, Any] = {"cells": []}
    peak = asked["slates"] / _MONTH_S * asked["peak"]
    for route in ("any", "fewest"):
        rate = _CELL_WORKERS * highest(
            lambda one, route=route: _holds(_cell(one, route), service_s, rng),  # type: ignore[misc]
            1.0, 1 / float(service_s.mean()),
        )  # fmt: skip
        if rate == 0:
            found["cells"].append({"route": route, "a_worker": 0.0})
            continue
        workers = math.ceil(peak / (rate / _CELL_WORKERS))
        found["cells"].append({
            "route": route, "a_worker": round(rate / _CELL_WORKERS, 2), "workers": workers,
            "at_rate": _run(Cell(_CELL_WORKERS, rate, route), service_s, rng),
            "a_quarter_dies": _run(_dying(rate, route), service_s, rng),
            "with_spare": _run(_dying(rate * 0.75, route), service_s, rng),
            "eur_per_1000": round(workers * _HOURS_A_MONTH * asked["core_hour_eur"]
                                  / asked["slates"] * 1000, 5),
        })  # fmt: skip
    return found | {"peak_a_second": round(peak, 1), "cell_workers": _CELL_WORKERS,
                    "minutes": _MINUTES, "back_after_s": _START_S}  # fmt: skip


def _cell(rate: float, route: Any) -> Cell:
    return Cell(_CELL_WORKERS, rate * _CELL_WORKERS, route)


def _dying(rate: float, route: Any) -> Cell:
    middle = 30 * _MINUTES
    return Cell(_CELL_WORKERS, rate, route, dies_at_s=middle, back_at_s=middle + _START_S,
                die=_CELL_WORKERS // 4)  # fmt: skip


def _holds(cell: Cell, service_s: Float64s, rng: np.random.Generator) -> bool:
    told = simulate(cell, service_s, 120.0, rng).told(cell.workers, 120.0)
    return told["p99"] < _P99_MS and told["shed"] < _SHED


def _run(cell: Cell, service_s: Float64s, rng: np.random.Generator) -> dict[str, float]:
    """Simulate some minutes; where workers die, tell of the seconds without them."""
    seconds = 60 * _MINUTES
    seen = simulate(cell, service_s, seconds, rng)
    told = seen.told(cell.workers, seconds)
    if cell.dies_at_s is not None:
        came, waited = np.array(seen.came_at), np.array(seen.waited)
        without = (came >= cell.dies_at_s) & (came < cell.back_at_s)
        told["p99_without"] = round(float(np.percentile(waited[without], 99)) * 1000, 2)
    return told


def histories(folder: Path) -> float:
    """Return bytes of a bundle's files that one event of a history takes."""
    facts = folder / "facts"
    rows = pq.read_metadata(facts / "events.parquet").num_rows
    size = sum(path.stat().st_size for path in facts.rglob("*") if path.is_file())
    return float(size / rows)


def main() -> None:
    """Measure, simulate, and write results/sizing.json."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--investors", type=float, default=1e8)
    parser.add_argument("--items", type=float, default=1e6)
    parser.add_argument("--events", type=float, default=1e10, help="a month")
    parser.add_argument("--slates", type=float, default=2e9, help="a month")
    parser.add_argument("--peak", type=float, default=4.0, help="times the mean of a month")
    parser.add_argument("--core-hour-eur", type=float, default=0.05)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    os.sched_setaffinity(0, {1})
    asked = {name: value for name, value in vars(given).items() if name != "seed"}
    scale = files.read_json(RESULTS / "scale.json")["figures"]
    service_s, worker = one_worker(given.seconds, given.seed)
    sizes = [10.0**power for power in range(7, 1 + round(math.log10(given.events)))]
    write_result("sizing", {
        "command": " ".join(["python -m benchmarks.sizing", *sys.argv[1:]]), "seed": given.seed,
        "asked": asked, "worker": worker,
        "stages": {f"{size:.0e}": grown(scale, size) for size in sizes}, "ends": ends(scale),
        "whole": whole(service_s, asked, np.random.default_rng(given.seed)),
        "event_bytes": round(histories(KEPT / "serve" / f"v{_ITEMS}"), 1),
    })  # fmt: skip


if __name__ == "__main__":
    main()

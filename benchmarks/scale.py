"""Seconds and peak memory of the stages up to the verdict at 1, 4 and 16 times the market.

Usage: python -m benchmarks.scale [--times 1 4 16] [--grow items]
Investors and requests grow alike, items do not; with `--grow items` these alone do, into
results/scale_items.json, and a stage that ends in an error is the last of its size.  Each stage
runs in a process of its own, so that its peak memory is its own; the trunk trains one epoch alone,
without the models beside it.  Seconds are wall-clock; those of processors stand beside them.  Peak
memory counts pages of mapped files that the system may drop at any time; the heap does not.
Growth is the exponent from one size to the next: 1 is as the events grow, 0 not at all.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow.parquet as pq

from benchmarks.common import ROOT, write_result
from benchmarks.memory import Heap
from benchmarks.places import pin, run_alone, turned
from tessera.platform.pipeline.forkserver import one_thread
from tessera.platform.workspace.params import Sections, load_params
from tessera.platform.workspace.paths import Workspace, open_workspace

_PROFILE = "market"
_STAGES = (
    "synth",
    "ingest",
    "causal",
    "graph",
    "sid",
    "uplift",
    "hstu",
    "baselines",
    "evaluate",
    "ope",
)
_GROWN = {"investors": ("users", "requests"), "items": ("items",)}
_ONE_EPOCH = {"epochs": 1, "sasrec": False, "two_tower": False, "session_minutes": 0.0}


def _params(times: int, grow: str) -> Sections:
    params = load_params(open_workspace(_PROFILE, ROOT))
    market = params["synth"].model_dump()
    larger = {name: market[name] * times for name in _GROWN[grow]}
    return turned(params, {"synth": larger, "hstu": _ONE_EPOCH})


def _stage(name: str, folder: Path, times: int, grow: str) -> None:
    """Run one stage and print what it took."""
    params = _params(times, grow)
    begun = time.perf_counter()
    with Heap() as heap:
        run_alone(Workspace(folder, _PROFILE), name, params)
    seconds = time.perf_counter() - begun
    used = resource.getrusage(resource.RUSAGE_SELF)
    figures = {"seconds": round(seconds, 2), "cpu_seconds": round(used.ru_utime + used.ru_stime, 2),
               "peak_mb": round(used.ru_maxrss / 1024), "heap_mb": heap.peak_mb}  # fmt: skip
    print(json.dumps(figures))


def _growth(sizes: dict[int, dict[str, Any]]) -> dict[str, dict[str, dict[str, float]]]:
    """Return by stage the exponent of each figure from one size to the next."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for small, large in pairwise(sorted(sizes)):
        found[f"{small}x to {large}x"] = {
            name: {
                figure: round(math.log(after / before, large / small), 2)
                for figure, after in sizes[large][name].items()
                if (before := sizes[small][name][figure]) > 0
            }
            for name in _STAGES
            if name in sizes[small] and name in sizes[large]
        }
    return found


def _measure(times: int, grow: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    with TemporaryDirectory() as folder:
        workspace = Workspace(Path(folder), _PROFILE)
        pin(workspace, {"version": "v0", "kind": "logging"})
        for name in _STAGES:
            words = ("--stage", name, "--folder", folder, "--times", str(times), "--grow", grow)
            done = subprocess.run(
                [sys.executable, "-m", "benchmarks.scale", *words],
                cwd=ROOT,
                env={**os.environ, **one_thread()},
                stdout=subprocess.PIPE,
                text=True,
                check=False,
            )
            if done.returncode:
                found["ended"] = {"stage": name, "code": done.returncode}
                break
            found[name] = json.loads(done.stdout.splitlines()[-1])
            print(f"{times}x {name}: {found[name]}", file=sys.stderr)
        for table in ("events", "items"):
            if workspace.artifact(table).exists():
                found[table] = pq.read_metadata(workspace.artifact(table)).num_rows
    return found


def main() -> None:
    """Measure every size and write results/scale.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--grow", choices=_GROWN, default="investors")
    parser.add_argument("--stage", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.stage:
        _stage(given.stage, given.folder, given.times[0], given.grow)
        return
    sizes = {times: _measure(times, given.grow) for times in given.times}
    figures = {f"{times}x": found for times, found in sizes.items()}
    name = "scale" if given.grow == "investors" else "scale_items"
    write_result(name, {**figures, "growth": _growth(sizes)})


if __name__ == "__main__":
    main()

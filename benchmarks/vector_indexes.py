"""Kinds of index over vectors, up to more than a process should hold: recall, time and memory.

Usage: python -m benchmarks.vector_indexes [--vectors 1000000] [--kinds flat lists pq hnsw]
       python -m benchmarks.vector_indexes --vectors 4000000 --kinds pq --result vector_indexes_disk

Each kind is built and asked in processes of its own; times are processor time of one thread.  What
is *own* memory no file can give back; what is *mapped* the system drops when it needs the room, and
processes share it.  *Cold* searches come after the files were dropped from memory: what they read
of the disk, and how long they wait.  HNSW is built up to a million vectors, which takes long.

A service elsewhere would have to be sent which rows are listed.  What that takes over loopback,
searching left out, is the least that it would add.

Shapes: N vectors, Q queries, K found rows.
"""

from __future__ import annotations

import argparse
import os
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import KEPT, Kept, each, write_result
from benchmarks.memory import Heap, alone, memory_mb
from benchmarks.vector_away import away
from benchmarks.vector_world import WANTED, WIDTH, World, draw
from tessera.bundles.indexes import kinds
from tessera.bundles.vectors import Search

_MOST = {"hnsw": 1_000_000}
_COLD = 50
"""Searches after which memory is no longer cold."""
_FOLDER = KEPT / "vector-indexes"
_world: dict[tuple[int, int], tuple[World, dict[str, Any]]] = {}
"""The last world that was drawn, with what is nearest in it."""


def built(kind: str, vectors: Any, folder: Path) -> dict[str, Any]:
    """Build an index of mapped vectors; return seconds and the most that was held."""
    begun = time.thread_time()
    with Heap() as heap:
        kinds.write(np.memmap(*vectors), folder, kind)
    return {
        "build_s": round(time.thread_time() - begun, 1),
        "build_own_mb": heap.peak_mb - heap.before_mb,
    }


def asked(folder: Path, world: World, wanted: dict[str, Any], cold: bool) -> dict[str, Any]:
    """Open an index and ask it under every filter, or a few times without one."""
    clock = time.perf_counter if cold else time.thread_time
    before = memory_mb()
    begun, before_mb = clock(), _read_mb()
    search = Search(kinds.open_index(folder), [])
    opened_s, opened_mb, rows = clock() - begun, _read_mb(), []
    for kind, share, listed_N in world.filters():
        queries = world.query_QD[:_COLD] if cold else world.query_QD
        found, took_ms = [], []
        for query_D in queries:
            begun = clock()
            found.append(search.among(query_D, listed_N, WANTED)[0])
            took_ms.append(1000 * (clock() - begun))
        right = wanted[f"{kind} {share}"]
        recall_Q = [len(np.intersect1d(*pair)) / WANTED for pair in zip(found, right, strict=False)]
        rows.append({
            "filter": kind, "listed": share,
            "recall": round(float(np.mean(recall_Q)), 4), "least": round(min(recall_Q), 3),
            **{f"p{q}_ms": round(float(np.percentile(took_ms, q)), 2) for q in (50, 99)},
        })  # fmt: skip
        if cold:
            rows[0]["read_mb"] = round((_read_mb() - opened_mb) / _COLD, 2)
            break
    now = memory_mb()
    memory = {f"{name}_mb": round(now[name] - before[name]) for name in ("own", "mapped")}
    opened = {"open_s": round(opened_s, 2), "open_read_mb": round(opened_mb - before_mb, 1)}
    return {**opened, **memory, "searches": rows}


def _read_mb() -> float:
    """Return what the process made the disk read."""
    lines = dict(line.split(":") for line in Path("/proc/self/io").read_text().splitlines())
    return int(lines["read_bytes"]) / 2**20


def drop(folder: Path) -> None:
    """Let the system forget what it holds of the files."""
    os.sync()
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def measured(piece: tuple[str, int, int]) -> dict[str, Any]:
    """Build one kind of index and ask it."""
    kind, count, seed = piece
    world, wanted = _drawn(count, seed)
    folder = _FOLDER / kind
    folder.mkdir()
    file = _FOLDER / "drawn.f32"
    build = alone(built, kind, (file, np.float32, "r", 0, (count, WIDTH)), folder)
    print(kind, count, build, flush=True)
    size = sum(path.stat().st_size for path in folder.iterdir())
    drop(folder)
    cold = alone(asked, folder, world, wanted, True)
    warm = alone(asked, folder, world, wanted, False)
    shutil.rmtree(folder)
    print(cold, warm, flush=True)
    first = {f"cold_{name}": cold["searches"][0][name] for name in ("p50_ms", "read_mb")}
    first["cold_open_read_mb"] = cold["open_read_mb"]
    return {**build, "files_mb": round(size / 2**20), **first, **warm}


def _drawn(count: int, seed: int) -> tuple[World, dict[str, Any]]:
    if (count, seed) not in _world:
        _world.clear()
        shutil.rmtree(_FOLDER, ignore_errors=True)
        _FOLDER.mkdir(parents=True)
        world = draw(count, seed, _FOLDER)
        _world[count, seed] = world, world.nearest()
    return _world[count, seed]


def main() -> None:
    """Measure and write the result that is named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vectors", type=int, nargs="+", default=[1_000_000])
    parser.add_argument("--kinds", nargs="+", default=["flat", "lists", "pq", "hnsw"])
    parser.add_argument("--result", default="vector_indexes")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    pieces = [(kind, count, given.seed) for count in given.vectors for kind in given.kinds
              if count <= _MOST.get(kind, count)]  # fmt: skip
    kept = Kept(given.result, {"width": WIDTH})
    try:
        found = each(measured, pieces, "indexes", kept)
    finally:
        shutil.rmtree(_FOLDER, ignore_errors=True)
    rows = [{"index": kind, "vectors": count, **one}
            for (kind, count, _), one in zip(pieces, found, strict=True)]  # fmt: skip
    figures = {"seed": given.seed, "width": WIDTH, "wanted": WANTED, "rows": rows,
               "away": [{"vectors": count, **away(count)} for count in given.vectors]}  # fmt: skip
    write_result(given.result, figures)


if __name__ == "__main__":
    main()

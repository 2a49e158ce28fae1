"""Spark beside DuckDB in `ingest` and `graph`, and `graph` on a cluster that loses a worker.

Usage: python -m benchmarks.spark [--events 200000 2000000] [--killed 20000]
Each run is a process of its own; what it starts (Java) counts to it.  The cluster is Spark's own: a
master and two workers on loopback, of which one dies by SIGKILL, with its executor, while `graph`
joins.  Needs the extra `spark` and Java.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil  # type: ignore[import-untyped]
import pyarrow.parquet as pq

from benchmarks.common import write_result
from benchmarks.ingest import made_up_market
from benchmarks.memory import memory_mb
from tessera.contracts.arrow import schema, write_table
from tessera.contracts.tables import EFFECTS
from tessera.shared.engines.spark import MASTER

STAGES = ("ingest", "graph")
ENGINES = ("duckdb", "pyspark")
_THREADS = 1
_LOOK_S = 0.2
_JOINING_S = 2.0
"""How long `graph` has joined when its worker dies."""
_JOINS = ".graph-*/*.parquet"
_WAIT_S = 300
_HERE = ("--host", "127.0.0.1", "--port", "0", "--webui-port", "0")


def measure(stage: str, engine: str, source: Path, out: Path) -> dict[str, float]:
    """Run a stage in this process; seconds, CPU seconds and memory, its children's too.

    `graph` reads what `ingest` wrote into `out`.
    """
    begun = time.perf_counter()
    if stage == "ingest":
        _ingest(engine, source, out)
    else:
        _graph(engine, out)
    return {"seconds": round(time.perf_counter() - begun, 1)} | _of_all()


def _ingest(engine: str, source: Path, out: Path) -> None:
    from tessera.stages.ingest.params import IngestParams
    from tessera.stages.ingest.stage import ORDER, run

    request = out / "request.json"
    request.write_text('{"cut": null}')
    run(
        source=source,
        request=request,
        split=out / "split.json",
        suitability=out / "suitability.json",
        params=IngestParams(engine=engine, threads=_THREADS),
        **{name: out / f"{name}.parquet" for name in (*ORDER, "quarantine")},
    )
    write_table(schema(EFFECTS).empty_table(), EFFECTS, out / "effects.parquet")


def _graph(engine: str, out: Path) -> None:
    from tessera.platform.pipeline.tables import open_tables
    from tessera.platform.workspace.catalogue import ALL_STAGES
    from tessera.stages.graph.params import GraphParams
    from tessera.stages.graph.stage import run

    params = GraphParams(engine=engine, threads=_THREADS)
    spill = out / ".spill"
    spill.mkdir(exist_ok=True)
    stage = next(one for one in ALL_STAGES if one.name == "graph")
    with open_tables(stage, params, spill) as connection:
        tables = {
            name: connection.read_parquet(out / f"{name}.parquet", table_name=name)
            for name in ("events", "items", "effects", "links")
        }
        paths = {name: out / f"{name}.parquet" for name in ("edges", "nodes")}
        run(**tables, split=out / "split.json", **paths, params=params)


def _of_all() -> dict[str, float]:
    """CPU seconds and peak memory of this process and of what it started."""
    mine = psutil.Process()
    family = [mine, *mine.children(recursive=True)]
    cpu = sum(sum(one.cpu_times()[:2]) for one in family)
    return {
        "cpu_seconds": round(cpu, 1),
        "peak_mb": round(sum(memory_mb(one.pid)["peak"] for one in family)),
    }


def _command(stage: str, engine: str, source: Path, out: Path) -> list[str]:
    words = ["--measure", stage, engine, str(source), str(out)]
    return [sys.executable, "-m", "benchmarks.spark", *words]


def _run(engine: str, source: Path, out: Path) -> dict[str, dict[str, float]]:
    """Measure each stage by one engine, in a process of its own."""
    out.mkdir()
    found = {}
    for stage in STAGES:
        done = subprocess.run(
            _command(stage, engine, source, out), check=True, stdout=subprocess.PIPE
        )
        found[stage] = json.loads(done.stdout.splitlines()[-1])
    return found


def differ(one: Path, other: Path) -> list[str]:
    """Name the tables of two folders that have not the same rows in the same order."""
    names = sorted({path.name for folder in (one, other) for path in folder.glob("*.parquet")})
    return [
        name.removesuffix(".parquet")
        for name in names
        if not pq.read_table(one / name).equals(pq.read_table(other / name))
    ]


@dataclass(frozen=True, slots=True)
class _Worker:
    process: psutil.Popen

    def kill(self) -> int:
        """Kill it and its executors; return how many processes died."""
        family = [self.process, *self.process.children(recursive=True)]
        for one in family:
            one.kill()
        self.process.wait()
        return len(family)


@contextmanager
def _cluster(folder: Path) -> Iterator[tuple[str, list[_Worker]]]:
    """Start a master and two workers; all end with this block."""
    import pyspark

    home = Path(pyspark.__file__).parent
    here = {**os.environ, "SPARK_LOCAL_IP": "127.0.0.1", "SPARK_HOME": str(home)}
    started: list[psutil.Popen] = []

    def start(name: str, kind: str, *words: str) -> psutil.Popen:
        command = [home / "bin" / "spark-class", f"org.apache.spark.deploy.{kind}", *_HERE, *words]
        with (folder / f"{name}.log").open("w") as log:
            process = psutil.Popen(command, env=here, stdout=log, stderr=log)
        started.append(process)
        return process

    try:
        start("master", "master.Master")
        address = _told(folder / "master.log", "Starting Spark master at ")
        workers = []
        for number in (1, 2):
            words = ["--cores", "1", "--memory", "1g", "--work-dir", str(folder / f"work{number}")]
            process = start(f"worker{number}", "worker.Worker", *words, address)
            _told(folder / f"worker{number}.log", "Successfully registered with master ")
            workers.append(_Worker(process))
        yield address, workers
    finally:
        for process in started:
            with suppress(psutil.NoSuchProcess):  # the one that was killed
                for one in [*process.children(recursive=True), process]:
                    one.kill()


def _told(log: Path, words: str) -> str:
    """Wait until a log says these words; return what stands behind them."""
    for _ in range(int(_WAIT_S / _LOOK_S)):
        text = log.read_text() if log.exists() else ""
        if words in text:
            return text.split(words)[1].split()[0]
        time.sleep(_LOOK_S)
    raise SystemExit(f"{log} never said {words!r}")


def _killed(source: Path, scratch: Path, alone: Path) -> dict[str, Any]:
    """Run `graph` on a cluster of which a worker dies; compare with one process."""
    out = scratch / "cluster"
    shutil.copytree(alone, out)
    for name in ("edges", "nodes"):
        (out / f"{name}.parquet").unlink()
    begun = time.perf_counter()
    with _cluster(scratch) as (master, workers):
        here = {**os.environ, MASTER: master}
        process = subprocess.Popen(_command("graph", "pyspark", source, out), env=here)
        joining, died = 0.0, 0
        while process.poll() is None:
            time.sleep(_LOOK_S)
            joining += _LOOK_S * bool(list(out.glob(_JOINS)))
            if joining > _JOINING_S and not died:
                died = workers[0].kill()
        seconds = time.perf_counter() - begun
    if process.returncode or not died:
        raise SystemExit(f"the run on the cluster ended with {process.returncode}, killed {died}")
    return {"differ": differ(alone, out), "seconds": round(seconds, 1), "processes_killed": died}


def main() -> None:
    """Measure each size on both engines, then the cluster; write benchmarks/results/spark.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, nargs="*", default=[200_000, 2_000_000])
    parser.add_argument("--killed", type=int, default=20_000, help="events of the cluster")
    parser.add_argument("--measure", nargs=4, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.measure:
        stage, engine, *folders = asked.measure
        print(json.dumps(measure(stage, engine, *map(Path, folders))))
        return
    sizes = {f"{events} events": _beside(events) for events in asked.events}
    if sizes:
        write_result("spark", {"sizes": sizes})
    write_result("spark_cluster", _on_a_cluster(asked.killed))


def _beside(events: int) -> dict[str, Any]:
    """Measure one size on both engines."""
    with TemporaryDirectory() as folder:
        scratch = Path(folder)
        source = _made_up(scratch, events)
        found: dict[str, Any] = {one: _run(one, source, scratch / one) for one in ENGINES}
        return found | {"differ": differ(*(scratch / one for one in ENGINES))}


def _on_a_cluster(events: int) -> dict[str, Any]:
    """Run both stages by DuckDB, and `graph` again on a cluster."""
    with TemporaryDirectory() as folder:
        scratch = Path(folder)
        source = _made_up(scratch, events)
        _run("duckdb", source, scratch / "duckdb")
        return {"events": events} | _killed(source, scratch, scratch / "duckdb")


def _made_up(scratch: Path, events: int) -> Path:
    source = scratch / "source"
    source.mkdir()
    made_up_market(source, events)
    return source


if __name__ == "__main__":
    main()

"""The tiny market on one machine, and on two Celery workers of which one is killed in the middle.

Both begin from copies of one clone (same key, same history).  Every artifact is compared by its
hash, and so is the verdict.  The worker without the registry dies with all that it started, by
SIGKILL, while it runs a stage.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]

from benchmarks.common import write_result
from benchmarks.tiny_market import clone, environment
from tessera.platform.workspace import files
from tessera.platform.workspace.catalogue import ALL_STAGES, MARKET
from tessera.platform.workspace.paths import Workspace

_VICTIM = "two"
_MARK = "TESSERA_WORKER"
_LOOK_S = 0.2
_WORKING_S = 1.0
"""How long the stage has worked when its worker dies."""


def main() -> None:
    """Run both, and write results/cluster.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    told = "kill the worker of the clone at this stage, or the first after it that it runs"
    parser.add_argument("--stage", default="causal", help=told)
    asked = parser.parse_args()
    folder = Path(tempfile.mkdtemp())  # stays where a run failed, so that its logs can be read
    local, cluster = folder / "local", folder / "cluster"
    clone(local)
    shutil.copytree(local, cluster, symlinks=True)
    local_s, _ = _run(["tessera", "run"], local, None)
    cluster_s, killed = _run(["tessera", "cluster"], cluster, asked.stage)
    figures = _compare(Workspace(local, MARKET), Workspace(cluster, MARKET))
    figures |= {"local_s": round(local_s, 1), "cluster_s": round(cluster_s, 1), "killed": killed}
    write_result("cluster", figures | {"left": _left(cluster)})
    shutil.rmtree(folder)


def _run(words: list[str], root: Path, kill: str | None) -> tuple[float, dict[str, Any] | None]:
    """Run a command to its end; return its seconds and what was killed meanwhile."""
    began, killed, printed = time.perf_counter(), None, root.with_suffix(".log")
    with printed.open("w") as stream:
        process = psutil.Popen(
            words, cwd=root, env=environment(root), stdout=stream, stderr=subprocess.STDOUT
        )
        while process.poll() is None:
            if kill and not killed:
                killed = _kill_victim(process, kill)
            time.sleep(_LOOK_S)
    text = printed.read_text()
    print(text, flush=True)
    if process.returncode or (kill and not killed):
        raise SystemExit(f"{words} ended with {process.returncode}, killed {killed}")
    return time.perf_counter() - began, killed


def _kill_victim(process: psutil.Process, least: str) -> dict[str, Any] | None:
    """Kill every process of the victim once it runs a stage; tell which."""
    family = [one for one in process.children(recursive=True) if _told(one) == _VICTIM]
    names = [stage.name for stage in ALL_STAGES]
    wanted = names[names.index(least) :]
    for one in family:
        stage = _stage_of(one)
        if stage in wanted and time.time() - one.create_time() > _WORKING_S:
            for dying in family:
                if dying.is_running():
                    dying.kill()
            return {"worker": _VICTIM, "stage": stage, "processes": len(family)}
    return None


def _told(process: psutil.Process) -> str | None:
    try:
        found: str | None = process.environ().get(_MARK)
    except psutil.Error:
        return None
    return found


def _stage_of(process: psutil.Process) -> str | None:
    """Stage that a `tessera run STAGE` works on."""
    try:
        words = process.cmdline()
    except psutil.Error:
        return None
    at = next((n for n, word in enumerate(words) if word.endswith("/tessera")), None)
    return words[at + 2] if at is not None and words[at + 1 : at + 2] == ["run"] else None


def _compare(local: Workspace, cluster: Workspace) -> dict[str, Any]:
    names = [name for stage in ALL_STAGES for name in stage.writes]
    hashes = {
        where.root.name: {name: files.sha256(where.artifact(name)) for name in names}
        for where in (local, cluster)
    }
    differ = [name for name in names if len({told[name] for told in hashes.values()}) > 1]
    verdicts = {
        where.root.name: files.read_json(where.artifact("verdict"))["decision"]
        for where in (local, cluster)
    }
    return {
        "artifacts": len(names),
        "differ": differ,
        "verdict": verdicts,
        **_tasks(cluster),
    }


def _tasks(cluster: Workspace) -> dict[str, Any]:
    """Return what Airflow tells of the tasks: tries, waits, and time beside the stage's own."""
    folder = cluster.root / ".airflow" / "cluster"
    tasks = {one["task_id"]: one for one in json.loads((folder / "tasks.json").read_text())}
    (run,) = (folder / "exchange" / cluster.profile).glob("*/")
    ran: dict[str, list[str]] = {}
    own: list[float] = []
    beside: list[float] = []
    for stage in ALL_STAGES:
        piece = files.read_json(run / f"{stage.name}.json")
        ran.setdefault(Path(piece["workspace"]).name, []).append(stage.name)
        own.append(files.read_json(cluster.records / f"{stage.name}.json")["seconds"])
        beside.append(tasks[stage.name]["duration"] - own[-1])
    waited = [_waited(one) for one in tasks.values() if one["start_date"] and one["queued_when"]]
    return {
        "ran": ran,
        "tries": {name: one["try_number"] for name, one in tasks.items() if one["try_number"] > 1},
        "queued_s": round(statistics.median(waited), 2),
        "beside_stage_s": round(statistics.median(beside), 2),
        "stages_s": round(sum(own), 1),
    }


def _left(root: Path) -> int:
    """Count the processes that work below a folder still."""
    found = 0
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            below = Path(process.cwd()).is_relative_to(root)
            found += below and process.status() != psutil.STATUS_ZOMBIE
    return found


def _waited(task: Mapping[str, Any]) -> float:
    begun, queued = (datetime.fromisoformat(task[name]) for name in ("start_date", "queued_when"))
    return (begun - queued).total_seconds()


if __name__ == "__main__":
    main()

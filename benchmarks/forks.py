"""The main job by dvc and a fork server, against one process that forks a stage at a time.

Both run the tiny market of the tests from nothing, in turns, each in a clone of its own.  The
simpler way imports for the next stage while a fork works, and tells dvc what was made by one
`dvc commit` at the end; it never asks which stages are stale, so it is shown at its best.
Processor time is that of the command and of all below it, read every few hundredths of a second.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from benchmarks.common import commit, machine
from benchmarks.tiny_market import clone, environment

_EVERY_S = 0.05
_SIMPLER = """
import json, os, subprocess, sys
from tessera.platform.cli.summary import show
from tessera.platform.pipeline import main_job
from tessera.platform.pipeline.forkserver import _open, _rooms
from tessera.platform.pipeline.runner import run_stage
from tessera.platform.pipeline.snapshot import snapshot
from tessera.platform.validation import validation
from tessera.platform.workspace.catalogue import stages
from tessera.platform.workspace.params import load_params, source_of
from tessera.platform.workspace.paths import open_workspace
workspace = open_workspace("market")
params = load_params(workspace)
main_job.write_pipeline(workspace)
# Drawing imports starts threads, which may not fork: a process of its own does it.
draw = (
    "import json; from tessera.platform.pipeline.forkserver import _rooms; "
    "print(json.dumps(_rooms()))"
)
rooms = json.loads(subprocess.check_output([sys.executable, "-c", draw]))
snapshot(workspace)
for number, stage in enumerate(stages(source_of(workspace))):
    _open(rooms, until=number)
    if (child := os.fork()) == 0:
        run_stage(stage, workspace, params)
        sys.stdout.flush()
        os._exit(0)
    _open(rooms, until=number + 1)
    assert os.waitpid(child, 0)[1] == 0, stage.name
subprocess.run(["dvc", "commit", "--force", "--quiet"], check=True)
show(workspace, main_job.publish(workspace))
"""
WAYS = {"fork server": ["tessera", "run"], "forks and one commit": [sys.executable, "-c", _SIMPLER]}


def _spent(process: psutil.Process, seen: dict[tuple[int, float], float]) -> None:
    """Note the processor time of a process and of all below it; who ended keeps the last."""
    try:
        for one in [process, *process.children(recursive=True)]:
            times = one.cpu_times()
            seen[one.pid, one.create_time()] = times.user + times.system
    except psutil.NoSuchProcess:
        return


def _measure(words: list[str], root: Path) -> tuple[float, float]:
    """Return wall and processor seconds of a command."""
    seen: dict[tuple[int, float], float] = {}
    begun = time.perf_counter()
    with (root / ".printed").open("w") as printed:
        process = psutil.Popen(
            words, cwd=root, env=environment(root), stdout=printed, stderr=subprocess.STDOUT
        )
        while process.poll() is None:
            _spent(process, seen)
            time.sleep(_EVERY_S)
    if process.returncode:
        raise SystemExit((root / ".printed").read_text())
    return time.perf_counter() - begun, sum(seen.values())


def main() -> None:
    """Measure both in turns, and print a line a run and the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=5, help="runs of each")
    found: dict[str, list[tuple[float, float]]] = {way: [] for way in WAYS}
    print(json.dumps({"commit": commit(), "machine": machine()}))
    for _ in range(parser.parse_args().turns):
        for way, words in WAYS.items():
            with tempfile.TemporaryDirectory() as folder:
                clone(Path(folder) / "market")
                found[way].append(_measure(words, Path(folder) / "market"))
            wall_s, processor_s = found[way][-1]
            print(f"{way}: {wall_s:.1f} s, {processor_s:.1f} s of processor time", flush=True)
    for way, runs in found.items():
        wall_s, processor_s = (statistics.median(one) for one in zip(*runs, strict=True))
        print(f"{way}, median: {wall_s:.1f} s, {processor_s:.1f} s of processor time")


if __name__ == "__main__":
    main()

"""What the house costs: a repro with nothing to do, parsing the DAG, going back, the overhead.

Needs a market that ran (`make run`).  The overhead compares two runs of every stage, in turns: the
main job (dvc, processes, validation, hashes, tracking, publishing, summary) and one process that
calls the stages' `run` one after the other on the same inputs and does nothing else.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.common import ROOT, write_result
from tessera.platform.pipeline.forkserver import one_thread

_BIN = Path(sys.executable).parent
_RUNS = 5


def _seconds(*words: str) -> float:
    environment = {
        **os.environ,
        **one_thread(),
        "PATH": f"{_BIN}{os.pathsep}{os.environ['PATH']}",
    }
    begun = time.perf_counter()
    subprocess.run(
        words, cwd=ROOT, env=environment, check=True, stdout=subprocess.DEVNULL, stderr=sys.stderr
    )
    return time.perf_counter() - begun


def _parse_dag() -> float:
    code = (
        "import time; t = time.perf_counter(); import dags.pipeline; print(time.perf_counter() - t)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return float(done.stdout.split()[-1])


_BARE = """
import sys
from pathlib import Path
from tessera.platform.workspace import files
from tessera.platform.workspace.catalogue import stages
from tessera.platform.workspace.params import load_params, source_of
from tessera.platform.workspace.paths import open_workspace
from tessera.platform.pipeline.runner import call
workspace = open_workspace("market")
params = load_params(workspace)
for stage in stages(source_of(workspace)):
    folder = Path(sys.argv[1]) / stage.name
    folder.mkdir()
    call(stage, workspace, params, folder)
    files.remove(workspace.data / ".scratch" / stage.name)  # the other run must not resume from it
"""


def _bare() -> float:
    """Seconds of one process that calls every stage on the finished run's inputs."""
    with tempfile.TemporaryDirectory() as folder:
        return _seconds(sys.executable, "-c", _BARE, folder)


def _rollback() -> float:
    """Seconds of going back to v0; v1 is brought back behind it."""
    answers = ("--reason", "benchmark of acts", "--approver", "benchmark")
    seconds = _seconds("tessera", "rollback", *answers)
    _seconds("tessera", "promote", "--version", "v1", *answers)
    return seconds


def main() -> None:
    """Measure them and write results/house.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=2, help="pairs of runs for the overhead")
    turns_asked = parser.parse_args().turns
    nothing = [_seconds("dvc", "repro", "-q") for _ in range(_RUNS)]
    parsing = [_parse_dag() for _ in range(_RUNS)]
    turns = [(_bare(), _seconds("tessera", "run", "--force")) for _ in range(turns_asked)]
    # Last: a version that comes back moves the pins of whatever runs next.
    back = [_rollback() for _ in range(_RUNS)]
    bare, whole = (statistics.median(seconds) for seconds in zip(*turns, strict=True))
    write_result(
        "house",
        {
            "repro_with_nothing_to_do_s": round(statistics.median(nothing), 2),
            "dag_parse_s": round(statistics.median(parsing), 2),
            "rollback_s": round(statistics.median(back), 2),
            "main_job_s": round(whole, 1),
            "bare_stages_s": round(bare, 1),
            "overhead": round(whole / bare - 1, 4),
            "turns_s": [[round(seconds, 1) for seconds in turn] for turn in turns],
            "runs": _RUNS,
        },
    )


if __name__ == "__main__":
    main()

"""What the house itself costs: a repro with nothing to do, parsing the DAG, the overhead.

Needs a market that ran (`make run`); the overhead runs every stage again.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.common import ROOT, write_result

_BIN = Path(sys.executable).parent
_RUNS = 5


def _seconds(*words: str) -> float:
    environment = {**os.environ, "PATH": f"{_BIN}{os.pathsep}{os.environ['PATH']}"}
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


def main() -> None:
    """Measure the three and write results/house.json."""
    nothing = [_seconds("dvc", "repro", "-q") for _ in range(_RUNS)]
    parsing = [_parse_dag() for _ in range(_RUNS)]
    whole = _seconds("tessera", "run", "--force")
    records = [json.loads(p.read_text()) for p in (ROOT / "data/market/runs").glob("*.json")]
    bare = sum(record["run_seconds"] for record in records)
    write_result(
        "house",
        {
            "repro_with_nothing_to_do_s": round(statistics.median(nothing), 2),
            "dag_parse_s": round(statistics.median(parsing), 2),
            "main_job_s": round(whole, 1),
            "bare_stages_s": round(bare, 1),
            "overhead": round(whole / bare - 1, 4),
            "run_seconds": {record["stage"]: record["run_seconds"] for record in records},
            "runs": _RUNS,
        },
    )


if __name__ == "__main__":
    main()

"""How fast the embedded market writes ten million events, and in how much memory.

Run by hand: `python -m benchmarks synth`; writes benchmarks/results/synth.json.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path

from benchmarks.common import write_result
from tessera.stages.synth.params import SynthParams
from tessera.stages.synth.stage import run

FULL = SynthParams(users=40_000, requests=1_830_000, organic_rate=1.0, view_rate=4.0)
"""A log in which most events are views: 10 million events, 5.5 million exposures."""


def scaled(share: float) -> SynthParams:
    """Shrink users and visits alike."""
    change = {"users": int(FULL.users * share), "requests": int(FULL.requests * share)}
    return SynthParams(**{**FULL.model_dump(), **change})


def measure(params: SynthParams) -> dict[str, float | int | str]:
    """Write one market into a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        start, busy = time.perf_counter(), time.process_time()
        metrics = run(source=Path(folder) / "source", params=params)
        seconds, cpu_s = time.perf_counter() - start, time.process_time() - busy
    rows = metrics["events"] + metrics["exposures"] + metrics["outcomes"]
    return {
        "seed": params.seed,
        "events": int(metrics["events"]),
        "rows": int(rows),
        "seconds": round(seconds, 1),
        "cpu_seconds": round(cpu_s, 1),
        "events_per_s": round(metrics["events"] / seconds),
        "rows_per_s": round(rows / seconds),
        "peak_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
    }


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--share", type=float, default=1.0, help="of ten million events")
    arguments = parser.parse_args()
    result = measure(scaled(arguments.share))
    if arguments.share == 1.0:
        write_result("synth", result)
    else:
        print(result)


if __name__ == "__main__":
    main()

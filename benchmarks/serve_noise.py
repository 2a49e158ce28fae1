"""How long the same work takes from time to time: what no change of the service can go below.

Usage: python -m benchmarks.serve_noise [--core 0] [--seconds 20]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time

from benchmarks.common import ROOT
from benchmarks.serve_load import percentiles_ms

_STEPS, _A_SECOND = 400_000, 20.0
"""Additions of a round, which take about as long as a slate; rounds."""


def rounds(seconds: float) -> dict[str, float]:
    """Add up numbers of Python again and again, with rests between, as requests come."""
    took = []
    for _ in range(int(seconds * _A_SECOND)):
        begun, total = time.perf_counter(), 0
        for number in range(_STEPS):
            total += number
        took.append(time.perf_counter() - begun)
        time.sleep(max(0.0, 1 / _A_SECOND - took[-1]))
    return percentiles_ms(took)


def measured(seconds: float, core: int = 0) -> dict[str, float]:
    """Measure it in a process of its own."""
    words = [sys.executable, "-m", "benchmarks.serve_noise", "--core", str(core)]
    told = subprocess.run([*words, "--seconds", str(seconds)], cwd=ROOT, capture_output=True,
                          text=True, check=True)  # fmt: skip
    found: dict[str, float] = json.loads(told.stdout)
    return found


def main() -> None:
    """Print the percentiles."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--core", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=20.0)
    given = parser.parse_args()
    os.sched_setaffinity(0, {given.core})
    print(json.dumps(rounds(given.seconds)))


if __name__ == "__main__":
    main()

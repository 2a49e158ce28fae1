"""`make bench`: measure what needs no official data, or what is named, then render the page.

Beside it stand `make bench-quality`, `bench-rolling`, `bench-ope`, `bench-uplift`, `bench-causal`,
`bench-pareto`, `bench-generate`, `bench-beam`, `bench-walk`, `bench-sources`,
`bench-ablation`, `bench-rankers`,
`bench-recommend`, `bench-retrieval`, `bench-ope-market`, `bench-serve` and `bench-overload`; the
last seven need a market that ran.
"""

from __future__ import annotations

import subprocess
import sys

from benchmarks.common import ROOT
from benchmarks.render import render

NAMES = ("synth", "ingest", "house", "hstu", "acceptance", "scale")


def main() -> None:
    """Run each benchmark in a process of its own, so that peak memory is its own."""
    for name in sys.argv[1:] or NAMES:
        if name not in NAMES:
            raise SystemExit(f"no benchmark {name!r}: choose from {', '.join(NAMES)}")
        subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], cwd=ROOT, check=True)
    render()


main()

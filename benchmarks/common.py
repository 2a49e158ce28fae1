"""What every figure carries: when it was measured, on what, at which commit, with which seed."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"


def machine() -> dict[str, Any]:
    """Processor, cores and memory of this machine."""
    text = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    model = next(
        (line.split(":")[1].strip() for line in text.splitlines() if "model name" in line), ""
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "processor": model or platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(memory / 2**30, 1),
        "python": platform.python_version(),
    }


def commit() -> str:
    """Revision of the code that was measured, marked if it was changed since."""
    revision = _git("rev-parse", "--short=12", "HEAD")
    changed = _git(
        "status", "--porcelain", "--", ".", ":!benchmarks/results", ":!docs", ":!dvc.lock"
    )
    return (revision or "unknown") + ("-dirty" if changed else "")


def _git(*words: str) -> str:
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def write_result(name: str, figures: dict[str, Any]) -> Path:
    """Write figures with machine, commit and day into results/<name>.json."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    full = {
        "figures": figures,
        "machine": machine(),
        "commit": commit(),
        "day": datetime.now(UTC).date().isoformat(),
    }
    path.write_text(json.dumps(full, indent=2) + "\n")
    print(json.dumps(figures, indent=2))
    return path

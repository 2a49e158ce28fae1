"""Look every package of the lock up in a database of known faults, by pip-audit.

Usage: python -m benchmarks.audit   needs the network

A package that the database does not know counts as not looked up: where none could be, nothing was
audited, whatever pip-audit says of it.  Ends with 0 if all is well, 1 if a fault is known, 2 if the
database was not reached.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.common import ROOT

LOCK = ROOT / "requirements.lock"


def looked_up(lock: Path) -> list[dict[str, Any]] | None:
    """Return what is known of each package; None if nothing could be asked."""
    words = ["--requirement", str(lock), "--no-deps", "--disable-pip", "--format", "json"]
    done = subprocess.run(
        [sys.executable, "-m", "pip_audit", "--progress-spinner", "off", *words],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    try:
        found: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except ValueError:
        return None
    return found


def told(found: list[dict[str, Any]] | None) -> tuple[int, list[str]]:
    """Return how to end, and what to say."""
    known = [one for one in found or [] if "skip_reason" not in one]
    if not found or not known:
        return 2, ["nothing was audited: the database of known faults was not reached"]
    lines = [
        f"{one['name']} {one['version']}: {fault['id']}, mended in "
        f"{', '.join(fault['fix_versions']) or 'no version yet'}"
        for one in known
        for fault in one["vulns"]
    ]
    unknown = len(found) - len(known)
    last = f"{len(known)} packages looked up, {len(lines)} faults known, {unknown} not looked up"
    return int(bool(lines)), [*lines, last]


def main() -> None:
    """Run the audit."""
    code, lines = told(looked_up(LOCK))
    print("\n".join(lines))
    raise SystemExit(code)


if __name__ == "__main__":
    main()

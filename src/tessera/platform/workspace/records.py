"""What a stage run leaves for MLflow, and which run of the pipeline it belongs to."""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from tessera.platform.workspace import files
from tessera.platform.workspace.paths import Workspace

_RUN = ".run.json"


def begin_run(workspace: Workspace) -> None:
    """Write down which run begins: the scheduler's, or one named after the moment.

    The snapshot does, since it is the first step of every run, by whatever command.
    """
    named = os.environ.get("TESSERA_RUN")
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    files.write_json({"run": named or f"run {now}"}, workspace.data / _RUN)


def current_run(workspace: Workspace) -> str | None:
    """Return the run that began last; None before the first."""
    path = workspace.data / _RUN
    return str(files.read_json(path)["run"]) if path.exists() else None


def read_hashes(records: Path, reads: Iterable[str]) -> dict[str, str]:
    """Return the hash of each artifact that a stage reads, as its author wrote it down."""
    written: dict[str, str] = {}
    for path in sorted(records.glob("*.json")):
        written.update(files.read_json(path).get("artifacts", {}))
    return {name: written[name] for name in reads if name in written}

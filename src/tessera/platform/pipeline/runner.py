"""Run one stage: hand it its inputs, validate what it wrote, then make it visible whole.

Outputs are written into a staging folder and renamed only after every table passed its suite, so a
killed or failed stage leaves nothing that another could read by mistake.
"""

from __future__ import annotations

import hashlib
import importlib
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from inspect import signature
from pathlib import Path
from typing import Any

import ibis

from tessera.contracts.artifacts import ARTIFACTS
from tessera.contracts.doors import door
from tessera.contracts.errors import BadInput, LostRows, StageFailed, TesseraError
from tessera.contracts.processes import is_helper, started
from tessera.platform.pipeline import dvc_files
from tessera.platform.release.gatekeeper import watch
from tessera.platform.workspace import files
from tessera.platform.workspace.catalogue import Stage
from tessera.platform.workspace.code import SOURCE, import_closure
from tessera.platform.workspace.params import Sections
from tessera.platform.workspace.paths import Workspace
from tessera.platform.workspace.records import current_run, read_hashes

QUARANTINE = "quarantine"
_MEMORY = "2GB"
"""What a query of a stage may hold; the rest of a sort, join or aggregate goes to disk."""


def run_stage(stage: Stage, place: Workspace, params: Sections) -> dict[str, float]:
    """Run a stage of a profile and return its metrics.

    Raises
    ------
    TesseraError
        With one line that says what to do; nothing of this run is visible then.
    """
    if started() > 1 and not stage.parallel:
        raise TesseraError(f"{stage.name} runs in one process: start it without torchrun")
    if is_helper():
        with tempfile.TemporaryDirectory() as aside:
            return call(stage, place, params, Path(aside))
    dvc_files.keep(place)  # whole now: dvc writes it again when this stage has ended
    staging = place.data / ".staging" / stage.name
    files.remove(staging)
    staging.mkdir(parents=True)
    begun = datetime.now(UTC)
    clock = time.perf_counter()
    again = f"mend that, then `tessera run --profile {place.profile}`; --debug shows where"
    try:
        with door(StageFailed, stage.name, again):
            metrics, told = _make(stage, place, params, staging)
    except LostRows as error:
        _tell_refused(stage, place, staging, error)
        raise
    finally:
        files.remove(staging)
    files.remove(place.data / ".scratch" / stage.name)
    _tell_ingested(stage, place, metrics)
    record = {
        "stage": stage.name,
        "profile": place.profile,
        "run": current_run(place),
        "started": begun.isoformat(),
        "run_seconds": told["run_seconds"],
        "seconds": round(time.perf_counter() - clock, 3),
        "params": params[stage.section].model_dump(mode="json"),
        "metrics": metrics,
        "inputs": read_hashes(place.records, stage.reads),
        "artifacts": told["artifacts"],
    }
    files.write_json(record, place.records / f"{stage.name}.json")
    return metrics


def _make(
    stage: Stage, place: Workspace, params: Sections, staging: Path
) -> tuple[dict[str, float], dict[str, Any]]:
    """Run a stage, validate what it wrote and make it visible; return metrics, time and hashes."""
    clock = time.perf_counter()
    with watch(stage, place, params) as watched:
        metrics = call(stage, place, params, staging, standing=watched.standing)
        run_seconds = time.perf_counter() - clock
        made = {name: staging / ARTIFACTS[name].filename for name in stage.writes}
        _require(stage, made)
        _validate(made, place)
        watched.close(made)
        hashes = {name: files.sha256(path) for name, path in made.items()}
        _show(stage, place, made, metrics)
    return metrics, {"run_seconds": round(run_seconds, 3), "artifacts": hashes}


def _tell_ingested(stage: Stage, place: Workspace, metrics: dict[str, float]) -> None:
    """Print what was read and set aside; what an earlier stop kept is of the past."""
    if QUARANTINE not in stage.writes:
        return
    from tessera.platform.pipeline.ingested import refused, show_ingest

    files.remove(refused(place).parent)
    show_ingest(place.artifact(QUARANTINE), metrics)


def _tell_refused(stage: Stage, place: Workspace, staging: Path, error: LostRows) -> None:
    """Keep what was set aside where a person can look, and say where that is."""
    from tessera.platform.pipeline.ingested import keep_refused, show_ingest

    kept = keep_refused(place, staging)
    if kept is not None:
        show_ingest(kept, error.metrics)
        told = kept.relative_to(place.root) if kept.is_relative_to(place.root) else kept
        where = (
            f"; every row set aside stands in {told}" if error.metrics["rows_quarantined"] else ""
        )
        error.args = (f"{stage.name}: {error}{where}",)


def call(
    stage: Stage,
    place: Workspace,
    params: Sections,
    staging: Path,
    scratch: Path | None = None,
    standing: dict[str, Any] | None = None,
) -> dict[str, float]:
    """Run the bare stage: inputs opened, outputs written into `staging`, nothing made visible.

    `scratch` is where it keeps what survives a kill; by default the profile's own folder.  A stage
    that judges is told where its candidate stands; without `standing`, as the first one.
    """
    run: Callable[..., dict[str, float]] = importlib.import_module(stage.door).run
    connection = ibis.duckdb.connect(memory_limit=_MEMORY, temp_directory=str(staging / ".spill"))
    try:
        connection.raw_sql("SET TimeZone = 'UTC'")
        arguments: dict[str, Any] = {}
        for name in stage.reads:
            arguments[name] = _open(connection, stage, place, name)
        for name in stage.makes:
            arguments[name] = staging / ARTIFACTS[name].filename
        if "scratch" in signature(run).parameters:
            arguments["scratch"] = scratch or _scratch(stage, place)
        if stage.spec:
            arguments["spec"] = place.root / stage.spec
        if stage.judges:
            arguments["standing"] = staging / ".standing.json"
            files.write_json(standing or {}, arguments["standing"])
        return dict(run(**arguments, params=params[stage.section]))
    finally:
        connection.disconnect()


def _scratch(stage: Stage, place: Workspace) -> Path:
    """Folder that survives a killed run, but not a change of the stage's code."""
    code = hashlib.sha256()
    for name in import_closure(stage.door):
        code.update((SOURCE / name).read_bytes())
    folder = place.data / ".scratch" / stage.name / code.hexdigest()[:16]
    for old in folder.parent.glob("*"):
        if old != folder:
            files.remove(old)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _open(connection: Any, stage: Stage, place: Workspace, name: str) -> Any:
    path = place.artifact(name)
    if not path.exists():
        raise BadInput(
            f"{stage.name}: {path.relative_to(place.root)} is missing: "
            f"run `tessera run --profile {place.profile}` or the stage that writes {name}"
        )
    if ARTIFACTS[name].kind == "table":
        near = path.relative_to(place.root)
        with door(BadInput, f"{stage.name}: {near} cannot be read", "run the stage that writes it"):
            return connection.read_parquet(path, table_name=name)
    return path


def _validate(made: dict[str, Path], place: Workspace) -> None:
    """Hold every table against its suite."""
    tables = {name: path for name, path in made.items() if ARTIFACTS[name].kind == "table"}
    if tables:
        from tessera.platform.validation.validation import validate_all

        validate_all(tables, place.root / "great_expectations", place.validation)


def _require(stage: Stage, made: dict[str, Path]) -> None:
    for name in stage.makes:
        if not made[name].exists():
            raise TesseraError(
                f"{stage.name} did not write {name}: mend tessera/stages/{stage.name}/stage.py"
            )


def _show(stage: Stage, place: Workspace, made: dict[str, Path], metrics: dict[str, float]) -> None:
    for name, path in made.items():
        files.move_into_place(path, place.artifact(name))
    files.write_json(
        {key: _rounded(value) for key, value in metrics.items()}, place.metrics(stage.name)
    )


def _rounded(value: float) -> float:
    """Keep metrics readable in `dvc metrics diff`."""
    return round(float(value), 6)

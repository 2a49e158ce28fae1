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

from rich.console import Console

from tessera.contracts.artifacts import ARTIFACTS
from tessera.contracts.errors import BadInput, LostRows, StageFailed, TesseraError
from tessera.contracts.library_errors import translate_errors
from tessera.contracts.processes import is_helper, local_number, started
from tessera.platform.pipeline import dvc_files
from tessera.platform.pipeline.memory import too_little
from tessera.platform.pipeline.tables import open_tables
from tessera.platform.release.gatekeeper import watch
from tessera.platform.workspace import files
from tessera.platform.workspace.catalogue import Stage
from tessera.platform.workspace.code import SOURCE, import_closure
from tessera.platform.workspace.params import Sections, params_type
from tessera.platform.workspace.paths import Workspace
from tessera.platform.workspace.records import current_run, read_hashes

QUARANTINE = "quarantine"


def run_stage(stage: Stage, workspace: Workspace, params: Sections) -> dict[str, float]:
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
            metrics = call(stage, workspace, params, Path(aside))
        if local_number() == 0:  # on a machine of its own, where nobody else clears up
            files.remove(workspace.data / ".scratch" / stage.name)
        return metrics
    dvc_files.keep(workspace)  # whole now: dvc writes it again when this stage has ended
    staging = workspace.data / ".staging" / stage.name
    files.remove(staging)
    staging.mkdir(parents=True)
    if scarce := too_little(stage, workspace):
        Console(stderr=True).print(scarce, style="yellow", markup=False, soft_wrap=True)
    begun = datetime.now(UTC)
    clock = time.perf_counter()
    again = f"mend that, then `tessera run --profile {workspace.profile}`; --debug shows where"
    try:
        with translate_errors(StageFailed, stage.name, again):
            metrics, told = _make(stage, workspace, params, staging)
    except LostRows as error:
        _tell_refused(stage, workspace, staging, error)
        raise
    finally:
        files.remove(staging)
    files.remove(workspace.data / ".scratch" / stage.name)
    _tell_ingested(stage, workspace, metrics)
    record = {
        "stage": stage.name,
        "profile": workspace.profile,
        "run": current_run(workspace),
        "started": begun.isoformat(),
        "run_seconds": told["run_seconds"],
        "seconds": round(time.perf_counter() - clock, 3),
        "params": _read_params(stage, params),
        "metrics": metrics,
        "inputs": read_hashes(workspace.records, stage.reads),
        "artifacts": told["artifacts"],
    }
    files.write_json(record, workspace.records / f"{stage.name}.json")
    return metrics


def _make(
    stage: Stage, workspace: Workspace, params: Sections, staging: Path
) -> tuple[dict[str, float], dict[str, Any]]:
    """Run a stage, validate what it wrote and make it visible; return metrics, time and hashes."""
    clock = time.perf_counter()
    with watch(stage, workspace, params) as watched:
        metrics = call(stage, workspace, params, staging, standing=watched.standing)
        run_seconds = time.perf_counter() - clock
        made = {name: staging / ARTIFACTS[name].filename for name in stage.writes}
        _require(stage, made)
        _validate(made, workspace)
        watched.close(made)
        hashes = {name: files.sha256(path) for name, path in made.items()}
        _show(stage, workspace, made, metrics)
    return metrics, {"run_seconds": round(run_seconds, 3), "artifacts": hashes}


def _read_params(stage: Stage, params: Sections) -> dict[str, Any]:
    """Return what the stage reads: of another's section, that part alone."""
    if not stage.section:
        return {}
    section = params[stage.section]
    if stage.section == stage.name:
        return section.model_dump(mode="json")
    return section.model_dump(mode="json", include=set(params_type(stage.name).model_fields))


def _tell_ingested(stage: Stage, workspace: Workspace, metrics: dict[str, float]) -> None:
    """Print what was read and set aside; what an earlier stop kept is of the past."""
    if QUARANTINE not in stage.writes:
        return
    from tessera.platform.pipeline.ingested import refused, show_ingest

    files.remove(refused(workspace).parent)
    show_ingest(workspace.artifact(QUARANTINE), metrics)


def _tell_refused(stage: Stage, workspace: Workspace, staging: Path, error: LostRows) -> None:
    """Keep what was set aside where a person can look, and say where that is."""
    from tessera.platform.pipeline.ingested import keep_refused, show_ingest

    kept = keep_refused(workspace, staging)
    if kept is not None:
        show_ingest(kept, error.metrics)
        told = kept.relative_to(workspace.root) if kept.is_relative_to(workspace.root) else kept
        where = (
            f"; every row set aside stands in {told}" if error.metrics["rows_quarantined"] else ""
        )
        error.args = (f"{stage.name}: {error}{where}",)


def call(
    stage: Stage,
    workspace: Workspace,
    params: Sections,
    staging: Path,
    scratch: Path | None = None,
    standing: dict[str, Any] | None = None,
) -> dict[str, float]:
    """Run the bare stage: inputs opened, outputs written into `staging`, nothing made visible.

    `scratch` is where it keeps what survives a kill; by default the profile's own folder.  A stage
    that judges is told where its candidate stands; without `standing`, as the first one.
    """
    run: Callable[..., dict[str, float]] = importlib.import_module(stage.entry_point).run
    section = params[stage.section] if stage.section else None
    with open_tables(stage, section, staging / ".spill") as connection:
        arguments: dict[str, Any] = {}
        for name in stage.reads:
            arguments[name] = _open(connection, stage, workspace, name)
        for name in stage.makes:
            arguments[name] = staging / ARTIFACTS[name].filename
        if "scratch" in signature(run).parameters:
            arguments["scratch"] = scratch or _scratch(stage, workspace)
        if stage.spec:
            arguments["spec"] = workspace.root / stage.spec
        if stage.judges:
            arguments["standing"] = staging / ".standing.json"
            files.write_json(standing or {}, arguments["standing"])
        if stage.section:
            arguments["params"] = section
        return dict(run(**arguments))


def _scratch(stage: Stage, workspace: Workspace) -> Path:
    """Folder that survives a killed run, but not a change of the stage's code."""
    code = hashlib.sha256()
    for name in import_closure(stage.entry_point):
        code.update((SOURCE / name).read_bytes())
    folder = workspace.data / ".scratch" / stage.name / code.hexdigest()[:16]
    for old in folder.parent.glob("*"):
        if old != folder:
            files.remove(old)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _open(connection: Any, stage: Stage, workspace: Workspace, name: str) -> Any:
    path = workspace.artifact(name)
    if not path.exists():
        raise BadInput(
            f"{stage.name}: {path.relative_to(workspace.root)} is missing: "
            f"run `tessera run --profile {workspace.profile}` or the stage that writes {name}"
        )
    if ARTIFACTS[name].kind == "table":
        near = path.relative_to(workspace.root)
        with translate_errors(
            BadInput, f"{stage.name}: {near} cannot be read", "run the stage that writes it"
        ):
            return connection.read_parquet(path, table_name=name)
    return path


def _validate(made: dict[str, Path], workspace: Workspace) -> None:
    """Hold every table against its suite."""
    tables = {name: path for name, path in made.items() if ARTIFACTS[name].kind == "table"}
    if tables:
        from tessera.platform.validation.validation import validate_all

        validate_all(tables, workspace.root / "great_expectations", workspace.validation)


def _require(stage: Stage, made: dict[str, Path]) -> None:
    for name in stage.makes:
        if not made[name].exists():
            raise TesseraError(
                f"{stage.name} did not write {name}: mend tessera/stages/{stage.name}/stage.py"
            )


def _show(
    stage: Stage, workspace: Workspace, made: dict[str, Path], metrics: dict[str, float]
) -> None:
    for name, path in made.items():
        files.move_into_place(path, workspace.artifact(name))
    files.write_json(
        {key: _rounded(value) for key, value in metrics.items()}, workspace.metrics(stage.name)
    )


def _rounded(value: float) -> float:
    """Keep metrics readable in `dvc metrics diff`."""
    return round(float(value), 6)

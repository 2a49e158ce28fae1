"""Put one stage run into MLflow: below the pipeline run that it belongs to, with what it read.

A pipeline run is a parent whose children are its stage runs.  It carries what a person looks at
(the page of the verdict, of the watch and of the validation, the plots) and every metric, named by
its stage, so that two pipeline runs can be compared.
"""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from tessera.contracts.artifacts import ARTIFACTS
from tessera.platform.workspace import files

RECORD = "tessera.record"
FILES = "mlartifacts"
ELSEWHERE = "TESSERA_MLFLOW_FILES"
"""Environment variable with the address below which MLflow keeps the files of new experiments."""
LONGEST = 5000
"""Longest param that MLflow takes."""
_RUN = "tessera.run"
_PARENT = "mlflow.parentRunId"
_DIGEST = 36
"""Longest digest of a data set that MLflow takes."""
_PAGES = ("verdict_page", "watch")
_VALIDATION = "validation"


def experiment(client: Any, profile: str, place: Path | None) -> str:
    """Return the id of a profile's experiment, made or brought back if it is not there.

    `place` is the folder below which the files of its runs lie; None is for a server to say.
    """
    found = client.get_experiment_by_name(profile)
    if found:
        if found.lifecycle_stage != "active":  # somebody deleted it; a name is given once
            client.restore_experiment(found.experiment_id)
        return str(found.experiment_id)
    named = os.environ.get(ELSEWHERE) or (place and place.absolute().as_uri())
    below = f"{named.rstrip('/')}/{profile}" if named else None
    return str(client.create_experiment(profile, artifact_location=below))


def is_logged(client: Any, record: Mapping[str, Any], digest: str) -> bool:
    """Whether MLflow holds a stage run whole."""
    found = client.get_experiment_by_name(record["profile"])
    if not found:
        return False
    runs = client.search_runs([found.experiment_id], f"tags.`{RECORD}` = '{digest}'")
    return any(run.info.status == "FINISHED" for run in runs)


def log(
    client: Any, place: Path | None, record: Mapping[str, Any], digest: str, data: Path
) -> bool:
    """Log one stage run; return whether it was not there.

    It counts as logged only when it is finished; what was killed half-way goes.
    """
    from mlflow.entities import Metric, Param, RunTag

    where = experiment(client, record["profile"], place)
    for found in client.search_runs([where], f"tags.`{RECORD}` = '{digest}'"):
        if found.info.status == "FINISHED":
            return False
        client.delete_run(found.info.run_id)
    started_ms = int(datetime.fromisoformat(record["started"]).timestamp() * 1000)
    ended_ms = started_ms + int(1000 * record["seconds"])
    marks = {RECORD: digest, "tessera.stage": record["stage"]}
    parent = _parent(client, where, record.get("run"), started_ms)
    if parent:
        marks[_PARENT] = parent
    run = client.create_run(where, started_ms, marks, record["stage"])
    run_id = run.info.run_id
    numbers = {**record["metrics"], "seconds": record["seconds"]}
    metrics = [Metric(name, float(value), ended_ms, 0) for name, value in numbers.items()]
    params = [Param(key, value) for key, value in _flat(record["params"])]
    tags = [RunTag(f"sha256.{name}", value) for name, value in record["artifacts"].items()]
    client.log_batch(run_id, metrics, params, tags)
    for name, value in record["artifacts"].items():
        _attach(client, run_id, name, data, value)
    _tell_inputs(client, run_id, record, data)
    if parent:
        _tell_parent(client, parent, record, data, ended_ms)
    client.set_terminated(run_id, end_time=ended_ms)
    return True


def _parent(client: Any, where: str, run: str | None, started_ms: int) -> str | None:
    """Return the MLflow run of a pipeline run, made if it is not there; None if none is named."""
    if not run:
        return None
    quoted = run.replace("'", "")
    found = client.search_runs([where], f"tags.`{_RUN}` = '{quoted}'")
    if found:
        return str(found[0].info.run_id)
    return str(client.create_run(where, started_ms, {_RUN: quoted}, quoted).info.run_id)


def _tell_inputs(client: Any, run_id: str, record: Mapping[str, Any], data: Path) -> None:
    """Say which data sets a stage read, each by its hash."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    told = [
        DatasetInput(
            Dataset(
                name=name,
                digest=digest[:_DIGEST],
                source_type="local",
                source=json.dumps({"uri": (data / ARTIFACTS[name].filename).absolute().as_uri()}),
            ),
            [InputTag("mlflow.data.context", record["stage"])],
        )
        for name, digest in record.get("inputs", {}).items()
    ]
    if told:
        client.log_inputs(run_id, told)


def _tell_parent(
    client: Any, parent: str, record: Mapping[str, Any], data: Path, ended_ms: int
) -> None:
    """Let a pipeline run show what a stage found, and end with its last stage."""
    from mlflow.entities import Metric

    named = {f"{record['stage']}.{name}": value for name, value in record["metrics"].items()}
    client.log_batch(parent, [Metric(name, float(v), ended_ms, 0) for name, v in named.items()])
    for name, digest in record["artifacts"].items():
        path = data / ARTIFACTS[name].filename
        shown = ARTIFACTS[name].kind == "plots" or name in _PAGES
        if shown and path.exists() and files.sha256(path) == digest:
            _put(client, parent, path)
    page = data / _VALIDATION / "index.html"
    if page.exists():  # every stage adds its tables
        client.log_artifact(parent, str(page), _VALIDATION)
    client.set_terminated(parent, end_time=ended_ms)


def _put(client: Any, run_id: str, path: Path) -> None:
    if path.is_dir():
        client.log_artifacts(run_id, str(path), path.name)
    else:
        client.log_artifact(run_id, str(path))


def _attach(client: Any, run_id: str, name: str, data: Path, digest: str) -> None:
    """Log small artifacts whole, if they are still those of this run; curves also as metrics."""
    from mlflow.entities import Metric

    artifact = ARTIFACTS[name]
    path = data / artifact.filename
    if artifact.kind not in ("json", "plots") or not path.exists() or files.sha256(path) != digest:
        return
    if artifact.kind == "json":
        client.log_artifact(run_id, str(path))
        return
    client.log_artifacts(run_id, str(path), name)
    points = [Metric(key, value, 0, step) for key, value, step in _curves(path)]
    if points:
        client.log_batch(run_id, points)


def _curves(folder: Path) -> Iterator[tuple[str, float, int]]:
    """Yield name, value and epoch of every number in CSV files that go by epoch."""
    for path in sorted(folder.glob("*.csv")):
        with path.open(newline="") as stream:
            for row in csv.DictReader(stream):
                if "epoch" not in row:
                    break
                step = int(row.pop("epoch"))
                for column, text in row.items():
                    if text and math.isfinite(float(text)):
                        yield f"{path.stem}.{column}", float(text), step


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Name nested params with dots."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flat(inner, f"{path}.{key}" if path else str(key))
    else:
        yield path, str(value)[:LONGEST]

"""Every stage run and every published model stays findable in MLflow, at the price of one import.

A stage run leaves a record (JSON); `log_pending` logs all records that MLflow does not hold yet in
one process, so that a stage does not pay MLflow's import of several seconds.  What is already
there is asked of the SQLite file itself, so that with nothing new MLflow is not imported at all.
One experiment and one registered model (`tessera-<profile>`) a profile; writers take turns.
"""

from __future__ import annotations

import csv
import fcntl
import logging
import math
import os
import sqlite3
import warnings
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, nullcontext
from datetime import datetime
from pathlib import Path
from typing import Any

from tessera.contracts.artifacts import ARTIFACTS
from tessera.contracts.errors import GateClosed
from tessera.contracts.progress import progress_bar
from tessera.index.manifest import read_manifest
from tessera.pipeline import files

DATABASE = "mlflow.db"
FILES = "mlartifacts"
CHAMPION = "champion"
_RECORD = "tessera.record"
_IDENTITY = "tessera.identity"
_LONGEST_PARAM = 5000


def log_pending(records: Path, store: Path, *, quiet: bool = False) -> int:
    """Log every stage run that MLflow does not hold yet; calling it again changes nothing.

    Parameters
    ----------
    records : Path
        Folder `runs` of a profile, one JSON record a stage; the artifacts lie beside the folder.
    store : Path
        Folder of the MLflow database and files, made if it is not there.
    quiet : bool
        Show no progress: another process owns the terminal.

    Returns
    -------
    int
        Runs logged.
    """
    found = {files.sha256(path): path for path in sorted(records.glob("*.json"))}
    if found.keys() <= _logged(store):
        return 0
    with _client(store) as client:
        new = {digest: path for digest, path in found.items() if digest not in _logged(store)}
        bar = nullcontext() if quiet else progress_bar("log runs", len(new))
        with bar as shown:
            for digest, path in new.items():
                _log(client, store, files.read_json(path), digest, records.parent)
                if shown:
                    shown.advance()
    return len(new)


def register(profile: str, bundle: Path, store: Path) -> str:
    """Register a published bundle as a version of the profile's model; once for each identity."""
    sealed = read_manifest(bundle)
    known = _versions(profile, store)
    if sealed["identity"] in known:
        return known[sealed["identity"]]
    with _client(store) as client:
        known = _versions(profile, store)
        if sealed["identity"] in known:
            return known[sealed["identity"]]
        if not _held(store, "SELECT 1 FROM registered_models WHERE name = ?", _model(profile)):
            client.create_registered_model(
                _model(profile), description=f"Published recommenders of profile {profile}."
            )
        facts = {key: value for key, value in sealed.items() if isinstance(value, str)}
        tags = {f"tessera.{key}": value[:_LONGEST_PARAM] for key, value in facts.items()}
        made = client.create_model_version(
            _model(profile), source=bundle.absolute().as_uri(), tags=tags
        )
        return str(made.version)


def set_champion(profile: str, bundle: Path, store: Path) -> str:
    """Let the alias `champion` name this published bundle, and return its MLflow version.

    Raises
    ------
    GateClosed
        If the bundle was published neither by a PROMOTE verdict nor by a recorded override.
    """
    sealed = read_manifest(bundle)
    if sealed.get("decision") != "PROMOTE" and not sealed.get("override_reason"):
        raise GateClosed(
            f"{bundle.name} has no PROMOTE verdict and no recorded override: it cannot be champion"
        )
    version = register(profile, bundle, store)
    if champion(profile, store) != version:
        with _client(store) as client:
            client.set_registered_model_alias(_model(profile), CHAMPION, version)
    return version


def follow(profile: str, bundle: Path, store: Path) -> None:
    """Let the alias `champion` say what is published: this bundle, or nothing if it has no model.

    Raises
    ------
    GateClosed
        As `set_champion` does.
    """
    if read_manifest(bundle)["kind"] == "model":
        set_champion(profile, bundle, store)
    elif champion(profile, store):
        with _client(store) as client:
            client.delete_registered_model_alias(_model(profile), CHAMPION)


def champion_identity(profile: str, store: Path) -> str | None:
    """Return the identity of the bundle that the alias `champion` names, None if there is none."""
    version = champion(profile, store)
    named = [found for found, known in _versions(profile, store).items() if known == version]
    return named[0] if named else None


def champion(profile: str, store: Path) -> str | None:
    """Return the MLflow version that the alias `champion` names, None if there is none."""
    found = _held(
        store,
        "SELECT version FROM registered_model_aliases WHERE alias = ? AND name = ?",
        CHAMPION,
        _model(profile),
    )
    return str(found[0][0]) if found else None


def _model(profile: str) -> str:
    return f"tessera-{profile}"


def _logged(store: Path) -> set[str]:
    """Hashes of the records whose runs are whole."""
    found = _held(
        store,
        "SELECT value FROM tags JOIN runs USING (run_uuid) WHERE key = ? "
        "AND status = 'FINISHED' AND lifecycle_stage = 'active'",
        _RECORD,
    )
    return {value for (value,) in found}


def _versions(profile: str, store: Path) -> dict[str, str]:
    """MLflow version of each bundle identity."""
    found = _held(
        store,
        "SELECT value, version FROM model_version_tags WHERE key = ? AND name = ?",
        _IDENTITY,
        _model(profile),
    )
    return {identity: str(version) for identity, version in found}


def _held(store: Path, query: str, *values: str) -> list[tuple[Any, ...]]:
    """Read the database without MLflow; nothing is held where there is none yet."""
    path = store / DATABASE
    if not path.is_file():
        return []
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
            return database.execute(query, values).fetchall()
    except sqlite3.DatabaseError:  # no such table (another process is just making it), or broken
        return []


@contextmanager
def _client(store: Path) -> Iterator[Any]:
    """Yield an MLflow client while no other process of ours writes."""
    os.environ.update(MLFLOW_DISABLE_TELEMETRY="true", DO_NOT_TRACK="true")
    store.mkdir(parents=True, exist_ok=True)
    with (store / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        # A write-ahead log needs one sync a commit and lets the UI read meanwhile; the file
        # remembers the mode.
        with closing(sqlite3.connect(store / DATABASE)) as database:
            database.execute("PRAGMA journal_mode = WAL")
        uri = f"sqlite:///{(store / DATABASE).absolute()}?timeout=30"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # its own, of SQLAlchemy
            from mlflow.tracking import MlflowClient

            logging.getLogger("mlflow").setLevel(logging.WARNING)  # it tells of every table made
            yield MlflowClient(tracking_uri=uri, registry_uri=uri)


def _experiment(client: Any, profile: str, store: Path) -> str:
    found = client.get_experiment_by_name(profile)
    if found:
        return str(found.experiment_id)
    place = (store / FILES / profile).absolute().as_uri()
    return str(client.create_experiment(profile, artifact_location=place))


def _log(client: Any, store: Path, record: Mapping[str, Any], digest: str, data: Path) -> None:
    """Log one stage run; it counts as logged only when it is finished."""
    from mlflow.entities import Metric, Param, RunTag

    experiment = _experiment(client, record["profile"], store)
    for half in client.search_runs([experiment], f"tags.`{_RECORD}` = '{digest}'"):
        client.delete_run(half.info.run_id)
    started_ms = int(datetime.fromisoformat(record["started"]).timestamp() * 1000)
    ended_ms = started_ms + int(1000 * record["seconds"])
    run = client.create_run(
        experiment, started_ms, {_RECORD: digest, "tessera.stage": record["stage"]}, record["stage"]
    )
    run_id = run.info.run_id
    numbers = {**record["metrics"], "seconds": record["seconds"]}
    metrics = [Metric(name, float(value), ended_ms, 0) for name, value in numbers.items()]
    params = [Param(key, value) for key, value in _flat(record["params"])]
    tags = [RunTag(f"sha256.{name}", value) for name, value in record["artifacts"].items()]
    client.log_batch(run_id, metrics, params, tags)
    for name, value in record["artifacts"].items():
        _attach(client, run_id, name, data, value)
    client.set_terminated(run_id, end_time=ended_ms)


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
        yield path, str(value)[:_LONGEST_PARAM]

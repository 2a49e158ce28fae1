"""Every stage run and every published model stays findable in MLflow, at the price of one import.

A stage run leaves a record (JSON); `log_pending` logs all records that MLflow does not hold yet in
one process, so that a stage does not pay MLflow's import of several seconds.  What is already
there is asked of the SQLite file itself, so that with nothing new MLflow is not imported at all.
One experiment and one registered model (`tessera-<profile>`) a profile; writers take turns.
"""

from __future__ import annotations

import fcntl
import logging
import os
import sqlite3
import sys
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from tessera.bundles.manifest import read_manifest
from tessera.contracts.errors import BrokenStore, GateClosed, TesseraError
from tessera.contracts.progress import progress_bar
from tessera.platform.tracking import databases
from tessera.platform.tracking.tracking_runs import LONGEST, RECORD, log
from tessera.platform.workspace import files

DATABASE = "mlflow.db"
CHAMPION = "champion"
_IDENTITY = "tessera.identity"
_PATIENCE_S = 30
"""How long MLflow waits for another program that writes."""
_REMEDY = "`tessera doctor --repair` sets it aside and begins anew"


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

    Raises
    ------
    BrokenStore
        If the store takes no runs: they are logged once it does.
    """
    found = {files.sha256(path): path for path in sorted(records.glob("*.json"))}
    if found.keys() <= _logged(store):
        return 0
    with _client(store) as client:
        new = {digest: path for digest, path in found.items() if digest not in _logged(store)}
        bar = nullcontext() if quiet else progress_bar("log runs", len(new))
        with bar as shown:
            for digest, path in new.items():
                log(client, store, files.read_json(path), digest, records.parent)
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
        tags = {f"tessera.{key}": value[:LONGEST] for key, value in facts.items()}
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


def follow(profile: str, bundle: Path | None, store: Path) -> None:
    """Let the alias `champion` say what is published: this bundle, or nothing if it has no model.

    Raises
    ------
    GateClosed
        As `set_champion` does.
    BrokenStore
        If the store cannot be written.
    """
    if bundle is not None and read_manifest(bundle)["kind"] == "model":
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
        RECORD,
    )
    return {value for (value,) in found}


def _versions(profile: str, store: Path) -> dict[str, str]:
    """MLflow version of each bundle identity."""
    found = _held(
        store,
        "SELECT value, version FROM model_version_tags JOIN model_versions USING (name, version) "
        "WHERE key = ? AND name = ? AND current_stage != 'Deleted_Internal'",
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
    """Yield an MLflow client while no other process of ours writes.

    A torn database makes room for a new one: the registry is the truth, and tells it again.

    Raises
    ------
    BrokenStore
        Instead of whatever MLflow, SQLAlchemy and SQLite raise.
    """
    os.environ.update(MLFLOW_DISABLE_TELEMETRY="true", DO_NOT_TRACK="true")
    try:
        store.mkdir(parents=True, exist_ok=True)
        with (store / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            mend(store)
            with _opened(store) as client:
                yield client
    except TesseraError:
        raise
    except Exception as error:
        why = " ".join(str(error).split())[:200] or type(error).__name__
        what = f"MLflow's store {store / DATABASE} takes nothing ({why})"
        remedy = (
            "end the program that holds it, the next run tells it again"
            if "locked" in why
            else _REMEDY
        )
        raise BrokenStore(f"{what}: {remedy}") from error


def require_open(store: Path) -> None:
    """Refuse a store that MLflow cannot open, such as one of another version of it.

    Raises
    ------
    BrokenStore
        Saying why.
    """
    if (store / DATABASE).exists():
        wrong = databases.fault(store / DATABASE)
        if wrong:
            raise BrokenStore(f"{store / DATABASE} is torn ({wrong}): {_REMEDY}")
        with _client(store) as client:
            client.search_experiments(max_results=1)


def mend(store: Path) -> None:
    """Set a torn database aside, and say so; the next writer makes a new one."""
    path = store / DATABASE
    wrong = databases.fault(path)
    if wrong:
        aside = databases.set_aside(path)
        told = f"repaired: {path} was torn ({wrong}): it lies in {aside.name}, MLflow begins anew"
        sys.stderr.write(f"{told}\n")


@contextmanager
def _opened(store: Path) -> Iterator[Any]:
    # A write-ahead log needs one sync a commit and lets the UI read meanwhile; the file
    # remembers the mode.
    with closing(sqlite3.connect(store / DATABASE)) as database:
        database.execute("PRAGMA journal_mode = WAL")
    # MLflow keeps a connection for each address: a database begun anew needs one of its own.
    number = (store / DATABASE).stat().st_ino
    uri = f"sqlite:///{(store / DATABASE).absolute()}?timeout={_PATIENCE_S}.{number}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # its own, of SQLAlchemy
        from mlflow.tracking import MlflowClient

        # It tells of every table made, and of an error by a traceback; we say it in one line.
        logging.getLogger("mlflow").setLevel(logging.CRITICAL)
        yield MlflowClient(tracking_uri=uri, registry_uri=uri)

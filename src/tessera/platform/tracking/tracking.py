"""Every stage run and every published model stays findable in MLflow, at the price of one import.

A stage run leaves a record (JSON); `log_pending` logs all records that MLflow does not hold yet in
one process, so that a stage does not pay MLflow's import of several seconds.  Whether there is
anything to tell is looked up in the SQLite file itself (`peek`), so that with nothing new MLflow is
not imported at all; whoever writes asks its client.  Of a shared MLflow (`shared`) the client is
asked in any case.
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
from tessera.platform.tracking import databases, peek, shared
from tessera.platform.tracking.tracking_runs import FILES, LONGEST, is_logged, log
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
    address = shared.named()
    new = set(found) if address else found.keys() - peek.logged(store / DATABASE)
    if not new:
        return 0
    logged = 0
    place = None if address and shared.keeps_files(address) else store / FILES
    with _client(store) as client:
        if address:
            new = {key for key in new if not is_logged(client, files.read_json(found[key]), key)}
        bar = nullcontext() if quiet or not new else progress_bar("log runs", len(new))
        with bar as shown:
            for digest in (digest for digest in found if digest in new):
                record = files.read_json(found[digest])
                logged += log(client, place, record, digest, records.parent)
                if shown:
                    shown.advance()
    return logged


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
    with _client(store) as client:
        version = _version(client, _model(profile), bundle)
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
    """Return the identity of the bundle that the alias `champion` names, None if there is none.

    Raises
    ------
    BrokenStore
        If MLflow is shared, and cannot be asked.
    """
    return _alias(profile, store)[1]


def champion(profile: str, store: Path) -> str | None:
    """Return the MLflow version that the alias `champion` names, None if there is none.

    Raises
    ------
    BrokenStore
        As `champion_identity` does.
    """
    return _alias(profile, store)[0]


def _alias(profile: str, store: Path) -> tuple[str | None, str | None]:
    """Return version and identity that the alias `champion` names."""
    model = _model(profile)
    if not shared.named():
        return peek.alias(store / DATABASE, model, CHAMPION, _IDENTITY)
    with _client(store) as client:
        return shared.alias(client, model, CHAMPION, _IDENTITY)


def _model(profile: str) -> str:
    return f"tessera-{profile}"


def _version(client: Any, model: str, bundle: Path) -> str:
    """Find the version of a bundle in MLflow, made if it is not there."""
    sealed = read_manifest(bundle)
    named = f"name = '{model}'"
    marked = f"tags.`{_IDENTITY}` = '{sealed['identity']}'"
    known = client.search_model_versions(f"{named} and {marked}")
    if known:
        return str(known[0].version)
    profile = model.removeprefix(_model(""))
    if not client.search_registered_models(named):
        client.create_registered_model(
            model, description=f"Published recommenders of profile {profile}."
        )
    facts = {key: value for key, value in sealed.items() if isinstance(value, str)}
    tags = {f"tessera.{key}": value[:LONGEST] for key, value in facts.items()}
    made = client.create_model_version(model, source=shared.source(bundle, profile), tags=tags)
    return str(made.version)


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
            if not shared.named():
                mend(store)
            with _opened(store) as client:
                yield client
    except TesseraError:
        raise
    except Exception as error:
        raise BrokenStore(_told(error, store)) from error


def _told(error: Exception, store: Path) -> str:
    why = " ".join(str(error).split()) or type(error).__name__
    address = shared.named()
    if address:
        # Where it tried again, what counts stands at the end of its line.
        why = shared.silenced(why.rpartition("(Caused by ")[2], address)[:200]
        return f"MLflow at {shared.shown(address)} cannot be used ({why}): the next run tells it"
    why = why[:200]
    remedy = (
        "end the program that holds it; the next run records it again"
        if "locked" in why
        else _REMEDY
    )
    return f"MLflow's store {store / DATABASE} cannot be used ({why}): {remedy}"


def require_open(store: Path) -> None:
    """Refuse a store that MLflow cannot open, such as one of another version of it, or shared.

    Raises
    ------
    BrokenStore
        Saying why.
    """
    if not shared.named():
        if not (store / DATABASE).exists():
            return
        wrong = databases.fault(store / DATABASE)
        if wrong:
            raise BrokenStore(f"{store / DATABASE} is damaged ({wrong}): {_REMEDY}")
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
    address = shared.named()
    if address:
        shared.require_answer(address)
    else:
        # A write-ahead log needs one sync a commit and lets the UI read meanwhile; the file
        # remembers the mode.
        with closing(sqlite3.connect(store / DATABASE)) as database:
            database.execute("PRAGMA journal_mode = WAL")
        # MLflow keeps a connection for each address: a database begun anew needs one of its own.
        number = (store / DATABASE).stat().st_ino
        address = f"sqlite:///{(store / DATABASE).absolute()}?timeout={_PATIENCE_S}.{number}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # its own, of SQLAlchemy
        from mlflow.tracking import MlflowClient

        # It tells of every table made, and of an error by a traceback; we say it in one line.
        logging.getLogger("mlflow").setLevel(logging.CRITICAL)
        yield MlflowClient(tracking_uri=address, registry_uri=address)

"""An MLflow that others share: a server, or its PostgreSQL, instead of the file in the registry.

`MLFLOW_TRACKING_URI`, MLflow's own variable, names it.  That it answers is asked first and for
seconds: MLflow's client tries again for minutes, and acts would wait for it.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tessera.contracts.errors import BrokenStore, TesseraError
from tessera.platform.workspace.postgres import connected

SETTING = "MLFLOW_TRACKING_URI"
"""Environment variable with the address of a shared MLflow; unset, its store is a file of ours."""
_FORMS = (
    "http://HOST:PORT of an MLflow server, or postgresql+psycopg2://USER:PASSWORD@HOST/DATABASE"
)
_PORTS = {"http": 80, "https": 443}
_WAIT_S = 3
_CALM = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "20"}
"""What MLflow's client is told unless a person says otherwise: its own are 7 and 120 s."""


def named() -> str | None:
    """Return the address of a shared MLflow, None if the store is a file of ours."""
    return os.environ.get(SETTING) or None


def keeps_files(address: str) -> bool:
    """Whether it is a server, which keeps the files of runs itself; a database has no place."""
    return urlsplit(address).scheme in _PORTS


def shown(address: str) -> str:
    """Return an address as a line may say it.

    >>> shown("postgresql+psycopg2://ada:secret@db.bank:5432/mlflow?sslmode=require")
    'postgresql+psycopg2://db.bank:5432/mlflow'
    """
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def silenced(text: str, address: str) -> str:
    """Return what a library says, without the password of an address.

    >>> silenced("cannot reach http://ada:secret@db", "http://ada:secret@db")
    'cannot reach http://ada:***@db'
    """
    user, _, password = urlsplit(address).netloc.rpartition("@")[0].partition(":")
    return text.replace(f"{user}:{password}@", f"{user}:***@") if password else text


def require_answer(address: str) -> None:
    """Refuse what cannot be a shared MLflow, or does not answer within seconds.

    MLflow's client is told to give up soon, too.

    Raises
    ------
    BrokenStore
        In one line, without a password.
    """
    scheme = address.partition(":")[0]
    if scheme.partition("+")[0] == "postgresql":
        try:
            with connected(address, SETTING):
                return
        except TesseraError as error:
            raise BrokenStore(str(error)) from error
    parts = urlsplit(address)
    if scheme not in _PORTS or not parts.hostname:
        raise BrokenStore(f"{SETTING} is no address of a shared MLflow: write {_FORMS}")
    for name, value in _CALM.items():
        os.environ.setdefault(name, value)
    try:
        port = parts.port or _PORTS[scheme]
        socket.create_connection((parts.hostname, port), _WAIT_S).close()
    except (OSError, ValueError) as error:
        raise BrokenStore(
            f"MLflow at {shown(address)} does not answer ({error}): start it, or mend {SETTING}"
        ) from error


def alias(client: Any, model: str, name: str, tag: str) -> tuple[str | None, str | None]:
    """Return the version that an alias of a model names, and a tag of it; None if there is none."""
    found = client.search_registered_models(f"name = '{model}'")
    version = found[0].aliases.get(name) if found else None
    if version is None:
        return None, None
    return str(version), client.get_model_version(model, str(version)).tags.get(tag)


def source(bundle: Path, profile: str) -> str:
    """Return what a model version is made from; paths mean nothing to a server, and are refused."""
    address = named()
    if address and keeps_files(address):
        return f"tessera://{profile}/{bundle.name}"
    return bundle.absolute().as_uri()

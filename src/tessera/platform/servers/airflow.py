"""How Airflow is set up here: by environment variables alone, on loopback, below `.airflow/`."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tessera.contracts.errors import TesseraError
from tessera.platform.servers import pools
from tessera.platform.servers.started import Server, get, start_server
from tessera.platform.workspace import processes
from tessera.platform.workspace.paths import POOL

USERS = {"operator": "op", "viewer": "viewer"}
"""Names and roles: an operator may run, a viewer may look."""
COMPONENTS = (
    ("api-server",),
    ("dag-processor",),
    ("scheduler", "--skip-serve-logs"),
    ("triggerer", "--skip-serve-logs"),
)
"""Processes of `airflow standalone`: one by one, since only so do two of them open no log server on
the network."""
DATABASE = "airflow.db"
_VITAL = ("metadatabase", "scheduler", "dag_processor")


def require_airflow() -> None:
    """Refuse to start what is not installed.

    Raises
    ------
    TesseraError
        If Airflow is not installed beside this Python.
    """
    if not Path(processes.command("airflow")).exists():
        raise TesseraError("Airflow is not installed in this environment: run `make install`")


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Let one command at a time use the folder of Airflow.

    Raises
    ------
    TesseraError
        If Airflow runs.
    """
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise TesseraError(
                "Airflow runs already: stop it with Ctrl-C where it was started"
            ) from error
        yield


def create_passwords(folder: Path) -> dict[str, str] | None:
    """Write a password for each user, readable by this person alone; None if there are some."""
    path = folder / "passwords.json"
    if path.exists():
        return None
    passwords = {name: secrets.token_urlsafe(12) for name in USERS}
    write_secret(json.dumps(passwords), path)
    return passwords


def write_secret(text: str, path: Path) -> None:
    """Write a new file that only this person may read."""
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:  # noqa: PTH123
        stream.write(text)


def airflow_environment(root: Path, port: int) -> dict[str, str]:
    """Return the environment that makes Airflow ours: no other configuration is read."""
    folder = root / ".airflow"
    address = f"http://127.0.0.1:{port}"
    settings = {
        "AIRFLOW_HOME": str(folder),
        "AIRFLOW__API__BASE_URL": address,
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__CORE__DAGS_FOLDER": str(root),
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{address}/execution/",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        # A form that changed is shown at once, not after half a minute.
        "AIRFLOW__CORE__MIN_SERIALIZED_DAG_UPDATE_INTERVAL": "1",
        # One more than heavy stages, so that an act never waits for a training to end.
        "AIRFLOW__CORE__PARALLELISM": str(pools.slots() + 1),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(folder / "passwords.json"),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(
            f"{name}:{role}" for name, role in USERS.items()
        ),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{folder / DATABASE}",
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(folder / "logs"),
        POOL: pools.name(),
    }
    return {**silent_environment(), **settings}


def silent_environment() -> dict[str, str]:
    """Return this environment with our commands on the path, and nothing that tells on us."""
    beside = Path(processes.command("python")).parent
    return {
        **os.environ,
        "PATH": f"{beside}{os.pathsep}{os.environ.get('PATH', '')}",
        "DO_NOT_TRACK": "1",
        "DVC_NO_ANALYTICS": "1",
        "GX_ANALYTICS_ENABLED": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "PYTHONUNBUFFERED": "1",
    }


def migrate(environment: Mapping[str, str], folder: Path, started: list[Server]) -> None:
    """Prepare Airflow's database.

    Raises
    ------
    TesseraError
        If it could not be prepared; the line names the log.
    """
    made = start_server("airflow", ("db", "migrate"), environment, folder, started)
    if made.process.wait() != 0:
        raise TesseraError(f"Airflow could not prepare its database: see {made.log}")
    started.remove(made)


def is_healthy(port: int) -> bool:
    """Whether Airflow answers and all that it needs to run a DAG is up."""
    health = get(f"http://127.0.0.1:{port}/api/v2/monitor/health")
    if health is None:
        return False
    parts = json.loads(health)
    return all(parts[name]["status"] == "healthy" for name in _VITAL)

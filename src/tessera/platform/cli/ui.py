"""Start Airflow and MLflow for one person on this machine, and stop both together.

Everything is set by environment variables and lives under `.airflow/`: SQLite, LocalExecutor with
two workers, loopback only, two users.  Where a person named an MLflow server, theirs is shown.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path

import typer

from tessera.contracts.errors import TesseraError
from tessera.platform.servers.airflow import (
    COMPONENTS,
    DATABASE,
    airflow_environment,
    alone,
    create_passwords,
    is_healthy,
    migrate,
    require_airflow,
    silent_environment,
)
from tessera.platform.servers.pools import make_pool
from tessera.platform.servers.runs import Airflow
from tessera.platform.servers.started import (
    POLL_S,
    Server,
    get,
    require_alive,
    start_server,
    wait_until,
)
from tessera.platform.tracking import databases, shared
from tessera.platform.tracking.tracking import DATABASE as MLFLOW_DATABASE
from tessera.platform.tracking.tracking import mend
from tessera.platform.tracking.tracking_runs import FILES
from tessera.platform.workspace import processes
from tessera.platform.workspace.paths import DEFAULT_PROFILE, Workspace, profile_names

_READING_S = 10.0
"""What Airflow takes to read the DAGs on a busy machine."""


def serve(root: Path, port: int, mlflow_port: int) -> None:
    """Serve both until Ctrl-C.

    Raises
    ------
    TesseraError
        If a port is taken, Airflow is not installed, both run already, or a server ended by itself.
    """
    require_airflow()
    ports = {"--port": port} if _shared_mlflow() else {"--port": port, "--mlflow-port": mlflow_port}
    for option, number in ports.items():
        if not processes.is_free(number):
            raise TesseraError(f"port {number} is taken: choose another, `tessera ui {option} ...`")
    folder = root / ".airflow"
    (folder / "logs").mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    started: list[Server] = []
    with alone(folder), processes.stopped_like_ctrl_c():
        try:
            typer.echo("Airflow and MLflow are starting, about half a minute ...")
            if line := _mended(folder):
                typer.echo(f"repaired: {line}", err=True)
            passwords = create_passwords(folder)
            _start_all(root, port, mlflow_port, started)
            wait_until(lambda: _ready(port, mlflow_port), started)
            _make_pool(port, folder)
            typer.echo(_welcome(port, _mlflow_address(mlflow_port), passwords))
            _watch(started, root)
        except KeyboardInterrupt:
            typer.echo("\nstopping ...")
        finally:
            with processes.undisturbed():
                _stop(started)
    typer.echo("Airflow and MLflow have stopped")


def mend_database(folder: Path) -> str | None:
    """Set Airflow's database aside if it is torn and nobody uses it; return what was done.

    It holds what ran and when; what was published stands in the registry.

    Raises
    ------
    TesseraError
        If Airflow runs.
    """
    if not (folder / DATABASE).exists():
        return None
    with alone(folder):
        return _mended(folder)


def _mended(folder: Path) -> str | None:
    path = folder / DATABASE
    wrong = databases.fault(path)
    if not wrong:
        return None
    aside = databases.set_aside(path)
    return f"{path} was torn ({wrong}): it lies in {aside.name}, Airflow begins anew"


def _start_all(root: Path, port: int, mlflow_port: int, started: list[Server]) -> None:
    """Start the servers one by one; `started` holds them even if a later one fails."""
    folder = root / ".airflow"
    environment = airflow_environment(root, port)
    if not _shared_mlflow():
        _start_mlflow(Workspace(root, DEFAULT_PROFILE).tracking, mlflow_port, folder, started)
    migrate(environment, folder, started)
    for component in COMPONENTS:
        start_server("airflow", component, environment, folder, started)


def _shared_mlflow() -> str | None:
    """Return the server that a person named, as it may be shown."""
    address = shared.named()
    return shared.shown(address) if address and shared.keeps_files(address) else None


def _mlflow_address(port: int) -> str:
    return _shared_mlflow() or f"http://127.0.0.1:{port}"


def _start_mlflow(store: Path, port: int, folder: Path, started: list[Server]) -> None:
    """Show the store of the registry, or the database that a person named."""
    if address := shared.named():
        shared.require_answer(address)
    else:
        address = f"sqlite:///{store / MLFLOW_DATABASE}?timeout=30"
        store.mkdir(parents=True, exist_ok=True)
        mend(store)
    words = ["server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    words += ["--artifacts-destination", str(store / FILES)]
    # Not among the words, which everybody on this machine can read: it may hold a password.
    environment = {**silent_environment(), "MLFLOW_BACKEND_STORE_URI": address}
    start_server("mlflow", words, environment, folder, started)


def _make_pool(port: int, folder: Path) -> None:
    """Let heavy stages have their slots, which nobody else makes."""
    airflow = Airflow(port)
    airflow.log_in("operator", json.loads((folder / "passwords.json").read_text())["operator"])
    make_pool(airflow)


def _stop(started: list[Server]) -> None:
    """Stop the scheduler with its tasks first, while the API can still be told how they ended."""
    for names in (("airflow scheduler",), tuple(server.name for server in started)):
        processes.stop([server.process for server in started if server.name in names])


def _watch(started: list[Server], root: Path) -> None:
    offered = profile_names(root)
    while True:
        require_alive(started)
        offered = offer_profiles(root, offered)
        time.sleep(POLL_S)


def offer_profiles(root: Path, offered: list[str]) -> list[str]:
    """Let Airflow read the DAGs anew if there are other profiles than their forms offer.

    It does so on its own after a while; what it looks at is when their files were written.
    """
    names = profile_names(root)
    if names != offered:
        # A reading that is under way has not seen them: what it began before must look older.
        later = time.time() + _READING_S
        for path in (root / "dags").glob("*.py"):
            os.utime(path, (later, later))
    return names


def _ready(port: int, mlflow_port: int) -> bool:
    if not is_healthy(port):
        return False
    return bool(_shared_mlflow()) or get(f"{_mlflow_address(mlflow_port)}/health") is not None


def _welcome(port: int, mlflow: str, passwords: Mapping[str, str] | None) -> str:
    lines = [
        f"Airflow  http://127.0.0.1:{port}/dags/tessera_pipeline",
        f"MLflow   {mlflow}",
    ]
    if passwords is None:
        lines.append("Log in with the passwords in .airflow/passwords.json")
    else:
        lines += [f"Log in as {name} with {word}" for name, word in passwords.items()]
        lines.append("The passwords are shown only now; they stay in .airflow/passwords.json")
    return "\n".join([*lines, "Ctrl-C stops both"])

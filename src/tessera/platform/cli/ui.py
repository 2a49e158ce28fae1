"""Start Airflow and MLflow for one person on this machine, and stop both together.

Everything is set by environment variables and lives under `.airflow/`: SQLite, LocalExecutor with
two workers, loopback only, two users.  These are the processes of `airflow standalone`, started one
by one because only so do the scheduler and the triggerer open no log server on the network.
"""

from __future__ import annotations

import fcntl
import http.client
import json
import os
import secrets
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import typer

from tessera.contracts.errors import TesseraError
from tessera.contracts.library_errors import translate_errors
from tessera.platform.tracking import databases
from tessera.platform.tracking.tracking import DATABASE as MLFLOW_DATABASE
from tessera.platform.tracking.tracking import mend
from tessera.platform.tracking.tracking_runs import FILES
from tessera.platform.workspace import processes
from tessera.platform.workspace.paths import DEFAULT_PROFILE, Workspace, profile_names

USERS = {"operator": "op", "viewer": "viewer"}
"""Names and roles: an operator may run, a viewer may look."""
COMPONENTS = (
    ("api-server",),
    ("dag-processor",),
    ("scheduler", "--skip-serve-logs"),
    ("triggerer", "--skip-serve-logs"),
)
DATABASE = "airflow.db"
_PATIENCE_S = 180.0
_POLL_S = 0.5
_READING_S = 10.0
"""What Airflow takes to read the DAGs on a busy machine."""
_VITAL = ("metadatabase", "scheduler", "dag_processor")


@dataclass(frozen=True, slots=True)
class Server:
    """A process of ours and where it writes its log."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path


def serve(root: Path, port: int, mlflow_port: int) -> None:
    """Serve both until Ctrl-C.

    Raises
    ------
    TesseraError
        If a port is taken, Airflow is not installed, both run already, or a server ended by itself.
    """
    _require_airflow()
    for number, option in ((port, "--port"), (mlflow_port, "--mlflow-port")):
        if not processes.is_free(number):
            raise TesseraError(f"port {number} is taken: choose another, `tessera ui {option} ...`")
    folder = root / ".airflow"
    (folder / "logs").mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    started: list[Server] = []
    with _alone(folder), processes.stopped_like_ctrl_c():
        try:
            typer.echo("Airflow and MLflow are starting, about half a minute ...")
            if line := _mended(folder):
                typer.echo(f"repaired: {line}", err=True)
            passwords = create_passwords(folder)
            _start_all(root, port, mlflow_port, started)
            _wait_until(lambda: _ready(port, mlflow_port), started)
            typer.echo(_welcome(port, mlflow_port, passwords))
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
    with _alone(folder):
        return _mended(folder)


def _mended(folder: Path) -> str | None:
    path = folder / DATABASE
    wrong = databases.fault(path)
    if not wrong:
        return None
    aside = databases.set_aside(path)
    return f"{path} was torn ({wrong}): it lies in {aside.name}, Airflow begins anew"


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
        "AIRFLOW__CORE__PARALLELISM": "2",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(folder / "passwords.json"),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(
            f"{name}:{role}" for name, role in USERS.items()
        ),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{folder / DATABASE}",
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(folder / "logs"),
    }
    return {**_environment(), **settings}


def create_passwords(folder: Path) -> dict[str, str] | None:
    """Write a password for each user, readable by this person alone; None if there are some."""
    path = folder / "passwords.json"
    if path.exists():
        return None
    passwords = {name: secrets.token_urlsafe(12) for name in USERS}
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:  # noqa: PTH123
        json.dump(passwords, stream)
    return passwords


def _environment() -> dict[str, str]:
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


def _require_airflow() -> None:
    if not Path(processes.command("airflow")).exists():
        raise TesseraError("Airflow is not installed in this environment: run `make install`")


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise TesseraError(
                "Airflow runs already: stop it with Ctrl-C where it was started"
            ) from error
        yield


def _start_all(root: Path, port: int, mlflow_port: int, started: list[Server]) -> None:
    """Start the servers one by one; `started` holds them even if a later one fails."""
    folder = root / ".airflow"
    environment = airflow_environment(root, port)
    store = Workspace(root, DEFAULT_PROFILE).tracking
    store.mkdir(parents=True, exist_ok=True)
    mend(store)
    words = ["server", "--host", "127.0.0.1", "--port", str(mlflow_port), "--workers", "1"]
    words += ["--backend-store-uri", f"sqlite:///{store / MLFLOW_DATABASE}?timeout=30"]
    words += ["--artifacts-destination", str(store / FILES)]
    _start("mlflow", tuple(words), _environment(), folder, started)
    _start("airflow", ("db", "migrate"), environment, folder, started)
    if started[-1].process.wait() != 0:
        raise TesseraError(f"Airflow could not prepare its database: see {started[-1].log}")
    started.pop()
    for component in COMPONENTS:
        _start("airflow", component, environment, folder, started)


def _start(
    name: str,
    words: tuple[str, ...],
    environment: Mapping[str, str],
    folder: Path,
    into: list[Server],
) -> None:
    log = folder / "logs" / f"{name}-{words[0]}.log"
    with translate_errors(TesseraError, f"{name} cannot be started", "run `make install`"):
        process = processes.start([processes.command(name), *words], environment, log, folder)
    into.append(Server(f"{name} {words[0]}", process, log))


def _stop(started: list[Server]) -> None:
    """Stop the scheduler with its tasks first, while the API can still be told how they ended."""
    for names in (("airflow scheduler",), tuple(server.name for server in started)):
        processes.stop([server.process for server in started if server.name in names])


def _wait_until(ready: Callable[[], bool], started: list[Server]) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not ready():
        _require_alive(started)
        if time.monotonic() > deadline:
            raise TesseraError(f"not ready after {_PATIENCE_S:.0f} s: see {started[0].log.parent}")
        time.sleep(_POLL_S)


def _watch(started: list[Server], root: Path) -> None:
    offered = profile_names(root)
    while True:
        _require_alive(started)
        offered = offer_profiles(root, offered)
        time.sleep(_POLL_S)


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


def _require_alive(started: list[Server]) -> None:
    for server in started:
        if server.process.poll() is not None:
            raise TesseraError(f"{server.name} ended by itself: see {server.log}")


def _ready(port: int, mlflow_port: int) -> bool:
    health = _get(f"http://127.0.0.1:{port}/api/v2/monitor/health")
    if health is None or _get(f"http://127.0.0.1:{mlflow_port}/health") is None:
        return False
    parts = json.loads(health)
    return all(parts[name]["status"] == "healthy" for name in _VITAL)


def _get(address: str) -> bytes | None:
    try:
        with urllib.request.urlopen(address, timeout=5) as answer:
            return bytes(answer.read())
    except (OSError, urllib.error.URLError, http.client.HTTPException):
        return None


def _welcome(port: int, mlflow_port: int, passwords: Mapping[str, str] | None) -> str:
    lines = [
        f"Airflow  http://127.0.0.1:{port}/dags/tessera_pipeline",
        f"MLflow   http://127.0.0.1:{mlflow_port}",
    ]
    if passwords is None:
        lines.append("Log in with the passwords in .airflow/passwords.json")
    else:
        lines += [f"Log in as {name} with {word}" for name, word in passwords.items()]
        lines.append("The passwords are shown only now; they stay in .airflow/passwords.json")
    return "\n".join([*lines, "Ctrl-C stops both"])

"""Run the pipeline as several machines would: PostgreSQL, Redis, Airflow and two Celery workers.

All of it lives on loopback below `.airflow/cluster/`, and stops with the run.  The workers have
workspaces of their own and share the exchange alone.
"""

from __future__ import annotations

import importlib.util
import json
import os
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import typer

from tessera.contracts.errors import TesseraError
from tessera.platform.servers import checks
from tessera.platform.servers.airflow import (
    COMPONENTS,
    airflow_environment,
    alone,
    create_passwords,
    is_healthy,
    migrate,
    require_airflow,
)
from tessera.platform.servers.backends import (
    find_postgres,
    find_redis,
    start_postgres,
    start_redis,
)
from tessera.platform.servers.pools import make_pool
from tessera.platform.servers.runs import Airflow
from tessera.platform.servers.started import Server, require_alive, start_server, wait_until
from tessera.platform.servers.workers import (
    MARK,
    Team,
    clone,
    end_leftovers,
    require_committed,
    two_workers,
)
from tessera.platform.workspace import files, processes
from tessera.platform.workspace.paths import EXCHANGE, Workspace

_PROVIDERS = ("airflow.providers.celery", "airflow.providers.postgres", "psycopg2")
_LOST_AFTER_S = 60
"""A task whose worker was not heard of for so long is tried again by another."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """What runs: Airflow's own processes with what is below them, and the workers."""

    port: int
    servers: list[Server]
    team: Team
    password: str
    """Of the operator."""

    def require_alive(self) -> None:
        """Replace dead workers; refuse to go on without another server."""
        require_alive(self.servers)
        self.team.replace_dead()


def run(workspace: Workspace, form: Mapping[str, str]) -> None:
    """Start a cluster, run the pipeline of a profile on it, and stop it.

    Parameters
    ----------
    workspace : Workspace
        The profile, in the repository that has the registry.
    form : Mapping[str, str]
        Further answers of the form of `tessera_pipeline`.

    Raises
    ------
    TesseraError
        If something is missing, a server ends by itself, or the run fails.
    """
    commit = require_all(workspace.root)
    typer.echo("PostgreSQL, Redis, Airflow and two workers are starting, about a minute ...")
    with started(workspace.root, commit) as cluster:
        airflow = Airflow(cluster.port)
        airflow.log_in("operator", cluster.password)
        make_pool(airflow)
        wait_until(airflow.knows_pipeline, cluster.servers)
        name = airflow.trigger({"profile": workspace.profile, **form})
        typer.echo(f"{name} on http://127.0.0.1:{cluster.port}")
        state = airflow.follow(name, cluster.require_alive, typer.echo)
        tasks = airflow.tasks(name)
        files.write_json(tasks, _folder(workspace.root) / "tasks.json")
    failed = [one["task_id"] for one in tasks if one["state"] == "failed"]
    typer.echo("everything has stopped")
    if state != "success":
        raise TesseraError(
            f"{', '.join(failed) or name} failed: see {_folder(workspace.root) / 'logs'}"
        )
    verdict = files.read_json(workspace.artifact("verdict"))
    typer.echo(f"{verdict['decision']}: {verdict['reason']}")


def require_all(root: Path) -> str:
    """Refuse to start by half; return the commit that the workers will work on.

    Raises
    ------
    TesseraError
        With what is missing and how it is installed.
    """
    require_airflow()
    for name in _PROVIDERS:
        if importlib.util.find_spec(name) is None:
            raise TesseraError(f"{name} is not installed: run `make cluster`, which installs it")
    find_postgres()
    find_redis()
    return require_committed(root)


@contextmanager
def started(root: Path, commit: str) -> Iterator[Cluster]:
    """Yield a cluster that is ready, and stop it, whatever happens."""
    folder = _folder(root)
    folder.mkdir(parents=True, exist_ok=True)
    folder.parent.chmod(0o700)
    servers: list[Server] = []
    with alone(folder), processes.stopped_like_ctrl_c():
        files.remove(folder / "logs")
        for name in ("logs", "exchange"):
            (folder / name).mkdir(exist_ok=True)
        team = Team({}, folder, typer.echo)
        end_leftovers(str(folder / "exchange"))  # of a start that was killed outright
        try:
            yield _start(root, commit, servers, team)
        except KeyboardInterrupt:
            raise TesseraError("stopped before the run had ended") from None
        finally:
            with processes.undisturbed():
                _stop(servers, team)


def _start(root: Path, commit: str, servers: list[Server], team: Team) -> Cluster:
    folder = _folder(root)
    workers = two_workers(root, folder)
    clone(root, workers[1].root, commit)
    database = start_postgres(folder / "postgres", folder / "logs", secrets.token_urlsafe(18))
    servers.append(database.server)
    broker = start_redis(folder / "redis", folder / "logs", secrets.token_urlsafe(18))
    servers.append(broker.server)
    wait_until(lambda: _answer(database.url, broker.url), servers)
    port = processes.free_port()
    environment = cluster_environment(root, port, database.url, broker.url)
    checks.check_cluster(environment)
    files.remove(folder / "passwords.json")
    create_passwords(folder)
    migrate(environment, folder, servers)
    for component in COMPONENTS:
        start_server("airflow", component, environment, folder, servers)
    team.environment = environment
    for worker in workers:
        team.start(worker)
    wait_until(lambda: is_healthy(port), servers)
    password = json.loads((folder / "passwords.json").read_text())["operator"]
    return Cluster(port, servers, team, password)


def cluster_environment(root: Path, port: int, database: str, broker: str) -> dict[str, str]:
    """Return what every process of Airflow is told; a worker adds where its workspace lies."""
    folder = _folder(root)
    settings = {
        "AIRFLOW_HOME": str(folder),
        "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_urlsafe(32),
        "AIRFLOW__CELERY__BROKER_URL": broker,
        "AIRFLOW__CELERY__RESULT_BACKEND": f"db+{database}",
        "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
        "AIRFLOW__CORE__FERNET_KEY": urlsafe_b64encode(os.urandom(32)).decode(),
        "AIRFLOW__CORE__PARALLELISM": "4",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(folder / "passwords.json"),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database,
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(folder / "logs"),
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": str(_LOST_AFTER_S),
        # How often who supervises a task looks whether it has ended; 5 s of idle worker otherwise.
        "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
        EXCHANGE: str(folder / "exchange"),
        MARK: "airflow",
        "SPT_NOENV": "1",  # a process that takes another title keeps its environment readable
    }
    return {**airflow_environment(root, port), **settings}


def _answer(database: str, broker: str) -> bool:
    try:
        checks.require_postgres(database, checks.DATABASE)
        checks.require_redis(broker, checks.BROKER)
    except TesseraError:
        return False
    return True


def _stop(servers: list[Server], team: Team) -> None:
    """Stop who runs tasks, then who starts them, then Airflow, and last what holds its state."""
    processes.stop([server.process for server in team.running.values()])
    last = [one for one in servers if one.name in ("postgres", "redis")]
    rest = [one for one in servers if one not in last]
    for group in ([one for one in rest if one.name == "airflow scheduler"], rest, last):
        processes.stop([server.process for server in group])
    end_leftovers(str(team.folder / "exchange"))


def _folder(root: Path) -> Path:
    return root / ".airflow" / "cluster"

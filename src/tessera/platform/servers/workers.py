"""Workers of a cluster on this machine: each in a workspace of its own, replaced when it dies."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from tessera.contracts.errors import TesseraError
from tessera.platform.servers.started import Server
from tessera.platform.workspace import processes
from tessera.platform.workspace.catalogue import ANYWHERE
from tessera.platform.workspace.paths import EXCHANGE

MARK = "TESSERA_WORKER"
"""Environment variable that every process of Airflow carries: of a worker, with its name."""
_DEFAULT_QUEUE = "default"
_LAST_S = 5.0
_READ = ("params.yaml", "dvc.yaml", "profiles", "src", "dags", "tasks", "monitoring")
_RENDERED = (":!profiles/*/dvc.yaml", ":!profiles/*/dvc.lock")


@dataclass(frozen=True, slots=True)
class Worker:
    """A Celery worker: its name, its workspace and the queues that it listens to."""

    name: str
    root: Path
    queues: tuple[str, ...]


def two_workers(root: Path, folder: Path) -> tuple[Worker, Worker]:
    """Return the worker of the repository itself, which has the registry, and one of a clone."""
    return (
        Worker("one", root, (_DEFAULT_QUEUE, ANYWHERE)),
        Worker("two", folder / "two", (ANYWHERE,)),
    )


def require_committed(root: Path) -> str:
    """Return the commit that every workspace will have.

    Raises
    ------
    TesseraError
        If something that a run reads is in no commit: a clone would not have it.
    """
    changed = _git(root, "status", "--porcelain", "--", *_READ, "great_expectations", *_RENDERED)
    if changed:
        first = changed.splitlines()[0].split()[-1]
        raise TesseraError(f"{first} is in no commit, and workers work on one: commit or stash it")
    return _git(root, "rev-parse", "HEAD")


def clone(root: Path, folder: Path, commit: str) -> None:
    """Bring a workspace to a commit of the repository; it is made if it is not there."""
    if not (folder / ".git").exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        _git(folder.parent, "clone", "--quiet", "--no-checkout", str(root), str(folder))
    _git(folder, "fetch", "--quiet", "origin", commit)
    _git(folder, "checkout", "--quiet", "--force", "--detach", commit)


def _git(folder: Path, *words: str) -> str:
    done = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        told = (done.stderr.strip().splitlines() or ["no word"])[-1]
        raise TesseraError(f"git {words[0]} in {folder}: {told}")
    return done.stdout.strip()


@dataclass(slots=True)
class Team:
    """Workers that run, and how one is started."""

    environment: Mapping[str, str]
    """What all of Airflow's processes are told."""
    folder: Path
    """Logs, and a home for each worker."""
    say: Callable[[str], None]
    running: dict[Worker, Server] = field(default_factory=dict)

    def start(self, worker: Worker) -> None:
        """Start a worker."""
        words = ["celery", "worker", "--skip-serve-logs", "--concurrency", "1"]
        words += ["--queues", ",".join(worker.queues), "--celery-hostname", f"{worker.name}@%h"]
        home = self.folder / worker.name
        home.mkdir(exist_ok=True, mode=0o700)
        log = self.folder / "logs" / f"worker-{worker.name}.log"
        # Airflow looks through a folder of DAGs last: `tasks` of another workspace would be found.
        sources = [str(worker.root / "src"), str(worker.root), *_further()]
        mine = {
            **self.environment,
            MARK: worker.name,
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(worker.root),
            "PYTHONPATH": os.pathsep.join(sources),
        }
        guarded = processes.ends_with_us([processes.command("airflow"), *words])
        process = processes.start(guarded, mine, log, home)
        self.running[worker] = Server(f"worker {worker.name}", process, log)

    def replace_dead(self) -> None:
        """Start another one where a worker ended, once nothing of it works any more."""
        for worker, server in list(self.running.items()):
            if server.process.poll() is not None:
                self.say(f"worker {worker.name} ended by itself: another one is started")
                end_leftovers(self.environment[EXCHANGE], worker.name)
                self.start(worker)


def end_leftovers(exchange: str, name: str | None = None) -> None:
    """End what works in this exchange still: of a worker that died, or of a whole cluster.

    Tasks start sessions of their own and outlive their worker; what all have is the environment.
    """
    left = [one for one in psutil.process_iter() if _is_of(one, exchange, name)]
    for one in left:
        with suppress(psutil.NoSuchProcess):
            one.kill()
    psutil.wait_procs(left, timeout=_LAST_S)


def _is_of(process: psutil.Process, exchange: str, name: str | None) -> bool:
    try:
        told = process.environ()
    except (psutil.Error, OSError):
        return False
    return told.get(EXCHANGE) == exchange and MARK in told and name in (None, told[MARK])


def _further() -> Iterator[str]:
    """Yield what this Python was told to look through beside what is installed."""
    yield from filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))

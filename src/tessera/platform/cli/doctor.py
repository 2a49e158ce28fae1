"""Say what is wrong with an environment or a profile before a long run finds out."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import sys
from collections.abc import Callable

from rich.console import Console
from rich.markup import escape

from tessera.contracts.errors import BrokenSeal, TesseraError
from tessera.platform.cli.repair import repair as mend
from tessera.platform.pipeline import dvc_files
from tessera.platform.pipeline.dvc import render
from tessera.platform.pipeline.tables import PYSPARK
from tessera.platform.release import looks, pointer, published, seals
from tessera.platform.release.history import chain, looks_chain
from tessera.platform.release.journal import alias_fault, at_rest, require_whole, unfinished
from tessera.platform.release.mirror import open_mirror
from tessera.platform.servers.airflow import DATABASE
from tessera.platform.servers.checks import DATABASE as AIRFLOW_DATABASE
from tessera.platform.servers.checks import check_cluster
from tessera.platform.servers.pools import require_pools
from tessera.platform.tracking import databases, shared, tracking
from tessera.platform.workspace.params import load_params
from tessera.platform.workspace.paths import Workspace

_LIBRARIES = ("dvc", "torch", "great-expectations", "mlflow", "networkx", "causalml", "evidently")
_ROOM_GB = 5
_OF_ANOTHER = "kept by the registry that this is a mirror of"
_LEFT = f"what is left is `tessera verdict --check`, which needs registry/{seals.PUBLIC} alone"


def examine(workspace: Workspace, repair: bool = False) -> None:
    """Print one line a check; with `repair` do first what they would say.

    Raises
    ------
    TesseraError
        If any check failed; the lines above say which and what to do.
    """
    if repair:
        for line in mend(workspace):
            Console().print(f"[yellow]done[/] {escape(line)}", soft_wrap=True)
    checks: dict[str, Callable[[Workspace], str]] = {
        "python": _python,
        "libraries": _libraries,
        "params": _params,
        "engines": _engines,
        "dvc.yaml": _pipeline,
        "dvc.lock": _dvc_files,
        "disk": _disk,
        "published": _published,
        "elsewhere": _elsewhere,
        "history": _history,
        "MLflow store": _mlflow,
        "MLflow alias": _alias,
        "Airflow": _airflow,
        "cluster": _cluster,
        "looks": _looks,
        "key": _key,
    }
    failed = 0
    for name, check in checks.items():
        try:
            Console().print(f"[green]ok[/]   {name}: {escape(check(workspace))}", soft_wrap=True)
        except TesseraError as error:
            failed += 1
            Console().print(f"[red]bad[/]  {name}: {escape(str(error))}", soft_wrap=True)
    if failed:
        told = (
            "mend them in this order" if repair else "`tessera doctor --repair` mends what it can"
        )
        raise TesseraError(f"{failed} of {len(checks)} checks failed: {told}")


def _python(_: Workspace) -> str:
    if sys.version_info[:2] != (3, 11):
        raise TesseraError("needs Python 3.11: run `make install PYTHON=python3.11`")
    return sys.version.split()[0]


def _libraries(_: Workspace) -> str:
    found = []
    for name in _LIBRARIES:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError as error:
            raise TesseraError(f"{name} is not installed: run `make install`") from error
    return ", ".join(found)


def _params(workspace: Workspace) -> str:
    return f"{len(load_params(workspace))} sections within bounds"


def _engines(workspace: Workspace) -> str:
    found = load_params(workspace)
    asking = [name for name, section in found.items() if getattr(section, "engine", "") == PYSPARK]
    if not asking:
        return "DuckDB alone"
    from tessera.shared.engines.spark import fault

    if told := fault():
        raise TesseraError(f"{', '.join(asking)}: {told}")
    return f"Spark {importlib.metadata.version('pyspark')} for {', '.join(asking)}"


def _pipeline(workspace: Workspace) -> str:
    if not workspace.dvc_yaml.exists() or workspace.dvc_yaml.read_text() != render(workspace):
        raise TesseraError(
            f"{workspace.dvc_yaml.relative_to(workspace.root)} is stale: run `make render`"
        )
    return "as the catalogue renders it"


def _dvc_files(workspace: Workspace) -> str:
    torn = dvc_files.faults(workspace.root)
    if torn:
        raise TesseraError(f"{'; '.join(torn)} (by the next run or --repair)")
    return "dvc can read it, and what it keeps beside it"


def _mlflow(workspace: Workspace) -> str:
    tracking.require_open(workspace.tracking)
    if address := shared.named():
        return f"{shared.shown(address)} answers"
    return "can be opened" if workspace.tracking.exists() else "none yet: the first run makes it"


def _airflow(workspace: Workspace) -> str:
    path = workspace.root / ".airflow" / DATABASE
    wrong = databases.fault(path)
    if wrong:
        raise TesseraError(f"{path} is damaged ({wrong}): --repair or `tessera ui` sets it aside")
    named = os.environ.get(AIRFLOW_DATABASE, "")
    require_pools(named if named.startswith("postgresql") else path)
    return "its database is whole" if path.exists() else "never started: `make ui` does"


def _cluster(_: Workspace) -> str:
    return check_cluster(os.environ)


def _disk(workspace: Workspace) -> str:
    free_gb = shutil.disk_usage(workspace.root).free / 1e9
    if free_gb < _ROOM_GB:
        raise TesseraError(f"{free_gb:.1f} GB free, needs {_ROOM_GB}: free some space")
    return f"{free_gb:.0f} GB free"


def _published(workspace: Workspace) -> str:
    if pointer.current_version(workspace) is None:
        how = "fetch" if workspace.is_mirror else "run"
        return f"nothing yet: run `tessera {how} --profile {workspace.profile}`"
    return f"{pointer.current_bundle(workspace).name}, every hash matches"


def _elsewhere(workspace: Workspace) -> str:
    """Compare what is current with what can be had elsewhere, or comes from there."""
    if workspace.is_mirror:
        told = open_mirror(workspace).fault()
    elif (place := published.require_place(workspace)) is None:
        return "nothing is to be had elsewhere"
    else:
        told = place.fault()
        told = f"{told}: the next act tells it, or --repair" if told else None
    if told:
        raise TesseraError(told)
    return "what is current is what can be had there"


def _history(workspace: Workspace) -> str:
    if workspace.is_mirror:
        return _OF_ANOTHER
    with at_rest(workspace):
        require_whole(workspace)
        pending = unfinished(workspace)
    if pending:
        raise TesseraError("an act was interrupted: the next one completes it, or --repair")
    return f"{chain(workspace).head()['entries']} acts, every hash matches"


def _alias(workspace: Workspace) -> str:
    if workspace.is_mirror:
        return _OF_ANOTHER
    with at_rest(workspace):
        fault = alias_fault(workspace)
    if fault:
        raise TesseraError(
            f"{fault}: the next act sets it, or --repair (the registry is what counts)"
        )
    return "names what is published"


def _looks(workspace: Workspace) -> str:
    looks.require_whole(workspace)
    return f"{looks_chain(workspace).head()['entries']} looks of all profiles, every hash matches"


def _key(workspace: Workspace) -> str:
    if not seals.in_use(workspace):
        return "none yet: the first run makes it"
    try:
        seals.require_key(workspace)
    except BrokenSeal as error:
        raise TesseraError(f"{error}; no command can make it again: {_LEFT}") from error
    if seals.is_pair(workspace) is None:
        raise TesseraError(
            f"registry/{seals.PUBLIC} is missing or damaged: --repair writes it again"
        )
    return f"readable by its owner alone; registry/{seals.PUBLIC} belongs to it"

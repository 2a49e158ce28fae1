"""Say what is wrong with an environment or a profile before a long run finds out."""

from __future__ import annotations

import importlib.metadata
import shutil
import sys
from collections.abc import Callable

from rich.console import Console

from tessera.contracts.errors import TesseraError
from tessera.pipeline import looks, registry
from tessera.pipeline.dvc import render
from tessera.pipeline.history import head
from tessera.pipeline.journal import alias_fault, at_rest, require_whole, unfinished
from tessera.pipeline.params import load_params
from tessera.pipeline.paths import Home

_LIBRARIES = ("dvc", "torch", "great-expectations", "mlflow", "networkx", "causalml", "evidently")
_ROOM_GB = 5


def examine(place: Home) -> None:
    """Print one line a check.

    Raises
    ------
    TesseraError
        If any check failed; the lines above say which and what to do.
    """
    checks: dict[str, Callable[[Home], str]] = {
        "python": _python,
        "libraries": _libraries,
        "params": _params,
        "dvc.yaml": _pipeline,
        "disk": _disk,
        "published": _published,
        "history": _history,
        "MLflow alias": _alias,
        "looks": _looks,
    }
    failed = 0
    for name, check in checks.items():
        try:
            Console().print(f"[green]ok[/]   {name}: {check(place)}")
        except TesseraError as error:
            failed += 1
            Console().print(f"[red]bad[/]  {name}: {error}")
    if failed:
        raise TesseraError(f"{failed} of {len(checks)} checks failed: mend them in this order")


def _python(_: Home) -> str:
    if sys.version_info[:2] != (3, 11):
        raise TesseraError("needs Python 3.11: run `make install PYTHON=python3.11`")
    return sys.version.split()[0]


def _libraries(_: Home) -> str:
    found = []
    for name in _LIBRARIES:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError as error:
            raise TesseraError(f"{name} is not installed: run `make install`") from error
    return ", ".join(found)


def _params(place: Home) -> str:
    return f"{len(load_params(place))} sections within bounds"


def _pipeline(place: Home) -> str:
    if not place.dvc_yaml.exists() or place.dvc_yaml.read_text() != render(place):
        raise TesseraError(f"{place.dvc_yaml.relative_to(place.root)} is stale: run `make render`")
    return "as the catalogue renders it"


def _disk(place: Home) -> str:
    free_gb = shutil.disk_usage(place.root).free / 1e9
    if free_gb < _ROOM_GB:
        raise TesseraError(f"{free_gb:.1f} GB free, needs {_ROOM_GB}: free some")
    return f"{free_gb:.0f} GB free"


def _published(place: Home) -> str:
    if registry.current_version(place) is None:
        return f"nothing yet: run `tessera run --profile {place.profile}`"
    return f"{registry.current_bundle(place).name}, every hash matches"


def _history(place: Home) -> str:
    with at_rest(place):
        require_whole(place)
        pending = unfinished(place)
    if pending:
        raise TesseraError("an act was interrupted: the next one completes it")
    return f"{head(place)['entries']} acts, every hash matches"


def _alias(place: Home) -> str:
    with at_rest(place):
        fault = alias_fault(place)
    if fault:
        raise TesseraError(f"{fault}: the next act sets it (the registry is what counts)")
    return "names what is published"


def _looks(place: Home) -> str:
    looks.require_whole(place)
    return f"{looks.chain(place).head()['entries']} looks of all profiles, every hash matches"

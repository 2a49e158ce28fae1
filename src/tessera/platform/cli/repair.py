"""Do what `tessera doctor` says: mend every store that can be told again by one that counts.

The registry is the truth, then `data/`; files of other tools are remade from both.  What only a
person may decide (a broken history or ledger, a missing key) stays as it is, and the checks go on
saying it.
"""

from __future__ import annotations

from collections.abc import Callable

from tessera.contracts.errors import BrokenStore, TesseraError
from tessera.platform.pipeline import dvc_files
from tessera.platform.pipeline.dvc import render
from tessera.platform.pipeline.main_job import write_pipeline
from tessera.platform.release import anchors, seals
from tessera.platform.release.journal import alias_fault, one_act, state_fault, unfinished
from tessera.platform.tracking import databases, tracking
from tessera.platform.workspace.paths import Workspace


def repair(place: Workspace) -> list[str]:
    """Mend what can be, and return a line for each thing that was done."""
    done: list[str] = []
    for step in _STEPS:
        try:
            done += step(place)
        except TesseraError:  # the checks that follow say it
            continue
    return done


def _pipeline(place: Workspace) -> list[str]:
    if place.dvc_yaml.exists() and place.dvc_yaml.read_text() == render(place):
        return []
    write_pipeline(place)
    return [f"{place.dvc_yaml.relative_to(place.root)} is rendered again"]


def _dvc(place: Workspace) -> list[str]:
    return [*dvc_files.repair(place.root), *dvc_files.repair_state(place.root)]


def _mlflow(place: Workspace) -> list[str]:
    """Set a store aside that MLflow cannot open, and tell a new one all that is known."""
    path, told = place.tracking / tracking.DATABASE, []
    try:
        tracking.require_open(place.tracking)
    except BrokenStore as error:
        if "locked" in str(error):
            raise
        told = [f"{path} lies in {databases.set_aside(path).name}, MLflow begins anew"]
    logged = tracking.log_pending(place.records, place.tracking, quiet=True)
    return [*told, f"{logged} stage runs told to MLflow"] if logged else told


def _acts(place: Workspace) -> list[str]:
    """Let an act that does nothing complete one that was killed, and tell MLflow's alias."""
    if state_fault(place):
        return []
    before = {
        "an interrupted act is completed": unfinished(place) is not None,
        "MLflow's alias names what is published": alias_fault(place) is not None,
    }
    if not any(before.values()):
        return []
    with one_act(place):
        pass
    return [line for line, wrong in before.items() if wrong]


def _public_key(place: Workspace) -> list[str]:
    """Tell the public key again where it is gone or torn; another one is for a person to judge."""
    if not seals.in_use(place) or seals.is_pair(place) is not None:
        return []
    if anchors.fault(place) or state_fault(place):  # it may be another key
        return []
    seals.write_public(place)
    return [f"registry/{seals.PUBLIC} is told again by registry/{seals.KEY}"]


def _airflow(place: Workspace) -> list[str]:
    from tessera.platform.cli.ui import mend_database

    line = mend_database(place.root / ".airflow")
    return [line] if line else []


_STEPS: tuple[Callable[[Workspace], list[str]], ...] = (
    _pipeline,
    _dvc,
    _mlflow,
    _acts,
    _public_key,
    _airflow,
)

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
from tessera.platform.release import published, seals
from tessera.platform.release.history import looks_fault
from tessera.platform.release.journal import alias_fault, one_act, state_fault, unfinished
from tessera.platform.tracking import databases, shared, tracking
from tessera.platform.workspace.paths import Workspace


def repair(workspace: Workspace) -> list[str]:
    """Mend what can be, and return a line for each thing that was done."""
    done: list[str] = []
    for step in _STEPS:
        try:
            done += step(workspace)
        except TesseraError:  # the checks that follow say it
            continue
    return done


def _pipeline(workspace: Workspace) -> list[str]:
    if workspace.dvc_yaml.exists() and workspace.dvc_yaml.read_text() == render(workspace):
        return []
    write_pipeline(workspace)
    return [f"{workspace.dvc_yaml.relative_to(workspace.root)} is rendered again"]


def _dvc(workspace: Workspace) -> list[str]:
    return [*dvc_files.repair(workspace.root), *dvc_files.repair_state(workspace.root)]


def _mlflow(workspace: Workspace) -> list[str]:
    """Set a store aside that MLflow cannot open, and tell a new one all that is known."""
    path, told = workspace.tracking / tracking.DATABASE, []
    try:
        tracking.require_open(workspace.tracking)
    except BrokenStore as error:
        if shared.named() or "locked" in str(error):
            raise
        told = [f"{path} lies in {databases.set_aside(path).name}, MLflow begins anew"]
    logged = tracking.log_pending(workspace.records, workspace.tracking, quiet=True)
    return [*told, f"{logged} stage runs told to MLflow"] if logged else told


def _acts(workspace: Workspace) -> list[str]:
    """Let an act that does nothing complete one that was killed, and tell MLflow's alias."""
    if state_fault(workspace):
        return []
    before = {
        "an interrupted act is completed": unfinished(workspace) is not None,
        "MLflow's alias names what is published": _has_alias_fault(workspace),
    }
    if not any(before.values()):
        return []
    with one_act(workspace):
        pass
    return [line for line, wrong in before.items() if wrong]


def _has_alias_fault(workspace: Workspace) -> bool:
    """Whether MLflow's alias can be set right; where it cannot be asked, the checks say so."""
    try:
        return alias_fault(workspace) is not None
    except BrokenStore:
        return False


def _elsewhere(workspace: Workspace) -> list[str]:
    """Let readers elsewhere know what is current, and lay there what is not whole."""
    place = None if workspace.is_mirror else published.require_place(workspace)
    if place is None or place.fault() is None:
        return []
    with one_act(workspace):
        place.keep_up()
    return [f"{place.store.address} holds what is current"]


def _public_key(workspace: Workspace) -> list[str]:
    """Tell the public key again where it is gone or torn; another one is for a person to judge."""
    if not seals.in_use(workspace) or seals.is_pair(workspace) is not None:
        return []
    if looks_fault(workspace) or state_fault(workspace):  # it may be another key
        return []
    seals.write_public(workspace)
    return [f"registry/{seals.PUBLIC} is told again by registry/{seals.KEY}"]


def _airflow(workspace: Workspace) -> list[str]:
    from tessera.platform.cli.ui import mend_database

    line = mend_database(workspace.root / ".airflow")
    return [line] if line else []


_STEPS: tuple[Callable[[Workspace], list[str]], ...] = (
    _pipeline,
    _dvc,
    _mlflow,
    _acts,
    _elsewhere,
    _public_key,
    _airflow,
)

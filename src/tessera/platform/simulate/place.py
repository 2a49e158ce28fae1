"""Where a simulation lies: a workspace of its own, so that no market, log or ledger is touched."""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import yaml

import tessera
from tessera.contracts.errors import BadInput
from tessera.platform.simulate.plan import Plan
from tessera.platform.workspace import files
from tessera.platform.workspace.catalogue import MARKET
from tessera.platform.workspace.paths import Workspace, open_workspace

_PLAN = "plan.json"
_PATIENCE_S = 30.0
"""What a killed simulation had started is gone after a moment."""


@dataclass(frozen=True, slots=True)
class Place:
    """Folder of one simulation: a workspace, and what was played in it."""

    workspace: Workspace
    plan: Plan

    @property
    def played(self) -> Path:
        """Folder of what the simulation itself keeps."""
        return self.workspace.root / "simulation"

    @property
    def environment(self) -> dict[str, str]:
        """Of the commands that work there: no feed, profile or order of whoever started it."""
        kept = {name: value for name, value in os.environ.items() if name[:8] != "TESSERA_"}
        return {**kept, "TESSERA_ROOT": str(self.workspace.root), "OMP_NUM_THREADS": "1"}


def open_place(folder: Path, plan: Plan, root: Path) -> Place:
    """Make the workspace of a simulation, or open the one that is there.

    Raises
    ------
    BadInput
        If another simulation lies there, or something else.
    """
    told = folder / "simulation" / _PLAN
    if told.exists():
        before = Plan.read(files.read_json(told))
        if before != plan:
            raise BadInput(
                f"{folder} holds another simulation ({before}): name another folder with --into"
            )
    elif folder.exists() and any(folder.iterdir()):
        raise BadInput(f"{folder} is not empty and holds no simulation: name another with --into")
    else:
        files.write_json(plan.told(), told)
    profile = folder / "profiles" / f"{MARKET}.yaml"
    if not profile.exists():
        _make(folder, root)
        text = yaml.safe_dump(plan.overrides(), sort_keys=False)
        files.write_bytes(text.encode(), profile)  # last: it says that all is there
    return Place(open_workspace(MARKET, folder.resolve()), plan)


def _make(folder: Path, root: Path) -> None:
    for name in ("great_expectations", "monitoring"):
        shutil.copytree(root / name, folder / name, dirs_exist_ok=True)
    for name in ("params.yaml", ".dvcignore"):
        shutil.copy(root / name, folder / name)
    link = folder / "src"
    if not link.is_symlink():
        link.symlink_to(Path(tessera.__file__).resolve().parents[1], target_is_directory=True)
    config = b"[core]\n    analytics = false\n    no_scm = true\n"
    files.write_bytes(config, folder / ".dvc" / "config")


@contextmanager
def alone(place: Place) -> Iterator[IO[str]]:
    """Hold the folder; whoever is started with the handle holds it too, until it has ended.

    Raises
    ------
    BadInput
        If another simulation plays there.
    """
    place.played.mkdir(parents=True, exist_ok=True)
    with (place.played / ".lock").open("w") as lock:
        end = time.monotonic() + _PATIENCE_S
        while not _taken(lock):
            if time.monotonic() > end:
                raise BadInput(f"another simulation plays in {place.workspace.root}: wait for it")
            time.sleep(0.1)
        yield lock


def _taken(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True

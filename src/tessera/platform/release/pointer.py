"""Which published bundle is current, whole or refused."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tessera.contracts.disk import Mark, marks
from tessera.contracts.errors import BrokenBundle, BrokenHistory, GateClosed, TesseraError
from tessera.platform.release import bundles, notice
from tessera.platform.release.journal import made_current
from tessera.platform.workspace import files
from tessera.platform.workspace.paths import Workspace


def current_version(workspace: Workspace) -> str | None:
    """Version that the pointer names, None before the first publication."""
    pointer = workspace.registry / "current.json"
    return str(files.read_json(pointer)["version"]) if pointer.exists() else None


def current_bundle(workspace: Workspace) -> Path:
    """Return the published bundle after checking every hash.

    Raises
    ------
    GateClosed
        If nothing is published yet.
    BrokenBundle
        If a file does not match the manifest or the manifest does not match the pointer.
    BrokenHistory
        If no act made current what the pointer names.
    BrokenSeal
        If there is no key to check it with.
    """
    pointer = workspace.registry / "current.json"
    if not pointer.exists():
        raise GateClosed(_nothing_published(workspace))
    if workspace.is_mirror:
        return _whole(workspace, notice.checked(workspace, pointer.read_bytes(), pointer.name))
    named = files.read_json(pointer)
    while not made_current(workspace, named):
        before, named = named, files.read_json(pointer)
        if named == before:  # and no act moved it meanwhile
            raise BrokenHistory(
                f"no act of profile {workspace.profile} made {named['version']} current: "
                f"bring registry/{workspace.profile}/current.json back from a backup"
            )
    return _whole(workspace, named)


def _whole(workspace: Workspace, named: Mapping[str, Any]) -> Path:
    bundle = workspace.bundles / str(named["version"])
    if bundles.checked(workspace, bundle)["identity"] != named["identity"]:
        raise BrokenBundle(f"{bundle.name} is not what was published: publish again or roll back")
    return bundle


class Watched:
    """The current bundle for whoever asks each second: what did not change is not checked again."""

    def __init__(self, workspace: Workspace) -> None:
        """Know nothing yet."""
        self._workspace = workspace
        self._marks: object = None
        self._found: Path | TesseraError = Path()

    def __call__(self) -> Path:
        """Do as `current_bundle`; hashing a large bundle takes a second or more.

        Raises
        ------
        GateClosed, BrokenBundle, BrokenHistory
            As that does, and the same again until a file changes.
        """
        marks = self._look()  # before the check: what changes meanwhile is checked next time
        if marks is None or marks != self._marks:
            self._found, self._marks = self._checked(), marks
        if isinstance(self._found, TesseraError):
            raise self._found.with_traceback(None)
        return self._found

    def _checked(self) -> Path | TesseraError:
        try:
            return current_bundle(self._workspace)
        except TesseraError as error:
            return error

    def _look(self) -> list[Mark] | None:
        """Return what tells of each file whether it was written since; None if that is moving."""
        registry = self._workspace.registry
        try:
            bundle = registry / "bundles" / str(current_version(self._workspace))
            paths = [one for one in registry.iterdir() if one.is_file()]
            return marks([*paths, *bundle.rglob("*")])
        except OSError:  # an act is being done
            return None


def _nothing_published(workspace: Workspace) -> str:
    profile = f"--profile {workspace.profile}"
    remedy = f"run `tessera run {profile}` first"
    if workspace.is_mirror:
        return f"nothing of profile {workspace.profile} is here yet: run `tessera fetch {profile}`"
    if workspace.artifact("verdict").exists():
        remedy = (
            f"its candidate is judged (`tessera verdict {profile}`) and needs a person: "
            f"`tessera promote {profile} --reason <why> --approver <name>`"
        )
    return f"nothing is published for profile {workspace.profile}: {remedy}"

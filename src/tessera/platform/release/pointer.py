"""Which published bundle is current, whole or refused."""

from __future__ import annotations

from pathlib import Path

from tessera.contracts.errors import BrokenBundle, BrokenHistory, GateClosed
from tessera.platform.release import bundles
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
    """
    pointer = workspace.registry / "current.json"
    if not pointer.exists():
        raise GateClosed(_nothing_published(workspace))
    named = files.read_json(pointer)
    while not made_current(workspace, named):
        before, named = named, files.read_json(pointer)
        if named == before:  # and no act moved it meanwhile
            raise BrokenHistory(
                f"no act of profile {workspace.profile} made {named['version']} current: "
                f"bring registry/{workspace.profile}/current.json back from a backup"
            )
    bundle = workspace.bundles / str(named["version"])
    if bundles.checked(workspace, bundle)["identity"] != named["identity"]:
        raise BrokenBundle(f"{bundle.name} is not what was published: publish again or roll back")
    return bundle


def _nothing_published(workspace: Workspace) -> str:
    profile = f"--profile {workspace.profile}"
    remedy = f"run `tessera run {profile}` first"
    if workspace.artifact("verdict").exists():
        remedy = (
            f"its candidate is judged (`tessera verdict {profile}`) and needs a person: "
            f"`tessera promote {profile} --reason <why> --approver <name>`"
        )
    return f"nothing is published for profile {workspace.profile}: {remedy}"

"""What a registry tells readers elsewhere: one small file under seal, and files by their hash.

    <profile>/current.json     the notice: what is current, and what else a service asks a registry
    <profile>/files/<sha256>   every file of every bundle that was current

A reader needs the public key of the registry and believes nothing of the place where it reads: the
notice is signed, names manifests by their hash, and these name all other files.  It bears the
number of the act that it follows, so that an older one that is put back is known for what it is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tessera.bundles import manifest
from tessera.contracts.errors import BrokenBundle
from tessera.platform.release import bundles, seals
from tessera.platform.release.chain import digest, parsed
from tessera.platform.release.history import ended, exploring, moves
from tessera.platform.workspace import files
from tessera.platform.workspace.paths import Workspace

NAME = "current.json"
"""In the store, and where a mirror keeps it."""
FILES = "files"
PURPOSE = "notice"
_UNDER_SEAL = (manifest.MANIFEST, manifest.SEAL)
"""Files that no manifest lists."""

Notice = dict[str, Any]


def make(workspace: Workspace, lines: Sequence[str]) -> Notice:
    """Return what readers elsewhere are told after an act, under seal; the same again and again.

    Parameters
    ----------
    workspace : Workspace
        The profile, with its registry.
    lines : Sequence[str]
        Entries of the history up to that of the act, which may be about to be written; one of them
        moved the pointer.

    Raises
    ------
    BrokenBundle
        If the manifest of what is current cannot be read.
    """
    acts = [parsed(line) for line in lines]
    reached = [str(one["to"]) for one in moves(acts)]
    version = reached[-1]
    known = {
        name: told for name in sorted(set(reached)) if (told := _named(workspace, name)) is not None
    }
    if version not in known:
        raise BrokenBundle(f"{version} has no readable manifest: restore it from a backup")
    facts = {
        "profile": workspace.profile,
        "n": acts[-1]["n"],
        "line": digest(lines[-1]),
        "version": version,
        "identity": known[version]["identity"],
        "explores": exploring(acts),
        "ended": ended(acts),
        "versions": known,
    }
    return seals.seal(workspace, PURPOSE, facts)


def written(notice: Mapping[str, Any]) -> bytes:
    """Return a notice as the bytes that lie in a store."""
    return (json.dumps(notice, indent=2) + "\n").encode()


def read(content: bytes) -> Notice:
    """Read a notice, unchecked; one that is torn is empty."""
    try:
        return parsed(content.decode(errors="replace"))
    except RecursionError:  # nobody here nests that deep
        return {}


def checked(workspace: Workspace, content: bytes, where: str) -> Notice:
    """Read a notice that the registry wrote which this workspace is a mirror of.

    Raises
    ------
    BrokenBundle
        If it did not.
    BrokenSeal
        If the key to check it with is none.
    """
    notice = read(content)
    wrong = bundles.seal_check(workspace)(PURPOSE, notice)
    if not wrong and notice["profile"] != workspace.profile:
        wrong = f"tells of profile {notice['profile']}"
    if wrong:
        raise BrokenBundle(f"{where} {wrong}: what was served goes on")
    return notice


def bundle_of(workspace: Workspace, version: str) -> Path:
    """Return where a version lies, or is being made."""
    aside = workspace.bundles / f".{version}.making"
    return aside if aside.exists() else workspace.bundles / version


def place(told: str) -> str:
    """Name a file in the store by its hash."""
    return f"{FILES}/{told}"


def listed(notice: Notice, version: str, sealed: Mapping[str, Any]) -> dict[str, str]:
    """Hash of every file of a version, by its name in the bundle: as a notice and a manifest say.

    Raises
    ------
    BrokenBundle
        If a name would lie outside of the bundle.
    """
    own = {name: told for name, told in notice["versions"][version].items() if name in _UNDER_SEAL}
    found = {**sealed["files"], **own}
    for name in found:
        if any(part in ("", ".", "..") for part in name.split("/")):
            raise BrokenBundle(f"{version}: {name!r} is no name of a file in a bundle")
    return found


def _named(workspace: Workspace, version: str) -> dict[str, str] | None:
    """Name a version by what nobody can change: its identity, and the files that none lists."""
    bundle = bundle_of(workspace, version)
    try:
        identity = str(manifest.read_manifest(bundle)["identity"])
    except (BrokenBundle, KeyError):
        return None
    lie = {name: bundle / name for name in _UNDER_SEAL}
    hashes = {name: files.sha256(path) for name, path in lie.items() if path.is_file()}
    return {"identity": identity, **hashes}

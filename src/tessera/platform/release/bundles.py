"""Bundles under seal: what a manifest says is true only if this registry wrote it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tessera.bundles import manifest
from tessera.contracts.errors import BrokenBundle
from tessera.platform.release import seals
from tessera.platform.release.judged import packed_fault
from tessera.platform.workspace import files
from tessera.platform.workspace.paths import Workspace

MANIFEST = "manifest"
VERDICT = "verdict"
"""Purposes of seals."""


def seal(workspace: Workspace, bundle: Path, facts: Mapping[str, Any]) -> str:
    """Write the manifest of a bundle under seal; return its identity."""
    manifest.seal(bundle, {"profile": workspace.profile, **facts})
    sealed = seals.seal(workspace, MANIFEST, manifest.read_manifest(bundle))
    (bundle / manifest.MANIFEST).write_text(json.dumps(sealed, indent=2) + "\n")
    return str(sealed["identity"])


def checked(workspace: Workspace, bundle: Path) -> dict[str, Any]:
    """Return the manifest of a bundle that is whole, sealed here and holds what was judged.

    Raises
    ------
    BrokenBundle
        Naming the first thing that is wrong.
    BrokenSeal
        If there is no key to check it with.
    """
    sealed = manifest.check(bundle)
    wrong = seals.fault(workspace, MANIFEST, sealed)
    if wrong:
        raise BrokenBundle(f"{bundle.name}: manifest.json {wrong}: {_mend(workspace)}")
    if sealed.get("profile") != workspace.profile:
        raise BrokenBundle(
            f"{bundle.name} belongs to profile {sealed.get('profile')}: {_mend(workspace)}"
        )
    if sealed["kind"] == "model":
        _require_judged(workspace, bundle, sealed)
    return sealed


def _mend(workspace: Workspace) -> str:
    command = f"tessera run --from-stage ope --profile {workspace.profile}"
    return f"judge it here by `{command}`, or roll back"


def _require_judged(workspace: Workspace, bundle: Path, sealed: Mapping[str, Any]) -> None:
    verdict = checked_verdict(workspace, bundle / "verdict.json")
    wrong = packed_fault(sealed["files"], verdict)
    if wrong:
        raise BrokenBundle(f"{bundle.name} {wrong}: {_mend(workspace)}")
    from tessera.shared.policies.serving import (
        FILE as POLICY,  # numpy, which a candidate's verdict spares
    )

    if files.read_json(bundle / POLICY) != verdict.get("policy"):
        raise BrokenBundle(
            f"{bundle.name}: {POLICY} is not the policy that was judged: {_mend(workspace)}"
        )
    decision = sealed.get("decision", verdict["decision"])
    if decision != verdict["decision"]:
        raise BrokenBundle(f"{bundle.name}: its verdict is {verdict['decision']}, not {decision}")


def seal_verdict(
    workspace: Workspace, verdict: Path, page: Path, facts: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the seal of a verdict and its page, to lie beside them."""
    named = {"verdict.json": files.sha256(verdict), "verdict.html": files.sha256(page)}
    return seals.seal(workspace, VERDICT, {"profile": workspace.profile, "files": named, **facts})


def checked_verdict(workspace: Workspace, verdict: Path) -> dict[str, Any]:
    """Read a verdict that was written by a run of this registry, with the seal beside it.

    Raises
    ------
    BrokenBundle
        If it was not, or was changed since.
    BrokenSeal
        If there is no key to check it with.
    """
    where = f"{verdict.parent.name}/{verdict.name}"
    sealed = read_seal(verdict)
    wrong = seals.fault(workspace, VERDICT, sealed) or verdict_fault(workspace, verdict, sealed)
    if wrong:
        raise BrokenBundle(f"{where} {wrong}: run `tessera run ope --profile {workspace.profile}`")
    return dict(files.read_json(verdict))


def read_seal(verdict: Path) -> dict[str, Any]:
    """Read the seal beside a verdict, unchecked; nothing if it cannot be read."""
    try:
        return dict(files.read_json(verdict.with_name(manifest.SEAL)))
    except (OSError, ValueError):
        return {}


def verdict_fault(workspace: Workspace, verdict: Path, sealed: Mapping[str, Any]) -> str | None:
    """Return how a verdict or its page differs from what its seal says, None if it does not."""
    if sealed["profile"] != workspace.profile:
        return f"was given for profile {sealed['profile']}"
    for name, told in sealed["files"].items():
        path = verdict.with_name(name)
        # A page that is gone misleads nobody; the manifest of a bundle asks for it.
        if path.exists() and files.sha256(path) != told:
            return f"is not as it was sealed: {name} was changed"
    return None

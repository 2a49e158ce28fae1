"""Bundles under seal: what a manifest says is true only if this registry wrote it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tessera.bundles import manifest
from tessera.contracts.errors import BrokenBundle, GateClosed
from tessera.platform.release import seals
from tessera.platform.release.judged import packed_fault
from tessera.platform.workspace import files
from tessera.platform.workspace.paths import Workspace

MANIFEST, VERDICT, PAGE = "manifest", "verdict", "page"
"""Purposes of seals."""
PROMOTE = "PROMOTE"

Check = Callable[[str, Mapping[str, Any]], str | None]
"""Purpose and sealed document in; what is wrong with its seal out, None if nothing."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A bundle that waits for its act, whole when it was read."""

    bundle: Path
    identity: str
    judged_against: str | None
    verdict: dict[str, Any]
    verdict_sha256: str

    @property
    def decision(self) -> str:
        """Decision of the verdict."""
        return str(self.verdict["decision"])


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
    wrong = seal_check(workspace)(MANIFEST, sealed)
    if wrong:
        raise BrokenBundle(f"{bundle.name}: manifest.json {wrong}: {_mend(workspace)}")
    if sealed.get("profile") != workspace.profile:
        raise BrokenBundle(
            f"{bundle.name} belongs to profile {sealed.get('profile')}: {_mend(workspace)}"
        )
    if sealed["kind"] == "model":
        _require_judged(workspace, bundle, sealed)
    return sealed


def seal_check(workspace: Workspace) -> Check:
    """Return what checks seals: the key of the registry, in a mirror the public key of another.

    Raises
    ------
    BrokenSeal
        If a mirror's key is none.
    """
    if workspace.is_mirror:
        return partial(seals.signature_fault, seals.mirror_key())
    return partial(seals.fault, workspace)


def _mend(workspace: Workspace) -> str:
    if workspace.is_mirror:
        return f"bring it again by `tessera fetch --profile {workspace.profile}`"
    command = f"tessera run --from-stage ope --profile {workspace.profile}"
    return f"judge it here by `{command}`, or roll back"


def _require_judged(workspace: Workspace, bundle: Path, sealed: Mapping[str, Any]) -> None:
    verdict = checked_verdict(workspace, bundle / manifest.VERDICT)
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


def read_candidate(workspace: Workspace) -> Candidate:
    """Return what was built and judged last, every hash checked.

    Raises
    ------
    GateClosed
        If there is none.
    BrokenBundle
        If it does not match its manifest.
    """
    bundle = workspace.artifact("bundle")
    if not bundle.exists():
        raise GateClosed(f"no candidate bundle: run `tessera run --profile {workspace.profile}`")
    sealed = checked(workspace, bundle)
    verdict = files.read_json(bundle / manifest.VERDICT)
    told = sealed["files"][manifest.VERDICT]
    return Candidate(bundle, sealed["identity"], sealed["judged_against"], verdict, told)


def seal_verdict(workspace: Workspace, verdict: Path, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the seal of a verdict, to lie beside it."""
    named = {manifest.VERDICT: files.sha256(verdict)}
    return seals.seal(workspace, VERDICT, {"profile": workspace.profile, "files": named, **facts})


def seal_page(
    workspace: Workspace, verdict: Path, page: Path, facts: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the seal of a page and of the verdict that it was drawn from, to lie beside it."""
    named = {manifest.VERDICT: files.sha256(verdict), manifest.PAGE: files.sha256(page)}
    return seals.seal(workspace, PAGE, {"profile": workspace.profile, "files": named, **facts})


def checked_verdict(workspace: Workspace, verdict: Path) -> dict[str, Any]:
    """Read a verdict that was written by a run of this registry, with the seal beside it.

    Raises
    ------
    BrokenBundle
        If it was not, or was changed since.
    BrokenSeal
        If there is no key to check it with.
    """
    _require(workspace, verdict, "ope")
    return dict(files.read_json(verdict))


def checked_page(workspace: Workspace, verdict: Path) -> Path | None:
    """Return the page beside a verdict, drawn from it by a run of this registry; None if gone.

    A page that is gone misleads nobody; the manifest of a published bundle asks for it.

    Raises
    ------
    BrokenBundle
        If it was drawn from another verdict or by nobody here, or was changed since.
    BrokenSeal
        If there is no key to check it with.
    """
    page = verdict.with_name(manifest.PAGE)
    if not page.exists():
        return None
    _require(workspace, page, "report")
    return page


def candidate_page(workspace: Workspace, verdict_sha256: str) -> Path | None:
    """Return the page of the verdict that lies in the candidate bundle; None if it has none.

    Raises
    ------
    BrokenBundle, BrokenSeal
        As `checked_page` does.
    """
    if _drawn_from(workspace) != verdict_sha256:
        return None
    return checked_page(workspace, workspace.artifact("verdict"))


def add_page(workspace: Workspace, bundle: Path, verdict_sha256: str) -> None:
    """Lay the page of its verdict into a bundle that is being published, with the page's seal.

    Raises
    ------
    GateClosed
        If there is no page of this verdict.
    BrokenBundle, BrokenSeal
        As `checked_page` does.
    """
    if candidate_page(workspace, verdict_sha256) is None:
        raise GateClosed(
            "the verdict on the candidate has no page: run "
            f"`tessera run --profile {workspace.profile}`, which draws it"
        )
    for name in (manifest.PAGE, manifest.PAGE_SEAL):
        shutil.copyfile(workspace.data / name, bundle / name)
    checked_page(workspace, bundle / manifest.VERDICT)  # as it was copied


def drop_page_of_another(workspace: Workspace, verdict: Path) -> None:
    """Let no page lie beside a new verdict that was drawn from another one."""
    if _drawn_from(workspace) == files.sha256(verdict):
        return
    for name in ("verdict_page", "page_seal"):
        files.remove(workspace.artifact(name))


def _drawn_from(workspace: Workspace) -> str | None:
    """Hash of the verdict that the page of a profile says it was drawn from, unchecked."""
    named = _read(workspace.artifact("page_seal")).get("files") or {}
    return named.get(manifest.VERDICT)


def fault(workspace: Workspace, path: Path, check: Check) -> str | None:
    """Say what is wrong with a verdict or a page in words that follow its name; None if nothing.

    Parameters
    ----------
    workspace : Workspace
        The profile.
    path : Path
        `verdict.json` or `verdict.html`, with its seal beside it.
    check : Check
        By the secret key, or by the public one alone.
    """
    purpose, sealed = VERDICT, _read(path.with_name(manifest.SEAL))
    # Until pages were drawn by a stage of their own, one seal was of verdict and page.
    if path.name == manifest.PAGE and manifest.PAGE not in (sealed.get("files") or {}):
        purpose, sealed = PAGE, _read(path.with_name(manifest.PAGE_SEAL))
    return check(purpose, sealed) or _changed(workspace, path, sealed)


def _require(workspace: Workspace, path: Path, stage: str) -> None:
    wrong = fault(workspace, path, seal_check(workspace))
    if wrong:
        where = f"{path.parent.name}/{path.name}"
        mend = f"run `tessera run {stage} --profile {workspace.profile}`"
        mend = _mend(workspace) if workspace.is_mirror else mend
        raise BrokenBundle(f"{where} {wrong}: {mend}")


def _read(seal_of: Path) -> dict[str, Any]:
    """Read a seal, unchecked; nothing if it cannot be read."""
    try:
        return dict(files.read_json(seal_of))
    except (OSError, ValueError):
        return {}


def _changed(workspace: Workspace, path: Path, sealed: Mapping[str, Any]) -> str | None:
    """Return how what lies beside a seal differs from what it says, None if it does not."""
    if sealed["profile"] != workspace.profile:
        return f"was given for profile {sealed['profile']}"
    for name, told in sealed["files"].items():
        beside = path.with_name(name)
        if beside.exists() and files.sha256(beside) != told:
            return f"is not as it was sealed: {name} was changed"
    return None

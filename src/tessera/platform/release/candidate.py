"""The bundle that was built and judged last, and waits for its act."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tessera.contracts.errors import GateClosed
from tessera.platform.release import bundles
from tessera.platform.workspace import files
from tessera.platform.workspace.paths import Workspace

PROMOTE = "PROMOTE"


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
    sealed = bundles.checked(workspace, bundle)
    verdict = files.read_json(bundle / "verdict.json")
    told = sealed["files"]["verdict.json"]
    return Candidate(bundle, sealed["identity"], sealed["judged_against"], verdict, told)

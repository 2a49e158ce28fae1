"""What a verdict is about: hashes of all that it judged, compared wherever it is used."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from tessera.contracts import hashes
from tessera.contracts.errors import GateClosed
from tessera.platform.workspace import files
from tessera.platform.workspace.catalogue import Stage, answers_for, stages
from tessera.platform.workspace.code import SOURCE, import_closure
from tessera.platform.workspace.params import Sections, source_of
from tessera.platform.workspace.paths import Workspace

PACKED = {
    "model": "model",
    "facts": "facts",
    "codebook": "codebook",
    "ledger_out": "ledger",
    "split": "split.json",
}
"""What a bundle holds as the stages wrote it, and where."""
_SHOWN = 12
_CHAMPION = "champion.json"


def judged(stage: Stage, workspace: Workspace, params: Sections) -> dict[str, Any]:
    """Hash all that a verdict given now would be about.

    Returns
    -------
    dict
        `artifacts` by name, `params` by section and `code` by stage, both with those of the stage
        that packs: what a bundle retrieves from is its work; `cut`.
    """
    from tessera.contracts.split import load_split  # ibis takes a second

    among = stages(source_of(workspace))
    return {
        "artifacts": {name: files.sha256(workspace.artifact(name)) for name in sorted(stage.needs)},
        "params": {name: hash_params(params[name]) for name in answers_for(stage, among)},
        "code": {one.name: hash_code(one) for one in among if one is stage or one.packs},
        "cut": load_split(workspace.artifact("split")).cut.isoformat(),
    }


def champion_hash(folder: Path) -> str:
    """Hash what a candidate is held against, whatever its version is called."""
    found = hashes.file_hashes(folder)
    kind = str(files.read_json(folder / _CHAMPION)["kind"])
    return hashes.combined({**found, _CHAMPION: kind})


def hash_params(section: BaseModel) -> str:
    """Hash a section of the params as a stage gets it."""
    text = json.dumps(section.model_dump(mode="json"), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def hash_code(stage: Stage) -> str:
    """Hash every file of ours that a stage runs."""
    names = import_closure(stage.entry_point)
    return hashes.combined({name: files.sha256(SOURCE / name) for name in names})


def require_same(
    stage: Stage, judge: Stage, workspace: Workspace, params: Sections, told: Mapping[str, Any]
) -> None:
    """Refuse to pack what the verdict is not about.

    Parameters
    ----------
    stage : Stage
        The one that packs.
    judge : Stage
        The one that judged.
    workspace : Workspace
        The profile.
    params : Sections
        Params as they stand now.
    told : Mapping[str, Any]
        Section `judged` of the verdict.

    Raises
    ------
    GateClosed
        Naming the first part that differs.
    """
    mend = f"run `tessera run {judge.name} --profile {workspace.profile}` to judge it"
    for what, now, then in _pairs(judge, workspace, params, told):
        if now != then:
            raise GateClosed(
                f"{stage.name}: {what} is not what the verdict judged "
                f"({(now or 'missing')[:_SHOWN]} vs {(then or 'nothing')[:_SHOWN]}): {mend}"
            )


def _pairs(
    judge: Stage, workspace: Workspace, params: Sections, told: Mapping[str, Any]
) -> list[tuple[str, str | None, str | None]]:
    """Each part with its hash now and its hash in the verdict."""
    artifacts, sections, code = (told.get(name, {}) for name in ("artifacts", "params", "code"))
    among = stages(source_of(workspace))
    pairs: list[tuple[str, str | None, str | None]] = [
        (name, _hash(workspace.artifact(name)), artifacts.get(name)) for name in sorted(judge.needs)
    ]
    pairs += [
        (f"params {name}", hash_params(params[name]), sections.get(name))
        for name in answers_for(judge, among)
    ]
    packers = (one for one in among if one is judge or one.packs)
    return pairs + [(f"code of {one.name}", hash_code(one), code.get(one.name)) for one in packers]


def _hash(path: Path) -> str | None:
    return files.sha256(path) if path.exists() else None


def packed_fault(listed: Mapping[str, str], verdict: Mapping[str, Any]) -> str | None:
    """Return what a bundle holds other than its verdict judged, in words that follow its name.

    Parameters
    ----------
    listed : Mapping[str, str]
        Hash of every file of the bundle by name, as they were checked.
    verdict : Mapping[str, Any]
        The verdict that lies in the bundle.
    """
    told = (verdict.get("judged") or {}).get("artifacts", {})
    for name, packed in PACKED.items():
        now, then = _packed_hash(listed, packed), told.get(name)
        if now != then:
            return f"holds {name} {now[:_SHOWN]}, its verdict judged {(then or 'nothing')[:_SHOWN]}"
    return None


def _packed_hash(listed: Mapping[str, str], packed: str) -> str:
    """Hash a file, or a folder as `hashes.sha256` does, by the hashes of its files."""
    if packed in listed:
        return listed[packed]
    folder = f"{packed}/"
    inner = {name: told for name, told in listed.items() if name.startswith(folder)}
    return hashes.combined({name.removeprefix(folder): told for name, told in inner.items()})

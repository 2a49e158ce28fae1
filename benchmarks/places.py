"""Stages run one by one outside dvc: their inputs pinned as for a profile that never ran."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tessera.contracts.artifacts import ARTIFACTS
from tessera.contracts.params import DATA, read_of_data
from tessera.platform.pipeline.runner import call
from tessera.platform.workspace import files
from tessera.platform.workspace.catalogue import find, stages
from tessera.platform.workspace.params import Sections, check_section, section_types
from tessera.platform.workspace.paths import Workspace


def turned(sections: Sections, changes: Mapping[str, Mapping[str, Any]]) -> Sections:
    """Return sections with other values; one of `data` changes wherever it is read.

    Raises
    ------
    BadParams
        On an unknown field or a value out of bounds.
    """
    found = dict(sections)
    for name, kind in section_types().items():
        shared = changes.get(DATA, {})
        own = {key: shared[key] for key in read_of_data(kind) if key in shared}
        if values := {**own, **changes.get(name, {})}:
            found[name] = check_section(name, {**found[name].model_dump(), **values})
    return found


def pin(workspace: Workspace, champion: dict[str, str | None], cut: str | None = None) -> None:
    """Write the request, the champion, an empty ledger and an empty log."""
    files.write_json({"cut": cut}, workspace.artifact("request"))
    for name in ("champion", "ledger_in", "served"):
        workspace.artifact(name).mkdir(parents=True, exist_ok=True)
    files.write_json(champion, workspace.artifact("champion") / "champion.json")
    for name in ("ledger_in", "served"):
        (workspace.artifact(name) / "empty.json").write_text("{}\n")


def run_alone(workspace: Workspace, name: str, params: Sections) -> dict[str, float]:
    """Run one stage, without validation or record, and put what it wrote into place."""
    stage = find(name, stages(str(params["ingest"].model_dump()["source"])))
    assert stage is not None
    staging = workspace.data / ".staging" / name
    files.remove(staging)
    staging.mkdir(parents=True)
    metrics = call(stage, workspace, params, staging)
    for made in stage.makes:
        files.move_into_place(staging / ARTIFACTS[made].filename, workspace.artifact(made))
    return metrics

"""All rankers on the slates of the market after the cut: the head, cosine, popularity, its rivals.

Usage: python -m benchmarks.rankers [--seeds 1] [--epochs N]   after `make run`

The stages `hstu` and `baselines` train once more, a seed at a time, into a folder that is thrown
away, with `hstu.rankers` on and without what no slate is ranked by.
"""

from __future__ import annotations

import argparse
from typing import Any

from benchmarks.common import ROOT, write_result
from tessera.contracts.errors import BadInput
from tessera.platform.pipeline.ablate import ALONE, train_aside
from tessera.platform.workspace.catalogue import find, stages
from tessera.platform.workspace.params import check_section, load_params, source_of
from tessera.platform.workspace.paths import DEFAULT_PROFILE, Workspace, open_workspace

_CHANGES = {**ALONE, "rankers": True}


def measured(workspace: Workspace, changes: dict[str, Any]) -> dict[str, float]:
    """Return the slate AUC of each task by ranker, and the calibration errors."""
    sections = load_params(workspace)
    params = check_section("hstu", {**sections["hstu"].model_dump(), **_CHANGES, **changes})
    found: dict[str, float] = {}
    for name in ("hstu", "baselines"):
        stage = find(name, stages(source_of(workspace)))
        assert stage is not None
        found |= train_aside(stage, workspace, {**sections, "hstu": params})
    return {name: round(value, 4) for name, value in found.items() if name.startswith("rank_")}


def main() -> None:
    """Train and write results/rankers.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--epochs", type=int, help="instead of hstu.epochs")
    given = parser.parse_args()
    workspace = open_workspace(DEFAULT_PROFILE, ROOT)
    if not workspace.artifact("exposures").exists():
        raise BadInput(f"profile {workspace.profile} never ran: `make run`")
    more = {"epochs": given.epochs} if given.epochs else {}
    seeds = {str(seed): measured(workspace, {**more, "seed": seed}) for seed in range(given.seeds)}
    write_result("rankers", {"seeds": seeds, **more})


if __name__ == "__main__":
    main()

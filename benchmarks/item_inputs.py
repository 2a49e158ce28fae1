"""What remembering prefixes of codes is worth beside the sum of codewords, on small markets.

Usage: python -m benchmarks.item_inputs [--seeds 0 1 2 3 4]

Every seed is a market of its own and a training of its own with each item input.  `shrunk` has
two rows a table, so that all prefixes fall together: what it earns is not memory of prefixes.
A killed run resumes behind the last whole piece.
"""

from __future__ import annotations

import argparse
from typing import Any

from benchmarks.common import ROOT, Kept, each, write_result
from benchmarks.generate import MARKET, MARKET_ITSELF, draw, figures_of, params_of
from benchmarks.places import run_alone
from tessera.platform.workspace.params import Sections
from tessera.platform.workspace.paths import DEFAULT_PROFILE, Workspace

INPUTS: dict[str, dict[str, Any]] = {
    "codewords": {},
    "prefix": {"item_input": "prefix"},
    "shrunk": {"item_input": "prefix", "prefix_rows": 2},
}


def trained(workspace: Workspace, params: Sections) -> dict[str, float]:
    """Train on a market that is drawn already, and measure what is published."""
    found = run_alone(workspace, "hstu", params)
    run_alone(workspace, "baselines", params)
    run_alone(workspace, "evaluate", params)
    return {**figures_of(workspace)["hstu"], "epochs": found["hstu_epochs"],
            "auc_click": found["rank_auc_click"]}  # fmt: skip


def measured(piece: tuple[int, str]) -> dict[str, float]:
    """Draw the market of a seed, or train on it with an item input and measure its lists."""
    seed, name = piece
    workspace = Workspace(ROOT / "data" / "bench" / f"item-inputs-{seed}", DEFAULT_PROFILE)
    if name == MARKET_ITSELF:
        draw(workspace, seed)
        return {}
    return trained(workspace, params_of(seed, **INPUTS[name]))


def main() -> None:
    """Measure and write results/item_inputs.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    given = parser.parse_args()
    pieces = [(seed, name) for seed in given.seeds for name in (MARKET_ITSELF, *INPUTS)]
    found = each(measured, pieces, "markets", Kept("item_inputs", MARKET))
    told = dict(zip(pieces, found, strict=True))
    seeds = {str(seed): {name: told[seed, name] for name in INPUTS} for seed in given.seeds}
    write_result("item_inputs", {"seeds": seeds, "market": MARKET})


if __name__ == "__main__":
    main()

"""What weighing an item's own vector against its codes is worth, on small markets.

Usage: python -m benchmarks.item_shares [--seeds 0 1 2]

Every seed is a market of its own and a training of its own with the plain sum and with each way to
tell how much of an item is its own, the simplest first.  A killed run resumes behind the last whole
piece.

Legend: V items with padding first, F facts.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import torch

from benchmarks.common import ROOT, Kept, each, write_result
from benchmarks.generate import MARKET, MARKET_ITSELF, draw, params_of
from benchmarks.item_inputs import trained
from tessera.model.nn.own_share import MATURITY, WeighedCodewords
from tessera.model.trunk.saved import load_model
from tessera.platform.workspace.paths import DEFAULT_PROFILE, Workspace

SUM = "codewords"
INPUTS: dict[str, dict[str, Any]] = {
    SUM: {},
    **{
        share: {"item_input": "weighed", "own_share": share}
        for share in ("shrink", "logistic", "net")
    },
}
_QUARTERS = 4


def shares(workspace: Workspace) -> dict[str, float]:
    """Return how much of an item is its own, in the quarters of fewest and of most answers."""
    model, _ = load_model(workspace.artifact("model"))
    weighed = model.item_input
    if not isinstance(weighed, WeighedCodewords):
        return {}
    with torch.inference_mode():
        share_V = weighed.share(model.item_VD, model.warm_V).numpy()
    answered_V = weighed.maturity_VF[:, MATURITY.index("answered")].numpy()
    warm = np.flatnonzero(model.warm_V.numpy())
    by_answers = warm[np.argsort(answered_V[warm], kind="stable")]
    quarter = len(by_answers) // _QUARTERS
    few, many = by_answers[:quarter], by_answers[-quarter:]
    return {"share_few": float(share_V[few].mean()), "share_many": float(share_V[many].mean())}


def measured(piece: tuple[int, str]) -> dict[str, float]:
    """Draw the market of a seed, or train on it with an item input and measure its lists."""
    seed, name = piece
    workspace = Workspace(ROOT / "data" / "bench" / f"item-shares-{seed}", DEFAULT_PROFILE)
    if name == MARKET_ITSELF:
        draw(workspace, seed)
        return {}
    found = trained(workspace, params_of(seed, **INPUTS[name]))
    return {name: round(value, 4) for name, value in (found | shares(workspace)).items()}


def main() -> None:
    """Measure and write results/item_shares.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    given = parser.parse_args()
    pieces = [(seed, name) for seed in given.seeds for name in (MARKET_ITSELF, *INPUTS)]
    found = each(measured, pieces, "markets", Kept("item_shares", MARKET))
    told = dict(zip(pieces, found, strict=True))
    seeds = {str(seed): {name: told[seed, name] for name in INPUTS} for seed in given.seeds}
    write_result("item_shares", {"seeds": seeds, "market": MARKET})


if __name__ == "__main__":
    main()

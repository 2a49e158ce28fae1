"""What codes of behaviour, of topology and of other quantizers are worth on small markets.

Usage: python -m benchmarks.sid_worth [--seeds 0 1 2] [--kinds text topology]

Every seed is a market of its own.  On it codes are given anew for each kind, and the trunk is
trained with each: it reads codes, and its head decodes them.  A killed run resumes behind
the last whole piece.
"""

from __future__ import annotations

import argparse
from typing import Any

from benchmarks.common import ROOT, Kept, each, write_result
from benchmarks.generate import BEFORE, MARKET, MARKET_ITSELF, draw, figures_of, params_of
from benchmarks.places import run_alone, turned
from tessera.platform.workspace.paths import DEFAULT_PROFILE, Workspace

_TEXT_ALONE = {"neighbourhood_weight": 0.0, "topology_weight": 0.0}
_LITTLE_TEXT = {**_TEXT_ALONE, "content_weight": 0.3}
_TOPOLOGY = {**_LITTLE_TEXT, "structure_weight": 0.3, "near_behaviour_weight": 1.0}
KINDS: dict[str, dict[str, Any]] = {
    "text": _TEXT_ALONE,
    "default": {},
    "behaviour": {**_LITTLE_TEXT, "behaviour_weight": 1.0},
    "topology": _TOPOLOGY,
    "topology at level 1": {**_TOPOLOGY, "coarse_blocks": ("structure", "near_behaviour")},
    "rq_fsq": {"quantizer": "rq_fsq"},
    "drq": {"quantizer": "drq"},
    "rqvae": {"quantizer": "rqvae"},
    "rqvae, order kept": {"quantizer": "rqvae", "order_pull": 0.003},
    "balanced": {"balanced": True},
    "fields": {**_TEXT_ALONE, "fields_weight": 0.5},
    "price": {**_TEXT_ALONE, "price_weight": 0.5},
    "second hop": {**_TEXT_ALONE, "second_hop_weight": 0.5},
}
"""Codes by their name: of other item vectors, whose rival is text alone, or by other quantizers,
whose rival is what is on by default; that of RQ-VAE which keeps the order is RQ-VAE."""
_MODELS = ("hstu_generative", "hstu_trunk", "hstu")
_HEALTH = ("capacity", "collision_rate", "reconstruction_error")


def measured(piece: tuple[int, str]) -> dict[str, Any]:
    """Draw the market of a seed, or give codes of one kind, train with them and measure."""
    seed, kind = piece
    workspace = Workspace(ROOT / "data" / "bench" / f"sid-worth-{seed}", DEFAULT_PROFILE)
    if kind == MARKET_ITSELF:
        draw(workspace, seed, [name for name in BEFORE if name != "sid"])
        return {}
    params = turned(params_of(seed, generate=True), {"sid": KINDS[kind]})
    health = run_alone(workspace, "sid", params)
    run_alone(workspace, "hstu", params)
    if not workspace.artifact("baseline_lists").exists():  # no figure here is of theirs
        run_alone(workspace, "baselines", params)
    run_alone(workspace, "evaluate", params)
    models = {name: found for name, found in figures_of(workspace).items() if name in _MODELS}
    return {"models": models, "codes": {name: health[name] for name in _HEALTH}}


def main() -> None:
    """Measure and write results/sid_worth.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=KINDS)
    given = parser.parse_args()
    kinds = {name: KINDS[name] for name in given.kinds}
    pieces = [(seed, part) for part in (MARKET_ITSELF, *kinds) for seed in given.seeds]
    kept = Kept("sid_worth", {**MARKET, "kinds": KINDS})
    found = dict(zip(pieces, each(measured, pieces, "markets", kept), strict=True))
    seeds = {str(seed): {kind: found[seed, kind] for kind in kinds} for seed in given.seeds}
    write_result("sid_worth", {"seeds": seeds, "market": MARKET, "kinds": kinds})


if __name__ == "__main__":
    main()

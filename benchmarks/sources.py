"""What each source of candidates finds on small embedded markets, and what they find together.

Usage: python -m benchmarks.sources [--seeds 0 1 2] [--acquired 2000]

Every seed is a market of its own, and a training of its own with the generative head; what it
publishes is asked as the service would ask it, as of each acquisition after the cut.  Shares of the
blend are learnt from the earlier half of the acquisitions; all figures are about the later half.
An item is cold if nobody acquired it before the cut, or if it was first offered shortly before.
A killed run resumes behind the last whole piece.

Legend: Q acquisitions, S sources, I items.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from benchmarks.common import Kept, each, write_result
from benchmarks.generate import MARKET, MARKET_ITSELF, measured, params_of, place_of
from benchmarks.places import run_alone
from tessera.contracts.arrays import Bools, Float64s, Ints
from tessera.contracts.arrow import DAY_US
from tessera.platform.cli.cli_mix import acquired_since
from tessera.platform.workspace import files
from tessera.platform.workspace.paths import Workspace
from tessera.serve.engine import Engine
from tessera.serve.mix import Request, learn, places_of, requests
from tessera.serve.params import ServeParams
from tessera.serve.retrieval import RETRIEVERS, Retriever, mixed
from tessera.serve.retrievers.generated import Generated
from tessera.serve.retrievers.walk import Walk
from tessera.shared.policies.serving import ServingPolicy
from tessera.shared.policies.shares import in_turn
from tessera.shared.policies.slate import SlatePolicy
from tessera.shared.push import Graph
from tessera.stages.evaluate.params import EvaluateParams
from tessera.stages.index.params import IndexParams

BLENDS = {"blend": ("dense", "walk", "generated"), "blend_all": RETRIEVERS}
"""Sources that share the places: the three that compete, and all that a service has."""
UNDECLARED = "walk_undeclared"
PLACES, TOP, STEP = 40, 10, 5
_POLICY = ServingPolicy(SlatePolicy(temperature=0.06, epsilon=0.2, top_k=10), 3)
"""Slates are drawn by it, which no figure here depends on."""


def packed(workspace: Workspace, seed: int) -> Path:
    """Pack what was trained, under a policy that nobody judged."""
    verdict = {"policy": _POLICY.facts(), "decision": "INVALID", "reason": "measured alone"}
    for name, content in (("verdict", verdict), ("seal", {})):
        files.write_json(content, workspace.artifact(name))
    run_alone(workspace, "index", params_of(seed, generate=True))
    return workspace.artifact("bundle")


@dataclass(frozen=True, slots=True)
class Asked:
    """Sources of a bundle, and who asks them."""

    engine: Engine
    names: tuple[str, ...]
    is_cold_I: Bools
    sharing_I: Ints
    """Items that have the code of each item, itself among them; 0 without a code."""

    def sharing(self, shares: Mapping[str, float]) -> dict[str, Retriever]:
        """Return the sources that share the places."""
        return {name: self.engine.recommender.retrievers[name] for name in shares}


def opened(bundle: Path) -> Asked:
    """Open all sources of a bundle, and beside them walks that do not go by what is declared."""
    engine = Engine.open(bundle, ServeParams(retrieved=PLACES, capacity_eur=[]))
    every = dict(engine.recommender.retrievers)
    walk, decoded = cast(Walk, every["walk"]), cast(Generated, every["generated"])
    plain = replace(walk, graph=Graph.of(walk.graph.parts[:1], walk.graph.rank_N))
    every[UNDECLARED] = plain
    engine = replace(engine, recommender=replace(engine.recommender, retrievers=every))
    cut = engine.scorer.ranker.moment - 1
    since = cut - EvaluateParams().cold_days * DAY_US
    popularity_I = engine.recommender.items["popularity"].to_numpy()
    sharing_I = np.zeros(len(engine.recommender.shelf.ids) + 1, np.int64)
    sharing_I[decoded.row_V] = decoded.decoding.sharing()
    is_cold_I = (popularity_I == 0) | (engine.candidates.from_I > since)
    return Asked(engine, tuple(every), is_cold_I, sharing_I[:-1])


def place_in(asked: Asked, one: Request, shares: Mapping[str, float]) -> int:
    """Return the place of what was acquired in the blended list; PLACES if it is not there."""
    found = mixed(asked.sharing(shares), one.who, one.eligible_I, PLACES, shares)
    row_F = found.row_F[in_turn(found.source_F, shares)]
    at = np.flatnonzero(row_F == one.row)
    return int(at[0]) if len(at) else PLACES


def told(place_Q: Ints, chosen_Q: Bools) -> dict[str, float]:
    """Return recall of the places, and nDCG of the first, of the chosen acquisitions."""
    place_C = place_Q[chosen_Q]
    gain_C = np.where(place_C < TOP, 1 / np.log2(place_C.clip(max=TOP) + 2.0), 0.0)
    return {
        "recall": round(float((place_C < PLACES).mean()), 4),
        "ndcg_10": round(float(gain_C.mean()), 4),
    }


def figures(asked: Asked, acquired: list[Any]) -> dict[str, Any]:
    """Learn shares from the earlier half, and measure all sources on the later one."""
    ordered = sorted(acquired, key=lambda one: (one.moment, one.user_id, one.item_id))
    half = len(ordered) // 2
    engine, names = asked.engine, asked.names
    known = [one for one in requests(engine, ordered[:half]) if one.who.vector_D is not None]
    early_QS = np.array([places_of(engine, one, PLACES) for one in known])
    shares = {
        blend: shares_of(early_QS[:, [names.index(name) for name in among]], among)
        for blend, among in BLENDS.items()
    }
    rows, places = [], []
    for one in requests(engine, ordered[half:]):
        together = [place_in(asked, one, shares[blend]) for blend in BLENDS]
        places.append([*places_of(engine, one, PLACES), *together])
        rows.append(one.row)
    place_QS, row_Q = np.minimum(np.array(places), PLACES), np.array(rows)
    cold_Q = asked.is_cold_I[row_Q]
    parts = {"all": np.ones(len(row_Q), bool), "cold": cold_Q, "warm": ~cold_Q}
    return {
        "shares": shares,
        "learnt_from": len(known),
        "asked": {part: int(chosen_Q.sum()) for part, chosen_Q in parts.items()},
        "sources": {
            name: {part: told(place_Q, chosen_Q) for part, chosen_Q in parts.items()}
            for name, place_Q in zip((*names, *BLENDS), place_QS.T, strict=True)
        },
        "honest": honest(place_QS[:, names.index("generated")], asked.sharing_I[row_Q], parts),
    }


def shares_of(place_QS: Ints, names: tuple[str, ...]) -> dict[str, float]:
    """Learn the shares of these sources from their own lists."""
    dealt_S = learn(place_QS, PLACES, STEP)
    return {name: int(one) / PLACES for name, one in zip(names, dealt_S, strict=True) if one}


def honest(place_Q: Ints, sharing_Q: Ints, parts: Mapping[str, Bools]) -> dict[str, float]:
    """Return the recall of decoding if a code that m items share counts 1 / m."""
    worth_Q: Float64s = (place_Q < PLACES) / np.maximum(sharing_Q, 1)
    return {part: round(float(worth_Q[chosen_Q].mean()), 4) for part, chosen_Q in parts.items()}


def piece(asked: tuple[int, int]) -> dict[str, Any]:
    """Draw the market of a seed, train on it, publish, and ask."""
    seed, most = asked
    measured((seed, MARKET_ITSELF))
    workspace = place_of(seed)
    params = params_of(seed, generate=True)
    for name in ("hstu", "baselines", "evaluate"):
        run_alone(workspace, name, params)
    bundle = packed(workspace, seed)
    sources = opened(bundle)
    actions = cast(IndexParams, params["index"]).acquired
    events = workspace.artifact("events")
    acquired = acquired_since(sources.engine, bundle, events, actions, most, seed)
    return figures(sources, acquired)


def main() -> None:
    """Measure and write results/sources.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--acquired", type=int, default=2000)
    given = parser.parse_args()
    pieces = [(seed, given.acquired) for seed in given.seeds]
    found = each(piece, pieces, "markets", Kept("sources", MARKET))
    seeds = {str(seed): one for seed, one in zip(given.seeds, found, strict=True)}
    write_result("sources", {"seeds": seeds, "market": MARKET, "places": PLACES})


if __name__ == "__main__":
    main()

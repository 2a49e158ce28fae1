"""How well codes use their codebook, and whether topology in the vectors shows in them.

Usage: python -m benchmarks.sid_codes [--seeds 0 1 2] [--worlds market beauty]
       with the official files in TESSERA_DATA

A killed run resumes behind the last whole piece.

Shapes: N items, L levels, W content width.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
from sklearn.metrics import normalized_mutual_info_score

from benchmarks.common import Kept, each, write_result
from benchmarks.sid_data import Coded, World, beauty, coded, market, shuffled
from tessera.shared.codes.health import capacity, collision_rate, level_health
from tessera.stages.sid.balance import balance
from tessera.stages.sid.neighbours import neighbours_kept
from tessera.stages.sid.params import SidParams

COMMUNITIES = 8
TEXT = {"neighbourhood_weight": 0.0, "topology_weight": 0.0}
"""Params of text alone."""
NEAR = {**TEXT, "near_behaviour_weight": 1.0}
COARSE = {**NEAR, "coarse_blocks": ("near_behaviour",)}
"""Topology that the first level alone is of."""
PLANTED: dict[str, dict[str, Any]] = {
    "text": TEXT,
    "text, four levels": {**TEXT, "levels": 4},
    "default": {},
    "topology": NEAR,
    "topology, four levels": {**NEAR, "levels": 4},
    "topology, edges shuffled": NEAR,
    "topology at level 1": COARSE,
    "topology at level 1, four levels": {**COARSE, "levels": 4},
    "topology at level 1, edges shuffled": COARSE,
    "graph loss": {**TEXT, "quantizer": "rqvae", "graph_pull": 0.3},
    "graph loss, edges shuffled": {**TEXT, "quantizer": "rqvae", "graph_pull": 0.3},
    "rqvae": {**TEXT, "quantizer": "rqvae"},
}
QUANTIZERS: dict[str, dict[str, Any]] = {
    "rkmeans": {},
    "minibatch": {"quantizer": "minibatch", "batch_size": 4096},
    "rqvae": {"quantizer": "rqvae"},
    "rqvae, order kept": {"quantizer": "rqvae", "order_pull": 0.003},
    "rq_fsq": {"quantizer": "rq_fsq"},
    "drq": {"quantizer": "drq"},
}
_WORLDS = ("market", "beauty")
_EPOCHS = {"market": 150, "beauty": 30}
_SHUFFLED = "edges shuffled"


def text_explained(found: Coded) -> float:
    """Share of the variance of the content block that decoded codes explain."""
    width = len(found.space.arrays["content_mean"])
    content_NW = found.vector_ND[:, :width]
    left_NW = content_NW - found.quantizer.decode(found.code_NL)[:, :width]
    spread_NW = content_NW - content_NW.mean(axis=0)
    return 1.0 - float(np.sum(left_NW**2) / np.sum(spread_NW**2))


def planted(seed: int, name: str) -> dict[str, Any]:
    """Code the market with communities in one way; compare its levels with what is planted."""
    world = market(seed, COMMUNITIES)
    if name.endswith(_SHUFFLED):
        world = shuffled(world, np.random.default_rng(seed))
    found = coded(world, SidParams(codebook_size=16, seed=seed, **PLANTED[name]))
    assert world.community_N is not None
    return {
        "nmi": [
            round(float(normalized_mutual_info_score(world.community_N, code_N)), 4)
            for code_N in found.code_NL.T
        ],
        "text_explained": round(text_explained(found), 4),
    }


def use(where: str, name: str) -> dict[str, Any]:
    """Code a catalogue with one quantizer; say how it uses its codebook."""
    world: World = market(0, 0) if where == "market" else beauty()
    asked = {"epochs": _EPOCHS[where]} | QUANTIZERS[name]
    found = coded(world, SidParams(**asked))
    size = found.quantizer.codeword_LKD.shape[1]
    ids = found.catalogue.item_ids
    balanced_NL = balance(found.code_NL, found.vector_ND, found.quantizer, ids, {})
    spread = np.sum((found.vector_ND - found.vector_ND.mean(axis=0)) ** 2)
    error, error_balanced = (
        round(float(np.sum((found.vector_ND - found.quantizer.decode(code_NL)) ** 2) / spread), 4)
        for code_NL in (found.code_NL, balanced_NL)
    )
    levels = [level_health(code_N, size) for code_N in found.code_NL.T]
    return {
        "items": len(ids),
        "codewords": size,
        "used": [round(level["used"] / size, 4) for level in levels],
        "perplexity": [round(level["perplexity"] / size, 4) for level in levels],
        "capacity": round(capacity(found.code_NL), 4),
        "collisions": round(collision_rate(found.code_NL), 4),
        "collisions_balanced": round(collision_rate(balanced_NL), 4),
        "error": error,
        "error_balanced": error_balanced,
        "neighbours_kept": [
            round(share, 4) for share in neighbours_kept(found.vector_ND, found.code_NL)
        ],
    }  # fmt: skip


def measured(piece: tuple[str, str, Any]) -> dict[str, Any]:
    """Measure one piece of either part."""
    part, name, where = piece
    return planted(where, name) if part == "planted" else use(where, name)


def main() -> None:
    """Measure and write results/sid_codes.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--worlds", nargs="+", default=list(_WORLDS), choices=_WORLDS)
    given = parser.parse_args()
    pieces: list[tuple[str, str, Any]] = [
        *(("planted", name, seed) for seed in given.seeds for name in PLANTED),
        *(("use", name, where) for where in given.worlds for name in QUANTIZERS),
    ]
    kept = Kept("sid_codes", {"planted": PLANTED, "quantizers": QUANTIZERS})
    found = dict(zip(pieces, each(measured, pieces, "codes", kept), strict=True))
    write_result(
        "sid_codes",
        {
            "communities": COMMUNITIES,
            "planted": {
                str(seed): {name: found["planted", name, seed] for name in PLANTED}
                for seed in given.seeds
            },
            "use": {
                where: {name: found["use", name, where] for name in QUANTIZERS}
                for where in given.worlds
            },
        },
    )


if __name__ == "__main__":
    main()

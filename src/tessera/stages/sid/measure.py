"""How good codes are: use, noise, what each level says, and whether it is what investors do.

Legend: N items, D vector width, L levels, K codewords of a level, P pairs, C distinct codes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import ibis
import numpy as np

from tessera.contracts.arrays import Float64s, Ints
from tessera.contracts.lookup import rows_of
from tessera.shared.codes.behaviour import Pairs, hit_rates, soft_matching
from tessera.shared.codes.geometry import Reached, reached
from tessera.shared.codes.health import (
    capacity,
    collision_rate,
    expected_shared,
    gini,
    level_health,
)
from tessera.shared.codes.noise import (
    displacement,
    flip_rates,
    noise_margin,
    overlap_under_noise,
    spread,
)
from tessera.stages.sid.codebooks import Quantizer
from tessera.stages.sid.neighbours import neighbours_kept

Figures = dict[str, float | None]
_DECIMALS = 9
_COMPARED = 10_000
"""At most so many items, at even steps, are looked at for the neighbours that codes keep."""
_SHAKEN = 2000
"""Items whose vectors are shaken to find the noise margin; of more, so many at even steps."""


def measure(
    code_NL: Ints,
    vectors: tuple[Float64s, Float64s],
    quantizer: Quantizer,
    pairs: Pairs,
    seed: int,
) -> tuple[Figures, list[Figures]]:
    """Measure codes as a whole, and level by level.

    Parameters
    ----------
    code_NL : Ints
        Codes as given, the suffix left out.
    vectors : tuple
        Vectors [N, D] of the items, and those of a second encoding of the same items.
    quantizer : Quantizer
        What encodes them.
    pairs : Pairs
        Rows of items acquired by the same investors.
    seed : int
        Of shaking and of random pairs.

    Returns
    -------
    tuple
        Figures of whole codes, and those of each level; None where there is nothing to measure by:
        a second encoding that moves no vector says nothing of noise.
    """
    vector_ND, again_ND = vectors
    size = quantizer.codeword_LKD.shape[1]
    noise = displacement(vector_ND, again_ND)
    flips: Sequence[float | None] = [None] * code_NL.shape[1]
    if noise > 0.0:
        flips = flip_rates(quantizer.encode(vector_ND), quantizer.encode(again_ND))
    hits = hit_rates(code_NL, pairs)
    some = np.unique(
        np.linspace(0, len(code_NL) - 1, min(_COMPARED, len(code_NL))).astype(np.int64)
    )
    kept = neighbours_kept(vector_ND[some], code_NL[some])
    levels: list[Figures] = []
    for depth, step in enumerate(reached(vector_ND, code_NL, size)):
        last = step
        known: Figures = {
            **level_health(code_NL[:, depth], size),
            **_told_apart(step, noise),
            "error": step.error,
            "flip_rate": flips[depth],
            "neighbours_kept": kept[depth],
            "hit_rate": None if hits is None else hits[depth][0],
            "hit_chance": None if hits is None else hits[depth][1],
        }
        levels.append(_rounded(known))
    varies = spread(vector_ND)
    whole = _whole(code_NL, last, noise) | {
        "flip_rate": flips[-1],
        "noise": noise / varies if varies > 0.0 else None,
        "noise_margin": noise_margin(_some(vector_ND), quantizer.encode, seed),
        "soft_matching": soft_matching(last.vector_ND, pairs, seed),
    }
    return _rounded(whole), levels


def co_acquired(edges: ibis.Table, item_ids: list[str]) -> Pairs:
    """Read which items were acquired by the same investors, and by how many."""
    kept = edges.filter(edges.kind == "co_acquired").select("source_id", "target_id", "support")
    rows = kept.order_by("source_id", "target_id").to_pyarrow()
    one_P, other_P = (rows_of(rows[name], item_ids) for name in ("source_id", "target_id"))
    both_P = (one_P >= 0) & (other_P >= 0) & (one_P != other_P)
    weight_P = rows["support"].to_numpy().astype(np.float64)
    return Pairs(one_P[both_P], other_P[both_P], weight_P[both_P])


def _told_apart(step: Reached, noise: float) -> Figures:
    use = overlap_under_noise(step.codeword_KD, step.count_K, noise)
    return {
        "usable": float(step.distinct),
        "used_share": float((step.count_K > 0).sum()) / step.distinct,
        "overlap_under_noise": use.overlap if noise > 0.0 else None,
        "capacity_under_noise": use.capacity if noise > 0.0 else None,
        "distribution": use.distribution,
        "geometry": use.geometry if noise > 0.0 else None,
    }


def _whole(code_NL: Ints, last: Reached, noise: float) -> Figures:
    found = np.unique(code_NL, axis=0, return_index=True, return_counts=True)
    first_C, count_C = found[1], found[2]
    use = overlap_under_noise(last.vector_ND[first_C], count_C, noise)
    return {
        "capacity": capacity(code_NL),
        "capacity_under_noise": use.capacity / len(code_NL) if noise > 0.0 else None,
        "collision_rate": collision_rate(code_NL),
        "expected_shared": expected_shared(code_NL),
        "geometry": use.geometry if noise > 0.0 else None,
        "gini_of_codes": gini(count_C.astype(np.float64)),
    }


def _some(vector_ND: Float64s) -> Float64s:
    step = max(len(vector_ND) / _SHAKEN, 1.0)
    rows = (np.arange(min(len(vector_ND), _SHAKEN)) * step).astype(np.int64)
    return np.asarray(vector_ND[rows])


def _rounded(figures: Mapping[str, float | None]) -> Figures:
    """Leave out the last bits, in which machines differ."""
    return {name: None if value is None else round(float(value), _DECIMALS)
            for name, value in figures.items()}  # fmt: skip

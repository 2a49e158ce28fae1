"""Who acquired the item's neighbours, and theirs: mean factors one and two steps away.

With `structure` this is the structured topology that codes may be of.

Legend: N items, Z factors, W content width.
"""

from __future__ import annotations

import numpy as np

from tessera.contracts.arrays import Float64s
from tessera.stages.sid.declared import filled
from tessera.stages.sid.scaling import by_known_direction
from tessera.stages.sid.vectors import Catalogue


def rows(catalogue: Catalogue, content_NW: Float64s) -> Float64s:  # noqa: ARG001
    """Means [N, 2 Z]; those of declared links for an item without neighbours, or NaN."""
    near_NZ = _around(catalogue, catalogue.behaviour_NZ)
    far_NZ = _around(catalogue, near_NZ)
    return np.hstack([near_NZ, np.where(np.isnan(far_NZ), near_NZ, far_NZ)])


def scale(block_NZ: Float64s) -> tuple[Float64s, Float64s]:
    """Keep the relative sizes of directions."""
    return by_known_direction(block_NZ)


def _around(catalogue: Catalogue, known_NZ: Float64s) -> Float64s:
    """Mean over neighbours that are known."""
    seen_N1 = ~np.isnan(known_NZ[:, :1])
    weight_N1 = catalogue.neighbour_NN @ seen_N1.astype(np.float64)
    total_NZ = catalogue.neighbour_NN @ np.where(seen_N1, known_NZ, 0.0)
    mean_NZ = np.where(weight_N1 > 0, total_NZ / np.where(weight_N1 > 0, weight_N1, 1.0), np.nan)
    return filled(mean_NZ, catalogue.link_NV)

"""Who acquired the item: its factors of the matrix of investors and items, up to the cut.

Legend: N items, Z factors, W content width.
"""

from __future__ import annotations

from tessera.contracts.arrays import Float64s
from tessera.stages.sid.scaling import by_known_direction
from tessera.stages.sid.vectors import Catalogue


def rows(catalogue: Catalogue, content_NW: Float64s) -> Float64s:  # noqa: ARG001
    """Factors [N, Z]; NaN for an item that nobody acquired."""
    return catalogue.behaviour_NZ


def scale(block_NZ: Float64s) -> tuple[Float64s, Float64s]:
    """Keep the relative sizes of directions."""
    return by_known_direction(block_NZ)

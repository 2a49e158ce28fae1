"""What people asked before they clicked on the item: the mean of their queries, up to the cut.

Legend: N items, H hashed width, W content width.
"""

from __future__ import annotations

from tessera.contracts.arrays import Float64s
from tessera.stages.sid.scaling import by_known_direction
from tessera.stages.sid.vectors import Catalogue


def rows(catalogue: Catalogue, content_NW: Float64s) -> Float64s:  # noqa: ARG001
    """Means [N, H]; NaN for an item that hardly anybody searched for."""
    return catalogue.query_NH


def scale(block_NH: Float64s) -> tuple[Float64s, Float64s]:
    """Keep the relative sizes of directions."""
    return by_known_direction(block_NH)

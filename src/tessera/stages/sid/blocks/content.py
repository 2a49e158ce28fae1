"""What the item's own text and fields say.

Legend: N items, W width.
"""

from __future__ import annotations

from tessera.contracts.arrays import Float64s
from tessera.stages.sid.scaling import by_direction
from tessera.stages.sid.vectors import Catalogue


def rows(catalogue: Catalogue, content_NW: Float64s) -> Float64s:  # noqa: ARG001
    """Return the content as it is."""
    return content_NW


def scale(block_NW: Float64s) -> tuple[Float64s, Float64s]:
    """Keep the relative sizes of directions."""
    return by_direction(block_NW)

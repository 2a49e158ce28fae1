"""What the neighbours of the item's neighbours are like: their mean content, by edge weight.

Legend: N items, W width.
"""

from __future__ import annotations

from tessera.contracts.arrays import Float64s
from tessera.stages.sid.blocks import neighbourhood
from tessera.stages.sid.scaling import by_direction
from tessera.stages.sid.vectors import Catalogue


def rows(catalogue: Catalogue, content_NW: Float64s) -> Float64s:
    """Mean content two steps away; one step, or its own, where there is nothing further."""
    return neighbourhood.rows(catalogue, neighbourhood.rows(catalogue, content_NW))


def scale(block_NW: Float64s) -> tuple[Float64s, Float64s]:
    """Keep the relative sizes of directions."""
    return by_direction(block_NW)

"""What the item's neighbours in the graph are like: their mean content, by edge weight.

Legend: N items, W width.
"""

from __future__ import annotations

import numpy as np

from tessera.contracts.arrays import Float64s
from tessera.stages.sid.scaling import by_direction
from tessera.stages.sid.vectors import Catalogue


def rows(catalogue: Catalogue, content_NW: Float64s) -> Float64s:
    """Mean content of the neighbours; the item's own where it has none."""
    alone_N = np.diff(catalogue.neighbour_NN.indptr) == 0
    around_NW: Float64s = catalogue.neighbour_NN @ content_NW
    around_NW[alone_N] = content_NW[alone_N]  # best guess: neighbours resemble the item
    return around_NW


def scale(block_NW: Float64s) -> tuple[Float64s, Float64s]:
    """Keep the relative sizes of directions."""
    return by_direction(block_NW)

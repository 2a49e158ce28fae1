"""How the item's price moved up to the cut: returns, volatility, deepest fall, length of history.

Legend: N items, P price measures, W content width.
"""

from __future__ import annotations

from tessera.contracts.arrays import Float64s
from tessera.stages.sid.scaling import by_measure
from tessera.stages.sid.vectors import Catalogue


def rows(catalogue: Catalogue, content_NW: Float64s) -> Float64s:  # noqa: ARG001
    """Measures [N, P]; NaN for an item without prices."""
    return catalogue.price_NP


def scale(block_NP: Float64s) -> tuple[Float64s, Float64s]:
    """Let each measure count alike: their units are mixed."""
    return by_measure(block_NP)

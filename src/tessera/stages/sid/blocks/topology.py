"""Where the item stands in the graph: degree, PageRank, core number and clustering.

Legend: N items, T topology measures, W content width.
"""

from __future__ import annotations

from tessera.contracts.arrays import Float64s
from tessera.stages.sid.scaling import by_measure
from tessera.stages.sid.vectors import Catalogue


def rows(catalogue: Catalogue, content_NW: Float64s) -> Float64s:  # noqa: ARG001
    """Measures [N, T]; NaN for an item without events."""
    return catalogue.topology_NT


def scale(block_NT: Float64s) -> tuple[Float64s, Float64s]:
    """Let each measure count alike: their units are mixed."""
    return by_measure(block_NT)

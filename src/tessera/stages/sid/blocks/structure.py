"""Where the item stands in the graph by every measure, and what its declared links say if nowhere.

Legend: N items, S measures and a missing flag, W content width.
"""

from __future__ import annotations

import numpy as np

from tessera.contracts.arrays import Float64s
from tessera.stages.sid.declared import filled
from tessera.stages.sid.scaling import by_measure
from tessera.stages.sid.vectors import Catalogue


def rows(catalogue: Catalogue, content_NW: Float64s) -> Float64s:  # noqa: ARG001
    """Measures, the mean of those linked for an item without events, and whether it is one."""
    own_NS = catalogue.structure_NS
    new_N = np.isnan(own_NS[:, 0])
    around_NS = filled(own_NS, catalogue.link_NV)
    # An item that declares nothing either is the average one of those with events.
    average_S = np.zeros(own_NS.shape[1]) if new_N.all() else own_NS[~new_N].mean(axis=0)
    return np.column_stack([np.where(np.isnan(around_NS), average_S, around_NS), new_N])


def scale(block_NS: Float64s) -> tuple[Float64s, Float64s]:
    """Let each measure count alike: their units are mixed."""
    return by_measure(block_NS)

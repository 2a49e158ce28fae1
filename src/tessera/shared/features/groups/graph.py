"""How what the investor holds is linked with the candidate.

Shapes: R requests, Q candidates of all requests.
"""

from __future__ import annotations

import numpy as np

from tessera.shared.features.facts import Columns, Facts, Queries
from tessera.shared.features.links import LINKS, edge_columns, held_of_candidates


def columns(facts: Facts, asked: Queries) -> Columns:
    """Tell what the investor holds, and how it is linked with the candidate."""
    held_QH = held_of_candidates(facts, asked)
    count_Q = (held_QH > 0).sum(axis=1)
    found: Columns = {"held": np.log1p(count_Q), "held_missing": count_Q == 0}
    for kind in LINKS:
        found |= edge_columns(facts, kind, held_QH, asked.item_Q)
    return found

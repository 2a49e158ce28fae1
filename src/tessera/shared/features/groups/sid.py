"""How many of the liked items begin with the candidate's code.

Shapes: R requests, Q candidates of all requests.
"""

from __future__ import annotations

import numpy as np

from tessera.shared.features.facts import Columns, Facts, Queries
from tessera.shared.features.shares import LIKED, share


def columns(facts: Facts, asked: Queries) -> Columns:
    """Share of the liked items that begin with the candidate's code, level by level."""
    found: Columns = {}
    for level, prefix_I in enumerate(facts.prefixes, start=1):
        share_Q, count_Q = share(facts, asked, f"prefix {level}", prefix_I, LIKED)
        found |= {f"sid_{level}": share_Q, f"sid_{level}_count": np.log1p(count_Q)}
    return found

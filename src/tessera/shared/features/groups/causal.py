"""What holding its items adds to the investor's chance of buying the candidate.

Shapes: R requests, Q candidates of all requests.
"""

from __future__ import annotations

from tessera.shared.features.facts import Columns, Facts, Queries
from tessera.shared.features.links import edge_columns, held_of_candidates


def columns(facts: Facts, asked: Queries) -> Columns:
    """Tell what holding its items adds to the investor's chance of buying the candidate."""
    return edge_columns(facts, "causal", held_of_candidates(facts, asked), asked.item_Q)

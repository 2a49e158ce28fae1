"""What is known of an investor and a candidate item at a request, for ranking and serving alike.

Every count, price and version is strictly older than the request (`stretches`), whatever else the
arrays hold.  Edges, codes and effects are snapshots that the graph, the quantizer and uplift took
at the cut: on requests before it they are what a weight is, something learnt from the whole
training period.
An unknown value is NaN beside a missing flag, never filled in.

Shapes: R requests, M candidates of each, Q of all, F features.  Times are microseconds since 1970.
"""

from __future__ import annotations

from typing import Protocol, cast

import numpy as np

from tessera.contracts.arrays import Float32s, Ints
from tessera.contracts.components import component
from tessera.shared.features.facts import Columns, Facts, Queries


class Group(Protocol):
    """What a module of `groups` has."""

    def columns(self, facts: Facts, asked: Queries) -> Columns:
        """Values [Q] by name, of what was known strictly before each request; NaN if unknown."""


def _group(name: str) -> Group:
    return cast(Group, component("tessera.shared.features.groups", name))


def ranking_features(
    facts: Facts, asked: Queries, groups: tuple[str, ...]
) -> tuple[tuple[str, ...], Float32s]:
    """Return the names of the features and feature_QF, NaN where a value is unknown.

    Parameters
    ----------
    facts : Facts
        May hold later rows; they are not read.
    asked : Queries
        Candidates of requests.
    groups : tuple of str
        Modules of `groups`, by name; columns come in their order.
    """
    found: Columns = {}
    for group in groups:
        found |= _group(group).columns(facts, asked)
    feature_QF = np.empty((len(asked.item_Q), len(found)), np.float32)
    for place, value_Q in enumerate(found.values()):
        feature_QF[:, place] = value_Q
    return tuple(found), feature_QF


def slate_features(
    facts: Facts, user_R: Ints, moment_R: Ints, item_RM: Ints, groups: tuple[str, ...]
) -> tuple[tuple[str, ...], Float32s]:
    """Return the names of the features and feature_RMF; M candidates of each request."""
    requests, slots = item_RM.shape
    asked = Queries(user_R, moment_R, np.repeat(np.arange(requests), slots), item_RM.ravel())
    names, feature_QF = ranking_features(facts, asked, groups)
    return names, feature_QF.reshape(requests, slots, len(names))

"""Candidates that differ: maximal marginal relevance over category, sector and issuer.

Carbonell and Goldstein 1998: one candidate after the other is taken, whichever has the best score
less what it is like the one most like it among those taken.

Shapes: A attributes, I items of a bundle, C candidates, F those that retrievers found.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tessera.contracts.arrays import Bools, Float64s, Ints
from tessera.serve.rules.choosing import Listed
from tessera.serve.rules.kinds import UNTOLD
from tessera.shared.policies.slate import SlatePolicy


@dataclass(frozen=True, slots=True)
class Diverse:
    """Leaves out what is like better ones; what exploration drew stays."""

    kind_AI: Ints
    weight: float
    """What an item loses that is like another one in all attributes, in temperatures of the
    policy: by 1 it is drawn e times more seldom."""
    policy: SlatePolicy
    name: ClassVar[str] = "diversity"

    def keeps(self, listed: Listed, positions: int) -> Bools:
        """Keep as many of what was found as the policy prefers at some position.

        Its softmax ranges over the `top_k` best that are not placed above, so that it never
        reaches further than the last but one position below them.
        """
        found_F = np.flatnonzero(~listed.explores_C)
        most = self.policy.top_k + positions - 1
        worth_F = listed.score_C[found_F] / self.policy.temperature
        taken_F = marginal(worth_F, self.kind_AI[:, listed.row_C[found_F]], self.weight, most)
        kept_C = listed.explores_C.copy()
        kept_C[found_F[taken_F]] = True
        return kept_C


def marginal(worth_F: Float64s, kind_AF: Ints, weight: float, most: int) -> Ints:
    """Return which are taken, in the order in which they are; the first of equals.

    >>> marginal(np.array([3.0, 2.9, 2.0]), np.array([[0, 0, 1]]), 1.0, 2)
    array([0, 2])
    """
    worth_F, alike_F = worth_F.astype(np.float64), np.zeros(len(worth_F))
    is_told_AF = kind_AF != UNTOLD
    taken = []
    for _ in range(min(most, len(worth_F))):
        one = int(np.argmax(worth_F - weight * alike_F))
        taken.append(one)
        worth_F[one] = -np.inf
        same_AF = (kind_AF == kind_AF[:, [one]]) & is_told_AF
        alike_F = np.maximum(alike_F, same_AF.mean(axis=0))
    return np.array(taken, np.int64)

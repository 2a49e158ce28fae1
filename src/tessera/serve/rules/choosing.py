"""Which of the scored candidates a slate is drawn from.

The judged policy draws from what is chosen here, so that its propensities are exact given the set.
No rule moves a score: the gate judges by the scores of the model, and a policy that draws by others
would be one that nobody judged.

Shapes: C candidates.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, NamedTuple, Protocol

import numpy as np

from tessera.contracts.arrays import Bools, Float64s, Ints


class Listed(NamedTuple):
    """Candidates of one request."""

    row_C: Ints
    """Row in the item table."""
    score_C: Float64s
    explores_C: Bools
    """Whether exploration needs it, drawn evenly or new on sale: such ones are preferred, so that
    items keep their chance whatever the model says of them."""

    def only(self, kept_C: Bools) -> Listed:
        """Return some of them, in their order."""
        return Listed(self.row_C[kept_C], self.score_C[kept_C], self.explores_C[kept_C])


class Rule(Protocol):
    """What leaves candidates out."""

    name: ClassVar[str]
    """What its removals are counted by."""

    def keeps(self, listed: Listed, positions: int) -> Bools:
        """Tell which candidates C stay, of which so many positions are filled."""


class Chosen(NamedTuple):
    """What a slate is drawn from."""

    kept_C: Bools
    removed: dict[str, int]
    """Candidates by the name of the rule that left them out."""
    is_filled: bool
    """Whether a rule gave way."""


def choose(rules: Iterable[Rule], listed: Listed, positions: int) -> Chosen:
    """Apply rules one after the other; each gives back the best where fewer than a slate is left.

    So the last rule gives way first: behind one that had to give way, nothing is left to remove.
    """
    kept_C, removed, is_filled = np.ones(len(listed.row_C), np.bool_), dict[str, int](), False
    for rule in rules:
        some = listed.only(kept_C)
        stays = rule.keeps(some, positions)
        lacking = min(positions, len(stays)) - int(stays.sum())
        if lacking > 0:
            stays, is_filled = _with_best(stays, some.score_C, lacking), True
        if not stays.all():
            removed[rule.name] = int((~stays).sum())
        kept_C[np.flatnonzero(kept_C)] = stays
    return Chosen(kept_C, removed, is_filled)


def _with_best(stays_C: Bools, score_C: Float64s, lacking: int) -> Bools:
    out_N = np.flatnonzero(~stays_C)
    back_N = out_N[np.argsort(-score_C[out_N], kind="stable")[:lacking]]
    filled_C = stays_C.copy()
    filled_C[back_N] = True
    return filled_C

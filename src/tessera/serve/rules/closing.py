"""What is closed to an investor, before anything is searched or drawn.

Nothing of this gives way where few items are left, but for what was shown too often.

Shapes: I items of a bundle in the order of its table, N rows of some of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from tessera.contracts.arrays import Bools, Ints

CAPPED = "capped"
"""Reason of what was shown too often."""


class Closing(NamedTuple):
    """A rule that closes items, and its name."""

    reason: str
    closed: Bools | Ints
    """Whether each item I is closed, or the rows N of those that are."""


class Opened(NamedTuple):
    """What is left, and what is not."""

    open_I: Bools
    removed: dict[str, int]
    """Items by reason; one that several rules close counts for the first of them."""
    is_filled: bool = False
    """Whether a rule gave way."""


def off_sale(from_I: Ints, to_I: Ints, moment: int) -> Closing:
    """Close what cannot be bought at a moment."""
    return Closing("off_sale", np.asarray((from_I > moment) | (to_I <= moment), np.bool_))


def nothing_closed(items: int) -> Opened:
    """Begin with all of so many items."""
    return Opened(np.ones(items, np.bool_), {})


def opened(before: Opened, closings: Iterable[Closing]) -> Opened:
    """Apply further rules one after the other.

    >>> rules = [Closing("risk", np.array([True, False, False])), Closing("held", np.array([0, 2]))]
    >>> opened(nothing_closed(3), rules)
    Opened(open_I=array([False,  True, False]), removed={'risk': 1, 'held': 1}, is_filled=False)
    """
    open_I, removed = before.open_I.copy(), dict(before.removed)
    left = int(np.count_nonzero(open_I))
    for reason, closed in closings:
        open_I[closed] = False
        were, left = left, int(np.count_nonzero(open_I))
        if left < were:
            removed[reason] = were - left
    return Opened(open_I, removed)


def opened_for(positions: int, before: Opened, firm: Iterable[Closing], capped_N: Ints) -> Opened:
    """Apply rules that never give way, and close what was shown too often unless too few are left.

    It gives way as a whole: of what was capped nothing is better than the rest of it.
    """
    every = opened(before, firm)
    if not len(capped_N):
        return every
    fewer = opened(every, [Closing(CAPPED, capped_N)])
    if CAPPED in fewer.removed and int(np.count_nonzero(fewer.open_I)) < positions:
        return every._replace(is_filled=True)
    return fewer

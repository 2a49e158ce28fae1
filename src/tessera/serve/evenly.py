"""Rows drawn evenly from those that are open, without a look at each of a million.

Shapes: I items of a bundle, N rows of some of them, T tries.
"""

from __future__ import annotations

import numpy as np

from tessera.contracts.arrays import Bools, Ints

FEW = 16_384
"""So many rows are all looked at."""
_TRIES = 1024
"""Rows that are drawn blindly of more; at 1 % that are open, ten of them are."""


def evenly(rng: np.random.Generator, row_N: Ints, open_I: Bools, most: int) -> Ints:
    """Draw some of the rows that are open, none twice, each of them alike and in any order.

    Of many rows some are drawn whether or not they are open, and those that are not, or that came
    before, are left out: what is kept is an even draw.  What lacks then is drawn from the rest.

    >>> evenly(np.random.default_rng(0), np.arange(4), np.array([True, False, True, False]), 9)
    array([0, 2])
    """
    if most <= 0 or not len(row_N):
        return row_N[:0]
    first = _tried(rng, row_N, open_I)[:most] if len(row_N) > FEW else row_N[:0]
    if len(first) == most:
        return first
    rest_I = open_I.copy()
    rest_I[first] = False
    rest_N = row_N[rest_I[row_N]]
    more = rng.choice(rest_N, min(most - len(first), len(rest_N)), replace=False)
    return np.concatenate([first, more])


def _tried(rng: np.random.Generator, row_N: Ints, open_I: Bools) -> Ints:
    row_T = row_N[rng.integers(0, len(row_N), _TRIES)]
    row_T = row_T[open_I[row_T]]
    _, first = np.unique(row_T, return_index=True)
    return np.asarray(row_T[np.sort(first)])

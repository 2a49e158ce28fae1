"""How sure a ratio is when investors, not positions, are what was drawn.

Shapes: N rows, U investors.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tessera.contracts.arrays import Float64s, Ints

NORMAL = 1.959963984540054
"""Two-sided 95 % of a normal."""


@dataclass(frozen=True, slots=True)
class Level:
    """What a series came to on one day."""

    value: float
    stderr: float | None = None
    """Of who came; None where nobody knows it."""
    rows: int = 0
    investors: int = 0
    is_size: bool = False
    """It is never below 0, as a distance or a share of what is counted."""

    @property
    def low(self) -> float | None:
        """Lower end of 95 %."""
        if self.stderr is None:
            return None
        low = self.value - NORMAL * self.stderr
        return max(low, 0.0) if self.is_size else low

    @property
    def high(self) -> float | None:
        """Upper end of 95 %."""
        return None if self.stderr is None else self.value + NORMAL * self.stderr


def ratio(over_N: Float64s, under_N: Float64s, unit_N: Ints) -> Level | None:
    """Return a sum over a sum, with an error that lets the rows of an investor hang together.

    None where there is nothing to divide by.

    >>> found = ratio(np.array([1.0, 1.0, 0.0, 0.0]), np.ones(4), np.array([0, 0, 1, 1]))
    >>> found.value, found.stderr, found.investors
    (0.5, 0.5, 2)
    """
    if not len(unit_N):
        return None
    over_U, under_U = np.bincount(unit_N, over_N), np.bincount(unit_N, under_N)
    there_U = np.bincount(unit_N, under_N != 0) > 0
    over_U, under_U = over_U[there_U], under_U[there_U]
    total, units = under_U.sum(), len(under_U)
    if total == 0:
        return None
    value = over_U.sum() / total
    gap_U = over_U - value * under_U
    stderr = None
    if units > 1:
        stderr = float(np.sqrt(units / (units - 1) * np.square(gap_U).sum()) / abs(total))
    return Level(float(value), stderr, int(np.count_nonzero(under_N)), units)

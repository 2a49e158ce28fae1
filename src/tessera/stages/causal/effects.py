"""Estimates of every pair, what is believed of them, and how far they can be trusted.

Legend: N pairs, B pairs in both directions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tessera.contracts.arrays import Float64s
from tessera.stages.causal.confounders import Rows
from tessera.stages.causal.directions import Shares, Told, tell_apart
from tessera.stages.causal.intervals import intervals
from tessera.stages.causal.pairs import Pairs, both_ways
from tessera.stages.causal.robust import estimate

PARTS = 5
"""Of the investors: what drives holding and acquiring is learnt on the others."""
RIDGE = 100.0
"""Penalty of these regressions, in investors.  Both by benchmarks/causal.py: with two parts and a
weak penalty intervals of no effect cover .90 instead of .94 (docs/log.md)."""


@dataclass(frozen=True, slots=True)
class Effects:
    """What holding the cause does to the chance of acquiring the effect in a trial."""

    raw_N: Float64s
    raw_stderr_N: Float64s
    """As estimated; the error is infinite where nobody is compared."""
    effect_N: Float64s
    stderr_N: Float64s
    """As believed once the other direction is known, most pairs having none."""
    false_sign_N: Float64s
    """Probability that the effect has not the sign of what is believed."""
    low_N: Float64s
    high_N: Float64s
    """Bounds of 95 % around the raw estimates."""


def effects(rows: Rows, pairs: Pairs) -> Effects:
    """Estimate all pairs in both directions and tell effects from what confounds.

    Parameters
    ----------
    rows : Rows
        Everybody under observation in every trial.
    pairs : Pairs
        The N pairs asked about, at least one.
    """
    asked = both_ways(pairs)
    raw_B, error_B = estimate(rows, asked.cause_B, asked.effect_B, PARTS, RIDGE)
    chance_B = rows.chance()[asked.effect_B]
    shares = Shares(*_shares(raw_B, error_B, chance_B))
    here = slice(0, len(pairs.cause_N))
    told = tell_apart(_at(shares, here), _at(shares, asked.back_N), asked.once_N)
    return _in_chances(told, raw_B[here], error_B[here], chance_B[here])


def _shares(raw_B: Float64s, error_B: Float64s, chance_B: Float64s) -> tuple[Float64s, Float64s]:
    """Divide by the chance; of what nobody ever acquires nothing is known."""
    sold_B = chance_B > 0
    chance_B = np.where(sold_B, chance_B, 1.0)
    return np.where(sold_B, raw_B / chance_B, 0.0), np.where(sold_B, error_B / chance_B, np.inf)


def _at(shares: Shares, place: slice | NDArray[np.int64]) -> Shares:
    return Shares(shares.effect_N[place], shares.stderr_N[place])


def _in_chances(told: Told, raw_N: Float64s, error_N: Float64s, chance_N: Float64s) -> Effects:
    return Effects(
        raw_N,
        error_N,
        told.effect_N * chance_N,
        told.stderr_N * chance_N,
        told.false_sign_N,
        *intervals(raw_N, error_N),
    )

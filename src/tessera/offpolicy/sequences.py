"""Bounds of a running mean that hold at every look at once, also while the truth drifts.

What is bounded after n units is m_n = (1/n) sum of E[x_i | past], the mean *over the units seen*:
no assumption that the units are alike.  Fix one claim m in advance.  A bettor stakes one constant
share s of the wealth against "m_n is at most m" on every unit; for scores x >= -floor the wealth
W_n = prod (1 + s (x_i - m)) is never negative.  Divide it by what it grows to on average,

    A_n = prod (1 + s E[x_i - m | past]) <= (1 + s (m_n - m))^n      (geometric <= arithmetic mean)

and W_n / A_n is a martingale that starts at 1, whatever the drift.  At every n with m_n <= m, A_n
is at most 1 for each of the stakes, so the mean of their wealth is at most the mean of their
martingales, and by Ville's inequality it is 1 / alpha or more at *any* n with m_n <= m with
probability alpha at most.  That is one claim, fixed in advance.

The bound inverts it: W_n falls as m rises, so the bound is above m exactly where m is refused.  Of
one fixed m, such as the `-margin` of a promotion, it is said too much with probability alpha at
most, at all n together; so it is of the mean at one n.  Not proved is that the bound lies below a
mean that moves at all n at once: no single m would be the claim.

The stakes must not change with the data: one that grows or shrinks bounds a mean that weighs some
units more than others, and a running maximum remembers a lift that is gone.  The bettor of
Waudby-Smith et al. (arXiv 2010.09686) with constant bets and a discrete mixture over them; at equal
stakes the wealth is above that of the empirical Bernstein sequence with constant bets (arXiv
2210.10768), by Fan's inequality log(1 + u) >= u + u^2 (log(1 - v) + v) for u >= -v.

Shapes: N units, W wagers, J stakes, T looks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq

from tessera.contracts import arrays
from tessera.contracts.arrays import Float64s, Ints

_STAKES = 6
"""Each half of the one before: a range of 32 in the size of what is to be found."""
_NEAR_ALL = 0.9
"""Share of the wealth that the largest stake may lose on one unit."""
_EXACT = 1e-9
_PLANNED = 20_000
"""Units at which the asymptotic sequence is tightest."""


@dataclass(frozen=True, slots=True)
class Wager:
    """Scores to bet on, in time order; several of one log share the wealth of a bettor."""

    score_N: Float64s
    """Each unbiased for what is bounded, or below it on average; unbounded above."""
    floor: float
    """No score can lie below `-floor`, known before the data."""

    def __post_init__(self) -> None:
        """Refuse scores that are no column of numbers: no bound of them would mean anything.

        Raises
        ------
        ValueError
            Saying what is wrong.
        """
        arrays.check(score_N=self.score_N)

    def until(self, units: int) -> Wager:
        """Return the bet as it stood after so many units."""
        return Wager(self.score_N[:units], self.floor)


def stakes(floor: float) -> Float64s:
    """Return the shares of the wealth that are staked on a unit, fixed in advance.

    Against "the mean is at most 0", which a promotion refuses, the largest leaves a tenth where a
    score is the least that there can be.

    Parameters
    ----------
    floor : float
        No score lies below `-floor`.

    >>> stakes(3.0)[:2]
    array([0.3 , 0.15])
    """
    return np.asarray(_NEAR_ALL / floor * 0.5 ** np.arange(_STAKES))


def log_wealth(wagers: Sequence[Wager], mean: float) -> float:
    """Return the log of the wealth after all units of a bettor against "the mean is at most this".

    Above ln(1 / alpha) the claim is refused at level alpha, at this look and at all others.  A
    stake that could lose more than all against a claim this large counts as lost: less wealth
    refuses less, and as more stakes are lost the larger the claim is, the wealth still falls.

    Parameters
    ----------
    wagers : sequence of Wager
        The wealth is divided among them and, within each, among the stakes.
    mean : float
        The claim.
    """
    wealth_WJ = [_log_wealths(wager, mean) for wager in wagers]
    return float(np.logaddexp.reduce(np.ravel(wealth_WJ)) - math.log(np.size(wealth_WJ)))


def _log_wealths(wager: Wager, mean: float) -> list[float]:
    """Return the log of the wealth by stake; minus infinity where a stake is lost."""
    least = min(-wager.floor, float(wager.score_N.min(initial=0.0)))  # below it by rounding
    gain_N = wager.score_N - mean
    return [
        float(np.log1p(stake * gain_N).sum()) if stake * (mean - least) < 1 else -math.inf
        for stake in stakes(wager.floor).tolist()
    ]


def betting_lower(wagers: Sequence[Wager], most: float, alpha: float) -> float:
    """Lower bound of the mean over the units seen, valid at every look at once.

    Parameters
    ----------
    wagers : sequence of Wager
        What is bet on; the same units in each.
    most : float
        No mean lies above it or below `-most`, which is what the bound is where nothing is known.
    alpha : float
        Chance that at any look the bound is above a number, fixed in advance, which the mean over
        the units seen until then does not exceed.

    Raises
    ------
    ValueError
        If a score lies below its floor: the bound would not hold.
    """
    for wager in wagers:
        least = float(wager.score_N.min(initial=0.0))
        if least < -wager.floor * (1 + _EXACT) - _EXACT:
            message = f"score {least} lies below -{wager.floor}: the sequence would not be valid"
            raise ValueError(message)

    def short(mean: float) -> float:
        return log_wealth(wagers, mean) - math.log(1 / alpha)

    if short(-most) <= 0:
        return -most
    return most if short(most) > 0 else float(brentq(short, -most, most, xtol=_EXACT))


def betting_path(wagers: Sequence[Wager], most: float, alpha: float, at_T: Ints) -> Float64s:
    """Return `betting_lower` as it stood after so many units, for each look."""
    return np.array(
        [betting_lower([one.until(n) for one in wagers], most, alpha) for n in at_T.tolist()]
    )


def asymptotic_upper(value_N: Float64s, alpha: float, at_T: Ints) -> Float64s:
    """Upper bound of the mean over the units seen, at every look, for many units.

    One-sided Gaussian mixture of Waudby-Smith, Arbour, Sinha, Kennedy, Ramdas (arXiv 2103.06476,
    with the running variance s2_n), tightest at `_PLANNED` units:

        mean_n + sqrt( 2 (n s2 r2 + 1) / (n^2 r2) ln(1 + sqrt(n s2 r2 + 1) / (2 alpha)) )

    It has no floor and cuts nothing, and holds as n grows rather than at each n: good enough to
    say that something is worse, which publishes nothing.  For few units it means nothing; whoever
    uses it says from how many on (`conditions.LEAST_REQUESTS`).
    """
    arrays.check(value_N=value_N, at_T=at_T)
    arrays.whole(at_T=at_T)
    if at_T.min(initial=1) < 1 or at_T.max(initial=0) > len(value_N):
        raise ValueError(f"at_T asks for looks beyond the {len(value_N)} units there are")
    count_N = np.arange(1.0, len(value_N) + 1.0)
    mean_N = np.cumsum(value_N) / count_N
    spread_N = np.maximum(np.cumsum(value_N**2) / count_N - mean_N**2, 0.0)
    n_T, mean_T, spread_T = count_N[at_T - 1], mean_N[at_T - 1], spread_N[at_T - 1]
    surprise = -2 * math.log(2 * alpha)
    tuning = (surprise + math.log(surprise + 1)) / _PLANNED  # in units of the variance
    grown_T = n_T * tuning + 1
    reach_T = 2 * grown_T / (n_T**2 * tuning) * np.log1p(np.sqrt(grown_T) / (2 * alpha))
    return np.asarray(mean_T + np.sqrt(spread_T * reach_T))

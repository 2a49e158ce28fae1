"""Tells effects from what confounds: every pair of items is asked in both directions.

Taste, wealth and fashion bring two items to the same investors, so what an estimate fails to adjust
for moves both directions nearly alike; an effect moves one.  With r the estimate as a share of the
chance to acquire the item anyway,

    r there = confounded + effect + noise          r back = confounded' + effect' + noise'

where confounded and confounded' are correlated and at most one effect is there.  Spreads are
those of a mixture of normals about zero, learnt from all pairs (Stephens 2017, "ash"), and so is
the false sign rate: the probability that the effect has not the sign that is told.

Two pairs by way of example, errors .2: (there 1.5, back 0) is an effect of nearly 1.5; (there 1.5,
back 1.4) is what both items have in common, and next to no effect.

Legend: N pairs, G spreads, C components, that is spreads of (confounded, effect, effect back).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from tessera.contracts.arrays import Float64s

_ALIKE = 0.9
"""Correlation of what confounds the two directions.  The likelihood hardly tells it from 1; at 1
every difference between the directions would count as an effect."""
_NO_EFFECT = 0.9
"""Share of pairs without any effect from which the search for the mixture starts."""
_STEPS = 100
_UNKNOWN = 1e6
"""Error of an estimate that is none, in largest errors."""
_MEDIAN_OF_NORMAL = 0.6745
"""Of its absolute value."""


@dataclass(frozen=True, slots=True)
class Shares:
    """Estimates in one direction, as shares of the chance to acquire the item anyway."""

    effect_N: Float64s
    stderr_N: Float64s
    """Infinite where nobody is compared."""


@dataclass(frozen=True, slots=True)
class Told:
    """What is left of the effects there once what confounds is told apart."""

    effect_N: Float64s
    stderr_N: Float64s
    """Mean and standard deviation of what is believed, as shares."""
    false_sign_N: Float64s
    """Probability that the effect has not the sign of its mean."""


@dataclass(frozen=True, slots=True)
class _Spreads:
    """Standard deviations of each component, and how many pairs have them."""

    shared_C: Float64s
    there_C: Float64s
    back_C: Float64s
    weight_C: Float64s


def tell_apart(there: Shares, back: Shares, once_N: NDArray[np.bool_]) -> Told:
    """Split estimates into what both directions share and what is an effect.

    Parameters
    ----------
    there, back : Shares
        Of the N pairs, and of the same pairs the other way round.
    once_N : array
        The pairs that the mixture is learnt from: each two items once, in whatever direction.
    """
    if not np.isfinite(there.stderr_N).any():
        nothing_N = np.zeros(len(there.effect_N))
        return Told(nothing_N, nothing_N.copy(), np.ones(len(nothing_N)))
    wide = _excess(there, back)
    there, back = _widened(there, wide), _widened(back, wide)
    found = _learn(_of(there, once_N), _of(back, once_N))
    return _believed(there, back, found)


def _excess(there: Shares, back: Shares) -> float:
    """Tell how much wider than chance the middle half of differences spreads, at least 1.

    What is confounded alike cancels in them, so that it is not taken for noise.
    """
    both_N = np.isfinite(there.stderr_N) & np.isfinite(back.stderr_N)
    if not both_N.any():
        return 1.0
    error_F = np.hypot(there.stderr_N, back.stderr_N)[both_N]
    away_F = np.abs(there.effect_N - back.effect_N)[both_N] / error_F
    return max(1.0, float(np.median(away_F)) / _MEDIAN_OF_NORMAL)


def _widened(one: Shares, wide: float) -> Shares:
    """Widen the errors; where nobody is compared, an error so large that nothing is learnt."""
    known_N = np.isfinite(one.stderr_N)
    largest = one.stderr_N[known_N].max(initial=1e-12)
    return Shares(
        np.where(known_N, one.effect_N, 0.0),
        wide * np.where(known_N, one.stderr_N, _UNKNOWN * largest),
    )


def _of(one: Shares, chosen_N: NDArray[np.bool_]) -> Shares:
    return Shares(one.effect_N[chosen_N], one.stderr_N[chosen_N])


def _learn(there: Shares, back: Shares) -> _Spreads:
    """Find how many pairs have each spread; neither direction is special."""
    start = _start(there, back)
    density_NC = _densities(there, back, start)
    weight_C = start.weight_C
    turned_C = _turned(start)
    for _ in range(_STEPS):
        mass_NC = weight_C * density_NC
        weight_C = (mass_NC / mass_NC.sum(axis=1, keepdims=True)).mean(axis=0)
        weight_C = (weight_C + weight_C[turned_C]) / 2
    return _Spreads(start.shared_C, start.there_C, start.back_C, weight_C)


def _start(there: Shares, back: Shares) -> _Spreads:
    """Lay out all spreads from a fraction of the errors to the largest estimates."""
    least = np.median(np.minimum(there.stderr_N, back.stderr_N)) / 2
    largest = max(float(np.quantile(np.abs(there.effect_N), 0.999)) / least, 2.0)
    spread_G = least * 2.0 ** np.arange(np.ceil(np.log2(largest)) + 1)
    effect_E2 = np.r_[
        np.zeros((1, 2)),
        np.c_[spread_G, np.zeros_like(spread_G)],
        np.c_[np.zeros_like(spread_G), spread_G],
    ]
    shared_C = np.repeat(np.r_[0.0, spread_G], len(effect_E2))
    there_C, back_C = np.tile(effect_E2, (len(spread_G) + 1, 1)).T
    none_C = (there_C == 0) & (back_C == 0)
    weight_C = np.where(none_C, _NO_EFFECT / none_C.sum(), (1 - _NO_EFFECT) / (~none_C).sum())
    return _Spreads(shared_C, there_C, back_C, weight_C)


def _turned(found: _Spreads) -> NDArray[np.int64]:
    """Find the place of each component with the directions swapped."""
    order = np.lexsort((found.back_C, found.there_C, found.shared_C))
    swapped = np.lexsort((found.there_C, found.back_C, found.shared_C))
    place_C = np.empty(len(order), np.int64)
    place_C[swapped] = order
    return place_C


def _covariance(
    there: Shares, back: Shares, found: _Spreads
) -> tuple[Float64s, Float64s, Float64s]:
    """Variance there, variance back and determinant of each pair under each component."""
    shared_C = found.shared_C**2
    there_NC = there.stderr_N[:, None] ** 2 + shared_C + found.there_C**2
    back_NC = back.stderr_N[:, None] ** 2 + shared_C + found.back_C**2
    return there_NC, back_NC, there_NC * back_NC - (_ALIKE * shared_C) ** 2


def _densities(there: Shares, back: Shares, found: _Spreads) -> Float64s:
    """Likelihood of each component, the largest of a pair 1."""
    there_NC, back_NC, det_NC = _covariance(there, back, found)
    r_N1, q_N1 = there.effect_N[:, None], back.effect_N[:, None]
    cross_C = _ALIKE * found.shared_C**2
    square_NC = back_NC * r_N1**2 - 2 * cross_C * r_N1 * q_N1 + there_NC * q_N1**2
    log_NC = -0.5 * (square_NC / det_NC + np.log(det_NC))
    density_NC: Float64s = np.exp(log_NC - log_NC.max(axis=1, keepdims=True))
    return density_NC


def _believed(there: Shares, back: Shares, found: _Spreads) -> Told:
    """Mean, deviation and sign of the effect there, given both estimates."""
    mass_NC = found.weight_C * _densities(there, back, found)
    mass_NC /= mass_NC.sum(axis=1, keepdims=True)
    _, back_NC, det_NC = _covariance(there, back, found)
    prior_C = found.there_C**2
    keep_NC = prior_C * back_NC / det_NC
    taken_NC = prior_C * _ALIKE * found.shared_C**2 / det_NC
    mean_NC = keep_NC * there.effect_N[:, None] - taken_NC * back.effect_N[:, None]
    variance_NC = np.maximum(prior_C * (1 - keep_NC), 0.0)
    mean_N = (mass_NC * mean_NC).sum(axis=1)
    second_N = (mass_NC * (mean_NC**2 + variance_NC)).sum(axis=1)
    signed_NC = np.where(mean_N[:, None] < 0, -mean_NC, mean_NC)
    deviation_NC = np.sqrt(np.where(variance_NC > 0, variance_NC, 1.0))
    right_NC = np.where(prior_C > 0, ndtr(signed_NC / deviation_NC), 0.0)
    right_N = (mass_NC * right_NC).sum(axis=1)
    return Told(
        mean_N,
        np.sqrt(np.maximum(second_N - mean_N**2, 0.0)),
        np.clip(1.0 - right_N, 0.0, 1.0),
    )

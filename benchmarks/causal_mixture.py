"""Shrinks estimates of one direction alone, as stood before: a rival of `causal.directions`.

Legend: N pairs, G spreads.
"""

from __future__ import annotations

import numpy as np

from tessera.contracts.arrays import Float64s

_STEPS = 200
_NO_EFFECT = 0.9
"""Share of pairs without any effect from which the search for the mixture starts."""
_QUARTILES_OF_NORMAL = 1.349


def shrink(effect_N: Float64s, stderr_N: Float64s) -> tuple[Float64s, Float64s]:
    """Posterior mean and standard deviation under a mixture of normals about zero.

    Many null effects and a few large ones make one normal prior either erase the large or keep
    the noise; the weights of the mixture are learnt from all pairs (Stephens 2017, "ash").
    Standard errors are first widened until the middle half of the pairs looks like chance
    (Efron 2004, empirical null): what is not adjusted for widens all of them.
    """
    finite_N = np.isfinite(stderr_N)
    if not finite_N.any():
        return np.zeros_like(effect_N), np.zeros_like(stderr_N)
    mean_N, deviation_N = np.zeros_like(effect_N), np.zeros_like(effect_N)
    error_F = stderr_N[finite_N] * excess(effect_N[finite_N] / stderr_N[finite_N])
    spread_G, weight_G = _prior(effect_N[finite_N], error_F)
    deviation_N[~finite_N] = np.sqrt(weight_G @ spread_G**2)
    keep_FG = spread_G**2 / (spread_G**2 + error_F[:, None] ** 2)
    share_FG = _shares(effect_N[finite_N], error_F, spread_G, weight_G)
    mean_FG = keep_FG * effect_N[finite_N, None]
    mean_F = (share_FG * mean_FG).sum(axis=1)
    second_F = (share_FG * (mean_FG**2 + keep_FG * error_F[:, None] ** 2)).sum(axis=1)
    mean_N[finite_N] = mean_F
    deviation_N[finite_N] = np.sqrt(np.maximum(second_F - mean_F**2, 0.0))
    return mean_N, deviation_N


def excess(z_N: Float64s) -> float:
    """Tell how much wider than chance the middle half of the pairs spreads, at least 1."""
    low, high = np.quantile(z_N, [0.25, 0.75])
    return max(1.0, float(high - low) / _QUARTILES_OF_NORMAL)


def _prior(effect_F: Float64s, error_F: Float64s) -> tuple[Float64s, Float64s]:
    """Spreads from none to that of the largest effect, and how many pairs have each."""
    least = np.median(error_F) / 4
    doublings = np.ceil(np.log2(max(np.abs(effect_F).max() / least, 2.0)))
    spread_G = np.r_[0.0, least * 2.0 ** np.arange(doublings + 1)]
    # What the data cannot tell from nothing is nothing: start there.
    weight_G = np.full(len(spread_G), (1 - _NO_EFFECT) / (len(spread_G) - 1))
    weight_G[0] = _NO_EFFECT
    for _ in range(_STEPS):
        weight_G = _shares(effect_F, error_F, spread_G, weight_G).mean(axis=0)
    return spread_G, weight_G


def _shares(
    effect_F: Float64s, error_F: Float64s, spread_G: Float64s, weight_G: Float64s
) -> Float64s:
    """Probability of each spread given the estimate."""
    variance_FG = spread_G**2 + error_F[:, None] ** 2
    log_FG = -0.5 * (effect_F[:, None] ** 2 / variance_FG + np.log(variance_FG))
    mass_FG = weight_G * np.exp(log_FG - log_FG.max(axis=1, keepdims=True))
    shares_FG: Float64s = mass_FG / mass_FG.sum(axis=1, keepdims=True)
    return shares_FG

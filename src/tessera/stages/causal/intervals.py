"""95 % intervals that hold where nothing is, whatever the estimates failed to adjust for.

Most pairs have no effect, so the middle half of all estimates shows what chance does together with
what remains confounded; every interval is moved and widened by as much (empirical null, Efron
2004, "Large-scale simultaneous hypothesis testing").

Legend: N pairs.
"""

from __future__ import annotations

import numpy as np

from tessera.contracts.arrays import Float64s

_TWO_SIDED = 1.96
"""Quantile .975 of the standard normal."""
_QUARTILES_OF_NORMAL = 1.349


def empirical_null(z_N: Float64s) -> tuple[float, float]:
    """Tell where the middle half of the pairs lies and how wide it is, in standard errors.

    Parameters
    ----------
    z_N : array
        Estimates divided by their standard errors, most of them of no effect.

    Returns
    -------
    tuple
        Centre, and spread beside that of chance; the spread is never below 1.
    """
    low, centre, high = np.quantile(z_N, [0.25, 0.5, 0.75])
    return float(centre), max(1.0, float(high - low) / _QUARTILES_OF_NORMAL)


def intervals(effect_N: Float64s, stderr_N: Float64s) -> tuple[Float64s, Float64s]:
    """Bound each effect, a difference of two chances, by 95 %.

    Parameters
    ----------
    effect_N, stderr_N : array
        Estimates as they are, not shrunk; an infinite error where nobody is compared.
    """
    known_N = np.isfinite(stderr_N)
    low_N, high_N = np.full(len(effect_N), -1.0), np.full(len(effect_N), 1.0)
    if known_N.any():
        effect_F, stderr_F = effect_N[known_N], stderr_N[known_N]
        centre, spread = empirical_null(effect_F / stderr_F)
        low_N[known_N] = effect_F - (centre + _TWO_SIDED * spread) * stderr_F
        high_N[known_N] = effect_F - (centre - _TWO_SIDED * spread) * stderr_F
    return np.maximum(low_N, -1.0), np.minimum(high_N, 1.0)

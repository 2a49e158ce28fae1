"""Daily closes from a factor model with regimes, so that profit and momentum mean something.

    return = beta market + sector + idiosyncratic, with the market's mean and spread by regime.

Shapes: D days, I items, S sectors, R regimes.
"""

from __future__ import annotations

import numpy as np

from tessera.contracts.arrays import Float64s, Ints
from tessera.stages.synth.assets import SECTORS, Assets

_MEAN_R = np.array([0.0004, 0.0010, -0.0020])
_SPREAD_R = np.array([0.006, 0.009, 0.020])
_STAY_RR = np.array([[0.985, 0.010, 0.005], [0.015, 0.980, 0.005], [0.020, 0.010, 0.970]])
_MOMENTUM_DAYS = 20


def draw_closes(assets: Assets, days: int, rng: np.random.Generator) -> Float64s:
    """Draw a close for every day and item; NaN for what has no price.

    Returns
    -------
    close_DI : array
        Weekends and lives are cut when the table is written, not here.
    """
    regime_D = _regimes(days, rng)
    size = len(assets.topic_I)
    market_D = _MEAN_R[regime_D] + _SPREAD_R[regime_D] * rng.normal(size=days)
    sector_DS = 0.5 * _SPREAD_R[regime_D][:, None] * rng.normal(size=(days, len(SECTORS)))
    risk_I = np.where(assets.risk_I == 0, 4, assets.risk_I)
    beta_I = 0.35 * risk_I * rng.uniform(0.7, 1.3, size)
    own_DI = 0.004 * risk_I * rng.normal(size=(days, size)) + 0.0003 * rng.normal(size=size)
    return_DI = beta_I * market_D[:, None] + sector_DS[:, assets.sector_I] + own_DI
    first_I = np.exp(rng.normal(3.5, 0.8, size))
    close_DI = first_I * np.exp(np.cumsum(return_DI, axis=0))
    return np.where(assets.traded_I, np.maximum(np.round(close_DI, 4), 0.0001), np.nan)


def momentum(close_DI: Float64s, day: int) -> Float64s:
    """Return of the last weeks before `day`, standardised over items, 0 where unpriced."""
    before = max(day - 1, 0)
    ratio_I = close_DI[before] / close_DI[max(before - _MOMENTUM_DAYS, 0)]
    log_I = np.log(np.where(np.isnan(ratio_I), 1.0, ratio_I))
    spread = log_I.std()
    return np.clip((log_I - log_I.mean()) / spread, -3, 3) if spread > 0 else log_I * 0


def _regimes(days: int, rng: np.random.Generator) -> Ints:
    regime_D = np.zeros(days, dtype=np.int64)
    uniform_D = rng.random(days)
    for day in range(1, days):
        stay_R = np.cumsum(_STAY_RR[regime_D[day - 1]])
        regime_D[day] = int((stay_R[:-1] <= uniform_D[day]).sum())
    return regime_D

"""Why investors click and buy: the one place where the market's true probabilities are written.

For investor u, item i and time t, with a = standardised taste x item and h = fading effects of what
u holds:

    organic purchases   Poisson(rate_u q), q = softmax(1.2 a + popularity + wealth + h + momentum)
    buy if not shown    b0 = 1 - exp(-rate_u q)
    buy if shown        b1 = 1 - (1 - b0 (1 - reluctance_u)) (1 - e)
                        e  = effect x response x sigmoid(a)
    click if examined   c  = sigmoid(bias + 1.4 a + .3 popularity + .5 h + .2 momentum)
    true CATE           b1 - b0

A purchase may follow from any position, a click needs examination: both depend on the item at the
position, the investor and the time alone, never on the other items of the slate.

Shapes: N visits, U users, I items, C candidates, K topics, E planted effects of an item.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tessera.contracts.arrays import Bools, Float32s, Float64s, Ints
from tessera.shared.policies.suitability import suitable
from tessera.stages.synth.assets import RESPONSE_BY_CATEGORY, Assets
from tessera.stages.synth.investors import RELUCTANCE_BY_SEGMENT, RESPONSE_BY_SEGMENT, Investors
from tessera.stages.synth.params import SynthParams
from tessera.stages.synth.prices import momentum

HOLDS_ALREADY = -0.7
BOOST_LIMIT = 3.0
_CLICK_RATE = 0.1
"""Mean probability to click an examined suitable item; ours."""
_LOGGED_POPULARITY = 0.3
_LOGGED_WEALTH = 0.3


@dataclass(frozen=True, slots=True)
class Market:
    """All that is fixed before the first visit."""

    params: SynthParams
    investors: Investors
    assets: Assets
    close_DI: Float64s
    affinity_mean: float
    affinity_spread: float
    click_bias: float


@dataclass(frozen=True, slots=True)
class Visits:
    """A run of visits inside one block of days."""

    user_N: Ints
    day_N: Float64s
    affinity_NI: Float32s
    boost_NI: Float32s
    open_NI: Bools
    """Alive and suitable."""
    popularity_I: Float64s
    """Today's."""
    momentum_I: Float64s


@dataclass(frozen=True, slots=True)
class Responses:
    """True probabilities of each candidate of each visit."""

    click_NC: Float64s
    """Given examined."""
    organic_NC: Float64s
    induced_NC: Float64s
    reluctance_N: Float64s
    dismiss_NC: Float64s
    """Given examined, not clicked and not bought."""

    @property
    def shown_NC(self) -> Float64s:
        """Probability to buy inside the attribution window if shown."""
        kept_NC = self.organic_NC * (1.0 - self.reluctance_N[:, None])
        return 1.0 - (1.0 - kept_NC) * (1.0 - self.induced_NC)


def build_market(
    params: SynthParams,
    investors: Investors,
    assets: Assets,
    close_DI: Float64s,
    rng: np.random.Generator,
) -> Market:
    """Standardise tastes and find the bias that gives the wanted click rate."""
    sample = 20_000
    user_S = rng.integers(0, params.users, sample)
    item_S = rng.integers(0, params.items, sample)
    raw_S = (investors.taste_first_UK[user_S] * assets.vector_IK[item_S]).sum(axis=1)
    mean, spread = float(raw_S.mean()), float(raw_S.std())
    logit_S = 1.4 * params.taste * (raw_S - mean) / spread + 0.3 * assets.popularity_I[item_S]
    low, high = -20.0, 10.0
    for _ in range(50):
        bias = (low + high) / 2
        if sigmoid(bias + logit_S).mean() < _CLICK_RATE:
            low = bias
        else:
            high = bias
    return Market(params, investors, assets, close_DI, mean, spread, (low + high) / 2)


def sigmoid(x: Float64s) -> Float64s:
    """Logistic function."""
    y: Float64s = 1.0 / (1.0 + np.exp(-x))
    return y


def visits(market: Market, user_N: Ints, day_N: Float64s, boost_UI: Float32s, block: int) -> Visits:
    """Work out tastes, state and choice of visits in the block that starts on day `block`."""
    params, investors, assets = market.params, market.investors, market.assets
    share_N1 = (day_N / params.days)[:, None]
    first_NK, last_NK = investors.taste_first_UK[user_N], investors.taste_last_UK[user_N]
    taste_NK = (first_NK + share_N1 * (last_NK - first_NK)).astype(np.float32)
    raw_NI = taste_NK @ assets.vector_IK.T.astype(np.float32)
    affinity_NI = (raw_NI - np.float32(market.affinity_mean)) / np.float32(market.affinity_spread)
    alive_NI = (assets.born_day_I <= day_N[:, None]) & (day_N[:, None] < assets.dead_day_I)
    risk_N = investors.risk_on(user_N, day_N)
    return Visits(
        user_N,
        day_N,
        affinity_NI,
        np.clip(boost_UI[user_N], -BOOST_LIMIT, BOOST_LIMIT),
        alive_NI & suitable(risk_N[:, None], assets.risk_I),
        assets.popularity_I + assets.trend_I * (block / params.days - 0.5),
        momentum(market.close_DI, block),
    )


def organic_intensity(market: Market, seen: Visits) -> Float32s:
    """Mean organic purchases of every item; a row sums to the investor's rate."""
    confounding = market.params.confounding
    wealth_N = market.investors.wealth_U[seen.user_N]
    common_I = 0.8 * confounding * seen.popularity_I + 0.2 * seen.momentum_I
    pull_I = confounding * market.assets.wealth_pull_I
    logit_NI = np.float32(1.2 * market.params.taste) * seen.affinity_NI
    logit_NI += seen.boost_NI + common_I.astype(np.float32)
    logit_NI += np.outer(wealth_N, pull_I).astype(np.float32)
    logit_NI -= logit_NI.max(axis=1, keepdims=True)
    mass_NI = np.where(seen.open_NI, np.exp(logit_NI), np.float32(0))
    rate_N = market.params.organic_rate * np.exp(0.3 * wealth_N - 0.045)
    scale_N = rate_N / np.maximum(mass_NI.sum(axis=1), np.float32(1e-30))
    intensity_NI: Float32s = mass_NI * scale_N[:, None].astype(np.float32)
    return intensity_NI


def responses(market: Market, seen: Visits, intensity_NI: Float32s, item_NC: Ints) -> Responses:
    """Evaluate the true probabilities of the candidates; formulas in the module's docstring."""
    row_N1 = np.arange(len(item_NC))[:, None]
    affinity_NC = market.params.taste * seen.affinity_NI[row_N1, item_NC].astype(np.float64)
    logit_NC = market.click_bias + 1.4 * affinity_NC + 0.3 * seen.popularity_I[item_NC]
    logit_NC += 0.5 * seen.boost_NI[row_N1, item_NC] + 0.2 * seen.momentum_I[item_NC]
    organic_NC = 1.0 - np.exp(-intensity_NI[row_N1, item_NC].astype(np.float64))
    segment_N = market.investors.segment_U[seen.user_N]
    response_NC = RESPONSE_BY_CATEGORY[market.assets.category_I[item_NC]]
    response_NC = response_NC * RESPONSE_BY_SEGMENT[segment_N][:, None]
    return Responses(
        click_NC=sigmoid(logit_NC),
        organic_NC=organic_NC,
        induced_NC=np.minimum(market.params.effect * response_NC * sigmoid(affinity_NC), 1.0),
        reluctance_N=RELUCTANCE_BY_SEGMENT[segment_N],
        dismiss_NC=0.12 * sigmoid(-affinity_NC),
    )


def logging_scores(market: Market, seen: Visits, item_NC: Ints) -> Float64s:
    """Score candidates as the house did so far: by popularity, within the wealthy and the rest."""
    side_N1 = np.where(market.investors.wealth_U[seen.user_N] > 0, 1.0, -1.0)[:, None]
    popular_NC = _LOGGED_POPULARITY * seen.popularity_I[item_NC]
    pull_NC = _LOGGED_WEALTH * side_N1 * market.assets.wealth_pull_I[item_NC]
    scores_NC: Float64s = market.params.confounding * (popular_NC + pull_NC)
    return scores_NC


def acquire(boost_UI: Float32s, assets: Assets, user_M: Ints, item_M: Ints) -> None:
    """Let M purchases act on what their buyers want next, in place."""
    np.add.at(boost_UI, (user_M, item_M), np.float32(HOLDS_ALREADY))
    for target_I, strength_I in zip(assets.target_IE.T, assets.strength_IE.T, strict=True):
        planted_M = target_I[item_M] >= 0
        target_M = target_I[item_M[planted_M]]
        strength_M = strength_I[item_M[planted_M]].astype(np.float32)
        np.add.at(boost_UI, (user_M[planted_M], target_M), strength_M)

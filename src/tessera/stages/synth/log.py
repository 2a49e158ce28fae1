"""The days go by: visits, candidates, slates and deeds, a bounded chunk at a time.

Effects of holding act from the block after the purchase, so that cause precedes effect.

Shapes: N visits, U users, I items, C candidates, M deeds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from tessera.contracts.arrays import Float32s, Float64s, Ints
from tessera.stages.synth.behaviour import (
    Market,
    Responses,
    Visits,
    acquire,
    organic_intensity,
    responses,
    visits,
)
from tessera.stages.synth.explorer import Explorer, Grounds
from tessera.stages.synth.interactions import (
    BUY,
    DAY,
    SECOND,
    Interactions,
    Slates,
    draw_deeds,
    draw_sales,
    join,
    take,
)

_CHUNK = 4_096
BLOCK_DAYS = 5
"""How often tastes, popularity and holdings are brought up to date; ours."""
EDGE_HALF_LIFE_DAYS = 120.0
"""When a planted effect of holding has faded by half; ours: several within a log of 500 days."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """What one run of visits was shown, did, and would have done."""

    first: int
    """Number of its first visit."""
    slates: Slates
    answers: Responses
    grounds: Grounds
    """What the logging policy went by."""
    interactions: Interactions
    amount_eur_M: Float64s
    """NaN where no money moved."""
    units_M: Float64s


def draw_visits(market: Market, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """Draw who comes when, in order of time; microseconds since the first day."""
    params, investors = market.params, market.investors
    stay_U = np.maximum(params.logged_days - investors.joined_day_U, 0)
    weight_U = investors.activity_U * stay_U
    user_N = rng.choice(params.users, params.requests, p=weight_U / weight_U.sum())
    day_N = investors.joined_day_U[user_N] + rng.random(params.requests) * stay_U[user_N]
    at_us_N = (day_N * 86_400).astype(np.int64) * SECOND
    order_N = np.lexsort((user_N, at_us_N))
    return user_N[order_N], at_us_N[order_N]


def simulate(market: Market, user_N: Ints, at_us_N: Ints, seed: tuple[int, ...]) -> Iterator[Chunk]:
    """Let time pass block by block; yield chunks in order of visits."""
    params = market.params
    boost_UI = np.zeros((params.users, params.items), dtype=np.float32)
    fade = np.float32(0.5 ** (BLOCK_DAYS / EDGE_HALF_LIFE_DAYS))
    waiting: list[tuple[Ints, Ints, Ints]] = []
    explorer = Explorer(market, user_N, at_us_N)
    for block in range(0, params.logged_days, BLOCK_DAYS):
        boost_UI *= fade
        waiting = _settle(market, boost_UI, waiting, block * DAY)
        explorer.learn(block)
        low, high = np.searchsorted(at_us_N, [block * DAY, (block + BLOCK_DAYS) * DAY])
        for first in range(low, high, _CHUNK):
            run = slice(first, min(first + _CHUNK, high))
            rng = np.random.default_rng((*seed, first))
            now = visits(market, user_N[run], at_us_N[run] / DAY, boost_UI, block)
            chunk = _live(market, explorer, now, at_us_N[run], first, rng)
            explorer.remember(chunk.slates, chunk.interactions)
            waiting.append(_purchases(chunk))
            yield chunk if params.log_days is None else _until(chunk, params.log_days * DAY)


def _live(
    market: Market,
    explorer: Explorer,
    now: Visits,
    at_us_N: Ints,
    first: int,
    rng: np.random.Generator,
) -> Chunk:
    item_NC = draw_candidates(now, market.params.candidates, rng)
    intensity_NI = organic_intensity(market, now)
    answers = responses(market, now, intensity_NI, item_NC)
    grounds = explorer.grounds(now, item_NC, first)
    slates = explorer.show(grounds, now, at_us_N, item_NC, rng)
    interactions = draw_deeds(market, slates, answers, intensity_NI, rng)
    interactions, amount_eur_M, units_M = _money(market, now, interactions, rng)
    return Chunk(first, slates, answers, grounds, interactions, amount_eur_M, units_M)


def draw_candidates(now: Visits, size: int, rng: np.random.Generator) -> Ints:
    """Draw suitable live items without replacement, the popular a little more often."""
    race_NI = rng.standard_exponential(now.open_NI.shape, dtype=np.float32)
    race_NI *= np.exp(-0.3 * now.popularity_I).astype(np.float32)
    race_NI[~now.open_NI] = np.inf
    # A partition's order may differ between processors; sorted indices do not.
    return np.sort(np.argpartition(race_NI, size - 1, axis=1)[:, :size], axis=1)


def _money(
    market: Market, now: Visits, interactions: Interactions, rng: np.random.Generator
) -> tuple[Interactions, Float64s, Float64s]:
    """Add sales, and an amount and units to every trade."""
    buys = take(interactions, interactions.action_M == BUY)
    wealth_M = market.investors.wealth_U[now.user_N[buys.visit_M]]
    paid_M = np.round(np.exp(6.5 + 0.7 * wealth_M + 0.8 * rng.normal(size=len(wealth_M))), 2)
    units_M = np.round(paid_M / _close(market, buys), 6)
    affinity_M = now.affinity_NI[buys.visit_M, buys.item_M]
    sales, origin = draw_sales(market, buys, affinity_M, rng)
    amount_all_M = np.full(len(interactions.item_M), np.nan)
    units_all_M = amount_all_M.copy()
    amount_all_M[interactions.action_M == BUY] = paid_M
    units_all_M[interactions.action_M == BUY] = units_M
    proceeds_M = np.round(units_M[origin] * _close(market, sales), 2)
    return (
        join([interactions, sales]),
        np.concatenate([amount_all_M, proceeds_M]),
        np.concatenate([units_all_M, units_M[origin]]),
    )


def _close(market: Market, interactions: Interactions) -> Float64s:
    day_M = np.minimum(interactions.at_us_M // DAY, market.params.days - 1)
    close_M: Float64s = market.close_DI[day_M, interactions.item_M]
    return close_M


def _until(chunk: Chunk, end_us: int) -> Chunk:
    """Leave out what was done behind the end of the log: nobody could have written it yet."""
    kept_M = chunk.interactions.at_us_M < end_us
    return replace(
        chunk,
        interactions=take(chunk.interactions, kept_M),
        amount_eur_M=chunk.amount_eur_M[kept_M],
        units_M=chunk.units_M[kept_M],
    )


def _purchases(chunk: Chunk) -> tuple[Ints, Ints, Ints]:
    buys = take(chunk.interactions, chunk.interactions.action_M == BUY)
    return buys.at_us_M, chunk.slates.user_N[buys.visit_M], buys.item_M


def _settle(
    market: Market, boost_UI: Float32s, waiting: list[tuple[Ints, Ints, Ints]], now_us: int
) -> list[tuple[Ints, Ints, Ints]]:
    """Let the purchases made by now act; return those still to come."""
    if not waiting:
        return waiting
    at_us_M, user_M, item_M = (np.concatenate(column) for column in zip(*waiting, strict=True))
    made_M = at_us_M < now_us
    acquire(boost_UI, market.assets, user_M[made_M], item_M[made_M])
    return [(at_us_M[~made_M], user_M[~made_M], item_M[~made_M])]

"""What investors did: chance turns the true probabilities into clicks, purchases and sales.

Shapes: N visits of one chunk, L positions, C candidates, I items, M deeds.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
import numpy.typing as npt

from tessera.contracts.arrays import Bools, Float32s, Float64s, Ints
from tessera.contracts.tables import ACTIONS
from tessera.stages.synth.behaviour import Market, Responses, sigmoid

SECOND = 1_000_000
DAY = 86_400 * SECOND
VIEW, CLICK, BUY, SELL, DISMISS, _ = range(len(ACTIONS))
NOWHERE = -1
EXAMINATION = 0.85
"""Share of investors who look one position further down; ours."""
_LATE_SHARE = 0.02
"""Purchases that come after the attribution window, relative to those within; ours."""


@dataclass(frozen=True, slots=True)
class Interactions:
    """One entry a deed; `outcome_M` tells what the source attributes to the visit."""

    visit_M: Ints
    item_M: Ints
    action_M: Ints
    at_us_M: Ints
    """Microseconds since the first day."""
    from_slate_M: Bools
    outcome_M: Bools


@dataclass(frozen=True, slots=True)
class Slates:
    """What a chunk of visits was shown."""

    user_N: Ints
    at_us_N: Ints
    item_NC: Ints
    chosen_NL: Ints
    propensity_NL: Float64s
    probability_NLC: Float64s


def join(parts: list[Interactions]) -> Interactions:
    """Put deeds behind each other."""
    return Interactions(
        *(
            np.concatenate([getattr(part, field.name) for part in parts])
            for field in fields(Interactions)
        )
    )


def take(interactions: Interactions, index_M: npt.NDArray[np.intp] | Bools) -> Interactions:
    """Choose or reorder deeds."""
    return Interactions(
        *(getattr(interactions, field.name)[index_M] for field in fields(Interactions))
    )


def draw_deeds(
    market: Market,
    slates: Slates,
    answers: Responses,
    intensity_NI: Float32s,
    rng: np.random.Generator,
) -> Interactions:
    """Draw everything that comes of a chunk of visits but sales, in order of time."""
    wanted = _Wanted(intensity_NI)
    organic = _scatter(market, slates, wanted, BUY, rng)
    views = _scatter(market, slates, wanted, VIEW, rng)
    spontaneous_NC, elsewhere = _attribute(organic, slates)
    shown = _on_slate(market, slates, answers, spontaneous_NC, rng)
    interactions = join([views, elsewhere, *shown])
    return take(
        interactions, np.lexsort((interactions.item_M, interactions.visit_M, interactions.at_us_M))
    )


def draw_sales(
    market: Market, bought: Interactions, affinity_M: Float32s, rng: np.random.Generator
) -> tuple[Interactions, npt.NDArray[np.intp]]:
    """Draw which purchases are sold again, sooner or later; the disliked more often.

    Returns
    -------
    sales : Deeds
    origin : array
        Index of the purchase that each sale ends.
    """
    assets, size = market.assets, len(bought.item_M)
    wants_M = rng.random(size) < sigmoid(-0.6 - 0.8 * affinity_M.astype(np.float64))
    delay_us_M = ((5 + rng.exponential(80, size)) * DAY).astype(np.int64)
    at_us_M = bought.at_us_M + delay_us_M
    day_M = at_us_M // DAY
    alive_M = (day_M < market.params.days) & (day_M < assets.dead_day_I[bought.item_M])
    origin = np.flatnonzero(wants_M & alive_M & assets.traded_I[bought.item_M])
    sold = take(bought, origin)
    none = np.zeros(len(origin), dtype=bool)
    return (
        Interactions(sold.visit_M, sold.item_M, np.full_like(sold.action_M, SELL), at_us_M[origin],
              none, none),
        origin,
    )  # fmt: skip


class _Wanted:
    """Intensities of all visits laid end to end, so that one search draws many items."""

    def __init__(self, intensity_NI: Float32s) -> None:
        visits, self._items = intensity_NI.shape
        cumulative_NI = np.cumsum(intensity_NI, axis=1, dtype=np.float64)
        self.total_N = cumulative_NI[:, -1].copy()
        cumulative_NI /= np.maximum(self.total_N, 1e-300)[:, None]
        cumulative_NI += np.arange(visits)[:, None]
        self._flat = cumulative_NI.ravel()

    def draw(self, visit_M: Ints, rng: np.random.Generator) -> Ints:
        """Draw an item for each entry in proportion to the intensities of its visit."""
        # Stopping short of 1 keeps rounding from reaching into the next visit.
        uniform_M = rng.random(len(visit_M)) * (1 - 1e-9)
        flat_M = np.searchsorted(self._flat, visit_M + uniform_M, side="right")
        item_M: Ints = flat_M - visit_M * self._items
        return item_M


def _scatter(
    market: Market, slates: Slates, wanted: _Wanted, action: int, rng: np.random.Generator
) -> Interactions:
    """Draw purchases or views over the whole catalogue, in proportion to the intensity."""
    params, visits = market.params, len(slates.user_N)
    mean_N = wanted.total_N if action == BUY else np.full(visits, params.view_rate)
    visit_M = np.repeat(np.arange(visits), rng.poisson(mean_N))
    item_M = wanted.draw(visit_M, rng)
    span_days = params.window_days if action == BUY else 1 / 24
    at_us_M = _later(market, slates.at_us_N[visit_M], item_M, span_days, rng)
    no_M = np.zeros(len(visit_M), dtype=bool)
    return Interactions(visit_M, item_M, np.full(len(visit_M), action), at_us_M, no_M, no_M)


def _attribute(organic: Interactions, slates: Slates) -> tuple[Bools, Interactions]:
    """Separate spontaneous purchases of what stands on the slate from all others.

    A candidate that was not shown but bought is an outcome too: the visit's control group.
    """
    match_MC = slates.item_NC[organic.visit_M] == organic.item_M[:, None]
    column_M = np.where(match_MC.any(axis=1), match_MC.argmax(axis=1), NOWHERE)
    is_candidate_M = column_M != NOWHERE
    spontaneous_NC = np.zeros(slates.item_NC.shape, dtype=bool)
    spontaneous_NC[organic.visit_M[is_candidate_M], column_M[is_candidate_M]] = True
    shown_M = (slates.chosen_NL[organic.visit_M] == column_M[:, None]).any(axis=1) & is_candidate_M
    key_M = organic.visit_M * slates.item_NC.shape[1] + column_M
    first_M = np.zeros(len(key_M), dtype=bool)
    first_M[np.unique(key_M, return_index=True)[1]] = True
    outcome_M = is_candidate_M & first_M & ~shown_M
    return spontaneous_NC, take(replace(organic, outcome_M=outcome_M), ~shown_M)


def _on_slate(
    market: Market,
    slates: Slates,
    answers: Responses,
    spontaneous_NC: Bools,
    rng: np.random.Generator,
) -> list[Interactions]:
    """Draw clicks, purchases, dismissals and late purchases of what was shown."""
    params, (visits, length) = market.params, slates.chosen_NL.shape
    row_N1, at_NL = np.arange(visits)[:, None], slates.chosen_NL
    reach_L = EXAMINATION ** np.arange(length)
    examined_NL = rng.random((visits, 1)) < reach_L
    clicked_NL = examined_NL & (rng.random((visits, length)) < answers.click_NC[row_N1, at_NL])
    spoilt_NL = rng.random((visits, length)) < answers.reluctance_N[:, None]
    induced_NL = rng.random((visits, length)) < answers.induced_NC[row_N1, at_NL]
    bought_NL = (spontaneous_NC[row_N1, at_NL] & ~spoilt_NL) | induced_NL
    ignored_NL = examined_NL & ~clicked_NL & ~bought_NL
    dismissed_NL = ignored_NL & (rng.random((visits, length)) < answers.dismiss_NC[row_N1, at_NL])
    odds_NL = _LATE_SHARE * answers.shown_NC[row_N1, at_NL]
    late_NL = ~bought_NL & (rng.random((visits, length)) < odds_NL)
    soon = np.array([0.0, 0.005])
    window = np.array([0.0, params.window_days])
    kinds: tuple[tuple[Bools, int, Float64s], ...] = (
        (clicked_NL, CLICK, soon),
        (bought_NL, BUY, window),
        (dismissed_NL, DISMISS, soon),
        (late_NL, BUY, window + params.window_days),
    )
    return [_shown(market, slates, *kind, rng) for kind in kinds]


def _shown(
    market: Market,
    slates: Slates,
    done_NL: Bools,
    action: int,
    days: Float64s,
    rng: np.random.Generator,
) -> Interactions:
    """Date what was done with items shown between two moments after the visit, in days."""
    visit_M, position_M = np.nonzero(done_NL)
    item_M = slates.item_NC[visit_M, slates.chosen_NL[visit_M, position_M]]
    start_us_M = slates.at_us_N[visit_M] + int(days[0] * DAY)
    yes_M = np.ones(len(visit_M), dtype=bool)
    at_us_M = _later(market, start_us_M, item_M, float(days[1] - days[0]), rng)
    return Interactions(visit_M, item_M, np.full(len(visit_M), action), at_us_M, yes_M, yes_M)


def _later(
    market: Market, start_us_M: Ints, item_M: Ints, span_days: float, rng: np.random.Generator
) -> Ints:
    """Draw a time in the span after `start_us_M`, while the item lives."""
    left_us_M = np.maximum(market.assets.dead_day_I[item_M] * DAY - start_us_M, 2 * SECOND)
    span_us_M = np.minimum(int(span_days * DAY), left_us_M)
    wait_us_M = (rng.random(len(item_M)) * span_us_M).astype(np.int64)
    at_us_M: Ints = start_us_M + np.maximum(wait_us_M // SECOND, 1) * SECOND
    return at_us_M

"""The embedded market lives on behind its log: who comes, what is true of a visit, what they do.

Whoever shows something asks what is true at that moment, and is told what comes of it.

Shapes: U investors, I items, C candidates, L positions, M deeds; a visit is N = 1.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tessera.contracts.arrays import Float32s, Float64s, Ints
from tessera.contracts.tables import ACTIONS
from tessera.stages.synth.behaviour import (
    Market,
    Responses,
    Visits,
    acquire,
    organic_intensity,
    responses,
    visits,
)
from tessera.stages.synth.files import START
from tessera.stages.synth.interactions import (
    BUY,
    DAY,
    Interactions,
    Slates,
    draw_deeds,
    draw_sales,
    join,
    take,
)
from tessera.stages.synth.log import BLOCK_DAYS, EDGE_HALF_LIFE_DAYS
from tessera.stages.synth.params import SynthParams
from tessera.stages.synth.stage import draw_market

FIRST_US = int(np.datetime64(START, "us").astype(np.int64))
"""Midnight of the market's first day, in microseconds since 1970; the town counts from there."""
Purchase = tuple[int, int, int]
"""Microsecond since the first day, investor, item."""


@dataclass(frozen=True, slots=True)
class Visit:
    """What is true of one investor at one moment."""

    market: Market
    user: int
    at_us: int
    seen: Visits
    wanted_NI: Float32s
    """Mean organic purchases of every item."""

    def answers(self, item_C: Ints) -> Responses:
        """Return the true probabilities of some items."""
        return responses(self.market, self.seen, self.wanted_NI, item_C[None])


@dataclass
class Town:
    """Investors as of a day: what they hold acts on what they want."""

    market: Market
    boost_UI: Float32s
    day: int = 0
    """First day of the block that tastes were brought up to."""
    waiting: list[Purchase] = field(default_factory=list)
    """Purchases that do not act yet, a heap."""

    def until(self, at_us: int) -> None:
        """Let time pass block by block, as the simulator does."""
        fade = np.float32(0.5 ** (BLOCK_DAYS / EDGE_HALF_LIFE_DAYS))
        while self.day + BLOCK_DAYS <= at_us / DAY:
            self.day += BLOCK_DAYS
            self.boost_UI *= fade
            made = []
            while self.waiting and self.waiting[0][0] < self.day * DAY:
                made.append(heapq.heappop(self.waiting))
            if made:
                _, user_M, item_M = np.array(made, np.int64).T
                acquire(self.boost_UI, self.market.assets, user_M, item_M)

    def visit(self, user: int, at_us: int) -> Visit:
        """Say what is true of a visit."""
        user_N, day_N = np.array([user]), np.array([at_us / DAY])
        seen = visits(self.market, user_N, day_N, self.boost_UI, self.day)
        return Visit(self.market, user, at_us, seen, organic_intensity(self.market, seen))

    def deeds(
        self, visit: Visit, item_C: Ints, chosen_L: Ints, rng: np.random.Generator
    ) -> Interactions:
        """Draw what comes of one visit: its slate, and all that is done beside it.

        Parameters
        ----------
        visit : Visit
            What is true of it.
        item_C, chosen_L : array of int
            What could have been shown, and which of it was, from the top.
        rng : Generator
            Chance.
        """
        none_NL = np.full((1, len(chosen_L)), np.nan)  # nothing that is done depends on them
        shown = Slates(np.array([visit.user]), np.array([visit.at_us]), item_C[None],
                       chosen_L[None], none_NL, none_NL[:, :, None])  # fmt: skip
        done = draw_deeds(self.market, shown, visit.answers(item_C), visit.wanted_NI, rng)
        bought = take(done, done.action_M == BUY)
        for at_us, item in zip(bought.at_us_M.tolist(), bought.item_M.tolist(), strict=True):
            heapq.heappush(self.waiting, (at_us, visit.user, item))
        sold, _ = draw_sales(self.market, bought, visit.seen.affinity_NI[0, bought.item_M], rng)
        return join([done, sold])

    def bought(self, user: int, item: int, at_us: int) -> None:
        """Note a purchase that somebody else decided on."""
        heapq.heappush(self.waiting, (at_us, user, item))


_TASTES = ("taste_first_UK", "taste_last_UK")


def with_moved_tastes(market: Market, share: float, rng: np.random.Generator) -> Market:
    """Return a market where a share of the investors have the tastes of others among them."""
    people = market.investors
    from_U = np.arange(len(people.activity_U))
    moved_U = np.flatnonzero(rng.random(len(from_U)) < share)
    mixed_U = rng.permutation(moved_U)
    from_U[mixed_U] = np.roll(mixed_U, 1)  # a ring, so that nobody keeps their own
    tastes = {name: getattr(people, name)[from_U] for name in _TASTES}
    return replace(market, investors=replace(people, **tastes))


def settled(events: Path, params: SynthParams, begun_us: int) -> Town:
    """Return the investors as they are at a moment, by what the files say they bought until then.

    Parameters
    ----------
    events : Path
        Table of what was done, in the columns of the contracts.
    params : SynthParams
        What the market was drawn by.
    begun_us : int
        Microseconds since the market's first day.
    """
    town = Town(draw_market(params), np.zeros((params.users, params.items), np.float32))
    rows = pq.read_table(events, columns=["user_id", "item_id", "event_ts"],
                         filters=pc.field("action") == ACTIONS[BUY])  # fmt: skip
    at_us_M = rows["event_ts"].cast("int64").to_numpy() - FIRST_US
    names = zip(rows["user_id"].to_pylist(), rows["item_id"].to_pylist(), strict=True)
    town.waiting = [
        (at_us, number(user), number(item))
        for at_us, (user, item) in zip(at_us_M.tolist(), names, strict=True)
        if at_us < begun_us
    ]
    heapq.heapify(town.waiting)
    town.until(begun_us)
    return town


def arrivals(
    town: Town, begun_us: int, days: float, requests: int, rng: np.random.Generator
) -> tuple[Ints, Ints]:
    """Draw who comes when: investors who have joined, as often as they are active."""
    people = town.market.investors
    joined_U = people.joined_day_U * DAY <= begun_us
    weight_U: Float64s = people.activity_U * joined_U
    user_N = rng.choice(len(weight_U), requests, p=weight_U / weight_U.sum())
    at_us_N = begun_us + np.sort(rng.random(requests)) * days * DAY
    return user_N, at_us_N.astype(np.int64)


def number(name: str) -> int:
    """Return the simulator's number of an investor or an item."""
    return int(name[1:])

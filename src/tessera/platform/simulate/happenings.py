"""What happens in the middle of a simulation, on the side of the truth."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tessera.platform.simulate.plan import BOTS, MOVED, Plan
from tessera.stages.synth.behaviour import Market
from tessera.stages.synth.interactions import BUY, CLICK, DAY
from tessera.stages.synth.town import with_moved_tastes

_STREAM = 21
"""Number of the stream of chance that says whom it hits."""
_CLICKS = 8
"""Of a bot and day; it buys once."""


@dataclass(frozen=True, slots=True)
class Deed:
    """Something that is done without any slate."""

    user: int
    item: int
    action: int
    at_us: int
    """Microseconds since the market's first day."""


def market_on(day: int, plan: Plan, market: Market) -> Market:
    """Return the market as it is on a day of the simulation."""
    if plan.scenario != "drift" or day < plan.change_day:
        return market
    return with_moved_tastes(market, MOVED, np.random.default_rng((plan.seed, _STREAM)))


def attacked_item(plan: Plan, market: Market) -> int | None:
    """Return what bots buy: the least popular of what suits everybody and is on sale for ever."""
    if plan.scenario != "attack":
        return None
    assets = market.assets
    end = plan.log_days + plan.days
    open_I = (assets.risk_I == 1) & (assets.born_day_I == 0) & (assets.dead_day_I > end)
    return int(np.where(open_I, assets.popularity_I, np.inf).argmin())


def launched_items(plan: Plan, market: Market) -> list[int]:
    """Return what comes on sale together, if that happens."""
    if plan.scenario != "births":
        return []
    born = np.flatnonzero(market.assets.born_day_I == plan.log_days + plan.change_day)
    return [int(one) for one in born]


def deeds_of_bots(day: int, plan: Plan, market: Market) -> Iterator[Deed]:
    """Draw what bots do on a day; the same investors are bots on each."""
    item = attacked_item(plan, market)
    if item is None or day < plan.change_day:
        return
    users = market.params.users
    whom = np.random.default_rng((plan.seed, _STREAM))
    bots = whom.choice(users, max(1, round(users * BOTS)), replace=False)
    chance = np.random.default_rng((plan.seed, _STREAM, day))
    for user in sorted(bots.tolist()):
        for action in (*[CLICK] * _CLICKS, BUY):
            at_us = (plan.log_days + day) * DAY + int(chance.random() * DAY)
            yield Deed(user, item, action, at_us)

"""One day: who comes, what they are shown, what that is truly worth, and what comes of it.

Shapes: V visits of a day, L positions, I items, S visits of the sample.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tessera.contracts.arrays import Float32s
from tessera.contracts.tables import ACTIONS
from tessera.platform.simulate.happenings import deeds_of_bots
from tessera.platform.simulate.plan import Plan
from tessera.platform.simulate.service import Json, Service
from tessera.serve.context import DEGRADED
from tessera.serve.slate import at
from tessera.shared.metrics.diversity import gini
from tessera.stages.synth.files import capacity_classes
from tessera.stages.synth.interactions import BUY, CLICK, DAY, Interactions
from tessera.stages.synth.town import FIRST_US, Town, Visit, arrivals, number
from tessera.stages.synth.worth import worth_of_best, worth_of_house, worth_shown

SAMPLE = 60
"""Visits of a day whose truth is kept whole, so that every version can be asked what it would have
shown there."""
_PAID_EUR = 1_000.0
"""Of every trade: nothing is learnt from amounts here."""
Waiting = tuple[int, str, Json]
"""Something that will be told to the service: microseconds since the first day, id, the event."""


@dataclass(slots=True)
class Sample:
    """The truth of some visits, item by item."""

    request_id: list[str] = field(default_factory=list)
    user: list[int] = field(default_factory=list)
    at_us: list[int] = field(default_factory=list)
    click_SI: list[Float32s] = field(default_factory=list)
    """P(click | examined)."""
    shown_SI: list[Float32s] = field(default_factory=list)
    """P(bought in time | shown)."""

    def add(self, visit: Visit, request_id: str) -> None:
        """Keep one."""
        every = visit.answers(np.arange(visit.market.params.items))
        self.request_id.append(request_id)
        self.user.append(visit.user)
        self.at_us.append(visit.at_us)
        self.click_SI.append(every.click_NC[0].astype(np.float32))
        self.shown_SI.append(every.shown_NC[0].astype(np.float32))


@dataclass(slots=True)
class Day:
    """What is known of a day that was played."""

    figures: dict[str, Any]
    sample: Sample


@dataclass(slots=True)
class _Counts:
    """What adds up over a day."""

    worth: list[float] = field(default_factory=list)
    house: list[float] = field(default_factory=list)
    best: list[float] = field(default_factory=list)
    versions: Counter[str] = field(default_factory=Counter)
    shown: Counter[int] = field(default_factory=Counter)
    clicks: int = 0
    degraded: int = 0


class Player:
    """Lets days happen at a service."""

    def __init__(self, plan: Plan, town: Town, coming: list[Waiting]) -> None:
        """Go on from a town as it is, and from what is still to be told."""
        self.plan, self.town, self.coming = plan, town, coming

    def play(self, day: int, service: Service) -> Day:
        """Let a day happen.

        What is drawn follows from seed and day; what is shown is drawn by the service.
        """
        begun_us = (self.plan.log_days + day) * DAY
        rng = np.random.default_rng((self.plan.seed, _VISITS, day))
        self._send_bots(day)
        self._tell_closes(day, service)
        self._tell_classes(day, service)
        user_V, at_us_V = arrivals(self.town, begun_us, 1.0, self.plan.visits, rng)
        counts, sample = _Counts(), Sample()
        step = max(1, self.plan.visits // SAMPLE)
        for place, (user, at_us) in enumerate(zip(user_V.tolist(), at_us_V.tolist(), strict=True)):
            self._happen(service, at_us)
            self.town.until(at_us)
            visit = self.town.visit(user, at_us)
            slate = service.recommend(f"u{user:06d}")
            if place % step == 0:
                sample.add(visit, slate["request_id"])
            self._answer(visit, slate, counts, rng)
        self._happen(service, begun_us + DAY)
        return Day(self._figures(day, counts), sample)

    def _answer(self, visit: Visit, slate: Json, counts: _Counts, rng: np.random.Generator) -> None:
        """Draw what comes of a slate, and count what it was worth."""
        item_L = np.array([number(one["item_id"]) for one in slate["items"]], np.int64)
        counts.worth.append(worth_shown(visit, item_L))
        counts.house.append(worth_of_house(visit, rng))
        counts.best.append(worth_of_best(visit, visit.market.params.positions))
        counts.versions[slate["version"]] += 1
        counts.shown.update(item_L.tolist())
        counts.degraded += DEGRADED in slate["flags"]
        if len(item_L):
            done = self.town.deeds(visit, item_L, np.arange(len(item_L)), rng)
            counts.clicks += int((done.action_M == CLICK).sum())
            for waiting in _told(visit, slate["request_id"], done):
                heapq.heappush(self.coming, waiting)

    def _happen(self, service: Service, until_us: int) -> None:
        """Move the clock, and tell what was done until then."""
        service.clock.move(FIRST_US + until_us)
        done = []
        while self.coming and self.coming[0][0] < until_us:
            done.append(heapq.heappop(self.coming)[2])
        if done:
            service.happened(done)

    def _send_bots(self, day: int) -> None:
        for count, deed in enumerate(deeds_of_bots(day, self.plan, self.town.market)):
            name = f"bot-{day}-{count}"
            told = _event(name, deed.user, (deed.item, deed.action, deed.at_us), None)
            heapq.heappush(self.coming, (deed.at_us, name, told))
            if deed.action == BUY:
                self.town.bought(deed.user, deed.item, deed.at_us)

    def _tell_closes(self, day: int, service: Service) -> None:
        """Tell the closes of the day before, at midnight."""
        market, now_us = self.town.market, (self.plan.log_days + day) * DAY
        service.clock.move(FIRST_US + now_us)
        made_us, at_day = now_us - DAY, self.plan.log_days + day - 1
        assets = market.assets
        priced_I = assets.traded_I & (assets.born_day_I <= at_day) & (at_day < assets.dead_day_I)
        service.priced(
            [
                {
                    "item_id": f"i{item:05d}",
                    "price_ts": at(FIRST_US + made_us + _SECOND).isoformat(),
                    "close_eur": float(market.close_DI[at_day, item]),
                }
                for item in np.flatnonzero(priced_I).tolist()
            ]
        )

    def _tell_classes(self, day: int, service: Service) -> None:
        """Tell at midnight who joins or is of another class from this day on, as the market has it.

        Of whom nobody asked, the class is unknown, and nothing is told.
        """
        people, at_day = self.town.market.investors, self.plan.log_days + day
        joins_U, changes_U = people.joined_day_U == at_day, people.changed_day_U == at_day
        since = at(FIRST_US + at_day * DAY).isoformat()
        risk_U = np.where(changes_U, people.risk_U2[:, 1], people.risk_U2[:, 0])
        capacity_U = capacity_classes(people.wealth_U)
        told = [
            {
                "investor_id": f"u{user:06d}",
                "risk_class": int(risk_U[user]),
                "capacity_class": int(capacity_U[user]),
                "valid_from": since,
            }
            for user in np.flatnonzero((joins_U | changes_U) & (risk_U > 0)).tolist()
        ]
        if told:
            service.classed(told)

    def _figures(self, day: int, counts: _Counts) -> dict[str, Any]:
        assets, at_day = self.town.market.assets, self.plan.log_days + day
        on_sale_I = (assets.born_day_I <= at_day) & (at_day < assets.dead_day_I)
        shown_I = np.array([counts.shown[item] for item in range(len(on_sale_I))], np.int64)
        return {
            "day": day,
            "date": at(FIRST_US + at_day * DAY).date().isoformat(),
            "requests": len(counts.worth),
            "clicks": counts.clicks,
            "degraded": counts.degraded,
            "versions": dict(sorted(counts.versions.items())),
            "value": float(np.mean(counts.worth)),
            "house": float(np.mean(counts.house)),
            "oracle": float(np.mean(counts.best)),
            "gini": gini(shown_I[on_sale_I]),
            "shown": shown_I.tolist(),
        }


_VISITS = 31
"""Number of the stream of chance that draws visits and what comes of them."""
_SECOND = 1_000_000


def _told(visit: Visit, request_id: str, done: Interactions) -> Iterator[Waiting]:
    rows = zip(done.item_M.tolist(), done.action_M.tolist(), done.at_us_M.tolist(),
               done.from_slate_M.tolist(), strict=True)  # fmt: skip
    for place, (item, action, at_us, from_slate) in enumerate(rows):
        name = f"{request_id}-{place}"
        told = _event(name, visit.user, (item, action, at_us), request_id if from_slate else None)
        yield at_us, name, told


def _event(name: str, user: int, deed: tuple[int, int, int], request_id: str | None) -> Json:
    item, action, at_us = deed
    told = {
        "event_id": name,
        "investor_id": f"u{user:06d}",
        "item_id": f"i{item:05d}",
        "action": ACTIONS[action],
        "time": at(FIRST_US + at_us).isoformat(),
        "value": _PAID_EUR if ACTIONS[action] in ("buy", "sell") else 0.0,
    }
    return told if request_id is None else told | {"request_id": request_id}

"""Investors of the embedded market visit the service, and do what the market's truth says of them.

Usage: python -m benchmarks.traffic [--profile market] [--days 28] [--requests 12000] [--seed 0]
    after `make run`, while no service runs

Visits follow each other in the market's own days from where its service stands.  What comes of a
slate, and what is bought and looked up beside it, is drawn from the planted probabilities of the
shown, not from the log; what is held until then is what the market's files say.  Slates are drawn
and logged by the service itself.

Shapes: U investors, I items, C candidates, L positions, M deeds.
"""

from __future__ import annotations

import argparse
import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tessera.contracts.arrays import Float32s, Ints
from tessera.contracts.progress import progress_bar
from tessera.contracts.split import load_split
from tessera.contracts.tables import ACTIONS
from tessera.model.sequences.catalogue import microsecond, microseconds
from tessera.platform.release.pointer import current_bundle
from tessera.platform.workspace.params import load_params
from tessera.platform.workspace.paths import DEFAULT_PROFILE, Workspace, open_workspace
from tessera.serve.events import Event
from tessera.serve.host import start
from tessera.serve.hours import paths
from tessera.serve.log import is_open
from tessera.serve.params import ServeParams
from tessera.serve.service import Service
from tessera.serve.slate import Slate
from tessera.stages.synth.behaviour import (
    Market,
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
    take,
)
from tessera.stages.synth.log import EDGE_HALF_LIFE_DAYS
from tessera.stages.synth.params import SynthParams
from tessera.stages.synth.stage import draw_market

_BLOCK_DAYS = 5
_FIRST_US = int(np.datetime64(START, "us").astype(np.int64))
"""Midnight of the market's first day, in microseconds since 1970."""
_PAID_EUR = 1_000.0
"""Of every trade: nothing is learnt from amounts here."""


@dataclass
class Town:
    """Investors as of a day: what they hold acts on what they want."""

    market: Market
    boost_UI: Float32s
    day: int = 0
    """First day of the block that tastes were brought up to."""
    waiting: list[tuple[int, int, int]] = field(default_factory=list)
    """Purchases that do not act yet: microsecond, investor, item."""

    def until(self, at_us: int) -> None:
        """Let time pass block by block, as the simulator does."""
        fade = np.float32(0.5 ** (_BLOCK_DAYS / EDGE_HALF_LIFE_DAYS))
        while self.day + _BLOCK_DAYS <= at_us / DAY:
            self.day += _BLOCK_DAYS
            self.boost_UI *= fade
            made = []
            while self.waiting and self.waiting[0][0] < self.day * DAY:
                made.append(heapq.heappop(self.waiting))
            if made:
                _, user_M, item_M = np.array(made, np.int64).T
                acquire(self.boost_UI, self.market.assets, user_M, item_M)

    def deeds(self, slate: Slate, rng: np.random.Generator) -> Interactions:
        """Draw what comes of one visit: its slate, and all that is done beside it."""
        at_us_N, user_N = np.array([slate.moment - _FIRST_US]), np.array([_number(slate.user_id)])
        drawn = slate.drawn
        item_NC = np.array([[_number(item) for item in drawn.candidate_ids]])
        chosen_NL = np.array([drawn.shown()])
        seen = visits(self.market, user_N, at_us_N / DAY, self.boost_UI, self.day)
        wanted_NI = organic_intensity(self.market, seen)
        shown = Slates(
            user_N, at_us_N, item_NC, chosen_NL,
            drawn.propensity_L[None, : chosen_NL.shape[1]],
            drawn.probability_LC[None, : chosen_NL.shape[1]],
        )  # fmt: skip
        answers = responses(self.market, seen, wanted_NI, item_NC)
        done = draw_deeds(self.market, shown, answers, wanted_NI, rng)
        bought = take(done, done.action_M == BUY)
        for at_us, item in zip(bought.at_us_M.tolist(), bought.item_M.tolist(), strict=True):
            heapq.heappush(self.waiting, (at_us, int(user_N[0]), item))
        liking_M = seen.affinity_NI[0, bought.item_M]
        sold, _ = draw_sales(self.market, bought, liking_M, rng)
        return Interactions(
            *(np.concatenate([getattr(done, name), getattr(sold, name)])
              for name in Interactions.__slots__)
        )  # fmt: skip


def settled(workspace: Workspace, params: SynthParams, begun_us: int) -> Town:
    """Return the investors as they are when the service begins, by what the files say they hold."""
    market = draw_market(params)
    town = Town(market, np.zeros((params.users, params.items), np.float32))
    rows = pq.read_table(workspace.artifact("events"), columns=["user_id", "item_id", "event_ts"],
                         filters=pc.field("action") == ACTIONS[BUY])  # fmt: skip
    at_us_M = microseconds(rows["event_ts"]) - _FIRST_US
    names = zip(rows["user_id"].to_pylist(), rows["item_id"].to_pylist(), strict=True)
    town.waiting = [
        (at_us, _number(user), _number(item))
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
    weight_U = people.activity_U * joined_U
    user_N = rng.choice(len(weight_U), requests, p=weight_U / weight_U.sum())
    at_us_N = begun_us + np.sort(rng.random(requests)) * days * DAY
    return user_N, at_us_N.astype(np.int64)


def play(
    service: Service, town: Town, user_N: Ints, at_us_N: Ints, rng: np.random.Generator
) -> dict[str, int]:
    """Let visits and what comes of them happen in order of time; count both."""
    coming: list[tuple[int, str, Event]] = []
    told = {"requests": 0, "events": 0}
    run = f"{rng.integers(1 << 62):016x}"
    with progress_bar("visits", len(user_N)) as bar:
        for number, (user, at_us) in enumerate(zip(user_N.tolist(), at_us_N.tolist(), strict=True)):
            told["events"] += _happen(service, coming, at_us)
            town.until(at_us)
            size = service.engine.slate_size
            slate = service.recommend(
                f"{run}-{number:08d}", f"u{user:06d}", _FIRST_US + at_us, size
            )
            told["requests"] += 1
            if slate.drawn.shown():
                for event in _events(slate, town.deeds(slate, rng)):
                    heapq.heappush(coming, (event.moment - _FIRST_US, event.event_id, event))
            bar.advance(1)
    told["events"] += _happen(service, coming, int(at_us_N[-1]) + 1)
    return told


def _happen(service: Service, coming: list[tuple[int, str, Event]], until_us: int) -> int:
    """Tell the service what was done before a moment; what comes later has not happened."""
    done = []
    while coming and coming[0][0] < until_us:
        done.append(heapq.heappop(coming)[2])
    return service.happened(done).count("new") if done else 0


def _events(slate: Slate, done: Interactions) -> Iterator[Event]:
    rows = zip(done.item_M.tolist(), done.action_M.tolist(), done.at_us_M.tolist(),
               done.from_slate_M.tolist(), strict=True)  # fmt: skip
    for number, (item, action, at_us, from_slate) in enumerate(rows):
        name, request = ACTIONS[action], slate.request_id if from_slate else None
        value = _PAID_EUR if name in ("buy", "sell") else 0.0
        yield Event(f"{slate.request_id}-{number}", slate.user_id, f"i{item:05d}", name,
                    _FIRST_US + at_us, request, value)  # fmt: skip


def _number(name: str) -> int:
    """Return the simulator's number of an investor or an item."""
    return int(name[1:])


def is_served(folder: Path) -> bool:
    """Tell whether some process writes a log."""
    return any(is_open(path) for path in paths(folder))


def begin(workspace: Workspace, folder: Path) -> int:
    """Return where the service stands: behind all it has logged, else at the cut it serves from."""
    from tessera.serve.hours import records

    moments = [int(one["moment"]) for one in records(folder) if "moment" in one]
    cut = microsecond(load_split(current_bundle(workspace) / "split.json").cut)
    return max([cut, *moments]) + 1_000_000 - _FIRST_US


def main() -> None:
    """Play, and say how much."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--profile", default=DEFAULT_PROFILE)
    parser.add_argument("--days", type=float, default=28.0)
    parser.add_argument("--requests", type=int, default=12_000)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    workspace = open_workspace(asked.profile)
    params, folder = load_params(workspace), workspace.served
    if is_served(folder):
        raise SystemExit(f"a service writes the log in {folder}: stop it, then run this again")
    begun_us = begin(workspace, folder)
    rng = np.random.default_rng((asked.seed, begun_us))
    town = settled(workspace, cast(SynthParams, params["synth"]), begun_us)
    started = start(current_bundle(workspace), folder, cast(ServeParams, params["serve"]))
    try:
        visitors = arrivals(town, begun_us, asked.days, asked.requests, rng)
        told = play(started.service, town, *visitors, rng)
    finally:
        started.service.close()
    print(f"{told['requests']} requests, {told['events']} events over {asked.days:g} days")


if __name__ == "__main__":
    main()

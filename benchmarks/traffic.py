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
from pathlib import Path
from typing import cast

import numpy as np

from tessera.contracts.arrays import Ints
from tessera.contracts.progress import progress_bar
from tessera.contracts.split import load_split
from tessera.contracts.tables import ACTIONS
from tessera.model.sequences.catalogue import microsecond
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
from tessera.stages.synth.interactions import Interactions
from tessera.stages.synth.params import SynthParams
from tessera.stages.synth.town import FIRST_US, Town, arrivals, number, settled

_PAID_EUR = 1_000.0
"""Of every trade: nothing is learnt from amounts here."""


def play(
    service: Service, town: Town, user_N: Ints, at_us_N: Ints, rng: np.random.Generator
) -> dict[str, int]:
    """Let visits and what comes of them happen in order of time; count both."""
    coming: list[tuple[int, str, Event]] = []
    told = {"requests": 0, "events": 0}
    run = f"{rng.integers(1 << 62):016x}"
    with progress_bar("visits", len(user_N)) as bar:
        for place, (user, at_us) in enumerate(zip(user_N.tolist(), at_us_N.tolist(), strict=True)):
            told["events"] += _happen(service, coming, at_us)
            town.until(at_us)
            size = service.engine.slate_size
            slate = service.recommend(f"{run}-{place:08d}", f"u{user:06d}", FIRST_US + at_us, size)
            told["requests"] += 1
            if slate.drawn.shown():
                for event in _events(slate, _deeds(town, slate, rng)):
                    heapq.heappush(coming, (event.moment - FIRST_US, event.event_id, event))
            bar.advance(1)
    told["events"] += _happen(service, coming, int(at_us_N[-1]) + 1)
    return told


def _deeds(town: Town, slate: Slate, rng: np.random.Generator) -> Interactions:
    visit = town.visit(number(slate.user_id), slate.moment - FIRST_US)
    item_C = np.array([number(item) for item in slate.drawn.candidate_ids])
    return town.deeds(visit, item_C, np.array(slate.drawn.shown()), rng)


def _happen(service: Service, coming: list[tuple[int, str, Event]], until_us: int) -> int:
    """Tell the service what was done before a moment; what comes later has not happened."""
    done = []
    while coming and coming[0][0] < until_us:
        done.append(heapq.heappop(coming)[2])
    return service.happened(done).count("new") if done else 0


def _events(slate: Slate, done: Interactions) -> Iterator[Event]:
    rows = zip(done.item_M.tolist(), done.action_M.tolist(), done.at_us_M.tolist(),
               done.from_slate_M.tolist(), strict=True)  # fmt: skip
    for place, (item, action, at_us, from_slate) in enumerate(rows):
        name, request = ACTIONS[action], slate.request_id if from_slate else None
        value = _PAID_EUR if name in ("buy", "sell") else 0.0
        yield Event(f"{slate.request_id}-{place}", slate.user_id, f"i{item:05d}", name,
                    FIRST_US + at_us, request, value)  # fmt: skip


def is_served(folder: Path) -> bool:
    """Tell whether some process writes a log."""
    return any(is_open(path) for path in paths(folder))


def begin(workspace: Workspace, folder: Path) -> int:
    """Return where the service stands: behind all it has logged, else at the cut it serves from."""
    from tessera.serve.hours import records

    moments = [int(one["moment"]) for one in records(folder) if "moment" in one]
    cut = microsecond(load_split(current_bundle(workspace) / "split.json").cut)
    return max([cut, *moments]) + 1_000_000 - FIRST_US


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
    synth = cast(SynthParams, params["synth"])
    town = settled(workspace.artifact("events"), synth, begun_us)
    started = start(current_bundle(workspace), folder, cast(ServeParams, params["serve"]))
    try:
        visitors = arrivals(town, begun_us, asked.days, asked.requests, rng)
        told = play(started.service, town, *visitors, rng)
    finally:
        started.service.close()
    print(f"{told['requests']} requests, {told['events']} events over {asked.days:g} days")


if __name__ == "__main__":
    main()

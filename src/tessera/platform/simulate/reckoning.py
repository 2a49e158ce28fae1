"""What every model would truly have earned: each is asked at the sampled visits of its days.

A bundle is told what the service had been told by then, draws as it would have served, and the
planted probabilities of that visit say what its slate is worth.  What investors hold is what they
hold in the one course that was played; a course under another policy is not.

Shapes: S visits of a sample, I items, C candidates, L positions.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tessera.contracts.arrays import Float64s
from tessera.platform.simulate import keep
from tessera.platform.simulate.place import Place
from tessera.platform.simulate.retraining import candidate_of
from tessera.platform.workspace.params import serve_params
from tessera.serve.classes import InvestorClass
from tessera.serve.closes import Close
from tessera.serve.engine import Engine
from tessera.serve.events import Event, Knowledge
from tessera.serve.hours import records
from tessera.serve.telling import classify, feed, lay_out, price
from tessera.stages.synth.interactions import EXAMINATION
from tessera.stages.synth.town import FIRST_US, number

Worth = dict[str, dict[int, Float64s]]
"""By version and day: expected responses at each sampled visit."""


@dataclass(frozen=True, slots=True)
class Since:
    """What was told while serving, each in the order in which it became known."""

    events: Sequence[Event]
    closes: Sequence[Close]
    classes: Sequence[InvestorClass]


@dataclass(frozen=True, slots=True)
class Asked:
    """A bundle, and the days that it is asked on."""

    name: str
    bundle: Path
    first: int
    last: int
    """Inclusive."""


def reckon(place: Place, runs: Sequence[dict[str, Any]]) -> Worth:
    """Ask every published version from its day on, and every held candidate until the next run."""
    told = Knowledge.of(records(place.workspace.served, events_only=True))
    events = sorted(told.events.values(), key=lambda one: one.moment)
    closes = sorted(told.closes, key=lambda one: one.told)
    classes = sorted(told.classes, key=lambda one: one.moment)
    since = Since(events, closes, classes)
    return {one.name: _worth(place, one, since) for one in asked_of(place, runs)}


def asked_of(place: Place, runs: Sequence[dict[str, Any]]) -> list[Asked]:
    """List who is asked when."""
    last, plan = place.plan.days - 1, place.plan
    found = []
    for run in runs:
        first, bundle = run["day"] + 1, candidate_of(place, run["day"])
        if run["published"]:
            found.append(Asked(run["published"], bundle, first, last))
        else:
            found.append(Asked(held(run), bundle, first, min(last, first + plan.every - 1)))
    return found


def held(run: dict[str, Any]) -> str:
    """Name a candidate that was not published."""
    return f"candidate of day {run['day'] + 1}"


def _worth(place: Place, asked: Asked, since: Since) -> dict[int, Float64s]:
    engine = Engine.open(asked.bundle, serve_params(place.workspace), asked.name)
    teller = _Teller(engine, since)
    found = {}
    for day, sample in keep.samples(place):
        if asked.first <= day <= asked.last:
            found[day] = np.array(list(_of_sample(engine, teller, sample)))
    return found


def _of_sample(engine: Engine, teller: _Teller, sample: dict[str, Any]) -> Iterable[float]:
    rows = zip(sample["request_id"].tolist(), sample["user_S"].tolist(),
               sample["at_us_S"].tolist(), strict=True)  # fmt: skip
    for place, (name, user, at_us) in enumerate(rows):
        moment = FIRST_US + at_us
        teller.until(moment)
        drawn = engine.answer(name, f"u{user:06d}", moment, engine.slate_size).drawn
        item_C = np.array([number(one) for one in drawn.candidate_ids], np.int64)
        click_C, shown_C = (sample[one][place, item_C] for one in ("click_SI", "shown_SI"))
        yield expected(click_C, shown_C, drawn.probability_LC)


def expected(click_C: Float64s, shown_C: Float64s, probability_LC: Float64s) -> float:
    """Return the expected responses to a slate that is drawn with these probabilities."""
    reach_L1 = EXAMINATION ** np.arange(len(probability_LC))[:, None]
    reward_LC = 1.0 - (1.0 - reach_L1 * click_C) * (1.0 - shown_C)
    return float((probability_LC * reward_LC).sum())


class _Teller:
    """Tells a bundle what happened, in order of time."""

    def __init__(self, engine: Engine, since: Since) -> None:
        self._engine, self._since = engine, since
        self._event = self._close = self._class = 0

    def until(self, moment: int) -> None:
        """Tell what was known at a moment."""
        since, first = self._since, self._event
        self._event = bisect_left(since.events, moment, key=lambda one: one.moment)
        feed(self._engine, since.events[first : self._event])
        first, self._close = (
            self._close,
            bisect_left(since.closes, moment, key=lambda one: one.told),
        )
        if self._close > first:
            price(self._engine, since.closes[first : self._close])
            lay_out(self._engine)
        first, self._class = (
            self._class,
            bisect_left(since.classes, moment, key=lambda one: one.moment),
        )
        classify(self._engine, since.classes[first : self._class])

"""Visits of the embedded market after the published cut, with the answers that are true of them.

Shapes: N visits, I items of the bundle, L positions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np

from tessera.contracts.arrays import Bools, Float64s
from tessera.contracts.arrow import DAY_US
from tessera.contracts.progress import progress_bar
from tessera.contracts.split import load_split
from tessera.model.sequences.catalogue import microsecond
from tessera.platform.release.pointer import current_bundle
from tessera.platform.workspace.params import load_params
from tessera.platform.workspace.paths import Workspace
from tessera.serve.engine import Engine
from tessera.serve.investors import Investor
from tessera.stages.synth.behaviour import organic_intensity, responses, visits
from tessera.stages.synth.interactions import EXAMINATION
from tessera.stages.synth.params import SynthParams
from tessera.stages.synth.town import FIRST_US, arrivals, settled

_DAYS = 28.0
_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Asked:
    """Who asks, and when."""

    user_id: str
    moment: int
    """Microseconds since 1970."""
    who: Investor


@dataclass(frozen=True, slots=True)
class Visitors:
    """Visits, what today's model says of every item, and what is true."""

    asked: list[Asked]
    score_NI: Float64s
    open_NI: Bools
    """What may be shown."""
    reward_NLI: Float64s
    """Probability of a click or a purchase inside the window, at each position."""


def visitors(engine: Engine, workspace: Workspace, count: int, seed: int) -> Visitors:
    """Draw who comes in the weeks after the cut; nothing that they do changes anything."""
    rng = np.random.default_rng(seed)
    cut = load_split(current_bundle(workspace) / "split.json").cut
    begun_us = microsecond(cut) - FIRST_US
    synth = cast(SynthParams, load_params(workspace)["synth"])
    town = settled(workspace.artifact("events"), synth, begun_us)
    user_N, at_us_N = arrivals(town, begun_us, _DAYS, count, rng)
    ids = engine.recommender.shelf.ids
    number_I, length = np.array([int(one[1:]) for one in ids]), engine.slate_size
    reward_NLI = np.zeros((count, length, len(ids)))
    for first in range(0, count, _AT_ONCE):
        part = slice(first, first + _AT_ONCE)
        seen = visits(town.market, user_N[part], at_us_N[part] / DAY_US, town.boost_UI, town.day)
        every_NI = np.broadcast_to(number_I, (len(seen.user_N), len(ids)))
        true = responses(town.market, seen, organic_intensity(town.market, seen), every_NI)
        for k in range(length):
            clicked_NI = EXAMINATION**k * true.click_NC
            reward_NLI[part, k] = 1 - (1 - clicked_NI) * (1 - true.shown_NC)
    asked, scores, opened = [], list[Float64s](), list[Bools]()
    with progress_bar("visits", count) as bar:
        for user, at_us in zip(user_N.tolist(), at_us_N.tolist(), strict=True):
            user_id, moment = f"u{user:06d}", FIRST_US + at_us
            now = engine.scorer.now(user_id, moment)
            who = engine.who(user_id, now)
            opened.append(engine.candidates.eligible_I(who, moment))
            scores.append(engine.scorer.scores(now, engine.model_row_I).astype(np.float64))
            asked.append(Asked(user_id, moment, who))
            bar.advance(1)
    return Visitors(asked, np.stack(scores), np.stack(opened), reward_NLI)

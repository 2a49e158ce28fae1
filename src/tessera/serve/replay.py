"""The served log played again with the bundles of the time: judged is served, or it is said.

Given what was logged of a slate, the judged policy gives every propensity again.  Scores are
computed again from bundle and log: events arrive in the order of the log until as many are known as
the slate says were known when it was drawn, and closes and classes of investors until the last
telling that it knew.  Where several processes logged, the order of events is not known to the
event: scores may differ, and are counted; no propensity may.

Shapes: C candidates, L positions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from tessera.contracts.progress import Bar, progress_bar
from tessera.contracts.tables import UNEXPLORED
from tessera.serve.classes import CLASS, InvestorClass, class_of
from tessera.serve.closes import CLOSE, Close, close_of
from tessera.serve.context_version import ContextVersion
from tessera.serve.engine import Engine
from tessera.serve.erased import PSEUDONYM
from tessera.serve.events import EVENT, FORGET, SLATE, Record
from tessera.shared.policies.slate import slate_propensities

EXACT, ROUNDED = 1e-9, 1e-5
"""How far a propensity may lie from the logged one, and a score from its own."""
_WHOLE = "whole"
"""Marks a slate before which nothing was forgotten."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A slate that does not come out as it was logged."""

    request_id: str
    says: str


@dataclass(slots=True)
class Replayed:
    """What playing a log again found."""

    slates: int = 0
    unplayed: int = 0
    """Slates of a bundle that is gone."""
    unexplored: int = 0
    """Slates that nobody drew, so that there is nothing to draw again."""
    unscored: int = 0
    """Slates that came after events were forgotten: what they were scored from is gone."""
    unordered: int = 0
    """Slates whose scores do not come out of a log whose events stand in another order than the one
    in which they became known, because several processes wrote it."""
    is_shared: bool = False
    """Several processes wrote the log: some slate knew events that stand behind it."""
    propensity: float = 0.0
    """Largest difference of a propensity; infinite where there is nothing to compare it with."""
    score: float = 0.0
    """Largest difference of a score; as above."""
    faults: list[Fault] = field(default_factory=list)


def replay(records: Iterable[Record], open_engine: Callable[[str], Engine | None]) -> Replayed:
    """Play a log again.

    Parameters
    ----------
    records : iterable
        In the order in which they were logged.
    open_engine : function
        Opens the bundle of a version, as it was before anything was served; None if there is none
        any more, as of a candidate that was trained again.
    """
    events: dict[str, Record] = {}
    slates: dict[str, list[Record]] = {}
    found, is_whole, records = Replayed(), True, list(records)
    told = _Tellings(
        [close_of(one) for one in records if one["kind"] == CLOSE],
        [class_of(one) for one in records if one["kind"] == CLASS],
    )
    for one in records:
        if one["kind"] == EVENT:
            events.setdefault(one["event_id"], one)
        elif one["kind"] == FORGET:
            is_whole = False
        elif one["kind"] == SLATE and one["policy_id"].endswith(UNEXPLORED):
            found.unexplored += 1
        elif one["kind"] == SLATE:
            found.is_shared |= is_whole and _knew(one).events > len(events)
            slates.setdefault(_version(one), []).append({**one, _WHOLE: is_whole})
    with progress_bar("draw slates again", sum(map(len, slates.values()))) as bar:
        for version, shown in slates.items():
            engine = open_engine(version)
            if engine is None:
                found.unplayed += len(shown)
                bar.advance(len(shown))
            else:
                _replay_one(found, engine, shown, list(events.values()), told, bar)
    return found


@dataclass(frozen=True, slots=True)
class _Tellings:
    """Closes and classes, in whatever order."""

    closes: list[Close]
    classes: list[InvestorClass]

    def tell(self, engine: Engine, knew: ContextVersion, before: ContextVersion) -> None:
        """Tell of what a slate knew, where that is not what the one before it knew."""
        state = engine.scorer.state
        if state.prices is not None and knew.closes != before.closes:
            state.prices = state.prices.emptied()
            state.prices.learn(one for one in self.closes if one.told <= knew.closes)
        if knew.classes != before.classes:
            state.only_classes(one for one in self.classes if one.moment <= knew.classes)


def _version(slate: Record) -> str:
    return str(slate["policy_id"]).partition("/")[0]


def _replay_one(
    found: Replayed,
    engine: Engine,
    slates: Sequence[Record],
    events: Sequence[Record],
    told: _Tellings,
    bar: Bar,
) -> None:
    state, before = engine.scorer.state, ContextVersion("", 0)
    for slate in sorted(slates, key=lambda one: _knew(one).events):
        knew = _knew(slate)
        for one in events[state.version : knew.events]:
            state.add(one["event_id"], one["user_id"], one["item_id"], one["action"], one["moment"])
        told.tell(engine, knew, before)
        before = knew
        found.slates += 1
        bar.advance()
        said = _fault(found, engine, slate)
        if said is not None:
            found.faults.append(Fault(str(slate["request_id"]), said))


def _knew(slate: Record) -> ContextVersion:
    return ContextVersion.read(slate["context_version"])


def _fault(found: Replayed, engine: Engine, slate: Record) -> str | None:
    identity = _knew(slate).identity
    if not engine.identity.startswith(identity):
        found.propensity = np.inf
        return f"was drawn by another {engine.version}, whose identity begins with {identity}"
    propensity = _propensity_gap(engine, slate)
    found.propensity = max(found.propensity, propensity)
    if not propensity <= EXACT:
        return f"has propensities that its policy does not give: off by {propensity:.3g}"
    return _other_scores(found, engine, slate)


def _other_scores(found: Replayed, engine: Engine, slate: Record) -> str | None:
    if not slate[_WHOLE] or slate["user_id"].startswith(PSEUDONYM):
        found.unscored += 1
        return None
    score = _score_gap(engine, slate)
    if found.is_shared and not score <= ROUNDED:
        found.unordered += 1
        return None
    found.score = max(found.score, score)
    if not score <= ROUNDED:
        return f"has scores that its bundle does not give: off by {score:.3g}"
    return None


def _propensity_gap(engine: Engine, slate: Record) -> float:
    """Return how far the policy's propensities lie from the logged ones, from the logged scores."""
    score_1C = np.array([slate["scores"]], np.float64)
    chosen_1L = np.array([slate["chosen"]], np.int64)
    propensity, probability = slate_propensities(
        score_1C, np.ones_like(score_1C, bool), engine.slate, chosen_1L
    )
    return max(
        _gap(propensity[0], slate["propensities"]), _gap(probability[0], slate["probabilities"])
    )


def _score_gap(engine: Engine, slate: Record) -> float:
    now = engine.scorer.now(slate["user_id"], slate["moment"])
    row = engine.scorer.ranker.row
    item_C = np.array([row.get(item, 0) for item in slate["candidate_ids"]], np.int64)
    again_C = engine.scorer.scores(now, item_C) if len(item_C) else np.zeros(0)
    return _gap(again_C, slate["scores"])


def _gap(one: object, other: object) -> float:
    left, right = np.asarray(one, np.float64), np.asarray(other, np.float64)
    if left.shape != right.shape:
        return np.inf
    gap = float(np.abs(left - right).max(initial=0.0))
    return np.inf if np.isnan(gap) else gap  # no maximum holds what is no number

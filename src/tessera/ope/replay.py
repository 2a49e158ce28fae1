"""Both policies replayed on the served log: what each wants, and its weights.

Shapes: N requests, L positions, C candidates.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tessera.ope.estimators import SlateLog
from tessera.ope.exposures import NOBODY, Bools, Floats, Ints, Requests, Scores
from tessera.ope.params import OpeParams
from tessera.ope.shelf import Shelf
from tessera.ope.spending import Standing
from tessera.policies.serving import ServingPolicy, read_policy
from tessera.policies.slate import SlatePolicy, slate_propensities, step_probabilities
from tessera.policies.suitability import PRUDENT, Unknown, suitable

Ahead = Callable[[Ints, Bools], Floats]
"""What a policy wants at the next position: from numbers of requests R and the candidates that are
open there RC to probabilities RC."""


@dataclass(frozen=True, slots=True)
class Replay:
    """What one policy would have done where the log stands."""

    wanted_NLC: Floats
    """P(candidate | items above) of this policy."""
    weight_NL: Floats
    """w_1:k of the item shown."""
    weight_NLC: Floats
    """w_1:k had this candidate been shown; 0 where the log could not show it."""
    ahead: Ahead | None = None
    """The policy under slates that were not served; None where only the log knows it."""

    @property
    def above_NL(self) -> Floats:
        """w_1:k-1."""
        return np.concatenate([np.ones_like(self.weight_NL[:, :1]), self.weight_NL[:, :-1]], axis=1)


@dataclass(frozen=True, slots=True)
class Case:
    """Two policies on one log."""

    log: Requests
    candidate: Replay
    champion: Replay
    policy: ServingPolicy
    """What the candidate is judged under."""
    champion_policy: ServingPolicy | None
    """What the champion was published with; None if it is the policy that wrote the log."""
    allowed_NC: Bools
    """Candidates that the investor may hold, as known at the request."""
    unscored: int
    """Requests that the candidate did not score."""
    score_hash: str
    standing: Standing
    """Which share of alpha the candidate gets."""
    known_to_champion: int = 0
    """Requests that the champion may have learnt from."""

    @property
    def champion_is(self) -> str:
        """What stands against the candidate."""
        return "logging policy" if self.champion_policy is None else "published model"

    @property
    def identical(self) -> bool:
        """Would both show the same with the same probabilities, on every request."""
        return np.array_equal(self.candidate.wanted_NLC, self.champion.wanted_NLC)


def build_case(
    log: Requests,
    scores: Scores,
    published: Path,
    shelf: Shelf,
    standing: Standing,
    params: OpeParams,
) -> Case:
    """Replay candidate and champion as each would be served: suitability, slate, exploration.

    Without scores of a published model the champion is the logging policy itself.

    Raises
    ------
    BrokenBundle
        If a published model does not say in `published` under which policy it serves.
    """
    allowed_NC = _allowed(log, shelf)
    policy = candidate_policy(params, log, shelf.unknown)

    def served(score_NC: Floats, slate: SlatePolicy) -> Replay:
        return scored_replay(log, score_NC, allowed_NC, slate)

    if scores.champion_NC is None:
        rules, champion = None, logging_policy(log)
    else:
        rules = read_policy(published)
        champion = served(scores.champion_NC, rules.slate)
    itself = params.candidate == "champion"
    return Case(
        log=log,
        candidate=champion if itself else served(scores.candidate_NC, policy.slate),
        champion=champion,
        policy=policy,
        champion_policy=rules,
        allowed_NC=allowed_NC,
        unscored=0 if itself else scores.missing,
        score_hash=fingerprint(scores.candidate_NC),
        standing=standing,
        known_to_champion=_known(log, published),
    )


def _known(log: Requests, published: Path) -> int:
    """Count the requests up to the published model's own cut, which need not be the run's."""
    path = published / "champion.json"
    cut = json.loads(path.read_text()).get("learnt_until") if path.exists() else None
    if cut is None:
        return 0
    cut_us = round(datetime.fromisoformat(cut).timestamp() * 1_000_000)
    return int((log.event_us_N <= cut_us).sum())


def candidate_policy(params: OpeParams, log: Requests, unknown: Unknown = PRUDENT) -> ServingPolicy:
    """Return the policy that would be published: that of the params, on slates as logged."""
    slate = SlatePolicy(params.temperature, params.epsilon, params.top_k)
    size = log.chosen_NL.shape[1] if len(log) else None
    return ServingPolicy(slate, size, unknown=unknown)


def fingerprint(*arrays: npt.NDArray[Any]) -> str:
    """SHA-256 of arrays, so that a verdict names what it was made from."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _allowed(log: Requests, shelf: Shelf) -> Bools:
    real_NC = log.candidate_NC != NOBODY
    fits_NC = suitable(log.risk_N[:, None], shelf.risk_I[log.candidate_NC], shelf.unknown)
    return np.asarray(real_NC & fits_NC)


def logging_policy(log: Requests) -> Replay:
    """Return the policy that served: every weight is exactly 1."""
    return Replay(log.served_NLC, np.ones(log.chosen_NL.shape), np.ones(log.served_NLC.shape))


def scored_replay(log: Requests, score_NC: Floats, allowed_NC: Bools, slate: SlatePolicy) -> Replay:
    """Weigh the served slates by a slate policy over these scores."""

    def ahead(row_R: Ints, open_RC: Bools) -> Floats:
        return step_probabilities(score_NC[row_R], open_RC, slate)

    wanted_NLC = slate_propensities(score_NC, allowed_NC, slate, log.chosen_NL)[1]
    return replay(log, wanted_NLC, ahead)


def replay(log: Requests, wanted_NLC: Floats, ahead: Ahead | None = None) -> Replay:
    """Weigh the served slates by a policy that wants `wanted`."""
    ratio_NLC = ratio(wanted_NLC, log.served_NLC)
    step_NL = np.where(log.chosen_NL == NOBODY, 1.0, shown(ratio_NLC, log))
    weight_NL: Floats = np.cumprod(step_NL, axis=1, dtype=np.float64)
    above_NL = np.concatenate([np.ones_like(step_NL[:, :1]), weight_NL[:, :-1]], axis=1)
    return Replay(wanted_NLC, weight_NL, above_NL[:, :, None] * ratio_NLC, ahead)


def ratio(wanted: Floats, served: Floats) -> Floats:
    """Divide what a policy wants by what the log serves; 0 where the log could not show it."""
    return np.divide(wanted, served, out=np.zeros_like(wanted), where=served > 0)


def shown(value_NLC: Floats, log: Requests) -> Floats:
    """Take the value of the item shown; 0 where the position is empty."""
    at_NL1 = np.maximum(log.chosen_NL, 0)[:, :, None]
    value_NL = np.take_along_axis(value_NLC, at_NL1, axis=2)[:, :, 0]
    return np.where(log.chosen_NL == NOBODY, 0.0, value_NL)


def slate_log(log: Requests, policy: Replay, reward_NL: Floats, guess_NLC: Floats) -> SlateLog:
    """Gather what the slate estimators take; `guess` is the reward model of every candidate."""
    return SlateLog(
        reward_NL=reward_NL,
        weight_NL=policy.weight_NL,
        guess_NL=shown(guess_NLC, log),
        baseline_NL=(policy.wanted_NLC * guess_NLC).sum(axis=2),
    )


def unsupported(log: Requests, policy: Replay) -> Floats:
    """Probability that the policy shows what the log never could, per request (at most L)."""
    gap_NLC: Bools = (log.served_NLC <= 0) & (policy.wanted_NLC > 0)
    return np.asarray((policy.above_NL[:, :, None] * policy.wanted_NLC * gap_NLC).sum(axis=(1, 2)))


def mass_beyond(policies: Iterable[Replay], ceiling: float) -> float:
    """How many items of a request the policies would show with a weight above the ceiling."""
    found = 0.0
    for policy in policies:
        heavy_NLC = policy.wanted_NLC * (policy.weight_NLC > ceiling)
        found += float((policy.above_NL[:, :, None] * heavy_NLC).sum()) / len(heavy_NLC)
    return found


def mean_one(log: Requests, policy: Replay) -> Floats:
    """Request weights w_1:L with mean 1 if propensities are right, also where slates end early."""
    mass_NL = policy.wanted_NLC.sum(axis=2)
    step_NL = policy.weight_NL - policy.above_NL * mass_NL
    return np.asarray(1.0 + np.where(log.chosen_NL == NOBODY, 0.0, step_NL).sum(axis=1))

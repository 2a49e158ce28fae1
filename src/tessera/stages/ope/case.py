"""Candidate and champion on one log, each as it would be served.

Shapes: N requests, L positions, C candidates.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc

from tessera.contracts.arrays import Bools, Float64s
from tessera.offpolicy.replay import (
    Replay,
    fingerprint,
    logging_policy,
    replay,
    same_until,
    scored_replay,
)
from tessera.offpolicy.requests import NOBODY, Requests, Scores
from tessera.shared.policies.serving import ServingPolicy, read_policy
from tessera.shared.policies.slate import SlatePolicy
from tessera.shared.policies.suitability import PRUDENT, Unknown, suitable
from tessera.stages.ope.lookup import Lookup
from tessera.stages.ope.params import OpeParams
from tessera.stages.ope.spending import Standing

_ROUNDING = 1e-5
"""Scores of the service and of the batch differ by some 2e-6 where they rest on the same.  So much
at each of L positions moves what is earned by L (L + 1) / 2 times as much at most."""


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
    by_champion: int = 0
    """Requests that the champion served."""
    as_logged: int = 0
    """Those of them that its replay gives with the logged probabilities."""

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
    lookup: Lookup,
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
    allowed_NC = suited(log, lookup)
    policy = candidate_policy(params, log, lookup.unknown)

    def served(score_NC: Float64s, slate: SlatePolicy) -> Replay:
        return scored_replay(log, score_NC, allowed_NC, slate)

    if scores.champion_NC is None:
        rules, champion = None, logging_policy(log)
    else:
        rules = read_policy(published)
        champion = served(scores.champion_NC, rules.slate)
    itself = params.candidate == "champion"
    candidate = champion if itself else served(scores.candidate_NC, policy.slate)
    if rules is not None and not np.array_equal(candidate.wanted_NLC, champion.wanted_NLC):
        champion = as_logged(champion, log)
    told = _published(published)
    by_champion_N = _served_by(told, log)
    return Case(
        log=log,
        candidate=candidate,
        champion=champion,
        policy=policy,
        champion_policy=rules,
        allowed_NC=allowed_NC,
        unscored=0 if itself else scores.missing,
        score_hash=fingerprint(scores.candidate_NC),
        standing=standing,
        known_to_champion=_known(told, log),
        by_champion=int(by_champion_N.sum()),
        as_logged=int((by_champion_N & _same(champion, log).all(axis=1)).sum()),
    )


def as_logged(policy: Replay, log: Requests) -> Replay:
    """Return a policy with the logged probabilities where it served, but for rounding.

    What it earned there is what was seen: every weight is exactly 1, and no prefix can cost more
    than the slate holds, so that the paired score may be bet more on.
    """
    is_same_NL1 = _same(policy, log)[:, :, None]
    return replay(log, np.where(is_same_NL1, log.served_NLC, policy.wanted_NLC), policy.ahead)


def _same(policy: Replay, log: Requests) -> Bools:
    return same_until(policy.wanted_NLC, log.served_NLC, _ROUNDING)


def _published(folder: Path) -> dict[str, Any]:
    """Read what is said of the champion; nothing where it stands outside a registry."""
    path = folder / "champion.json"
    return dict(json.loads(path.read_text())) if path.exists() else {}


def _served_by(champion: Mapping[str, Any], log: Requests) -> Bools:
    """Mark the requests that the champion served, by the name under which it was published."""
    version = champion.get("version")
    if version is None or log.policy_ids is None:
        return np.zeros(len(log), dtype=np.bool_)
    return np.asarray(pc.equal(log.policy_ids, version), dtype=np.bool_)


def _known(champion: Mapping[str, Any], log: Requests) -> int:
    """Count the requests up to the published model's own cut, which need not be the run's."""
    cut = champion.get("learnt_until")
    if cut is None:
        return 0
    cut_us = round(datetime.fromisoformat(cut).timestamp() * 1_000_000)
    return int((log.event_us_N <= cut_us).sum())


def candidate_policy(params: OpeParams, log: Requests, unknown: Unknown = PRUDENT) -> ServingPolicy:
    """Return the policy that would be published: that of the params, on slates as logged."""
    slate = SlatePolicy(params.temperature, params.epsilon, params.top_k)
    size = log.chosen_NL.shape[1] if len(log) else None
    return ServingPolicy(slate, size, unknown=unknown)


def suited(log: Requests, lookup: Lookup) -> Bools:
    """Mark the candidates that the investor of each request may hold, as known at the time."""
    real_NC = log.candidate_NC != NOBODY
    fits_NC = suitable(log.risk_N[:, None], lookup.risk_I[log.candidate_NC], lookup.unknown)
    return np.asarray(real_NC & fits_NC)

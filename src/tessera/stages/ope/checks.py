"""Whether this log can answer the question.

Shapes: N requests, L positions, C candidates.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tessera.contracts.arrays import Float64s
from tessera.contracts.verdict import OF_CHAMPION
from tessera.offpolicy.estimators import effective_size
from tessera.offpolicy.replay import Replay, mean_one, shown, unsupported
from tessera.offpolicy.requests import NOBODY, Requests
from tessera.stages.ope.params import OpeParams
from tessera.stages.ope.verdict import Check

_TOLERANCE = 1e-6
_ROUNDING = 1e-9
"""Weights of the logging policy are 1 but for rounding: no test is made of that."""


def log_checks(log: Requests, params: OpeParams) -> list[Check]:
    """Ask that every probability was logged, possible and consistent, and all of it once."""
    twice = log.counts["outcomes_duplicate"] / max(log.counts["outcomes"], 1)
    filled_NL = log.chosen_NL != NOBODY
    propensity = log.propensity_NL[filled_NL]
    possible = np.isfinite(propensity) & (propensity > 0) & (propensity <= 1 + _TOLERANCE)
    listed = shown(log.served_NLC, log)[filled_NL]
    sums_NL = log.served_NLC.sum(axis=2)
    return [
        _none("impossible_propensities", (~possible).sum(), "propensities outside (0, 1]"),
        _none(
            "outside_candidates",
            log.counts["exposures_outside_candidates"],
            "items shown that are not in the logged candidate set",
        ),
        _none(
            "duplicate_exposures",
            log.counts["exposures_duplicate"],
            "exposures logged more than once",
        ),
        Check("duplicate_outcomes", twice, params.max_duplicates, twice <= params.max_duplicates,
              "outcomes logged more than once"),
        _none(
            "propensity_mismatches",
            (~(np.abs(propensity - listed) <= _TOLERANCE)).sum(),
            "logged propensities differ from those of the candidate set",
        ),
        _none(
            "sums_not_one",
            (~(np.abs(sums_NL[filled_NL] - 1) <= _TOLERANCE)).sum(),
            "candidate propensities do not sum to 1",
        ),
    ]  # fmt: skip


def overlap_checks(
    log: Requests, candidate: Replay, champion: Replay, params: OpeParams
) -> list[Check]:
    """Ask that the served slates say enough about what each policy would have shown."""
    policies = candidate, champion
    worst = max(float(unsupported(log, policy).mean()) for policy in policies)
    support = Check("unsupported_mass", worst, _TOLERANCE, worst <= _TOLERANCE,
                    "the log never could show what one of the policies would")  # fmt: skip
    found = [
        weight_checks(
            mean_one(log, policy),
            policy.weight_NL[:, -1],
            (policy.weight_NL * log.reward_NL).sum(axis=1),
            params,
        )
        for policy in policies
    ]
    blamed = [replace(check, says=OF_CHAMPION + check.says) for check in found[1]]
    return [support, *(_worse(*pair) for pair in zip(found[0], blamed, strict=True))]


def weight_checks(
    centred_N: Float64s, weight_N: Float64s, contribution_N: Float64s, params: OpeParams
) -> list[Check]:
    """Ask that weights have mean 1, that enough of them count, and that none decides alone.

    Parameters
    ----------
    centred_N : array
        Something with mean 1 if the propensities are right: the weights, or `mean_one`.
    weight_N : array
        Importance weights of the units.
    contribution_N : array
        What each unit adds to the estimate, non-negative.
    params : OpeParams
        Thresholds.
    """
    z = _z(centred_N)
    ess = effective_size(weight_N)
    share = _largest_share(contribution_N)
    return [
        Check("mean_weight_z", z, params.max_z, abs(z) < params.max_z,
              "the mean weight is not 1, so the propensities are not those that served"),
        Check("ess", ess, params.min_ess, ess >= params.min_ess,
              "the policy differs too much from what was served"),
        Check("largest_share", share, params.max_share, share <= params.max_share,
              "a single request carries the estimate"),
    ]  # fmt: skip


def _worse(one: Check, *others: Check) -> Check:
    """Return the first that fails, else the first: the candidate stands before the champion."""
    return next((check for check in (one, *others) if not check.ok), one)


def _none(name: str, found: float, says: str) -> Check:
    return Check(name, float(found), 0.0, found == 0, says)


def _z(weight_N: Float64s) -> float:
    off_N = weight_N - 1.0
    spread = float(off_N.std())
    if spread < _ROUNDING:
        return 0.0
    return float(off_N.mean() / (spread / np.sqrt(len(off_N))))


def _largest_share(contribution_N: Float64s) -> float:
    total = float(contribution_N.sum())
    return float(contribution_N.max()) / total if total > 0 else 1.0

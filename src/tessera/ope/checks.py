"""Whether this log can answer the question, and whether the answer would break anything else.

Shapes: N requests, L positions, C candidates, I items.
"""

from __future__ import annotations

import numpy as np

from tessera.metrics.diversity import coverage, gini
from tessera.ope.bounds import clustered_normal
from tessera.ope.estimators import cascade_dr, effective_size
from tessera.ope.exposures import NOBODY, Bools, Floats, Ints, Requests
from tessera.ope.params import OpeParams
from tessera.ope.replay import Replay, mean_one, shown, slate_log, unsupported
from tessera.ope.verdict import Check

_TOLERANCE = 1e-6
_ROUNDING = 1e-9
"""Weights of the logging policy are 1 but for rounding: no test is made of that."""


def log_checks(log: Requests) -> list[Check]:
    """Ask that every probability was logged, possible and consistent, and every slate once."""
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
    ]


def overlap_checks(log: Requests, policies: list[Replay], params: OpeParams) -> list[Check]:
    """Ask that the served slates say enough about what each policy would have shown."""
    worst = max(float(unsupported(log, policy).mean()) for policy in policies)
    support = Check("unsupported_mass", worst, _TOLERANCE, worst <= _TOLERANCE,
                    "the log never could show what the candidate would")  # fmt: skip
    found = [
        weight_checks(
            mean_one(log, policy),
            policy.weight_NL[:, -1],
            (policy.weight_NL * log.reward_NL).sum(axis=1),
            params,
        )
        for policy in policies
    ]
    return [support, *(_worse(*pair) for pair in zip(*found, strict=True))]


def weight_checks(
    centred_N: Floats, weight_N: Floats, contribution_N: Floats, params: OpeParams
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
              "the candidate differs too much from what was served"),
        Check("largest_share", share, params.max_share, share <= params.max_share,
              "a single request carries the estimate"),
    ]  # fmt: skip


def _worse(one: Check, *others: Check) -> Check:
    """Return the first that fails, else the first: the candidate stands before the champion."""
    return next((check for check in (one, *others) if not check.ok), one)


def guardrails(
    log: Requests, candidate: Replay, champion: Replay, allowed_NC: Bools, params: OpeParams
) -> list[Check]:
    """Ask that the candidate shows nothing unsuitable, annoys no more and narrows nothing."""
    nothing = np.zeros(log.served_NLC.shape)
    more_N = cascade_dr(slate_log(log, candidate, log.dismissed_NL, nothing)) - cascade_dr(
        slate_log(log, champion, log.dismissed_NL, nothing)
    )
    dismissals = clustered_normal(more_N, log.user_N, params.alpha).upper
    violations = float((candidate.wanted_NLC * ~allowed_NC[:, None, :]).sum())
    shown_I, was_I = expected_shows(log, candidate), expected_shows(log, champion)
    narrower = gini(shown_I) - gini(was_I)
    kept = coverage(shown_I) / max(coverage(was_I), 1e-9)
    return [
        Check("suitability_violations", violations, 0.0, violations == 0.0,
              "it would show what an investor may not hold"),
        Check("dismissals_upper", dismissals, params.max_dismissals,
              dismissals <= params.max_dismissals, "it may be dismissed more often"),
        Check("gini_rise", narrower, params.max_gini, narrower <= params.max_gini,
              "it would concentrate on fewer items"),
        Check("coverage_kept", kept, params.min_coverage, kept >= params.min_coverage,
              "it would show less of the catalogue"),
    ]  # fmt: skip


def expected_shows(log: Requests, policy: Replay) -> Ints:
    """How often a policy would have shown each item on these requests, to the nearest time."""
    mass_NLC: Floats = policy.above_NL[:, :, None] * policy.wanted_NLC
    mass_NC = mass_NLC.sum(axis=1)
    real_NC = log.candidate_NC != NOBODY
    times_I = np.bincount(log.candidate_NC[real_NC], weights=mass_NC[real_NC])
    return np.rint(times_I).astype(np.int64)


def _none(name: str, found: float, says: str) -> Check:
    return Check(name, float(found), 0.0, found == 0, says)


def _z(weight_N: Floats) -> float:
    off_N = weight_N - 1.0
    spread = float(off_N.std())
    if spread < _ROUNDING:
        return 0.0
    return float(off_N.mean() / (spread / np.sqrt(len(off_N))))


def _largest_share(contribution_N: Floats) -> float:
    total = float(contribution_N.sum())
    return float(contribution_N.max()) / total if total > 0 else 1.0

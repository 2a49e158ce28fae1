"""What a candidate would earn and gain by every estimator: shown beside the bounds, none decides.

Shapes: N requests, L positions, C candidates.
"""

from __future__ import annotations

from dataclasses import asdict
from functools import partial

from tessera.contracts.arrays import Float64s, Ints
from tessera.offpolicy.bounds import skew_corrected
from tessera.offpolicy.clusters import (
    ClusterLog,
    mips,
    offcem,
)
from tessera.offpolicy.estimators import SLATE_ESTIMATORS, SlateEstimator, cascade_dr
from tessera.offpolicy.replay import mass_beyond, slate_log
from tessera.offpolicy.tuning import CEILINGS, choose_ceiling
from tessera.stages.ope.case import Case
from tessera.stages.ope.document import Document
from tessera.stages.ope.guardrails import GuardrailInputs
from tessera.stages.ope.params import OpeParams


def lifts_of(
    case: Case, guess_NLC: Float64s, params: OpeParams
) -> tuple[dict[str, Float64s], float]:
    """Paired differences, candidate minus champion, of every estimator; and SWITCH-DR's ceiling."""
    seen = [
        slate_log(case.log, policy, case.log.reward_NL, guess_NLC)
        for policy in (case.candidate, case.champion)
    ]

    def lift(estimate: SlateEstimator, ceiling: float) -> Float64s:
        return estimate(seen[0], ceiling) - estimate(seen[1], ceiling)

    beyond = partial(mass_beyond, (case.candidate, case.champion))
    switched = partial(lift, SLATE_ESTIMATORS["switch_dr"])
    ceiling = params.ceiling or choose_ceiling(switched, beyond, case.log.user_N, CEILINGS)
    return {name: lift(each, ceiling) for name, each in SLATE_ESTIMATORS.items()}, ceiling


def top_lift(
    case: Case, beside: GuardrailInputs, guess_NLC: Float64s, params: OpeParams
) -> Document | None:
    """Lift of the top position alone, by clusters of items; None without codes."""
    if beside.cluster_NC is None:
        return None
    return {
        name: asdict(skew_corrected(d_N, case.log.user_N, params.alpha))
        for name, d_N in top_lifts(case, beside.cluster_NC, guess_NLC).items()
    }


def values(case: Case, guess_NLC: Float64s, params: OpeParams) -> Document:
    """Value of each policy by DR."""
    log = case.log
    found = {}
    for name, policy in (("candidate", case.candidate), ("champion", case.champion)):
        value_N = cascade_dr(slate_log(log, policy, log.reward_NL, guess_NLC))
        found[name] = asdict(skew_corrected(value_N, log.user_N, params.alpha))
    return found


def top_lifts(case: Case, cluster_NC: Ints, guess_NLC: Float64s) -> dict[str, Float64s]:
    """Paired differences, candidate minus champion, of what the top position earns."""
    log = case.log
    seen = [
        ClusterLog(
            reward_N=log.reward_NL[:, 0],
            chosen_N=log.chosen_NL[:, 0],
            served_NC=log.served_NLC[:, 0],
            wanted_NC=policy.wanted_NLC[:, 0],
            guess_NC=guess_NLC[:, 0],
            cluster_NC=cluster_NC,
        )
        for policy in (case.candidate, case.champion)
    ]
    return {
        "mips": mips(seen[0]) - mips(seen[1]),
        "offcem": offcem(seen[0]) - offcem(seen[1]),
    }

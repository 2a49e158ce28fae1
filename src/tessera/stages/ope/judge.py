"""From two policies on one log to the document that opens or shuts the gate.

Shapes: N requests, L positions, C candidates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np

from tessera.contracts.arrays import Float64s
from tessera.offpolicy.bounds import skew_corrected
from tessera.offpolicy.holm import share_of
from tessera.offpolicy.paired import Paired, distinct, paired_scores
from tessera.offpolicy.replay import fingerprint
from tessera.offpolicy.sequences import Wager
from tessera.offpolicy.slices import slices
from tessera.stages.ope import checks
from tessera.stages.ope.case import Case
from tessera.stages.ope.conditions import (
    Scored,
    conditions,
    lower_bounds,
    lower_path,
    periods,
    sequence_lower,
    upper_path,
)
from tessera.stages.ope.controls import control_checks, controls
from tessera.stages.ope.document import Document, check_row, looks_at, weight_facts
from tessera.stages.ope.estimates import lifts_of, top_lift, values
from tessera.stages.ope.guardrails import GuardrailInputs, guardrails
from tessera.stages.ope.params import OpeParams
from tessera.stages.ope.verdict import Check, Decision, Evidence, decide

METRIC = "clicked or bought items per request"
AGREEING = ("snrips", "dr", "switch_dr")
"""Estimators that must agree in sign before anything is promoted."""


@dataclass(frozen=True, slots=True)
class CandidateEstimate:
    """What a case says of its candidate at whatever level: no array of it has candidates.

    Several of these fit where one `Case` does, so a batch replays one policy after the other.
    """

    paired: Sequence[Paired]
    """Candidate over champion, by each pair of caps; the last pays least."""
    scored: Scored
    """The same as the bounds take it."""
    lift_N: Float64s
    """Doubly robust lift."""
    estimates: Document
    """Section of verdict.json."""
    prechecks: list[Check]
    guardrails: list[Check]
    identical: bool


def judge(case: Case, beside: GuardrailInputs, guess_NLC: Float64s, params: OpeParams) -> Document:
    """Estimate, check, bound and decide.

    Parameters
    ----------
    case : Case
        The two policies on the log.
    beside : Beside
        What the guardrails look at besides.
    guess_NLC : array
        Reward model in [0, 1], from before the cut.
    params : OpeParams
        Thresholds and error rates.

    Returns
    -------
    dict
        Sections of verdict.json.
    """
    faults = log_faults(case, params)
    if any(not check.ok for check in faults):  # no estimate is worth reading then
        return unanswered(case, beside, guess_NLC, faults)
    share = share_of(case.standing.alpha, case.standing.k)
    weighed = weigh(case, beside, guess_NLC, faults, params)
    return report(case, beside, guess_NLC, params, weighed, share)


def unanswered(
    case: Case, beside: GuardrailInputs, guess_NLC: Float64s, faults: list[Check]
) -> Document:
    """Say what is wrong with the log.  Nobody could choose by it, so no candidate was weighed."""
    decision, reason = decide(Evidence(faults, [], 0.0, 0.0, []))
    return {"decision": decision, "reason": reason, **_sides(case), "candidate": None,
            "prechecks": [check_row(check) for check in faults], **_size(case),
            "inputs": _inputs(case, beside, guess_NLC)}  # fmt: skip


def weigh(
    case: Case, beside: GuardrailInputs, guess_NLC: Float64s, faults: list[Check], params: OpeParams
) -> CandidateEstimate:
    """Estimate and check; what the bounds are is left to the level.  Arguments as `judge`."""
    lifts, ceiling = lifts_of(case, guess_NLC, params)
    lift = {name: skew_corrected(d_N, case.log.user_N, params.alpha)
            for name, d_N in lifts.items()}  # fmt: skip
    overlap = checks.overlap_checks(case.log, case.candidate, case.champion, params)
    paired = pair(case, guess_NLC, params)
    return CandidateEstimate(
        paired=paired,
        scored=_scored(case, paired),
        lift_N=lifts["dr"],
        estimates={
            **values(case, guess_NLC, params),
            "lift": {name: asdict(found) for name, found in lift.items()},
            "switch_ceiling": ceiling,
            "top_lift": top_lift(case, beside, guess_NLC, params),
        },
        prechecks=[*faults, *overlap],
        guardrails=guardrails(case, beside, params),
        identical=case.identical,
    )


def pair(case: Case, guess_NLC: Float64s, params: OpeParams) -> list[Paired]:
    """Score the candidate over the champion by each pair of caps; the last pays least."""
    both = case.candidate, case.champion
    return [
        paired_scores(case.log, both, case.allowed_NC, guess_NLC, *caps)
        for caps in distinct(params.caps, case.champion, case.log)
    ]


def _scored(case: Case, paired: Sequence[Paired]) -> Scored:
    log, widest = case.log, paired[-1]
    wagers = tuple(Wager(one.score_N, one.floor) for one in paired)
    most = float(log.chosen_NL.shape[1])
    return Scored(wagers, widest.score_N, most, log.user_N, log.event_us_N, case.standing.look)


def passes(weighed: CandidateEstimate, level: float, params: OpeParams) -> bool:
    """Whether every lower bound of the lift lies above what is needed, at this error rate."""
    return lower_bounds(weighed.scored, level).hold(0.0 - params.margin)


def bounds(weighed: CandidateEstimate, level: float) -> tuple[float, float]:
    """Return the lower and the upper bound of the lift; identical policies differ by exactly 0."""
    if weighed.identical:
        return 0.0, 0.0
    last_T = np.array([len(weighed.lift_N)])
    upper = float(upper_path(weighed.lift_N, level, last_T, weighed.scored.most)[0])
    return sequence_lower(weighed.scored, level), upper


def decided(
    weighed: CandidateEstimate, bounded: tuple[float, float], level: float, params: OpeParams
) -> tuple[Decision, str]:
    """Apply the rule to the bounds as they stand after the last request."""
    signs = [weighed.estimates["lift"][name]["mean"] for name in AGREEING]
    return decide(
        Evidence(
            weighed.prechecks,
            weighed.guardrails,
            *bounded,
            signs,
            params.margin,
            weighed.identical,
            conditions(weighed.scored, level, params.margin),
        )
    )


def report(
    case: Case,
    beside: GuardrailInputs,
    guess_NLC: Float64s,
    params: OpeParams,
    weighed: CandidateEstimate,
    level: float,
) -> Document:
    """Say all there is to say of a policy that was weighed.  Arguments and result as `judge`."""
    controlled = controls(case, weighed.paired, guess_NLC, params)
    weighed = replace(weighed, prechecks=[*weighed.prechecks, *control_checks(controlled)])
    lower, upper = bounds(weighed, level)
    decision, reason = decided(weighed, (lower, upper), level, params)
    lift = weighed.estimates["lift"]["dr"]["mean"]
    champion = weighed.estimates["champion"]["mean"]
    primary = {"metric": METRIC, "alpha": case.standing.alpha,
               "k": case.standing.k, "alpha_k": share_of(case.standing.alpha, case.standing.k),
               "level": level, "look": case.standing.look, "margin": params.margin, "lift": lift,
               "lower": lower, "upper": upper,
               "relative_lift": lift / champion if champion else None,
               "paid": float(weighed.paired[-1].paid_N.mean())}  # fmt: skip
    return {
        "decision": decision,
        "reason": reason,
        **_sides(case),
        "primary": primary,
        "estimates": weighed.estimates,
        "sequence": _sequence(weighed, level),
        "conditions": [
            check_row(check) for check in conditions(weighed.scored, level, params.margin)
        ],
        "periods": periods(weighed.scored, level),
        "prechecks": [check_row(check) for check in weighed.prechecks],
        "guardrails": [check_row(check) for check in weighed.guardrails],
        "weights": weight_facts(case.candidate),
        "controls": controlled,
        "slices": slices(case.log, weighed.lift_N, params.alpha),
        **_size(case),
        "inputs": _inputs(case, beside, guess_NLC),
    }


def _sequence(weighed: CandidateEstimate, level: float) -> Document:
    """Both bounds as they stood after some of the requests."""
    at_T = looks_at(len(weighed.lift_N))
    return {
        "requests": at_T.tolist(),
        "lower": lower_path(weighed.scored, level, at_T).tolist(),
        "upper": upper_path(weighed.lift_N, level, at_T, weighed.scored.most).tolist(),
    }


def log_faults(case: Case, params: OpeParams) -> list[Check]:
    """Ask of the log what does not depend on how the candidate would be served."""
    share = case.log.dropped_share
    dropped = Check("requests_dropped", share, params.max_dropped, share <= params.max_dropped,
                    "too many requests lost a part of their slate")  # fmt: skip
    unscored = Check("unscored_requests", case.unscored, 0, case.unscored == 0,
                     "the candidate did not score them")  # fmt: skip
    size = case.log.chosen_NL.shape[1]
    was = size if case.champion_policy is None else case.champion_policy.slate_size or size
    other = Check("slate_size", size, was, size == was,
                  "the champion was published for slates of another size")  # fmt: skip
    known = Check("champion_has_seen", case.known_to_champion, 0, case.known_to_champion == 0,
                  "the champion learnt until after them: cut later")  # fmt: skip
    own = case.as_logged / case.by_champion if case.by_champion else 1.0
    itself = Check("champion_as_served", own, params.min_as_served, own >= params.min_as_served,
                   "what the champion served does not come out of its replay")  # fmt: skip
    return [dropped, unscored, other, known, itself, *checks.log_checks(case.log, params)]


def _sides(case: Case) -> Document:
    """Say what is judged against what."""
    was = case.champion_policy
    return {
        "candidate": case.standing.candidate,
        "champion": case.champion_is,
        "policy": case.policy.facts(),
        "champion_policy": None if was is None else was.facts(),
    }


def _size(case: Case) -> Document:
    users = len(np.unique(case.log.user_N))
    own = {"requests": case.by_champion, "as_logged": case.as_logged}
    return {"n_requests": len(case.log), "n_users": users, "champion_served": own}


def _inputs(case: Case, beside: GuardrailInputs, guess_NLC: Float64s) -> Document:
    """SHA-256 of what was judged, as arrays."""
    log, return_NC = case.log, beside.return_NC
    more = {"returns": return_NC, "clusters": beside.cluster_NC}
    return {
        "exposures": fingerprint(log.event_us_N, log.candidate_NC, log.chosen_NL, log.served_NLC),
        "outcomes": fingerprint(log.reward_NL, log.dismissed_NL),
        "scores": case.score_hash,
        "reward_model": fingerprint(guess_NLC),
        **{name: fingerprint(part) for name, part in more.items() if part is not None},
    }

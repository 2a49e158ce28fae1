"""From two policies on one log to the document that opens or shuts the gate.

Shapes: N requests, L positions, C candidates.
"""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

import numpy as np

from tessera.ope import checks
from tessera.ope.bounds import confidence_sequence, skew_corrected
from tessera.ope.controls import controls
from tessera.ope.estimators import (
    cascade_dm,
    cascade_dr,
    cascade_switch_dr,
    effective_size,
    rips,
    snrips_influence,
)
from tessera.ope.exposures import Floats, Requests
from tessera.ope.guardrails import Beside, guardrails
from tessera.ope.holm import spent
from tessera.ope.params import OpeParams
from tessera.ope.replay import Case, Replay, excess, fingerprint, score_floor, slate_log
from tessera.ope.slices import slices
from tessera.ope.tuning import CEILINGS, choose_ceiling
from tessera.ope.verdict import DECISIONS, Check, Evidence, decide

FORMAT = 1
"""Version of verdict.json."""
METRIC = "clicked or bought items per request"
AGREEING = ("snrips", "dr", "switch_dr")
"""Estimators that must agree in sign before anything is promoted."""
KEYS = (
    "decision",
    "reason",
    "candidate",
    "champion",
    "policy",
    "champion_policy",
    "cut",
    "primary",
    "estimates",
    "sequence",
    "prechecks",
    "guardrails",
    "weights",
    "controls",
    "slices",
    "n_requests",
    "n_users",
    "requests_dropped",
    "counts",
    "inputs",
    "params",
)
"""Keys of verdict.json after `version`."""
_PATH_POINTS = 40
_SIGNIFICANT = 10

Document = dict[str, Any]


def judge(case: Case, beside: Beside, guess_NLC: Floats, params: OpeParams) -> Document:
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
    faults = _faults(case, params)
    if any(not check.ok for check in faults):  # no estimate is worth reading then
        decision, reason = decide(Evidence(faults, [], 0.0, 0.0, []))
        # Nobody could choose by it, so it is no candidate that was weighed.
        return {"decision": decision, "reason": reason, **_sides(case), "candidate": None,
                "prechecks": [_row(check) for check in faults], **_size(case),
                "inputs": _inputs(case, beside, guess_NLC)}  # fmt: skip
    return _weigh(case, beside, guess_NLC, faults, params)


def _weigh(
    case: Case, beside: Beside, guess_NLC: Floats, faults: list[Check], params: OpeParams
) -> Document:
    lifts, ceiling = _lifts(case, guess_NLC, params)
    lift = {name: skew_corrected(d_N, case.log.user_N, params.alpha)
            for name, d_N in lifts.items()}  # fmt: skip
    share = spent(params.alpha, case.standing.k)
    lower_N, upper_N = sequences(case, guess_NLC, params.cap, share)
    lower, upper = float(lower_N[-1]), float(upper_N[-1])
    overlap = checks.overlap_checks(case.log, case.candidate, case.champion, params)
    prechecks = [*faults, *overlap]
    rails = guardrails(case, beside, params)
    signs = [lift[name].mean for name in AGREEING]
    decision, reason = decide(
        Evidence(prechecks, rails, lower, upper, signs, params.margin, case.identical)
    )
    values = _values(case, guess_NLC, params)
    primary = {"metric": METRIC, "bound": params.bound, "alpha": params.alpha,
               "k": case.standing.k, "alpha_k": share, "margin": params.margin,
               "lift": lift["dr"].mean, "lower": lower, "upper": upper,
               "relative_lift": _ratio(lift["dr"].mean, values["champion"]["mean"])}  # fmt: skip
    return {
        "decision": decision,
        "reason": reason,
        **_sides(case),
        "primary": primary,
        "estimates": {
            **values,
            "lift": {name: asdict(found) for name, found in lift.items()},
            "switch_ceiling": ceiling,
        },
        "sequence": _path(lower_N, upper_N),
        "prechecks": [_row(check) for check in prechecks],
        "guardrails": [_row(check) for check in rails],
        "weights": _weights(case.candidate),
        "controls": controls(case, guess_NLC, params, share),
        "slices": slices(case.log, lifts["dr"], params.alpha),
        **_size(case),
        "inputs": _inputs(case, beside, guess_NLC),
    }


def document(found: Document) -> Document:
    """Lay a verdict out in its order; what was not found is null, so no reader misses a key."""
    return {"version": FORMAT, **{key: _rounded(found.get(key)) for key in KEYS}}


def metrics(written: Document) -> dict[str, float]:
    """Flatten what is worth following from run to run."""
    flat = {f"is_{name.lower()}": float(written["decision"] == name) for name in DECISIONS}
    if written["primary"] is not None:
        flat |= {name: written["primary"][name] for name in ("lift", "lower", "upper")}
        weights = written["weights"]
        flat |= {
            "ess": weights["ess"],
            "mean_weight": weights["mean"],
            "max_weight": weights["max"],
        }
        flat["requests"] = float(written["n_requests"])
    return flat


def _faults(case: Case, params: OpeParams) -> list[Check]:
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
    return [dropped, unscored, other, known, *checks.log_checks(case.log, params)]


def _sides(case: Case) -> Document:
    """Say what is judged against what."""
    was = case.champion_policy
    return {
        "candidate": case.standing.candidate,
        "champion": case.champion_is,
        "policy": case.policy.facts(),
        "champion_policy": None if was is None else was.facts(),
    }


def dropped(log: Requests) -> Document:
    """Count the requests that were left out, and why."""
    return {
        "requests": sum(log.dropped.values()),
        "share": log.dropped_share,
        "reasons": log.dropped,
    }


def _size(case: Case) -> Document:
    users = len(np.unique(case.log.user_N))
    return {"n_requests": len(case.log), "n_users": users}


def _inputs(case: Case, beside: Beside, guess_NLC: Floats) -> Document:
    """SHA-256 of what was judged, as arrays."""
    log, return_NC = case.log, beside.return_NC
    returns = {} if return_NC is None else {"returns": fingerprint(return_NC)}
    return {
        "exposures": fingerprint(log.event_us_N, log.candidate_NC, log.chosen_NL, log.served_NLC),
        "outcomes": fingerprint(log.reward_NL, log.dismissed_NL),
        "scores": case.score_hash,
        "reward_model": fingerprint(guess_NLC),
        **returns,
    }


def sequences(case: Case, guess_NLC: Floats, cap: float, alpha: float) -> tuple[Floats, Floats]:
    """Anytime-valid lower and upper bound of the lift after each request.

    The upper bound is the lower bound of how much better the champion is: no weight is cut.
    """
    floor = score_floor(case.log.chosen_NL.shape[1], cap)
    gain_N = excess(case.log, case.candidate, case.champion, guess_NLC, cap)
    loss_N = excess(case.log, case.champion, case.candidate, guess_NLC, cap)
    return (
        confidence_sequence(gain_N, floor, alpha),
        -confidence_sequence(loss_N, floor, alpha),
    )


def _lifts(case: Case, guess_NLC: Floats, params: OpeParams) -> tuple[dict[str, Floats], float]:
    """Paired differences, candidate minus champion, of every estimator; and SWITCH-DR's ceiling."""
    zero_NLC = np.zeros(guess_NLC.shape)
    seen = [
        slate_log(case.log, policy, case.log.reward_NL, guess_NLC)
        for policy in (case.candidate, case.champion)
    ]
    plain = [
        slate_log(case.log, policy, case.log.reward_NL, zero_NLC)
        for policy in (case.candidate, case.champion)
    ]

    def switched(ceiling: float) -> Floats:
        return cascade_switch_dr(seen[0], ceiling) - cascade_switch_dr(seen[1], ceiling)

    ceiling = params.ceiling or choose_ceiling(switched, case.log.user_N, CEILINGS, params.alpha)
    return {
        "rips": rips(plain[0]) - rips(plain[1]),
        "snrips": snrips_influence(plain[0]) - snrips_influence(plain[1]),
        "dm": cascade_dm(seen[0]) - cascade_dm(seen[1]),
        "dr": cascade_dr(seen[0]) - cascade_dr(seen[1]),
        "switch_dr": switched(ceiling),
    }, ceiling


def _values(case: Case, guess_NLC: Floats, params: OpeParams) -> Document:
    """Value of each policy by DR."""
    log = case.log
    values = {}
    for name, policy in (("candidate", case.candidate), ("champion", case.champion)):
        value_N = cascade_dr(slate_log(log, policy, log.reward_NL, guess_NLC))
        values[name] = asdict(skew_corrected(value_N, log.user_N, params.alpha))
    return values


def _row(check: Check) -> Document:
    return {
        "name": check.name,
        "value": float(check.value),
        "threshold": float(check.threshold),
        "says": check.says,
        "ok": None if check.ok is None else bool(check.ok),
    }


def _weights(policy: Replay) -> Document:
    weight_N = policy.weight_NL[:, -1]
    edges = [0.0, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, np.inf]
    return {
        "mean": float(weight_N.mean()),
        "max": float(weight_N.max()),
        "ess": effective_size(weight_N),
        "ess_share": effective_size(weight_N) / len(weight_N),
        "histogram": {
            "upper_edges": [*edges[1:-1], None],
            "requests": np.histogram(weight_N, edges)[0].tolist(),
        },
    }


def _path(lower_N: Floats, upper_N: Floats) -> Document:
    """Thin the sequences for a picture."""
    at = np.unique(np.linspace(0, len(lower_N) - 1, _PATH_POINTS).astype(int))
    return {
        "requests": (at + 1).tolist(),
        "lower": lower_N[at].tolist(),
        "upper": upper_N[at].tolist(),
    }


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _rounded(value: Any) -> Any:
    """Keep ten significant digits, the same on any number of threads; JSON knows no infinity."""
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_rounded(inner) for inner in value]
    if isinstance(value, float):
        return float(f"{value:.{_SIGNIFICANT}g}") if math.isfinite(value) else None
    return value

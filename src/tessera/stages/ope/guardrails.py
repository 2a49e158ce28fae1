"""Whether a better answer would break anything else: each guardrail by a bound that suits it.

To pass, all of them must hold, so each is held to the whole error rate of its candidate
(intersection-union).  Bounds of dismissals and return are for one look, so the i-th look at a
candidate gets the i-th share of that rate: however often the log is looked at, a candidate that
breaks one passes with at most that rate.  What is a fact about the log, the codes or the model is
compared as it is; so is concentration, a weighted estimate whose bound is not known.  One that
could not be measured holds the candidate, unless there is nothing to measure it by: no price, no
ranking head, no dismissal.

Shapes: N requests, L positions, C candidates, I items.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from tessera.contracts.arrays import Float64s, Ints
from tessera.offpolicy.bounds import Interval, skew_corrected
from tessera.offpolicy.estimators import cascade_dr, effective_size
from tessera.offpolicy.holm import share_of
from tessera.offpolicy.replay import Replay, slate_log
from tessera.offpolicy.requests import NOBODY, Requests
from tessera.shared.metrics.calibration import equal_mass_calibration_error
from tessera.shared.metrics.diversity import coverage, gini
from tessera.stages.ope.case import Case
from tessera.stages.ope.code_health import CodeHealth
from tessera.stages.ope.params import OpeParams
from tessera.stages.ope.spending import Standing
from tessera.stages.ope.verdict import Check

_HEAD = 0.01
"""Share of the items whose share of what is shown is watched."""


@dataclass(frozen=True, slots=True)
class GuardrailInputs:
    """What the served log does not say; None where it cannot be measured."""

    return_NC: Float64s | None = None
    """What each candidate earned in the month after the request, NaN where nobody knows; None
    where nothing has a price."""
    codes_per_item: float | None = None
    """Effective number of semantic IDs, by the items that need one: 1 if each has its own."""
    code_health: CodeHealth | None = None
    """Use, crowding and collisions of the codes; None where no codebook stands behind them."""
    chance_NC: Float64s | None = None
    """Probability by the candidate model that each is clicked or bought at the top; None without a
    ranking head."""
    mflops: float | None = None
    """Million operations that the candidate model spends on a request."""
    effect_weight: float | None = None
    """How much its scores are moved by effects, which no bundle carries."""
    cluster_NC: Ints | None = None
    """Cluster of each candidate by its code; for estimates that decide nothing."""


class Guardrail(Protocol):
    """What must not get worse: one check, or several that share their work."""

    def __call__(self, case: Case, beside: GuardrailInputs, params: OpeParams, /) -> list[Check]:
        """Measure it on the log of a case; the thresholds are params."""


def guardrails(case: Case, beside: GuardrailInputs, params: OpeParams) -> list[Check]:
    """Ask that the candidate shows nothing unsuitable, annoys no more, costs and narrows nothing.

    Parameters
    ----------
    case : Case
        The two policies on the log.
    beside : GuardrailInputs
        Returns of the candidates and the state of the codes.
    params : OpeParams
        Thresholds and the error rate of each bound.
    """
    return [check for each in GUARDRAILS.values() for check in each(case, beside, params)]


def more_dismissals(case: Case, params: OpeParams) -> Interval:
    """Bound the rise of dismissals by investor, as a share of what the champion is estimated at.

    The champion's rate is an estimate of the same log, so bounded is the difference that decides,
    the candidate's dismissals beyond (1 + `max_dismissals_rise`) times the champion's, request by
    request; the upper bound is within the limit if and only if that difference is below 0.

    A spread says nothing of what was never seen: an item that the log shows rarely may be dismissed
    often, and no dismissal of it be logged.  So the upper bound also pays for ln(1 / alpha) of
    `effective_size` requests, as many as may be hidden behind a count of 0 (the rule of three).
    """
    limit, log = 1 + params.max_dismissals_rise, case.log
    was_N = _dismissals(case, case.champion)
    beyond = _bounded(_dismissals(case, case.candidate) - limit * was_N, log.user_N, case, params)
    size = effective_size(case.candidate.weight_NL[:, -1])
    unseen = math.log(1 / look_share(case.standing, params)) / size if size > 0 else np.inf
    rate = float(was_N.mean())
    if rate == 0.0:  # nothing that the champion shows was ever dismissed: no share of it is known
        return Interval(np.inf, np.inf, -np.inf, np.inf)
    bounds = beyond.mean, beyond.lower, beyond.upper + unseen
    mean, lower, upper = (bound / rate + limit - 1 for bound in bounds)
    return Interval(mean, beyond.stderr / rate, lower, upper)


def roi_gain(case: Case, return_NC: Float64s, params: OpeParams) -> Interval | None:
    """Bound the monthly return of what is shown that the candidate adds, by item.

    Returns are of priced items alone, as in `metrics.profit.roi`.  Investors share the luck of an
    item, so items are the units, each with how much more it is shown times by how much it beats
    what is shown today.  None if fewer than two items have a known return.
    """
    known_NC = np.isfinite(return_NC) & (case.log.candidate_NC != NOBODY)
    priced_I, item_R = np.unique(case.log.candidate_NC[known_NC], return_inverse=True)
    items = len(priced_I)
    if items < 2:
        return None
    share_R, was_R = (_share(_mass(policy)[known_NC]) for policy in (case.candidate, case.champion))
    beats_R = return_NC[known_NC] - was_R @ return_NC[known_NC]
    gain_I = np.bincount(item_R, (share_R - was_R) * beats_R).astype(np.float64)
    return _bounded(items * gain_I, np.arange(items), case, params)


def calibration_error(log: Requests, chance_NC: Float64s) -> float | None:
    """Gap of what is foretold of the item shown at the top and what came of it, in ten bins.

    Unweighted: the gap on what the log shows, not on what the candidate would show, for which rare
    requests of great weight would have to speak.  None if no request has a top.
    """
    top_N = log.chosen_NL[:, 0]
    rows = np.flatnonzero(top_N != NOBODY)
    if len(rows) == 0:
        return None
    return equal_mass_calibration_error(chance_NC[rows, top_N[rows]], log.reward_NL[rows, 0])


def expected_shows(log: Requests, policy: Replay) -> Ints:
    """How often a policy would have shown each item on these requests, to the nearest time."""
    real_NC = log.candidate_NC != NOBODY
    times_I = np.bincount(log.candidate_NC[real_NC], weights=_mass(policy)[real_NC])
    return np.rint(times_I).astype(np.int64)


def _mass(policy: Replay) -> Float64s:
    """Return how often each request would have shown each candidate, at any position."""
    mass_NLC: Float64s = policy.above_NL[:, :, None] * policy.wanted_NLC
    return np.asarray(mass_NLC.sum(axis=1))


def _share(shown_R: Float64s) -> Float64s:
    return np.asarray(shown_R / max(float(shown_R.sum()), 1e-9))


def _suitability(case: Case, _beside: GuardrailInputs, _params: OpeParams) -> list[Check]:
    wrong = case.candidate.wanted_NLC * ~case.allowed_NC[:, None, :]
    says = "it would show what an investor may not hold"
    return [_most("suitability_violations", float(wrong.sum()), 0.0, says)]


def _annoyance(case: Case, _beside: GuardrailInputs, params: OpeParams) -> list[Check]:
    ever = bool(case.log.dismissed_NL.any())
    upper = more_dismissals(case, params).upper if ever else None
    return [
        _most("dismissals_upper", upper, params.max_dismissals_rise,
              "it may be dismissed more often", may_lack=not ever)
    ]  # fmt: skip


def _return(case: Case, beside: GuardrailInputs, params: OpeParams) -> list[Check]:
    earned = None if beside.return_NC is None else roi_gain(case, beside.return_NC, params)
    return [
        _least("roi_lower", None if earned is None else earned.lower, -params.max_roi_loss,
               "what it would show may earn less", may_lack=beside.return_NC is None)
    ]  # fmt: skip


def _concentration(case: Case, _beside: GuardrailInputs, params: OpeParams) -> list[Check]:
    shown_I = expected_shows(case.log, case.candidate)
    was_I = expected_shows(case.log, case.champion)
    kept = coverage(shown_I) / max(coverage(was_I), 1e-9)
    return [
        _most("gini_rise", gini(shown_I) - gini(was_I), params.max_gini,
              "it would concentrate on fewer items"),
        _most("top_share_rise", _head_share(shown_I) - _head_share(was_I), params.max_top_share,
              "it would show the same few items to everybody"),
        _least("coverage_kept", kept, params.min_coverage, "it would show less of the catalogue"),
    ]  # fmt: skip


def _codes(_case: Case, beside: GuardrailInputs, params: OpeParams) -> list[Check]:
    capacity = _least("sid_capacity", beside.codes_per_item, params.min_sid_capacity,
                      "its codes cannot tell the items apart")  # fmt: skip
    health = beside.code_health
    if health is None:
        return [capacity]
    return [
        capacity,
        _most("sid_collisions", health.collisions, params.max_sid_collisions,
              "too many items share a code with another one"),
        _least("sid_use", health.use, params.min_sid_use,
               "a level of its codes leaves most of its codewords unused"),
        _least("sid_told_apart", health.told_apart, params.min_sid_told_apart,
               "its codewords lie within the noise of each other"),
        _least("sid_survival", health.survival, params.min_sid_survival,
               "too many items would get another code from slightly other data"),
    ]  # fmt: skip


def _calibration(case: Case, beside: GuardrailInputs, params: OpeParams) -> list[Check]:
    chance_NC = beside.chance_NC
    error = None if chance_NC is None else calibration_error(case.log, chance_NC)
    return [
        _most("calibration_error", error, params.max_calibration_error,
              "its probabilities are not what happens", may_lack=chance_NC is None)
    ]  # fmt: skip


def _operations(_case: Case, beside: GuardrailInputs, params: OpeParams) -> list[Check]:
    says = "a request may wait too long for it"
    return [_most("mflops_per_request", beside.mflops, params.max_mflops, says)]


def _effects(_case: Case, beside: GuardrailInputs, _params: OpeParams) -> list[Check]:
    says = "it was judged by effects that a bundle does not carry"
    return [_most("unserved_effects", beside.effect_weight, 0.0, says)]


GUARDRAILS: dict[str, Guardrail] = {
    "suitability": _suitability,
    "dismissals": _annoyance,
    "return": _return,
    "concentration": _concentration,
    "codes": _codes,
    "calibration": _calibration,
    "operations": _operations,
    "effects": _effects,
}
"""In the order in which a verdict lists them."""


def _head_share(shown_I: Ints) -> float:
    """Share of what is shown that the most shown items take, at least one item."""
    head = max(1, round(_HEAD * len(shown_I)))
    return float(np.sort(shown_I)[-head:].sum() / max(shown_I.sum(), 1))


def _dismissals(case: Case, policy: Replay) -> Float64s:
    """Return the weighted dismissals of each request; their mean is the rate of the policy."""
    nothing_NLC = np.zeros(case.log.served_NLC.shape)
    return cascade_dr(slate_log(case.log, policy, case.log.dismissed_NL, nothing_NLC))


def _bounded(value_N: Float64s, cluster_N: Ints, case: Case, params: OpeParams) -> Interval:
    """Bound a mean at the share of this look; one cluster says nothing of others.

    In closed form: the shares of late looks lie beyond what redraws can tell.
    """
    return skew_corrected(value_N, cluster_N, look_share(case.standing, params))


def look_share(standing: Standing, params: OpeParams) -> float:
    """Error rate of a bound that holds for one look, at this look at this candidate.

    The shares of all looks at all candidates add up to alpha; the policies of a batch divide theirs
    evenly.
    """
    alpha = min(standing.alpha, params.alpha) / len(params.temperatures)
    return share_of(share_of(alpha, standing.k), standing.look)


def _most(
    name: str, value: float | None, threshold: float, says: str, *, may_lack: bool = False
) -> Check:
    if value is None:
        return _unknown(name, threshold, says, may_lack)
    return Check(name, value, threshold, value <= threshold, says)


def _least(
    name: str, value: float | None, threshold: float, says: str, *, may_lack: bool = False
) -> Check:
    if value is None:
        return _unknown(name, threshold, says, may_lack)
    return Check(name, value, threshold, value >= threshold, says)


def _unknown(name: str, threshold: float, says: str, may_lack: bool) -> Check:
    return Check(name, np.nan, threshold, ok=None, says=says, may_lack=may_lack)

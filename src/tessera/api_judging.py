"""What a policy would have earned: replay policies on a log of exposures, and judge them.

Shapes: N requests, L positions, C candidates.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import ibis.expr.types as ir
import numpy as np
import pyarrow as pa

from tessera.contracts import arrays
from tessera.contracts.arrays import Bools, Float64s
from tessera.contracts.cut import moment
from tessera.contracts.errors import BadInput
from tessera.contracts.frames import Frame, as_arrow, conform
from tessera.contracts.rules import EARLIEST
from tessera.contracts.tables import EXPOSURES, ITEMS, OUTCOMES, SCORES, USERS
from tessera.offpolicy.bounds import Interval
from tessera.offpolicy.holm import share_of
from tessera.offpolicy.replay import Replay, logging_policy, replay, scored_replay
from tessera.offpolicy.requests import NOBODY, Requests
from tessera.shared.policies.serving import ServingPolicy
from tessera.shared.policies.slate import SlatePolicy
from tessera.stages.ope import judge as gate
from tessera.stages.ope.case import Case, suited
from tessera.stages.ope.exposures import aligned_scores
from tessera.stages.ope.guardrails import GuardrailInputs
from tessera.stages.ope.lookup import read_lookup
from tessera.stages.ope.params import OpeParams
from tessera.stages.ope.reading import read_case_log
from tessera.stages.ope.reward_model import guess, read_shown
from tessera.stages.ope.spending import Standing

_TOLERANCE = 1e-6


@dataclass(frozen=True, slots=True)
class ExposureLog:
    """Logged slates that policies are judged on, in time order."""

    requests: Requests
    """The slates as arrays: `candidate_NC`, `chosen_NL`, `served_NLC`, `reward_NL`, ..."""
    item_ids: pa.Array
    """Item of each number in `requests.candidate_NC`."""
    allowed_NC: Bools
    """Candidates that may be shown."""
    guess_NLC: Float64s
    """Reward model, learnt from what was answered before the cut; 0 where that is too little."""
    params: OpeParams


def read_log(
    exposures: Frame,
    outcomes: Frame,
    *,
    users: Frame | None = None,
    items: Frame | None = None,
    cut: datetime | str | None = None,
    params: OpeParams | None = None,
) -> ExposureLog:
    """Read what was shown, with which probability, and what came of it.

    Parameters
    ----------
    exposures : Frame
        request_id, position (1 is the top), user_id, item_id, event_ts (UTC), propensity,
        candidate_ids and candidate_propensities: one row a position, as the contract says.
    outcomes : Frame
        request_id, item_id, action and event_ts (UTC).  A click or a purchase within
        `data.window_days` earns 1; requests younger than that window are not judged.
    users, items : Frame, optional
        With risk classes: only suitable items may be shown.  Without both of them every candidate
        may be, and the reward model knows less.
    cut : datetime or str, optional
        Only later requests are judged, and the reward model learns from earlier ones; all requests
        and no reward model if there is none.
    params : OpeParams, optional
        As section `ope` of params.yaml.

    Raises
    ------
    BadInput
        If a column is missing, a row breaks the contract, or no request is left to judge.
    """
    params = params or OpeParams()
    shown = conform(
        exposures, EXPOSURES, {"policy_id": "unnamed", "context_version": "unnamed"}, repeats=True
    )
    done = conform(outcomes, OUTCOMES, {"value": 0.0}, repeats=True)
    if (users is None) != (items is None):
        raise BadInput("what suits is told by users and items together: give both or neither")
    unrated = users is None or items is None
    people = _people(shown) if unrated else conform(users, USERS, {})
    lookup = read_lookup(
        _candidates(shown) if unrated else conform(items, ITEMS, {"name": "unnamed"}), people
    )
    begins = moment(cut) or EARLIEST
    read = read_case_log(shown, done, people, lookup.item_ids, begins, params.window_days)
    if not len(read.log):
        raise BadInput(
            "no request is left to judge: whole slates must follow the cut, and the last exposure "
            f"must follow them by {params.window_days:g} days (data.window_days)"
        )
    allowed_NC = read.log.candidate_NC != NOBODY if unrated else suited(read.log, lookup)
    guess_NLC = guess(read_shown(read.past, lookup), read.log, lookup, params)
    return ExposureLog(read.log, lookup.item_ids, allowed_NC, guess_NLC, params)


def policy_that_served(log: ExposureLog) -> Replay:
    """Return the policy that wrote the log."""
    return logging_policy(log.requests)


def policy_by_scores(log: ExposureLog, scores: Frame, slate: SlatePolicy | None = None) -> Replay:
    """Replay a slate policy over somebody's scores of the logged candidates.

    Parameters
    ----------
    log : ExposureLog
        What `read_log` returned.
    scores : Frame
        request_id, candidate_ids (as in the exposures) and candidate_scores (higher is better).
        Requests that are not judged may be there too.
    slate : SlatePolicy, optional
        How scores become slates: temperature (in units of the scores), epsilon, top_k.

    Raises
    ------
    BadInput
        If a judged request is not scored, not for the candidates logged, or a score is no number.
    """
    rows = as_arrow(scores, SCORES.name)
    mine = [name for name in ("request_id", "candidate_ids", "candidate_scores") if name in
            rows.column_names]  # fmt: skip
    found = aligned_scores(conform(rows.select(mine), SCORES, {}), log.requests, log.item_ids)
    if found.missing:
        raise BadInput(
            f"{found.missing} of {len(log.requests)} requests are not scored for the candidates "
            "that were logged: score all of them"
        )
    try:
        arrays.check(candidate_NC=found.candidate_NC)
    except ValueError as error:
        raise BadInput(f"scores: {error}") from error
    return scored_replay(log.requests, found.candidate_NC, log.allowed_NC, slate or SlatePolicy())


def policy_by_probabilities(log: ExposureLog, wanted_NLC: Float64s) -> Replay:
    """Replay a policy whose probabilities somebody computed.

    It is known on the logged slates alone, so `judge` takes the worst of what it would do below
    others: the lower bound is lower than that of the same policy by its scores.

    Parameters
    ----------
    log : ExposureLog
        What `read_log` returned.
    wanted_NLC : array
        P(candidate | items logged above) at each position, as `log.requests.served_NLC`.

    Raises
    ------
    ValueError
        If it is of another shape, holds what is no probability, does not sum to 1 where something
        was shown, or is positive for an item placed above.
    """
    served_NLC = log.requests.served_NLC
    arrays.check(served_NLC=served_NLC, wanted_NLC=wanted_NLC)
    _check_probabilities(log.requests, wanted_NLC)
    return replay(log.requests, np.asarray(wanted_NLC, np.float64))


@dataclass(frozen=True, slots=True)
class Answer:
    """What a log says of a candidate against a champion; nothing is published by it."""

    decision: str
    """PROMOTE, HOLD, REJECT or INVALID, by the rule of the gate."""
    reason: str
    lift: float | None
    """Clicked or bought items per request that the candidate adds (DR); None if INVALID by the log
    itself."""
    lower: float | None
    """Lower bound of the lift over the requests seen, at every look at once."""
    upper: float | None
    estimates: dict[str, Interval]
    """Lift by each estimator, with one-sided bounds at `ope.alpha`: rips, snrips, dm, dr and
    switch_dr.  None of them decides."""
    sections: dict[str, Any]
    """All sections of verdict.json that the log alone can fill."""


def judge(
    log: ExposureLog, candidate: Replay, champion: Replay, *, k: int = 1, look: int = 1
) -> Answer:
    """Say by how much the candidate beats the champion, and how sure that is, as the gate does.

    What the gate knows besides the log (returns, codes, calibration, cost) is not measured here
    and excused, and the reason names it.  Nobody counts for you how often a log was asked.

    Parameters
    ----------
    log : ExposureLog
        What `read_log` returned, with its params: alpha, margin, least effective sample size, ...
    candidate, champion : Replay
        Policies on this log.
    k : int
        Place of this candidate among all that were ever judged on this log, from 1: it gets the
        share 6 / (pi k)^2 of alpha.
    look : int
        Place of this look among those at this candidate, from 1, as the log grows.

    Raises
    ------
    ValueError
        If k or look is below 1, or a policy was replayed on another log.
    """
    if look < 1:
        raise ValueError(f"looks count from 1, not from {look}")
    arrays.check(served_NLC=log.requests.served_NLC, candidate_NLC=candidate.wanted_NLC,
                 champion_NLC=champion.wanted_NLC)  # fmt: skip
    params, share = log.params, share_of(log.params.alpha, k)
    case, beside = _case(log, candidate, champion, k, look), GuardrailInputs()
    faults = gate.log_faults(case, params)
    if any(not check.ok for check in faults):
        return _answer(gate.unanswered(case, beside, log.guess_NLC, faults))
    weighed = gate.weigh(case, beside, log.guess_NLC, faults, params)
    excused = [replace(one, may_lack=one.may_lack or one.ok is None) for one in weighed.guardrails]
    weighed = replace(weighed, guardrails=excused)
    return _answer(gate.report(case, beside, log.guess_NLC, params, weighed, share))


def _answer(found: dict[str, Any]) -> Answer:
    of_sides = ("candidate", "champion", "policy", "champion_policy", "inputs")
    sections = {name: part for name, part in found.items() if name not in of_sides}
    primary, estimates = found.get("primary", {}), found.get("estimates", {})
    return Answer(
        decision=found["decision"],
        reason=found["reason"],
        lift=primary.get("lift"),
        lower=primary.get("lower"),
        upper=primary.get("upper"),
        estimates={name: Interval(**one) for name, one in estimates.get("lift", {}).items()},
        sections=sections,
    )


def _case(log: ExposureLog, candidate: Replay, champion: Replay, k: int, look: int) -> Case:
    return Case(
        log=log.requests,
        candidate=candidate,
        champion=champion,
        policy=ServingPolicy(SlatePolicy(), log.requests.chosen_NL.shape[1]),
        champion_policy=None,
        allowed_NC=log.allowed_NC,
        unscored=0,
        score_hash="",
        standing=Standing("unregistered", k, look, log.params.alpha),
    )


def _check_probabilities(log: Requests, wanted_NLC: Float64s) -> None:
    if wanted_NLC.min(initial=0.0) < 0:
        raise ValueError("wanted_NLC is negative somewhere: give probabilities")
    off_NL = np.abs(wanted_NLC.sum(axis=2) - 1)
    if off_NL[log.chosen_NL != NOBODY].max(initial=0.0) > _TOLERANCE:
        raise ValueError("wanted_NLC does not sum to 1 at each position: divide it by its sum")
    for position in range(1, wanted_NLC.shape[1]):
        above_NK = log.chosen_NL[:, :position]
        again_NK = np.take_along_axis(wanted_NLC[:, position], np.maximum(above_NK, 0), axis=1)
        if again_NK[above_NK != NOBODY].max(initial=0.0) > 0:
            raise ValueError("wanted_NLC shows items again that stand above: they have chance 0")


def _people(exposures: ir.Table) -> ir.Table:
    ids = exposures.select("user_id").distinct().to_pyarrow()
    return conform(ids.append_column("valid_from", pa.array([EARLIEST] * len(ids))), USERS, {})


def _candidates(exposures: ir.Table) -> ir.Table:
    ids = exposures.select(item_id=exposures.candidate_ids.unnest())
    ids = ids.union(exposures.select("item_id")).distinct()
    return conform(ids.to_pyarrow(), ITEMS, {"name": "unnamed"})

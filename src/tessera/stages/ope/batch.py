"""Several ways to serve one model, judged on one log; the best that passes is proposed.

The best of several is the luckiest of several: each is held to Holm (`holm.levels`) within the
share of alpha that one candidate would have had, so a batch errs no more often than one.

Shapes: L positions, C candidates, N requests, K policies.
"""

from __future__ import annotations

from collections.abc import Callable

from tessera.contracts.arrays import Float64s
from tessera.offpolicy.holm import levels, share_of
from tessera.stages.ope.case import Case
from tessera.stages.ope.document import Document
from tessera.stages.ope.guardrails import GuardrailInputs
from tessera.stages.ope.judge import (
    CandidateEstimate,
    bounds,
    decided,
    judge,
    log_faults,
    passes,
    report,
    unanswered,
    weigh,
)
from tessera.stages.ope.params import OpeParams
from tessera.stages.ope.verdict import Decision

Build = Callable[[OpeParams], Case]
_BEST_FIRST: tuple[Decision, ...] = ("PROMOTE", "HOLD", "REJECT", "INVALID")


def judge_batch(
    build: Build, beside: GuardrailInputs, guess_NLC: Float64s, params: OpeParams
) -> Document:
    """Judge every temperature and report on the one that is proposed.

    Of those that are promoted it is the one with the highest lower bound at alpha / K; if none is,
    of those that are held, and so on: what is told of a model is the best way to serve it.  A batch
    of one is judged as it always was.

    Parameters
    ----------
    build : callable
        Replays the candidate at the temperature of the params it gets.
    beside, guess_NLC, params
        As `judge`; the params are those of the whole batch.

    Returns
    -------
    dict
        Sections of verdict.json.
    """
    case = build(params)
    if not params.further_temperatures:
        return judge(case, beside, guess_NLC, params)
    faults = log_faults(case, params)
    if any(not check.ok for check in faults):
        found = unanswered(case, beside, guess_NLC, faults)
        return {**found, "batch": unjudged(found, params)}
    served = [params.model_copy(update={"temperature": one}) for one in params.temperatures]
    share = share_of(case.standing.alpha, case.standing.k)
    weighed_K = [weigh(case, beside, guess_NLC, faults, params)]
    del case  # its arrays are N x L x C, so one policy is replayed at a time
    weighed_K += [weigh(build(one), beside, guess_NLC, faults, one) for one in served[1:]]
    level_K = _levels(weighed_K, share, params)
    rows = [_row(*one, params) for one in zip(params.temperatures, weighed_K, level_K, strict=True)]
    # Bounds at different levels cannot be compared: whoever passes late is held to less.
    strict = share / len(weighed_K)
    best = _proposed(rows, [bounds(one, strict)[0] for one in weighed_K])
    found = report(build(served[best]), beside, guess_NLC, params, weighed_K[best], level_K[best])
    # Negative controls are computed for the one that is proposed, and may still refuse it.
    told = {name: found[name] for name in ("decision", "reason")}
    rows[best] = {**rows[best], **told, "proposed": True}
    return {**found, "batch": rows}


def unjudged(found: Document, params: OpeParams) -> list[Document] | None:
    """Lay out the batch of a log that cannot answer: one reason for all, and no estimate."""
    if not params.further_temperatures:
        return None
    nothing = dict.fromkeys(("lift", "lower", "upper", "level"))
    return [
        {"temperature": one, "decision": found["decision"], "reason": found["reason"], **nothing,
         "proposed": one == params.temperature}
        for one in params.temperatures
    ]  # fmt: skip


def _levels(weighed_K: list[CandidateEstimate], share: float, params: OpeParams) -> list[float]:
    def passing(k: int, level: float) -> bool:
        return passes(weighed_K[k], level, params)

    return levels(passing, len(weighed_K), share)


def _row(
    temperature: float, weighed: CandidateEstimate, level: float, params: OpeParams
) -> Document:
    lower, upper = bounds(weighed, level)
    decision, reason = decided(weighed, (lower, upper), level, params)
    return {
        "temperature": temperature,
        "decision": decision,
        "reason": reason,
        "lift": weighed.estimates["lift"]["dr"]["mean"],
        "lower": lower,
        "upper": upper,
        "level": level,
        "proposed": False,
    }


def _proposed(rows: list[Document], lower_K: list[float]) -> int:
    """Find the policy with the highest of these bounds among those that came out best."""
    came = [row["decision"] for row in rows]
    best = next(decision for decision in _BEST_FIRST if decision in came)
    return max((k for k, one in enumerate(came) if one == best), key=lambda k: lower_K[k])

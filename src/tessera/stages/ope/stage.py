"""Entry of ope: what the candidate would have earned, and whether that is enough to promote."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

from ibis import Table

from tessera.contracts.split import load_split
from tessera.offpolicy.requests import Requests
from tessera.shared.policies.suitability import read_unknown
from tessera.stages.ope import exposures as served
from tessera.stages.ope.batch import judge_batch, unjudged
from tessera.stages.ope.case import build_case, candidate_policy
from tessera.stages.ope.code_health import read_code_health
from tessera.stages.ope.document import Document, document, dropped, metrics
from tessera.stages.ope.forward_returns import (
    codes_per_item,
    mflops_per_request,
    read_closes,
    returns_after,
    unserved_effects,
)
from tessera.stages.ope.guardrails import GuardrailInputs
from tessera.stages.ope.lookup import prefix_clusters, read_lookup
from tessera.stages.ope.params import OpeParams
from tessera.stages.ope.ranked import ranked
from tessera.stages.ope.reading import read_case_log
from tessera.stages.ope.reward_model import guess, read_shown
from tessera.stages.ope.spending import read_standing


def run(
    *,
    exposures: Table,
    outcomes: Table,
    scores: Table,
    items: Table,
    users: Table,
    prices: Table,
    split: Path,
    suitability: Path,
    ranking: Path,
    model: Path,
    champion: Path,
    codes: Table,
    sid_health: Path,
    verdict: Path,
    standing: Path,
    params: OpeParams,
) -> dict[str, float]:
    """Judge the candidate on the requests after the cut and write the verdict."""
    cut = load_split(split).cut
    lookup = read_lookup(items, users, read_unknown(suitability))
    read = read_case_log(exposures, outcomes, users, lookup.item_ids, cut, params.window_days)
    log = read.log
    stands = read_standing(standing, params)
    coded = codes.to_pyarrow()
    found: Document = {}
    if len(log) > 0 and not stands.loosened:
        scored = served.aligned_scores(scores, log, lookup.item_ids)
        build = partial(build_case, log, scored, champion, lookup, stands)
        return_NC = returns_after(log, read_closes(prices, lookup.item_ids))
        beside = GuardrailInputs(
            return_NC=return_NC,
            codes_per_item=codes_per_item(coded),
            code_health=read_code_health(coded, sid_health),
            chance_NC=scored.chance_NC,
            mflops=mflops_per_request(model),
            effect_weight=unserved_effects(model),
            cluster_NC=prefix_clusters(coded, lookup.item_ids)[log.candidate_NC],
        )
        guess_NLC = guess(read_shown(read.past, lookup), log, lookup, params)
        found = judge_batch(build, beside, guess_NLC, params)
    else:
        why = _too_loose(stands.loosened) or _nothing(exposures, log)
        found = {"decision": "INVALID", "reason": why, "n_requests": len(log)}
        found["policy"] = candidate_policy(params, log, lookup.unknown).facts()
        found["ranking"] = ranked(ranking)
        found["batch"] = unjudged(found, params)
    found["counts"] = read.counts
    found["requests_dropped"] = dropped(log)
    found |= stands.facts
    written = document({**found, "cut": cut.isoformat(), "params": params.model_dump(mode="json")})
    verdict.write_text(json.dumps(written, indent=2) + "\n")
    return metrics(written)


def _too_loose(loosened: tuple[str, ...]) -> str | None:
    """Say which params ask for less than the registry does, and what to do."""
    if not loosened:
        return None
    return (
        f"{'; '.join(loosened)}: tighten it, or move the floor by `tessera floors` and judge again"
    )


def _nothing(exposures: Table, log: Requests) -> str:
    """Say why there is nothing to judge by."""
    if log.dropped_share > 0:
        return "no slate after the cut was logged whole: see requests_dropped"
    if exposures.limit(1).to_pyarrow().num_rows == 0:
        return "no exposures: this source never logged what it showed, so nothing can be judged"
    return "no exposures after the cut: move the cut back, or wait until the policy has served"

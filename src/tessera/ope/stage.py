"""The door of ope: what the candidate would have earned, and whether that is enough to promote."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

from ibis import Table

from tessera.contracts.split import load_split
from tessera.ope import exposures as served
from tessera.ope.batch import judge_batch, unjudged
from tessera.ope.clusters import prefix_clusters
from tessera.ope.document import Document, document, dropped, metrics
from tessera.ope.guardrails import Beside
from tessera.ope.outlook import (
    codes_per_item,
    mflops_per_request,
    read_closes,
    returns_after,
    unserved_effects,
)
from tessera.ope.page import write_page
from tessera.ope.params import OpeParams
from tessera.ope.ranked import ranked
from tessera.ope.reading import read_case_log
from tessera.ope.replay import build_case, candidate_policy
from tessera.ope.reward_model import guess, read_shown
from tessera.ope.shelf import read_shelf
from tessera.ope.spending import read_standing
from tessera.policies.suitability import read_unknown


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
    verdict: Path,
    verdict_page: Path,
    standing: Path,
    params: OpeParams,
) -> dict[str, float]:
    """Judge the candidate on the requests after the cut and write the verdict and its page."""
    cut = load_split(split).cut
    shelf = read_shelf(items, users, read_unknown(suitability))
    read = read_case_log(exposures, outcomes, users, shelf.item_ids, cut, params.window_days)
    log = read.log
    stands = read_standing(standing, params)
    coded = codes.to_pyarrow()
    found: Document = {}
    if len(log) > 0 and not stands.loosened:
        scored = served.aligned_scores(scores, log, shelf.item_ids)
        build = partial(build_case, log, scored, champion, shelf, stands)
        return_NC = returns_after(log, read_closes(prices, shelf.item_ids))
        beside = Beside(
            return_NC=return_NC,
            codes_per_item=codes_per_item(coded),
            chance_NC=scored.chance_NC,
            mflops=mflops_per_request(model),
            effect_weight=unserved_effects(model),
            cluster_NC=prefix_clusters(coded, shelf.item_ids)[log.candidate_NC],
        )
        guess_NLC = guess(read_shown(read.past, shelf), log, shelf, params)
        found = judge_batch(build, beside, guess_NLC, params)
    else:
        why = _too_loose(stands.loosened) or _nothing(exposures, log)
        found = {"decision": "INVALID", "reason": why, "n_requests": len(log)}
        found["policy"] = candidate_policy(params, log, shelf.unknown).facts()
        found["ranking"] = ranked(ranking)
        found["batch"] = unjudged(found, params)
    found["counts"] = read.counts
    found["requests_dropped"] = dropped(log)
    found |= stands.facts
    written = document({**found, "cut": cut.isoformat(), "params": params.model_dump(mode="json")})
    verdict.write_text(json.dumps(written, indent=2) + "\n")
    write_page(verdict, verdict_page)
    return metrics(written)


def _too_loose(loosened: tuple[str, ...]) -> str | None:
    """Say which params ask for less than the registry does, and what to do."""
    if not loosened:
        return None
    return (
        f"{'; '.join(loosened)}: tighten it, or move the floor by `tessera floors` and judge again"
    )


def _nothing(exposures: Table, log: served.Requests) -> str:
    """Say why there is nothing to judge by."""
    if log.dropped_share > 0:
        return "no slate after the cut was logged whole: see requests_dropped"
    if exposures.limit(1).to_pyarrow().num_rows == 0:
        return "no exposures: this source never logged what it showed, so nothing can be judged"
    return "no exposures after the cut: move the cut back, or wait until the policy has served"

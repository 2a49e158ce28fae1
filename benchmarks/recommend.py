"""How long one investor waits for a list from a bundle, and whether it is what was judged.

Usage: python -m benchmarks.recommend [--calls 1000] [--seed 0]   after `make run`

The bundle is read once, which is timed apart; calls run on one thread.  The start of the process
and the check of the bundle's hashes are not in it.

Shapes: N items, C calls, D width.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.common import ROOT, write_result
from tessera.bundles.vectors import Search
from tessera.contracts.arrays import Float32s
from tessera.contracts.errors import BadInput
from tessera.contracts.split import load_split
from tessera.model.sequences.catalogue import microseconds
from tessera.model.trunk.saved import CANDIDATES
from tessera.platform.workspace.paths import DEFAULT_PROFILE, Workspace, open_workspace
from tessera.serve.ranker import Ranker
from tessera.serve.recommend import Recommender

_K = 50
_COMPARED = 500
"""Requests whose scores are held against those of the batch."""
_WARM_UP = 20
"""Calls that nobody times: modules are imported and the files come into the page cache."""


def timed(call: Callable[[Any], object], given: Sequence[Any]) -> dict[str, float]:
    """Return the percentiles of a call in milliseconds."""
    for one in given[:_WARM_UP]:
        call(one)
    wall_ms_C = []
    for one in given:
        begun = time.perf_counter()
        call(one)
        wall_ms_C.append(1000 * (time.perf_counter() - begun))
    return {f"p{q}_ms": round(float(np.percentile(wall_ms_C, q)), 2) for q in (50, 99)}


def overlap(search: Search, query_CD: Sequence[Float32s]) -> float:
    """Return the share of the nearest by brute force in float64 that is found."""
    index = search.index
    vector_ND = index.vectors(0, index.count).astype(np.float64)
    shares = []
    for query_D in query_CD:
        score_N = vector_ND @ query_D.astype(np.float64)
        # An item that ties with the last one is as good, up to the rounding of float32.
        least = np.sort(score_N)[-_K] - 1e-6
        found = [score for _, score in search.nearest(query_D, _K)]
        shares.append(np.sum(np.array(found) >= least) / _K)
    return float(np.mean(shares))


def skew(ranker: Ranker, workspace: Workspace) -> dict[str, float]:
    """Compare scores of the first requests after the cut with those of the batch that was judged.

    The batch knows what happened between cut and request, the bundle does not.
    """
    columns = ["request_id", "user_id", "event_ts"]
    cut = load_split(workspace.artifact("split")).cut
    first = [("position", "==", 1), ("event_ts", ">", cut)]
    asked = pq.read_table(workspace.artifact("exposures"), columns=columns, filters=first)
    asked = asked.sort_by([("event_ts", "ascending")]).slice(0, _COMPARED)
    wanted = [("request_id", "in", asked["request_id"].to_pylist())]
    told = pq.read_table(workspace.artifact("scores"), filters=wanted).to_pylist()
    by_request = {row["request_id"]: row for row in told}
    gaps = []
    moment_R = microseconds(asked["event_ts"])
    for row, moment in zip(asked.to_pylist(), moment_R, strict=True):
        judged = by_request[row["request_id"]]
        own = ranker.scores(row["user_id"], judged["candidate_ids"], int(moment))
        gaps.append(np.abs(own - np.array(judged["candidate_scores"])).max())
    return {
        "requests": len(gaps),
        "hours": round(float(np.ptp(moment_R)) / 3.6e9, 1),
        "median": round(float(np.median(gaps)), 4),
        "p90": round(float(np.percentile(gaps, 90)), 4),
    }


def main() -> None:
    """Ask for lists and write results/recommend.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    workspace = open_workspace(DEFAULT_PROFILE, ROOT)
    bundle = workspace.artifact("bundle")
    if not (bundle / "vectors.faiss").exists():
        raise BadInput(f"{bundle} carries no vectors: `make run`")
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    known = pq.read_table(bundle / "users.parquet", columns=["user_id"])["user_id"].to_pylist()
    users = np.random.default_rng(given.seed).choice(sorted(known), given.calls).tolist()
    begun = time.perf_counter()
    shop = Recommender.open(bundle)
    opened_s = time.perf_counter() - begun
    if shop.ranker is None:
        raise BadInput(f"{bundle} carries no ranking head: `make run`")
    search, ranker = Search.open(bundle), shop.ranker
    found = [shop.investors.known(user).vector_D for user in users]
    query_CD = [query_D for query_D in found if query_D is not None]
    items = search.ids[:CANDIDATES]
    figures = {
        "calls": given.calls,
        "seed": given.seed,
        "users": len(known),
        "items": len(shop.items),
        "ranked": len(items),
        "open_s": round(opened_s, 2),
        "recommend": timed(lambda user: shop.recommend(user, _K), users),
        "rank": timed(lambda user: ranker.scores(user, items), users),
        "search": timed(lambda query_D: search.nearest(query_D, _K), query_CD),
        "overlap_50": overlap(search, query_CD),
        "skew": skew(ranker, workspace),
    }
    write_result("recommend", figures)


if __name__ == "__main__":
    main()

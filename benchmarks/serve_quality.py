"""What the service recommends beside what the batch does at the same moment, step by step.

Usage: python -m benchmarks.serve_quality [--investors 3000] [--days 28]   after `make run`

Each investor is asked about once, at the cut of the published bundle of the embedded market; what
came after it is relevant.  The batch ranks all that may be shown with the code of the gate; the
service retrieves and ranks with its own.  Nothing here is timed.

Shapes: N investors, I items of the bundle, C candidates.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, cast

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.common import ROOT, write_result
from tessera.contracts.arrays import Float64s, Ints
from tessera.contracts.progress import progress_bar
from tessera.contracts.split import load_split
from tessera.platform.release.pointer import current_bundle
from tessera.platform.workspace.params import load_params, serve_params
from tessera.platform.workspace.paths import DEFAULT_PROFILE, Workspace, open_workspace
from tessera.serve.candidates import Candidates
from tessera.serve.context import Context
from tessera.serve.engine import Engine
from tessera.shared.policies.slate import sample_slates
from tessera.stages.evaluate.params import EvaluateParams

_K, _DRAWS = 10, 50
_ROWS = {
    "lists": ("the batch's lists by vectors", ""),
    "retrieval": ("retrieval alone", "lists"),
    "batch": ("the batch, all that may be shown ranked", "retrieval"),
    "batch_found": ("the batch, what is retrieved ranked", "batch"),
    "service": ("the service, what is retrieved ranked", "batch_found"),
    "uniform": ("with candidates that were drawn", "service"),
    "drawn": ("the slate as it is drawn", "uniform"),
}
"""Title of each row, and the row that it is held against."""


def relevant(workspace: Workspace, days: int) -> dict[str, set[str]]:
    """Return the items that each investor acted upon in the days after the cut."""
    cut = load_split(current_bundle(workspace) / "split.json").cut
    actions = cast(EvaluateParams, load_params(workspace)["evaluate"]).relevant_actions
    after = [("event_ts", ">", cut), ("event_ts", "<=", cut + timedelta(days=days))]
    rows = pq.read_table(workspace.artifact("events"), filters=after,
                         columns=["user_id", "item_id", "action"])  # fmt: skip
    rows = rows.filter(pc.field("action").isin(actions))
    found: dict[str, set[str]] = defaultdict(set)
    for user, item in zip(rows["user_id"].to_pylist(), rows["item_id"].to_pylist(), strict=True):
        found[user].add(item)
    return found


def ndcg(row_K: Ints, wanted: set[int]) -> float:
    """Return the gain of a list over the most that can be gained.

    >>> round(ndcg(np.array([5, 7, 9]), {7}), 4)
    0.6309
    """
    gain_K = 1 / np.log2(np.arange(2, _K + 2))
    hits_K = np.array([row in wanted for row in row_K[:_K].tolist()], np.float64)
    most = gain_K[: min(len(wanted), _K)].sum()
    return float((hits_K * gain_K[: len(hits_K)]).sum() / most)


def listed(workspace: Workspace, engine: Engine) -> dict[str, Ints]:
    """Return the rows of the batch's list of each investor, best first."""
    rows = pq.read_table(workspace.artifact("lists"), filters=[("model", "==", "hstu")],
                         columns=["user_id", "rank", "item_id"])  # fmt: skip
    rows = rows.sort_by([("user_id", "ascending"), ("rank", "ascending")])
    found = defaultdict(list)
    for user, item in zip(rows["user_id"].to_pylist(), rows["item_id"].to_pylist(), strict=True):
        if item in engine.item_row:
            found[user].append(engine.item_row[item])
    return {user: np.array(one, np.int64) for user, one in found.items()}


@dataclass(frozen=True, slots=True)
class Compared:
    """A service with and without candidates that are drawn, and the batch."""

    engine: Engine
    alone: Candidates
    """Without drawn candidates."""
    lists: dict[str, Ints]
    """Rows of the batch's lists, by investor."""

    def of(self, user_id: str, items: set[str]) -> dict[str, float] | None:
        """Measure one investor; None if nothing that may be shown is relevant."""
        engine, moment = self.engine, self.engine.scorer.ranker.moment
        now = engine.scorer.now(user_id, moment)
        who = engine.who(user_id, now)
        open_I = engine.candidates.eligible_I(who, moment)
        wanted = {engine.item_row[item] for item in items if item in engine.item_row}
        wanted = {row for row in wanted if open_I[row]}
        if not wanted or user_id not in self.lists:
            return None
        list_C, every_C = self.lists[user_id], np.flatnonzero(open_I)
        found_C, _ = self.alone.of_request(Context.of(user_id, user_id, moment, _K), who)
        with_C, _ = engine.candidates.of_request(Context.of(user_id, user_id, moment, _K), who)
        score_C = self._scores(now, with_C)
        orders = {
            "lists": list_C[open_I[list_C]],
            "retrieval": found_C,
            "batch": best(every_C, self._batch(user_id, every_C, moment)),
            "batch_found": best(found_C, self._batch(user_id, found_C, moment)),
            "service": best(found_C, self._scores(now, found_C)),
            "uniform": best(with_C, score_C),
        }
        told = {name: ndcg(row_C, wanted) for name, row_C in orders.items()}
        return told | {"drawn": self._drawn(with_C, score_C, wanted)}

    def _batch(self, user_id: str, row_C: Ints, moment: int) -> Float64s:
        ids = [self.engine.recommender.shelf.ids[row] for row in row_C.tolist()]
        return self.engine.scorer.ranker.scores(user_id, ids, moment).astype(np.float64)

    def _scores(self, now: Any, row_C: Ints) -> Float64s:
        return self.engine.scorer.scores(now, self.engine.model_row_I[row_C]).astype(np.float64)

    def _drawn(self, row_C: Ints, score_C: Float64s, wanted: set[int]) -> float:
        rng = np.random.default_rng(len(row_C))
        every_NC = np.broadcast_to(score_C, (_DRAWS, len(score_C)))
        chosen_NL = sample_slates(
            every_NC, np.ones(every_NC.shape, bool), self.engine.slate, _K, rng
        )[0]
        return float(np.mean([ndcg(row_C[one[one >= 0]], wanted) for one in chosen_NL]))


def best(row_C: Ints, score_C: Any) -> Ints:
    """Order rows by score; equal scores as they stand."""
    return row_C[np.argsort(-np.asarray(score_C, np.float64), kind="stable")]


def measure(investors: int, days: int, seed: int) -> dict[str, Any]:
    """Measure every row on the same investors."""
    workspace = open_workspace(DEFAULT_PROFILE, ROOT)
    bundle, params = current_bundle(workspace), serve_params(workspace)
    engine = Engine.open(bundle, params)
    alone = replace(engine.candidates, params=params.model_copy(update={"uniform": 0}), new=0)
    compared = Compared(engine, alone, listed(workspace, engine))
    wanted = relevant(workspace, days)
    users = np.random.default_rng(seed).permutation(sorted(wanted))[:investors].tolist()
    found = []
    with progress_bar("investors", len(users)) as bar:
        for user in users:
            if (one := compared.of(user, wanted[user])) is not None:
                found.append(one)
            bar.advance(1)
    by_N = {name: np.array([one[name] for one in found]) for name in _ROWS}
    return {"investors": len(found), "days": days, "seed": seed, "candidates": params.retrieved,
            "uniform": params.uniform,
            "rows": {name: row(by_N, name) for name in _ROWS}}  # fmt: skip


def row(by_N: dict[str, Float64s], name: str) -> dict[str, Any]:
    """Lay out a row: mean, and the paired difference from the row it is held against."""
    title, less = _ROWS[name]
    told: dict[str, Any] = {"title": title, "ndcg": round(float(by_N[name].mean()), 5)}
    more_N = by_N[name] - by_N[less] if less else np.zeros(1)
    error = float(more_N.std(ddof=1) / len(more_N) ** 0.5) if less else 0.0
    return told | {"less": less, "ahead": round(float(more_N.mean()), 5), "error": round(error, 5)}


def main() -> None:
    """Measure, and write results/serve_quality.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--investors", type=int, default=3000)
    parser.add_argument("--days", type=int, default=28)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    write_result("serve_quality", measure(given.investors, given.days, given.seed))


if __name__ == "__main__":
    main()

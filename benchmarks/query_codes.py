"""What codes that queries bridge tell of a click, beside text and a mean query, on small markets.

Usage: python -m benchmarks.query_codes [--seeds 0 1 2]

Every seed is a market in which visits begin with a search.  What is asked and clicked until
`LEARNT` of the log teaches the bridge and the mean queries; from there to the cut it weighs scores
that are put together (a logistic regression); behind the cut, where new phrasings come in, it
judges.  A pair is a query and an item that it found: what was found and not clicked the market's
truth tells.  The sham learns from queries that were dealt out anew among the clicks.

Legend: Q queries, N items, C found items, D width of text, F terms, L levels.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import ibis
import numpy as np
import pyarrow.parquet as pq
from scipy import sparse
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from benchmarks.common import Kept, each, write_result
from benchmarks.query_bridge import (
    Bridge,
    agreement,
    coded,
    codes_of_queries,
    train_bridge,
)
from tessera.contracts.arrays import Bools, Float64s, Ints
from tessera.contracts.split import Split
from tessera.stages.sid.params import SidParams
from tessera.stages.sid.searched import searched
from tessera.stages.sid.text import fit_tfidf, tfidf, unit, words
from tessera.stages.synth.files import START
from tessera.stages.synth.params import SynthParams
from tessera.stages.synth.purposes import EARLY
from tessera.stages.synth.searches import LATE
from tessera.stages.synth.stage import run as synth
from tessera.stages.synth.town import number
from tessera.stages.synth.truth import FOLDER

MARKET = {"users": 600, "items": 320, "requests": 16_000, "days": 300, "queries": 0.6,
          "dirty_rows": 0.0}  # fmt: skip
BRIDGE = {"epochs": 40, "batch_size": 256, "hidden": 128, "latent": 32, "contrast": 1.0,
          "contrast_temperature": 0.1}  # fmt: skip
"""As DRQ's by default but for the weight of InfoNCE, which is what is studied."""
LEARNT = 0.6
"""Share of the log that is learnt from; the cut lies where late phrasings begin."""
SIZE = 16
"""Codewords of a level below the first."""


@dataclass(frozen=True, slots=True)
class World:
    """What was asked, found and clicked."""

    query_QD: Float64s
    """Text vectors of length 1, in one space with those of items."""
    item_ND: Float64s
    category_N: Ints
    serves_NP: Bools
    found_QC: Ints
    click_QC: Bools
    period_Q: Ints
    """0 learns, 1 weighs, 2 judges."""
    is_new_Q: Bools
    """A phrasing that nobody used before the cut."""
    led_NQ: sparse.csr_array
    """1 where a query of the first period led to a click."""

    def dealt_anew(self, seed: int) -> World:
        """Let each click have come of another query."""
        learnt_Q = np.flatnonzero(self.period_Q == 0)
        other_Q = np.arange(len(self.period_Q))
        other_Q[learnt_Q] = np.random.default_rng(seed).permutation(learnt_Q)
        return replace(self, led_NQ=self.led_NQ[:, other_Q])


def draw_world(seed: int, changes: dict[str, Any] | None = None) -> World:
    """Simulate a market, and read what was asked as the stage `sid` does."""
    params = SynthParams.model_validate({**MARKET, **(changes or {}), "seed": seed})
    with TemporaryDirectory() as folder:
        source = Path(folder) / "source"
        synth(source=source, params=params)
        return _read(source, params)


def _read(source: Path, params: SynthParams) -> World:
    items = pq.read_table(source / "items.parquet").to_pydict()
    asked = pq.read_table(source / "queries.parquet")
    told = pq.read_table(source / FOLDER / "queries.parquet").to_pydict()
    begun = datetime.combine(START, time(), UTC)
    until, cut = (begun + share * timedelta(params.days) for share in (LEARNT, LATE))
    moment_Q = np.array([at.timestamp() for at in asked["event_ts"].to_pylist()])
    period_Q = (moment_Q >= until.timestamp()).astype(np.int64) + (moment_Q >= cut.timestamp())
    events = ibis.memtable(pq.read_table(source / "events.parquet"))
    past = searched(ibis.memtable(asked), events.filter(events.event_ts < until),
                    items["item_id"], Split(until, until, until))  # fmt: skip
    query_QD, item_ND = _vectors(asked["text"].to_pylist(), items["text"], period_Q == 0)
    # Queries that led to a click, among all of them: both are in the order of their ids.
    of_all = np.searchsorted(asked["query_id"].to_numpy(), np.array(past.query_ids, dtype=object))
    item_M, query_M = past.led_NQ.nonzero()
    led_NQ = sparse.csr_array(
        (np.ones(len(item_M)), (item_M, of_all[query_M])), shape=(params.items, len(period_Q))
    )
    return World(
        query_QD, item_ND,
        np.unique(items["category"], return_inverse=True)[1].astype(np.int64),
        np.load(source / FOLDER / "item_purpose.npy"),
        np.array([[number(one) for one in found] for found in told["found_ids"]]),
        np.array(told["clicked"]), period_Q, np.array(told["phrasing"]) >= EARLY, led_NQ,
    )  # fmt: skip


def _vectors(query_Q: list[str], item_N: list[str], learnt_Q: Bools) -> tuple[Float64s, Float64s]:
    """TF-IDF of all terms, learnt from items and from each phrasing of the first period."""
    said = sorted({text for text, learns in zip(query_Q, learnt_Q, strict=True) if learns})
    term_N = [words(text) for text in item_N]
    terms = [*term_N, *(words(text) for text in said)]
    vocabulary, arrays = fit_tfidf(terms, SidParams(text_width=2))  # its directions are not read
    query_QF = tfidf([words(text) for text in query_Q], vocabulary, arrays["idf"])
    return query_QF.toarray(), tfidf(term_N, vocabulary, arrays["idf"]).toarray()


def scores(world: World, bridge: Bridge, seed: int) -> dict[str, Float64s]:
    """Return the cosine [Q, C] of latents and the worth of codes, with categories first or not."""
    query_QZ, item_NZ = bridge.latent(world.query_QD), bridge.latent(world.item_ND)
    found = {"dense": _cosine(query_QZ, item_NZ, world.found_QC)}
    for name, first_N in (("codes", world.category_N), ("free", None)):
        code_NL = coded(item_NZ, first_N, SIZE, seed)
        code_QWL = codes_of_queries(query_QZ, code_NL, world.led_NQ)
        found[name] = agreement(code_QWL, code_NL[world.found_QC])
    return found


def mean_query(world: World) -> Float64s:
    """Cosine [Q, C] of a query with the mean of those that led to the item; 0 where none did."""
    count_N1 = np.maximum(world.led_NQ.sum(axis=1), 1.0)[:, None]
    mean_ND = unit((world.led_NQ @ world.query_QD) / count_N1)
    return _cosine(world.query_QD, mean_ND, world.found_QC)


def _cosine(query_QD: Float64s, item_ND: Float64s, found_QC: Ints) -> Float64s:
    return np.asarray(np.einsum("qd,qcd->qc", query_QD, item_ND[found_QC]))


def together(world: World, parts: list[Float64s]) -> Float64s:
    """Weigh scores [Q, C] by a logistic regression on the second period."""
    weighs_Q = world.period_Q == 1
    feature_QCX = np.stack(parts, axis=2)
    mean_X = feature_QCX[weighs_Q].mean(axis=(0, 1))
    spread_X = np.maximum(feature_QCX[weighs_Q].std(axis=(0, 1)), 1e-12)
    feature_QCX = (feature_QCX - mean_X) / spread_X
    width = len(parts)
    model = LogisticRegression().fit(
        feature_QCX[weighs_Q].reshape(-1, width), world.click_QC[weighs_Q].ravel()
    )
    return np.asarray(feature_QCX @ model.coef_[0])


def auc(world: World, score_QC: Float64s) -> dict[str, float]:
    """AUC of a click behind the cut: of all queries, of known phrasings, and of new ones."""
    later_Q = world.period_Q == 2
    parts = {"all": later_Q, "known": later_Q & ~world.is_new_Q, "new": later_Q & world.is_new_Q}
    return {
        name: round(
            float(roc_auc_score(world.click_QC[part_Q].ravel(), score_QC[part_Q].ravel())), 4
        )
        for name, part_Q in parts.items()
    }


def sharing(world: World, code_NL: Ints) -> float:
    """How many times as often items of a category share level 2 if they share a purpose."""
    same_NN = (code_NL[:, None, :2] == code_NL[None, :, :2]).all(axis=2)
    category_NN = world.category_N[:, None] == world.category_N
    np.fill_diagonal(category_NN, False)
    purpose_NN = (world.serves_NP @ world.serves_NP.T) & category_NN
    return round(float(same_NN[purpose_NN].mean() / same_NN[category_NN].mean()), 3)


def measured(seed: int) -> dict[str, Any]:
    """Compare every way to tell of a click in the market of a seed."""
    world = draw_world(seed)
    params = SidParams.model_validate({**BRIDGE, "seed": seed})
    dealt = world.dealt_anew(seed)
    bridge, sham = (train_bridge(one.query_QD, one.item_ND, one.led_NQ, params)
                    for one in (world, dealt))  # fmt: skip
    apart = params.model_copy(update={"contrast": 0.0})
    alone = train_bridge(world.query_QD, world.item_ND, world.led_NQ, apart)
    found, false = scores(world, bridge, seed), scores(dealt, sham, seed)
    text_QC = _cosine(world.query_QD, world.item_ND, world.found_QC)
    asked_QC = mean_query(world)
    ways = {
        "text": text_QC,
        "dense": found["dense"],
        "dense, codes": together(world, [found["dense"], found["codes"]]),
        "dense, free codes": together(world, [found["dense"], found["free"]]),
        "codes": found["codes"],
        "mean query": asked_QC,
        "text, mean query": together(world, [text_QC, asked_QC]),
        "dense, mean query": together(world, [found["dense"], asked_QC]),
        "sham dense": false["dense"],
        "dense, sham codes": together(world, [found["dense"], false["codes"]]),
    }
    judged = world.period_Q == 2
    return {
        "auc": {name: auc(world, score_QC) for name, score_QC in ways.items()},
        "sharing": {
            name: sharing(world, coded(one.latent(world.item_ND), world.category_N, SIZE, seed))
            for name, one in (("bridged", bridge), ("text alone", alone))
        },
        "queries": int(judged.sum()),
        "clicks": int(world.click_QC[judged].sum()),
        "learnt": int(world.led_NQ.nnz),
    }


def main() -> None:
    """Measure and write results/query_codes.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    given = parser.parse_args()
    kept = Kept("query_codes", {**MARKET, "bridge": BRIDGE})
    found = dict(zip(given.seeds, each(measured, given.seeds, "markets", kept), strict=True))
    seeds = {str(seed): found[seed] for seed in given.seeds}
    write_result("query_codes", {"seeds": seeds, "market": MARKET, "bridge": BRIDGE, "size": SIZE})


if __name__ == "__main__":
    main()

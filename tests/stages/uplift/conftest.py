"""A log of slates and purchases whose effects of being shown are known."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import ibis
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from tessera.contracts.arrow import schema
from tessera.contracts.split import Split, save_split
from tessera.contracts.tables import EVENTS, EXPOSURES, ITEMS, USERS
from tessera.shared.policies.slate import SlatePolicy, sample_slates
from tessera.stages.uplift.params import UpliftParams
from tessera.stages.uplift.stage import run

START = datetime(2024, 1, 1, tzinfo=UTC)
POLICY = SlatePolicy(temperature=1.0, epsilon=0.3, top_k=5)
EFFECT = {"young": 0.5, "old": 0.0}
BASE = 0.1
SIZES = (200, 20, 5)
"""Users, items, candidates of a request."""


def fill(table, rows, **columns):
    """Build a table of the contract; what is not given is null."""
    target = schema(table)
    made = {
        f.name: pa.array(columns[f.name], f.type) if f.name in columns else pa.nulls(rows, f.type)
        for f in target
    }
    return pa.table(made)


@dataclass
class Market:
    """Tables, the split and a folder to write to."""

    tables: dict[str, pa.Table]
    split: Split
    folder: Path

    def sources(self):
        return {name: ibis.memtable(table) for name, table in self.tables.items()}

    def run(self, **params):
        save_split(self.split, self.folder / "split.json")
        small = {"train_requests": 4000, "test_requests": 4000, "trees": 20}
        small |= {"score_later": True, "bootstrap": 20, "permutations": 9, "report_learners": ()}
        metrics = run(
            **self.sources(),
            split=self.folder / "split.json",
            cate=self.folder / "cate.parquet",
            cate_later=self.folder / "cate_later.parquet",
            uplift_report=self.folder / "uplift_report.json",
            params=UpliftParams(**{**small, **params}),
        )
        report = json.loads((self.folder / "uplift_report.json").read_text())
        return metrics, report, pq.read_table(self.folder / "cate.parquet")

    @property
    def middle(self):
        """Where the younger half of the log before the cut begins."""
        return START + (self.split.cut - START) / 2

    def change_the_future(self):
        """Take away every request and event after the cut; add a user and an item born there."""
        born = self.split.test_until
        user = fill(USERS, 1, user_id=["a"], valid_from=[born], segment=["infant"])
        item = fill(ITEMS, 1, item_id=["a"], name=["a"], category=["art"], valid_from=[born])
        for name in ("events", "exposures"):
            rows = self.tables[name]
            kept = pc.less_equal(rows["event_ts"], pa.scalar(self.split.cut))
            self.tables[name] = rows.filter(kept)
        for name, row in (("users", user), ("items", item)):
            self.tables[name] = pa.concat_tables([self.tables[name], row])


def make_market(folder, rng, requests, effect):
    users, items, candidates = SIZES
    user_N = rng.integers(0, users, requests)
    segment_U = np.array(["young", "old"])[rng.integers(0, 2, users)]
    candidate_NC = np.argsort(rng.random((requests, items)), axis=1)[:, :candidates]
    score_NC = rng.normal(size=items)[candidate_NC]
    everything = np.ones(score_NC.shape, dtype=bool)
    chosen_NL, p_NL, p_NLC = sample_slates(score_NC, everything, POLICY, 2, rng)
    shown_NC = (chosen_NL[:, :, None] == np.arange(candidates)).any(axis=1)
    effect_N = np.array([effect[segment] for segment in segment_U])[user_N]
    bought_NC = rng.random(score_NC.shape) < BASE + shown_NC * effect_N[:, None]
    ts_N = np.array([START + timedelta(hours=2 * i) for i in range(requests)])
    item_id = np.array([f"i{i:03d}" for i in range(items)])
    request_id = np.array([f"r{i:06d}" for i in range(requests)])
    user_id = np.array([f"u{i:04d}" for i in range(users)])
    row, at = np.repeat(np.arange(requests), 2), chosen_NL.ravel()
    exposures = fill(
        EXPOSURES,
        len(row),
        request_id=request_id[row],
        position=np.tile([1, 2], requests),
        user_id=user_id[user_N[row]],
        item_id=item_id[candidate_NC[row, at]],
        event_ts=ts_N[row],
        policy_id=["v0"] * len(row),
        propensity=p_NL.ravel(),
        candidate_ids=item_id[candidate_NC][row].tolist(),
        candidate_propensities=p_NLC.reshape(-1, candidates).tolist(),
        context_version=["1"] * len(row),
    )
    buyer, what = np.nonzero(bought_NC)
    events = fill(
        EVENTS,
        len(buyer),
        event_id=[f"e{i:08d}" for i in range(len(buyer))],
        user_id=user_id[user_N[buyer]],
        item_id=item_id[candidate_NC[buyer, what]],
        action=["buy"] * len(buyer),
        event_ts=ts_N[buyer] + timedelta(minutes=5),
        time_kind=["exact"] * len(buyer),
    )
    tables = {
        "events": events,
        "exposures": exposures,
        "users": fill(
            USERS, users, user_id=user_id, valid_from=[START] * users, segment=segment_U.tolist()
        ),
        "items": fill(
            ITEMS, items, item_id=item_id, name=item_id, category=["fund", "bond"] * (items // 2)
        ),
    }
    split = Split(START, ts_N[int(0.6 * requests)] - timedelta(seconds=1), ts_N[-1])
    return Market(tables, split, folder)


@pytest.fixture
def market(tmp_path):
    """Make a market: `market(requests)`."""

    def make(requests=4000, seed=3, effect=EFFECT):
        return make_market(tmp_path, np.random.default_rng(seed), requests, effect)

    return make

"""A bundle with a ranking head that was trained once, and what is asked of it."""

from __future__ import annotations

import shutil
from copy import copy
from datetime import timedelta
from types import SimpleNamespace

import ibis
import numpy as np
import pyarrow as pa
import pytest

from tessera.bundles import manifest
from tessera.bundles.edges import lay_out_edges
from tessera.bundles.vectors import write_vectors
from tessera.contracts.arrow import schema
from tessera.contracts.tables import ACTIONS, CATE, PRICES
from tessera.model.sequences.catalogue import microsecond
from tessera.serve.engine import Engine
from tessera.serve.online.scorer import Scorer
from tessera.serve.params import ServeParams
from tessera.serve.ranker import open_ranker
from tessera.shared.policies.serving import ServingPolicy, write_policy
from tessera.shared.policies.slate import SlatePolicy
from tessera.shared.policies.suitability import PRUDENT
from tessera.stages.index.facts import item_facts, neighbours, user_facts, write_facts
from tessera.stages.index.params import IndexParams

DAY = timedelta(days=1)


@pytest.fixture
def told(dealt):
    """Return the market with purchases, prices and effects, which a test may exchange."""
    return copy(dealt)


@pytest.fixture(scope="session")
def dealt(lively, split):
    """Return the market with purchases, and prices and effects before the cut."""
    slated = lively
    events = slated.events.to_pyarrow().to_pylist()
    for row in events[::3]:
        row["action"] = "buy"
    closes = [
        {"item_id": f"i{item:02d}", "price_ts": split.cut - day * DAY, "close_eur": 100.0 + item}
        for item in range(6)
        for day in range(1, 9)
    ]
    shown = slated.exposures.filter(slated.exposures.event_ts < split.validation_from)
    ids = shown.select("request_id", "item_id").to_pyarrow().to_pylist()
    effects = [{**row, "shown": True, "effect": 0.01 * (n % 7)} for n, row in enumerate(ids)]
    changes = {
        "events": ibis.memtable(pa.Table.from_pylist(events)),
        "prices": ibis.memtable(pa.Table.from_pylist(closes, schema(PRICES))),
        "cate": ibis.memtable(pa.Table.from_pylist(effects, schema(CATE))),
    }
    return SimpleNamespace(**{**vars(slated), **changes})


TRAINED = {}
"""Folders of the one training, and of the bundle packed from it, that every test copies."""


@pytest.fixture
def folder(told, small, run_trunk, stage_files, tmp_path_factory):
    """Return a bundle's model and facts, with everything of a ranking head in it."""
    if "folder" not in TRAINED:
        params = small.model_copy(
            update={"window_days": 2.0, "hold_days": 3.0, "slate_share": 1.0,
                    "features": (*small.features, "cate"), "recency_scales": 2, "edge_bias": True,
                    "item_input": "weighed"}
        )  # fmt: skip
        made, _ = run_trunk(told, params)
        shutil.copyfile(stage_files / "split.json", made / "split.json")
        TRAINED["folder"] = shutil.copytree(made, tmp_path_factory.mktemp("trained") / "bundle")
    return shutil.copytree(TRAINED["folder"], stage_files / "bundle")


@pytest.fixture
def scorer(folder):
    return Scorer.fresh(open_ranker(folder))


@pytest.fixture
def users():
    """Investors: those of the bundle, and two whom it does not know."""
    return [f"u{user:03d}" for user in range(61)] + ["fresh", "new"]


@pytest.fixture
def happenings(split, users):
    """Draw events after the cut, many of them at the same moment, in the order of their arrival."""

    def drawn(count=700, seed=1):
        rng = np.random.default_rng(seed)
        start = microsecond(split.cut)
        moments = start + np.sort(rng.integers(1, 300, count)) * 97_000_001
        rows = [
            {"event_id": f"n{n:05d}", "user_id": users[rng.integers(len(users))],
             "item_id": f"i{rng.integers(13):02d}", "action": ACTIONS[rng.integers(len(ACTIONS))],
             "moment": int(moment)}
            for n, moment in enumerate(moments)
        ]  # fmt: skip
        return [rows[n] for n in rng.permutation(count)]

    return drawn


@pytest.fixture
def bundle(folder, told, split, tmp_path_factory):
    """Return a whole bundle, as the stage that packs it would leave it."""
    if "bundle" not in TRAINED:
        _pack(folder, told, split)
        TRAINED["bundle"] = shutil.copytree(folder, tmp_path_factory.mktemp("packed") / "bundle")
    return shutil.copytree(TRAINED["bundle"], folder, dirs_exist_ok=True)


def _pack(folder, told, split):
    items = told.items.mutate(
        name=told.items.item_id.upper(), sector=ibis.literal(None, "string"),
        issuer=ibis.literal(None, "string"),
        fee_percent=ibis.literal(None, "float64"),
    )  # fmt: skip
    engine, params = ibis.duckdb.connect(), IndexParams()
    past = told.events.filter(told.events.event_ts <= split.cut)
    vectors = engine.read_parquet(folder / "user_vectors.parquet")
    users = ibis.memtable(told.users.to_pyarrow())
    for name, table in (
        ("items", item_facts(items, past, split.cut, PRUDENT, params)),
        ("users", user_facts(users, past, ibis.memtable(vectors.to_pyarrow()), split.cut, PRUDENT,
                             params)),
        ("neighbours", neighbours(told.edges, params.neighbours)),
    ):  # fmt: skip
        write_facts(table, folder / f"{name}.parquet")
    write_vectors(engine.read_parquet(folder / "item_vectors.parquet"), folder)
    write_policy(ServingPolicy(SlatePolicy(0.5, 0.2, 4), 3), folder)
    lay_out_edges(folder)
    manifest.seal(folder, {"kind": "model", "judged_against": "v0"})


@pytest.fixture
def few():
    """Params that leave something of twelve items out."""
    return ServeParams(retrieved=4, uniform=2)


@pytest.fixture
def engine(bundle, few):
    return Engine.open(bundle, few)


@pytest.fixture
def at_noon(split):
    """Moments from just after the cut on."""
    return lambda later=0: microsecond(split.cut) + 1 + later

"""Shuffling everything after the cut changes nothing that was learnt before it."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from tessera.contracts.split import load_split
from tessera.pipeline import files
from tessera.pipeline.catalogue import find, stages
from tessera.pipeline.params import load_params
from tessera.pipeline.runner import run_stage
from tessera.pipeline.snapshot import snapshot

LEARNT = (
    "split",
    "effects",
    "edges",
    "nodes",
    "codes",
    "codebook",
    "ledger_out",
    "cate",
    "model",
    "item_vectors",
    "user_vectors",
    "training",
    "facts",
)
SHUFFLED = {
    "events": "item_id",
    "outcomes": "item_id",
    "prices": "close_eur",
    "users": "risk_class",
}
MOMENT = {
    "events": "event_ts",
    "outcomes": "event_ts",
    "prices": "price_ts",
    "users": "valid_from",
}
SERVED = ("items.parquet", "users.parquet", "neighbours.parquet", "trie.safetensors")


def _run(place, names):
    params, among = load_params(place), stages("market")
    for name in names:
        run_stage(find(name, among), place, params)


def _shuffle_future(place, rng):
    """Permute one column among the rows after the cut; their times and keys stay."""
    cut = pa.scalar(load_split(place.artifact("split")).cut, pa.timestamp("us", "UTC"))
    changed = 0
    for name, column in SHUFFLED.items():
        path = place.artifact("source") / f"{name}.parquet"
        table = pq.read_table(path)
        future = np.flatnonzero(
            pc.fill_null(pc.greater(table[MOMENT[name]], cut), False).to_numpy()
        )
        order = np.arange(len(table))
        order[future] = rng.permutation(future)
        place_of = table.column_names.index(column)
        mixed = table[column].take(pa.array(order))
        changed += int(pc.sum(pc.not_equal(mixed, table[column])).as_py() or 0)
        pq.write_table(table.set_column(place_of, column, mixed), path)
    return changed


@pytest.fixture(scope="module")
def learnt(new_checkout):
    place = new_checkout().home()
    snapshot(place)
    names = ("ingest", "causal", "graph", "sid", "uplift", "hstu", "evaluate", "ope", "index")
    _run(place, ("synth", *names))
    before = _hashes(place)
    changed = _shuffle_future(place, np.random.default_rng(3))
    _run(place, names)
    return before, _hashes(place), changed


def _hashes(place):
    bundle = place.artifact("bundle")
    learnt = {name: files.sha256(place.artifact(name)) for name in LEARNT}
    return learnt | {name: files.sha256(bundle / name) for name in SERVED}


def test_the_future_was_really_changed(learnt):
    assert learnt[2] > 100


@pytest.mark.parametrize("name", [*LEARNT, *SERVED])
def test_shuffling_the_future_changes_nothing_learnt(learnt, name):
    before, after, _ = learnt
    assert after[name] == before[name]

"""Shuffling everything after the cut changes nothing that was learnt before it."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import yaml

from tessera.contracts.split import load_split
from tessera.platform.pipeline.runner import run_stage
from tessera.platform.pipeline.snapshot import snapshot
from tessera.platform.workspace import files
from tessera.platform.workspace.catalogue import find, stages
from tessera.platform.workspace.params import load_params

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
    "baseline_training",
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
ROWS = ("effects", "edges", "nodes", "codes", "codebook", "cate", "model", "item_vectors", "facts")
"""What does not depend on how many rows follow; vectors of investors are of all ever seen."""
SERVED = ("items.parquet", "users.parquet", "neighbours.parquet", "trie.safetensors")


def _run(workspace, names):
    params, among = load_params(workspace), stages("market")
    for name in names:
        run_stage(find(name, among), workspace, params)


def _shuffle_future(workspace, rng):
    """Permute one column among the rows after the cut; their times and keys stay."""
    cut = pa.scalar(load_split(workspace.artifact("split")).cut, pa.timestamp("us", "UTC"))
    changed = 0
    for name, column in SHUFFLED.items():
        path = workspace.artifact("source") / f"{name}.parquet"
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
    workspace = new_checkout().open_workspace()
    snapshot(workspace)
    names = ("ingest", "causal", "graph", "sid", "uplift", "hstu", "baselines", "evaluate", "ope",
             "index")  # fmt: skip
    _run(workspace, ("synth", *names))
    before = _hashes(workspace)
    changed = _shuffle_future(workspace, np.random.default_rng(3))
    _run(workspace, names)
    return before, _hashes(workspace), changed


def _hashes(workspace):
    bundle = workspace.artifact("bundle")
    learnt = {name: files.sha256(workspace.artifact(name)) for name in LEARNT}
    return learnt | {name: files.sha256(bundle / name) for name in SERVED}


def test_the_future_was_really_changed(learnt):
    assert learnt[2] > 100


@pytest.mark.parametrize("name", [*LEARNT, *SERVED])
def test_shuffling_the_future_changes_nothing_learnt(learnt, name):
    before, after, _ = learnt
    assert after[name] == before[name]


def _drop_future(workspace, rng):
    """Leave out half of the rows after the cut, whole requests of exposures."""
    cut = pa.scalar(load_split(workspace.artifact("split")).cut, pa.timestamp("us", "UTC"))
    for name in ("events", "outcomes", "prices", "exposures"):
        path = workspace.artifact("source") / f"{name}.parquet"
        table = pq.read_table(path)
        column = table[MOMENT.get(name, "event_ts")]
        key = table["request_id"] if name == "exposures" else pa.chunked_array(
            [pa.array(np.arange(len(table)))]
        )  # fmt: skip
        number = key.combine_chunks().dictionary_encode().indices.to_numpy()
        is_kept = (rng.random(len(table)) < 0.5)[number]
        is_kept |= pc.less_equal(column, cut).to_numpy()
        is_kept[np.argmax(column.to_numpy())] = True  # the last period ends where it did
        pq.write_table(table.filter(pa.array(is_kept)), path)


@pytest.fixture(scope="module")
def dropped(new_checkout):
    """Learn from the tiny market, tied sets cut at random, and again from half of its future."""
    checkout = new_checkout()
    workspace = checkout.open_workspace()
    overrides = yaml.safe_load(workspace.overrides.read_text())
    overrides["hstu"]["split_sets"] = 0.5
    workspace.overrides.write_text(yaml.safe_dump(overrides))
    snapshot(workspace)
    names = ("ingest", "causal", "graph", "sid", "uplift", "hstu")
    _run(workspace, ("synth", *names))
    before = {name: files.sha256(workspace.artifact(name)) for name in ROWS}
    _drop_future(workspace, np.random.default_rng(3))
    _run(workspace, names)
    return before, {name: files.sha256(workspace.artifact(name)) for name in ROWS}


@pytest.mark.parametrize("name", ROWS)
def test_half_of_the_future_leaves_every_bit_of_what_was_learnt(dropped, name):
    """Who comes later, when, and how often moves no random draw and no time before the cut."""
    before, after = dropped
    assert after[name] == before[name]

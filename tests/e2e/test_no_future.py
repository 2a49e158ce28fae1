"""Shuffling everything after the cut changes nothing that was learnt before it.

The world that is shuffled ran stage by stage before, which is a second run of one seed.
"""

from __future__ import annotations

import shutil

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import yaml

from tessera.bundles import manifest
from tessera.contracts.split import load_split
from tessera.platform.pipeline.runner import run_stage
from tessera.platform.pipeline.snapshot import snapshot
from tessera.platform.workspace import files
from tessera.platform.workspace.catalogue import find, stages
from tessera.platform.workspace.params import load_params

pytestmark = pytest.mark.timeout(1200)
"""Three runs: a guard against what hangs, not a measure of speed."""

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
def world(new_checkout):
    """Run every stage of the tiny market; return the checkout and the hashes of what it made."""
    checkout = new_checkout()
    snapshot(checkout.open_workspace())
    _run(checkout.open_workspace(), [stage.name for stage in stages("market")])
    return checkout, _unsealed(checkout)


def _unsealed(checkout):
    """Hash what was made, but for seals, which are by a key of each registry's own."""
    made = checkout.artifacts()
    for seal in ("seal", "page_seal"):
        del made[seal]
    bundle = checkout.open_workspace().artifact("bundle")
    return {**made, "bundle": manifest.check(bundle)["files"]}


def test_two_runs_of_one_seed_are_byte_identical(ran, world):
    assert world[1] == _unsealed(ran[0])


@pytest.fixture(scope="module")
def copied(world, tmp_path_factory):
    """Copy the world before its future is shuffled."""
    root = tmp_path_factory.mktemp("copied") / "checkout"
    shutil.copytree(world[0].root, root, symlinks=True)
    return type(world[0])(root)


@pytest.fixture(scope="module")
def learnt(world, copied):
    workspace = world[0].open_workspace()
    before = _hashes(workspace)
    changed = _shuffle_future(workspace, np.random.default_rng(3))
    _run(workspace, ("ingest", "causal", "graph", "sid", "uplift", "hstu", "baselines", "evaluate",
                     "ope", "index"))  # fmt: skip
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
def dropped(copied):
    """Learn from the tiny market, tied sets cut at random, and again from half of its future."""
    workspace = copied.open_workspace()
    overrides = yaml.safe_load(workspace.overrides.read_text())
    overrides["hstu"]["split_sets"] = 0.5
    workspace.overrides.write_text(yaml.safe_dump(overrides))
    _run(workspace, ("hstu",))  # no stage before it reads what was changed
    before = {name: files.sha256(workspace.artifact(name)) for name in ROWS}
    _drop_future(workspace, np.random.default_rng(3))
    _run(workspace, ("ingest", "causal", "graph", "sid", "uplift", "hstu"))
    return before, {name: files.sha256(workspace.artifact(name)) for name in ROWS}


@pytest.mark.parametrize("name", ROWS)
def test_half_of_the_future_leaves_every_bit_of_what_was_learnt(dropped, name):
    """Who comes later, when, and how often moves no random draw and no time before the cut."""
    before, after = dropped
    assert after[name] == before[name]

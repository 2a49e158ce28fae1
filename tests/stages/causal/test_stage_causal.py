"""The stage on a world whose effects are planted."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from tessera.contracts.arrow import schema
from tessera.contracts.split import save_split
from tessera.contracts.tables import EFFECTS
from tessera.stages.causal.params import CausalParams
from tessera.stages.causal.stage import run

START = datetime(2024, 1, 1, tzinfo=UTC)


@pytest.fixture
def estimate(tmp_path, tables):
    def go(world, name="effects", **params):
        save_split(world.split, tmp_path / "split.json")
        out = tmp_path / f"{name}.parquet"
        metrics = run(
            events=tables.lazy(world.events),
            users=tables.lazy(world.users),
            split=tmp_path / "split.json",
            effects=out,
            params=CausalParams(**params),
        )
        return metrics, out

    return go


def test_estimates_follow_the_planted_effects_better_than_co_occurrence(confounded, estimate):
    _, path = estimate(confounded)
    rows = pq.read_table(path)
    pairs = list(zip(rows["cause_id"].to_pylist(), rows["effect_id"].to_pylist(), strict=True))
    planted = np.array([confounded.planted[pair] for pair in pairs])
    adjusted = np.corrcoef(rows["effect"].to_numpy(), planted)[0, 1]
    naive = np.corrcoef(cosine(confounded, pairs), planted)[0, 1]
    counted = np.corrcoef(rows["support"].to_numpy(), planted)[0, 1]
    _, bare = estimate(confounded, "bare", taste_components=0)
    untaught = np.corrcoef(pq.read_table(bare)["effect"].to_numpy(), planted)[0, 1]
    assert adjusted > 0.8
    assert adjusted > untaught, "what is held confounds beyond risk, capacity and activity"
    assert adjusted > max(naive, counted) + 0.2
    effect = rows["effect"].to_numpy()
    assert np.mean(effect[planted < 0] < 0) > 0.8
    assert np.mean(effect[planted > 0] > 0) > 0.9


def test_what_happens_after_the_cut_changes_nothing_and_a_second_run_neither(
    confounded, estimate, rng
):
    cut = pc.less_equal(confounded.events["event_ts"], pa.scalar(START + timedelta(days=240)))
    split = replace(confounded.split, cut=START + timedelta(days=240))
    past, future = confounded.events.filter(cut), confounded.events.filter(pc.invert(cut))
    order = rng.permutation(future.num_rows)
    mixed = future.set_column(1, "user_id", future["user_id"].take(order))
    kept = {}
    for name, later in {"true": future, "again": future, "mixed": mixed}.items():
        world = replace(confounded, events=pa.concat_tables([past, later]), split=split)
        kept[name] = estimate(world, name)[1].read_bytes()
    assert kept["true"] == kept["again"] == kept["mixed"]


def test_the_table_follows_its_contract_and_is_sorted(confounded, estimate):
    metrics, path = estimate(confounded, pairs=100)
    rows = pq.read_table(path)
    assert rows.schema.equals(schema(EFFECTS))
    keys = list(zip(rows["cause_id"].to_pylist(), rows["effect_id"].to_pylist(), strict=True))
    assert keys == sorted(set(keys))
    assert len(keys) == 100 == metrics["pairs"]


def test_effects_that_are_told_as_causal_are_planted(confounded, estimate):
    metrics, path = estimate(confounded)
    rows = pq.read_table(path).to_pylist()
    told = [row for row in rows if row["effect"] > 0 and row["false_sign_rate"] <= 0.05]
    right = [confounded.planted[row["cause_id"], row["effect_id"]] > 0 for row in told]
    assert len(told) > 10
    assert np.mean(right) >= 0.95
    assert metrics["pairs_told_as_causal"] >= len(told)


def test_intervals_hold_nothing_where_nothing_is_planted(confounded, estimate):
    _, path = estimate(confounded)
    rows = pq.read_table(path).to_pylist()
    null = [row for row in rows if confounded.planted[row["cause_id"], row["effect_id"]] == 0]
    assert np.mean([row["low"] <= 0 <= row["high"] for row in null]) >= 0.93


def test_a_world_without_pairs_gives_an_empty_table(tmp_path, tables, confounded, estimate):
    lonely = type(confounded)(
        tables.events(["a", "b"], ["x", "y"], [1, 2]), confounded.users, tables.split(), {}
    )
    metrics, path = estimate(lonely)
    assert pq.read_table(path).num_rows == 0
    assert metrics["pairs"] == 0.0


def cosine(world, pairs):
    user, u = np.unique(world.events["user_id"].to_numpy(), return_inverse=True)
    item, i = np.unique(world.events["item_id"].to_numpy(), return_inverse=True)
    held = np.zeros((len(user), len(item)))
    held[u, i] = 1
    both = held.T @ held
    similar = both / np.sqrt(np.outer(np.diag(both), np.diag(both)))
    place = {name: k for k, name in enumerate(item)}
    return np.array([similar[place[a], place[b]] for a, b in pairs])


def test_pairs_of_few_investors_are_dropped(confounded, estimate):
    all_of = pq.read_table(estimate(confounded, "all", least_support=1)[1])["support"].to_numpy()
    least = int(np.median(all_of))
    kept = pq.read_table(estimate(confounded, "kept", least_support=least)[1])["support"]
    assert (all_of < least).sum() > 0
    assert sorted(kept.to_pylist()) == sorted(all_of[all_of >= least])

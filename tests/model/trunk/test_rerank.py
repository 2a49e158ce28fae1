"""Effects of being shown move the scores that are judged, by the weight of each model."""

from types import SimpleNamespace

import ibis
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tessera.contracts.arrow import schema
from tessera.contracts.errors import BadParams
from tessera.contracts.tables import CATE, CATE_LATER
from tessera.model.sequences.effects import effects_of, read_effects
from tessera.model.trunk.rerank import reranked
from tessera.model.trunk.saved import load_model


def planted(rows):
    """Two effects before the cut with mean 0 and spread 1, and these after it."""
    past = [{"request_id": f"p{k}", "item_id": "i00", "shown": True, "effect": effect}
            for k, effect in enumerate((-0.5, 0.5))]  # fmt: skip
    names = ("request_id", "item_id", "effect")
    later = [dict(zip(names, row, strict=True)) for row in rows]
    return tuple(
        ibis.memtable(pa.Table.from_pylist(found, schema=schema(table)))
        for found, table in ((past, CATE), (later, CATE_LATER))
    )


def test_an_effect_reaches_its_own_candidate_on_the_scale_of_the_past():
    effects = read_effects(*planted([("r2", "b", 0.5), ("r1", "b", 0.25), ("r1", "a", -1.0),
                                 ("gone", "a", 1.0)]))  # fmt: skip
    found_C = effects_of(
        effects, pa.array(["r1", "r2", "r3"]), np.array([0, 3, 5, 6]),
        pa.array(["a", "b", "c", "b", "a", "a"]),
    )  # fmt: skip
    assert found_C.tolist() == [-2.0, 0.5, 0.0, 1.0, 0.0, 0.0]


def test_without_effects_nothing_is_moved():
    effects = read_effects(*planted([]))
    assert not effects_of(effects, pa.array(["r1"]), np.array([0, 1]), pa.array(["a"])).any()
    score_C = np.array([1.0], np.float32)
    assert reranked(score_C, np.array([5.0], np.float32), 0.0) is score_C
    assert reranked(score_C, None, 0.0) is score_C
    with pytest.raises(BadParams, match="score_later"):
        reranked(score_C, None, 0.1)


@pytest.fixture
def run_stage(run_trunk, slated, small, rng):
    """Run the stage on slates with effects after the cut: `run_stage(out, weight)`."""
    asked = slated.exposures.filter(slated.exposures.position == 1).to_pyarrow().to_pylist()
    pairs = [(row["request_id"], item) for row in asked for item in row["candidate_ids"]]
    # A whole spread apart: no scores are so far apart that a weight of 1000 would not decide.
    effects = [place - 1.0 for row in asked for place in rng.permutation(len(row["candidate_ids"]))]
    rows = [(*pair, effect) for pair, effect in zip(pairs, effects, strict=True)]
    cate, cate_later = planted(rows)

    def stage(out, weight, *, told=True, champion=None, **changes):
        short = {"window_days": 2.0, "hold_days": 3.0, "slate_share": 1.0,
                 "epochs": 1, "uplift_weight": weight}  # fmt: skip
        effects = {"cate": cate, "cate_later": cate_later} if told else {}
        tables = SimpleNamespace(**vars(slated) | effects)
        params = small.model_copy(update=short | changes)
        folder, metrics = run_trunk(tables, params, out, champion)
        return folder, metrics, pq.read_table(folder / "scores.parquet")

    stage.effect = {row[:2]: row[2] for row in rows}
    return stage


@pytest.mark.parametrize("score", ["rank", "recall"])
def test_no_weight_moves_no_bit_and_a_large_one_orders_by_the_effect(run_stage, score):
    # The ranking head has no feature that knows effects, so that only the re-rank differs.
    bare = {"score": score, "features": ("user", "item")}
    _, _, without = run_stage("without", 0.0, told=False, **bare)
    _, without_metrics, beside = run_stage("beside", 0.0, **bare)
    assert beside.equals(without)
    folder, metrics, moved = run_stage("moved", 1000.0, **bare)
    assert load_model(folder / "model")[0].shape.uplift_weight == 1000.0
    for row in moved.to_pylist():
        known = [run_stage.effect[row["request_id"], item] for item in row["candidate_ids"]]
        assert np.array_equal(np.argsort(known), np.argsort(row["candidate_scores"]))
    # What is printed is of the scores that are served; the head itself is the same.
    assert metrics["rank_auc_click"] == without_metrics["rank_auc_click"]
    assert metrics["rank_auc_served"] != without_metrics["rank_auc_served"]


@pytest.mark.parametrize("told", [True, False])
def test_a_published_model_is_judged_unmoved_as_no_bundle_carries_effects(
    run_stage, stage_files, told
):
    bare = {"features": ("user", "item")}
    _, _, unmoved = run_stage("unmoved", 0.0, **bare)
    folder, _, moved = run_stage("moved", 5.0, **bare)
    published = stage_files / "published"
    published.mkdir()
    for name in ("model", "facts"):
        (folder / name).rename(published / name)
    (published / "champion.json").write_text('{"bundle": "v1", "kind": "model"}')
    _, _, later = run_stage("later", 0.0, told=told, champion=published, **bare)
    assert later["champion_scores"].to_pylist() == unmoved["candidate_scores"].to_pylist()
    assert later["champion_scores"].to_pylist() != moved["candidate_scores"].to_pylist()

import json
import shutil
from itertools import pairwise

import numpy as np
import pyarrow.parquet as pq
import pytest

from tessera.contracts.arrow import schema
from tessera.contracts.errors import BrokenBundle
from tessera.contracts.tables import ITEM_VECTORS, LISTS, SCORES, USER_VECTORS


@pytest.fixture
def run_stage(run_trunk, tables, small):
    def stage(out="out", **changes):
        return run_trunk(tables, small.model_copy(update=changes), out)

    return stage


def test_the_stage_writes_every_table_as_its_contract_says(run_stage):
    folder, metrics = run_stage()
    for table in (ITEM_VECTORS, USER_VECTORS, LISTS, SCORES):
        rows = pq.read_table(folder / f"{table.name}.parquet")
        assert rows.schema.equals(schema(table))
        assert len(rows)
    vectors = np.stack(pq.read_table(folder / "user_vectors.parquet")["vector"].to_pylist())
    assert vectors.shape == (61, 16)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
    of = {}
    for name in ("user", "item"):
        ids, vector_ND = pq.read_table(folder / f"{name}_vectors.parquet").to_pydict().values()
        of[name] = dict(zip(ids, vector_ND, strict=True))
    listed = pq.read_table(folder / "lists.parquet").to_pylist()
    own = [row for row in listed if row["model"] == "hstu"]
    cosines = [np.dot(of["user"][row["user_id"]], of["item"][row["item_id"]]) for row in own]
    np.testing.assert_allclose([row["score"] for row in own], cosines, atol=1e-5)
    header, *epochs = (folder / "training" / "hstu.csv").read_text().splitlines()
    assert header == "epoch,loss,validation_ndcg_at_10"
    assert len(epochs) == metrics["hstu_epochs"] == 3
    assert metrics["requests_scored"] == 60


def test_lists_are_ranked_for_test_users_of_both_models(
    run_stage, run_baselines, tables, small, split, rows
):
    folder, _ = run_stage()
    beside, _ = run_baselines(tables, small)
    lists = pq.read_table(folder / "lists.parquet").to_pylist()
    lists += pq.read_table(beside / "baseline_lists.parquet").to_pylist()
    tested = {row["user_id"] for row in rows if split.cut < row["event_ts"] <= split.test_until}
    known = {row["user_id"] for row in rows if row["event_ts"] <= split.cut}
    for model in ("hstu", "sasrec"):
        mine = [row for row in lists if row["model"] == model]
        assert {row["user_id"] for row in mine} == tested & known
        assert [row["rank"] for row in mine[:5]] == [1, 2, 3, 4, 5]
        assert all(a["score"] >= b["score"] for a, b in pairwise(mine[:5]))
    assert "i11" not in {row["item_id"] for row in lists}


def test_strangers_get_lists_of_their_own(run_stage):
    folder, _ = run_stage(epochs=1)
    lists = pq.read_table(folder / "lists.parquet").to_pylist()
    of = {name: [row for row in lists if row["model"] == name] for name in ("hstu", "hstu_session")}
    users = [{row["user_id"] for row in rows} for rows in of.values()]
    assert users[0] == users[1]
    items = [[row["item_id"] for row in rows] for rows in of.values()]
    assert items[0] != items[1], "less is known of them"
    again, _ = run_stage("again", epochs=1, session_minutes=0.0)
    names = set(pq.read_table(again / "lists.parquet")["model"].to_pylist())
    assert names == {"hstu"}


def test_a_model_as_champion_gets_its_own_scores(run_stage, stage_files):
    folder, _ = run_stage(epochs=1)
    plain = pq.read_table(folder / "scores.parquet")
    assert plain["champion_scores"].null_count == len(plain)
    shutil.copytree(folder / "model", stage_files / "champion" / "model")
    told = {"version": "v1", "kind": "model"}
    (stage_files / "champion" / "champion.json").write_text(json.dumps(told))
    again, _ = run_stage("again", epochs=1)
    scores = pq.read_table(again / "scores.parquet")
    assert scores["champion_scores"].to_pylist() == plain["candidate_scores"].to_pylist()
    assert scores["candidate_scores"].to_pylist() == plain["candidate_scores"].to_pylist()


def test_a_champion_that_does_not_know_an_item_gives_it_the_least_score(run_stage, stage_files):
    folder, _ = run_stage(epochs=1)
    shutil.copytree(folder / "model", stage_files / "champion" / "model")
    names = stage_files / "champion" / "model" / "items.json"
    names.write_text(names.read_text().replace("i02", "long gone"))
    (stage_files / "champion" / "champion.json").write_text('{"version": "v1", "kind": "model"}')
    again, _ = run_stage("again", epochs=1)
    scores = np.array(pq.read_table(again / "scores.parquet")["champion_scores"].to_pylist())
    assert (scores[:, 2] == -1.0).all()
    assert (scores[:, [0, 1, 3]] > -1.0).all()


def test_a_bundle_without_champion_json_is_refused(run_stage, stage_files):
    (stage_files / "champion" / "champion.json").unlink()
    with pytest.raises(BrokenBundle, match="publish it again"):
        run_stage(epochs=1)


def test_without_requests_the_scores_are_an_empty_table(run_stage, tables):
    tables.exposures = tables.exposures.limit(0)
    folder, metrics = run_stage(epochs=1)
    assert len(pq.read_table(folder / "scores.parquet")) == metrics["requests_scored"] == 0

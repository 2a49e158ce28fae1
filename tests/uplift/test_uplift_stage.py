"""The whole stage: learns a planted effect, says so when it cannot, repeats itself."""

import numpy as np
import pytest

from tessera.contracts.arrow import schema
from tessera.contracts.tables import CATE


def test_the_learner_finds_who_is_moved_better_than_a_constant(market):
    made = market()
    _, report, cate = made.run(window_days=0.04)
    assert report["status"] == "ok"
    assert report["rows"]["x_learner"]["qini"]["low"] > 0
    assert report["ate"]["low"] < 0.25 < report["ate"]["high"]
    users = dict(zip(*(made.tables["users"][c].to_pylist() for c in ("user_id", "segment")),
                     strict=True))  # fmt: skip
    rows = made.tables["exposures"]
    asked = dict(zip(rows["request_id"].to_pylist(), rows["user_id"].to_pylist(), strict=True))
    young = np.array([users[asked[r]] == "young" for r in cate["request_id"].to_pylist()])
    effect = cate["effect"].to_numpy()
    assert effect[young].mean() == pytest.approx(0.5, abs=0.1)
    assert effect[~young].mean() == pytest.approx(0.0, abs=0.1)


def test_every_candidate_of_every_sampled_request_has_an_effect(market):
    made = market()
    metrics, _, cate = made.run(window_days=0.04, test_requests=500)
    assert len(cate) == metrics["trials"] == 2500
    assert sum(cate["shown"].to_pylist()) == 1000
    assert cate.schema.equals(schema(CATE))


def test_the_same_log_gives_the_same_bytes_in_any_order(market):
    made = market()
    made.run(window_days=0.04)
    names = ("cate.parquet", "uplift_report.json")
    before = [(made.folder / name).read_bytes() for name in names]
    rng = np.random.default_rng(1)
    for name, rows in made.tables.items():
        made.tables[name] = rows.take(rng.permutation(len(rows)))
    made.run(window_days=0.04)
    assert [(made.folder / name).read_bytes() for name in names] == before


def test_without_exposures_the_report_says_so(market):
    made = market(100)
    made.tables["exposures"] = made.tables["exposures"].slice(0, 0)
    metrics, report, cate = made.run()
    assert report == {"status": "no exposures"}
    assert len(cate) == 0
    assert metrics == {"trials": 0.0}


def test_too_few_exposures_give_no_effect_rather_than_noise(market):
    _, report, cate = market(100).run(window_days=0.04)
    assert report == {"status": "too few exposures"}
    assert not cate["effect"].to_numpy().any()

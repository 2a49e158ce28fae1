"""The whole stage: learns a planted effect, holds investors and the future back, repeats itself."""

import zlib

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from tessera.contracts.arrow import schema
from tessera.contracts.tables import CATE, CATE_LATER, UNEXPLORED
from tessera.stages.uplift.folds import folds_of


def test_the_learner_finds_who_is_moved_better_than_a_constant(market):
    made = market()
    _, report, cate = made.run(window_days=0.04)
    assert report["status"] == "ok"
    for part in (report["out_of_fold"], report["out_of_time"]):
        assert part["rows"]["x_learner"]["qini"]["low"] > 0
        assert part["ate"]["low"] < 0.25 < part["ate"]["high"]
    users = dict(zip(*(made.tables["users"][c].to_pylist() for c in ("user_id", "segment")),
                     strict=True))  # fmt: skip
    rows = made.tables["exposures"]
    asked = dict(zip(rows["request_id"].to_pylist(), rows["user_id"].to_pylist(), strict=True))
    young = np.array([users[asked[r]] == "young" for r in cate["request_id"].to_pylist()])
    effect = cate["effect"].to_numpy()
    assert effect[young].mean() == pytest.approx(0.5, abs=0.1)
    assert effect[~young].mean() == pytest.approx(0.0, abs=0.1)


def test_the_published_learner_is_the_one_that_is_asked_for(market):
    made = market(1500)
    metrics, report, cate = made.run(window_days=0.04, learner="dr", report_learners=())
    assert list(report["out_of_fold"]["rows"]) == [
        "t_learner",
        "dr_learner",
        "constant_ate",
        "outcome_only",
        "random_score",
    ]
    told = report["out_of_fold"]["rows"]["dr_learner"]
    assert metrics["qini_value"] == pytest.approx(told["qini"]["value"])
    _, _, other = made.run(window_days=0.04)
    assert (cate["effect"].to_numpy() != other["effect"].to_numpy()).mean() > 0.9


def test_every_candidate_of_every_sampled_request_has_an_effect(market):
    made = market()
    metrics, _, cate = made.run(window_days=0.04, train_requests=500)
    assert len(cate) == metrics["trials"] == 2500
    assert sum(cate["shown"].to_pylist()) == 1000
    assert cate.schema.equals(schema(CATE))


def test_an_effect_is_known_at_the_cut_whatever_comes_later(market):
    made = market()
    made.run(window_days=0.04)
    before = (made.folder / "cate.parquet").read_bytes()
    made.change_the_future()
    metrics, report, cate = made.run(window_days=0.04)
    assert (made.folder / "cate.parquet").read_bytes() == before
    known = set(made.tables["exposures"]["request_id"].to_pylist())
    assert set(cate["request_id"].to_pylist()) <= known
    assert report["out_of_time"] is None
    assert not any(name.startswith("out_of_time") for name in metrics)


def later(made):
    return pq.read_table(made.folder / "cate_later.parquet")


def test_every_candidate_after_the_cut_has_an_effect_that_ranks_who_is_moved(market):
    made = market()
    made.run(window_days=0.04, test_requests=100)
    rows = made.tables["exposures"]
    asked = dict(zip(rows["request_id"].to_pylist(), rows["user_id"].to_pylist(), strict=True))
    after = rows.filter(pc.greater(rows["event_ts"], pa.scalar(made.split.cut)))
    found = later(made)
    assert found.schema.equals(schema(CATE_LATER))
    assert len(found) == 5 * pc.count_distinct(after["request_id"]).as_py()
    users = dict(zip(*(made.tables["users"][c].to_pylist() for c in ("user_id", "segment")),
                     strict=True))  # fmt: skip
    young = np.array([users[asked[r]] == "young" for r in found["request_id"].to_pylist()])
    effect = found["effect"].to_numpy()
    assert effect[young].min() > effect[~young].max()


def test_nobody_is_scored_after_the_cut_unless_asked_for(market):
    made = market()
    made.run(window_days=0.04, score_later=False)
    assert len(later(made)) == 0


def test_where_the_budget_of_exploration_is_spent_there_is_no_trial(market):
    made = market()
    rows = made.tables["exposures"]
    request = rows["request_id"].to_pylist()
    is_spent = [zlib.crc32(one.encode()) % 2 == 0 for one in request]
    policy = [f"v0{UNEXPLORED}" if spent else "v0" for spent in is_spent]
    place = rows.schema.get_field_index("policy_id")
    made.tables["exposures"] = rows.set_column(place, rows.schema.field(place), pa.array(policy))
    _, _, cate = made.run(window_days=0.04)
    spent = {one for one, is_one in zip(request, is_spent, strict=True) if is_one}
    assert cate["request_id"].to_pylist()
    assert not spent & set(cate["request_id"].to_pylist())
    assert spent & set(later(made)["request_id"].to_pylist()), "a server is asked there, too"


def test_effects_after_the_cut_know_neither_what_came_of_it_nor_the_policy_of_the_log(market):
    made = market()
    made.run(window_days=0.04)
    before = later(made)
    events, rows = made.tables["events"], made.tables["exposures"]
    made.tables["events"] = events.filter(
        pc.less_equal(events["event_ts"], pa.scalar(made.split.cut))
    )
    even = [[0.2] * len(ids) for ids in rows["candidate_ids"].to_pylist()]
    is_late = pc.greater(rows["event_ts"], pa.scalar(made.split.cut)).to_pylist()
    given = rows["candidate_propensities"].to_pylist()
    mixed = [new if late else old for new, old, late in zip(even, given, is_late, strict=True)]
    place = rows.schema.get_field_index("candidate_propensities")
    made.tables["exposures"] = rows.set_column(
        place, rows.schema.field(place), pa.array(mixed, rows.schema.field(place).type)
    )
    made.run(window_days=0.04)
    assert later(made).equals(before)


def test_what_investors_do_moves_the_effects_of_other_folds_alone(market):
    made = market()
    _, _, cate = made.run(window_days=0.04)
    events = made.tables["events"]
    fold_B = folds_of(events["user_id"], 3, 7)
    # The outcomes of fold 0 vanish from where learning begins.
    late_B = pc.greater(events["event_ts"], pa.scalar(made.middle))
    made.tables["events"] = events.filter(pa.array(~((fold_B == 0) & late_B.to_numpy())))
    _, _, other = made.run(window_days=0.04)
    rows = made.tables["exposures"]
    asked = dict(zip(rows["request_id"].to_pylist(), rows["user_id"].to_pylist(), strict=True))
    users = pa.chunked_array([[asked[r] for r in cate["request_id"].to_pylist()]])
    same = cate["effect"].to_numpy() == other["effect"].to_numpy()
    mine = folds_of(users, 3, 7) == 0
    assert same[mine].all()
    assert same[~mine].mean() < 0.1


def test_noise_has_no_qini_however_hard_it_is_learnt(market):
    made = market(6000, effect={"young": 0.0, "old": 0.0})
    _, report, _ = made.run(window_days=0.04, trees=60, leaves=31, bootstrap=100)
    for part in (report["out_of_fold"], report["out_of_time"]):
        qini = part["rows"]["x_learner"]["qini"]
        # Learners share investors, so half the interval would be too narrow out of fold.
        assert abs(qini["value"]) < qini["high"] - qini["low"]


def test_the_same_log_gives_the_same_bytes_in_any_order(market):
    made = market()
    made.run(window_days=0.04)
    names = ("cate.parquet", "cate_later.parquet", "uplift_report.json")
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
    made = market(100)
    _, report, cate = made.run(window_days=0.04)
    assert report == {"status": "too few exposures"}
    assert not cate["effect"].to_numpy().any()
    assert not later(made)["effect"].to_numpy().any()

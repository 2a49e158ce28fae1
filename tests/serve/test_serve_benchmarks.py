"""What the benchmarks of the service count, on logs and answers that are known to be wrong."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pyarrow.parquet as pq
import pytest

from benchmarks import serve_world, traffic
from benchmarks.report.served import SECTIONS
from benchmarks.serve_exploration import detectable
from benchmarks.serve_kills import Told, count
from benchmarks.serve_quality import ndcg
from benchmarks.serve_sets import Sets, judged
from benchmarks.serve_soak import slope
from benchmarks.serve_swaps import Seen
from tessera.bundles import manifest
from tessera.serve.engine import Engine
from tessera.serve.log import ServedLog, line
from tessera.serve.params import ServeParams
from tessera.serve.retrieval import RETRIEVERS
from tessera.shared.policies.slate import SlatePolicy, step_probabilities

CHECKS = {section.record: section.checks for section in SECTIONS}


def write(folder, *records, torn=b""):
    folder.mkdir(exist_ok=True)
    text = b"".join(map(line, records)) + torn
    (folder / f"{1:020d}-1.log").write_bytes(text)


def slate(name):
    return {"kind": "slate", "request_id": name, "user_id": "u1", "moment": 1}


def test_no_traffic_is_played_into_a_log_that_a_service_writes(workspace, monkeypatch):
    monkeypatch.setattr(traffic, "open_workspace", lambda _: workspace)
    monkeypatch.setattr(traffic, "begin", lambda *_: pytest.fail("it begins"))
    monkeypatch.setattr("sys.argv", ["traffic"])
    log = ServedLog(workspace.served / f"{1:020d}-1.log")
    with pytest.raises(SystemExit, match="a service writes the log in .*: stop it") as refused:
        traffic.main()
    assert "\n" not in str(refused.value)
    log.append(slate("r1")).result()
    log.close()
    assert not traffic.is_served(workspace.served)


def test_what_was_acknowledged_and_is_not_there_is_lost(tmp_path):
    write(tmp_path, slate("r1"))
    told = Told(slates={"r1", "r2"})
    count(told, tmp_path)
    assert (told.lost, told.repeated, told.torn) == ({"r2"}, set(), 0)


def test_what_is_there_twice_is_repeated_and_half_a_line_is_torn(tmp_path):
    write(tmp_path, slate("r1"), slate("r1"), torn=b'{"kind')
    told = Told(slates={"r1"})
    count(told, tmp_path)
    assert (told.lost, told.repeated, told.torn) == (set(), {"r1"}, 1)


@pytest.mark.parametrize(
    ("change", "mixed"),
    [({}, 0), ({"policy_id": "two"}, 1), ({"context_version": "bb+3"}, 1), ({"version": "two"}, 1)],
)
def test_an_answer_of_two_bundles_is_mixed(change, mixed):
    seen = Seen({"one": "aa", "two": "bb"})
    answer = {"version": "one", "policy_id": "one", "context_version": "aa+3"} | change
    seen.take(200, json.dumps(answer).encode())
    seen.take(503, b"")
    assert (seen.mixed, seen.failed) == (mixed, 1)


def test_a_line_through_what_grows_says_so_and_through_noise_does_not():
    at_h, noise = np.arange(10) / 10, np.tile([1.0, -1.0], 5)
    grows, flat = slope(at_h, 100 + 50 * at_h + noise), slope(at_h, 100 + noise)
    assert grows["low"] > 0
    assert flat["low"] < 0 < flat["high"]


def test_the_gain_of_a_list_counts_places():
    assert ndcg(np.array([1, 2, 3]), {1, 2}) == pytest.approx(1.0)
    assert ndcg(np.array([3, 1]), {1}) == pytest.approx(1 / np.log2(3))
    assert ndcg(np.arange(20), {15}) == 0.0


@pytest.mark.parametrize(
    ("rows", "least"),
    [
        ([(60_000, 0.1), (3750, 0.4)], 0.2),
        ([(60_000, 0.1), (30_000, 0.4)], None),
        ([(None, 0.1)], None),
    ],
)
def test_the_least_lift_lies_between_those_that_were_tried(rows, least):
    found = detectable([{"requests": n, "own_share": lift} for n, lift in rows])
    assert found == (least and pytest.approx(least, abs=1e-4))


def test_few_kills_and_swaps_show_nothing():
    good = {"lost": 0, "repeated": 0, "torn": 0}
    assert CHECKS["serve_kills"]["kills"]({"kills": 100, **good}) == [True] * 3
    assert CHECKS["serve_kills"]["kills"]({"kills": 10, **good}) == [False] * 3
    assert CHECKS["serve_kills"]["kills"]({"kills": 100, **good, "lost": 1}) == [False, True, True]
    swaps = {"publishes": 50, "rollbacks": 50, "failed": 0, "mixed": 1}
    assert CHECKS["serve_swaps"]["swaps"](swaps) == [True, False]


def test_memory_is_flat_over_an_hour_or_not_at_all():
    hour = {"minutes": 60, "mb_per_hour_of_events": 6.0, "mb_per_hour": {"low": 4, "high": 30}}
    assert CHECKS["serve_soak"]["flat"](hour) == [True]
    assert CHECKS["serve_soak"]["flat"](hour | {"minutes": 5}) == [False]
    grows = {"low": 7.0, "high": 17.0}
    assert CHECKS["serve_soak"]["flat"](hour | {"mb_per_hour": grows}) == [False]
    assert CHECKS["serve_soak"]["flat"](hour | {"mb_per_hour": grows | {"high": 15.0}}) == [True]


@pytest.mark.parametrize(("p99", "holds"), [(24.0, True), (26.0, False)])
def test_the_figures_of_serving_are_asked_of_their_size(p99, holds):
    one = {"evenly": {"p99": p99}, "steps_ms": {"retrieve": {"p99": 1.0}},
           "feedback_to_effect_ms": {"p99": 1.0}}  # fmt: skip
    found = {"10000": one, "users": 1, "echo": {}}
    assert CHECKS["serve"]["whole"](found) == [holds, False]
    assert CHECKS["serve"]["retrieve"](found) == [False]
    assert CHECKS["serve"]["effect"](found) == [True]


def test_over_all_that_the_top_can_show_the_score_is_the_lift():
    rng, policy = np.random.default_rng(0), SlatePolicy(0.5, 0.2, 3)
    now_NI, later_NI, reward_NI = rng.random((3, 50, 8))
    there_NC = np.ones((50, 5), bool)
    there_NC[::2, 4] = False  # padded
    sets = Sets(np.argsort(rng.random((50, 8)), axis=1)[:, :5], there_NC, np.full(50, 4))
    one = judged(now_NI, later_NI, sets, policy, cap=2.0, guess=0.4)
    reward_NC = sets.of(reward_NI)
    score_NC = reward_NC * one.hit_NC + (1 - reward_NC) * one.missed_NC
    now_NC, later_NC = (
        step_probabilities(sets.of(of_NI), there_NC, policy) for of_NI in (now_NI, later_NI)
    )
    lift_N = ((later_NC - now_NC) * reward_NC).sum(axis=1)
    np.testing.assert_allclose((one.chance_NC * score_NC).sum(axis=1), lift_N, atol=1e-12)
    assert min(one.missed_NC.min(), one.hit_NC.min()) >= -one.floor


def test_the_synthetic_bundle_has_what_a_published_one_has(tmp_path):
    bundle = tmp_path / "v1"
    serve_world.build(bundle, items=60, users=60)
    assert manifest.check(bundle)["kind"] == "model"
    names = [one for one in RETRIEVERS if one != "generated"]  # its model decodes nothing
    shares = dict.fromkeys(names, 0.2)
    engine = Engine.open(bundle, ServeParams(retrieved=20, uniform=4, shares=shares))
    assert list(engine.recommender.retrievers) == names
    user, moment = serve_world.user_name(0), engine.scorer.ranker.moment
    assert engine.who(user, engine.scorer.now(user, moment)).capacity_class in (2, 3, 4)
    found = Counter(engine.answer("r1", user, moment, 10).drawn.source_C)
    assert {"dense", "walk", "content", "popular"} <= set(found)
    assert found["new"] + found["uniform"] == 4
    segments = pq.read_table(bundle / "segments.parquet").to_pylist()
    assert {one["risk_class"] for one in segments} <= {2, 3, 4}
    assert min(one["investors"] for one in segments) >= 1

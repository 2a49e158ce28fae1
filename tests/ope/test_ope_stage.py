"""The whole stage on logs whose truth is known."""

from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest

from tessera.ope.judge import KEYS
from tessera.policies.slate import SlatePolicy

SERVED = SlatePolicy(temperature=1.0, epsilon=0.1, top_k=10)


def failed(verdict):
    return [check["name"] for check in verdict["prechecks"] if not check["ok"]]


def test_a_better_candidate_is_promoted_and_its_true_value_lies_inside(world, rng):
    made = world(20_000)
    verdict = made.judge()
    assert verdict["decision"] == "PROMOTE"
    truth = made.value(made.scores_NC, SERVED, rng)
    candidate = verdict["estimates"]["candidate"]
    assert candidate["mean"] == pytest.approx(truth, abs=3 * candidate["stderr"])
    lift = truth - verdict["estimates"]["champion"]["mean"]
    assert verdict["primary"]["lower"] < lift < verdict["primary"]["upper"]


def test_a_candidate_that_flips_the_truth_is_rejected(world):
    verdict = world(20_000, skill=-1.0).judge()
    assert verdict["decision"] == "REJECT"
    assert verdict["primary"]["upper"] < 0


@pytest.mark.parametrize("bound", ["sequence", "normal"])
def test_random_scores_are_never_promoted(world, bound):
    decisions = {
        world(3000, skill=0.0, seed=seed).judge(bound=bound)["decision"] for seed in (1, 2)
    }
    assert "PROMOTE" not in decisions


def test_the_champion_against_itself_ties_exactly_and_holds(world):
    verdict = world(3000).judge(candidate="champion")
    assert verdict["decision"] == "HOLD"
    assert verdict["primary"]["lift"] == 0.0
    assert {found["mean"] for found in verdict["estimates"]["lift"].values()} == {0.0}
    assert verdict["weights"]["mean"] == 1.0


def test_a_published_model_with_the_same_scores_ties_exactly_and_holds(world):
    made = world(3000)
    made.change("scores", "champion_scores", made.tables["scores"]["candidate_scores"].to_pylist())
    verdict = made.judge()
    assert verdict["champion"] == "published model"
    assert (verdict["decision"], verdict["primary"]["lift"]) == ("HOLD", 0.0)


def test_a_better_candidate_beats_a_published_model(world):
    made = world(20_000)
    rng = np.random.default_rng(1)
    noise = rng.normal(size=(len(made.tables["scores"]), 10)) * 0.3
    made.change("scores", "champion_scores", list(noise))
    verdict = made.judge()
    assert verdict["decision"] == "PROMOTE"
    assert verdict["primary"]["lower"] < verdict["primary"]["lift"] < verdict["primary"]["upper"]


def test_without_exposures_the_verdict_is_invalid_and_whole(world):
    made = world(200)
    for name in ("exposures", "outcomes", "scores"):
        made.tables[name] = made.tables[name].slice(0, 0)
    verdict = made.judge()
    assert verdict["decision"] == "INVALID"
    assert verdict["reason"].startswith("no exposures: ")
    assert list(verdict) == ["version", *KEYS]


def test_exposures_that_all_lie_before_the_cut_say_so(world):
    made = world(200)
    ends = made.split.cut - timedelta(days=1)
    made.change("exposures", "event_ts", [ends] * len(made.tables["exposures"]))
    assert "no exposures after the cut" in made.judge()["reason"]


def test_duplicated_exposures_are_invalid(world):
    made = world(3000)
    rows = made.tables["exposures"]
    made.tables["exposures"] = pa.concat_tables([rows, rows.slice(len(rows) * 17 // 20, 30)])
    assert failed(made.judge()) == ["duplicate_exposures"]


@pytest.mark.parametrize("wrong", [0.0, -0.1, 1.5, float("nan")])
def test_impossible_propensities_are_invalid(world, wrong):
    made = world(3000)
    propensity = made.tables["exposures"]["propensity"].to_numpy().copy()
    propensity[len(propensity) * 17 // 20] = wrong
    made.change("exposures", "propensity", propensity)
    assert "impossible_propensities" in failed(made.judge())


def test_propensities_of_another_policy_are_invalid(world):
    made = world(3000)
    lists = [np.sort(row) for row in made.tables["exposures"]["candidate_propensities"].to_pylist()]
    made.change("exposures", "candidate_propensities", lists)
    assert "propensity_mismatches" in failed(made.judge())


def test_propensities_that_were_joined_wrongly_fail_the_mean_weight_test(world):
    made = world(12_000)
    lists = np.array(made.tables["exposures"]["candidate_propensities"].to_pylist())
    rng = np.random.default_rng(1)
    seen = np.cumsum(np.sort(rng.random(lists.shape), axis=1), axis=1)
    lists = np.where(lists > 0, rng.permuted(seen, axis=1), 0.0)
    lists /= lists.sum(axis=1, keepdims=True)
    ids = made.tables["exposures"]["candidate_ids"].to_pylist()
    shown = made.tables["exposures"]["item_id"].to_pylist()
    at = [row.index(item) for row, item in zip(ids, shown, strict=True)]
    made.change("exposures", "candidate_propensities", list(lists))
    made.change("exposures", "propensity", lists[np.arange(len(at)), at])
    assert "mean_weight_z" in failed(made.judge())


def test_requests_that_nobody_scored_are_invalid(world):
    made = world(3000)
    made.tables["scores"] = made.tables["scores"].slice(1)
    assert "unscored_requests" in failed(made.judge())


def test_a_policy_that_the_log_never_could_follow_is_invalid(world):
    made = world(3000)
    lists = np.array(made.tables["exposures"]["candidate_propensities"].to_pylist())
    shown = made.tables["exposures"]["propensity"].to_numpy()
    only = np.where(np.isclose(lists, shown[:, None]), 1.0, 0.0)
    only /= only.sum(axis=1, keepdims=True)
    made.change("exposures", "candidate_propensities", list(only))
    made.change("exposures", "propensity", only.max(axis=1))
    assert "unsupported_mass" in failed(made.judge())


def test_duplicated_and_late_outcomes_change_nothing(world):
    made = world(3000)
    before = made.judge()
    rows = made.tables["outcomes"]
    clicks = rows.filter(pa.compute.equal(rows["action"], "dismiss")).slice(0, 20)
    late = clicks.set_column(2, "action", pa.array(["click"] * len(clicks)))
    moved = pa.compute.add(late["event_ts"], pa.scalar(timedelta(days=8)))
    late = late.set_column(4, "event_ts", moved).cast(rows.schema)
    made.tables["outcomes"] = pa.concat_tables([rows, rows.slice(0, 50), late])
    after = made.judge()
    assert after["estimates"] == before["estimates"]
    assert after["counts"]["duplicate_outcomes"] == 50
    assert after["counts"]["late"] == len(late)


def test_row_order_changes_no_byte(world):
    made = world(3000)
    made.judge()
    before = (made.folder / "verdict.json").read_bytes()
    rng = np.random.default_rng(5)
    for name, rows in made.tables.items():
        made.tables[name] = rows.take(pa.array(rng.permutation(len(rows))))
    made.judge()
    assert (made.folder / "verdict.json").read_bytes() == before


def test_what_is_learnt_about_users_later_changes_nothing(world):
    made = world(3000)
    before = made.judge()
    users = made.tables["users"]
    later = users.set_column(
        1,
        users.schema.field(1),
        pa.array(
            [made.split.test_until + timedelta(days=1)] * len(users), users.schema.field(1).type
        ),
    )
    later = later.set_column(2, users.schema.field(2), pa.array([1] * len(users)))
    made.tables["users"] = pa.concat_tables([users, later])
    assert made.judge() == before


def test_permuted_rewards_are_reported_and_never_promoted(world):
    controls = world(12_000).judge()["controls"]
    assert controls["permuted_rewards"] == {"tried": 20, "promoted": 0}
    assert controls["same_policy_lift"] == 0.0
    replay = controls["a_a_replay"]
    assert abs(replay["difference"]) < 4 * replay["stderr"]

"""What is wrong with a log is left out or refused, and the verdict says how much there was."""

from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest

from tessera.contracts.tables import UNEXPLORED
from tessera.shared.policies.exploration import Belief, ThompsonPolicy, thompson_step
from tessera.shared.policies.slate import SlatePolicy, epsilon_greedy, scored_step

SERVED = SlatePolicy(temperature=1.0, epsilon=0.1, top_k=10)


def moved(rows, **changes):
    """Overwrite columns of outcomes; `by` shifts their times."""
    by = changes.pop("by", timedelta(0))
    changes["event_ts"] = pa.compute.add(rows["event_ts"], pa.scalar(by))
    for name, value in changes.items():
        at = rows.schema.get_field_index(name)
        filled = pa.array([value] * len(rows)) if isinstance(value, str) else value
        rows = rows.set_column(at, rows.schema.field(at), filled.cast(rows.schema.field(at).type))
    return rows


def late_slates(made, count):
    """First rows of some requests of three positions after the cut and well before the end."""
    ids = made.tables["exposures"]["request_id"].to_numpy(zero_copy_only=False)
    names, first_N, size_N = np.unique(ids, return_index=True, return_counts=True)
    requests = len(made.chance_NC)
    inside = (names > f"r{int(0.75 * requests):06d}") & (names < f"r{int(0.9 * requests):06d}")
    return first_N[inside & (size_N == 3)][:count]


def thompson(scores_NC):
    belief = Belief(scores_NC, np.full(scores_NC.shape, 1.5))
    return thompson_step(belief, ThompsonPolicy(draws=64, epsilon=0.3, seed=5))


def mostly_greedy(scores_NC):
    return scored_step(scores_NC, epsilon_greedy(0.6))


@pytest.mark.parametrize("logger", [mostly_greedy, thompson])
def test_the_gate_knows_the_value_of_a_candidate_whatever_explored(world, rng, logger):
    made = world(20_000, logger=logger)
    verdict = made.judge()
    assert verdict["decision"] == "PROMOTE", verdict["reason"]
    truth = made.value(made.scores_NC, SERVED, rng)
    candidate = verdict["estimates"]["candidate"]
    assert candidate["mean"] == pytest.approx(truth, abs=3.3 * candidate["stderr"])


def test_outcomes_that_do_not_count_change_no_estimate_and_are_each_counted(world):
    made = world(3000)
    before = made.judge()
    rows, shown = made.tables["outcomes"], made.tables["exposures"]
    dismissed = rows.filter(pa.compute.equal(rows["action"], "dismiss"))
    assert len(dismissed) >= 26
    of_another = moved(dismissed.slice(20, 6), action="click", item_id="not_on_the_slate")
    wrong = [
        rows.slice(0, 50),
        moved(dismissed.slice(0, 5), action="click", by=timedelta(days=-1)),
        moved(dismissed.slice(5, 7), action="click", by=timedelta(days=1)),
        moved(dismissed.slice(12, 8), action="click", request_id="nobody_asked"),
        of_another,
    ]
    made.tables["outcomes"] = pa.concat_tables([rows, *wrong])
    after = made.judge(max_duplicates=0.1)
    assert after["estimates"] == before["estimates"]
    assert after["n_requests"] == before["n_requests"]
    known = {"exposures": len(shown), "outcomes": len(rows) + 76, "duplicate_exposures": 0}
    lost = {"duplicate_outcomes": 50, "early": 5, "late": 7, "orphan": 8, "not_shown": 6}
    assert after["counts"] == {
        **known, **lost, "attributed": before["counts"]["attributed"], "requests_unexplored": 0
    }  # fmt: skip


def test_an_outcome_given_again_too_early_takes_nothing_away(world):
    made = world(3000)
    before = made.judge()
    rows = made.tables["outcomes"]
    made.tables["outcomes"] = pa.concat_tables([rows, moved(rows, by=timedelta(days=-2))])
    assert made.judge(max_duplicates=1.0)["estimates"] == before["estimates"]


@pytest.mark.parametrize("column", ["propensity", "user_id", "item_id"])
def test_an_exposure_logged_twice_and_differently_is_never_silently_kept(world, column, failed):
    made = world(3000)
    rows = made.tables["exposures"]
    at = late_slates(made, 1)[0]
    other = rows.slice(at + 1, 1) if column != "user_id" else rows.slice(0, 1)
    twin = moved(rows.slice(at, 1), **{column: other[column].combine_chunks()})
    found = []
    for order in ([rows, twin], [twin, rows]):
        made.tables["exposures"] = pa.concat_tables(order)
        verdict = made.judge()
        assert verdict["decision"] == "INVALID"
        assert "duplicate_exposures" in failed(verdict)
        assert verdict["counts"]["exposures"] == len(rows) + 1
        found.append(verdict)
    assert found[0] == found[1], "which copy came first decides nothing"


@pytest.mark.parametrize(
    ("column", "reason"), [("user_id", "users_disagree"), ("item_id", "item_repeated")]
)
def test_slates_that_contradict_themselves_are_dropped_and_counted(world, column, reason):
    made = world(3000)
    before = made.judge()
    first_N = late_slates(made, 4)
    values = made.tables["exposures"][column].to_pylist()
    for first in first_N:
        values[first + 2] = "somebody_else" if column == "user_id" else values[first]
    made.change("exposures", column, values)
    verdict = made.judge()
    assert verdict["decision"] != "INVALID", verdict["reason"]
    assert verdict["requests_dropped"]["reasons"][reason] == 4
    assert verdict["requests_dropped"]["requests"] == 4
    assert verdict["n_requests"] == before["n_requests"] - 4


def test_requests_whose_budget_of_exploration_was_spent_are_left_out_and_counted(world, failed):
    made = world(12_000)
    rows = made.tables["exposures"]
    number_R = np.array([int(name[1:]) for name in rows["request_id"].to_pylist()])
    spent_R = number_R % 3 == 0
    sure = [
        np.where(np.array(ids) == item, 1.0, 0.0) if spent else chances
        for ids, item, chances, spent in zip(
            rows["candidate_ids"].to_pylist(), rows["item_id"].to_pylist(),
            rows["candidate_propensities"].to_pylist(), spent_R, strict=True,
        )
    ]  # fmt: skip
    made.change("exposures", "candidate_propensities", sure)
    propensity = rows["propensity"].to_numpy()
    made.change("exposures", "propensity", np.where(spent_R, 1.0, propensity))
    refused = made.judge()
    assert "unsupported_mass" in failed(refused)
    assert refused["counts"]["requests_unexplored"] == 0
    made.change("exposures", "policy_id", np.where(spent_R, "v0" + UNEXPLORED, "v0"))
    verdict = made.judge()
    assert verdict["decision"] != "INVALID", verdict["reason"]
    assert verdict["counts"]["requests_unexplored"] == refused["n_requests"] - verdict["n_requests"]
    assert verdict["n_requests"] == pytest.approx(2 / 3 * refused["n_requests"], abs=1)


def test_counts_are_told_even_if_there_is_nothing_to_judge_by(world):
    made = world(200)
    made.tables["exposures"] = made.tables["exposures"].slice(0, 0)
    counts = made.judge()["counts"]
    assert counts["exposures"] == counts["attributed"] == 0
    assert counts["orphan"] == counts["outcomes"] == len(made.tables["outcomes"])

"""The whole stage on logs whose truth is known."""

import hashlib
import itertools
import json
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from tessera.contracts.errors import BrokenBundle
from tessera.offpolicy.paired import paired_scores
from tessera.shared.policies.serving import ServingPolicy
from tessera.shared.policies.slate import SlatePolicy
from tessera.shared.policies.suitability import Unknown
from tessera.stages.ope import controls
from tessera.stages.ope.document import KEYS
from tessera.stages.report import words

SERVED = SlatePolicy(temperature=1.0, epsilon=0.1, top_k=10)
LOGGER = SlatePolicy(temperature=1.0, epsilon=0.2, top_k=10)
RANKING = {
    "users": 1234,
    "models": {"hstu": {"hr_10": 0.5, "ndcg_10": 0.25, "recall_10": 0.3},
               "ease": {"hr_10": 0.4, "ndcg_10": 0.2, "recall_10": 0.2}},
    "best_baseline": "ease",
    "lead": {"mean": 0.05, "low": 0.01, "high": 0.09},
}  # fmt: skip


def test_a_better_candidate_is_promoted_and_its_true_value_lies_inside(world, rng):
    made = world(20_000)
    verdict = made.judge()
    assert verdict["decision"] == "PROMOTE"
    truth = made.value(made.scores_NC, SERVED, rng)
    candidate = verdict["estimates"]["candidate"]
    assert candidate["mean"] == pytest.approx(truth, abs=3 * candidate["stderr"])
    lift = truth - verdict["estimates"]["champion"]["mean"]
    assert verdict["primary"]["lower"] < lift < verdict["primary"]["upper"]


def test_the_page_is_written_from_the_verdict_beside_it(world):
    made = world(3000)
    verdict = made.judge()
    page = made.page()
    digest = hashlib.sha256((made.folder / "verdict.json").read_bytes()).hexdigest()
    assert f"<title>Tessera verdict: {verdict['decision']}</title>" in page
    assert digest in page
    rows = verdict["prechecks"] + verdict["conditions"] + verdict["guardrails"]
    assert page.count("data-check=") == len(rows)
    assert all(words.RULES[row["name"]] for row in rows)
    rows = verdict["slices"]["rows"]
    assert {
        sum(r["n_requests"] for r in rows if r["by"] == by) for by in {r["by"] for r in rows}
    } == {verdict["n_requests"]}


def test_a_candidate_that_flips_the_truth_is_rejected(world):
    verdict = world(20_000, skill=-1.0).judge()
    assert verdict["decision"] == "REJECT"
    assert verdict["primary"]["upper"] < 0


def test_random_scores_are_never_promoted(world):
    decisions = {world(3000, skill=0.0, seed=seed).judge()["decision"] for seed in (1, 2)}
    assert "PROMOTE" not in decisions


def own_scores(made):
    return made.tables["scores"]["candidate_scores"].to_pylist()


def held_as_identical(verdict):
    """Held for the right reason, on estimates that cancel: the lift is known to be exactly 0."""
    primary = verdict["primary"]
    assert verdict["decision"] == "HOLD"
    assert verdict["reason"].startswith("identical policies")
    assert {
        (found["mean"], found["stderr"]) for found in verdict["estimates"]["lift"].values()
    } == {(0.0, 0.0)}
    return primary["lower"] == primary["upper"] == 0


def test_the_champion_against_itself_is_held_as_identical(world):
    verdict = world(3000).judge(candidate="champion")
    assert held_as_identical(verdict)
    assert verdict["weights"]["mean"] == 1.0


@pytest.mark.parametrize("margin", [0.0, 1.0])
def test_a_published_model_with_the_same_scores_and_policy_is_held_as_identical(world, margin):
    made = world(3000)
    made.publish(own_scores(made), ServingPolicy(SERVED, 3))
    verdict = made.judge(margin=margin)
    assert verdict["champion"] == "published model"
    assert held_as_identical(verdict)
    assert verdict["controls"]["same_policy"] == {"largest_score": 0.0}
    assert {(row["mean"], row["lower"]) for row in verdict["periods"]} == {(0.0, 0.0)}


def test_the_champion_is_replayed_with_the_policy_it_was_published_with(world, rng):
    made = world(20_000)
    published = SlatePolicy(temperature=20.0, epsilon=0.3, top_k=10)
    made.publish(own_scores(made), ServingPolicy(published, 3))
    verdict = made.judge()
    champion = verdict["estimates"]["champion"]
    truth = made.value(made.scores_NC, published, rng)
    assert champion["mean"] == pytest.approx(truth, abs=3 * champion["stderr"])
    assert verdict["decision"] == "PROMOTE", "the same scores, served more sharply"
    assert verdict["champion_policy"] == ServingPolicy(published, 3).facts()
    assert verdict["policy"] == ServingPolicy(SERVED, 3).facts()


def test_what_unknown_counts_as_decides_what_the_candidate_may_show(world):
    """Every item loses its class: as class 4 almost nothing suits, as class 1 everything does."""
    made = world(2000)
    made.change("items", "risk_class", [None] * len(made.tables["items"]))
    prudent = made.judge()
    assert "unknown_item" not in prudent["policy"]
    made.unknown = Unknown(user=1, item=1)
    bold = made.judge()
    assert bold["policy"]["unknown_item"] == 1
    assert prudent["estimates"]["candidate"]["mean"] != bold["estimates"]["candidate"]["mean"]


def test_a_published_model_without_its_policy_cannot_be_replayed(world):
    made = world(1000)
    made.publish(own_scores(made), None)
    with pytest.raises(BrokenBundle, match=r"policy\.json.*run again"):
        made.judge()


def test_a_champion_for_longer_slates_cannot_be_compared(world, failed):
    made = world(3000)
    made.publish(own_scores(made), ServingPolicy(SERVED, 4))
    verdict = made.judge()
    assert verdict["decision"] == "INVALID"
    assert failed(verdict) == ["slate_size"]


@pytest.mark.parametrize(("days", "decision"), [(0, "HOLD"), (1, "INVALID")])
def test_a_champion_that_has_seen_the_requests_cannot_be_beaten_on_them(
    world, days, decision, failed
):
    made = world(3000)
    made.publish(own_scores(made), ServingPolicy(SERVED, 3))
    cut = (made.split.cut + timedelta(days=days)).isoformat()
    (made.folder / "champion.json").write_text(json.dumps({"learnt_until": cut}))
    verdict = made.judge()
    assert verdict["decision"] == decision
    assert failed(verdict) == (["champion_has_seen"] if days else [])


def scores_that_served(made):
    """Scores from which the policy of the log draws as it did, but for rounding."""
    rows = made.tables["exposures"].filter(pc.equal(made.tables["exposures"]["position"], 1))
    chance_NC = np.array(rows.sort_by("request_id")["candidate_propensities"].to_pylist())
    even_N1 = LOGGER.epsilon / (chance_NC > 0).sum(axis=1, keepdims=True)
    told_NC = np.log(np.where(chance_NC > 0, chance_NC - even_N1, 1.0))
    return [list(one) for one in told_NC[made.after]]


def test_a_champion_that_wrote_the_log_is_judged_by_what_it_earned(world):
    made = world(3000)
    as_log = made.judge(permutations=0)
    (made.folder / "champion.json").write_text('{"version": "v0"}')
    made.publish(scores_that_served(made), ServingPolicy(LOGGER, 3))
    verdict = made.judge(permutations=0)
    assert verdict["champion"] == "published model"
    served = {"requests": verdict["n_requests"], "as_logged": verdict["n_requests"]}
    assert verdict["champion_served"] == served
    for told in ("lift", "lower", "upper"):
        assert verdict["primary"][told] == pytest.approx(as_log["primary"][told], abs=1e-6)
    assert f"of which its replay gives {verdict['n_requests']} as logged" in made.page()
    # Told apart from the log by little, it may have lost more below a prefix: less is staked.
    near_NC = np.array(scores_that_served(made)) + 0.01 * (np.arange(10) % 2)
    made.publish(near_NC.tolist(), ServingPolicy(LOGGER, 3))
    (made.folder / "champion.json").write_text('{"version": "another"}')
    other = made.judge(permutations=0)
    assert other["champion_served"] == {"requests": 0, "as_logged": 0}
    assert other["primary"]["lower"] < verdict["primary"]["lower"] - 0.01


@pytest.mark.parametrize(
    ("tenths", "least", "fails"), [(6, 0.5, True), (4, 0.5, False), (4, 0.7, True)]
)
def test_a_champion_whose_replay_is_not_what_it_served_cannot_be_judged(
    world, failed, tenths, least, fails
):
    made = world(3000)
    (made.folder / "champion.json").write_text('{"version": "v0"}')
    scores = scores_that_served(made)
    for number, row in enumerate(scores):
        row[:] = [-one if number % 10 < tenths else one for one in row]
    made.publish(scores, ServingPolicy(LOGGER, 3))
    verdict = made.judge(permutations=0, min_as_served=least)
    told = verdict["champion_served"]
    assert told["as_logged"] / told["requests"] == pytest.approx(1 - tenths / 10, abs=0.02)
    assert ("champion_as_served" in failed(verdict)) == fails
    assert (verdict["decision"] == "INVALID") >= fails


def test_the_order_of_caps_decides_nothing_and_the_widest_is_what_parts_are_told_by(world):
    made = world(3000)
    made.publish((-np.array(own_scores(made))).tolist(), ServingPolicy(SERVED, 3))
    one, other = (
        made.judge(caps=caps, permutations=0)
        for caps in ([(2.0, 1.0), (2.0, 20.0)], [(2.0, 20.0), (2.0, 1.0)])
    )
    for told in ("decision", "primary", "periods", "conditions", "sequence"):
        assert one[told] == other[told], told
    narrow = made.judge(caps=[(2.0, 1.0)], permutations=0)
    assert narrow["primary"]["paid"] > one["primary"]["paid"]


def test_a_better_candidate_beats_a_published_model(world):
    made = world(20_000)
    rng = np.random.default_rng(1)
    noise = rng.normal(size=(len(made.tables["scores"]), 10)) * 0.3
    made.publish(list(noise), ServingPolicy(SERVED, 3))
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


def without_row(made, position, requests=1):
    """Lose the row at this position (0 is the first) of some whole requests after the cut."""
    rows = made.tables["exposures"]
    ids = rows["request_id"].to_numpy(zero_copy_only=False)
    names, first_N, size_N = np.unique(ids, return_index=True, return_counts=True)
    whole_N = (size_N == 3) & (names > f"r{int(0.75 * len(made.chance_NC)):06d}")
    lost = first_N[whole_N][:requests] + position
    made.tables["exposures"] = rows.take(pa.array(np.delete(np.arange(len(rows)), lost)))
    if position == 0:  # a request without its first row is not scored
        unscored = pa.array(ids[lost])
        kept = pa.compute.is_in(made.tables["scores"]["request_id"], value_set=unscored)
        made.tables["scores"] = made.tables["scores"].filter(pa.compute.invert(kept))


@pytest.mark.parametrize(
    ("position", "reason"), [(0, "position_missing"), (1, "position_missing"), (2, "ends_early")]
)
def test_one_lost_row_costs_one_request_and_no_verdict(world, position, reason):
    made = world(3000)
    before = made.judge()
    without_row(made, position)
    after = made.judge()
    assert after["decision"] == before["decision"] != "INVALID"
    assert (
        after["requests_dropped"]["reasons"][reason] == after["requests_dropped"]["requests"] == 1
    )
    assert after["n_requests"] == before["n_requests"] - 1


def test_candidates_that_disagree_within_a_request_drop_it(world):
    made = world(3000)
    ids = made.tables["exposures"]["candidate_ids"].to_pylist()
    ids[-40] = ids[-40][::-1]
    made.change("exposures", "candidate_ids", ids)
    verdict = made.judge(window_days=0.001)
    assert verdict["decision"] != "INVALID"
    assert verdict["requests_dropped"]["reasons"]["candidates_disagree"] == 1


@pytest.mark.parametrize(("lost", "valid"), [(5, True), (12, False)])
def test_more_than_one_in_a_hundred_requests_dropped_is_invalid(world, lost, valid, failed):
    made = world(3000)
    without_row(made, 1, lost)
    verdict = made.judge()
    assert verdict["requests_dropped"]["share"] == pytest.approx(
        lost / (verdict["n_requests"] + lost)
    )
    assert failed(verdict) == ([] if valid else ["requests_dropped"])
    assert (verdict["decision"] != "INVALID") == valid
    assert made.judge(max_dropped=0.05)["decision"] != "INVALID"


def test_a_log_of_nothing_but_torn_slates_says_so(world):
    made = world(1000)
    rows = made.tables["exposures"]
    made.tables["exposures"] = rows.filter(pa.compute.equal(rows["position"], 2))
    verdict = made.judge()
    assert "no slate after the cut was logged whole" in verdict["reason"]
    assert verdict["policy"]["slate_size"] is None


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
    found = world(12_000).judge()["controls"]
    assert found["permuted_rewards"] == {"tried": 20, "promoted": 0, "most_by_luck": 10}
    assert found["same_policy"]["largest_score"] == 0
    halves = found["random_halves"]
    assert abs(halves["difference"]) < 4 * halves["stderr"]


def finds_in_nothing(numbers):
    """Wealth that is too large the n-th time it is asked for, for every n that is given."""
    asked = itertools.count()
    return lambda *_: 1e9 if next(asked) in numbers else -1.0


@pytest.mark.parametrize(
    ("found", "fails"),
    [(range(10), []), (range(11), ["permuted_promoted"])],
    ids=["ten of twenty", "eleven of twenty"],
)
def test_where_something_is_found_in_nothing_the_verdict_is_invalid(
    world, failed, monkeypatch, found, fails
):
    monkeypatch.setattr(controls, "log_wealth", finds_in_nothing(found))
    verdict = world(20_000).judge()
    assert failed(verdict) == fails
    assert verdict["decision"] == ("INVALID" if fails else "PROMOTE")


def test_a_candidate_that_differs_from_itself_makes_the_verdict_invalid(world, failed, monkeypatch):
    def off(*given):
        found = paired_scores(*given)
        return replace(found, score_N=found.score_N + 1e-6)

    monkeypatch.setattr(controls, "paired_scores", off)
    verdict = world(3000).judge()
    assert failed(verdict) == ["same_policy_score"]
    assert verdict["decision"] == "INVALID"


def test_a_batch_is_refused_by_the_controls_of_the_one_that_it_proposes(world, monkeypatch):
    monkeypatch.setattr(controls, "log_wealth", finds_in_nothing(range(20)))
    verdict = world(20_000).judge(further_temperatures=[2.0])
    assert verdict["decision"] == "INVALID"
    assert [row["decision"] for row in verdict["batch"] if row["proposed"]] == ["INVALID"]


def test_the_top_position_is_told_by_clusters_of_codes_and_decides_nothing(world):
    made = world(3000)
    before = made.judge()
    clustered = before["estimates"]["top_lift"]
    assert clustered["mips"]["mean"] > 0 < clustered["offcem"]["mean"]
    assert "Top position, weighted by cluster" in made.page()
    made.change("codes", "code", [[0, i, 0] for i in range(len(made.tables["codes"]))])
    after = made.judge()
    weighted = after["estimates"]["top_lift"]["mips"]
    assert weighted["mean"] == pytest.approx(0, abs=1e-12), "one cluster of everything"
    for told in ("decision", "primary", "guardrails", "prechecks"):
        assert after[told] == before[told]


def test_a_stage_without_exposures_hands_the_ranking_on(world):
    made = world(600)
    for name in ("exposures", "outcomes", "scores"):
        made.tables[name] = made.tables[name].slice(0, 0)
    over = {"best_baseline": "ease", "models": {"hstu": RANKING["lead"]}}
    made.ranking = {"users": 1234, "models": RANKING["models"],
                    "intervals": {"ndcg_10_minus_best_baseline": over}}  # fmt: skip
    made.told = {"profile": "my-bank"}
    verdict = made.judge()
    assert verdict["decision"] == "INVALID"
    assert verdict["ranking"] == RANKING
    assert verdict["profile"] == "my-bank"
    assert "What to log, and how" in made.page()

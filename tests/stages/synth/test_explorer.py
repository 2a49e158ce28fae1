"""The market logged under every policy: propensities that served, budgets kept, values known."""

import duckdb
import numpy as np
import pytest

from tessera.contracts.tables import UNEXPLORED
from tessera.shared.policies.exploration import learnt_score
from tessera.shared.policies.slate import SlatePolicy, replay_slates, slate_propensities
from tessera.stages.synth.behaviour import logging_scores, visits
from tessera.stages.synth.explorer import SPREAD, Explorer, house_step
from tessera.stages.synth.interactions import CLICK, DAY, SECOND, Interactions, Slates
from tessera.stages.synth.params import SynthParams
from tessera.stages.synth.stage import draw_market, run
from tessera.stages.synth.truth import load_truth, logging_value, oracle_scores, value_by_request

SIZE = SynthParams(
    users=150, items=60, requests=6_000, days=90, slate_size=3, draws=32, epsilon=0.2
)
NEWCOMER = SlatePolicy(temperature=1.5, epsilon=0.2, top_k=10)


CAPPED = {"capped": "thompson", "capped_softmax": "softmax"}
"""With one exploring visit a day."""
KINDS = ("epsilon_greedy", "thompson", *CAPPED)


@pytest.fixture(scope="module")
def markets(tmp_path_factory):
    """A market of each policy."""
    folders = {kind: tmp_path_factory.mktemp(kind) / "source" for kind in KINDS}
    for kind, folder in folders.items():
        changed = {
            "explorer": CAPPED.get(kind, kind),
            "explore_per_day": 1 if kind in CAPPED else None,
        }
        run(source=folder, params=SIZE.model_copy(update=changed))
    return folders


@pytest.fixture(params=KINDS)
def explored(request, markets):
    return markets[request.param]


def columns(source, names):
    return duckdb.sql(f"""
        select {names} from '{source}/exposures.parquet' where position = 1 order by request_id
    """).to_arrow_table()


def test_the_answers_give_the_logged_propensities_again_bit_for_bit(explored, reader):
    truth, log = load_truth(explored), reader(explored)
    unsure = truth.stddev_NC is not None
    stddev_NC = np.asarray(truth.stddev_NC, float) if unsure else np.zeros(truth.item_NC.shape)
    explores_N = np.ones(len(stddev_NC), bool) if truth.explores_N is None else truth.explores_N
    step = house_step(truth.policy, np.asarray(truth.score_NC, float), stddev_NC, explores_N)
    everything_NC = np.ones(stddev_NC.shape, dtype=bool)
    propensity_NL, probability_NLC = replay_slates(step, everything_NC, log.chosen_NL)
    np.testing.assert_array_equal(propensity_NL, log.propensity_NL)
    np.testing.assert_array_equal(probability_NLC, log.probability_NLC)
    np.testing.assert_allclose(log.probability_NLC.sum(axis=2), 1.0)


@pytest.mark.parametrize("kind", KINDS)
def test_the_log_says_which_policy_and_from_what_it_chose(markets, kind):
    explored = markets[kind]
    said = columns(explored, "policy_id, context_version")
    truth = load_truth(explored)
    policies = set(said["policy_id"].to_pylist())
    contexts = set(said["context_version"].to_pylist())
    named = {"epsilon_greedy": "v0/epsilon_greedy", "capped_softmax": "v0"}.get(kind, "v0/thompson")
    assert policies == {named} | ({named + UNEXPLORED} if truth.explores_N is not None else set())
    learns = {f"market-1/day-{day}/draws-32/seed-7" for day in range(0, 90, 5)}
    assert contexts == (learns if named == "v0/thompson" else {"market-1"})


def test_no_more_visits_of_a_day_explore_than_the_budget_has(markets, reader):
    truth, log = load_truth(markets["capped"]), reader(markets["capped"])
    said = columns(
        markets["capped"], "user_id, (event_ts at time zone 'UTC')::date as day, policy_id"
    )
    spent_N = np.array([name.endswith(UNEXPLORED) for name in said["policy_id"].to_pylist()])
    np.testing.assert_array_equal(spent_N, ~truth.explores_N)
    assert 0.1 < spent_N.mean() < 0.9
    best_NL = np.argsort(-np.asarray(truth.score_NC), axis=1, kind="stable")[:, :3]
    strays_N = (log.chosen_NL != best_NL).any(axis=1)
    whose = list(zip(said["user_id"].to_pylist(), said["day"].to_pylist(), strict=True))
    astray = [whose[n] for n in np.flatnonzero(strays_N)]
    assert len(astray) > 100
    assert len(astray) == len(set(astray))


def test_the_logging_policys_true_value_is_the_mean_logged_reward(explored, reader, z_score):
    log = reader(explored)
    reward_N = (log.click_NL | log.buy_NL).sum(axis=1)
    assert abs(z_score(reward_N, logging_value(load_truth(explored)))) < 3.3


def test_the_weighted_log_gives_the_true_value_of_another_policy(explored, reader, z_score):
    truth, log = load_truth(explored), reader(explored)
    # Who had budget left was settled before anything was drawn: leaving the others out is no bias.
    able_N = np.ones(len(log.chosen_NL), bool) if truth.explores_N is None else truth.explores_N
    score_NC = oracle_scores(truth)
    everything_NC = np.ones(score_NC.shape, dtype=bool)
    wanted_NL, _ = slate_propensities(score_NC, everything_NC, NEWCOMER, log.chosen_NL)
    weight_NL = np.cumprod(wanted_NL / log.propensity_NL, axis=1)[able_N]
    value_N = (weight_NL * (log.click_NL | log.buy_NL)[able_N]).sum(axis=1)
    truth_N = value_by_request(truth, score_NC, NEWCOMER)[able_N]
    assert abs(z_score(value_N - truth_N, 0.0)) < 3.3
    assert abs(z_score(weight_NL[:, -1], 1.0)) < 3.3


@pytest.mark.parametrize("day", [0, 30, 85])
def test_what_thompson_believes_on_a_day_was_clicked_before_it(markets, day):
    source, truth = markets["thompson"], load_truth(markets["thompson"])
    start = f"timestamptz '2024-01-01 00:00:00+00' + interval {day} days"
    rows = duckdb.sql(f"""
        select x.item_id, count(*) as shown, count(*) filter (o.event_ts < {start}) as clicked
        from '{source}/exposures.parquet' x left join '{source}/outcomes.parquet' o
            on o.request_id = x.request_id and o.item_id = x.item_id and o.action = 'click'
        where x.event_ts < {start} group by all
    """).fetchall()
    counts_2I = np.zeros((2, SIZE.items), dtype=int)
    for item, shown, clicked in rows:
        counts_2I[:, int(item[1:])] = shown, clicked
    _, stddev_I = learnt_score(*counts_2I, SPREAD)
    said = columns(source, "context_version")["context_version"].to_pylist()
    then_N = np.array([f"/day-{day}/" in context for context in said])
    assert then_N.any()
    expected_NC = stddev_I[truth.item_NC[then_N]].astype(np.float32)
    np.testing.assert_array_equal(truth.stddev_NC[then_N], expected_NC)


def test_the_default_is_a_softmax_without_a_budget(truth):
    assert truth.policy == SlatePolicy(1.0, 0.3, 9)
    assert truth.stddev_NC is None
    assert truth.explores_N is None


def test_a_click_is_learnt_in_the_block_after_it_and_all_is_kept_as_it_was_used():
    params = SIZE.model_copy(update={"explorer": "thompson"})
    market = draw_market(params)
    user_N, item_NC = np.zeros(40, dtype=int), np.tile(np.arange(10), (40, 1))
    at_us_N = np.full(40, 5 * DAY - SECOND)
    chosen_NL = np.tile([0, 1, 2], (40, 1))
    explorer = Explorer(market, user_N, at_us_N)
    slates = Slates(user_N, at_us_N, item_NC, chosen_NL, np.ones((40, 3)), np.ones((40, 3, 10)))
    clicked = np.arange(20)
    late_us = np.where(clicked < 5, 5 * DAY - 1, 5 * DAY)
    clicks = Interactions(
        clicked, clicked * 0, np.full(20, CLICK), late_us, clicked >= 0, clicked >= 0
    )
    none_UI = np.zeros((params.users, params.items), dtype=np.float32)
    first = visits(market, user_N, np.full(40, 4.9), none_UI, 4)
    before = explorer.grounds(first, item_NC, 0)
    explorer.remember(slates, clicks)
    again = explorer.grounds(first, item_NC, 0)
    np.testing.assert_array_equal(again.score_NC, before.score_NC)
    np.testing.assert_array_equal(again.stddev_NC, before.stddev_NC)
    for day, counted in ((5, 5), (10, 20)):
        explorer.learn(day)
        seen = visits(market, user_N, np.full(40, float(day)), none_UI, day)
        grounds = explorer.grounds(seen, item_NC, 0)
        shown_I, clicked_I = np.zeros(params.items, int), np.zeros(params.items, int)
        shown_I[:3], clicked_I[0] = 40, counted
        mean_I, stddev_I = learnt_score(shown_I, clicked_I, SPREAD)
        score_NC = logging_scores(market, seen, item_NC) + mean_I[item_NC]
        np.testing.assert_array_equal(grounds.score_NC, score_NC.astype(np.float32))
        np.testing.assert_array_equal(grounds.stddev_NC, stddev_I[item_NC].astype(np.float32))

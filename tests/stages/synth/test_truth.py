import duckdb
import numpy as np
import pytest

from tessera.shared.policies.slate import SlatePolicy, slate_propensities
from tessera.stages.synth.truth import (
    expected_reward,
    load_truth,
    logging_value,
    oracle_scores,
    true_cate,
    true_edges,
    true_value,
    value_by_request,
)

PERSONAL = SlatePolicy(temperature=1.5, epsilon=0.2, top_k=10)


def at(array_NC, chosen_NL):
    return np.take_along_axis(np.asarray(array_NC), chosen_NL, axis=1)


def test_truth_lists_candidates_in_the_order_of_the_log(truth, log):
    number_NC = np.char.lstrip(log.candidates_NLC[:, 0].astype(str), "i").astype(int)
    np.testing.assert_array_equal(truth.item_NC, number_NC)


def test_the_logging_policys_true_value_is_the_mean_logged_reward(truth, log, z_score):
    reward_N = (log.click_NL | log.buy_NL).sum(axis=1)
    own_N = value_by_request(truth, truth.score_NC.astype(float), truth.policy)
    assert abs(z_score(reward_N - own_N, 0.0)) < 3.3
    assert own_N[:2000].mean() == pytest.approx(logging_value(truth, slice(2000)))


def test_each_positions_reward_depends_on_its_own_item_alone(truth, log, z_score):
    reward_NL = log.click_NL | log.buy_NL
    expected_NL = np.take_along_axis(expected_reward(truth), log.chosen_NL[:, :, None], 2)[..., 0]
    surprise_NL = reward_NL - expected_NL
    for position in range(3):
        assert abs(z_score(surprise_NL[:, position], 0.0)) < 3.3
    # Nor do the items above explain what is left.
    above_N = expected_NL[:, 0] - expected_NL[:, 0].mean()
    assert abs(z_score(surprise_NL[:, 1] * above_N, 0.0)) < 3.3


def test_weighted_log_gives_the_true_value_of_another_policy(truth, log, z_score):
    scores_NC = oracle_scores(truth)
    reward_NL = (log.click_NL | log.buy_NL).astype(float)
    allowed_NC = np.ones(scores_NC.shape, dtype=bool)
    propensity_NL, _ = slate_propensities(scores_NC, allowed_NC, PERSONAL, log.chosen_NL)
    weight_NL = np.cumprod(propensity_NL / log.propensity_NL, axis=1)
    value = true_value(truth, scores_NC, PERSONAL)
    assert abs(z_score((weight_NL * reward_NL).sum(axis=1), value)) < 3.3
    assert abs(z_score(weight_NL[:, -1], 1.0)) < 3.3
    assert z_score(reward_NL.sum(axis=1), value) < -10  # unweighted, it misses by far


def test_whoever_knows_tastes_earns_more_with_healthy_overlap(truth, log):
    scores_NC = oracle_scores(truth)
    some = slice(None, None, 8)
    base = logging_value(truth, some)
    greedy = SlatePolicy(temperature=1.0, epsilon=0.1, top_k=10)
    assert true_value(truth, scores_NC[some], greedy, some) > 1.5 * base
    assert true_value(truth, scores_NC[some], PERSONAL, some) > 1.3 * base
    propensity_NL, _ = slate_propensities(
        scores_NC, np.ones(scores_NC.shape, dtype=bool), PERSONAL, log.chosen_NL
    )
    weight_N = (propensity_NL / log.propensity_NL).prod(axis=1)
    assert weight_N.sum() ** 2 / (weight_N**2).sum() > 0.2 * len(weight_N)


def test_purchases_with_and_without_exposure_follow_the_true_probabilities(
    source, truth, log, z_score
):
    assert abs(z_score(log.buy_NL - at(truth.shown_NC, log.chosen_NL), 0.0)) < 3.3
    rows = duckdb.sql(f"""
        select x.request_id, list_position(x.candidate_ids, o.item_id) - 1 as place
        from '{source}/outcomes.parquet' o join '{source}/exposures.parquet' x
            using (request_id) where x.position = 1 and o.action = 'buy'
    """).fetchall()
    bought_NC = np.zeros(truth.item_NC.shape, dtype=bool)
    for request, place in rows:
        bought_NC[int(request[1:]), place] = True
    hidden_NC = np.ones(bought_NC.shape, dtype=bool)
    np.put_along_axis(hidden_NC, log.chosen_NL, values=False, axis=1)
    assert abs(z_score(bought_NC[hidden_NC] - truth.organic_NC[hidden_NC], 0.0)) < 3.3


def test_the_effect_of_being_shown_differs_and_naive_comparison_overstates_it(truth, log):
    cate_NC = true_cate(truth)
    assert cate_NC.std() > 0.5 * cate_NC.mean() > 0
    assert (cate_NC < 0).any()
    treated = at(cate_NC, log.chosen_NL).mean()
    hidden_NC = np.ones(cate_NC.shape, dtype=bool)
    np.put_along_axis(hidden_NC, log.chosen_NL, values=False, axis=1)
    naive = at(truth.shown_NC, log.chosen_NL).mean() - truth.organic_NC[hidden_NC].mean()
    assert naive > 1.05 * treated


def test_some_investors_buy_less_of_what_they_are_shown(busy, busy_log, z_score):
    truth = load_truth(busy)
    put_off_NL = at(true_cate(truth), busy_log.chosen_NL) < 0
    bought_M = busy_log.buy_NL[put_off_NL]
    assert abs(z_score(bought_M - at(truth.shown_NC, busy_log.chosen_NL)[put_off_NL], 0.0)) < 3.3
    assert z_score(bought_M - at(truth.organic_NC, busy_log.chosen_NL)[put_off_NL], 0.0) < -3.3


@pytest.fixture(scope="module")
def holdings(busy, params):
    """First purchase of each investor and item."""
    first = duckdb.sql(f"""
        select user_id, item_id, min(event_ts) as at from '{busy}/events.parquet'
        where action = 'buy' and amount_eur > 0 and user_id is not null
            and event_ts > timestamptz '2000-01-01' group by all
    """).to_arrow_table()
    at_UI = np.full((params.users, params.items), np.nan)
    user = np.array([int(name[1:]) for name in first["user_id"].to_pylist()])
    item = np.array([int(name[1:]) for name in first["item_id"].to_pylist()])
    at_UI[user, item] = first["at"].to_numpy().astype("datetime64[us]").astype(float)
    effect_II = np.zeros((params.items, params.items))
    for row in true_edges(busy).to_pylist():
        effect_II[int(row["cause_id"][1:]), int(row["effect_id"][1:])] = row["strength"]
    return at_UI, effect_II


def test_naive_co_occurrence_misses_the_planted_effects_but_time_tells_them(holdings):
    at_UI, effect_II = holdings
    held_UI = ~np.isnan(at_UI)
    together_II = held_UI.T.astype(float) @ held_UI
    np.fill_diagonal(together_II, 0)
    expected_II = np.outer(held_UI.sum(axis=0), held_UI.sum(axis=0)) / len(held_UI) + 1
    planted_II = effect_II > 0
    strongest = np.argsort(-together_II / expected_II, axis=None)[: planted_II.sum()]
    assert planted_II.ravel()[strongest].mean() < 0.1

    order_II = np.stack([(cause_U[:, None] < at_UI).sum(axis=0) for cause_U in at_UI.T])
    asymmetry_II = (order_II - order_II.T) / np.sqrt(order_II + order_II.T + 1)
    assert asymmetry_II[planted_II].mean() > 0.4
    assert asymmetry_II[effect_II < 0].mean() < 0

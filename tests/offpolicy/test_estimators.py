"""Estimators against the reference table of the Open Bandit small data and against plain loops."""

import json

import numpy as np
import pandas as pd
import pytest

from tessera.offpolicy import estimators
from tessera.offpolicy.estimators import Log, SlateLog
from tessera.stages.ope.checks import weight_checks
from tessera.stages.ope.params import OpeParams
from tessera.stages.ope.verdict import Evidence, decide

REFERENCE = {
    "random": (
        "bts",
        {
            "ips": 0.004552880,
            "snips": 0.004775833,
            "clipped": 0.003593040,
            "dm": 0.004496773,
            "dr": 0.004856690,
            "sndr": 0.004874315,
            "switch_dr": 0.004766043,
            "dros": 0.004543738,
        },
        (0.953316, 19.6, 1639.5),
    ),
    "bts": (
        "random",
        {
            "ips": 0.002359640,
            "snips": 0.002333714,
            "clipped": 0.002359640,
            "dm": 0.004283736,
            "dr": 0.002191159,
            "sndr": 0.002214150,
            "switch_dr": 0.003962840,
            "dros": 0.003947026,
        },
        (1.011109, 277.8, 340.4),
    ),
}


def estimate(log):
    return {
        "ips": estimators.ips(log),
        "snips": estimators.snips(log),
        "clipped": estimators.clipped_ips(log, 10.0),
        "dm": estimators.dm(log),
        "dr": estimators.dr(log),
        "sndr": estimators.sndr(log),
        "switch_dr": estimators.switch_dr(log, 5.0),
        "dros": estimators.dros(log, 100.0),
    }


def open_bandit(official, served, campaign, wanted_AK=None):
    rows = pd.read_csv(official / "open-bandit-small" / served / campaign / f"{campaign}.csv.gz")
    item, position = rows["item_id"].to_numpy(), rows["position"].to_numpy() - 1
    click = rows["click"].to_numpy(dtype=float)
    items = item.max() + 1
    if wanted_AK is None:
        wanted_AK = np.full((items, 3), 1 / items)
    shown, clicked = np.bincount(item, minlength=items), np.bincount(item, click, items)
    guess_A = (clicked + 10 * click.mean()) / (shown + 10)
    return Log(
        reward_N=click,
        served_N=rows["propensity_score"].to_numpy(),
        wanted_N=wanted_AK[item, position],
        guess_N=guess_A[item],
        baseline_N=(wanted_AK * guess_A[:, None]).sum(axis=0)[position],
    )


def bts(official):
    raw = json.loads((official / "open-bandit-small" / "bts_policy_all.json").read_text())
    return np.array(raw["probability"])


def verdict(log):
    found = weight_checks(
        log.weight_N, log.weight_N, log.weight_N * log.reward_N, OpeParams(min_ess=200)
    )
    return decide(Evidence(found, [], 1.0, 2.0, [1.0]))


@pytest.mark.real_data
@pytest.mark.parametrize("served", REFERENCE)
def test_estimates_equal_the_reference_table(official, served):
    wanted, values, (mean_weight, max_weight, ess) = REFERENCE[served]
    log = open_bandit(official, served, "all", bts(official) if wanted == "bts" else None)
    found = {name: value_N.mean() for name, value_N in estimate(log).items()}
    assert found == pytest.approx(values, rel=0, abs=1e-9)
    assert log.weight_N.mean() == pytest.approx(mean_weight, abs=1e-6)
    assert log.weight_N.max() == pytest.approx(max_weight, abs=0.05)
    assert estimators.effective_size(log.weight_N) == pytest.approx(ess, abs=0.05)


@pytest.mark.real_data
@pytest.mark.parametrize("served", REFERENCE)
def test_a_small_log_that_hangs_on_a_few_clicks_is_invalid(official, served):
    wanted = bts(official) if served == "random" else None
    decision, reason = verdict(open_bandit(official, served, "all", wanted))
    assert decision == "INVALID"
    assert "a single request carries the estimate" in reason


@pytest.mark.real_data
def test_one_click_is_a_third_of_an_estimate(official):
    contribution_N = estimators.ips(open_bandit(official, "bts", "all"))
    assert contribution_N.max() / contribution_N.sum() == pytest.approx(0.33, abs=0.005)


@pytest.mark.real_data
def test_a_log_without_overlap_is_invalid(official):
    log = open_bandit(official, "bts", "women")
    assert estimators.effective_size(log.weight_N) == pytest.approx(2.08, abs=0.005)
    assert log.weight_N.max() == pytest.approx(21_739, abs=1)
    assert log.weight_N.mean() == pytest.approx(3.13, abs=0.005)
    decision, reason = verdict(log)
    assert decision == "INVALID"
    assert "ess is 2.0" in reason


def looped(log):
    """Mean of every estimator, one row after the other."""
    n = len(log.reward_N)
    weights = [w / p for w, p in zip(log.wanted_N, log.served_N, strict=True)]
    mean_weight = sum(weights) / n
    expected = dict.fromkeys(estimate(log), 0.0)
    for w, r, q, v in zip(weights, log.reward_N, log.guess_N, log.baseline_N, strict=True):
        expected["ips"] += w * r / n
        expected["snips"] += w * r / mean_weight / n
        expected["clipped"] += min(w, 10.0) * r / n
        expected["dm"] += v / n
        expected["dr"] += (v + w * (r - q)) / n
        expected["sndr"] += (v + w * (r - q) / mean_weight) / n
        expected["switch_dr"] += (v + (w * (r - q) if w <= 5 else 0)) / n
        expected["dros"] += (v + 100 * w / (w * w + 100) * (r - q)) / n
    return expected


def test_estimators_equal_a_loop_over_rows(rng):
    log = Log(
        reward_N=(rng.random(200) < 0.3).astype(float),
        served_N=rng.uniform(0.05, 1, 200),
        wanted_N=rng.uniform(0, 1, 200),
        guess_N=rng.random(200),
        baseline_N=rng.random(200),
    )
    found = {name: value_N.mean() for name, value_N in estimate(log).items()}
    assert found == pytest.approx(looped(log), rel=0, abs=1e-12)


@pytest.mark.real_data
@pytest.mark.parametrize("campaign", ["all", "men", "women"])
@pytest.mark.parametrize("served", ["random", "bts"])
def test_estimators_equal_a_loop_on_each_of_the_six_logs(official, served, campaign, rng):
    items = {"all": 80, "men": 34, "women": 46}[campaign]
    log = open_bandit(official, served, campaign, rng.dirichlet(np.ones(items), 3).T)
    found = {name: value_N.mean() for name, value_N in estimate(log).items()}
    assert found == pytest.approx(looped(log), rel=0, abs=1e-12)


def test_slate_estimators_equal_a_loop_over_positions(rng):
    shape = (50, 3)
    log = SlateLog(
        reward_NL=(rng.random(shape) < 0.4).astype(float),
        weight_NL=np.cumprod(rng.uniform(0.2, 3, shape), axis=1),
        guess_NL=rng.random(shape),
        baseline_NL=rng.random(shape),
    )
    for n in range(50):
        by_weight, doubly, above = 0.0, 0.0, 1.0
        for k in range(3):
            w, r = log.weight_NL[n, k], log.reward_NL[n, k]
            by_weight += w * r
            doubly += w * (r - log.guess_NL[n, k]) + above * log.baseline_NL[n, k]
            above = w
        assert estimators.rips(log)[n] == pytest.approx(by_weight, abs=1e-12)
        assert estimators.cascade_dr(log)[n] == pytest.approx(doubly, abs=1e-12)


def test_independent_positions_equal_a_loop_over_positions(rng):
    reward_NL, served_NL, wanted_NL = (rng.uniform(0.1, 1, (50, 3)) for _ in range(3))
    for n, found in enumerate(estimators.iips(reward_NL, served_NL, wanted_NL)):
        expected = 0.0
        for k in range(3):
            expected += wanted_NL[n, k] / served_NL[n, k] * reward_NL[n, k]
        assert found == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("name", ["snips", "sndr"])
def test_a_linearisation_has_the_same_mean_and_the_spread_of_repeated_logs(rng, name):
    plain, linear = getattr(estimators, name), getattr(estimators, f"{name}_influence")
    means, stderrs = [], []
    for _ in range(400):
        served_N = rng.uniform(0.1, 1, 300)
        wanted_N = rng.uniform(0, 1, 300)
        reward_N = (rng.random(300) < 0.8).astype(float)
        log = Log(reward_N, served_N, wanted_N, np.full(300, 0.3), np.full(300, 0.3))
        assert linear(log).mean() == pytest.approx(plain(log).mean(), abs=1e-12)
        means.append(plain(log).mean())
        stderrs.append(linear(log).std() / np.sqrt(300))
    assert np.mean(stderrs) == pytest.approx(np.std(means), rel=0.1)


def test_what_is_not_earned_adds_up_to_one(rng):
    log = Log(*(rng.uniform(0.1, 1, 30) for _ in range(5)))
    rest = estimators.complement(log)
    np.testing.assert_allclose(estimators.dr(log) + estimators.dr(rest), 1, atol=1e-12)
    np.testing.assert_allclose(estimators.ips(log) + estimators.ips(rest), log.weight_N)


def test_self_normalised_slates_have_the_mean_of_their_linearisation(rng):
    weight_NL = np.cumprod(rng.uniform(0.2, 3, (500, 3)), axis=1)
    log = SlateLog((rng.random((500, 3)) < 0.4) * 1.0, weight_NL, weight_NL * 0, weight_NL * 0)
    linear_N, plain_N = estimators.snrips_influence(log), estimators.snrips(log)
    assert linear_N.mean() == pytest.approx(plain_N.mean())
    assert linear_N.std() < plain_N.std()


def test_a_slate_of_one_is_a_single_item(rng):
    log = Log(*(rng.uniform(0.1, 1, 30) for _ in range(5)))
    slate = SlateLog(
        log.reward_N[:, None], log.weight_N[:, None], log.guess_N[:, None], log.baseline_N[:, None]
    )
    np.testing.assert_allclose(estimators.cascade_dr(slate), estimators.dr(log))
    np.testing.assert_allclose(estimators.rips(slate), estimators.ips(log))
    np.testing.assert_allclose(estimators.cascade_switch_dr(slate, 5), estimators.switch_dr(log, 5))
    np.testing.assert_allclose(estimators.cascade_dm(slate), estimators.dm(log))

"""The study of coverage: its truths, its users, and that it bounds what the gate shows."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks import ope, ope_slate_world, ope_slates, ope_tally, ope_world
from benchmarks.ope_looks import ALPHA
from benchmarks.ope_tally import Runs
from tessera.offpolicy import bounds
from tessera.shared.policies.slate import SlatePolicy, sample_slates
from tessera.stages.ope.guardrails import GuardrailInputs
from tessera.stages.ope.judge import judge


@pytest.fixture(scope="module")
def slates():
    return {
        name: ope_slate_world.make_world(regime) for name, regime in ope_slate_world.REGIMES.items()
    }


def shares(figures, interval):
    return [figures[interval][side]["coverage"] for side in ("lower", "upper")]


@pytest.fixture(scope="module")
def users_differ():
    """Coverage by estimator where users differ."""
    regime = "users differ"
    world = ope_world.make_world(ope_world.REGIMES[regime])
    runs = Runs(replications=60, processes=1, seed=3)
    total = ope_tally.measure({regime: world}, ope.look, runs)[regime]
    return ope_tally.tell(total, ope.INTERVALS, runs.replications, world.truth)


@pytest.mark.parametrize("estimator", ["dr", "snips"])
def test_only_bounds_by_user_hold_where_users_differ_and_come_again(users_differ, estimator):
    figures = users_differ["estimators"][estimator]
    for interval in ("clustered", "hall", "bca"):
        assert min(shares(figures, interval)) > 0.87, "60 logs: three standard errors below .95"
    assert np.mean(shares(figures, "normal")) < 0.87


def test_users_that_differ_leave_the_truth_alone():
    world = ope_world.make_world(ope_world.REGIMES["users differ"])
    assert (2 * world.chance_XC).max() <= 1, "a cut chance would average to less"
    rng = np.random.default_rng(0)
    values = [ope.estimate(world.draw(rng))["dr"].mean() for _ in range(60)]
    assert np.mean(values) == pytest.approx(world.truth, abs=4 * np.std(values) / 60**0.5)


def test_the_lift_of_slates_is_that_of_their_positions_where_nothing_above_matters(slates):
    world = slates["ESS 300"]
    extra_XLC = world.sought_XLC - world.shown_XLC
    earned_XLC = extra_XLC * world.chance_XC[:, None, :] * np.array([[1.0], [0.8], [0.6]])
    assert world.truth == pytest.approx(earned_XLC.sum(axis=(1, 2)).mean(), rel=1e-9)


def test_the_lift_of_slates_is_what_is_earned_when_they_are_played(slates):
    world = slates["the item above matters"]
    rng = np.random.default_rng(1)
    x_N = rng.integers(0, 50, 100_000)
    open_NC = np.ones((len(x_N), 8), dtype=bool)
    earned = []
    for scores_XC, epsilon in ((world.wanted_XC, 0.1), (world.served_XC, 0.2)):
        chosen_NL = sample_slates(scores_XC[x_N], open_NC, SlatePolicy(1.0, epsilon, 8), 3, rng)[0]
        chance_NL = ope_slate_world.chances(world.chance_XC, x_N, chosen_NL, world.regime.boredom)
        earned.append(chance_NL.sum(axis=1))
    lift_N = earned[0] - earned[1]
    assert world.truth == pytest.approx(lift_N.mean(), abs=4 * lift_N.std() / len(x_N) ** 0.5)
    assert world.truth > 20 * lift_N.std() / len(x_N) ** 0.5, "and it is not lost in noise"


def test_only_item_position_ips_suffers_where_the_item_above_matters(slates):
    world = slates["the item above matters"]
    rng = np.random.default_rng(2)
    found = [ope_slates.lifts(world.draw(rng)) for _ in range(150)]

    def z(name):
        error = np.array([one[name].mean() for one in found]) - world.truth
        return abs(error.mean()) / (error.std() / len(error) ** 0.5)

    assert z("rips") < 3.5
    assert z("dr") < 3.5
    assert z("iips") > 3.5


def test_the_study_bounds_what_the_gate_shows(slates):
    drawn = slates["good overlap"].draw(np.random.default_rng(4))
    found = judge(drawn.case, GuardrailInputs(), drawn.guess_NLC, ope_slate_world.PARAMS)
    lifts = ope_slates.lifts(drawn)
    lifts.pop("iips")
    assert set(found["estimates"]["lift"]) == set(lifts)
    for name, lift_N in lifts.items():
        ours = bounds.skew_corrected(lift_N, drawn.case.log.user_N, ALPHA)
        shown = found["estimates"]["lift"][name]
        assert (ours.lower, ours.upper) == pytest.approx((shown["lower"], shown["upper"]))


def test_a_bound_that_is_shifted_does_not_hold(slates, monkeypatch):
    world = {"good overlap": slates["good overlap"]}
    runs = Runs(replications=20, processes=1, seed=5)

    def lower_bounds_held():
        total = ope_tally.measure(world, ope_slates.look, runs)["good overlap"]
        told = ope_tally.tell(total, ope_slates.INTERVALS, 20, world["good overlap"].truth)
        return shares(told["estimators"]["dr"], "hall")[0]

    assert lower_bounds_held() > 0.75
    right = bounds.skew_corrected

    def shifted(value_N, cluster_N, alpha):
        one = right(value_N, cluster_N, alpha)
        return replace(one, lower=one.mean + one.stderr)

    monkeypatch.setattr(bounds, "skew_corrected", shifted)
    assert lower_bounds_held() < 0.5

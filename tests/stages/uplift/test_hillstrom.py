"""The benchmark of the e-mail trial: known effects, policies whose value is a mean of one arm."""

import numpy as np
import pytest

from benchmarks.uplift import MAILS, Customers, effect, policies, read_customers, values
from tessera.stages.uplift.report import Predicted


@pytest.mark.real_data
def test_the_trial_has_its_known_effects(official):
    customers = read_customers(official)
    assert len(customers.arm_N) == 64_000
    assert effect(customers, 1) == pytest.approx(0.076590, abs=1e-6)
    assert effect(customers, 2) == pytest.approx(0.045233, abs=1e-6)


def test_a_mailing_to_all_is_worth_what_those_who_got_it_did_and_a_good_pick_more(rng):
    arm_N, likes_N = rng.integers(0, 3, 6000), rng.integers(1, 3, 6000)
    visit_N = (rng.random(6000) < 0.1 + 0.4 * (arm_N == likes_N)).astype(float)
    customers = Customers(np.zeros((6000, 1), np.float32), arm_N, visit_N, np.arange(6000) % 5)
    guess_N = np.full(6000, 0.1)
    predicted = {
        arm: Predicted({"x": 0.4 * (likes_N == arm)}, guess_N, guess_N) for arm in MAILS
    }  # fmt: skip
    found = values(customers, predicted)
    assert found["policies"]["men's to all"]["snips"] == pytest.approx(
        visit_N[arm_N == 1].mean(), abs=1e-6
    )
    picked = found["policies"]["the e-mail that the model picks"]
    assert picked["bca"][0] < 0.5 < picked["bca"][1]
    assert picked["sequence"][0] < picked["bca"][0]
    assert found["lifts"]["the e-mail that the model picks over men's to all"]["bca"][0] > 0.1
    halves = policies(predicted, customers.fold_N)["women's to the half moved most"]
    assert halves[:, 2].mean() == pytest.approx(0.5, abs=0.01)
    assert (likes_N[halves[:, 2] == 1] == 2).mean() > 0.95

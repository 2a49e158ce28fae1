"""The whole gate against scorers whose worth is known; benchmarks.ope_trials runs more of them."""

import pytest

from benchmarks.ope_tally import Runs
from benchmarks.ope_trials import trials


@pytest.mark.parametrize("scorer", ["random weights", "reward flipped"])
def test_what_is_worse_is_never_promoted(scorer):
    found = trials(scorer, Runs(20, processes=1, seed=1))
    assert found["true_lift"][1] < -0.02
    assert "PROMOTE" not in found["decisions"]
    assert found["lower_bound_above_0"] == 0, "nor by the bound alone"


def test_a_reward_model_twice_too_high_does_not_carry_a_worse_policy():
    found = trials("random and flattered", Runs(20, processes=1, seed=1))
    assert found["true_lift"][1] < 0
    assert found["promoted_if_weights_were_clipped"] > 0.2, "the trap is one"
    assert found["lower_bound_above_0"] == 0


def test_what_is_better_is_promoted_and_its_lift_lies_inside_the_bounds():
    found = trials("better", Runs(10, processes=1, seed=1))
    assert found["decisions"] == {"PROMOTE": 10}
    assert found["true_lift_inside"] == 1

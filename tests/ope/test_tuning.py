"""The chosen ceiling against its rule by hand, and against the truth."""

from functools import partial

import numpy as np
import pytest

from tessera.ope.estimators import Log, dr, switch_dr
from tessera.ope.tuning import choose_ceiling

CEILINGS = (0.5, 2.0, 10.0, 100.0, 1e9)


def heavy(rng, *, guess, n=1500):
    """A few actions are hardly ever shown though the new policy likes them; true rate .3."""
    served_A, wanted_A = np.array([0.598, 0.4, 0.002]), np.array([0.4, 0.4, 0.2])
    a = rng.choice(3, n, p=served_A)
    chance_A = np.array([0.2, 0.4, 0.3])
    reward_N = (rng.random(n) < chance_A[a]).astype(float)
    guess_A = chance_A if guess is None else np.full(3, guess)
    baseline_N = np.full(n, wanted_A @ guess_A)
    return Log(reward_N, served_A[a], wanted_A[a], guess_A[a], baseline_N), wanted_A @ chance_A


def choose(log, ceilings):
    units = np.arange(len(log.reward_N))
    return choose_ceiling(partial(switch_dr, log), units, ceilings, 0.05)


def by_hand(log, ceilings):
    chosen, bounds = None, []
    for ceiling in sorted(ceilings)[::-1]:
        value_N = switch_dr(log, ceiling)
        reach = 2 * 1.6448536269514722 * value_N.std(ddof=1) / np.sqrt(len(value_N))
        bounds.append((value_N.mean() - reach, value_N.mean() + reach))
        if max(low for low, _ in bounds) > min(high for _, high in bounds):
            return chosen
        chosen = ceiling
    return chosen


def test_it_equals_the_rule_by_hand(rng):
    chosen = set()
    for guess in (None, 0.0, 0.3, 0.6, 0.9):
        log, _ = heavy(rng, guess=guess)
        found = choose(log, CEILINGS)
        assert found == by_hand(log, CEILINGS)
        chosen.add(found)
    assert len(chosen) > 1


def errors(rng, guess):
    """Mean squared errors with the chosen ceiling, with none, and with the lowest."""
    found = []
    for _ in range(150):
        log, truth = heavy(rng, guess=guess)
        chosen = switch_dr(log, choose(log, CEILINGS))
        values = chosen, dr(log), switch_dr(log, min(CEILINGS))
        found.append([(value_N.mean() - truth) ** 2 for value_N in values])
    return np.mean(found, axis=0)


def test_it_helps_with_a_right_model_and_does_not_drown_with_a_wrong_one(rng):
    chosen, plain, _ = errors(rng, guess=None)
    assert chosen < 0.5 * plain
    chosen, _, lowest = errors(rng, guess=0.9)
    assert chosen < 0.5 * lowest


def test_without_a_choice_there_is_none(rng):
    with pytest.raises(ValueError, match="no ceiling"):
        choose(heavy(rng, guess=None)[0], ())


def test_units_that_vary_together_are_sure_of_less(rng):
    """Each unit five times over: by itself the reach is too narrow and contradicts too early."""
    found = []
    for guess in (0.2, 0.4, 0.5, 0.6, 0.7):
        log, _ = heavy(rng, guess=guess)
        five = Log(*(np.repeat(getattr(log, name), 5) for name in log.__slots__))
        people = np.repeat(np.arange(len(log.reward_N)), 5)
        together = choose_ceiling(partial(switch_dr, five), people, CEILINGS, 0.05)
        assert together == choose(log, CEILINGS)
        found.append(choose(five, CEILINGS) - together)
    assert min(found) >= 0
    assert max(found) > 0

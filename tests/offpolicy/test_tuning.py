"""The chosen ceiling against its rule by hand, and against the truth."""

from functools import partial

import numpy as np
import pytest

from tessera.offpolicy.estimators import Log, dr, switch_dr
from tessera.offpolicy.tuning import choose_ceiling

CEILINGS = (0.5, 2.0, 10.0, 200.0, 1e9)


def heavy(rng, *, guess, n):
    """One action is hardly ever shown though the new policy likes it (weight 100); true rate .3."""
    served_A, wanted_A = np.array([0.5995, 0.4, 0.0005]), np.array([0.55, 0.4, 0.05])
    a = rng.choice(3, n, p=served_A)
    chance_A = np.array([0.2, 0.4, 0.3])
    reward_N = (rng.random(n) < chance_A[a]).astype(float)
    guess_A = chance_A if guess is None else np.full(3, guess)
    baseline_N = np.full(n, wanted_A @ guess_A)
    return Log(reward_N, served_A[a], wanted_A[a], guess_A[a], baseline_N), wanted_A @ chance_A


def beyond(ceiling):
    """One action in twenty of the new policy has a weight of 100."""
    return 0.05 * (ceiling < 100) + 0.4 * (ceiling < 1) + 0.55 * (ceiling < 0.55 / 0.5995)


def choose(log, ceilings=CEILINGS, units=None):
    units = np.arange(len(log.reward_N)) if units is None else units
    return choose_ceiling(partial(switch_dr, log), beyond, units, ceilings)


def by_hand(log):
    found = {}
    for ceiling in CEILINGS:
        value_N = switch_dr(log, ceiling)
        found[ceiling] = value_N.var(ddof=1) / len(value_N) + beyond(ceiling) ** 2
    return max(c for c in CEILINGS if found[c] == min(found.values()))


def test_it_equals_the_rule_by_hand(rng):
    chosen = set()
    for n in (*[600] * 10, 5000):
        for guess in (None, 0.9):
            log, _ = heavy(rng, guess=guess, n=n)
            found = choose(log)
            assert found == by_hand(log)
            chosen.add(found)
    assert len(chosen) > 1


def errors(rng, guess, n):
    """Mean squared errors with the chosen ceiling, with none, and with the lowest."""
    found = []
    for _ in range(400):
        log, truth = heavy(rng, guess=guess, n=n)
        values = switch_dr(log, choose(log)), dr(log), switch_dr(log, min(CEILINGS))
        found.append([(value_N.mean() - truth) ** 2 for value_N in values])
    return np.mean(found, axis=0)


def test_a_long_log_is_never_the_worse_for_a_wrong_model(rng):
    chosen, plain, lowest = errors(rng, guess=0.9, n=5000)
    assert chosen < 1.2 * plain
    assert chosen < 0.2 * lowest


def test_a_short_log_does_not_trust_the_rare_weight(rng):
    chosen, plain, _ = errors(rng, guess=None, n=300)
    assert chosen < 0.5 * plain


def test_without_a_choice_there_is_none(rng):
    with pytest.raises(ValueError, match="no ceiling"):
        choose(heavy(rng, guess=None, n=20)[0], ())


def test_units_that_vary_together_are_sure_of_less(rng):
    """Each unit ten times over: by itself each would be surer and trust more."""
    people, trusted = np.repeat(np.arange(600), 10), 0
    for _ in range(20):
        log, _ = heavy(rng, guess=0.6, n=600)
        ten = Log(*(np.repeat(getattr(log, name), 10) for name in log.__slots__))
        assert choose(ten, units=people) == choose(log)
        trusted += choose(ten) > choose(log)
    assert trusted > 0

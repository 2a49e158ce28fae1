"""Effects told from what confounds both directions, where the truth is drawn."""

import numpy as np
import pytest

from tessera.stages.causal.directions import _ALIKE, Shares, tell_apart

N = 6000


def world(rng, effects=0.03, confounded=0.3, error=0.2, alike=_ALIKE, size=1.5):
    """Pairs asked both ways: some share a confounder of spread `confounded`, few have an effect."""
    common, own = rng.standard_normal((2, N)), rng.standard_normal((2, N))
    spread = confounded * (rng.random(N) < 0.5)
    bias = spread * np.array([common[0], alike * common[0] + np.sqrt(1 - alike**2) * common[1]])
    effect = np.where(rng.random((2, N)) < effects / 2, size * rng.standard_normal((2, N)), 0.0)
    seen = effect + bias + error * own
    there, back = (Shares(one, np.full(N, error)) for one in seen)
    return effect[0], there, back


def told(there, back):
    return tell_apart(there, back, np.ones(len(there.effect_N), bool))


def test_signs_are_wrong_no_more_often_than_is_told(rng):
    """A prior of one direction would take what is confounded for an effect."""
    effect, there, back = world(rng)
    found = told(there, back)
    said = found.false_sign_N <= 0.05
    wrong = np.sign(effect) != np.sign(found.effect_N)
    assert said.sum() > 20
    assert wrong[said].mean() <= 0.05
    unsure = (found.false_sign_N > 0.05) & (found.false_sign_N <= 0.5)
    assert wrong[unsure].mean() <= found.false_sign_N[unsure].mean() + 0.05


def test_what_both_directions_show_is_no_effect(rng):
    _, there, back = world(rng)
    there.effect_N[:2], back.effect_N[:2] = 2.0, (0.0, 1.9)
    found = told(there, back)
    assert found.effect_N[0] > 1.5
    assert found.false_sign_N[0] < 0.05
    assert abs(found.effect_N[1]) < 0.5
    assert found.false_sign_N[1] > 0.5


def test_a_reverse_of_equal_sign_speaks_of_confounding_and_one_of_the_other_sign_does_not(rng):
    _, there, back = world(rng)
    there.effect_N[:2], back.effect_N[:2] = 1.0, (0.6, -0.6)
    found = told(there, back)
    assert found.effect_N[0] < 0.8 * found.effect_N[1]
    assert found.false_sign_N[0] > found.false_sign_N[1]


def test_without_the_other_direction_confounding_would_pass_for_effects(rng):
    effect, there, back = world(rng, effects=0.01, confounded=0.8)
    blind = Shares(np.zeros(N), np.full(N, np.inf))
    wrong, loss = {}, {}
    for name, other in {"asked": back, "not asked": blind}.items():
        found = told(there, other)
        wrong[name] = int(((found.false_sign_N <= 0.5) & (effect == 0)).sum())
        loss[name] = np.mean((found.effect_N - effect) ** 2)
    assert loss["asked"] < 0.5 * loss["not asked"]
    assert wrong["asked"] < wrong["not asked"]


def test_pure_noise_is_told_as_nothing_even_if_wider_than_claimed(rng):
    noise = 0.2 * rng.standard_normal((2, N))
    found = told(*(Shares(one, np.full(N, 0.1)) for one in noise))
    assert np.abs(found.effect_N).max() < 0.1
    assert found.false_sign_N.min() > 0.05


def test_the_order_of_the_two_items_does_not_matter(rng):
    _, there, back = world(rng)
    first, second = told(there, back), told(back, there)
    both = tell_apart(
        Shares(np.r_[there.effect_N, back.effect_N], np.r_[there.stderr_N, back.stderr_N]),
        Shares(np.r_[back.effect_N, there.effect_N], np.r_[back.stderr_N, there.stderr_N]),
        np.arange(2 * N) < N,
    )
    assert both.effect_N[:N] == pytest.approx(first.effect_N)
    assert both.effect_N[N:] == pytest.approx(second.effect_N, abs=0.05)


def test_a_pair_nobody_can_be_compared_on_gets_no_effect(rng):
    _, there, back = world(rng)
    there.effect_N[0], there.stderr_N[0] = 9.0, np.inf
    back.stderr_N[1] = np.inf
    found = told(there, back)
    assert found.effect_N[0] == pytest.approx(0.0, abs=1e-6)
    assert found.false_sign_N[0] > 0.4
    assert np.isfinite(found.stderr_N).all()
    nobody = Shares(np.zeros(2), np.full(2, np.inf))
    nothing = told(nobody, nobody)
    assert nothing.effect_N.tolist() == nothing.stderr_N.tolist() == [0.0, 0.0]
    assert nothing.false_sign_N.tolist() == [1.0, 1.0]

"""The doubly robust effect on worlds with one cause, one effect and known confounders."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse

from tessera.stages.causal.confounders import Rows, stack
from tessera.stages.causal.pairs import supported_pairs
from tessera.stages.causal.panel import build_panel, trials
from tessera.stages.causal.params import CausalParams
from tessera.stages.causal.robust import estimate

PAIR = np.array([0]), np.array([1])


def rows_of(held, gained, traits=None, loading=None, folds=2):
    """One row an investor; an intercept stands before the traits."""
    held, gained = np.asarray(held, float), np.asarray(gained, float)
    one = np.ones((len(held), 1))
    traits = one if traits is None else np.concatenate([one, traits], axis=1)
    if loading is None:
        loading = np.zeros((held.shape[1], traits.shape[1]))
    fold = np.arange(len(held)) % folds
    return Rows(sparse.csr_array(held), sparse.csr_array(gained), traits, loading, fold)


def single(held_i, gained_j, traits=None, held_j=None, l2=1e-6):
    """Effect and error of item 0 on item 1."""
    none = np.zeros(len(held_i))
    held = np.column_stack([held_i, none if held_j is None else held_j])
    rows = rows_of(held, np.column_stack([none, gained_j]), traits)
    effect, stderr = estimate(rows, *PAIR, 2, l2)
    return effect[0], stderr[0]


def counted(*cells):
    """(investors, hold the cause, acquire the effect) of each cell, even in both folds."""
    held = np.concatenate([np.full(n, float(h)) for n, h, _ in cells])
    gained = np.concatenate([np.arange(n) < a for n, _, a in cells]).astype(float)
    return held, gained


def test_without_confounders_it_is_the_plain_difference_in_probability():
    effect, stderr = single(*counted((20, 1, 12), (40, 0, 8)))
    assert effect == pytest.approx(12 / 20 - 8 / 40, abs=1e-6)
    compared = 20 * 40 / 60
    assert stderr == pytest.approx(np.sqrt(12 * (2 / 3) ** 2 + 8 * (1 / 3) ** 2) / compared)


def test_a_trait_that_drives_both_items_does_not_look_like_an_effect():
    held, gained = counted((60, 1, 30), (20, 0, 10), (20, 1, 2), (60, 0, 6))
    busy = (np.arange(160) < 80).astype(float)[:, None]
    assert single(held, gained)[0] == pytest.approx(32 / 80 - 16 / 80, abs=1e-6)
    assert single(held, gained, busy)[0] == pytest.approx(0.0, abs=1e-6)


def test_who_holds_the_effect_already_is_not_compared():
    held, gained = counted((20, 1, 12), (40, 0, 8), (60, 1, 0))
    held_j = (np.arange(120) >= 60).astype(float)
    assert single(held, gained, held_j=held_j)[0] == pytest.approx(0.4, abs=1e-6)


def test_a_cause_that_everybody_holds_has_no_estimate():
    effect, stderr = single(*counted((20, 1, 10)))
    assert effect == 0.0
    assert stderr == np.inf


def test_sums_equal_residuals_worked_out_one_by_one(rng):
    """Each regression anew, on the other part, with the cause's own share taken out."""
    n, items = 400, 5
    held = (rng.random((n, items)) < 0.3).astype(float)
    gained = (rng.random((n, items)) < 0.2) * (1 - held)
    loading = np.concatenate([np.zeros((items, 2)), rng.normal(size=(items, 3))], axis=1)
    traits = np.concatenate([np.ones((n, 1)), rng.normal(size=(n, 1)), held @ loading[:, 2:]], 1)
    rows = replace(rows_of(held, gained, loading=loading), trait_RD=traits)
    cause, effect = (column.ravel() for column in np.nonzero(1 - np.eye(items)))
    found, stderr = estimate(rows, cause, effect, 2, 3.0)
    for i, j, value, error in zip(cause, effect, found, stderr, strict=True):
        product = square = variance = 0.0
        x = traits - held[:, [i]] * loading[i]
        for fold in range(2):
            free, mine = held[:, j] == 0, rows.fold_R == fold
            train, test = free & ~mine, free & mine
            gram = x[train].T @ x[train] + 3.0 * np.eye(x.shape[1])
            a, y = held[:, i], gained[:, j]
            a_left = a[test] - x[test] @ np.linalg.solve(gram, x[train].T @ a[train])
            y_left = y[test] - x[test] @ np.linalg.solve(gram, x[train].T @ y[train])
            product, square = product + a_left @ y_left, square + a_left @ a_left
            variance += (a_left**2) @ y[test]
        assert value == pytest.approx(product / square, abs=1e-9)
        assert error == pytest.approx(np.sqrt(variance) / square, abs=1e-9)


def confounded_pair(rng, effect, n=6000, bend_held=False, bend_gained=False):
    """A trait drives holding and acquiring; bent, it does so by its square."""
    x = rng.uniform(-1, 1, n)
    held = rng.random(n) < (0.1 + 0.8 * x**2 if bend_held else 0.5 + 0.4 * x)
    chance = 0.1 + 0.4 * x**2 if bend_gained else 0.3 + 0.25 * x
    gained = rng.random(n) < chance + effect * held
    return held.astype(float), gained.astype(float), x[:, None]


def test_the_sign_is_right_where_that_of_co_occurrence_is_wrong(rng):
    held, gained, x = confounded_pair(rng, -0.04)
    lift = gained[held > 0].mean() / gained.mean()
    effect, stderr = single(held, gained, x)
    assert lift > 1.1
    assert effect < -1.96 * stderr
    assert effect == pytest.approx(-0.04, abs=3 * stderr)


def test_no_effect_under_strong_confounding_stays_inside_its_interval(rng):
    """95 % intervals hold 0 in at least 90 of 100 worlds; unadjusted ones in none."""
    inside, naive = 0, 0
    for _ in range(100):
        held, gained, x = confounded_pair(rng, 0.0, n=2000)
        effect, stderr = single(held, gained, x)
        inside += abs(effect) < 1.96 * stderr
        blind, error = single(held, gained)
        naive += abs(blind) < 1.96 * error
    assert inside >= 90
    assert naive == 0


@pytest.mark.parametrize(("bend_held", "bend_gained"), [(False, True), (True, False)])
def test_one_wrong_model_does_no_harm(rng, bend_held, bend_gained):
    bent = {"bend_held": bend_held, "bend_gained": bend_gained}
    worlds = [confounded_pair(rng, 0.1, **bent) for _ in range(20)]
    assert np.mean([single(*world)[0] for world in worlds]) == pytest.approx(0.1, abs=0.01)


def test_two_wrong_models_do_harm(rng):
    worlds = [confounded_pair(rng, 0.1, bend_held=True, bend_gained=True) for _ in range(20)]
    assert np.mean([single(*world)[0] for world in worlds]) > 0.15


def test_the_standard_error_matches_the_spread_over_repeated_worlds(rng):
    errors, claimed = [], []
    for _ in range(300):
        held = (np.arange(400) % 4 == 0).astype(float)
        gained = (rng.random(400) < np.where(held > 0, 0.12, 0.05)).astype(float)
        order = rng.permutation(400)
        effect, stderr = single(held[order], gained[order])
        errors.append(effect - 0.07)
        claimed.append(stderr)
    assert np.mean(errors) == pytest.approx(0.0, abs=0.006)
    assert np.std(errors) == pytest.approx(np.mean(claimed), rel=0.15)


@pytest.fixture(scope="module")
def market(confounded, tables):
    params = CausalParams()
    events, users = tables.lazy(confounded.events), tables.lazy(confounded.users)
    panel = build_panel(events, users, confounded.split, params)
    found = list(trials(panel, params))
    pairs = supported_pairs(found, params.least_support, params.pairs)
    names = panel.item_ids
    planted = [
        confounded.planted[names[i], names[j]]
        for i, j in zip(pairs.cause_N, pairs.effect_N, strict=True)
    ]
    return found, pairs, np.array(planted)


def test_adjusting_removes_the_bias_of_pairs_without_effect(market):
    found, pairs, planted = market
    rows = stack(found, 8, 2)
    intercepts = len(found)
    blind = replace(
        rows, trait_RD=rows.trait_RD[:, :intercepts], loading_ID=rows.loading_ID[:, :intercepts]
    )
    asked = (pairs.cause_N, pairs.effect_N, 2, 10.0)
    bias, left = (estimate(one, *asked)[0][planted == 0].mean() for one in (blind, rows))
    assert bias > 0.005
    assert abs(left) < bias / 2


def test_an_investor_is_in_one_part_in_every_trial(market):
    found, _, _ = market
    rows = stack(found, 4, 3)
    user = np.concatenate([np.flatnonzero(trial.observed_U) for trial in found])
    parts = {(u, f) for u, f in zip(user.tolist(), rows.fold_R.tolist(), strict=True)}
    assert len(parts) == len(np.unique(user))
    assert set(rows.fold_R.tolist()) == {0, 1, 2}


def test_what_an_item_adds_to_the_confounders_is_known_exactly(market):
    found, _, _ = market
    rows = stack(found, 4, 2)
    own = rows.held_RI @ rows.loading_ID
    held_too = rows.trait_RD[:, -5:]
    assert np.allclose(own[:, -5:], held_too)
    assert not own[:, :-5].any()

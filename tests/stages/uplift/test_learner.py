"""Cross-fitting: a model that has seen the investor it scores is caught flattering itself."""

from dataclasses import replace
from typing import get_args

import numpy as np
import pyarrow as pa
import pytest

from tessera.stages.uplift import learner
from tessera.stages.uplift.folds import folds_of
from tessera.stages.uplift.params import Kind, UpliftParams
from tessera.stages.uplift.report import Predicted, summary
from tessera.stages.uplift.trials import Trials

USERS = 300
HUNGRY = UpliftParams(trees=60, leaves=31, bootstrap=100, permutations=1)


def noise(rng, rows=9000, spread=0.0):
    """Trials whose average effect is 0, but for what the arm does to single investors."""
    user_R = rng.integers(0, USERS, rows)
    treated_R = rng.random(rows) < 0.5
    taste_U = rng.choice([-spread, spread], USERS)
    bought_R = rng.random(rows) < 0.5 + treated_R * taste_U[user_R]
    return Trials(
        rows=pa.table({"user_id": [f"u{user}" for user in user_R]}),
        feature_RF=np.column_stack([user_R, rng.normal(size=(rows, 4))]).astype(np.float32),
        treated_R=treated_R,
        weight_R=np.full(rows, 2.0),
        chance_R=np.full(rows, 0.5),
        bought_R=bought_R.astype(float),
    )


def qini(trials, effect_R, fold_R):
    nothing_R = np.zeros(len(trials))
    predicted = Predicted({"x": effect_R}, nothing_R, nothing_R)
    return summary(trials, predicted, fold_R, HUNGRY)["rows"]["x_learner"]["qini"]


def unseen(trials, fold_R):
    learners = learner.cross_fit("x", trials, fold_R, HUNGRY)
    return learner.unseen_effects(learners, trials, fold_R)


def test_on_noise_only_a_model_that_has_seen_the_outcomes_finds_an_order(rng):
    made = noise(rng)
    fold_R = folds_of(made.rows["user_id"], HUNGRY.folds, HUNGRY.seed)
    seen = qini(
        made, learner.effects(learner.learn("x", made, HUNGRY), made), np.zeros_like(fold_R)
    )
    learners = learner.cross_fit("x", made, fold_R, HUNGRY)
    unseen = qini(made, learner.unseen_effects(learners, made, fold_R), fold_R)
    # Out of fold the interval is too narrow for a test; the value of noise has a spread of .006.
    assert abs(unseen["value"]) < 0.02 < seen["low"]
    # The planted bug: every trial is scored by a model that has learnt from it.
    wrong = qini(made, learner.unseen_effects(learners, made, (fold_R + 1) % 3), fold_R)
    assert wrong["low"] > 0.02


def test_folds_of_rows_would_see_the_investor_and_folds_of_investors_do_not(rng):
    made = noise(rng, spread=0.45)
    by_row_R = rng.integers(0, HUNGRY.folds, len(made))
    by_user_R = folds_of(made.rows["user_id"], HUNGRY.folds, HUNGRY.seed)
    rows, users = (qini(made, unseen(made, fold_R), fold_R) for fold_R in (by_row_R, by_user_R))
    assert abs(users["value"]) < 0.02 < rows["low"]


def test_no_model_is_handed_the_investors_that_it_scores(rng, monkeypatch):
    made = noise(rng, rows=900)
    fold_R = folds_of(made.rows["user_id"], 3, 7)
    monkeypatch.setattr(
        learner, "learn", lambda _, trials, __: set(trials.rows["user_id"].to_pylist())
    )
    scored = []

    def effects(taught, trials):
        asked = set(trials.rows["user_id"].to_pylist())
        scored.append((taught, asked))
        return np.zeros(len(trials))

    monkeypatch.setattr(learner, "effects", effects)
    learner.unseen_effects(learner.cross_fit("x", made, fold_R, UpliftParams()), made, fold_R)
    everybody = set(made.rows["user_id"].to_pylist())
    assert len(scored) == 3
    assert all(taught | asked == everybody and not taught & asked for taught, asked in scored)
    assert set.union(*(asked for _, asked in scored)) == everybody


def movable(rng, rows=8000):
    """Treated one in five to four in five by x1; the effect is .4 where x0 > 0, the level is x1."""
    x_R2 = rng.normal(size=(rows, 2))
    chance_R = np.where(x_R2[:, 1] > 0, 0.8, 0.2)
    treated_R = rng.random(rows) < chance_R
    effect_R = np.where(x_R2[:, 0] > 0, 0.4, 0.0)
    bought_R = rng.random(rows) < 0.1 + 0.3 * (x_R2[:, 1] > 0) + treated_R * effect_R
    made = Trials(
        rows=pa.table({"user_id": [f"u{row}" for row in range(rows)]}),
        feature_RF=x_R2.astype(np.float32),
        treated_R=treated_R,
        weight_R=1 / np.where(treated_R, chance_R, 1 - chance_R),
        chance_R=chance_R,
        bought_R=bought_R.astype(float),
    )
    return made, effect_R


@pytest.mark.parametrize("kind", get_args(Kind))
def test_every_learner_orders_better_than_a_constant_and_foretells_the_effect(rng, kind):
    made, effect_R = movable(rng)
    fold_R = folds_of(made.rows["user_id"], 2, 7)
    params = UpliftParams(folds=2, bootstrap=20, permutations=19)
    found_R = learner.unseen_effects(learner.cross_fit(kind, made, fold_R, params), made, fold_R)
    nothing_R = np.zeros(len(made))
    predicted = Predicted({kind: found_R}, nothing_R, nothing_R)
    rows = summary(made, predicted, fold_R, params)["rows"]
    assert rows[f"{kind}_learner"]["qini"]["low"] > rows["constant_ate"]["qini"]["value"] == 0
    assert rows[f"{kind}_learner"]["p_value"] == 0.05 < rows["constant_ate"]["p_value"]
    assert ((found_R - effect_R) ** 2).mean() < 0.5 * effect_R.var()


def test_a_dr_learner_orders_better_than_outcomes_where_those_who_buy_anyway_are_not_moved(rng):
    made, _ = movable(rng)
    anyway_R = made.feature_RF[:, 0] < 0
    chance_R = np.where(anyway_R, 0.7, 0.2 + 0.3 * made.treated_R)
    made = replace(made, bought_R=(rng.random(len(made)) < chance_R).astype(float))
    fold_R = folds_of(made.rows["user_id"], 2, 7)
    params = UpliftParams(folds=2, bootstrap=20, permutations=19)
    learners = {kind: learner.cross_fit(kind, made, fold_R, params) for kind in ("t", "dr")}
    rows = summary(made, learner.predict(learners, made, fold_R), fold_R, params)["rows"]
    low = rows["dr_learner"]["qini"]["low"]
    assert low > max(rows[name]["qini"]["high"] for name in ("random_score", "outcome_only"))
    assert rows["outcome_only"]["qini"]["high"] < 0, "it puts first whom showing does not move"


def test_the_known_propensity_reaches_the_learners_that_take_one(rng):
    made, _ = movable(rng, rows=2000)
    other = replace(made, chance_R=np.full(len(made), 0.5), weight_R=np.full(len(made), 2.0))
    params = UpliftParams(folds=2)
    moved = {
        kind: np.abs(
            learner.effects(learner.learn(kind, made, params), made)
            - learner.effects(learner.learn(kind, other, params), other)
        ).max()
        for kind in get_args(Kind)
    }
    assert moved["s"] == moved["t"] == 0
    assert min(moved["x"], moved["dr"]) > 0.01


def test_params_ask_for_at_least_two_folds():
    with pytest.raises(ValueError, match="folds"):
        UpliftParams(folds=1)

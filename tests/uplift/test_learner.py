"""Cross-fitting: a model that has seen the investor it scores is caught flattering itself."""

import numpy as np
import pyarrow as pa
import pytest

from tessera.uplift import learner
from tessera.uplift.folds import folds_of
from tessera.uplift.params import UpliftParams
from tessera.uplift.report import summary
from tessera.uplift.trials import Trials

USERS = 300
HUNGRY = UpliftParams(trees=60, leaves=31, bootstrap=100)


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
        bought_R=bought_R.astype(float),
    )


def qini(trials, effect_R, fold_R):
    return summary(trials, effect_R, fold_R, HUNGRY)["rows"]["x_learner"]["qini"]


def test_on_noise_only_a_model_that_has_seen_the_outcomes_finds_an_order(rng):
    made = noise(rng)
    fold_R = folds_of(made.rows["user_id"], HUNGRY.folds, HUNGRY.seed)
    seen = qini(made, learner.effects(learner.learn(made, HUNGRY), made), np.zeros_like(fold_R))
    learners = learner.cross_fit(made, fold_R, HUNGRY)
    unseen = qini(made, learner.unseen_effects(learners, made, fold_R), fold_R)
    # Out of fold the interval is too narrow for a test; the value of noise has a spread of .006.
    assert abs(unseen["value"]) < 0.02 < seen["low"]
    # The planted bug: every trial is scored by a model that has learnt from it.
    wrong = qini(made, learner.unseen_effects(learners, made, (fold_R + 1) % 3), fold_R)
    assert wrong["low"] > 0.02


def test_folds_of_rows_would_see_the_investor_and_folds_of_investors_do_not(rng):
    made = noise(rng, spread=0.3)
    by_row_R = rng.integers(0, HUNGRY.folds, len(made))
    by_user_R = folds_of(made.rows["user_id"], HUNGRY.folds, HUNGRY.seed)
    rows, users = (
        qini(made, learner.unseen_effects(learner.cross_fit(made, fold_R, HUNGRY), made, fold_R),
             fold_R)
        for fold_R in (by_row_R, by_user_R)
    )  # fmt: skip
    assert abs(users["value"]) < 0.02 < rows["low"]


def test_no_model_is_handed_the_investors_that_it_scores(rng, monkeypatch):
    made = noise(rng, rows=900)
    fold_R = folds_of(made.rows["user_id"], 3, 7)
    monkeypatch.setattr(learner, "learn", lambda trials, _: set(trials.rows["user_id"].to_pylist()))
    scored = []

    def effects(taught, trials):
        asked = set(trials.rows["user_id"].to_pylist())
        scored.append((taught, asked))
        return np.zeros(len(trials))

    monkeypatch.setattr(learner, "effects", effects)
    learner.unseen_effects(learner.cross_fit(made, fold_R, UpliftParams()), made, fold_R)
    everybody = set(made.rows["user_id"].to_pylist())
    assert len(scored) == 3
    assert all(taught | asked == everybody and not taught & asked for taught, asked in scored)
    assert set.union(*(asked for _, asked in scored)) == everybody


def test_params_ask_for_at_least_two_folds():
    with pytest.raises(ValueError, match="folds"):
        UpliftParams(folds=1)

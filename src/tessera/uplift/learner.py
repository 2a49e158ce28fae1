"""The only door to causalml: X-learners over gradient boosting, cross-fitted by investor.

The rare arm (shown at the top) borrows from the common one (never shown), which is what X-learners
are for.  Whatever the serving policy knew enters as a feature through its propensity.

Shapes: R trials, F features.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from sklearn.ensemble import HistGradientBoostingRegressor

from tessera.uplift.params import UpliftParams
from tessera.uplift.trials import Floats, Ints, Trials

with warnings.catch_warnings():  # its plotting half still uses deprecated matplotlib calls
    warnings.simplefilter("ignore")
    from causalml.inference.meta import BaseXRegressor


def learn(trials: Trials, params: UpliftParams) -> Any:
    """Fit on the trials that were treated or never shown.

    Parameters
    ----------
    trials : Trials
        From before the cut; both arms present.
    params : UpliftParams
        Size of the base models, seed.
    """
    base = HistGradientBoostingRegressor(
        max_iter=params.trees,
        max_leaf_nodes=params.leaves,
        min_samples_leaf=100,
        l2_regularization=1.0,
        early_stopping=False,
        random_state=params.seed,
    )
    used_R = trials.weight_R > 0
    treated_R = trials.treated_R[used_R].astype(np.int64)
    learner = BaseXRegressor(learner=base)
    learner.fit(
        trials.feature_RF[used_R],
        treatment=treated_R,
        y=trials.bought_R[used_R],
        p=np.full(len(treated_R), treated_R.mean()),
    )
    return learner


def cross_fit(trials: Trials, fold_R: Ints, params: UpliftParams) -> list[Any]:
    """Fit one learner for each fold, on the trials of all the other folds."""
    return [learn(trials.where(fold_R != fold), params) for fold in range(params.folds)]


def unseen_effects(learners: list[Any], trials: Trials, fold_R: Ints) -> Floats:
    """Predict each trial by the one learner that never saw its investor, at any time."""
    effect_R = np.zeros(len(trials))
    for fold, learner in enumerate(learners):
        held_R = fold_R == fold
        if held_R.any():
            effect_R[held_R] = effects(learner, trials.where(held_R))
    return effect_R


def effects(learner: Any, trials: Trials) -> Floats:
    """Predict the effect of being shown, for every trial; clipped to [-1, 1]."""
    share_R = np.full(len(trials), 0.1)
    effect_R1 = learner.predict(trials.feature_RF, p=share_R)
    return np.asarray(np.clip(effect_R1[:, 0], -1.0, 1.0), dtype=np.float64)

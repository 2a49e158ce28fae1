"""The only way to causalml: S-, T-, X- and DR-learners, cross-fitted by investor.

The rare arm (shown at the top) borrows from the common one (never shown), which is what X-learners
are for.  Whatever the serving policy knew enters as a feature through its propensity.  X blends by
the known propensity, DR weighs by it; S and T have no place for it.  Trials between the arms (shown
further down) are not learnt from, so of the bias of its outcome models a DR-learner keeps
1 - 1 / P(in an arm) rather than nothing.

S, T, X: Kuenzel, Sekhon, Bickel, Yu, arXiv 1706.03461; DR: Kennedy, arXiv 2004.14497.

Shapes: R trials, F features.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from sklearn.ensemble import HistGradientBoostingRegressor

from tessera.contracts.arrays import Float64s, Ints
from tessera.stages.uplift.params import Kind, UpliftParams
from tessera.stages.uplift.report import Predicted
from tessera.stages.uplift.trials import SERVED, Trials

with warnings.catch_warnings():  # its plotting half still uses deprecated matplotlib calls
    warnings.simplefilter("ignore")
    from causalml.inference.meta import (
        BaseDRRegressor,
        BaseSRegressor,
        BaseTRegressor,
        BaseXRegressor,
    )

_LEARNERS: dict[Kind, Any] = {
    "s": BaseSRegressor,
    "t": BaseTRegressor,
    "x": BaseXRegressor,
    "dr": BaseDRRegressor,
}
_LEAST = 1e-6
"""causalml wants propensities strictly between 0 and 1."""


def learn(kind: Kind, trials: Trials, params: UpliftParams) -> Any:
    """Fit on the trials that were treated or never shown.

    Parameters
    ----------
    kind : Kind
        Which learner.
    trials : Trials
        From before the cut; both arms present.
    params : UpliftParams
        Size of the base models, seed.
    """
    used = trials.where(trials.weight_R > 0)
    learner = _LEARNERS[kind](learner=boosting(params))
    # A DR-learner splits its trials once more.
    more = {"seed": params.seed} if kind == "dr" else {}
    learner.fit(
        used.feature_RF,
        treatment=used.treated_R.astype(np.int64),
        y=used.bought_R,
        p=_propensity(used),
        **more,
    )
    return learner


def _propensity(used: Trials) -> Float64s:
    """Return p whose 1 / p (treated) and 1 / (1 - p) (controls) are the known weights."""
    share_R = 1.0 / used.weight_R
    chance_R = np.where(used.treated_R, share_R, 1.0 - share_R)
    return np.asarray(np.clip(chance_R, _LEAST, 1.0 - _LEAST))


def boosting(params: UpliftParams) -> HistGradientBoostingRegressor:
    """Return the base model of every learner, untrained."""
    return HistGradientBoostingRegressor(
        max_iter=params.trees,
        max_leaf_nodes=params.leaves,
        min_samples_leaf=100,
        l2_regularization=1.0,
        early_stopping=False,
        random_state=params.seed,
    )


def cross_fit(kind: Kind, trials: Trials, fold_R: Ints, params: UpliftParams) -> list[Any]:
    """Fit one learner for each fold, on the trials of all the other folds."""
    return [learn(kind, trials.where(fold_R != fold), params) for fold in range(params.folds)]


def unseen_effects(learners: list[Any], trials: Trials, fold_R: Ints) -> Float64s:
    """Predict each trial by the one learner that never saw its investor, at any time."""
    effect_R = np.zeros(len(trials))
    for fold, learner in enumerate(learners):
        held_R = fold_R == fold
        if held_R.any():
            effect_R[held_R] = effects(learner, trials.where(held_R))
    return effect_R


def effects(learner: Any, trials: Trials) -> Float64s:
    """Predict the effect of being shown, for every trial; clipped to [-1, 1]."""
    chance_R = np.clip(trials.chance_R, _LEAST, 1.0 - _LEAST)
    effect_R1 = learner.predict(trials.feature_RF, p=chance_R)
    return np.asarray(np.clip(effect_R1[:, 0], -1.0, 1.0), dtype=np.float64)


def servable_effects(
    past: Trials, effect_R: Float64s, later: Trials, params: UpliftParams
) -> Float64s:
    """Predict effects of later trials from what a server knows at a request.

    A server that does not write the log has no propensity of the log to look at, so the effects
    found before the cut are regressed on the other features.

    Parameters
    ----------
    past : Trials
        From before the cut.
    effect_R : Float64s
        Their effects, out of fold.
    later : Trials
        Requests to predict; outcomes are not read.
    params : UpliftParams
        Size of the model, seed.
    """
    model = boosting(params).fit(past.feature_RF[:, SERVED], effect_R)
    return np.asarray(np.clip(model.predict(later.feature_RF[:, SERVED]), -1.0, 1.0))


def unseen_outcomes(learners: list[Any], trials: Trials, fold_R: Ints) -> tuple[Float64s, Float64s]:
    """Predict the outcome if treated and if not, by the T-learner that never saw the investor."""
    treated_R, control_R = np.zeros(len(trials)), np.zeros(len(trials))
    for fold, learner in enumerate(learners):
        held_R = fold_R == fold
        if held_R.any():
            feature_RF = trials.feature_RF[held_R]
            _, control, treated = learner.predict(feature_RF, return_components=True)
            treated_R[held_R], control_R[held_R] = treated[1], control[1]
    return treated_R, control_R


def predict(learners: dict[Kind, list[Any]], trials: Trials, fold_R: Ints) -> Predicted:
    """Predict effects by every kind of learner and outcomes by T, which must be among them."""
    found: dict[str, Float64s] = {
        kind: unseen_effects(each, trials, fold_R) for kind, each in learners.items()
    }
    return Predicted(found, *unseen_outcomes(learners["t"], trials, fold_R))

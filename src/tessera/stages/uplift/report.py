"""How well learners order and foretell effects, beside what knows nothing of effects.

That is a constant effect, the order of who buys most if shown (outcome only), and a random score.

Intervals resample investors and hold the learners fixed.  Out of fold they and the p-values are
too narrow for a test, because the learners of the folds share investors (Wager, arXiv 2405.05534):
whether there is any order, out of time decides.  AUUC of a constant effect is ATE / 2, so Qini is
also the gain over it.

Shapes: R trials, U investors, B resamples, D tenths.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from scipy.sparse import csr_matrix

from tessera.contracts.arrays import Float64s, Ints
from tessera.stages.uplift.curves import (
    Arms,
    Shuffles,
    areas,
    ate,
    averages,
    p_value,
    points,
    qinis,
    resampled,
    tally,
)
from tessera.stages.uplift.folds import ranks
from tessera.stages.uplift.params import UpliftParams
from tessera.stages.uplift.trials import Trials

_DECILES = 10


@dataclass(frozen=True, slots=True)
class Predicted:
    """What models that never saw the investor say of each trial."""

    effect_R: Mapping[str, Float64s]
    """Effect of being shown, by learner."""
    treated_R: Float64s
    """Chance of a purchase if treated: the outcome model of the doubly robust effects."""
    control_R: Float64s
    """The same if not."""


def summary(
    trials: Trials, predicted: Predicted, fold_R: Ints, params: UpliftParams
) -> dict[str, Any]:
    """Describe each learner beside a constant effect, outcomes alone and a random score.

    Parameters
    ----------
    trials : Trials
        Some with weight in both arms.
    predicted : Predicted
        By models that never saw the investor.
    fold_R : Ints
        Which model that was.
    params : UpliftParams
        Resamples, permutations, width of the intervals, seed.
    """
    rng = np.random.default_rng(params.seed)
    used_R = trials.weight_R > 0
    arms = Arms(trials.treated_R[used_R], trials.weight_R[used_R], trials.bought_R[used_R])
    cluster_R = _clusters(trials.rows["user_id"])
    times_BU = _draws(int(cluster_R.max()) + 1, params.bootstrap, rng)
    score_R = {
        f"{name}_learner": ranks(effect_R, fold_R, rng)
        for name, effect_R in predicted.effect_R.items()
    }
    noise_R = rng.random(len(trials))
    outcome_R = ranks(predicted.treated_R, fold_R, rng)
    everywhere_R = np.zeros(int(used_R.sum()), np.int64)
    average = interval(
        ate(arms),
        averages(resampled(arms, everywhere_R, cluster_R[used_R], times_BU)),
        params.alpha,
    )
    judge = _Judge(arms, cluster_R[used_R], times_BU, params)
    robust_R = robust_effects(trials, predicted)
    return {
        "ate": average,
        "rows": {
            **{name: judge.row(rank_R[used_R]) for name, rank_R in score_R.items()},
            "constant_ate": {
                "auuc": {name: bound / 2 for name, bound in average.items()},
                "qini": dict.fromkeys(average, 0.0),
                "p_value": 1.0,
            },
            "outcome_only": judge.row(outcome_R[used_R]),
            "random_score": judge.row(noise_R[used_R]),
        },
        "deciles": {
            f"{name}_learner": _deciles(
                score_R[f"{name}_learner"],
                effect_R,
                _Measured(robust_R, cluster_R, times_BU, params.alpha),
            )
            for name, effect_R in predicted.effect_R.items()
        },
        "trials": len(trials),
        "treated": int(arms.treated_R.sum()),
        "controls": int((~arms.treated_R).sum()),
    }


def robust_effects(trials: Trials, predicted: Predicted) -> Float64s:
    """Return an unbiased, noisy effect of each trial, whatever the outcome model.

    mu_1 - mu_0 + 1{treated} w (y - mu_1) - 1{control} w (y - mu_0), with known weights w (Robins,
    Rotnitzky, Zhao, 1994; Kennedy, arXiv 2004.14497).
    """
    sign_R = np.where(trials.treated_R, 1.0, -1.0)
    guess_R = np.where(trials.treated_R, predicted.treated_R, predicted.control_R)
    missed_R = sign_R * trials.weight_R * (trials.bought_R - guess_R)
    return np.asarray(predicted.treated_R - predicted.control_R + missed_R)


@dataclass(frozen=True, slots=True)
class _Judge:
    """Everything that a row of the table needs but its score."""

    arms: Arms
    cluster_R: Ints
    times_BU: Float64s
    params: UpliftParams

    def row(self, score_R: Float64s) -> dict[str, Any]:
        """AUUC and Qini of a score with intervals, and the p-value of its Qini."""
        point_R, alpha = points(score_R), self.params.alpha
        once = tally(self.arms, point_R)
        drawn = resampled(self.arms, point_R, self.cluster_R, self.times_BU)
        rng = np.random.default_rng(self.params.seed)
        # Those without weight are gone, and with them some investors.
        _, present_R = np.unique(self.cluster_R, return_inverse=True)
        shuffles = Shuffles(present_R, rng)
        return {
            "auuc": interval(float(areas(once)), areas(drawn), alpha),
            "qini": interval(float(qinis(once)), qinis(drawn), alpha),
            "p_value": p_value(self.arms, point_R, shuffles, self.params.permutations),
        }


@dataclass(frozen=True, slots=True)
class _Measured:
    """Unbiased effects, and how their means are resampled."""

    robust_R: Float64s
    cluster_R: Ints
    times_BU: Float64s
    alpha: float


def _deciles(score_R: Float64s, effect_R: Float64s, measured: _Measured) -> list[dict[str, Any]]:
    """Predicted against doubly robust effect, from the lowest tenth of scores to the highest."""
    tenths = min(_DECILES, len(score_R))
    point_R = points(score_R)
    tenth_R = tenths - 1 - (point_R * tenths // (int(point_R.max()) + 1))
    shape = (measured.times_BU.shape[1], tenths)
    sum_UD, count_UD = (
        csr_matrix((value_R, (measured.cluster_R, tenth_R)), shape=shape)
        for value_R in (measured.robust_R, np.ones(len(score_R)))
    )
    size_D = np.bincount(tenth_R, minlength=tenths)
    predicted_D, mean_D = (
        np.bincount(tenth_R, weights=value_R, minlength=tenths) / size_D
        for value_R in (effect_R, measured.robust_R)
    )
    total_DB, count_DB = (one_UD.T @ measured.times_BU.T for one_UD in (sum_UD, count_UD))
    # A resample may hold nobody of a tenth of few investors: it says nothing of it.
    same_DB = np.broadcast_to(mean_D[:, None], total_DB.shape).copy()
    drawn_BD = np.divide(total_DB, count_DB, out=same_DB, where=count_DB > 0).T
    return [
        {
            "predicted": float(predicted_D[tenth]),
            "measured": interval(float(mean_D[tenth]), drawn_BD[:, tenth], measured.alpha),
        }
        for tenth in range(tenths)
    ]


def _draws(users: int, size: int, rng: np.random.Generator) -> Float64s:
    draws = [np.bincount(rng.integers(0, users, users), minlength=users) for _ in range(size)]
    return np.array(draws, dtype=np.float64)


def interval(value: float, draws: Float64s, alpha: float) -> dict[str, float]:
    """Percentile interval; the usual quantiles of 100 resamples lie inside what they stand for."""
    low, high = np.quantile(draws, (alpha / 2, 1 - alpha / 2), method="weibull")
    return {"value": value, "low": float(low), "high": float(high)}


def _clusters(users: pa.ChunkedArray) -> Ints:
    codes = users.combine_chunks().dictionary_encode().indices
    return np.asarray(codes.to_numpy(), dtype=np.int64)

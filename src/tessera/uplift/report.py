"""What a ranking by predicted effect is worth: ATE, AUUC and Qini with intervals.

Over trials sorted by predicted effect, with weights that undo the serving policy,

    gain(f) = f (mean outcome of treated - mean outcome of controls) in the best share f
    AUUC    = area under gain,   Qini = AUUC - ATE / 2, the area above a random order

in purchases per trial; other packages normalise differently, so never compare across.  AUUC of
a constant effect is ATE / 2, so Qini is also the gain over it.  Intervals resample investors and
hold the learners fixed.  Out of fold they are too narrow for a test, because the learners of the
folds share investors (Wager, arXiv 2405.05534): whether there is any order, out of time decides.

Shapes: R trials, U investors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from tessera.uplift.folds import ranks
from tessera.uplift.params import UpliftParams
from tessera.uplift.trials import Bools, Floats, Ints, Trials

_DECILES = 10


@dataclass(frozen=True, slots=True)
class Arms:
    """Outcomes of both arms with weights that undo the policy; order is free."""

    treated_R: Bools
    weight_R: Floats
    outcome_R: Floats


def ate(arms: Arms) -> float:
    """Average treatment effect, self-normalised inverse propensity weights (Hajek, 1971).

    >>> arms = Arms(np.array([True, False]), np.array([2.0, 2.0]), np.array([1.0, 0.0]))
    >>> ate(arms)
    1.0
    """
    return float(_mean(arms, arms.treated_R) - _mean(arms, ~arms.treated_R))


def auuc(arms: Arms) -> float:
    """Area under the uplift curve of arms that are sorted, best first."""
    total = [
        (np.cumsum(weight_R), np.cumsum(weight_R * arms.outcome_R))
        for weight_R in (arms.weight_R * arms.treated_R, arms.weight_R * ~arms.treated_R)
    ]
    mean_treated_R, mean_control_R = (
        np.divide(earned_R, seen_R, out=np.zeros_like(earned_R), where=seen_R > 0)
        for seen_R, earned_R in total
    )
    mass_R = total[0][0] + total[1][0]
    share_R = mass_R / mass_R[-1]
    gain_R = share_R * (mean_treated_R - mean_control_R)
    return float(np.trapezoid(np.append(0.0, gain_R), np.append(0.0, share_R)))


def _mean(arms: Arms, mask_R: Bools) -> float:
    weight_R = arms.weight_R * mask_R
    return float(weight_R @ arms.outcome_R / weight_R.sum())


def summary(trials: Trials, effect_R: Floats, fold_R: Ints, params: UpliftParams) -> dict[str, Any]:
    """Describe the learner beside a constant effect and a random score.

    Parameters
    ----------
    trials : Trials
        Some with weight in both arms.
    effect_R : Floats
        Effect of each trial, predicted by a model that never saw its investor.
    fold_R : Ints
        Which model that was.
    params : UpliftParams
        Resamples, width of the intervals, seed.
    """
    rng = np.random.default_rng(params.seed)
    used_R = trials.weight_R > 0
    arms = Arms(trials.treated_R[used_R], trials.weight_R[used_R], trials.bought_R[used_R])
    cluster_R = _clusters(trials.rows["user_id"])[used_R]
    score_R = ranks(effect_R[used_R], fold_R[used_R], rng)
    noise_R = rng.random(int(used_R.sum()))
    draws = _draws(cluster_R, params.bootstrap, rng)
    learned = _ranked(arms, cluster_R, score_R, draws)
    random = _ranked(arms, cluster_R, noise_R, draws)
    average = _interval(
        ate(arms), [ate(_resampled(arms, times_U[cluster_R])) for times_U in draws], params.alpha
    )
    return {
        "ate": average,
        "rows": {
            "x_learner": {name: _interval(*pair, params.alpha) for name, pair in learned.items()},
            "constant_ate": {
                "auuc": {name: bound / 2 for name, bound in average.items()},
                "qini": dict.fromkeys(average, 0.0),
            },
            "random_score": {name: _interval(*pair, params.alpha) for name, pair in random.items()},
        },
        "deciles": _deciles(arms, score_R, effect_R[used_R]),
        "trials": len(trials),
        "treated": int(arms.treated_R.sum()),
        "controls": int((~arms.treated_R).sum()),
    }


def _ranked(
    arms: Arms, cluster_R: Ints, score_R: Floats, draws: list[Ints]
) -> dict[str, tuple[float, list[float]]]:
    """AUUC and Qini of a score, and the same in every resample of investors."""
    order_R = np.argsort(-score_R, kind="stable")
    best = Arms(arms.treated_R[order_R], arms.weight_R[order_R], arms.outcome_R[order_R])
    best_cluster_R = cluster_R[order_R]
    areas, qinis = [], []
    for times_U in draws:
        drawn = _resampled(best, times_U[best_cluster_R])
        areas.append(auuc(drawn))
        qinis.append(areas[-1] - ate(drawn) / 2)
    area = auuc(best)
    return {"auuc": (area, areas), "qini": (area - ate(best) / 2, qinis)}


def _draws(cluster_R: Ints, size: int, rng: np.random.Generator) -> list[Ints]:
    users = int(cluster_R.max()) + 1
    return [np.bincount(rng.integers(0, users, users), minlength=users) for _ in range(size)]


def _resampled(arms: Arms, times_R: Ints) -> Arms:
    return Arms(arms.treated_R, arms.weight_R * times_R, arms.outcome_R)


def _deciles(arms: Arms, score_R: Floats, effect_R: Floats) -> list[dict[str, float]]:
    """Predicted against measured effect, from the lowest tenth of scores to the highest."""
    parts = np.array_split(np.argsort(score_R, kind="stable"), _DECILES)
    rows = []
    for part in parts:
        tenth = Arms(arms.treated_R[part], arms.weight_R[part], arms.outcome_R[part])
        if tenth.treated_R.any() and not tenth.treated_R.all():
            rows.append({"predicted": float(effect_R[part].mean()), "measured": ate(tenth)})
    return rows


def _interval(value: float, draws: list[float], alpha: float) -> dict[str, float]:
    low, high = np.quantile(draws, (alpha / 2, 1 - alpha / 2))
    return {"value": value, "low": float(low), "high": float(high)}


def _clusters(users: pa.ChunkedArray) -> Ints:
    codes = users.combine_chunks().dictionary_encode().indices
    return np.asarray(codes.to_numpy(), dtype=np.int64)

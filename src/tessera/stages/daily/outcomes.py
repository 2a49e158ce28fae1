"""What came of the slates of a day: rates, and whether the model still knows what is wanted.

Shapes: N slates, R positions, U investors.
"""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata

from tessera.contracts.arrays import Bools, Float64s
from tessera.stages.daily.frames import Frames
from tessera.stages.daily.levels import Levels, slices
from tessera.stages.daily.units import Level, ratio

_RATES = {
    "click_rate": "clicked", "buy_rate": "bought", "dismiss_rate": "dismissed",
    "complaint_rate": "complained",
}  # fmt: skip


def answered(day: Frames) -> Levels:
    """Measure what came of the slates, whole and per slice: an outcome belongs to a position."""
    rows, count = day.positions, len(day.slates)
    of_R, user_N = rows["slate"].to_numpy(), day.slates["user"].to_numpy()
    places_N = np.bincount(of_R, minlength=count).astype(np.float64)
    found: Levels = {}
    for name, mask_N in slices(day.slates):
        for series, column in _RATES.items():
            done_N = np.asarray(np.bincount(of_R, rows[column].to_numpy(np.float64), count), float)
            level = ratio(done_N[mask_N], places_N[mask_N], user_N[mask_N])
            if level is not None:
                found[series, name] = level
        level = _told_apart(day, mask_N)
        if level is not None:
            found["click_auc", name] = level
    return found


def _told_apart(day: Frames, mask_N: Bools) -> Level | None:
    """Return how often what was clicked has the higher score, of pairs of one policy.

    It falls where investors want something else than the model believes, however many click.  A
    policy of which nothing was clicked has no pairs.
    """
    rows = day.positions[mask_N[day.positions["slate"].to_numpy()]]
    rows = rows[np.isfinite(rows["score"])]
    of_R = rows["slate"].to_numpy()
    policy_R = day.slates["policy"].to_numpy()[of_R]
    user_R = day.slates["user"].to_numpy()[of_R]
    clicked_R = (rows["clicked"] | rows["bought"]).to_numpy()
    score_R = rows["score"].to_numpy()
    of_policy = [policy_R == policy for policy in np.unique(policy_R.astype(str))]
    told = [mine_R for mine_R in of_policy if 0 < clicked_R[mine_R].sum() < mine_R.sum()]
    if not told:
        return None
    told_R = np.logical_or.reduce(told)
    value, clicks = 0.0, int(clicked_R[told_R].sum())
    gap_U = np.zeros(len(day.user_ids))
    for mine_R in told:
        hit_R = clicked_R[mine_R]
        part = hit_R.sum() / clicks
        above_R, auc = _placed(score_R[mine_R], hit_R)
        value += part * auc
        gap_U += part * np.bincount(user_R[mine_R], above_R, len(gap_U))
    investors = len(np.unique(user_R[told_R]))
    return Level(value, float(np.sqrt(np.square(gap_U).sum())), int(told_R.sum()), investors)


def _placed(score_R: Float64s, hit_R: Bools) -> tuple[Float64s, float]:
    """Return what each row adds to the error of the share of pairs in order, and that share."""
    hits, misses = int(hit_R.sum()), int((~hit_R).sum())
    rank_R, over_R = rankdata(score_R), np.empty(len(score_R))
    over_R[hit_R] = (rank_R[hit_R] - rankdata(score_R[hit_R])) / misses
    over_R[~hit_R] = 1 - (rank_R[~hit_R] - rankdata(score_R[~hit_R])) / hits
    auc = float(over_R[hit_R].mean())
    return (over_R - auc) / np.where(hit_R, hits, misses), auc

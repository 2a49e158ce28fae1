"""What came of the slates of a day: rates, and whether the model still knows what is wanted.

Shapes: N slates, R positions, U investors, B bins.
"""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata

from tessera.contracts.arrays import Bools, Float64s, Ints
from tessera.stages.daily.frames import ANSWERS, CHANCE, Frames
from tessera.stages.daily.levels import Levels, slices
from tessera.stages.daily.units import Level, ratio

_RATES = {
    "click_rate": "clicked", "buy_rate": "bought", "dismiss_rate": "dismissed",
    "complaint_rate": "complained",
}  # fmt: skip
_BINS = 10
"""Of probabilities."""


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
        found |= {
            (f"calibration_error.{answer}", name): level
            for answer in ANSWERS
            if (level := _expected(day, mask_N, answer)) is not None
        }
    return found


def _expected(day: Frames, mask_N: Bools, answer: str) -> Level | None:
    """Hold how likely the model called an outcome against what came."""
    rows = day.positions[mask_N[day.positions["slate"].to_numpy()]]
    rows = rows[np.isfinite(rows[CHANCE + answer])]
    user_R = day.slates["user"].to_numpy()[rows["slate"].to_numpy()]
    hit_R = rows[ANSWERS[answer]].to_numpy(np.float64)
    return calibration_error(rows[CHANCE + answer].to_numpy(), hit_R, user_R)


def calibration_error(chance_R: Float64s, hit_R: Float64s, user_R: Ints) -> Level | None:
    """Return the expected calibration error without what sampling gives; None without rows.

    Rows are put into ten bins of equal size by how likely they were called.  In each the share of
    hits is held against the mean of the probabilities; the error is the mean of these distances.
    An investor's rows hang together.  Naeini et al. 2015; that sampling has to be taken off, as it
    is in `drift`, Kumar et al. 2019.

    Two investors of whom one clicked all and the other none: told .5, nothing speaks against it.

    >>> calibration_error(np.full(4, 0.5), np.array([1.0, 1, 0, 0]), np.array([0, 0, 1, 1])).value
    0.0
    >>> calibration_error(np.full(4, 0.9), np.array([0.0, 0, 0, 0]), np.array([0, 0, 1, 1])).value
    0.9
    """
    rows = len(chance_R)
    if not rows:
        return None
    _, unit_R = np.unique(user_R, return_inverse=True)
    units = int(unit_R.max()) + 1
    edges = np.unique(np.quantile(chance_R, np.linspace(0, 1, _BINS + 1)[1:-1]))
    bin_R = np.searchsorted(edges, chance_R, "right")
    size = units * (len(edges) + 1)
    gap_Q = np.bincount(unit_R * (len(edges) + 1) + bin_R, hit_R - chance_R, size)
    gap_UB = gap_Q.reshape(units, -1) / rows
    gap_B = gap_UB.sum(axis=0)
    apart_UB = gap_UB - gap_B / units
    wider = units / max(units - 1, 1)
    spread_B = np.square(apart_UB).sum(axis=0) * wider
    value = float(np.sqrt(np.maximum(np.square(gap_B) - spread_B, 0.0)).sum())
    error = float(np.square(apart_UB @ np.sign(gap_B)).sum() * wider)
    return Level(value, float(np.sqrt(error)), rows, units, is_size=True)


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

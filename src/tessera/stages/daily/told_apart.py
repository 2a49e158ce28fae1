"""Whether a classifier tells the investors of a day from those of the days before.

Shapes: V investors of a day, F features.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata
from sklearn.ensemble import RandomForestClassifier

from tessera.contracts.arrays import Bools, Float64s
from tessera.stages.daily.units import Level

_FOLDS = 2
_TIMES = 8
"""Rows of before for each investor of the day: more only cost time."""
_LEAST = 40
"""Investors on each side below which nothing is told apart."""


def auc(
    now: tuple[list[str], Float64s], before: Sequence[tuple[list[str], Float64s]]
) -> Level | None:
    """Return how often the investor of the day is ranked above one of before, 0.5 if by chance.

    Of the days before each investor counts as often as they came: who comes rarely is rare on
    every single day, and counted once they would stand beside the day as if they came always.  An
    investor lies in one fold, on whichever side: nobody is ranked by a classifier that has seen
    them, and their rows err together.  None where too few came.
    """
    past = _kept(before, _TIMES * len(now[0]))
    users = [*now[0], *(user for user, _ in past)]
    is_now_V = np.arange(len(users)) < len(now[0])
    if min(len(now[0]), len({user for user, _ in past})) < _LEAST:
        return None
    value_VF = np.concatenate([now[1], np.array([value_F for _, value_F in past])])
    fold_V = np.array([_fold(user) for user in users])
    above_V = np.zeros(len(users))
    for fold in range(_FOLDS):
        above_V[fold_V == fold] = _placed(value_VF, is_now_V, fold_V == fold)
    spread = sum(_spread(above_V[side_V], np.array(users)[side_V]) for side_V in
                 (is_now_V, ~is_now_V))  # fmt: skip
    came = len(now[0])
    return Level(float(above_V[is_now_V].mean()), float(np.sqrt(spread)), came, came)


def _spread(above_N: Float64s, user_N: NDArray[Any]) -> float:
    """Square of the error of a mean whose rows err together by investor."""
    of_N = np.unique(user_N, return_inverse=True)[1]
    sum_G = np.bincount(of_N, weights=above_N - above_N.mean())
    return float(sum_G @ sum_G) / len(above_N) ** 2 * len(sum_G) / max(len(sum_G) - 1, 1)


def _kept(before: Sequence[tuple[list[str], Float64s]], most: int) -> list[tuple[str, Float64s]]:
    """Return investors of before with their features: all, or as many as a hash says."""
    rows = [
        (_hash(f"{user}#{len(before) - day}"), user, value_F)
        for day, (users, value_VF) in enumerate(before)
        for user, value_F in zip(users, value_VF, strict=True)
    ]
    rows.sort(key=lambda row: row[:2])
    return [(user, value_F) for _, user, value_F in rows[:most]]


def _placed(value_VF: Float64s, is_now_V: Bools, is_held_V: Bools) -> Float64s:
    """Return of each held-out row the share of the other side that it lies above, or below."""
    forest = RandomForestClassifier(
        40, max_depth=5, min_samples_leaf=10, class_weight="balanced", random_state=0, n_jobs=1
    )
    forest.fit(value_VF[~is_held_V], is_now_V[~is_held_V])
    score_V, is_now_V = forest.predict_proba(value_VF[is_held_V])[:, 1], is_now_V[is_held_V]
    found_V = np.zeros(len(score_V))
    found_V[is_now_V] = _share_above(score_V, is_now_V)
    found_V[~is_now_V] = 1.0 - _share_above(score_V, ~is_now_V)
    return found_V


def _share_above(score_V: Float64s, mine_V: Bools) -> Float64s:
    """Return of each of mine the share of the others that it lies above; ties count half."""
    others = int((~mine_V).sum())
    among_V = rankdata(score_V)[mine_V] - rankdata(score_V[mine_V])
    return np.asarray(among_V / max(others, 1))


def _fold(user: str) -> int:
    return _hash(user)[0] % _FOLDS


def _hash(text: str) -> bytes:
    return hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=8).digest()

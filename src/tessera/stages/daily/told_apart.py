"""Whether a classifier tells the investors of a day from those of the days before.

Shapes: V investors of a day, F features.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from scipy.stats import rankdata
from sklearn.ensemble import RandomForestClassifier

from tessera.contracts.arrays import Bools, Float64s
from tessera.stages.daily.units import Level

_FOLDS = 2
_LEAST = 40
"""Investors on each side below which nothing is told apart."""


def auc(
    now: tuple[list[str], Float64s], before: Sequence[tuple[list[str], Float64s]]
) -> Level | None:
    """Return how often the investor of the day is ranked above one of before, 0.5 if by chance.

    An investor lies in one fold, on whichever side, and once on the side of before; nobody is
    ranked by a classifier that has seen them.  None where too few came.
    """
    users = [*now[0]]
    past = _once(before)
    if len(users) < _LEAST or len(past) < _LEAST:
        return None
    value_VF = np.concatenate([now[1], np.array(list(past.values()))])
    is_now_V = np.arange(len(value_VF)) < len(users)
    fold_V = np.array([_fold(user) for user in (*users, *past)])
    placed = [_placed(value_VF, is_now_V, fold_V == fold) for fold in range(_FOLDS)]
    above = np.concatenate([one for one, _ in placed]), np.concatenate([one for _, one in placed])
    spread = sum(float(one.var(ddof=1)) / len(one) for one in above)
    return Level(float(above[0].mean()), float(np.sqrt(spread)), len(users), len(users))


def _once(before: Sequence[tuple[list[str], Float64s]]) -> dict[str, Float64s]:
    """Take each investor of before once: of the day that a hash says."""
    found: dict[str, tuple[bytes, Float64s]] = {}
    for day, (users, value_VF) in enumerate(before):
        for user, value_F in zip(users, value_VF, strict=True):
            mark = _hash(f"{user}#{len(before) - day}")
            if user not in found or mark < found[user][0]:
                found[user] = (mark, value_F)
    return {user: value_F for user, (_, value_F) in sorted(found.items())}


def _placed(value_VF: Float64s, is_now_V: Bools, is_held_V: Bools) -> tuple[Float64s, Float64s]:
    """Return of each held-out investor how many of the other side it lies above, or below."""
    forest = RandomForestClassifier(
        40, max_depth=5, min_samples_leaf=10, class_weight="balanced", random_state=0, n_jobs=1
    )
    forest.fit(value_VF[~is_held_V], is_now_V[~is_held_V])
    score_V, is_now_V = forest.predict_proba(value_VF[is_held_V])[:, 1], is_now_V[is_held_V]
    return _share_above(score_V, is_now_V), 1.0 - _share_above(score_V, ~is_now_V)


def _share_above(score_V: Float64s, mine_V: Bools) -> Float64s:
    """Return of each of mine the share of the others that it lies above; ties count half."""
    others = int((~mine_V).sum())
    among_V = rankdata(score_V)[mine_V] - rankdata(score_V[mine_V])
    return np.asarray(among_V / max(others, 1))


def _fold(user: str) -> int:
    return _hash(user)[0] % _FOLDS


def _hash(text: str) -> bytes:
    return hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=8).digest()

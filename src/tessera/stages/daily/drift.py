"""How far distributions moved from the reference days, as effects with an error.

The units are investors of a day.  What sampling alone gives is taken off, and counts for more where
the reference days differ by more than their investors would make them.

Shapes: M rows, U investors of a day, B kinds or bins, D days.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from tessera.contracts.arrays import Float64s, Ints
from tessera.stages.daily.samples import Column
from tessera.stages.daily.units import Level, ratio

_FLOOR = 1e-4
"""Least share of a kind, so that no logarithm is infinite."""
_BINS = 48
"""Of a column of numbers."""


@dataclass(frozen=True, slots=True)
class Shares:
    """Shares of kinds, with what each investor of a day adds to their error."""

    share_B: Float64s
    gap_UB: Float64s
    """What an investor has of each kind beyond the share, over all rows: sums to 0."""
    rows: int

    @property
    def spread_BB(self) -> Float64s:
        """Covariance of the shares."""
        units = len(self.gap_UB)
        return np.asarray(self.gap_UB.T @ self.gap_UB * (units / max(units - 1, 1)))


def shares(kind_M: Ints, unit_M: Ints, kinds: int) -> Shares:
    """Count kinds (0 to kinds - 1) by investor."""
    _, unit_M = np.unique(unit_M, return_inverse=True)
    units = int(unit_M.max(initial=-1)) + 1
    count_UB = np.bincount(unit_M * kinds + kind_M, minlength=units * kinds).reshape(units, kinds)
    rows = len(kind_M)
    share_B = count_UB.sum(axis=0) / rows
    gap_UB = (count_UB - count_UB.sum(axis=1, keepdims=True) * share_B) / rows
    return Shares(share_B, gap_UB, rows)


@dataclass(frozen=True, slots=True)
class Compared:
    """A day and its reference days, in the same kinds."""

    now: Shares
    before: Shares
    day_DB: Float64s
    """Shares of each reference day."""

    @classmethod
    def of(
        cls, now: tuple[Ints, Ints], before: Sequence[tuple[Ints, Ints]], kinds: int
    ) -> Compared:
        """Count kinds of rows and their investors, on the day and on each day before."""
        apart = np.cumsum([0, *(int(user.max(initial=-1)) + 1 for _, user in before)])
        unit_M = np.concatenate([u + shift for (_, u), shift in zip(before, apart, strict=False)])
        days = [shares(kind, user, kinds).share_B for kind, user in before if len(kind)]
        every = shares(np.concatenate([kind for kind, _ in before]), unit_M, kinds)
        return cls(shares(*now, kinds), every, np.array(days))

    def wider(self, weight_B: Float64s) -> float:
        """Return by how much days differ more than their investors would make them; at least 1.

        How many rows a day has may differ: of the day that is judged it is what counts.
        """
        days = len(self.day_DB)
        if days < 2:
            return 1.0
        apart_B = self.day_DB.var(axis=0, ddof=1)
        by_chance = float(weight_B @ np.diag(self.before.spread_BB)) * days
        return max(1.0, float(weight_B @ apart_B) / by_chance) if by_chance > 0 else 1.0


def psi(now: Column, before: Sequence[Column]) -> Level | None:
    """Return the population stability index without what sampling gives; None without rows."""
    before = [one for one in before if len(one.value_M)]
    if not len(now.value_M) or not before:
        return None
    names = pd.unique(np.concatenate([now.value_M, *(one.value_M for one in before)]))
    kinds = pd.Index(sorted(names))
    numbered = [(kinds.get_indexer(one.value_M), one.user_M) for one in (now, *before)]
    found = Compared.of(numbered[0], numbered[1:], len(kinds))
    p_B, q_B = found.now.share_B.clip(_FLOOR), found.before.share_B.clip(_FLOOR)
    weight_B = (1 / p_B + 1 / q_B) / 2
    spread_BB = found.now.spread_BB * found.wider(weight_B) + found.before.spread_BB
    raw = float(((p_B - q_B) * np.log(p_B / q_B)).sum())
    value = raw - float(weight_B @ np.diag(spread_BB))
    slope_B = np.log(p_B / q_B) + (p_B - q_B) / np.sqrt(p_B * q_B)
    curved = weight_B[:, None] * spread_BB
    error = float(slope_B @ spread_BB @ slope_B + 2 * np.trace(curved @ curved))
    return _level(value, error, found)


def wasserstein(now: Column, before: Sequence[Column]) -> Level | None:
    """Return the distance in standard deviations of the reference; see `psi`."""
    before = [one for one in before if len(one.value_M)]
    if not len(now.value_M) or not before:
        return None
    past_M = np.concatenate([one.value_M for one in before]).astype(np.float64)
    now_M = now.value_M.astype(np.float64)
    scale = float(past_M.std())
    if not scale:
        return _of_constant(now_M, past_M, now)
    level = np.linspace(0, 1, _BINS + 1)
    edges = np.unique(np.concatenate([np.quantile(past_M, level), np.quantile(now_M, level)]))
    numbered = [
        (np.clip(np.searchsorted(edges, one.value_M.astype(np.float64), "right") - 1, 0,
                 len(edges) - 1), one.user_M)
        for one in (now, *before)
    ]  # fmt: skip
    found = Compared.of(numbered[0], numbered[1:], len(edges))
    return _distance(found, np.diff(edges) / scale)


def _distance(found: Compared, width_B: Float64s) -> Level:
    """Sum the gaps of the cumulative shares at each edge but the last."""
    now_UB = np.cumsum(found.now.gap_UB, axis=1)[:, :-1]
    past_UB = np.cumsum(found.before.gap_UB, axis=1)[:, :-1]
    gap_B = np.cumsum(found.now.share_B - found.before.share_B)[:-1]
    days_DB = np.cumsum(found.day_DB, axis=1)[:, :-1]
    wider = 1.0
    by_chance = float(width_B @ np.square(past_UB).sum(axis=0)) * len(days_DB)
    if len(days_DB) > 1 and by_chance > 0:
        wider = max(1.0, float(width_B @ days_DB.var(axis=0, ddof=1)) / by_chance)
    spread_B = np.square(now_UB).sum(axis=0) * wider + np.square(past_UB).sum(axis=0)
    value = float(width_B @ np.sqrt(np.maximum(np.square(gap_B) - spread_B, 0.0)))
    slope_B = width_B * np.sign(gap_B)
    error = float(np.square(now_UB @ slope_B).sum() * wider + np.square(past_UB @ slope_B).sum())
    return _level(value, error, found)


def _of_constant(now_M: Float64s, past_M: Float64s, now: Column) -> Level | None:
    """Compare with what never varied: any other value is infinitely far, and 100 says so."""
    _, unit_M = np.unique(now.user_M, return_inverse=True)
    level = ratio((now_M != past_M[0]) * 100.0, np.ones(len(now_M)), unit_M)
    return level and replace(level, is_size=True)


def _level(value: float, error: float, found: Compared) -> Level:
    value = max(value, 0.0)
    return Level(
        value, float(np.sqrt(max(error, 0.0))), found.now.rows, len(found.now.gap_UB), True
    )

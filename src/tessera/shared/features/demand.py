"""How many investors an item will gain: its recent gains, and what new items of its class gain.

An item that is on sale for less than a horizon has gains of a part of it at most, and one that is
not on sale yet has none.  Both lean on their class: the mean gain of an item of the class in the
horizon in which it went on sale, with the weight of `_PRIOR` horizons (the posterior mean of a
Poisson rate under a gamma prior).

An investor who acquired more of a class than others do leans towards it.

Legend: N acquisitions, V items (with padding first where the model has it), I items of a table,
U investors, C classes, T trials.  Times are microseconds since 1970.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tessera.contracts.arrays import Float64s, Ints
from tessera.contracts.arrow import DAY_US

HABIT = 5.0
"""Acquisitions that the average investor's leanings count for."""
RARE = 1e-3
"""Smallest share of a class that leanings are measured against."""
CLASS_COLUMNS = ("category", "subcategory", "market_id")
_MOST_CLASSES = 64
_PRIOR = 0.25
_MOST_TRIALS = 12


@dataclass(frozen=True, slots=True)
class Acquired:
    """First acquisitions: each pair of investor and item once."""

    user_N: Ints
    item_N: Ints
    moment_N: Ints

    @classmethod
    def of(cls, user_E: Ints, item_E: Ints, moment_E: Ints) -> Acquired:
        """Keep the first of each pair, sorted by investor and item."""
        order = np.lexsort((moment_E, item_E, user_E))
        user_N, item_N = user_E[order], item_E[order]
        is_first_N = np.ones(len(order), bool)
        is_first_N[1:] = (np.diff(user_N) != 0) | (np.diff(item_N) != 0)
        kept = order[is_first_N]
        return cls(user_E[kept], item_E[kept], moment_E[kept])


@dataclass(frozen=True, slots=True)
class Sale:
    """Of every item, since when it is on sale and what class it is of."""

    from_V: Ints
    class_V: Ints


def item_classes(rows: pa.Table) -> Ints:
    """Return class_I by the class columns there are, the largest class first.

    Those beyond the 64 largest share the last.
    """
    told = [pc.fill_null(rows[name], "") for name in CLASS_COLUMNS if name in rows.column_names]
    blank = pa.array([""] * len(rows), pa.string())
    name_I = pc.binary_join_element_wise(blank, *told, "|").to_numpy(zero_copy_only=False)
    _, class_I, size_C = np.unique(name_I.astype(str), return_inverse=True, return_counts=True)
    place_C = np.empty(len(size_C), np.int64)
    place_C[np.argsort(-size_C, kind="stable")] = np.arange(len(size_C))
    return np.asarray(np.minimum(place_C, _MOST_CLASSES - 1)[class_I])


def leanings(had_UC: Float64s, share_C: Float64s) -> Float64s:
    """Return lean_UC: how much more than others an investor leans towards each class, as a root.

    Parameters
    ----------
    had_UC
        Items of each class that an investor acquired.
    share_C
        Share of each class in all acquisitions; it counts for five of an investor's own.

    >>> leanings(np.array([[5.0, 0.0], [0.0, 0.0]]), np.array([0.5, 0.5])).round(4)
    array([[1.2247, 0.7071],
           [1.    , 1.    ]])
    """
    own_UC = (had_UC + HABIT * share_C) / (had_UC.sum(axis=1, keepdims=True) + HABIT)
    lean_UC: Float64s = np.sqrt(own_UC / np.maximum(share_C, RARE))
    return lean_UC


def expected_gains(acquired: Acquired, sale: Sale, now: int, horizon_days: float) -> Float64s:
    """Return gain_V: how many investors each item gains in the horizon from now on.

    Parameters
    ----------
    acquired
        Acquisitions; those after `now` are not read.
    sale
        Of all items; whatever goes on sale after `now` counts as new.
    now
        Moment that is looked ahead from.
    horizon_days
        How far.
    """
    horizon, items = round(horizon_days * DAY_US), len(sale.from_V)

    def gains_V(after: int, until: int) -> Ints:
        within_N = (acquired.moment_N > after) & (acquired.moment_N <= until)
        return np.bincount(acquired.item_N[within_N], minlength=items)

    classes = int(sale.class_V.max(initial=0)) + 1
    gained_C, born_C = np.zeros(classes), np.ones(classes)  # one more item without any gain
    known_N = acquired.moment_N[acquired.moment_N <= now]
    begun = int(known_N.min(initial=now))
    trials = min(_MOST_TRIALS, (now - begun) // horizon)
    for back in range(1, trials + 1):
        after, until = now - back * horizon, now - (back - 1) * horizon
        is_new_V = (sale.from_V > after) & (sale.from_V <= until)
        new_C = sale.class_V[is_new_V]
        gained_C += np.bincount(new_C, gains_V(after, until)[is_new_V], minlength=classes)
        born_C += np.bincount(new_C, minlength=classes)
    since_V = np.clip(sale.from_V, now - horizon, now)
    share_V = (now - since_V) / horizon
    recent_V = gains_V(now - horizon, now)
    like_V = (gained_C / born_C)[sale.class_V]
    gain_V: Float64s = (recent_V + _PRIOR * like_V) / (share_V + _PRIOR)
    return gain_V


def mean_gains(acquired: Acquired, items: int, now: int, horizon_days: float) -> Float64s:
    """Return gain_V: how many investors each item gained in a mean horizon before now.

    The horizons begin with the first acquisition of any item, so that what came late has a small
    mean, as it has in whatever learns from all of them alike.
    """
    known_N = acquired.moment_N <= now
    begun = int(acquired.moment_N[known_N].min(initial=now))
    horizons = max(1.0, (now - begun) / (horizon_days * DAY_US))
    return np.bincount(acquired.item_N[known_N], minlength=items) / horizons

"""What ranking features are read from: the log, versions, items, closes and graph as arrays.

Everything derived from it is built once, so that requests can be asked in chunks.

Shapes: E events, U versions of investors, I items with 0 for unknown, R requests, Q candidates of
requests, B purchases, S sales, X trials, L code levels.  Times are microseconds since 1970.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, reduce
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from tessera.contracts import mapped
from tessera.contracts.arrays import Float64s, Ints
from tessera.contracts.tables import ACTIONS, RISK_CLASSES
from tessera.shared.features.prices import PriceHistory
from tessera.shared.features.stretches import Clock, Index, Versions

Columns = dict[str, NDArray[np.generic]]
"""Features of candidates by name, each [Q]."""
NOBODY = -1
"""Index of an investor or a class of whom nothing is known."""
EVERY = tuple(range(len(ACTIONS)))
BOUGHT = (ACTIONS.index("buy"), ACTIONS.index("rate"))
SOLD = (ACTIONS.index("sell"),)
_PRIOR = 50
"""Trials that the mean of an item counts for in each risk class."""


@dataclass(frozen=True, slots=True)
class Trials:
    """Candidates of past requests, each with the estimated effect of showing it."""

    user_X: Ints
    moment_X: Ints
    item_X: Ints
    effect_X: Float64s


@dataclass(frozen=True)
class Facts:
    """Everything features are read from; rows of any time, in any order."""

    user_E: Ints
    item_E: Ints
    action_E: Ints
    """Index into `ACTIONS`."""
    moment_E: Ints
    user_U: Ints
    since_U: Ints
    """From when a version of the investor is known; versions sorted by nothing."""
    risk_U: Ints
    """Risk class of the version, 0 if unknown."""
    risk_I: Ints
    """Risk class of the item, 0 if unknown."""
    category_I: Ints
    """Number of the category, NOBODY if unknown."""
    born_I: Ints
    """Since when the item can be bought, NOBODY if unknown."""
    code_IL: Ints
    closes: PriceHistory
    edges: dict[str, csr_matrix]
    """Weight from a held item (row) to a candidate (column), by kind."""
    trials: Trials
    folder: Path | None = None
    """Disk of what is derived from the events; None keeps it in memory."""

    @cached_property
    def clock(self) -> Clock:
        """Moments of the events."""
        return Clock(self.moment_E)

    @cached_property
    def rank_E(self) -> Ints:
        """Return the rank of each event's moment."""
        return mapped.stored(self.clock.rank(self.moment_E), self.folder)

    @cached_property
    def _indexes(self) -> dict[str, Index]:
        return {}

    @cached_property
    def _rows(self) -> dict[tuple[int, ...], Ints]:
        return {}

    @cached_property
    def label_counts(self) -> dict[str, int]:
        """Numbers that labels of a name take, found once: items are many."""
        return {}

    def labels(self, name: str, label_I: Ints) -> int:
        """Return how many numbers the labels of this name take, NOBODY included."""
        if name not in self.label_counts:
            self.label_counts[name] = int(label_I.max(initial=0)) + 2
        return self.label_counts[name]

    def index(self, name: str, group: Callable[[Ints], Ints], actions: tuple[int, ...]) -> Index:
        """Index the events of these actions by a group; built once under its name."""
        name = f"{name} {actions}"
        if name not in self._indexes:
            rows, span = self.rows(*actions), self.clock.span
            self._indexes[name] = Index(group(rows), self.rank_E[rows], span, self.folder)
        return self._indexes[name]

    def by_user(self, actions: tuple[int, ...] = EVERY) -> Index:
        """Index the events of these actions by investor."""
        return self.index("user", self.user_E.__getitem__, actions)

    def item_counts(self, actions: tuple[int, ...], asked: Queries, ago_us: int = 0) -> Ints:
        """Count what anybody did with each candidate before its request, or so long before it."""
        index = self.index("item", self.item_E.__getitem__, actions)
        rank_R = self.clock.rank(asked.moment_R - ago_us)
        return index.count(asked.item_Q, rank_R[asked.request_Q])

    @cached_property
    def prefixes(self) -> list[Ints]:
        """Return a number for each item's code up to each level."""
        found: list[Ints] = []
        number_I = np.zeros(len(self.code_IL), np.int64)
        for code_I in self.code_IL.T:
            # A prefix is the one before and one code more; numbers keep the order of the codes.
            key_I = number_I * (int(code_I.max(initial=0)) + 1) + code_I
            _, number_I = np.unique(key_I, return_inverse=True)
            found.append(number_I)
        return found

    @cached_property
    def sold_B(self) -> Ints:
        """Return when each purchase was next sold, later than it, else the end of time."""
        buys, sells = self.rows(*BOUGHT), self.rows(*SOLD)
        pair_B, pair_S = (
            self.user_E[rows] * len(self.risk_I) + self.item_E[rows] for rows in (buys, sells)
        )
        sold = Index(pair_S, self.rank_E[sells], self.clock.span)
        # A sale at the very moment leaves the item held: which came first is unknown.
        _, next_B = sold.stretch(pair_B, self.rank_E[buys] + 1)
        sale_B = np.append(sold.order_E, -1)[next_B]
        is_same_B = (sale_B >= 0) & (np.append(pair_S, -1)[sale_B] == pair_B)
        row_B = np.append(sells, -1)[sale_B]
        return np.where(is_same_B, self.moment_E[row_B], np.iinfo(np.int64).max)

    def risk_as_of(self, user_R: Ints, moment_R: Ints) -> Ints:
        """Return the risk class of the last version at or before the moment, 0 if there is none."""
        return np.append(self.risk_U, 0)[self.versions.last(user_R, moment_R)]

    @cached_property
    def versions(self) -> Versions:
        """Versions of the investors by time."""
        return Versions(self.user_U, self.since_U)

    @cached_property
    def effects(self) -> tuple[Float64s, Float64s]:
        """Return the mean effect of each item, and of each item and risk class of investor.

        The second is drawn towards the first as if `_PRIOR` more trials had shown it; NaN without
        any trial.
        """
        trials, items = self.trials, len(self.risk_I)
        class_X = self.risk_as_of(trials.user_X, trials.moment_X)
        # An investor may be told to be of a class that nobody was before.
        classes = max(int(self.risk_U.max(initial=0)), len(RISK_CLASSES)) + 1
        cell_X = trials.item_X * classes + class_X
        sum_IC = np.bincount(cell_X, trials.effect_X, items * classes).reshape(items, classes)
        count_IC = np.bincount(cell_X, minlength=items * classes).reshape(items, classes)
        count_I = count_IC.sum(axis=1)
        mean_I = np.where(count_I > 0, sum_IC.sum(axis=1) / np.maximum(count_I, 1), np.nan)
        mean_I[0] = np.nan
        return mean_I, (sum_IC + _PRIOR * mean_I[:, None]) / (count_IC + _PRIOR)

    def rows(self, *actions: int) -> Ints:
        """Return the events of these actions."""
        if actions not in self._rows:
            # A few comparisons are several times faster than `isin` where events are few.
            is_one_E = reduce(np.logical_or, [self.action_E == action for action in actions])
            rows = np.flatnonzero(is_one_E)
            self._rows[actions] = mapped.stored(rows, self.folder)
        return self._rows[actions]


@dataclass(frozen=True, slots=True)
class Queries:
    """Candidates of requests."""

    user_R: Ints
    """Index of the investor, NOBODY if unknown."""
    moment_R: Ints
    request_Q: Ints
    """Request of each candidate."""
    item_Q: Ints
    """Item, 0 if unknown."""

    @property
    def user_Q(self) -> Ints:
        """Investor of each candidate."""
        return self.user_R[self.request_Q]

    @property
    def moment_Q(self) -> Ints:
        """Time of each candidate's request."""
        return self.moment_R[self.request_Q]

"""One investor as of now: the history and the facts that a score is computed from.

They are arrays of this investor alone, in the order in which the batch would sort them, so that the
functions of training compute the features and the pass of the model.

Shapes: N events of the investor, Q candidates of requests.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np

from tessera.contracts.arrays import Float64s, Ints
from tessera.model.sequences.histories import Histories
from tessera.serve.online.counts import ItemCounts
from tessera.serve.online.recent import Seen
from tessera.shared.features.facts import Facts, Queries
from tessera.shared.features.prices import PriceHistory

ME = 0
"""Number of the investor in arrays of this one alone."""


@dataclass(frozen=True, slots=True)
class Past:
    """Events of one investor, oldest first."""

    item_N: Ints
    """Row in the item table."""
    action_N: Ints
    """Index into `ACTIONS`."""
    moment_N: Ints
    """Microseconds since 1970."""

    def __len__(self) -> int:
        return len(self.item_N)

    def followed_by(self, later: Past) -> Past:
        """Return both, by time; at one moment these come first."""
        both = (
            np.concatenate(pair)
            for pair in zip(
                (self.item_N, self.action_N, self.moment_N),
                (later.item_N, later.action_N, later.moment_N),
                strict=True,
            )
        )
        item_N, action_N, moment_N = both
        order = np.argsort(moment_N, kind="stable")
        return Past(item_N[order], action_N[order], moment_N[order])


def past_of(histories: Histories, user: int) -> Past:
    """Return the events of one investor until the cut."""
    mine = slice(*histories.first_U1[user : user + 2])
    return Past(histories.item_E[mine], histories.action_E[mine], histories.moment_E[mine])


NOTHING = Past(*(np.zeros(0, np.int64) for _ in range(3)))
"""Events of somebody who never did anything."""


def history_of(past: Past, *, tied_sets: bool) -> Histories:
    """Lay the events out as a history of one investor.

    >>> past = Past(np.array([5, 6, 7]), np.zeros(3, int), np.array([10, 20, 20]) * 1_000_000)
    >>> history_of(past, tied_sets=True).group_E, history_of(past, tied_sets=False).group_E
    (array([0, 1, 1]), array([0, 1, 2]))
    """
    none_N = np.zeros(len(past), np.int64)
    fresh_N = np.diff(past.moment_N, prepend=past.moment_N[:1]) != 0
    return Histories(
        user_id_U=[""],
        first_U1=np.array([0, len(past)]),
        user_E=none_N,
        item_E=past.item_N,
        action_E=past.action_N,
        moment_E=past.moment_N,
        phase_E=none_N,
        group_E=np.cumsum(fresh_N) if tied_sets else np.arange(len(past)),
    )


@dataclass(frozen=True)
class LiveFacts(Facts):
    """Facts whose events are those of one investor; what all did is counted elsewhere."""

    base: Facts = field(kw_only=True)
    """Events of all until the cut."""
    counts: ItemCounts = field(kw_only=True)
    """Of them."""
    recent: Seen = field(kw_only=True)
    """Events of all after it."""

    def item_counts(self, actions: tuple[int, ...], asked: Queries, ago_us: int = 0) -> Ints:
        """Count what anybody did, until the cut and after it."""
        before_Q = self.counts.of_request(actions, asked, ago_us)
        return before_Q + self.recent.item_counts(actions, asked, ago_us)

    @cached_property
    def prefixes(self) -> list[Ints]:
        """Those of the catalogue."""
        return self.base.prefixes

    @cached_property
    def label_counts(self) -> dict[str, int]:
        """Those of the catalogue."""
        return self.base.label_counts

    @cached_property
    def effects(self) -> tuple[Float64s, Float64s]:
        """Those that uplift learnt before the cut."""
        return self.base.effects


class RiskClasses(NamedTuple):
    """What one investor was classed as, each since a moment."""

    since_U: Ints
    risk_U: Ints


def risk_classes(base: Facts, person: int, told: tuple[int, int] | None) -> RiskClasses:
    """Return the versions of an investor, `person` in the facts of all, and what was told behind.

    `told` is the moment from which it is read, and the class.
    """
    mine = base.versions.of(person)
    since_U, risk_U = base.since_U[mine], base.risk_U[mine]
    if told is not None:
        since_U, risk_U = np.append(since_U, told[0]), np.append(risk_U, told[1])
    return RiskClasses(since_U, risk_U)


def facts_of(
    past: Past,
    classed: RiskClasses,
    base: Facts,
    counts: ItemCounts,
    recent: Seen,
    closes: PriceHistory | None = None,
) -> LiveFacts:
    """Lay the events of one investor out beside what they were classed as.

    `closes` are read instead of those of the facts.
    """
    return LiveFacts(
        user_E=np.full(len(past), ME),
        item_E=past.item_N,
        action_E=past.action_N,
        moment_E=past.moment_N,
        user_U=np.full(len(classed.since_U), ME),
        since_U=classed.since_U,
        risk_U=classed.risk_U,
        risk_I=base.risk_I,
        category_I=base.category_I,
        born_I=base.born_I,
        code_IL=base.code_IL,
        closes=base.closes if closes is None else closes,
        edges=base.edges,
        trials=base.trials,
        base=base,
        counts=counts,
        recent=recent,
    )


def until(past: Past, moment: int) -> Past:
    """Return what was strictly before a moment."""
    stop = int(np.searchsorted(past.moment_N, moment))
    return replace(
        past,
        item_N=past.item_N[:stop],
        action_N=past.action_N[:stop],
        moment_N=past.moment_N[:stop],
    )

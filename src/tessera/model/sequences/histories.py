"""Events as flat arrays, one stretch per user, in an order that ties cannot change.

The arrays lie on disk, sorted there by DuckDB: whoever reads them asks for the events it needs.

Legend: E events, U users (stretch u is `first_U1[u] : first_U1[u + 1]`), Q events asked about,
R requests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tessera.contracts import mapped
from tessera.contracts.arrays import Bools, Ints
from tessera.contracts.split import TEST, TRAIN, VALIDATION, Split
from tessera.model.sequences.catalogue import microsecond
from tessera.shared.features.demand import Acquired


@dataclass(frozen=True, slots=True)
class Histories:
    """Every user's events, sorted by user, phase and time.

    Three events of u, the last two at once and so a set, and one of w:

    >>> zero_E = np.zeros(4, int)
    >>> found = Histories(
    ...     user_id_U=["u", "w"], first_U1=np.array([0, 3, 4]), user_E=np.array([0, 0, 0, 1]),
    ...     item_E=np.array([5, 6, 7, 5]), action_E=zero_E,
    ...     moment_E=np.array([10, 20, 20, 15]) * 1_000_000, phase_E=zero_E,
    ...     group_E=np.array([0, 1, 1, 0]),
    ... )
    >>> every_Q = np.arange(4)
    >>> found.starts(every_Q), found.ends(every_Q)
    (array([0, 1, 1, 3]), array([1, 3, 3, 4]))
    >>> found.next_second(every_Q)  # after the last set its own time
    array([20, 20, 20, 15])
    """

    user_id_U: list[str]
    first_U1: Ints
    user_E: Ints
    item_E: Ints
    """Row in the item table; 0 is padding and never occurs."""
    action_E: Ints
    moment_E: Ints
    """Microseconds since 1970."""
    phase_E: Ints
    group_E: Ints
    """Distinct times of the same user before this event."""
    folder: Path | None = None
    """Disk of these arrays and of those made from them; see `mapped.blank`."""

    def second(self, event_Q: Ints) -> Ints:
        """Return whole seconds since 1970."""
        return np.asarray(self.moment_E[event_Q] // 1_000_000)

    def next_second(self, event_Q: Ints) -> Ints:
        """Return the next distinct time of the same user; an event's own time if it is the last."""
        end_Q = self.ends(event_Q)
        has_next_Q = end_Q < self.first_U1[self.user_E[event_Q] + 1]
        return self.second(np.where(has_next_Q, end_Q, event_Q))

    def starts(self, event_Q: Ints) -> Ints:
        """Return where the tied set of each event starts."""
        first_Q = self.first_U1[self.user_E[event_Q]]
        return first_from(self.group_E, first_Q, event_Q, self.group_E[event_Q])

    def ends(self, event_Q: Ints) -> Ints:
        """Return where the tied set of each event ends."""
        stop_Q = self.first_U1[self.user_E[event_Q] + 1]
        return first_from(self.group_E, event_Q + 1, stop_Q, self.group_E[event_Q] + 1)

    def stops_before(self, user_R: Ints, moment_R: Ints) -> Ints:
        """Return where the events strictly before each request end; user -1 has none."""
        return self.stretches_before(user_R, moment_R)[1]

    def stretches_before(self, user_R: Ints, moment_R: Ints) -> tuple[Ints, Ints]:
        """Return where the events strictly before each request start and end; user -1 has none."""
        first_R = np.where(user_R < 0, 0, self.first_U1[user_R])
        return first_R, first_from(self.moment_E, first_R, self.first_U1[user_R + 1], moment_R)

    def until(self, phase: int) -> Ints:
        """Return stop_U: where each user's events of earlier phases and this one end."""
        stop_U = self.first_U1[:-1].copy()
        for event_Q in self.parts():
            kept_Q = event_Q[self.phase_E[event_Q] <= phase]
            stop_U += np.bincount(self.user_E[kept_Q], minlength=len(stop_U))
        return stop_U

    def parts(self) -> Iterator[Ints]:
        """Yield the events, some whole users at a time."""
        near = np.arange(0, len(self.item_E), mapped.PART)
        whole = self.first_U1[np.searchsorted(self.first_U1, near)]
        for start, stop in pairwise(np.unique([*whole, len(self.item_E)])):
            yield np.arange(start, stop)

    def learnt_until(self, *, refit: bool) -> Ints:
        """Return stop_U: where each user's examples end, before validation or with it."""
        return self.until(VALIDATION if refit else TRAIN)

    def asked_second(self, split: Split, period: int) -> Ints:
        """Return when each user is asked: at the period's start, or (leave last out) its event."""
        stop_U = self.until(period - 1)
        if split.protocol == "time":
            at = split.validation_from if period == VALIDATION else split.cut
            return np.full(len(stop_U), microsecond(at) // 1_000_000)
        return self.second(np.minimum(stop_U, self.first_U1[1:] - 1))

    def known_actions(self) -> Ints:
        """Return which actions there are before the cut."""
        found: set[int] = set()
        for event_P in self.parts():
            known_P = self.phase_E[event_P] <= VALIDATION
            found |= {*np.unique(self.action_E[event_P[known_P]]).tolist()}
        return np.asarray(sorted(found), np.int64)

    def acquired_before(self, stop_U: Ints, action_T: Ints) -> Acquired:
        """Return the first acquisitions, by these actions, that lie before `stop_U`."""
        event_N = self.within(self.first_U1[:-1], stop_U, action_T)
        return Acquired.of(self.user_E[event_N], self.item_E[event_N], self.moment_E[event_N])

    def first_moment(self) -> int:
        """Return the moment of the first event, in microseconds since 1970; 0 without any."""
        firsts = [self.moment_E[event_P].min() for event_P in self.parts()]
        return int(min(firsts, default=0))

    def counts(self, action_T: Ints, items: int) -> Ints:
        """Return count_V: how often each item was met by these actions before the cut."""
        count_V = np.zeros(items, np.int64)
        for event_P in self.parts():
            is_meant_P = np.isin(self.action_E[event_P], action_T)
            is_meant_P &= self.phase_E[event_P] < TEST
            count_V += np.bincount(self.item_E[event_P[is_meant_P]], minlength=items)
        return count_V

    def within(self, first_U: Ints, stop_U: Ints, action_T: Ints | None = None) -> Ints:
        """Return the events of a stretch of each user, on disk; None is of any action."""

        def chosen(event_Q: Ints) -> Ints:
            user_Q = self.user_E[event_Q]
            is_chosen_Q = (event_Q >= first_U[user_Q]) & (event_Q < stop_U[user_Q])
            if action_T is not None:
                is_chosen_Q &= np.isin(self.action_E[event_Q], action_T)
            return event_Q[is_chosen_Q]

        count = sum(len(chosen(event_Q)) for event_Q in self.parts())
        found, done = mapped.blank((count,), np.int64, self.folder), 0
        for event_Q in self.parts():
            chosen_N = chosen(event_Q)
            found[done : done + len(chosen_N)] = chosen_N
            done += len(chosen_N)
        return found

    def last_sessions(self, gap_s: float) -> Histories:
        """Return what a stranger's visit shows: of the known events, the last session alone.

        A session ends where nothing happens for longer than `gap_s`.  Events after the cut stay.
        """
        first_U, last_U = self.first_U1[:-1], self.until(VALIDATION) - 1
        start_U = first_U.copy()
        moment_E, user_E = self.moment_E, self.user_E
        for event_Q in self.parts():
            pause_Q = moment_E[event_Q[1:]] - moment_E[event_Q[:-1]]
            begin_Q = event_Q[1:][pause_Q > gap_s * 1_000_000]
            begin_Q = begin_Q[begin_Q <= last_U[user_E[begin_Q]]]
            np.maximum.at(start_U, user_E[begin_Q], begin_Q)
        kept_N = self.within(start_U, self.first_U1[1:])

        def taken(array_E: Ints) -> Ints:
            return mapped.taken(array_E, kept_N, self.folder)

        part = replace(
            self,
            first_U1=np.searchsorted(kept_N, self.first_U1),
            user_E=taken(user_E),
            item_E=taken(self.item_E),
            action_E=taken(self.action_E),
            moment_E=taken(moment_E),
            phase_E=taken(self.phase_E),
            group_E=taken(self.group_E),
        )
        return part.regrouped(part.group_E.__getitem__)

    def regrouped(self, label: Callable[[Ints], Ints]) -> Histories:
        """Count the runs of equal labels within each user; a change of phase also ends a run."""
        group_E = mapped.blank(self.item_E.shape, np.int64, self.folder)
        for event_Q in self.parts():
            user_Q, fresh_Q = self.user_E[event_Q], np.zeros(len(event_Q), bool)
            for value_Q in (user_Q, self.phase_E[event_Q], label(event_Q)):
                fresh_Q[1:] |= np.diff(value_Q) != 0
            count_Q = np.cumsum(fresh_Q)
            group_E[event_Q] = count_Q - count_Q[self.first_U1[user_Q] - event_Q[0]]
        return replace(self, group_E=group_E)

    def split_sets(self, share: float, rng: np.random.Generator) -> Histories:
        """Cut a share of the tied sets in two at random: what came first is unknown, try both."""
        keys, cuts, chances = (_EarlyLate(*rng.spawn(2)) for _ in range(3))
        events, folder = len(self.item_E), self.folder
        item_E, action_E, label_E = (mapped.blank((events,), np.int64, folder) for _ in range(3))
        for event_Q in self.parts():
            start_Q = self.starts(event_Q)
            is_first_Q, is_late_Q = start_Q == event_Q, self.phase_E[event_Q] > VALIDATION
            set_Q, is_late_S = np.cumsum(is_first_Q) - 1, is_late_Q[is_first_Q]
            size_S = np.bincount(set_Q)
            order_Q = event_Q[np.lexsort((keys.draw(is_late_Q), set_Q))]
            second_S = 1 + np.floor(cuts.draw(is_late_S) * (size_S - 1)).astype(np.int64)
            is_cut_S = (size_S > 1) & (chances.draw(is_late_S) < share)
            is_second_Q = is_cut_S[set_Q] & (event_Q - start_Q >= second_S[set_Q])
            item_E[event_Q], action_E[event_Q] = self.item_E[order_Q], self.action_E[order_Q]
            label_E[event_Q] = set_Q * 2 + is_second_Q
        shuffled = replace(self, item_E=item_E, action_E=action_E)
        return shuffled.regrouped(label_E.__getitem__)


def first_from(value_E: Ints, low_Q: Ints, high_Q: Ints, least_Q: Ints) -> Ints:
    """Return the first event of each stretch whose value is at least so large, else its stop.

    Parameters
    ----------
    value_E
        In ascending order within each stretch.
    low_Q, high_Q
        Stretches `low_Q[q] : high_Q[q]`, perhaps empty.
    least_Q
        What to look for.

    Stretches 0:3 and 3:6: the first from 1 on, the first from 2 on, and nothing from 9 on.

    >>> value_E = np.array([0, 0, 1, 0, 1, 2])
    >>> first_from(value_E, np.array([0, 3, 3]), np.array([3, 6, 6]), np.array([1, 2, 9]))
    array([2, 5, 6])
    """
    low, high, least = low_Q.flatten(), high_Q.flatten(), least_Q.flatten()
    open_N = np.flatnonzero(low < high)
    middle_N = low[open_N]  # sets are small: mostly it is the very first
    while len(open_N):
        is_below_N = value_E[middle_N] < least[open_N]
        low[open_N[is_below_N]] = middle_N[is_below_N] + 1
        high[open_N[~is_below_N]] = middle_N[~is_below_N]
        open_N = open_N[low[open_N] < high[open_N]]
        middle_N = (low[open_N] + high[open_N]) // 2
    return low.reshape(low_Q.shape)


@dataclass(frozen=True, slots=True)
class _EarlyLate:
    """Two streams of chance: what comes after the cut moves no draw of what comes before."""

    early: np.random.Generator
    late: np.random.Generator

    def draw(self, is_late_N: Bools) -> NDArray[np.float64]:
        """Return a number between 0 and 1 for each row."""
        late = int(is_late_N.sum())
        draw_N = np.empty(len(is_late_N))
        draw_N[~is_late_N], draw_N[is_late_N] = (
            self.early.random(len(is_late_N) - late),
            self.late.random(late),
        )
        return draw_N

"""Who learns until when, and who is asked when: what follows from the split."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tessera.contracts.arrays import Ints
from tessera.contracts.split import Split
from tessera.contracts.tables import ACTIONS
from tessera.model.sequences.histories import TRAIN, Histories


@dataclass(frozen=True, slots=True)
class Question:
    """Users to rank for: their history ends at `stop`, they are asked at `request`."""

    user_Q: Ints
    stop_Q: Ints
    request_Q: Ints
    """Seconds since 1970."""
    seen: tuple[Ints, Ints]
    """Pairs (row, item) acquired before, sorted by row."""
    relevant: tuple[Ints, Ints]
    """Distinct pairs (row, item) acquired in the asked period and not before."""


def ask(
    histories: Histories,
    split: Split,
    period: int,
    acquired: tuple[str, ...],
    filter_seen: bool,
    user_Q: Ints | None = None,
) -> Question:
    """Pose the question of the validation or test period.

    Parameters
    ----------
    period
        `VALIDATION` or `TEST`.
    acquired
        Actions after which an item counts as had.
    filter_seen
        Nothing that was had before is relevant.
    user_Q
        Who is asked, in ascending order; None asks who has a history and does something in it.
    """
    stop_U = histories.until(period - 1)
    if user_Q is None:
        asked_U = histories.until(period) > stop_U
        user_Q = np.flatnonzero(asked_U & (stop_U > histories.first_U1[:-1]))
    row_U = np.full(len(stop_U), -1)
    row_U[user_Q] = np.arange(len(user_Q))
    actions, size = action_codes(acquired), max(1, int(histories.item_E.max(initial=0)) + 1)

    def pairs(first_phase: int, last_phase: int) -> Ints:
        found = [np.zeros(0, np.int64)]
        for event_P in histories.parts():
            phase_P, row_P = histories.phase_E[event_P], row_U[histories.user_E[event_P]]
            is_meant_P = (phase_P >= first_phase) & (phase_P <= last_phase) & (row_P >= 0)
            is_meant_P &= np.isin(histories.action_E[event_P], actions)
            item_N = histories.item_E[event_P[is_meant_P]]
            found.append(np.unique(row_P[is_meant_P] * size + item_N))
        return np.concatenate(found)  # parts hold whole users, so these are in order and distinct

    seen, relevant = pairs(TRAIN, period - 1), pairs(period, period)
    if filter_seen:
        relevant = np.setdiff1d(relevant, seen, assume_unique=True)
    request_U = histories.asked_second(split, period)
    return Question(
        user_Q,
        stop_U[user_Q],
        request_U[user_Q],
        (seen // size, seen % size),
        (relevant // size, relevant % size),
    )


def action_codes(actions: tuple[str, ...]) -> Ints:
    """Return the rows of these actions in the action table."""
    return np.asarray([ACTIONS.index(action) for action in actions])

"""Which retrievers share the places, learnt from what investors acquired after a bundle's cut.

Before the cut everything that retrieves has seen the answer.  An acquisition is a request that an
investor answered: it counts as found if the item is among the candidates of the moment before it.
One list has one budget, so what is maximized is what the whole list finds and not the best of
several lists (Retriever Portfolios, arXiv 2605.31176, presume that somebody picks the right one).

Shapes: Q requests, S retrievers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from tessera.contracts.arrays import Bools, Ints
from tessera.serve.engine import Engine
from tessera.serve.investors import Investor
from tessera.serve.retrieval import mixed

NOWHERE = np.iinfo(np.int64).max
"""Place of an item that a retriever does not list."""


@dataclass(frozen=True, slots=True)
class Acquisition:
    """An investor acquired an item."""

    user_id: str
    item_id: str
    moment: int
    """Microseconds since 1970."""


@dataclass(frozen=True, slots=True)
class Request:
    """An acquisition as a question, just before it."""

    who: Investor
    eligible_I: Bools
    row: int
    """Row I of the item that was acquired."""
    is_new: bool
    """Whether the item was new on sale."""


def requests(engine: Engine, acquired: Iterable[Acquisition]) -> Iterator[Request]:
    """Ask as of each acquisition; one that no list may hold (unsuitable, held) is left out."""
    for one in acquired:
        row = engine.item_row.get(one.item_id)
        who = engine.who(one.user_id, engine.scorer.now(one.user_id, one.moment))
        eligible_I = engine.candidates.eligible_I(who, one.moment)
        if row is not None and eligible_I[row]:
            yield Request(who, eligible_I, row, row in engine.candidates.new_rows(one.moment))


def places_of(engine: Engine, asked: Request, most: int) -> list[int]:
    """Return the place of the acquired item in the list of each retriever, from 0."""
    found = []
    for one in engine.recommender.retrievers.values():
        answer = one.retrieve(asked.who, asked.eligible_I, most)
        at = np.flatnonzero(answer.row_F == asked.row) if answer else np.zeros(0, np.int64)
        found.append(int(at[0]) if len(at) else NOWHERE)
    return found


def learn(place_QS: Ints, most: int, step: int) -> Ints:
    """Deal out places to retrievers, so that together they find most acquisitions.

    Step by step the next places go to the retriever that adds the most to what is found already.
    What is found is monotone and submodular in what was dealt out, so greedy reaches 1 - 1/e of
    the best where each retriever is dealt once.  Steps that add nothing go to whoever finds most
    alone.

    Two retrievers list what the first two requests want, the third what the last one wants:

    >>> place_QS = np.array([[0, 0, 9], [1, 1, 9], [9, 9, 0]])
    >>> learn(place_QS, 4, 2)
    array([2, 0, 2])
    """
    is_found_Q = np.zeros(len(place_QS), bool)
    dealt_S = np.zeros(place_QS.shape[1], np.int64)
    alone = int(np.argmax((place_QS < most).sum(axis=0)))
    while dealt_S.sum() < most:
        more = min(step, most - int(dealt_S.sum()))
        adds_QS = (place_QS >= dealt_S) & (place_QS < dealt_S + more) & ~is_found_Q[:, None]
        gain_S = adds_QS.sum(axis=0)
        best = int(np.argmax(gain_S)) if gain_S.any() else alone
        is_found_Q |= adds_QS[:, best]
        dealt_S[best] += more
    return dealt_S


def is_found(engine: Engine, asked: Request, most: int, shares: Mapping[str, float]) -> bool:
    """Tell whether the item is among what is retrieved with these shares."""
    retrievers = engine.recommender.retrievers
    row_F = mixed(retrievers, asked.who, asked.eligible_I, most, shares).row_F
    return bool((row_F == asked.row).any())


@dataclass(frozen=True, slots=True)
class Learnt:
    """Shares, and what they find of later requests beside the shares that are served."""

    names: tuple[str, ...]
    """Retrievers."""
    shares: dict[str, float]
    learnt_from: int
    found_Q: Bools
    """Of the later requests."""
    served_Q: Bools
    """The same with the shares that are served."""
    place_QS: Ints
    """Place in each retriever's own list."""
    is_cold_Q: Bools
    """Nothing was known of the investor."""
    is_new_Q: Bools
    """The item was new on sale."""

    @property
    def gain(self) -> tuple[float, float]:
        """Return how much more is found, and its standard error, from the same requests."""
        more_Q = self.found_Q.astype(np.float64) - self.served_Q
        return float(more_Q.mean()), float(more_Q.std() / max(len(more_Q), 1) ** 0.5)


def learnt(engine: Engine, acquired: list[Acquisition], step: int) -> Learnt:
    """Learn shares from the earlier half of the acquisitions, by time, and try them on the later.

    The engine must know what happened until then.
    """
    most, names = engine.params.retrieved, list(engine.recommender.retrievers)
    ordered = sorted(acquired, key=lambda one: (one.moment, one.user_id, one.item_id))
    half = len(ordered) // 2
    known = [one for one in requests(engine, ordered[:half]) if one.who.vector_D is not None]
    place_QS = np.array([places_of(engine, one, most) for one in known]).reshape(-1, len(names))
    dealt_S = learn(place_QS, most, step)
    shares = {name: int(one) / most for name, one in zip(names, dealt_S, strict=True) if one}
    now = engine.candidates.shares
    rows = [
        (
            is_found(engine, one, most, shares),
            is_found(engine, one, most, now),
            one.who.vector_D is None,
            one.is_new,
            *places_of(engine, one, most),
        )
        for one in requests(engine, ordered[half:])
    ]
    told_Q4, later_QS = np.split(np.array(rows, np.int64).reshape(-1, 4 + len(names)), [4], axis=1)
    found_Q, served_Q, is_cold_Q, is_new_Q = told_Q4.astype(bool).T
    return Learnt(
        tuple(names), shares, len(known), found_Q, served_Q, later_QS, is_cold_Q, is_new_Q
    )

"""Items are found for an investor by several retrievers, each with its share of the places.

Legend: I items of a bundle in the order of its table, F found items, C items with a score.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol, Self, cast, get_args

import numpy as np

from tessera.contracts.arrays import Bools, Float64s, Ints
from tessera.contracts.components import component
from tessera.contracts.errors import BadParams
from tessera.serve.investors import Investor
from tessera.serve.params import Source
from tessera.serve.shelf import Shelf
from tessera.shared.policies.shares import places

RETRIEVERS: tuple[str, ...] = get_args(Source)
"""All there are; places that are left go to them in this order."""
_NEEDS = {"generated": "train with hstu.generate and publish again"}
_ELSE = "publish again, so that its files are packed"
"""What makes a bundle have a retriever."""
_LOOKED = 4
"""Items that are looked at for each that is wanted."""


class Found(NamedTuple):
    """Items with scores, best first; equal scores in the order of the ids."""

    row_F: Ints
    """Row I of each item."""
    score_F: Float64s

    @classmethod
    def best(cls, row_C: Ints, score_C: Float64s, rank_I: Ints, most: int) -> Self:
        """Take the best; an item whose score is NaN is none.

        >>> Found.best(np.arange(3), np.array([1.0, np.nan, 2.0]), np.arange(3), 9)
        Found(row_F=array([2, 0]), score_F=array([2., 1.]))
        """
        has_score_C = ~np.isnan(score_C)
        row_C, score_C = row_C[has_score_C], score_C[has_score_C]
        if 0 < most < len(row_C):  # whatever ties with the last place stays until the sort
            least = np.partition(score_C, -most)[-most]
            row_C, score_C = row_C[score_C >= least], score_C[score_C >= least]
        order_F = np.lexsort((rank_I[row_C], -score_C))[:most]
        return cls(row_C[order_F], score_C[order_F])


@dataclass(frozen=True, slots=True)
class Ordered:
    """Items with scores that nobody's request changes, so that they are sorted once."""

    best: Found

    @classmethod
    def of(cls, score_I: Float64s, rank_I: Ints) -> Self:
        """Sort all; an item whose score is NaN is none."""
        return cls(Found.best(np.arange(len(score_I)), score_I, rank_I, len(score_I)))

    def first(self, eligible_I: Bools, most: int) -> Found:
        """Return the best among the eligible: look at ever more until there are enough.

        >>> every = Ordered.of(np.array([1.0, 3.0, 2.0]), np.arange(3))
        >>> every.first(np.array([True, False, True]), 1)
        Found(row_F=array([2]), score_F=array([2.]))
        """
        looked, items = max(_LOOKED * most, 1), len(self.best.row_F)
        while True:
            at_F = np.flatnonzero(eligible_I[self.best.row_F[:looked]])[:most]
            if len(at_F) == most or looked >= items:
                return Found(self.best.row_F[at_F], self.best.score_F[at_F])
            looked *= _LOOKED


class Retriever(Protocol):
    """What finds items in one bundle."""

    def retrieve(self, who: Investor, eligible_I: Bools, most: int) -> Found | None:
        """Return the best items among the eligible; None if it can say nothing of this investor.

        An item without a score, or of NaN, is left out.
        """


class Kind(Protocol):
    """What a module of `retrievers` has."""

    def open_retriever(self, bundle: Path, shelf: Shelf) -> Retriever | None:
        """Read what it needs of a bundle whose manifest was checked; None if that is not there."""


Retrievers = Mapping[str, Retriever]
"""Those that a bundle holds the files of, by name, in the order of `RETRIEVERS`."""


def open_retrievers(
    bundle: Path, shelf: Shelf, chosen: Iterable[str] = RETRIEVERS
) -> dict[str, Retriever]:
    """Open the retrievers that a bundle holds the files of.

    Raises
    ------
    BadParams
        If there is no retriever of a name.
    BrokenBundle
        If its files are damaged.
    """
    kinds = {name: cast(Kind, component("tessera.serve.retrievers", name)) for name in chosen}
    opened = {name: kind.open_retriever(bundle, shelf) for name, kind in kinds.items()}
    return {name: one for name, one in opened.items() if one is not None}


def require(retrievers: Retrievers, chosen: Iterable[str], bundle: str) -> None:
    """Refuse a bundle that lacks what is chosen to find its items.

    Raises
    ------
    BadParams
        If it has no retriever of one of these names.
    """
    others = f"choose of {', '.join(retrievers)} (serve.shares, --source)"
    for name in chosen:
        if name not in RETRIEVERS:
            raise BadParams(f"there is no retriever {name!r}: {others}")
        if name not in retrievers:
            raise BadParams(
                f"{bundle} has no retriever {name}: {_NEEDS.get(name, _ELSE)}, or {others}"
            )


NOTHING = Found(np.zeros(0, np.int64), np.zeros(0))
"""No item."""


def first_heard(
    retrievers: Iterable[Retriever], who: Investor, eligible_I: Bools, most: int
) -> Found:
    """Ask one after the other until one answers."""
    for one in retrievers:
        if (found := one.retrieve(who, eligible_I, most)) is not None:
            return found
    return NOTHING


class Mixed(NamedTuple):
    """Different items of several retrievers."""

    row_F: Ints
    source_F: list[str]
    """Name of the retriever that found each."""


def mixed(
    retrievers: Retrievers,
    who: Investor,
    eligible_I: Bools,
    most: int,
    shares: Mapping[str, float],
) -> Mixed:
    """Fill the places from the retrievers, each item once.

    Each of `shares` has its places; what another one found already is no answer, so that its place
    goes to the next item.  Places that are left, because one has nothing more or nothing to say,
    go to those of `shares` and then to all the others, in their order.
    """
    open_I, found, source_F = eligible_I.copy(), [NOTHING.row_F], list[str]()
    first = places(shares, most)
    others = [name for name in retrievers if name not in first]
    for name, dealt in (*first.items(), *((name, most) for name in (*first, *others))):
        wanted = min(dealt, most - len(source_F))
        if wanted and name in retrievers:
            answer = retrievers[name].retrieve(who, open_I, wanted) or NOTHING
            open_I[answer.row_F] = False
            found.append(answer.row_F)
            source_F += [name] * len(answer.row_F)
    return Mixed(np.concatenate(found), source_F)

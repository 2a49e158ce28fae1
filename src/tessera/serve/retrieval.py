"""Items are found for an investor by the first retriever that knows something of them.

Legend: I items of a bundle, in the order of its table.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol, cast

import pyarrow as pa

from tessera.contracts.arrays import Bools
from tessera.contracts.components import component
from tessera.serve.investors import Investor

RETRIEVERS = ("dense", "popular")
"""Who is asked, one after the other."""

Found = list[tuple[str, float]]
"""Items with scores, best first; equal scores in the order of the ids."""


class Retriever(Protocol):
    """What finds items in one bundle."""

    def retrieve(self, who: Investor, eligible_I: Bools, most: int) -> Found | None:
        """Return the best items among the eligible; None if it can say nothing of this investor.

        An item without a score, or of NaN, is left out.
        """


class Kind(Protocol):
    """What a module of `retrievers` has."""

    def open_retriever(self, bundle: Path, items: pa.Table) -> Retriever | None:
        """Read what it needs of a bundle whose manifest was checked; None if that is not there."""


def open_retrievers(
    bundle: Path, items: pa.Table, chosen: Iterable[str] = RETRIEVERS
) -> tuple[Retriever, ...]:
    """Open the retrievers that a bundle holds the files of.

    Raises
    ------
    BadParams
        If there is no retriever of a name.
    BrokenBundle
        If its files are damaged.
    """
    kinds = [cast(Kind, component("tessera.serve.retrievers", name)) for name in chosen]
    opened = (kind.open_retriever(bundle, items) for kind in kinds)
    return tuple(one for one in opened if one is not None)


def retrieved(
    retrievers: Sequence[Retriever], who: Investor, eligible_I: Bools, most: int
) -> Found:
    """Ask one after the other until one answers."""
    for one in retrievers:
        if (found := one.retrieve(who, eligible_I, most)) is not None:
            return found
    return []

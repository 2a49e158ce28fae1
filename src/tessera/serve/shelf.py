"""The items of a bundle, by row and by id; made once and read by every retriever.

Shapes: I items in the order of the bundle's table, N of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import numpy as np
import pyarrow as pa

from tessera.contracts.arrays import Ints


@dataclass(frozen=True, slots=True)
class Shelf:
    """What a bundle has to offer."""

    table: pa.Table
    ids: list[str]
    row: dict[str, int]
    """Row I of each item."""
    rank_I: Ints
    """Place of each item in the order of the ids."""

    @classmethod
    def of(cls, table: pa.Table) -> Self:
        """Take the items of a bundle.

        >>> Shelf.of(pa.table({"item_id": ["b", "c", "a"]})).rank_I
        array([1, 2, 0])
        """
        table = table.combine_chunks()  # or each look at a few rows would lay all of them together
        ids = table["item_id"].to_pylist()
        rank_I = np.empty(len(ids), np.int64)
        rank_I[sorted(range(len(ids)), key=ids.__getitem__)] = np.arange(len(ids))
        return cls(table, ids, {item: row for row, item in enumerate(ids)}, rank_I)

    def rows(self, items: Iterable[str]) -> Ints:
        """Return the row of each item that there is, in the order asked."""
        return np.array([self.row[item] for item in items if item in self.row], np.int64)

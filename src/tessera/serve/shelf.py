"""The items of a bundle, by row and by id; made once and read by every retriever.

Shapes: I items in the order of the bundle's table, N of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa

from tessera.bundles.edges import Edges, ranks
from tessera.contracts.arrays import Ints
from tessera.contracts.lookup import rows_of


@dataclass(frozen=True, slots=True)
class Shelf:
    """What a bundle has to offer."""

    table: pa.Table
    ids: list[str]
    id_I: pa.Array
    """The same as Arrow has them."""
    row: dict[str, int]
    """Row I of each item."""
    rank_I: Ints
    """Place of each item in the order of the ids."""
    read: dict[Path, Edges | None] = field(default_factory=dict)
    """Edges that were read."""

    @classmethod
    def of(cls, table: pa.Table) -> Self:
        """Take the items of a bundle.

        >>> Shelf.of(pa.table({"item_id": ["b", "c", "a"]})).rank_I
        array([1, 2, 0])
        """
        table = table.combine_chunks()  # or each look at a few rows would lay all of them together
        id_I = table["item_id"].combine_chunks()
        ids = id_I.to_pylist()
        return cls(table, ids, id_I, dict(zip(ids, range(len(ids)), strict=True)), ranks(id_I))

    def rows(self, items: Iterable[str]) -> Ints:
        """Return the row of each item that there is, in the order asked."""
        return np.array([self.row[item] for item in items if item in self.row], np.int64)

    def rows_of(self, items: list[str]) -> Ints:
        """Return the row of each of many items, -1 of what is none."""
        if items == self.ids:
            return np.arange(len(items))
        return rows_of(pa.array(items, pa.string()), self.id_I)

    def edges(self, bundle: Path) -> Edges | None:
        """Read the edges of the bundle, once; None if it has none."""
        if bundle not in self.read:
            self.read[bundle] = Edges.open(bundle, self)
        return self.read[bundle]

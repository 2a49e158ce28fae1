"""The edges of a bundle between its items, read once for whoever walks along them or tells of them.

Shapes: I items of a bundle in the order of its table, E edges.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Protocol, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tessera.contracts import mapped
from tessera.contracts.arrays import Float32s, Float64s, Int8s, Int32s, Ints
from tessera.contracts.errors import BrokenBundle
from tessera.contracts.library_errors import translate_errors
from tessera.contracts.lookup import rows_of

CAUSAL = "causal"
KINDS = ("transition", "co_acquired", CAUSAL)
"""Kinds of which something is told, in the order of the words for them."""
FILE = "neighbours.parquet"
_FOLDER, _FORM = "edges", 2
"""Where they lie laid out, and what the arrays there mean."""
_EVERY = ("source_id", "target_id", "kind", "weight", "false_sign_rate", "support", "low", "high")


class Ids(Protocol):
    """Items of a bundle."""

    @property
    def id_I(self) -> pa.Array:
        """Id of each."""

    @property
    def rank_I(self) -> Ints:
        """Place of each in the order of the ids."""


@dataclass(frozen=True, slots=True)
class Edges:
    """Edges to items of a bundle: by row of the source, then by kind and by id of the target.

    Those from what is no item stand last.  Millions of them stay in memory: rows have 32 bits.
    """

    first_I1: Ints
    """Edges from item i are `first_I1[i] : first_I1[i + 1]`."""
    target_E: Int32s
    kind_E: Int8s
    """Index into `KINDS`, -1 of another kind."""
    weight_E: Float64s
    rate_E: Float64s
    """False sign rate, NaN where none is known."""
    support_E: Int32s
    """Investors behind it."""
    low_E: Float32s
    high_E: Float32s
    """Bounds of 95 % of the difference in probability that a causal edge tells of; else NaN."""

    @classmethod
    def of(cls, table: pa.Table, shelf: Ids) -> Self:
        """Lay out a table of edges; old ones lack some columns."""
        table = table.combine_chunks()
        items = len(shelf.id_I)
        source_E, target_E = (rows_of(table[name], shelf.id_I) for name in _EVERY[:2])
        kind_E = _kinds(table)
        weight_E = table["weight"].to_numpy().astype(np.float64, copy=False)
        rate_E = _column(table, "false_sign_rate", np.nan)
        support_E = _column(table, "support", 0.0)
        source_E[source_E < 0] = items
        place_E = (source_E + 1) * (len(KINDS) + 1) - kind_E  # they stand from Z to A in `KINDS`
        key_E = place_E * items + shelf.rank_I[target_E]
        order_E: Ints | slice = slice(None)  # as the stage wrote them, nothing is moved
        if (target_E < 0).any() or (key_E[1:] < key_E[:-1]).any():
            order_E = np.lexsort((weight_E, key_E))
            order_E = order_E[target_E[order_E] >= 0]
        return cls(
            np.searchsorted(source_E[order_E], np.arange(items + 1)),
            target_E[order_E].astype(np.int32),
            kind_E[order_E],
            weight_E[order_E],
            rate_E[order_E],
            support_E[order_E].astype(np.int32),
            *(_column(table, name, np.nan)[order_E].astype(np.float32) for name in _EVERY[-2:]),
        )

    @classmethod
    def open(cls, bundle: Path, shelf: Ids) -> Self | None:
        """Map the edges of a bundle where they were laid out, else read them; None has none.

        Raises
        ------
        BrokenBundle
            If they cannot be read.
        """
        with translate_errors(
            BrokenBundle, f"{bundle.name}: its edges cannot be read", "publish it again"
        ):
            laid = mapped.laid_out(bundle / _FOLDER, _FORM)
            found = None if laid is None else cls(**laid)
        return found or cls.read(bundle, shelf)

    @classmethod
    def read(cls, bundle: Path, shelf: Ids) -> Self | None:
        """Read the edges of a bundle out of its table; None if it has none.

        Raises
        ------
        BrokenBundle
            If they cannot be read.
        """
        path = bundle / FILE
        if not path.exists():
            return None
        with translate_errors(
            BrokenBundle, f"{bundle.name}: its edges cannot be read", "publish it again"
        ):
            columns = [one for one in _EVERY if one in pq.read_schema(path).names]
            return cls.of(pq.read_table(path, columns=columns, read_dictionary=["kind"]), shelf)


@dataclass(frozen=True, slots=True)
class _Items:
    """See `Ids`."""

    id_I: pa.Array
    rank_I: Ints


def ranks(id_I: pa.Array) -> Ints:
    """Return the place of each id in their order."""
    rank_I = np.empty(len(id_I), np.int64)
    rank_I[pc.sort_indices(id_I).to_numpy()] = np.arange(len(id_I))
    return rank_I


def lay_out_edges(bundle: Path) -> None:
    """Lay the edges of a bundle out beside their table, so that a start maps what it would make."""
    id_I = pq.read_table(bundle / "items.parquet", columns=["item_id"])["item_id"].combine_chunks()
    edges = Edges.read(bundle, _Items(id_I, ranks(id_I)))
    if edges is not None:
        arrays = {field.name: getattr(edges, field.name) for field in fields(edges)}
        mapped.lay_out(arrays, bundle / _FOLDER, _FORM)


def _kinds(table: pa.Table) -> Int8s:
    if "kind" not in table.column_names:
        return np.full(len(table), -1, np.int8)
    column = table["kind"].combine_chunks()
    if not pa.types.is_dictionary(column.type):
        column = column.cast(pa.string()).dictionary_encode()
    number_K = np.append(rows_of(column.dictionary.cast(pa.string()), pa.array(KINDS)), -1)
    return np.asarray(number_K.astype(np.int8)[pc.fill_null(column.indices, -1).to_numpy()])


def _column(table: pa.Table, name: str, missing: float) -> Float64s:
    """Return a column as numbers; bundles of old lack some."""
    if name not in table.column_names:
        return np.full(len(table), missing)
    column = table[name].cast(pa.float64()).fill_null(missing)
    return np.asarray(column.to_numpy(), np.float64)

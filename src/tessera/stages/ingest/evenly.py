"""Candidates of exposures that were drawn evenly from all items.

Listing thousands of candidates in each of millions of rows helps nobody.  So a few of them may
stand for all: items lie on a circle in an order that means nothing, and the candidates are those
in a window around the item shown, which lies anywhere in it with equal chances.  Given the window
every item in it was shown with equal chances too, so that the propensities are exact.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import ibis.expr.types as ir
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tessera.contracts.errors import BadInput
from tessera.contracts.rules import SHAPE
from tessera.stages.ingest.draft import UNREAD
from tessera.stages.ingest.engine import Engine
from tessera.stages.ingest.raw import NUMBER
from tessera.stages.ingest.row_checks import NOT_IN_ITEMS

_MOST = 1_000
"""Candidates of a row that are listed without being asked for."""
_PART = 20_000
"""Rows that are drawn for at a time."""
_NEAR = 0.001
"""Share by which a logged propensity may differ, since logs round it."""


def drawn(rows: ir.Table, items: ir.Table, how: Any, engine: Engine) -> ir.Table:
    """Add candidates and propensities to exposures.

    Parameters
    ----------
    rows : ir.Table
        Exposures with item_id and `source_number`; a propensity is held against the even one.
    items : ir.Table
        All that could be shown, in `item_id`.
    how : str or int
        `all`, or how many candidates are listed.
    engine : Engine
        Where the result is kept.

    Raises
    ------
    BadInput
        If there are too many items to list them all in every row.
    """
    circle = _Circle.of(items, how, engine)
    path = engine.spill / "drawn.parquet"
    batches = engine.batches(rows)
    empty = pa.RecordBatch.from_pylist([], batches.schema)
    with batches, pq.ParquetWriter(path, circle.add(empty).schema) as writer:
        for batch in batches:
            for start in range(0, batch.num_rows, _PART):
                writer.write_batch(circle.add(batch.slice(start, _PART)))
    return engine.read(path, "drawn")


@dataclass(frozen=True, slots=True)
class _Circle:
    """Items in an order that means nothing, and the width of a window."""

    ids: pa.Array
    width: int

    @classmethod
    def of(cls, items: ir.Table, how: Any, engine: Engine) -> _Circle:
        with engine.batches(items.select("item_id").distinct()) as batches:
            ids = [one for one in batches.read_all()["item_id"].to_pylist() if one]
        width = len(ids) if how == "all" else min(how, len(ids))
        if how == "all" and len(ids) > _MOST:
            raise BadInput(
                f"exposures: {len(ids)} candidates in every row are too many: "
                "say a number, such as ingest.mapping.exposures.evenly: 50"
            )
        return cls(pa.array(sorted(ids, key=_scattered), pa.string()), width)

    def add(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Add candidates; a row whose item is unknown has none."""
        place = pc.index_in(batch["item_id"], value_set=self.ids)
        unknown = place.is_null()
        shift_N = _mixed(batch[NUMBER].to_numpy()) % max(self.width, 1)
        start_N = place.fill_null(0).to_numpy().astype(np.int64) - shift_N
        index_NC = (start_N[:, None] + np.arange(self.width)) % max(len(self.ids), 1)
        ends = pa.array(np.arange(len(start_N) + 1) * self.width, pa.int32())
        chance = pa.repeat(pa.scalar(1 / max(self.width, 1)), index_NC.size)
        ids = self.ids.take(pa.array(index_NC.ravel()))
        found = {
            "propensity": pa.repeat(pa.scalar(1 / max(self.width, 1)), len(start_N)),
            "candidate_ids": pa.ListArray.from_arrays(ends, ids, mask=unknown),
            "candidate_propensities": pa.ListArray.from_arrays(ends, chance, mask=unknown),
            UNREAD: pc.coalesce(batch[UNREAD], self._fault(batch, unknown)),
        }
        kept = {name: batch[name] for name in batch.schema.names if name not in found}
        return pa.RecordBatch.from_pydict(kept | found)

    def _fault(self, batch: pa.RecordBatch, unknown: pa.Array) -> pa.Array:
        told = pa.scalar(None, pa.string())
        if "propensity" in batch.schema.names:
            gap = pc.subtract(pc.multiply(_number(batch["propensity"]), float(len(self.ids))), 1.0)
            odd = pc.greater(pc.abs(gap), _NEAR).fill_null(True)
            told = pc.if_else(odd, f"propensity: not 1/{len(self.ids)}, as evenly says", told)
        unknown = pc.and_(unknown, batch["item_id"].is_valid())
        return pc.coalesce(pc.if_else(unknown, NOT_IN_ITEMS, pa.scalar(None, pa.string())), told)


def _scattered(one: str) -> bytes:
    return hashlib.sha256(one.encode()).digest()


def _mixed(number_N: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Scatter row numbers, so that they say nothing (splitmix64)."""
    one = number_N.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    one = (one ^ (one >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    one = (one ^ (one >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((one ^ (one >> np.uint64(31))) >> np.uint64(1)).astype(np.int64)


def _number(logged: pa.Array) -> pa.Array:
    """Read what convert left as text."""
    if not pa.types.is_string(logged.type):
        return logged
    plain = pc.match_substring_regex(logged, SHAPE["float64"][0])
    return pc.if_else(plain, logged, pa.scalar(None, pa.string())).cast(pa.float64())

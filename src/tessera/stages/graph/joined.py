"""Edges by joins, for more pairs than fit into memory: what scipy multiplies, as expressions.

Sums are taken in the order in which scipy takes them, so edges are the same to the last bit, on
each engine.  Legend: I items, R rows of the two matrices (investors, or their steps).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import ibis
import ibis.expr.types as ir
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy import sparse

from tessera.stages.graph.links import Acquisitions, Links, directions, steps
from tessera.stages.graph.params import GraphParams


@dataclass(frozen=True, slots=True)
class Joins:
    """Where tables are joined, and the folder in which they lie meanwhile."""

    engine: ibis.BaseBackend
    spill: Path
    """Empty; all workers must see it."""

    def put(self, table: pa.Table, name: str) -> ir.Table:
        """Hand a table to the engine."""
        path = self.spill / f"{name}.parquet"
        pq.write_table(table, path)
        return self.engine.read_parquet(path, table_name=name)

    def keep(self, rows: ir.Table, name: str) -> ir.Table:
        """Compute once what is read twice."""
        path = self.spill / f"{name}.parquet"
        self.engine.to_parquet(rows, path)
        return self.engine.read_parquet(path, table_name=name)


def co_acquired(past: Acquisitions, joins: Joins, params: GraphParams) -> Links:
    """Return what `links.co_acquired` returns."""
    items = joins.put(_entries(directions(past)), "directions")
    return _links(heaviest(products(items, items), params))


def transitions(past: Acquisitions, joins: Joins, params: GraphParams) -> Links:
    """Return what `links.transitions` returns."""
    from_RI, to_RI = steps(past)
    source, target = joins.put(_entries(from_RI), "steps"), joins.put(_entries(to_RI), "next_steps")
    flows = joins.keep(products(source, target), "flows")
    return _links(heaviest(shares(flows), params))


def _entries(matrix_RI: sparse.csr_array) -> pa.Table:
    """Return the entries of a sparse matrix as rows of (row, item, value)."""
    found = matrix_RI.tocoo()
    return pa.table(
        {
            "row": pa.array(found.row, pa.int64()),
            "item": pa.array(found.col, pa.int64()),
            "value": pa.array(found.data, pa.float64()),
        }
    )


def products(source: ir.Table, target: ir.Table) -> ir.Table:
    """Multiply source_RI.T by target_RI.

    Parameters
    ----------
    source, target : ir.Table
        Entries of two matrices of the same rows: row, item, value.

    Returns
    -------
    ir.Table
        source, target, weight (sum of the products, in ascending order of rows), support (number
        of rows that have both).
    """
    to = target.rename(to_row="row", to_item="item", to_value="value")
    pairs = source.join(to, source.row == to.to_row)
    part = ibis.struct({"row": pairs.row, "product": pairs.value * pairs.to_value})
    return pairs.group_by(source=pairs.item, target=pairs.to_item).agg(
        weight=_in_order(part, "product"), support=pairs.count()
    )


def shares(pairs: ir.Table) -> ir.Table:
    """Divide the weights that leave an item by their sum, in ascending order of targets."""
    part = ibis.struct({"target": pairs.target, "weight": pairs.weight})
    total = pairs.group_by(out_source="source").agg(total=_in_order(part, "weight"))
    joined = pairs.join(total, pairs.source == total.out_source)
    scale = ibis.ifelse(joined.total > 0, 1.0 / joined.total, 0.0)
    return joined.mutate(weight=scale * joined.weight).drop("out_source", "total")


def heaviest(pairs: ir.Table, params: GraphParams) -> ir.Table:
    """Keep the heaviest supported edges of each source, ties by target; loops are no edges."""
    edges = pairs.filter(pairs.support >= params.least_support, pairs.source != pairs.target)
    heavy_first = ibis.window(
        group_by=edges.source, order_by=[edges.weight.abs().desc(), edges.target]
    )
    placed = edges.mutate(place=ibis.row_number().over(heavy_first))
    kept = placed.filter(placed.place < params.neighbours).drop("place")
    return kept.order_by("source", "target")


def _links(edges: ir.Table) -> Links:
    found = edges.to_pyarrow()
    source, target, weight, support = (
        found[name].to_numpy() for name in ("source", "target", "weight", "support")
    )
    none = np.full(len(source), np.nan)
    return Links(source, target, weight, support, none, none, none)


def _in_order(part: ir.StructColumn, field: str) -> ir.FloatingScalar:
    """Sum a field in ascending order of what stands before it; plain sums have no order."""
    return part.collect().sort().map(lambda one: one[field]).sums()

"""Rules that several columns of a row keep together; rules of one column are in `contracts`.

A candidate set that cannot be read is set aside here.  One that can, but contradicts what was shown
(another item, another propensity), is left to the gate, which calls the whole log INVALID: a log
that is wrong in one row is not right in the others because that row is gone.
"""

from __future__ import annotations

import ibis
import ibis.expr.types as ir

from tessera.contracts.columns import Table
from tessera.contracts.tables import EXPOSURES, ITEMS

NOT_AS_MANY = "candidate_propensities: not as many as candidate_ids"
TWICE = "candidate_ids: an item twice"
ENDS_FIRST = "valid_to: before valid_from"


def broken_together(table: Table, rows: ir.Table) -> ir.StringValue:
    """Name the first rule between columns that each row breaks; null for a good row.

    Parameters
    ----------
    table : Table
        Contract of the rows.
    rows : ir.Table
        Contract columns; a rule of which a column is null is kept.
    """
    branches = []
    if table.name == ITEMS.name:
        branches = [(rows.valid_to < rows.valid_from, ENDS_FIRST)]
    if table.name == EXPOSURES.name:
        branches = _of_candidates(rows)
    told = [(broken.fill_null(False), reason) for broken, reason in branches]
    return ibis.cases(*told, else_=ibis.null("string")) if told else ibis.null("string")


def _of_candidates(rows: ir.Table) -> list[tuple[ir.BooleanValue, str]]:
    ids, chances = rows.candidate_ids, rows.candidate_propensities
    return [
        (ids.length() != chances.length(), NOT_AS_MANY),
        (ids.unique().length() != ids.length(), TWICE),
    ]

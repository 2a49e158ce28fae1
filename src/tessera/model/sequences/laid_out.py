"""Histories and facts of a bundle as arrays in files, made beside the tables they come from.

What a start would make of the tables is the same in every start, so it is made once, by the same
functions, and mapped.  The tables stay: they are the contract, and what an older bundle has alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ibis
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from tessera.contracts import mapped
from tessera.contracts.split import Split
from tessera.model.sequences.catalogue import read_catalogue, read_closes
from tessera.model.sequences.fact_tables import Relations, open_facts, read_edges
from tessera.model.sequences.histories import Histories
from tessera.model.sequences.reading import read_histories
from tessera.shared.features.links import EDGE_KINDS
from tessera.shared.features.prices import PriceHistory

FORM = 1
"""What the arrays mean; raise it with whatever changes what is made of the tables."""
_FOLDER, _USERS = "laid_out", "users.parquet"
_HISTORIES = ("first_U1", "user_E", "item_E", "action_E", "moment_E", "phase_E", "group_E")
_CLOSES = ("item_P", "day_P", "close_P")
_EDGES = ("data", "indices", "indptr")


@dataclass(frozen=True, slots=True)
class LaidOut:
    """What need not be made again."""

    histories: Histories
    relations: Relations


def lay_out(facts: Path, split: Split, *, tied_sets: bool) -> None:
    """Lay the facts of a bundle, which are there, out beside their tables for a model."""
    engine = ibis.duckdb.connect()
    try:
        engine.raw_sql("SET TimeZone = 'UTC'; SET enable_progress_bar = false")
        events, tables = open_facts(facts, engine)
        vocabulary = read_catalogue(tables.items).vocabulary
        histories = read_histories(events, split, vocabulary, tied_sets=tied_sets)
        closes = read_closes(tables.prices, vocabulary)
        edges = read_edges(tables.edges, vocabulary)
    finally:
        engine.disconnect()
    arrays: dict[str, NDArray[Any]] = {
        **{name: getattr(histories, name) for name in _HISTORIES},
        **{name: getattr(closes, name) for name in _CLOSES},
        **{
            f"{kind}_{name}": getattr(found, name)
            for kind, found in edges.items()
            for name in _EDGES
        },
        "sets": np.array([tied_sets]),
        "items": np.array([len(vocabulary)]),
    }
    mapped.lay_out(arrays, facts / _FOLDER, FORM)
    users = pa.table({"user_id": pa.array(histories.user_id_U, pa.string())})
    pq.write_table(users, facts / _FOLDER / _USERS)


def open_laid_out(facts: Path, items: int, *, tied_sets: bool) -> LaidOut | None:
    """Map what `lay_out` wrote; None where the tables have to be read."""
    found = mapped.laid_out(facts / _FOLDER, FORM)
    if found is None or (int(found["items"][0]), bool(found["sets"][0])) != (items, tied_sets):
        return None
    users = pq.read_table(facts / _FOLDER / _USERS)["user_id"].to_pylist()
    first, user, item, action, moment, phase, group = (found[name] for name in _HISTORIES)
    shape = (items + 1, items + 1)
    return LaidOut(
        Histories(users, first, user, item, action, moment, phase, group),
        Relations(
            PriceHistory(*(found[name] for name in _CLOSES)),
            {
                kind: csr_matrix(tuple(found[f"{kind}_{name}"] for name in _EDGES), shape)
                for kind in EDGE_KINDS
            },
        ),
    )

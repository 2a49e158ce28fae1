"""What investors of the same risk class acquired lately."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from tessera.contracts.arrays import Bools, Float64s, Ints
from tessera.contracts.errors import BrokenBundle
from tessera.contracts.library_errors import translate_errors
from tessera.contracts.lookup import rows_of
from tessera.serve.investors import Investor
from tessera.serve.retrieval import Found
from tessera.serve.shelf import Shelf


@dataclass(frozen=True, slots=True)
class Segment:
    """How many investors of each risk class acquired each item just before the cut."""

    rank_I: Ints
    acquired_I: dict[int, Float64s]
    """By risk class; NaN where nobody did."""

    def retrieve(self, who: Investor, eligible_I: Bools, most: int) -> Found | None:
        """Return what most acquired; None where nobody of the class acquired anything."""
        if who.risk_class not in self.acquired_I:
            return None
        row_C = np.flatnonzero(eligible_I)
        return Found.best(row_C, self.acquired_I[who.risk_class][row_C], self.rank_I, most)


def open_retriever(bundle: Path, shelf: Shelf) -> Segment | None:
    """Read the counts; None if the bundle has none."""
    path = bundle / "segments.parquet"
    if not path.exists():
        return None
    with translate_errors(
        BrokenBundle, f"{bundle.name}: its segments cannot be read", "publish it again"
    ):
        rows = pq.read_table(path)
        risk_S = rows["risk_class"].to_numpy()
        row_S = rows_of(rows["item_id"], shelf.id_I)
        count_S = rows["investors"].to_numpy().astype(np.float64)
    found = {}
    for risk in np.unique(risk_S).tolist():
        mine_S = (risk_S == risk) & (row_S >= 0)
        found[risk] = np.full(len(shelf.ids), np.nan)
        found[risk][row_S[mine_S]] = count_S[mine_S]
    return Segment(shelf.rank_I, found)

"""What investors of the same risk class acquired lately."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from tessera.contracts.arrays import Bools
from tessera.contracts.errors import BrokenBundle
from tessera.contracts.library_errors import translate_errors
from tessera.contracts.lookup import rows_of
from tessera.serve.investors import Investor
from tessera.serve.retrieval import Found, Ordered
from tessera.serve.shelf import Shelf


@dataclass(frozen=True, slots=True)
class Segment:
    """How many investors of each risk class acquired each item just before the cut."""

    acquired: dict[int, Ordered]
    """By risk class; of what nobody acquired there is nothing."""

    def retrieve(self, who: Investor, eligible_I: Bools, most: int) -> Found | None:
        """Return what most acquired; None where nobody of the class acquired anything."""
        acquired = self.acquired.get(who.risk_class)
        return None if acquired is None else acquired.first(eligible_I, most)


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
        acquired_I = np.full(len(shelf.ids), np.nan)
        acquired_I[row_S[mine_S]] = count_S[mine_S]
        found[risk] = Ordered.of(acquired_I, shelf.rank_I)
    return Segment(found)

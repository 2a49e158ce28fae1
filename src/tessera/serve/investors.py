"""What a bundle knows of one investor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pyarrow as pa

from tessera.contracts.tables import RISK_CLASSES
from tessera.shared.policies.suitability import PRUDENT, UNKNOWN, Unknown


@dataclass(frozen=True, slots=True)
class Investor:
    """What the bundle knows of one investor; an unknown one has no vector."""

    user_id: str
    risk_class: int
    held: tuple[str, ...]
    dismissed: tuple[str, ...]
    vector_D: Any
    is_known: bool = True
    recent: tuple[str, ...] = ()
    """Items last met, the newest last; none is told from a bundle alone."""
    capacity_class: int = UNKNOWN
    capped: tuple[str, ...] = ()
    """Items shown too often of late."""

    @property
    def level(self) -> str:
        """Risk class in words."""
        return RISK_CLASSES[self.risk_class - 1]


def stranger(user_id: str, unknown: Unknown = PRUDENT) -> Investor:
    """Return an investor of whom nothing is known."""
    return Investor(user_id, unknown.user, (), (), None, is_known=False)


@dataclass(frozen=True, slots=True)
class Investors:
    """All investors that a bundle knows."""

    table: pa.Table
    row: dict[str, int]
    unknown: Unknown

    @classmethod
    def of(cls, table: pa.Table, unknown: Unknown = PRUDENT) -> Self:
        """Take the investors of a bundle."""
        table = table.combine_chunks()  # or each look at a row would search for its chunk
        ids = table["user_id"].to_pylist()
        return cls(table, {user: row for row, user in enumerate(ids)}, unknown)

    def known(self, user_id: str) -> Investor:
        """Look up one investor; an unknown one counts as new, and of the class of the unknown."""
        row = self.row.get(user_id)
        if row is None:
            return stranger(user_id, self.unknown)
        (told,) = self.table.slice(row, 1).to_pylist()
        vector = told.get("vector")
        return Investor(
            user_id,
            int(told["risk_class"]),
            tuple(told["held"] or ()),
            tuple(told["dismissed"] or ()),
            None if vector is None else np.array(vector, dtype=np.float32),
            capacity_class=told.get("capacity_class") or UNKNOWN,
        )

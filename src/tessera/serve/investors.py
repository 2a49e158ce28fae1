"""What a bundle knows of one investor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

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


def investor(users: pa.Table, user_id: str, unknown: Unknown = PRUDENT) -> Investor:
    """Look up one investor; an unknown one counts as new, and of the class of the unknown."""
    place = pc.index(users["user_id"], user_id).as_py()
    if place < 0:
        return stranger(user_id, unknown)
    (row,) = users.slice(place, 1).to_pylist()
    vector = row.get("vector")
    return Investor(
        user_id,
        int(row["risk_class"]),
        tuple(row["held"] or ()),
        tuple(row["dismissed"] or ()),
        None if vector is None else np.array(vector, dtype=np.float32),
        capacity_class=row.get("capacity_class") or UNKNOWN,
    )

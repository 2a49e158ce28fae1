"""What a bundle knows of one investor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
import pyarrow as pa

from tessera.contracts.arrays import Float32s
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


class Published(NamedTuple):
    """Last version of an investor that a bundle has."""

    since: int
    """Microseconds since 1970."""
    risk_class: int
    capacity_class: int


def stranger(user_id: str, unknown: Unknown = PRUDENT) -> Investor:
    """Return an investor of whom nothing is known."""
    return Investor(user_id, unknown.user, (), (), None, is_known=False)


@dataclass(frozen=True, slots=True)
class Investors:
    """All investors that a bundle knows."""

    people: pa.Table
    """All but their vectors."""
    vectors: pa.ListArray | None
    row: dict[str, int]
    unknown: Unknown

    @classmethod
    def of(cls, table: pa.Table, unknown: Unknown = PRUDENT) -> Self:
        """Take the investors of a bundle."""
        table = table.combine_chunks()  # or each look at a row would search for its chunk
        ids, vectors = table["user_id"].to_pylist(), None
        if "vector" in table.column_names:
            # As an array: row by row, numbers of Python would be made of each of its own.
            vectors, table = table["vector"].combine_chunks(), table.drop_columns("vector")
        return cls(table, vectors, {user: row for row, user in enumerate(ids)}, unknown)

    def known(self, user_id: str) -> Investor:
        """Look up one investor; an unknown one counts as new, and of the class of the unknown."""
        row = self.row.get(user_id)
        if row is None:
            return stranger(user_id, self.unknown)
        (told,) = self.people.slice(row, 1).to_pylist()
        return Investor(
            user_id,
            int(told["risk_class"]),
            tuple(told["held"] or ()),
            tuple(told["dismissed"] or ()),
            self._vector(row),
            capacity_class=told.get("capacity_class") or UNKNOWN,
        )

    def _vector(self, row: int) -> Float32s | None:
        if self.vectors is None or not self.vectors[row].is_valid:
            return None
        return np.asarray(self.vectors[row].values, np.float32)

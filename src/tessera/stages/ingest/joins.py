"""How much of each table another one knows: a join that finds nothing means wrong ids."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import ibis.expr.types as ir

from tessera.contracts.errors import LostRows
from tessera.stages.ingest.engine import Engine
from tessera.stages.ingest.params import IngestParams

_LOG = logging.getLogger(__name__)
WARN_BELOW = 0.95
"""A coverage below it is said, even if the params allow it."""


@dataclass(frozen=True, slots=True)
class Join:
    """How many distinct keys of the left table the right one has."""

    left: str
    right: str
    what: str
    """What the keys are, in words."""
    keys: int
    found: int
    missing: str | None = None
    """A key that is not there."""
    there: str | None = None
    """A key that is."""

    @property
    def name(self) -> str:
        """Its name among the metrics."""
        return f"coverage_{self.left}_{self.right}"

    @property
    def coverage(self) -> float:
        """Share of the keys that are there; 1 of none."""
        return self.found / self.keys if self.keys else 1.0


def joins(tables: Collection[str], folder: Path, engine: Engine) -> list[Join]:
    """Measure every join between the tables of a source that hold rows."""
    return list(_joins({name: engine.read(folder / f"{name}.parquet", name) for name in tables}))


def _joins(read: dict[str, ir.Table]) -> Iterator[Join]:
    def both(left: str, right: str) -> bool:
        return left in read and right in read

    for left in ("events", "exposures", "queries"):
        if both(left, "users"):
            yield _join(left, "users", "investors", read, ["user_id"])
    if both("outcomes", "exposures"):
        yield _join("outcomes", "exposures", "requests", read, ["request_id"])
    if both("exposures", "items"):
        rows = read["exposures"]
        top = rows.filter(rows.position == 1)
        listed = top.select(item_id=top.candidate_ids.unnest())
        yield _join("candidates", "items", "items", read | {"candidates": listed}, ["item_id"])


def _join(left: str, right: str, what: str, read: dict[str, ir.Table], key: list[str]) -> Join:
    asked = read[left].select(key).distinct()
    known = read[right].select(key).distinct()
    missing = asked.anti_join(known, key)
    counted = asked.agg(rows=asked.count()).to_pyarrow()["rows"][0].as_py()
    told = missing.agg(rows=missing.count(), like=missing[key[0]].min()).to_pyarrow().to_pylist()[0]
    there = known.agg(like=known[key[0]].min()).to_pyarrow()["like"][0].as_py()
    return Join(left, right, what, counted, counted - told["rows"], told["like"], there)


def require_joined(found: list[Join], params: IngestParams) -> None:
    """Say which joins find little, and refuse those that find too little.

    Raises
    ------
    LostRows
        If one lies below `min_coverage`.
    """
    for join in found:
        if join.coverage < params.min_coverage:
            raise LostRows(
                f"{_told(join)}; {join.right} say {join.there!r}; at least "
                f"{params.min_coverage:.0%} must be there (ingest.min_coverage): write both alike "
                f"(case, zeros, spaces), or leave {join.right} out if they are of others"
            )
        if join.coverage < WARN_BELOW:
            _LOG.warning("%s", _told(join))


def _told(join: Join) -> str:
    return (
        f"of {join.keys:,} {join.what} in {join.left} {join.found:,} ({join.coverage:.1%}) are in "
        f"{join.right}: {join.left} say {join.missing!r}"
    )

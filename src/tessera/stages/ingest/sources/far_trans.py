"""FAR-Trans: its authors test the half-year after the cut, so one before it validates."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from tessera.stages.ingest.source import Conventions

if TYPE_CHECKING:
    import ibis.expr.types as ir

    from tessera.stages.ingest.draft import Drafts
    from tessera.stages.ingest.engine import Engine
    from tessera.stages.ingest.params import IngestParams

_DAY = timedelta(days=1)
_TICK = timedelta(microseconds=1)


def _half_year(_: ir.Table, first: datetime, cut: datetime) -> datetime:
    return cut - min(181 * _DAY, (cut - first) / 2)


def _half_year_end(_: ir.Table, cut: datetime, last: datetime) -> datetime:  # noqa: ARG001
    """End with the half-year; a cut on its last day is its end: sources date events by the day."""
    begun = cut + _DAY
    july = datetime(begun.year, 7, 1, tzinfo=UTC)
    january = datetime(begun.year + 1, 1, 1, tzinfo=UTC)
    return (july if begun < july else january) - _TICK


CONVENTIONS = Conventions(
    cut=lambda *_: datetime(2021, 7, 1, tzinfo=UTC),
    validation_from=_half_year,
    test_until=_half_year_end,
    official=("transactions*.csv*", "customer_information.csv*", "asset_information.csv*"),
)


def drafts(folder: Path, engine: Engine, params: IngestParams) -> Drafts:
    """Read trades, customers, assets and closes."""
    from tessera.stages.ingest import far_trans

    return far_trans.drafts(folder, engine, params)

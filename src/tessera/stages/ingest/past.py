"""When what a source tells can have happened: not before it began, not after it was asked."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from tessera.contracts.rules import EARLIEST, LATEST
from tessera.stages.ingest.params import IngestParams

HAPPENED = ("event_ts", "price_ts")
"""Columns of what has happened; validity may lie ahead."""
_GRACE = timedelta(days=2)
"""From the midnight before the run was asked for: a day more, for clocks and zones."""


@dataclass(frozen=True, slots=True)
class Past:
    """First and last moment that something can have happened."""

    earliest: datetime
    latest: datetime
    """From it on nothing can have."""

    def too_early(self, column: str) -> str:
        """Reason of a row before it all."""
        return f"{column}: before {self.earliest.date()}, the earliest"

    def too_late(self, column: str) -> str:
        """Reason of a row that lies ahead."""
        return f"{column}: after {self.latest.date()}, the latest"


def read_past(params: IngestParams, today: datetime | None) -> Past:
    """Take what the params say, else what the source can have seen.

    Parameters
    ----------
    params : IngestParams
        `earliest` and `latest`.
    today : datetime, optional
        Day on which the run was asked for; None where nobody looked at a clock.
    """
    ahead = LATEST if today is None else _utc(today) + _GRACE
    return Past(
        EARLIEST if params.earliest is None else _utc(params.earliest),
        ahead if params.latest is None else _utc(params.latest),
    )


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)

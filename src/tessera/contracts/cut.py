"""How a person or a schedule says where learning ends."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from tessera.contracts.errors import BadParams

OR_EARLIER = " or earlier"
"""Ends the text of a schedule's cut: days go on after a log has ended."""


@dataclass(frozen=True, slots=True)
class Cut:
    """`2021-07-01`, or `2021-07-01 or earlier`."""

    moment: datetime
    or_earlier: bool = False
    """Take the source's own cut where the log ends before the moment."""

    def __str__(self) -> str:
        return self.moment.isoformat() + OR_EARLIER * self.or_earlier


def parse_cut(text: str) -> Cut:
    """Return what a text asks for; without a zone it is UTC.

    Raises
    ------
    ValueError
        If it is not an ISO time.
    """
    moment = datetime.fromisoformat(text.removesuffix(OR_EARLIER))
    return Cut(moment if moment.tzinfo else moment.replace(tzinfo=UTC), text.endswith(OR_EARLIER))


def moment(cut: datetime | str | None) -> datetime | None:
    """Return a cut that a program gives, as a time in UTC; None if it gives none.

    Raises
    ------
    BadParams
        If it is not an ISO time.
    """
    if cut is None:
        return None
    try:
        return parse_cut(cut if isinstance(cut, str) else cut.isoformat()).moment
    except ValueError as error:
        raise BadParams(f"cut {cut!r} is no ISO time: write it as 2024-12-31") from error

"""The days that a document is about."""

from __future__ import annotations

import calendar
import re
from dataclasses import dataclass
from datetime import date
from typing import Self

from tessera.contracts.errors import BadInput

_FORM = re.compile(r"(\d{4})(?:-(\d{2}))?(?:-(\d{2}))?")
_TO = ".."


@dataclass(frozen=True, slots=True)
class Period:
    """Days from the first to the last, both included, in UTC."""

    first: date
    last: date

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a year, a month, a day, or two of them with `..` between.

        >>> str(Period.parse("2025-02")), str(Period.parse("2025-01..2025-03-10"))
        ('2025-02-01 to 2025-02-28', '2025-01-01 to 2025-03-10')

        Raises
        ------
        BadInput
            If it is none of these, or ends before it begins.
        """
        ends = text.split(_TO)
        first, last = _days(text, ends[0])[0], _days(text, ends[-1])[1]
        if len(ends) > 2 or last < first:
            raise BadInput(f"period {text} ends before it begins: name the earlier day first")
        return cls(first, last)

    def holds(self, day: date) -> bool:
        """Tell whether a day is one of them."""
        return self.first <= day <= self.last

    def __str__(self) -> str:
        """Name the first and the last day."""
        return f"{self.first} to {self.last}"


def _days(whole: str, text: str) -> tuple[date, date]:
    """Return the first and the last day that a text names."""
    found = _FORM.fullmatch(text.strip())
    try:
        if found is None:
            raise ValueError
        year, month, day = (int(part) if part else None for part in found.groups())
        assert year is not None
        first = date(year, month or 1, day or 1)
        until = month or 12
        return first, date(year, until, day or calendar.monthrange(year, until)[1])
    except ValueError:
        raise BadInput(
            f"{whole} is no period: name a year (2025), a month (2025-05), a day (2025-05-31), or "
            f"two of them (2025-05{_TO}2025-06-15)"
        ) from None

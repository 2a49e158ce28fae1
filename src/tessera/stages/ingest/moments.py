"""Times as people write them: formats, counts from 1970, clocks of a zone."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Collection
from datetime import MAXYEAR, MINYEAR, UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from zoneinfo import ZoneInfo

from tessera.contracts.rules import EARLIEST, LATEST, SHAPE

Reading = tuple[datetime | None, str | None]
"""A moment, or what is wrong with the text."""

MICROSECONDS = {
    "s": Decimal(1_000_000),
    "ms": Decimal(1_000),
    "us": Decimal(1),
    "ns": Decimal("0.001"),
}
DAYS = "excel"
"""Unit of times that count days as spreadsheets do."""
_DAY_ZERO = datetime(1899, 12, 30)
_FIRST_SURE_DAY = 61
"""Spreadsheets count a 29 February 1900 that never was."""
_FROM_1970 = datetime(1970, 1, 1, tzinfo=UTC)
_LONG_AGO = datetime(1900, 1, 1, tzinfo=UTC)
_RECENT = datetime(1990, 1, 1, tzinfo=UTC)
_ISO = re.compile(SHAPE["timestamp"][0])
COMMA = "^([0-9]{4}-[0-9]{2}-[0-9]{2}[ T][0-9:]{8}),([0-9]+(?:Z|[+-][0-9:]{2,5})?)$"
"""ISO 8601 lets a comma stand before parts of a second, and log files do; engines read a dot."""
_ZONED = re.compile("^(.*[0-9]) ([A-Z]{3,5})$")
_CLOCKS = ("%H", "%I", "%c", "%X", "%T", "%R")
_OUTSIDE = f"outside {EARLIEST.year} to {LATEST.year}"
_FEW = 0.05
_FIRST = 10
_MAY_BE = re.compile(r"^(?=.*[0-9])[0-9A-Za-z.,:/+ T-]{6,35}$")
"""What is worth trying to read as a date."""
_DATES = (
    "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y", "%Y/%m/%d", "%Y.%m.%d", "%Y%m%d",
    "%d %b %Y", "%d-%b-%Y", "%d/%b/%Y", "%b %d, %Y", "%B %d, %Y", "%d %B %Y",
    "%d.%m.%y", "%d/%m/%y", "%m/%d/%y", "%d-%b-%y", "%Y-%m-%d",
)  # fmt: skip
_TIMES = (
    "", " %H:%M", " %H:%M:%S", " %H:%M:%S.%f", " %H:%M:%S,%f", "T%H:%M:%S",
    "T%H:%M:%S,%f", " %I:%M %p", " %I:%M:%S %p",
    " %H.%M", " %H.%M.%S", " %H:%M:%S UTC", " %H:%M:%S %z", "T%H%M%S", "%H%M%S", ":%H:%M:%S",
)  # fmt: skip


def reader(
    formats: Collection[str] | None, unit: str | None, zone: str | None
) -> Callable[[str], Reading]:
    """Make the function that reads one text."""
    place = ZoneInfo(zone) if zone else None
    if unit == DAYS:
        return lambda text: _days(text, place)
    if unit:
        return lambda text: _counted(text, unit)
    if formats:
        return lambda text: _formatted(text, formats, place)
    return lambda text: _iso(text, place)


def _counted(text: str, unit: str) -> Reading:
    try:
        micros = int(Decimal(text) * MICROSECONDS[unit])
        return _FROM_1970 + timedelta(microseconds=micros), None
    except (InvalidOperation, ValueError):
        return None, f"not a time in {unit} since 1970"
    except OverflowError:
        return None, _OUTSIDE


def _days(text: str, place: ZoneInfo | None) -> Reading:
    """Read the days that a spreadsheet counts, to the nearest millisecond: they are floats."""
    try:
        days = Decimal(text)
        if days < _FIRST_SURE_DAY:
            return None, _OUTSIDE
        moment = _DAY_ZERO + timedelta(milliseconds=round(days * 86_400_000))
        return placed(moment, place if days % 1 else None)
    except (InvalidOperation, ValueError):
        return None, "not a day as spreadsheets count"
    except OverflowError:
        return None, _OUTSIDE


def _formatted(text: str, formats: Collection[str], place: ZoneInfo | None) -> Reading:
    for one in formats:
        try:
            return placed(datetime.strptime(text, one), place if has_clock(one) else None)
        except ValueError:
            continue
    return None, f"not a time like {' or '.join(formats)}"


def has_clock(one: str) -> bool:
    """Tell whether a format says more than the day."""
    return any(part in one for part in _CLOCKS)


def _iso(text: str, place: ZoneInfo | None) -> Reading:
    if not _ISO.match(text):
        return None, f"not {SHAPE['timestamp'][1]}"
    try:
        return placed(
            datetime.fromisoformat(text), place if len(text) > len("2021-01-01") else None
        )
    except ValueError:
        return None, f"not {SHAPE['timestamp'][1]}"


def placed(moment: datetime, place: ZoneInfo | None) -> Reading:
    """Give a clock its zone; a moment that names its own keeps it.

    A clock that was put forward skips an hour, one that was put back shows an hour twice: neither
    says when it was.  The first and the last year of all calendars stand for no time at all, and no
    zone moves them.
    """
    if (moment.tzinfo is None and place is None) or moment.year in (MINYEAR, MAXYEAR):
        return moment.replace(tzinfo=UTC), None
    if moment.tzinfo is not None or place is None:
        return moment.astimezone(UTC), None
    first, second = (moment.replace(tzinfo=place, fold=fold) for fold in (0, 1))
    found = first.astimezone(UTC)
    if first.utcoffset() == second.utcoffset():
        return found, None
    doubled = found.astimezone(place).replace(tzinfo=None) == moment
    return None, f"an hour that the clock of {place.key} {'shows twice' if doubled else 'skips'}"


def is_iso(text: str) -> bool:
    """Tell whether a text is read without any param."""
    return _ISO.match(re.sub(COMMA, r"\1.\2", text)) is not None


def formats_of(values: Collection[str], share: float = 0.9) -> list[str]:
    """Return the formats that read almost all values, the likeliest first.

    >>> formats_of(["13/02/2021 10:00", "01/02/2021 09:30"])
    ['%d/%m/%Y %H:%M']
    >>> formats_of(["03/02/2021", "01/02/2021"])
    ['%d/%m/%Y', '%m/%d/%Y']
    """
    some = list(values)
    first = some[:_FIRST]
    if sum(_MAY_BE.match(value) is not None for value in first) < share * len(first):
        return []
    known = (date + clock for date, clock in itertools.product(_DATES, _TIMES))
    likely = [one for one in known if _reads(one, first, 0.5 * len(first))] if some else []
    return [one for one in likely if _reads(one, some, share * len(some))]


def _reads(one: str, values: Collection[str], least: float) -> bool:
    missed = 0
    for value in values:
        moment = _formatted(value, [one], None)[0]
        if moment is None or moment < _LONG_AGO:
            missed += 1
            if len(values) - missed < least:
                return False
    return True


def units_of(values: Collection[str], share: float = 0.9) -> list[str]:
    """Return the units in which almost all values lie between 1990 and 2100.

    >>> units_of(["978300000.0"]), units_of(["1612137600000"])
    (['s'], ['ms'])
    """
    return [unit for unit in MICROSECONDS if values and _plausible(values, unit) >= share]


def are_days(values: Collection[str], share: float = 0.9) -> bool:
    """Tell whether almost all values are days from 1990 to 2100 as spreadsheets count them.

    >>> are_days(["44196", "44197.5"]), are_days(["12"])
    (True, False)
    """
    return bool(values) and _plausible(values, DAYS) >= share


def _plausible(values: Collection[str], unit: str) -> float:
    read = reader(None, unit, None)
    found = [read(value)[0] for value in values]
    return sum(moment is not None and _RECENT <= moment < LATEST for moment in found) / len(found)


def suggestion(values: Collection[str]) -> str | None:
    """Say which param reads these values, or that day and month cannot be told apart."""
    if formats := formats_of(values):
        orders = {re.sub("%[dm]", "%x", one) for one in formats}
        if len(formats) > 1 and len(orders) == 1:
            told = " or ".join(f"'{one}'" for one in formats)
            return f"format: {told} (no value tells day from month)"
        return f"format: '{formats[0]}'"
    units = units_of(values) or [DAYS] * are_days(values)
    if units:
        return f"unit: {units[0]}"
    return _named_zones(values) or _two_orders(values)


def _named_zones(values: Collection[str]) -> str | None:
    """Say how clocks are read behind which stand letters for a zone, such as CET."""
    found = [match for match in map(_ZONED.match, values) if match]
    formats = formats_of([match[1] for match in found])
    if not formats or len(found) < len(values):
        return None
    told = ", ".join(f"'{formats[0]} {name}'" for name in sorted({match[2] for match in found}))
    return f"format: [{told}] and zone: (where that clock stood, such as Europe/Berlin)"


def _two_orders(values: Collection[str]) -> str | None:
    """Tell that days stand before months in some values and after them in others."""
    for date, clock in itertools.product(_DATES, _TIMES):
        one = date + clock
        other = swapped(one)
        if other == one or not one.startswith("%d"):
            continue
        rest = [value for value in values if not _reads(one, [value], 1)]
        if rest and len(rest) < len(values) and _reads(other, rest, len(rest)):
            return f"format: '{one}' or '{other}' (it holds both: mend the export)"
    return None


def swapped(one: str) -> str:
    """Let day and month of a format change places.

    >>> swapped("%d/%m/%Y")
    '%m/%d/%Y'
    """
    return re.sub("%[dm]", lambda part: "%m" if part[0] == "%d" else "%d", one)


def other_order(values: Collection[str], formats: Collection[str]) -> str | None:
    """Return the format of swapped day and month that reads what no format of these did."""
    ways = [swapped(one) for one in formats if swapped(one) not in formats]
    return next((one for one in ways if _reads(one, values, len(values))), None)


def other_unit(values: Collection[str], unit: str) -> str | None:
    """Return the unit that was probably meant where the one that was said makes no dates."""
    if _plausible(values, unit) > _FEW:
        return None
    others = units_of(values, share=1.0) or [DAYS] * are_days(values, share=1.0)
    return others[0] if others else None

"""Whole columns of times at once, where they are of a plain shape; `moments` reads the rest.

Arrow forgives what it should not (31 February is 3 March): only what it writes back as it was
written is taken.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from tessera.stages.ingest.moments import has_clock

TIME = pa.timestamp("us", tz="UTC")
_ISO = ("%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S", "%Y-%m-%d")
_KNOWN_UNTIL = pa.scalar(datetime(2037, 1, 1), pa.timestamp("s"))
"""Arrow knows no summer time beyond."""
_TICKS = {"s": (1_000_000, 11), "ms": (1_000, 14), "us": (1, 17)}
"""Microseconds of a unit, and digits of what a calendar holds in it."""


def read(
    text: pa.Array, formats: Sequence[str] | None, unit: str | None, zone: str | None
) -> pa.Array:
    """Read what is plain; null is for the careful reader."""
    if unit:
        return _counted(text, unit)
    found = [_formatted(text, one, zone) for one in (formats[:1] if formats else _ISO)]
    return pc.coalesce(*found)


def _counted(text: pa.Array, unit: str) -> pa.Array:
    if unit not in _TICKS:
        return pa.nulls(len(text), TIME)
    ticks, digits = _TICKS[unit]
    plain = pc.match_substring_regex(text, f"^[0-9]{{1,{digits}}}$")
    whole = pc.if_else(plain, text, pa.scalar(None, pa.string())).cast(pa.int64())
    return pc.multiply(whole, ticks).cast(TIME)


def _formatted(text: pa.Array, form: str, zone: str | None) -> pa.Array:
    if "%" in re.sub("%[dmYHMS]", "", form):
        return pa.nulls(len(text), TIME)
    read_ = pc.strptime(text, format=form, unit="s", error_is_null=True)
    same = pc.fill_null(pc.equal(pc.strftime(read_, format=form), text), False)
    found = pc.if_else(same, read_, pa.scalar(None, read_.type))
    if zone is None or not has_clock(form):
        return found.cast(pa.timestamp("us")).cast(TIME)
    first, second = (
        pc.assume_timezone(found, zone, ambiguous=which, nonexistent=which)
        for which in ("earliest", "latest")
    )
    sure = pc.and_(pc.equal(first, second), pc.less(found, _KNOWN_UNTIL))
    return pc.if_else(sure, first, pa.scalar(None, first.type)).cast(TIME)

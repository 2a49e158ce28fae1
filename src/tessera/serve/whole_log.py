"""All of a log as tables in the contracts, each row once, for the next run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tessera.contracts.tables import EVENTS, EXPOSURES, OUTCOMES, PRICES, TABLES, USERS
from tessera.serve.classes import CLASS
from tessera.serve.closed import SealedBefore
from tessera.serve.erased import PSEUDONYM, Erased, copy_list, masked_rows, without_erased
from tessera.serve.events import FORGET, Record
from tessera.serve.hours import (
    CLASS_LINE,
    CLOSE_LINE,
    FORGET_LINE,
    Hour,
    open_segments,
    sealed_hours,
    still,
)
from tessera.serve.sealing import outcomes, prices, seal, tables, users
from tessera.serve.slate import at

_US = pa.timestamp("us", tz="UTC")


def write_log(folder: Path, target: Path) -> dict[str, Any]:
    """Write all of a log as tables into a folder that is there, each row once; see `seal`.

    Of a log without rows there is the list of the erased alone, and nothing is returned.
    """
    with still(folder):
        hours = sealed_hours(folder)
        for hour in hours:
            hour.check()
        waiting = [one for segment in open_segments(folder) for one in segment.records]
        late = tables(waiting, SealedBefore(hours))
        shown, happened = (
            pa.concat_tables([*(hour.rows(name) for hour in hours), late[name]])
            for name in (EXPOSURES.name, EVENTS.name)
        )
        told = prices(chain(_of_hours(hours, CLOSE_LINE), waiting))
        forgotten = _forgotten(hours, waiting)
        telling = [hour for hour in hours if hour.classes]
        classes = [
            one
            for one in chain(_of_hours(telling, CLASS_LINE), waiting)
            if one["kind"] == CLASS and one["event_id"] not in forgotten
        ]
        gone = pa.array(sorted(forgotten), pa.string())
        happened = happened.filter(pc.invert(pc.is_in(happened["event_id"], gone)))
    erased = Erased(folder)
    classed = users(_of_known(classes, erased))
    shown, happened = (without_erased(masked_rows(rows, erased)) for rows in (shown, happened))
    copy_list(folder, target)
    if not (len(shown) or len(happened) or len(told) or len(classed)):
        return {}
    # Of an hour alone they lack what came before its slate did, and may repeat a former hour's.
    answered = outcomes(shown, happened)
    found = {
        EXPOSURES.name: shown,
        OUTCOMES.name: answered,
        EVENTS.name: happened,
        PRICES.name: told,
        USERS.name: classed,
    }
    by_key = {
        name: rows.sort_by([(column, "ascending") for column in TABLES[name].key])
        for name, rows in found.items()
    }  # equal rows give equal bytes, sealed or not
    return seal(by_key, target)


def _of_known(classes: Sequence[Record], erased: Erased) -> Iterator[Record]:
    """Return the classes of those who were not erased."""
    return (one for one in map(erased.masked, classes) if not one["user_id"].startswith(PSEUDONYM))


def _forgotten(hours: Sequence[Hour], waiting: Sequence[Record]) -> set[str]:
    """Return the ids of all events that count no more, whenever they were sealed."""
    told = (one for one in waiting if one["kind"] == FORGET)
    every = chain(_of_hours(hours, FORGET_LINE), told)
    return {name for one in every for name in one["event_ids"]}


def _of_hours(hours: Sequence[Hour], beginning: str) -> Iterator[Record]:
    """Read the records of sealed hours whose lines begin so."""
    return chain.from_iterable(hour.records(beginning=beginning) for hour in hours)


def middle(folder: Path) -> datetime | None:
    """Return the moment before which half of the slates and events lie that `write_log` wrote.

    Some wrong dates can move the ends of a log by decades, but not this.  None if there are none.
    """
    top = pc.field("position") == 1
    shown = pq.read_table(folder / f"{EXPOSURES.name}.parquet", columns=["event_ts"], filters=top)
    happened = pq.read_table(folder / f"{EVENTS.name}.parquet", columns=["event_ts"])
    rows = [pc.cast(pc.cast(one["event_ts"], _US), pa.int64()) for one in (shown, happened)]
    moment_N = np.concatenate([one.to_numpy() for one in rows])
    return at(int(np.median(moment_N))) if len(moment_N) else None

"""All of a log as tables in the contracts, each row once, for the next run."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tessera.contracts.tables import EVENTS, EXPOSURES, OUTCOMES, TABLES
from tessera.serve.closed import SealedBefore
from tessera.serve.erased import Erased, copy_list, masked_rows, without_erased
from tessera.serve.events import FORGET, Record
from tessera.serve.hours import FORGET_LINE, Hour, open_segments, sealed_hours, still
from tessera.serve.sealing import outcomes, seal, tables


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
        gone = pa.array(sorted(_forgotten(hours, waiting)), pa.string())
        happened = happened.filter(pc.invert(pc.is_in(happened["event_id"], gone)))
    erased = Erased(folder)
    shown, happened = (without_erased(masked_rows(rows, erased)) for rows in (shown, happened))
    copy_list(folder, target)
    if not len(shown) and not len(happened):
        return {}
    # Of an hour alone they lack what came before its slate did, and may repeat a former hour's.
    answered = outcomes(shown, happened)
    found = {EXPOSURES.name: shown, OUTCOMES.name: answered, EVENTS.name: happened}
    by_key = {
        name: rows.sort_by([(column, "ascending") for column in TABLES[name].key])
        for name, rows in found.items()
    }  # equal rows give equal bytes, sealed or not
    return seal(by_key, target)


def _forgotten(hours: Sequence[Hour], waiting: Sequence[Record]) -> set[str]:
    """Return the ids of all events that count no more, whenever they were sealed."""
    told = [one for hour in hours for one in hour.records(beginning=FORGET_LINE)]
    told += [one for one in waiting if one["kind"] == FORGET]
    return {name for one in told for name in one["event_ids"]}


def span(folder: Path) -> tuple[datetime, datetime]:
    """Return the first and the last moment of what `write_log` wrote, which is not nothing."""
    ends = [
        pc.min_max(pq.read_table(folder / f"{name}.parquet")["event_ts"]).as_py()
        for name in (EXPOSURES.name, EVENTS.name)
    ]
    known = [end for end in ends if end["min"] is not None]
    return min(end["min"] for end in known), max(end["max"] for end in known)
